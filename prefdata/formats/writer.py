"""Rows into a file batch by batch: JSONL, one JSON array, Parquet, or a tar; it appears whole or not at all."""

from __future__ import annotations

import hashlib
import io
import os
import queue
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NamedTuple

import polars as pl
from polars.io.plugins import register_io_source

from prefdata.errors import ResourceError, SchemaError
from prefdata.formats.core import Container, json_texts
from prefdata.formats.image_features import ROWS, with_image_features
from prefdata.formats.picture_export import EMBEDDED, NO_ROOM
from prefdata.formats.tar_sink import TarSink
from prefdata.io import sha256_file
from prefdata.reading.json_frames_types import fitted, merged_types

_WAIT_S = 0.5

_ROW_GROUP = 16_384
"""Rows of a group: what the writer holds at a time. Smallest and largest values are not written: of texts, nobody asks
for them."""


class Written(NamedTuple):
    """What a finished file holds."""

    rows: int
    sha256: str


class FrameWriter:
    """A file that takes frames one after the other. In JSON, a null is a key that is not there, at every level.

    As a context manager it closes the file, or leaves nothing behind where the block raises. In Parquet, columns and
    struct fields that only later frames have are null before.
    """

    def __init__(self, path: str | Path, container: Container) -> None:
        self.path = Path(path)
        self.container: Container = container
        self.rows = 0
        self._temporary = self.path.parent / f".{self.path.name}.{uuid.uuid4().hex}.tmp"
        self._sink: _JsonSink | _ParquetSink | TarSink
        if container == "tar":
            self._sink = TarSink(self._temporary, self.path.stem.replace(".", "_"))
        elif container == "parquet":
            self._sink = _ParquetSink(self._temporary)
        else:
            self._sink = _JsonSink(self._temporary, container == "json")
        self._written: Written | None = None
        self._aborted = False

    def __enter__(self) -> FrameWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.abort()
        elif not self._aborted:
            self.close()

    @property
    def size(self) -> int:
        """Bytes of a tar so far; 0 for other files, which are not told in parts."""
        return self._sink.size if isinstance(self._sink, TarSink) else 0

    def write(self, frame: pl.DataFrame) -> None:
        """Adds the rows of `frame`."""
        try:
            self._sink.add(frame)
        except OSError as error:
            self._fail(error)
        self.rows += frame.height

    def close(self) -> Written:
        """Puts the file in its place, flushed to the disk; rows and SHA-256. Once closed, the same again."""
        if self._written is None:
            try:
                digest = self._sink.finish()
                with self._temporary.open("rb") as stream:
                    os.fsync(stream.fileno())
                os.replace(self._temporary, self.path)
                folder = os.open(self.path.parent, os.O_RDONLY)
                try:
                    os.fsync(folder)
                finally:
                    os.close(folder)
            except OSError as error:
                self._fail(error)
            except BaseException:  # an interrupt or a panic of polars too leaves nothing behind, and goes on
                self.abort()
                raise
            self._written = Written(self.rows, digest)
        return self._written

    def abort(self) -> None:
        """Leaves nothing behind."""
        if self._written is None:
            self._aborted = True
            self._sink.abandon()
            self._temporary.unlink(missing_ok=True)

    def _fail(self, error: OSError) -> None:
        self.abort()
        if error.errno in NO_ROOM:
            raise ResourceError(f"{self.path.name}: no room left on the disk; free some and run again") from error
        raise error


class _JsonSink:
    def __init__(self, path: Path, array: bool) -> None:
        self._array = array
        self._hash = hashlib.sha256()
        self._rows = 0
        self._stream: IO[bytes] = path.open("xb")

    def add(self, frame: pl.DataFrame) -> None:
        if not frame.height:
            return
        end = ",\n" if self._array else "\n"
        # written as a CSV of one column without quotes: a tenth of the time of joining texts in Python
        buffer = io.BytesIO()
        json_texts(frame).to_frame().write_csv(buffer, include_header=False, quote_style="never", line_terminator=end)
        if self._array:
            buffer.truncate(buffer.tell() - len(end))
            self._put(end.encode() if self._rows else b"[\n")
        self._put(buffer.getvalue())
        self._rows += frame.height

    def _put(self, data: bytes) -> None:
        self._hash.update(data)
        self._stream.write(data)

    def finish(self) -> str:
        if self._array:
            self._put(b"\n]\n" if self._rows else b"[]\n")
        self._stream.close()
        return self._hash.hexdigest()

    def abandon(self) -> None:
        self._stream.close()


class _ParquetSink:
    """Frames of one schema go into one file; where the schema grows, into another, and all are joined at the end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._schema: dict[str, Any] | None = None
        self._parts: list[Path] = []
        self._stream: _ParquetStream | None = None

    def add(self, frame: pl.DataFrame) -> None:
        schema = dict(frame.schema)
        if self._schema is None:
            grown: dict[str, Any] | None = schema
        else:
            grown = merged_types(self._schema, schema)
        if grown is None:
            known = self._schema or {}
            names = [
                name
                for name in schema
                if name in known and merged_types({name: known[name]}, {name: schema[name]}) is None
            ]
            raise SchemaError(f"rows of one file differ in the type of {', '.join(names)}")
        if self._stream is None or grown != self._schema:
            self._end_part()
            self._schema = grown
            part = self._path.with_name(f"{self._path.name}.{len(self._parts)}")
            self._parts.append(part)
            self._stream = _ParquetStream(part, pl.Schema(grown))
        self._stream.put(_fitted(frame, grown))

    def _end_part(self) -> None:
        if self._stream is not None:
            self._stream.end()
            self._stream = None

    def finish(self) -> str:
        self._end_part()
        if len(self._parts) == 1:
            os.replace(self._parts[0], self._path)
        elif self._parts:
            schema = self._schema or {}
            frames = [
                scanned.select(
                    _column(name, dtype, scanned.collect_schema().get(name)) for name, dtype in schema.items()
                )
                for scanned in (pl.scan_parquet(part, glob=False) for part in self._parts)
            ]
            _sink(pl.concat(frames), self._path)
        else:
            pl.DataFrame().write_parquet(self._path)
        self._remove_parts()
        pictures = [name for name, dtype in (self._schema or {}).items() if dtype == EMBEDDED]
        if pictures:
            with_image_features(self._path, pictures)
        return sha256_file(self._path)

    def abandon(self) -> None:
        if self._stream is not None:
            self._stream.stop()
            self._stream = None
        self._remove_parts()

    def _remove_parts(self) -> None:
        for part in self._parts:
            part.unlink(missing_ok=True)


class _ParquetStream:
    """One Parquet file, written by polars in its own thread while frames are handed to it."""

    def __init__(self, path: Path, schema: pl.Schema) -> None:
        self._frames: queue.Queue[pl.DataFrame | None] = queue.Queue(1)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(path, schema), daemon=True)
        self._thread.start()

    def _run(self, path: Path, schema: pl.Schema) -> None:
        try:
            _sink(register_io_source(self._batches, schema=schema), path)
        except BaseException as error:  # a panic of polars is no Exception; raised where frames are handed over
            self._error = error

    def _batches(
        self, with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, batch_size: int | None
    ) -> Iterator[pl.DataFrame]:
        while (frame := self._frames.get()) is not None:
            yield frame

    def put(self, frame: pl.DataFrame | None) -> None:
        while True:
            if not self._thread.is_alive():
                raise self._error or OSError("the Parquet writer ended early")
            try:
                self._frames.put(frame, timeout=_WAIT_S)
                return
            except queue.Full:
                continue

    def end(self) -> None:
        self.put(None)
        self._thread.join()
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Ends the file, which the caller removes. To break the sink off would leave a task of polars behind that may
        open the file after it was removed."""
        if self._thread.is_alive():
            self.put(None)
            self._thread.join()


def _sink(frame: pl.LazyFrame, path: Path) -> None:
    rows = ROWS if EMBEDDED in frame.collect_schema().dtypes() else _ROW_GROUP
    frame.sink_parquet(
        path, compression="zstd", compression_level=1, row_group_size=rows, maintain_order=True, statistics=False
    )


def _fitted(frame: pl.DataFrame, schema: dict[str, Any]) -> pl.DataFrame:
    if dict(frame.schema) == schema and frame.columns == list(schema):
        return frame
    return frame.select(_column(name, dtype, frame.schema.get(name)) for name, dtype in schema.items())


def _column(name: str, dtype: Any, given: Any) -> pl.Expr:
    if given is None:
        return pl.lit(None, dtype=dtype).alias(name)
    return fitted(pl.col(name), given, dtype).alias(name)
