"""Parquet through polars and XLSX through calamine, every value as text, behind checks of what they would unpack to."""

from __future__ import annotations

import json
import os
import re
import zipfile
import zlib
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import reduce
from typing import Any, BinaryIO

import polars as pl

from prefdata.reading.account import MIB, PLACE, RESERVED, Account, ReadLimits, Unreadable
from prefdata.reading.sources import Source, check_archive

_SLICE = 50_000
_PLACE_OF_CELL = re.compile(rb"""\br=["']([A-Z]{0,3})([0-9]{1,10})["']""")

_CELL_BYTES = 16
"""What polars holds for a cell of text, at least: the size of a view."""


def read_parquet(source: Source, account: Account, *, limits: ReadLimits) -> pl.DataFrame:
    """The rows of a Parquet file: scalars as text, structs and lists as JSON text; `_line` is the row number."""
    with source.seekable(limits) as stream:
        check_magic(stream)
        try:
            schema = pl.read_parquet_schema(stream)
            stream.seek(0)
            rows = pl.scan_parquet(stream, glob=False, hive_partitioning=False).select(pl.len()).collect().item()
            if len(schema) > limits.max_columns:
                raise Unreadable("too_many_columns")
            if rows * max(1, len(schema)) * _CELL_BYTES > limits.max_bytes:
                raise Unreadable("decompression_bomb")
            if RESERVED.intersection(schema):
                raise Unreadable("reserved_column")
            stream.seek(0)
            frame = pl.read_parquet(stream, glob=False, hive_partitioning=False)
            bad: dict[int, str] = {}
            texts = frame.select(_as_text(frame[name], bad) for name in frame.columns)
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError) as error:
            raise Unreadable("broken_parquet") from error
    return _placed(texts, account, bad=bad)


def check_magic(stream: BinaryIO) -> None:
    """Raises Unreadable for what is no whole Parquet file."""
    size = stream.seek(0, os.SEEK_END)
    if size == 0:
        raise Unreadable("empty_file")
    stream.seek(0)
    if stream.read(4) != b"PAR1":
        raise Unreadable("not_parquet")
    stream.seek(max(0, size - 4))
    if size < 12 or stream.read(4) != b"PAR1":
        raise Unreadable("truncated_parquet")
    stream.seek(0)


def _as_text(column: pl.Series, bad: dict[int, str]) -> pl.Series:
    """`column` as text; notes in `bad` the rows that have none."""
    if column.dtype.is_nested() or column.dtype == pl.Binary:
        return pl.Series(column.name, _json_texts(column, bad), dtype=pl.String)
    return column.cast(pl.String, strict=True)


def _json_texts(column: pl.Series, bad: dict[int, str]) -> list[str | None]:
    """A batch kernel: nested values to compact JSON, bytes to the text that they are."""
    encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=_plain, allow_nan=False).encode
    texts: list[str | None] = []
    for start in range(0, len(column), _SLICE):
        for value in column.slice(start, _SLICE).to_list():
            try:
                texts.append(None if value is None else value.decode() if type(value) is bytes else encode(value))
            except ValueError as error:
                bad[len(texts)] = "bad_encoding" if isinstance(error, UnicodeDecodeError) else "non_finite_number"
                texts.append(None)
    return texts


def _plain(value: Any) -> Any:
    if isinstance(value, (date, datetime, time)):
        return value.isoformat()
    if isinstance(value, (Decimal, timedelta)):
        return str(value)
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, pl.Series):
        return value.to_list()
    raise ValueError("no JSON for this type")


def read_xlsx(
    source: Source, account: Account, *, header: bool | Sequence[str], sheet: str | None, limits: ReadLimits
) -> pl.DataFrame:
    """The rows of one sheet, every cell as the text of its value, empty cells null; `_line` is the row of the sheet.

    Rows without a value count as blank. Raises Unreadable where the file would unpack to more than the caps allow,
    before it is unpacked.
    """
    import fastexcel

    with source.seekable(limits) as stream:
        size = stream.seek(0, os.SEEK_END)
        if size == 0:
            raise Unreadable("empty_file")
        stream.seek(0)
        check_archive(stream, size, limits)
        _check_extent(stream, limits)
        stream.seek(0)
        data = stream.read()
    try:
        book = fastexcel.read_excel(data)
        if sheet is not None and sheet not in book.sheet_names:
            raise Unreadable("no_such_sheet")
        if not book.sheet_names:
            raise Unreadable("no_rows")
        cells = book.load_sheet(
            sheet if sheet is not None else 0, header_row=None, skip_rows=0, dtypes="string"
        ).to_polars()
    except fastexcel.FastExcelError as error:
        raise Unreadable("broken_xlsx") from error
    except pl.exceptions.PanicException as error:
        raise Unreadable("broken_xlsx") from error
    if cells.width > limits.max_columns:
        raise Unreadable("too_many_columns")
    cells = cells.select(pl.all().cast(pl.String)).with_row_index("_line", offset=1)
    filled = cells.filter(~pl.all_horizontal(pl.exclude("_line").is_null()))
    account.blank = cells.height - filled.height
    if header is True:
        if not filled.height:
            raise Unreadable("empty_file")
        given = filled.drop("_line").row(0)
        # columns without a name and without a value: the sheet was once wider
        used = [
            index
            for index, name in enumerate(given)
            if name or filled.slice(1).to_series(index + 1).null_count() < filled.height - 1
        ]
        names = [name or f"column_{index + 1}" for index, name in enumerate(given)]
        filled = filled.slice(1)
    elif header is False:
        names = [f"column_{position + 1}" for position in range(cells.width - 1)]
        used = list(range(len(names)))
    else:
        names, used = list(header), list(range(len(header)))
        if cells.width - 1 != len(names):
            raise Unreadable("ragged_row")
    names = [names[index] for index in used]
    if len(set(names)) != len(names):
        raise Unreadable("duplicate_columns")
    if RESERVED.intersection(names):
        raise Unreadable("reserved_column")
    lines = filled["_line"].cast(pl.Int64)
    texts = pl.DataFrame({name: filled.to_series(index + 1) for index, name in zip(used, names, strict=True)})
    return _placed(texts, account, lines=lines)


def _check_extent(stream: BinaryIO, limits: ReadLimits) -> None:
    """Raises Unreadable where a sheet has a cell so far out that the cells up to there outnumber those that are
    written by more than the ratio: calamine holds all of the rectangle.
    """
    try:
        with zipfile.ZipFile(stream) as archive:
            sheets = [name for name in archive.namelist() if name.startswith("xl/worksheets/")]
            for name in sheets:
                row = column = written = 0
                tail = b""
                with archive.open(name) as part:
                    while chunk := part.read(MIB):
                        chunk = tail + chunk
                        for letters, digits in _PLACE_OF_CELL.findall(chunk):
                            row = max(row, int(digits))
                            if letters:
                                written += 1
                                column = max(column, reduce(lambda at, char: at * 26 + char - 64, letters, 0))
                        # a reference that is cut in two counts once more than it should at most
                        tail = chunk[-24:]
                if row * column > max(MIB, limits.max_ratio * written):
                    raise Unreadable("decompression_bomb")
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
        raise Unreadable("broken_xlsx") from error


def _placed(
    texts: pl.DataFrame, account: Account, *, lines: pl.Series | None = None, bad: dict[int, str] | None = None
) -> pl.DataFrame:
    """`texts` with its place columns, less the `bad` rows and those that hold a NUL."""
    account.columns.update(dict.fromkeys(texts.columns))
    if lines is None:
        lines = pl.Series("_line", range(1, 1 + texts.height), dtype=pl.Int64)
    frame = texts.with_columns(
        pl.lit(account.file).alias("_file"), lines.alias("_line"), pl.lit(None, dtype=pl.Int64).alias("_offset")
    ).select(*PLACE, *texts.columns)
    if not texts.width:
        return frame
    reasons = dict(bad or {})
    nul = texts.select(pl.any_horizontal(pl.all().str.contains("\x00", literal=True)).fill_null(False)).to_series()
    for index in nul.arg_true():
        reasons.setdefault(index, "nul_character")
    for index in sorted(reasons):
        row = frame.row(index)
        raw = json.dumps(row[len(PLACE) :], ensure_ascii=False).encode()
        account.quarantine(reasons[index], raw, line=row[1], offset=None)
    if reasons:
        kept = pl.Series(range(frame.height)).is_in(sorted(reasons)).not_()
        frame = frame.filter(kept)
    account.rows += frame.height
    return frame
