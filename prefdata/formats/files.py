"""Files of any format to frames, chunk by chunk: JSONL, JSON documents, Parquet, and folders of them.

Memory holds a chunk, not a file. Values keep their own types, nested as they are, and are never changed to make them
fit: rows of other types come in another frame of the same window.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl

from prefdata.errors import InputError
from prefdata.formats.export import write_export
from prefdata.formats.parquet_frames import parquet_frames
from prefdata.formats.writer import FrameWriter, Written
from prefdata.io import QUARANTINE, ReadLimits
from prefdata.reading.account import MIB, PLACE, Account, ReadAgain, Unreadable
from prefdata.reading.json_files import HEAD, elements, is_jsonl
from prefdata.reading.json_frames import KEY, Decoder
from prefdata.reading.lines import CODECS, Lines, TooLong
from prefdata.reading.sources import SUFFIXES, Source, sources

__all__ = ["Chunk", "FrameWriter", "Written", "input_files", "read_frames", "write_export"]

CHUNK_BYTES = 32 * MIB

BESIDE = frozenset({"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json", "refused.parquet"})
"""Files that stand beside the data in a folder."""

_READ = frozenset({".jsonl", ".ndjson", ".json", ".parquet", ".pq"})
_DEFAULT_LIMITS = ReadLimits()
_SPACE = " \t\r\n"


class Chunk(NamedTuple):
    """Rows that stood near each other in a file, of one dtype a column."""

    frame: pl.DataFrame
    """`_file` String, `_line` Int64, `_offset` Int64 (null in Parquet), then the file's own columns."""
    quarantine: pl.DataFrame
    """QUARANTINE: what could not be read since the chunk before."""
    window: int
    """Chunks of one window are of different dtypes, and their rows stood between each other."""


def read_frames(
    path: str | Path | Sequence[str | Path], *, limits: ReadLimits = _DEFAULT_LIMITS, chunk_bytes: int = CHUNK_BYTES
) -> Iterator[Chunk]:
    """The rows of all files of `path` (a file, a folder, a list of them), sorted by file name, in chunks.

    JSON as strict as `prefdata.io`: a key that stands twice, a lone surrogate, NaN, whole numbers beyond 64 bits and
    lists of several types are quarantined. Whole numbers beside fractions become fractions where they fit exactly. A
    file that breaks off gives its rows up to there, and a row of the quarantine with `line` null. Bytes in Parquet
    become base64 text. Raises InputError where there is nothing to read, or a file changes while it is read.
    """
    window = 0
    for source in input_files(path, limits=limits):
        account = Account(source.name)
        before = _stamp(source)
        try:
            for frames in _windows(source, account, limits, chunk_bytes):
                quarantine = account.drained()
                for frame in frames or ([pl.DataFrame(schema=PLACE)] if quarantine.height else []):
                    yield Chunk(frame, quarantine, window)
                    quarantine = pl.DataFrame(schema=QUARANTINE)
                window += 1
        except Unreadable as error:
            account.quarantine_file(error.reason, offset=error.offset, size=before[0])
        except OSError:
            account.quarantine_file("cannot_be_read", offset=None, size=before[0])
        if _stamp(source) != before:
            raise InputError(f"{source.name}: changed while it was read; copy it first, or wait until it is written")
        if (left := account.drained()).height:
            yield Chunk(pl.DataFrame(schema=PLACE), left, window)
            window += 1


def input_files(path: str | Path | Sequence[str | Path], *, limits: ReadLimits = _DEFAULT_LIMITS) -> list[Source]:
    """The files behind `path`, sorted by name; of a folder those that hold data."""
    faults: list[str] = []

    def refuse(name: str, file: Path, reason: str) -> None:
        faults.append(f"{name}: {reason}")

    found = sources(path, suffixes=_READ, limits=limits, refuse=refuse)
    if faults:
        raise InputError("; ".join(faults))
    if isinstance(path, (str, Path)) and Path(path).is_dir():
        found = [source for source in found if Path(source.name).name not in BESIDE]
        if not found:
            raise InputError(f"{path}: no data file in this folder; expected {' '.join(sorted(_READ))}")
    return found


def _windows(source: Source, account: Account, limits: ReadLimits, chunk_bytes: int) -> Iterator[list[pl.DataFrame]]:
    kind = _kind(source, limits)
    if kind == "parquet":
        for frame in parquet_frames(source, account, limits=limits, chunk_bytes=chunk_bytes):
            yield [frame]
    elif kind == "jsonl":
        yield from _jsonl(source, account, limits, chunk_bytes)
    else:
        yield from _document(source, account, limits, chunk_bytes)


def _kind(source: Source, limits: ReadLimits) -> str:
    """parquet, jsonl or json: by the suffix, else by the first bytes; what is named .json may be JSONL."""
    kind = SUFFIXES.get(source.suffix, "")
    if kind in ("parquet", "jsonl"):
        return kind
    head = source.head(limits, HEAD)
    if not head:
        raise Unreadable("empty_file")
    if head.startswith(b"PAR1"):
        return "parquet"
    if kind not in ("", "json"):
        raise Unreadable("not_json")
    return "jsonl" if is_jsonl(head) else "json"


class _Pending:
    """Texts that wait to be decoded together."""

    def __init__(self, account: Account, limits: ReadLimits) -> None:
        self._account = account
        self._decoder = Decoder(limits)
        self.texts: list[str] = []
        self.lines: list[int] = []
        self.offsets: list[int] = []
        self.keys: list[str | None] = []
        self.size = 0
        self.ascii = True
        """Whether all that was decoded so far was ASCII."""

    def frames(self) -> list[pl.DataFrame]:
        """All that waits, decoded; what is refused goes to the quarantine."""
        texts = pl.Series("text", self.texts, dtype=pl.String)
        places = pl.DataFrame(
            {
                "_file": pl.repeat(self._account.file, len(texts), dtype=pl.String, eager=True),
                "_line": pl.Series(self.lines, dtype=pl.Int64),
                "_offset": pl.Series(self.offsets, dtype=pl.Int64),
            }
        )
        if any(key is not None for key in self.keys):
            places = places.with_columns(pl.Series(KEY, self.keys, dtype=pl.String))
        else:
            filled = self._filled(texts)
            if filled is not None:
                texts, places = texts.filter(filled), places.filter(filled)
        if self.ascii:
            self.ascii = all(map(str.isascii, self.texts))
        decoded = self._decoder.decode(texts, places)
        codec = CODECS.get(self._account.encoding, "utf-8")
        for at, reason in decoded.refused:
            raw = texts[at].encode(codec)
            self._account.quarantine(reason, raw, line=places["_line"][at], offset=places["_offset"][at])
        self._account.rows += sum(frame.height for frame in decoded.frames)
        self.texts, self.lines, self.offsets, self.keys, self.size = [], [], [], [], 0
        return decoded.frames

    def _filled(self, texts: pl.Series) -> pl.Series | None:
        """Which texts are not blank; null where all are filled."""
        odd = (~texts.str.starts_with("{")).arg_true()
        blank = odd.filter(texts.gather(odd).str.strip_chars(_SPACE) == "") if len(odd) else odd
        if not len(blank):
            return None
        self._account.blank += len(blank)
        return ~pl.int_range(len(texts), eager=True).is_in(blank)


def _jsonl(source: Source, account: Account, limits: ReadLimits, chunk_bytes: int) -> Iterator[list[pl.DataFrame]]:
    pending = _Pending(account, limits)
    done = 0
    try:
        for last, frames in _lines(source, account, limits, chunk_bytes, pending, "auto", 0):
            yield frames
            done = last
    except ReadAgain as again:
        if not pending.ascii:
            raise Unreadable("bad_encoding") from None
        account.drained()  # of lines after `done`, which are read again
        pending = _Pending(account, limits)
        for _, frames in _lines(source, account, limits, chunk_bytes, pending, again.encoding, done):
            yield frames


def _lines(
    source: Source,
    account: Account,
    limits: ReadLimits,
    chunk_bytes: int,
    pending: _Pending,
    encoding: str,
    after: int,
) -> Iterator[tuple[int, list[pl.DataFrame]]]:
    """Frames of the lines after the line `after`, each time with the last line that they account for."""
    lines = Lines(source, encoding=encoding, limits=limits)
    for block in lines:
        account.encoding = lines.encoding
        if isinstance(block, TooLong):
            if block.line > after:
                account.quarantine_hashed(
                    "line_too_long", line=block.line, offset=block.offset, sha256=block.sha256, size=block.size
                )
            continue
        offsets, texts, last = block.offsets(), block.texts, block.line + len(block.texts) - 1
        if last <= after:
            continue
        numbers = range(block.line, last + 1)
        whole = [text for text in texts if text is not None]
        if len(whole) < len(texts) or block.line <= after:
            kept = [at for at, line in enumerate(numbers) if line > after]
            for at in kept:
                if texts[at] is None:
                    account.quarantine("bad_encoding", block.raws[at], line=numbers[at], offset=offsets[at])
            kept = [at for at in kept if texts[at] is not None]
            whole = [text for at in kept if (text := texts[at]) is not None]
            pending.lines += [numbers[at] for at in kept]
            pending.offsets += [offsets[at] for at in kept]
        else:
            pending.lines += numbers
            pending.offsets += offsets
        pending.texts += whole
        pending.keys += [None] * len(whole)
        pending.size += offsets[-1] - block.offset + len(block.raws[-1])
        if pending.size >= chunk_bytes:
            yield last, pending.frames()
    if pending.texts:
        yield 0, pending.frames()


def _document(source: Source, account: Account, limits: ReadLimits, chunk_bytes: int) -> Iterator[list[pl.DataFrame]]:
    pending = _Pending(account, limits)
    done = 0
    encoding = "auto"
    while True:
        try:
            for element in elements(source, account, encoding=encoding, limits=limits):
                if element.line <= done:
                    continue
                pending.texts.append(element.text)
                pending.lines.append(element.line)
                pending.offsets.append(element.offset)
                pending.keys.append(element.key)
                pending.size += len(element.text)
                if pending.size >= chunk_bytes:
                    last = element.line
                    yield pending.frames()
                    done = last
            break
        except ReadAgain as again:
            if not pending.ascii or encoding != "auto":
                raise Unreadable("bad_encoding") from None
            encoding, pending = again.encoding, _Pending(account, limits)
            account.drained()
    if pending.texts:
        yield pending.frames()


def _stamp(source: Source) -> tuple[int, int]:
    try:
        status = os.stat(source.path)
    except OSError:
        return (0, 0)
    return status.st_size, status.st_mtime_ns
