"""Files of any format to frames, chunk by chunk: JSONL, JSON documents, Parquet, CSV, TSV, XLSX, WebDataset tars, and
folders of them; of a folder that has none, its pictures with their texts.

Memory holds a chunk, not a file. Values keep their own types, nested as they are, and are never changed to make them
fit: rows of other types come in another frame of the same window.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl

from prefdata.errors import InputError
from prefdata.formats.export import write_export
from prefdata.formats.parquet_frames import parquet_frames
from prefdata.formats.picture_folder import is_sidecar, sidecar_frames, sidecars
from prefdata.formats.table_frames import table_frames
from prefdata.formats.tar_frames import Sample, samples, with_members
from prefdata.formats.writer import FrameWriter, Written
from prefdata.io import QUARANTINE, ReadLimits
from prefdata.reading.account import MIB, PLACE, Account, ReadAgain, Unreadable
from prefdata.reading.json_files import HEAD, elements, is_jsonl
from prefdata.reading.json_frames import KEY, Decoder
from prefdata.reading.lines import CODECS, Lines, TooLong, settle
from prefdata.reading.sources import SUFFIXES, Source, sources

__all__ = ["Chunk", "FrameWriter", "Written", "input_files", "read_frames", "write_export"]

CHUNK_BYTES = 8 * MIB

BESIDE = frozenset({"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json"})
"""Files that stand beside the data in a folder."""

_READ = frozenset(SUFFIXES) | {".tar"}
_TABLES = ("csv", "tsv", "xlsx")
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
    path: str | Path | Sequence[str | Path],
    *,
    limits: ReadLimits = _DEFAULT_LIMITS,
    chunk_bytes: int = CHUNK_BYTES,
    lines: Mapping[str, pl.Series] | None = None,
) -> Iterator[Chunk]:
    """The rows of all files of `path` (a file, a folder, a list of them), sorted by file name, in chunks.

    JSON as strict as `prefdata.io`: a key that stands twice, a lone surrogate, NaN, whole numbers beyond 64 bits and
    lists of several types (but see `plainer`) are quarantined. Whole numbers beside fractions become fractions where
    they fit exactly. A file that breaks off gives its rows up to there, and a row of the quarantine with `line` null.
    Bytes in Parquet become base64 text; every value of a CSV, TSV or XLSX is text. `lines`: file -> the lines (`_line`,
    Int64) whose rows alone are wanted; what else stands there is not decoded. Raises InputError where there is
    nothing to read, or a file changes while it is read.
    """
    window = 0
    found = input_files(path, limits=limits)
    if _is_folder(path) and is_sidecar(found[0]):
        wanted_files = [source for source in found if lines is None or source.name in lines]
        for window, (frame, gone) in enumerate(sidecar_frames(wanted_files, limits)):
            yield Chunk(frame, gone, window)
        return
    for source in found:
        if lines is not None and source.name not in lines:
            continue
        wanted = lines[source.name] if lines is not None else None
        account = Account(source.name)
        before = _stamp(source)
        try:
            for frames in _windows(source, account, limits, chunk_bytes, wanted):
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

    try:
        found = sources(path, suffixes=_READ, limits=limits, refuse=refuse)
    except InputError:
        found = _pictured(path)
        if not found:
            raise
    if faults:
        raise InputError("; ".join(faults))
    if _is_folder(path):
        found = [source for source in found if Path(source.name).name not in BESIDE] or _pictured(path)
        if not found:
            raise InputError(f"{path}: no data file in this folder; expected {' '.join(sorted(_READ))}")
    return found


def _is_folder(path: str | Path | Sequence[str | Path]) -> bool:
    return isinstance(path, (str, Path)) and Path(path).is_dir()


def _pictured(path: str | Path | Sequence[str | Path]) -> list[Source]:
    """The pictures of a folder with their texts; none where there is no picture."""
    return sidecars(Path(path)) if isinstance(path, (str, Path)) and Path(path).is_dir() else []


def _windows(
    source: Source, account: Account, limits: ReadLimits, chunk_bytes: int, wanted: pl.Series | None
) -> Iterator[list[pl.DataFrame]]:
    kind = _kind(source, limits)
    if kind == "parquet":
        for frame in parquet_frames(source, account, limits=limits, chunk_bytes=chunk_bytes):
            yield _at(frame, wanted)
    elif kind in _TABLES:
        for frame in table_frames(source, account, kind, limits=limits, chunk_bytes=chunk_bytes):
            yield _at(frame, wanted) if frame.height else []
    elif kind == "tar":
        yield from _tar(source, account, limits, chunk_bytes, wanted)
    elif kind == "jsonl":
        yield from _jsonl(source, account, limits, chunk_bytes, wanted)
    else:
        yield from _document(source, account, limits, chunk_bytes, wanted)


def _at(frame: pl.DataFrame, wanted: pl.Series | None) -> list[pl.DataFrame]:
    """The rows of the lines `wanted`; all where that is null."""
    if wanted is None:
        return [frame]
    some = frame.filter(pl.col("_line").is_in(wanted.implode()))
    return [some] if some.height else []


def _kind(source: Source, limits: ReadLimits) -> str:
    """What a file holds: by the suffix, else by the first bytes; what is named .json may be JSONL."""
    kind = "tar" if source.suffix == ".tar" else SUFFIXES.get(source.suffix, "")
    if kind in ("parquet", "jsonl", "tar", *_TABLES):
        return kind
    head = source.head(limits, HEAD)
    if not head:
        raise Unreadable("empty_file")
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith(b"PK\x03\x04"):
        return "xlsx"
    if source.suffix == ".txt" and head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] not in (b"[", b"{"):
        return "csv"
    return "jsonl" if is_jsonl(head) else "json"


class _Texts:
    """Texts of one file on their way to frames."""

    def __init__(self, account: Account, limits: ReadLimits, wanted: pl.Series | None) -> None:
        self._account = account
        self._wanted = wanted
        self._decoder = Decoder(limits)
        self.ascii = True
        """Whether all that was decoded so far was ASCII."""

    def frames(
        self, texts: pl.Series, lines: pl.Series, offsets: pl.Series, keys: pl.Series | None = None
    ) -> list[pl.DataFrame]:
        """The texts decoded, those of the lines that are wanted; what is refused goes to the quarantine."""
        if self._wanted is not None:
            here = lines.is_in(self._wanted.implode())
            if not here.any():
                return []
            texts, lines, offsets = texts.filter(here), lines.filter(here), offsets.filter(here)
            keys = keys.filter(here) if keys is not None else None
        file = pl.repeat(self._account.file, len(texts), dtype=pl.String, eager=True)
        places = pl.DataFrame({"_file": file, "_line": lines, "_offset": offsets})
        if keys is not None and keys.null_count() < len(keys):
            places = places.with_columns(keys.alias(KEY))
        filled = self._filled(texts)
        if filled is not None:
            texts, places = texts.filter(filled), places.filter(filled)
        decoded = self._decoder.decode(texts, places)
        codec = CODECS.get(self._account.encoding, "utf-8")
        for at, reason in decoded.refused:
            raw = texts[at].encode(codec)
            self._account.quarantine(reason, raw, line=places["_line"][at], offset=places["_offset"][at])
        self._account.rows += sum(frame.height for frame in decoded.frames)
        return decoded.frames

    def _filled(self, texts: pl.Series) -> pl.Series | None:
        """Which texts are not blank; null where all are filled."""
        odd = (~texts.str.starts_with("{")).arg_true()
        blank = odd.filter(texts.gather(odd).str.strip_chars(_SPACE) == "") if len(odd) else odd
        if not len(blank):
            return None
        self._account.blank += len(blank)
        return ~pl.int_range(len(texts), eager=True).is_in(blank.implode())


def _jsonl(
    source: Source, account: Account, limits: ReadLimits, chunk_bytes: int, wanted: pl.Series | None
) -> Iterator[list[pl.DataFrame]]:
    done = 0
    texts = _Texts(account, limits, wanted)
    for last, frames in _utf8_lines(source, account, limits, chunk_bytes, texts):
        if frames is None:
            break
        yield frames
        done = last
    else:
        return
    try:
        for last, frames in _lines(source, account, limits, chunk_bytes, texts, "auto", done):
            yield frames
            done = last
    except ReadAgain as again:
        if not texts.ascii:
            raise Unreadable("bad_encoding") from None
        account.drained()  # of lines after `done`, which are read again
        for _, frames in _lines(source, account, limits, chunk_bytes, texts, again.encoding, done):
            yield frames


def _utf8_lines(
    source: Source, account: Account, limits: ReadLimits, chunk_bytes: int, texts: _Texts
) -> Iterator[tuple[int, list[pl.DataFrame] | None]]:
    """Frames of a UTF-8 file whose lines are all within the limit, which never become Python's; each time with the
    last line that they account for. Frames of None: what follows is not like that, and is for `_lines`."""
    line, offset, held, parts = 0, 0, 0, []
    chunks = source.chunks(limits)
    for chunk in chunks:
        if not account.encoding:
            account.encoding, offset = settle(chunk, "auto")
            if CODECS[account.encoding] != "utf-8" or b"\n" not in chunk:
                yield line, None
                return
            chunk = chunk[offset:]
        parts.append(chunk)
        held += len(chunk)
        if held < chunk_bytes:
            continue
        cut = chunk.rfind(b"\n")
        if cut < 0:
            yield line, None
            return
        parts[-1], rest = chunk[:cut], chunk[cut + 1 :]
        data = b"".join(parts)
        last, frames = _split(data, line, offset, limits, texts)
        yield last, frames
        line, offset, parts, held = last, offset + len(data) + 1, [rest], len(rest)
    data = b"".join(parts)
    if data:
        yield _split(data.removesuffix(b"\n"), line, offset, limits, texts)


def _split(
    data: bytes, line: int, offset: int, limits: ReadLimits, texts: _Texts
) -> tuple[int, list[pl.DataFrame] | None]:
    """Frames of the lines of `data`, the first of which comes after `line` and stands at `offset`."""
    try:
        whole = pl.Series("text", [data], dtype=pl.Binary).cast(pl.String)
    except pl.exceptions.ComputeError:
        return line, None
    rows = whole.str.split("\n").explode()
    sizes = rows.str.len_bytes().cast(pl.Int64)
    if int(sizes.max() or 0) > limits.max_line_bytes:  # type: ignore[arg-type]
        return line, None
    texts.ascii = texts.ascii and data.isascii()
    numbers = pl.int_range(line + 1, line + 1 + len(rows), dtype=pl.Int64, eager=True)
    return line + len(rows), texts.frames(rows, numbers, (sizes + 1).cum_sum() - (sizes + 1) + offset)


def _lines(
    source: Source,
    account: Account,
    limits: ReadLimits,
    chunk_bytes: int,
    texts: _Texts,
    encoding: str,
    after: int,
) -> Iterator[tuple[int, list[pl.DataFrame]]]:
    """Frames of the lines after the line `after`, each time with the last line that they account for."""
    lines = Lines(source, encoding=encoding, limits=limits)
    pending = _Pending(texts)
    for block in lines:
        account.encoding = lines.encoding
        if isinstance(block, TooLong):
            if block.line > after:
                account.quarantine_hashed(
                    "line_too_long", line=block.line, offset=block.offset, sha256=block.sha256, size=block.size
                )
            continue
        last = block.line + len(block.texts) - 1
        if last <= after:
            continue
        for at, (text, offset) in enumerate(zip(block.texts, block.offsets(), strict=True)):
            if block.line + at <= after:
                continue
            if text is None:
                account.quarantine("bad_encoding", block.raws[at], line=block.line + at, offset=offset)
            else:
                pending.add(text, block.line + at, offset)
        if pending.size >= chunk_bytes:
            yield last, pending.frames()
    if pending.size:
        yield 0, pending.frames()


class _Pending:
    """Texts that came one by one, until they are decoded together."""

    def __init__(self, texts: _Texts) -> None:
        self._texts = texts
        self._rows: list[tuple[str, int, int, str | None]] = []
        self.size = 0

    def add(self, text: str, line: int, offset: int, key: str | None = None) -> None:
        self._rows.append((text, line, offset, key))
        self.size += len(text) + 1

    def frames(self) -> list[pl.DataFrame]:
        rows, lines, offsets, keys = zip(*self._rows, strict=True)
        self._rows, self.size = [], 0
        self._texts.ascii = self._texts.ascii and all(map(str.isascii, rows))
        return self._texts.frames(
            pl.Series("text", rows, dtype=pl.String),
            pl.Series(lines, dtype=pl.Int64),
            pl.Series(offsets, dtype=pl.Int64),
            pl.Series(keys, dtype=pl.String),
        )


def _document(
    source: Source, account: Account, limits: ReadLimits, chunk_bytes: int, wanted: pl.Series | None
) -> Iterator[list[pl.DataFrame]]:
    texts = _Texts(account, limits, wanted)
    pending = _Pending(texts)
    done = 0
    encoding = "auto"
    while True:
        try:
            for element in elements(source, account, encoding=encoding, limits=limits):
                if element.line <= done:
                    continue
                pending.add(element.text, element.line, element.offset, element.key)
                if pending.size >= chunk_bytes:
                    yield pending.frames()
                    done = element.line
            break
        except ReadAgain as again:
            if not texts.ascii or encoding != "auto":
                raise Unreadable("bad_encoding") from None
            encoding, pending = again.encoding, _Pending(texts)
            account.drained()
    if pending.size:
        yield pending.frames()


def _tar(
    source: Source, account: Account, limits: ReadLimits, chunk_bytes: int, wanted: pl.Series | None
) -> Iterator[list[pl.DataFrame]]:
    texts = _Texts(account, limits, wanted)
    batch: dict[int, Sample] = {}
    held = 0
    broken: Unreadable | None = None
    found = samples(source, limits)
    while True:
        try:
            sample = next(found, None)
        except Unreadable as error:
            sample, broken = None, error
        if sample is not None and sample.fault:
            account.quarantine_hashed(
                sample.fault, line=sample.number, offset=sample.offset, sha256=sample.sha256, size=sample.size
            )
            continue
        if sample is not None:
            batch[sample.number] = sample
            held += sample.size
        if batch and (sample is None or held >= chunk_bytes):
            rows = pl.Series("text", [one.text for one in batch.values()], dtype=pl.String)
            lines = pl.Series(list(batch), dtype=pl.Int64)
            offsets = pl.Series([one.offset for one in batch.values()], dtype=pl.Int64)
            yield [with_members(frame, batch) for frame in texts.frames(rows, lines, offsets)]
            batch, held = {}, 0
        if broken is not None:
            raise broken
        if sample is None:
            return


def _stamp(source: Source) -> tuple[int, int]:
    try:
        status = os.stat(source.path)
    except OSError:
        return (0, 0)
    return status.st_size, status.st_mtime_ns
