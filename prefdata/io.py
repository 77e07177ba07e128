"""Files in and out: tables, JSON objects and lines with an account of every record; files written whole or not at all.

Readers never guess a type: every value is text as it was written, or null. What cannot be read goes to the
quarantine with its place and its hash; a file that cannot be read at all is one row of it with `line` null.
"""

from __future__ import annotations

import errno
import gc
import hashlib
import io
import json
import logging
import os
import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple, TypeVar, get_args

import polars as pl

from prefdata.errors import InputError, RecipeError, ResourceError
from prefdata.reading.account import (
    PLACE,
    QUARANTINE,
    Account,
    FileReport,
    ReadAgain,
    ReadLimits,
    Unreadable,
)
from prefdata.reading.batches import Batches, union
from prefdata.reading.columnar import read_parquet, read_xlsx
from prefdata.reading.delimited import read_delimited
from prefdata.reading.json_files import HEAD, document, is_jsonl, jsonl
from prefdata.reading.lines import Lines, TooLong, known_encoding
from prefdata.reading.sources import SUFFIXES, Source, sha256_of, sources

__all__ = [
    "QUARANTINE",
    "FileReport",
    "Format",
    "Objects",
    "ReadLimits",
    "Table",
    "read_lines",
    "read_objects",
    "read_table",
    "sha256_file",
    "write_atomic",
    "write_json",
    "write_parquet",
    "write_slices",
]

Format = Literal["auto", "csv", "tsv", "jsonl", "json", "parquet", "xlsx"]
Paths = str | Path | Sequence[str | Path]

DEFAULT_LIMITS = ReadLimits()

ROW_GROUP = 65_536

SLICE = 1024
"""Rows of a slice, see `write_slices`."""

FULL = re.compile(r"os error (?:28|122)\b")
"""What polars says of a disk without room, or of a quota without."""

T = TypeVar("T")

logger = logging.getLogger(__name__)


class Table(NamedTuple):
    """What was read: `frame` (String columns after `_file` String, `_line` Int64, `_offset` Int64), and its account."""

    frame: pl.DataFrame
    quarantine: pl.DataFrame
    files: list[FileReport]


class Objects(NamedTuple):
    """JSON objects as (file, line, offset, key, object), and their account."""

    objects: list[tuple[str, int, int, str | None, dict[str, Any]]]
    quarantine: pl.DataFrame
    files: list[FileReport]


def read_table(
    path: Paths,
    *,
    format: Format = "auto",
    delimiter: str = "auto",
    header: bool | Sequence[str] = True,
    quote: str | None = '"',
    encoding: str = "auto",
    sheet: str | None = None,
    limits: ReadLimits = DEFAULT_LIMITS,
) -> Table:
    """The rows of all files of `path` (a file, a folder, a list of them) below each other, sorted by file name.

    CSV, TSV, JSONL, JSON, Parquet and XLSX, plain, .gz or in a .zip. The columns are the union over all files; null
    is a JSON null, a key that is missing, an empty cell of a sheet; an empty field of a CSV is "". JSON numbers keep
    their literal, booleans are "true" and "false", nested values compact JSON text. A JSON document is an array of
    objects, an object of objects (their names in a column `_key`), or one object.

    `header` False: columns column_1, column_2 ...; names: the file has no header. `quote` None: quotes are text.
    Raises InputError where `path` does not exist or holds nothing to read, or a file changes while it is read.
    """
    if format not in get_args(Format):
        raise RecipeError(f"format {format!r}: expected {', '.join(get_args(Format))}")
    if delimiter != "auto" and (len(delimiter) != 1 or delimiter in '\r\n"\x00'):
        raise RecipeError(f"delimiter {delimiter!r}: expected one character, or auto")
    known_encoding(encoding)

    def read(source: Source, account: Account, encoding: str) -> pl.DataFrame:
        kind = _format(source, format, limits)
        if kind == "parquet":
            return read_parquet(source, account, limits=limits)
        if kind == "xlsx":
            return read_xlsx(source, account, header=header, sheet=sheet, limits=limits)
        if kind in ("jsonl", "json"):
            reader = jsonl if kind == "jsonl" else document
            batches = Batches(account, limits)
            for line, offset, key, record in reader(source, account, encoding=encoding, limits=limits, objects=False):
                if key is not None:
                    record["_key"] = key
                batches.add(record, line, offset)
            return batches.frame()
        mark = "\t" if delimiter == "auto" and kind == "tsv" and format == "tsv" else delimiter
        return read_delimited(
            source, account, delimiter=mark, header=header, quote=quote, encoding=encoding, limits=limits
        )

    suffixes = frozenset(SUFFIXES) | {".txt"} if format == "auto" else _of_format(format)
    frames, quarantine, files = _each(path, suffixes, limits, encoding, read)
    return Table(union(frames), quarantine, files)


def read_objects(
    path: Paths,
    *,
    format: Literal["auto", "jsonl", "json"] = "auto",
    encoding: str = "auto",
    limits: ReadLimits = DEFAULT_LIMITS,
) -> Objects:
    """The objects of JSONL files and JSON documents, nested as they are; `key` as in `read_table`, else null.

    Numbers are text, by their literal, at every depth; booleans and null are Python's. No object holds a key twice,
    a lone surrogate or a NUL.
    """

    def read(source: Source, account: Account, encoding: str) -> list[tuple[str, int, int, str | None, dict[str, Any]]]:
        kind = _format(source, format, limits)
        if kind not in ("json", "jsonl"):
            raise Unreadable("not_json")
        reader = jsonl if kind == "jsonl" else document
        records = reader(source, account, encoding=encoding, limits=limits, objects=True)
        found = [(account.file, *record) for record in records]
        account.rows = len(found)
        return found

    suffixes = frozenset((".json", ".jsonl", ".ndjson"))
    lists, quarantine, files = _each(path, suffixes, limits, encoding, read)
    return Objects([entry for found in lists for entry in found], quarantine, files)


def read_lines(path: Paths, *, encoding: str = "auto", limits: ReadLimits = DEFAULT_LIMITS) -> Table:
    """Every physical line as a row: column `text`, without its line end, "" where the line is blank.

    `units` of the reports counts the lines that are not blank, so rows = units + blank - quarantined. From a folder:
    .txt, .tsv, .csv and .log files.
    """

    def read(source: Source, account: Account, encoding: str) -> pl.DataFrame:
        batches = Batches(account, limits)
        lines = Lines(source, encoding=encoding, limits=limits)
        blank = 0
        for block in lines:
            account.encoding = lines.encoding
            if isinstance(block, TooLong):
                account.quarantine_hashed(
                    "line_too_long", line=block.line, offset=block.offset, sha256=block.sha256, size=block.size
                )
                continue
            texts, numbers, offsets = [], [], []
            for index, (text, offset) in enumerate(zip(block.texts, block.offsets(), strict=True)):
                if text is None or "\x00" in text:
                    reason = "bad_encoding" if text is None else "nul_character"
                    account.quarantine(reason, block.raws[index], line=block.line + index, offset=offset)
                    continue
                text = text.removesuffix("\r")
                blank += not text or text.isspace()
                texts.append(text)
                numbers.append(block.line + index)
                offsets.append(offset)
            batches.extend({"text": texts}, numbers, list(offsets))
        frame = batches.frame()
        account.blank = blank
        account.rows -= blank
        return frame if "text" in frame.columns else frame.with_columns(pl.lit(None, pl.String).alias("text"))

    suffixes = frozenset((".txt", ".tsv", ".csv", ".log"))
    frames, quarantine, files = _each(path, suffixes, limits, encoding, read)
    frame = union(frames) if frames else pl.DataFrame(schema={**PLACE, "text": pl.String})
    return Table(frame, quarantine, files)


def _of_format(format: str) -> frozenset[str]:
    wanted = {suffix for suffix, kind in SUFFIXES.items() if kind == format}
    return frozenset(wanted | ({".txt"} if format in ("csv", "tsv", "jsonl", "json") else set()))


def _format(source: Source, format: str, limits: ReadLimits) -> str:
    """The format of one file: as told, by its suffix, else by its first bytes. What is named .json may be JSONL."""
    if format != "auto":
        return format
    kind = SUFFIXES.get(source.suffix, "")
    if kind not in ("", "json"):
        return kind
    head = source.head(limits, HEAD)
    if kind == "json":
        return "jsonl" if is_jsonl(head) else "json"
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith(b"PK\x03\x04"):
        return "xlsx"
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    if start == b"[":
        return "json"
    return ("jsonl" if is_jsonl(head) else "json") if start == b"{" else "csv"


def _each(
    path: Paths,
    suffixes: frozenset[str],
    limits: ReadLimits,
    encoding: str,
    read: Callable[[Source, Account, str], T],
) -> tuple[list[T], pl.DataFrame, list[FileReport]]:
    """Reads every source behind `path`; a file that cannot be read becomes one row of the quarantine."""
    results: list[T] = []
    accounts: list[tuple[Account, FileReport]] = []
    hashes: dict[Path, tuple[str, int]] = {}

    def refuse(name: str, file: Path, reason: str) -> None:
        account = Account(name)
        digest, size = _identity(file, hashes)
        account.refuse(reason, offset=None, sha256=digest or None, size=size)
        accounts.append((account, account.report(sha256=digest, size=size)))

    for source in sources(path, suffixes=suffixes, limits=limits, refuse=refuse):
        before = _stamp(source.path)
        digest, size = _identity(source.path, hashes)
        account, result = _read_one(source, encoding, read)
        if _stamp(source.path) != before:
            raise InputError(f"{source.name}: changed while it was read; copy it first, or wait until it is written")
        if isinstance(result, Unreadable):
            account.refuse(result.reason, offset=result.offset, sha256=digest or None, size=size)
        else:
            results.append(result)
        accounts.append((account, account.report(sha256=digest, size=size)))
    accounts.sort(key=lambda entry: entry[0].file)
    quarantine = pl.concat([pl.DataFrame(schema=QUARANTINE), *(account.frame() for account, _ in accounts)])
    files = [report for _, report in accounts]
    logger.info(
        "read %d files: %d records, %d quarantined, %d blank lines",
        len(files),
        sum(file.units for file in files),
        quarantine.height,
        sum(file.blank for file in files),
    )
    return results, quarantine, files


def _read_one(
    source: Source, encoding: str, read: Callable[[Source, Account, str], T]
) -> tuple[Account, T | Unreadable]:
    account = Account(source.name)
    collecting = gc.isenabled()
    # millions of small objects without a cycle: looking for one takes a third of the time
    gc.disable()
    try:
        try:
            result = read(source, account, encoding)
        except ReadAgain as again:
            account = Account(source.name)
            result = read(source, account, again.encoding)
        if not account.rows and not account.quarantined:
            raise Unreadable("no_rows" if account.columns else "empty_file")
    except Unreadable as error:
        return account, error
    except OSError:
        return account, Unreadable("cannot_be_read")
    finally:
        if collecting:
            gc.enable()
    return account, result


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return (0, 0)
    return status.st_size, status.st_mtime_ns


def _identity(path: Path, known: dict[Path, tuple[str, int]]) -> tuple[str, int]:
    """Hash and size of a file on disk, "" where it cannot be opened; an archive is hashed once."""
    if path not in known:
        try:
            known[path] = (sha256_of(path), path.stat().st_size)
        except (Unreadable, OSError):
            known[path] = ("", 0)
    return known[path]


def sha256_file(path: str | Path) -> str:
    """Hex SHA-256 of the file's bytes."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_atomic(path: str | Path, data: bytes) -> None:
    """Writes `data` so that a reader sees the old file or the new one, never a part, whatever happens meanwhile."""
    _replace(Path(path), lambda stream: stream.write(data))


def write_json(path: str | Path, value: Any) -> None:
    """Writes `value` as JSON that depends on nothing but `value`: keys sorted, UTF-8, a final line end."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, indent=2, allow_nan=False)
    write_atomic(path, text.encode() + b"\n")


def write_parquet(path: str | Path, frame: pl.DataFrame) -> None:
    """Writes `frame` in its order; equal frames give equal bytes, however they are chunked and at any thread count."""
    # polars encodes into memory and Python writes: a full disk is then an OSError that says so
    buffer = io.BytesIO()
    frame.rechunk().write_parquet(
        buffer, compression="zstd", compression_level=3, statistics=True, row_group_size=ROW_GROUP
    )
    _replace(Path(path), lambda stream: stream.write(buffer.getbuffer()))


def write_slices(path: str | Path, slices: Iterable[pl.DataFrame], schema: pl.Schema) -> None:
    """Writes the rows of `slices` below each other as `write_parquet` does, holding some of them at a time.

    Equal slices give equal bytes, at any number of threads; each is a group of rows, so they are of one size.
    """
    from polars.io.plugins import register_io_source

    def each(columns: list[str] | None, *_: object) -> Iterator[pl.DataFrame]:
        yield from (one if columns is None else one.select(columns) for one in slices)

    def fill(stream: IO[bytes]) -> None:
        try:
            register_io_source(each, schema=schema).sink_parquet(
                stream,
                compression="zstd",
                compression_level=3,
                statistics=True,
                row_group_size=SLICE,
                maintain_order=True,
            )
        except pl.exceptions.ComputeError as error:
            if FULL.search(str(error)):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
            raise

    _replace(Path(path), fill)


def _replace(path: Path, fill: Callable[[IO[bytes]], object]) -> None:
    """A temporary file in the same folder, flushed to the disk, renamed, and the folder flushed."""
    temporary = path.parent / f".{path.name}.{uuid.uuid4().hex}.tmp"
    try:
        with temporary.open("xb") as stream:
            fill(stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise ResourceError(f"{path.name}: no room left on the disk; free some and run again") from error
        raise
    except BaseException:  # an interrupt too leaves nothing behind, and goes on
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
