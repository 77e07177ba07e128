"""A dataset of any format, opened: how it is read and why, and its rows chunk by chunk."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from prefdata.errors import InputError, RecipeError
from prefdata.formats.addresses import from_root
from prefdata.formats.core import Outcome
from prefdata.formats.files import Chunk, read_frames
from prefdata.io import ReadLimits
from prefdata.recognition import Reading, described, format_of, reading_as, recognised
from prefdata.schema import RecordType

TABLE = "table"
"""The format in which columns are what they are said to be."""

_DEFAULT_LIMITS = ReadLimits()


class Opened(NamedTuple):
    """A dataset before its rows are decoded."""

    reading: Reading
    """By which format it is read, as which type, for what reasons."""
    chunks: Iterator[Chunk]
    """All rows, the first included, as the file has them."""
    schema: Mapping[str, Any]
    """Columns of the first rows; later chunks may lack some, see `with_columns_of`."""
    name: str
    """What to call it in messages: the name of the file or folder."""
    at: Callable[[Mapping[str, pl.Series]], Iterator[Chunk]] | None = None
    """Reads it once more for the rows of some lines alone: file -> `_line`. Null where that cannot be done."""
    root: Path | None = None
    """The folder that files are named from, and addresses of pictures seen from once rows are decoded."""
    pictures: Path | None = None
    """The folder that the addresses of pictures are meant from instead."""

    def decoded(self, frame: pl.DataFrame) -> Outcome:
        """The rows of a chunk. A path of a picture is meant from the folder of the data file that has it, as
        `train/metadata.jsonl` means `train/x.png` by `x.png`: rows of other folders than `root` get that before it.

        Where `pictures` is said, paths are meant from there; where that is `root`, it is the picture beside the data
        file, if there is one.
        """
        found = self.reading.format.decode(with_columns_of(frame, self.schema), self.reading.type)
        if self.root is None or "_file" not in found.rows.columns:
            return found
        if self.pictures is None:
            return found._replace(rows=from_root(found.rows))
        if self.pictures.resolve() != self.root.resolve():
            return found
        return found._replace(rows=from_root(found.rows, only=self._there))

    def _there(self, address: str) -> bool:
        try:
            return self.root is not None and (self.root / address).is_file()
        except (OSError, ValueError):  # a name too long, a NUL in it
            return False


def open_dataset(
    path: str | Path | Sequence[str | Path],
    *,
    source: str = "auto",
    type: RecordType | str | None = None,
    labels: Mapping[str, bool] | None = None,
    columns: Mapping[str, str] | None = None,
    source_settings: Mapping[str, Any] | None = None,
    pictures: str | Path | None = None,
    limits: ReadLimits = _DEFAULT_LIMITS,
) -> Opened:
    """Opens the files of `path`, reads the first rows and tells their format.

    `source` "auto" recognises it; `type` says which type the rows are where that is not clear; `labels` what labels
    other than true and false mean; `columns` which column of a table is what, e.g. {"completion": "text"}; `pictures`
    the folder that paths of pictures are meant from, where that is not the one of the data file, see `Opened.decoded`.
    Raises RecipeError where the file can be read in several ways, InputError where no row of it can be read.
    """
    if columns:
        if source not in ("auto", TABLE):
            raise RecipeError(f"columns are said of a {TABLE}; {source} knows its own")
        source, source_settings = TABLE, {**(source_settings or {}), "columns": dict(columns)}
    wanted = RecordType(type) if type is not None else None
    name = Path(path).name if isinstance(path, (str, Path)) else f"{len(path)} files"
    first, chunks = _first(read_frames(path, limits=limits), name)
    told = described(path, source, labels) if not source_settings else None
    if told is not None:
        reading = reading_as(told, first, where=name, wanted=wanted)
    elif source == "auto":
        if source_settings:
            raise RecipeError("settings of the source need its name; give --from")
        reading = recognised(first, where=name, wanted=wanted, labels=labels)
    else:
        reading = reading_as(format_of(source, source_settings, labels), first, where=name, wanted=wanted)
    return Opened(
        reading,
        chunks,
        first.schema,
        name,
        lambda lines: read_frames(path, limits=limits, lines=lines),
        root_of(path),
        None if pictures is None else Path(pictures),
    )


def root_of(path: str | Path | Sequence[str | Path]) -> Path:
    """The folder that the files of `path` are named from: `path`, the folder of a file, what is common to several."""
    given = [Path(one) for one in ([path] if isinstance(path, (str, Path)) else path)]
    folders = [one if one.is_dir() else one.parent for one in given]
    return folders[0] if len(folders) == 1 else Path(os.path.commonpath([one.absolute() for one in folders]))


def with_columns_of(frame: pl.DataFrame, schema: Mapping[str, Any]) -> pl.DataFrame:
    """`frame` with nulls for the columns of the first chunk that it lacks."""
    lacking = [pl.lit(None, dtype=dtype).alias(name) for name, dtype in schema.items() if name not in frame.columns]
    return frame.with_columns(lacking) if lacking else frame


def _first(chunks: Iterator[Chunk], name: str) -> tuple[pl.DataFrame, Iterator[Chunk]]:
    """The first rows there are, and all chunks again."""
    seen: list[Chunk] = []

    def again() -> Iterator[Chunk]:
        while seen:
            yield seen.pop(0)
        yield from chunks

    for chunk in chunks:
        seen.append(chunk)
        if chunk.frame.height:
            return chunk.frame, again()
    faults = [row for chunk in seen for row in chunk.quarantine.select("file", "line", "reason").rows()]
    shown = "; ".join(f"{file}{f' line {line}' if line else ''}: {reason}" for file, line, reason in faults[:5])
    raise InputError(f"{name}: no row could be read" + (f" ({shown})" if shown else ""))
