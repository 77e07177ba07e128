"""CSV and TSV: records by the rules of RFC 4180, strictly, with the line and byte offset where each begins.

A record that breaks the rules (a quote that never closes, text after a closing quote, a field too many or too few)
costs its first line: reading starts afresh at the next one. A file of one column gives no way to tell whether that
next line is a record or the inside of the broken one, so there the rest of the file is quarantined with it.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl

from prefdata.errors import RecipeError
from prefdata.reading.account import RESERVED, Account, ReadLimits, Unreadable
from prefdata.reading.batches import BATCH_ROWS, Batches, union
from prefdata.reading.lines import CODECS, Lines, TooLong
from prefdata.reading.sources import Source

DELIMITERS = (",", "\t", ";", "|")
_SAMPLE_LINES = 50


def read_delimited(
    source: Source,
    account: Account,
    *,
    delimiter: str,
    header: bool | Sequence[str],
    quote: str | None,
    encoding: str,
    limits: ReadLimits,
) -> pl.DataFrame:
    """The rows of a delimited file, every value text as written; an empty field is "", never null.

    A column without a name is called after its place, column_1 for the first.
    Raises Unreadable where the header cannot be trusted: a name twice, a NUL, a broken record.
    """
    frames = delimited_frames(
        source, account, delimiter=delimiter, header=header, quote=quote, encoding=encoding, limits=limits
    )
    return union(list(frames))


def delimited_frames(
    source: Source,
    account: Account,
    *,
    delimiter: str = "auto",
    header: bool | Sequence[str] = True,
    quote: str | None = '"',
    encoding: str = "auto",
    limits: ReadLimits,
    chunk_bytes: int | None = None,
) -> Iterator[pl.DataFrame]:
    """The same rows in frames, one for every `chunk_bytes` or so of the file; all in one where that is null."""
    # the limit of the csv module belongs to the process, so it is only ever raised
    csv.field_size_limit(max(csv.field_size_limit(), limits.max_line_bytes))
    names = None if isinstance(header, bool) else list(header)
    if names is not None and (problem := _wrong_names(names)):
        raise RecipeError(f"header: {problem}")
    records = _Records(account, limits, names=names, named=header is True, quote=quote)
    lines = Lines(source, encoding=encoding, limits=limits)
    preferred = ("\t", ",", ";", "|") if source.suffix in (".tsv", ".tab") else DELIMITERS
    records.delimiter = "" if delimiter == "auto" else delimiter
    done = 0
    for block in lines:
        account.encoding = lines.encoding
        if isinstance(block, TooLong):
            records.run(final=True)
            records.unheaded("line_too_long", block.offset)
            account.quarantine_hashed(
                "line_too_long", line=block.line, offset=block.offset, sha256=block.sha256, size=block.size
            )
            continue
        offsets = block.offsets()
        records.line_end = block.end.encode(CODECS[lines.encoding])
        if not records.delimiter:
            sample = [text + "\n" for text in block.texts[:_SAMPLE_LINES] if text is not None]
            records.delimiter = sniff(sample, quote, preferred)
        start = 0
        bad = [index for index, text in enumerate(block.texts) if text is None] if None in block.texts else []
        for index in [*bad, len(block.texts)]:
            records.feed(
                [text + block.end for text in block.texts[start:index] if text is not None],
                block.raws[start:index],
                offsets[start:index],
                block.line + start,
            )
            if index < len(block.texts):
                records.run(final=True)
                records.unheaded("bad_encoding", offsets[index])
                account.quarantine("bad_encoding", block.raws[index], line=block.line + index, offset=offsets[index])
            start = index + 1
        records.run(final=False)
        if chunk_bytes is not None and offsets[-1] - done >= chunk_bytes:
            yield records.frame()
            done = offsets[-1]
    records.run(final=True)
    records.finish()
    yield records.frame()


def sniff(sample: Sequence[str], quote: str | None, candidates: Sequence[str] = DELIMITERS) -> str:
    """The delimiter by which most lines have as many fields as the first; a comma where none gives two fields."""
    best, best_score = candidates[0], (0.0, 1)
    for candidate in candidates:
        try:
            widths = [len(fields) for fields in csv.reader(sample, delimiter=candidate, **_quoting(quote)) if fields]
        except csv.Error:
            continue
        if widths and widths[0] > 1:
            score = (sum(width == widths[0] for width in widths) / len(widths), widths[0])
            if score > best_score:
                best, best_score = candidate, score
    return best


def _quoting(quote: str | None) -> dict[str, Any]:
    return {"quoting": csv.QUOTE_NONE} if quote is None else {"quotechar": quote}


def _wrong_names(names: Sequence[str]) -> str | None:
    if len(set(names)) != len(names):
        return "duplicate_columns"
    if RESERVED.intersection(names):
        return "reserved_column"
    if any("\x00" in name for name in names):
        return "nul_character"
    return None


class _Records:
    """Lines go in, whole records come out; holds the lines of a record whose quote is still open."""

    delimiter: str
    line_end: bytes

    def __init__(
        self, account: Account, limits: ReadLimits, *, names: list[str] | None, named: bool, quote: str | None
    ) -> None:
        self._account = account
        self._limits = limits
        self._names = names
        self._named = named  # the first record is the header
        self._quote = quote
        self._batches = Batches(account, limits)
        self._texts: list[str] = []
        self._raws: list[bytes] = []
        self._offsets: list[int] = []
        self._first = 1
        self._rows: list[list[str]] = []
        self._row_lines: list[int] = []
        self._row_offsets: list[int | None] = []
        self._lost: tuple[int, int, Any] | None = None
        self._lost_bytes = 0

    def feed(self, texts: list[str], raws: list[bytes], offsets: list[int], first: int) -> None:
        """Takes consecutive lines; those already held come right before them."""
        if not self._texts:
            self._first = first
            self._texts, self._raws, self._offsets = texts, raws, offsets
        else:
            self._texts += texts
            self._raws += raws
            self._offsets += offsets

    def unheaded(self, reason: str, offset: int) -> None:
        """Refuses the file where the line that cannot be read would have been its header."""
        if self._named and self._names is None:
            raise Unreadable(reason, offset=offset)

    def run(self, *, final: bool) -> None:
        """Turns the lines held into rows; unless `final`, those of an open record at the end are kept."""
        texts, count, start = self._texts, len(self._texts), 0
        suspect = "\x00" in "".join(texts)
        while start < count:
            if self._lost is not None:
                self._lose(start, count)
                start = count
                break
            reader = csv.reader(
                map(texts.__getitem__, range(start, count)),
                delimiter=self.delimiter,
                strict=True,
                **_quoting(self._quote),
            )
            at = start
            try:
                for fields in reader:
                    end = start + reader.line_num
                    if self._names is None and fields:
                        self._head(fields, at)
                    elif not fields:
                        self._account.blank += 1
                    elif len(fields) != len(self._names or ()):
                        self._broken("ragged_row", at, end)
                    elif suspect and any("\x00" in field for field in fields):
                        self._broken("nul_character", at, end)
                    elif end - at > 1 and self._size(at, end) > self._limits.max_line_bytes:
                        self._broken("line_too_long", at, end)
                    else:
                        self._rows.append(fields)
                        self._row_lines.append(self._first + at)
                        self._row_offsets.append(self._offsets[at])
                    at = end
                start = count
            except csv.Error as error:
                opened = str(error).startswith("unexpected end of data")
                if opened and not final and self._size(at, count) <= self._limits.max_line_bytes:
                    start = at
                    break
                if self._names is None and self._named:
                    raise Unreadable("broken_header", offset=self._offsets[at]) from error
                reason = "unclosed_quote" if opened else _reason(error)
                if self._names is not None and len(self._names) == 1:
                    self._lost = (self._first + at, self._offsets[at], hashlib.sha256())
                    start = at
                else:
                    self._broken(reason, at, at + 1)
                    start = at + 1
            if len(self._rows) >= BATCH_ROWS:
                self._flush()
        self._texts, self._raws = texts[start:], self._raws[start:]
        self._offsets, self._first = self._offsets[start:], self._first + start
        if len(self._rows) >= BATCH_ROWS:
            self._flush()

    def _size(self, at: int, end: int) -> int:
        return self._offsets[end - 1] + len(self._raws[end - 1]) - self._offsets[at] if end > at else 0

    def _broken(self, reason: str, at: int, end: int) -> None:
        raw = self.line_end.join(self._raws[at:end])
        self._account.quarantine(reason, raw, line=self._first + at, offset=self._offsets[at])

    def _lose(self, start: int, end: int) -> None:
        assert self._lost is not None
        for raw in self._raws[start:end]:
            self._lost[2].update(raw)
            self._lost_bytes += len(raw)

    def _head(self, fields: list[str], at: int) -> None:
        if self._named:
            fields = [field or f"column_{position + 1}" for position, field in enumerate(fields)]
            problem = _wrong_names(fields)
            if problem:
                raise Unreadable(problem, offset=self._offsets[at])
            self._names = fields
        else:
            self._names = [f"column_{position + 1}" for position in range(len(fields))]
            self._rows.append(fields)
            self._row_lines.append(self._first + at)
            self._row_offsets.append(self._offsets[at])
        if len(self._names) > self._limits.max_columns:
            raise Unreadable("too_many_columns")
        self._account.columns.update(dict.fromkeys(self._names))

    def _flush(self) -> None:
        if self._rows:
            columns = dict(zip(self._names or (), zip(*self._rows, strict=True), strict=True))
            self._batches.extend(columns, self._row_lines, self._row_offsets)
            self._rows, self._row_lines, self._row_offsets = [], [], []

    def finish(self) -> None:
        """Accounts for what an open quote swallowed."""
        if self._lost is not None:
            line, offset, digest = self._lost
            self._account.quarantine_hashed(
                "unclosed_quote", line=line, offset=offset, sha256=digest.hexdigest(), size=self._lost_bytes
            )

    def frame(self) -> pl.DataFrame:
        """The rows since the last call."""
        self._flush()
        return self._batches.drained()


def _reason(error: csv.Error) -> str:
    text = str(error)
    if text.startswith("new-line character"):
        return "bare_carriage_return"
    return "line_too_long" if text.startswith("field larger") else "broken_quoting"
