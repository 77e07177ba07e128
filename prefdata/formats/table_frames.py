"""CSV, TSV and XLSX to frames of text, chunk by chunk, for datasets that are kept as tables."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from prefdata.reading.account import Account, ReadAgain, ReadLimits, Unreadable
from prefdata.reading.columnar import read_xlsx
from prefdata.reading.delimited import delimited_frames
from prefdata.reading.sources import Source


def table_frames(
    source: Source, account: Account, kind: str, *, limits: ReadLimits, chunk_bytes: int
) -> Iterator[pl.DataFrame]:
    """The rows of one file of the kind csv, tsv or xlsx (its first sheet), every value text, with their places.

    The first record names the columns. An empty field of a CSV is "", an empty cell of a sheet null. Raises Unreadable
    where the file has no rows at all.
    """
    if kind == "xlsx":
        whole = read_xlsx(source, account, header=True, sheet=None, limits=limits)
        size = max(1, int(whole.height * chunk_bytes / max(whole.estimated_size(), 1)))
        frames: Iterator[pl.DataFrame] = whole.iter_slices(size)
    else:
        frames = _delimited(source, account, limits, chunk_bytes)
    found = False
    for frame in frames:
        found = found or frame.height > 0 or account.quarantined > 0
        yield frame
    if not found and not account.quarantined:
        raise Unreadable("no_rows" if account.columns else "empty_file")


def _delimited(source: Source, account: Account, limits: ReadLimits, chunk_bytes: int) -> Iterator[pl.DataFrame]:
    """Where a file that began in ASCII turns out to be in another encoding, it is read again from there on."""
    done, ascii_ = 0, True
    try:
        for frame in delimited_frames(source, account, limits=limits, chunk_bytes=chunk_bytes):
            ascii_ = ascii_ and _is_ascii(frame)
            done = _last(frame, account, done)
            yield frame
        return
    except ReadAgain as again:
        if not ascii_:
            raise Unreadable("bad_encoding") from None
        encoding = again.encoding
    account.drained()  # of lines after `done`, which are read again
    anew = Account(account.file)
    for frame in delimited_frames(source, anew, encoding=encoding, limits=limits, chunk_bytes=chunk_bytes):
        account.encoding, account.columns = anew.encoding, anew.columns
        for _, line, offset, reason, sha256, size in anew.drained().filter(pl.col("line") > done).iter_rows():
            account.quarantine_hashed(reason, line=line, offset=offset, sha256=sha256, size=size)
        yield frame.filter(pl.col("_line") > done)


def _last(frame: pl.DataFrame, account: Account, before: int) -> int:
    """The last line of which a row or an entry of the quarantine tells."""
    lines = (frame["_line"].max(), account.frame()["line"].max())
    return max([before, *(int(line) for line in lines if line is not None)])  # type: ignore[arg-type]


def _is_ascii(frame: pl.DataFrame) -> bool:
    texts = frame.drop("_file", "_line", "_offset", strict=False)
    same = (bool((column.str.len_bytes() == column.str.len_chars()).all()) for column in texts)
    return all(map(str.isascii, texts.columns)) and all(same)
