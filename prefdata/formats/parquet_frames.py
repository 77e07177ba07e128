"""Parquet to frames, chunk by chunk, behind checks of what the file would unpack to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import polars as pl

from prefdata.io import ReadLimits
from prefdata.reading.account import RESERVED, Account, Unreadable
from prefdata.reading.columnar import check_magic
from prefdata.reading.sources import Source

_MIN_ROWS, _MAX_ROWS = 1_000, 100_000
_MIN_PICTURES = 16
"""Rows of a chunk where some hold bytes, a picture each: they do not shrink on disk."""

_UNPACKED = 3
"""How much larger than on disk a row is taken to be in memory, for the number of rows of a chunk only."""

_CELL_BYTES = 16

_CHUNKS_MAPPED = 8
"""Chunks of one scan."""


def parquet_frames(source: Source, account: Account, *, limits: ReadLimits, chunk_bytes: int) -> Iterator[pl.DataFrame]:
    """Frames of at most as many rows as are likely to fill twice `chunk_bytes`, since no texts stand beside the values
    as they do in JSON; `_line` is the row number, from 1."""
    with source.seekable(limits) as stream:
        check_magic(stream)
        size = stream.seek(0, os.SEEK_END)
        stream.seek(0)
        try:
            schema = pl.read_parquet_schema(stream)
            stream.seek(0)
            plain = source.member is None and not source.gzipped
            given: Path | BinaryIO = source.path if plain else stream
            scanned = pl.scan_parquet(given, glob=False, hive_partitioning=False)
            rows: int = scanned.select(pl.len()).collect().item()
            if len(schema) > limits.max_columns:
                raise Unreadable("too_many_columns")
            if rows * max(1, len(schema)) * _CELL_BYTES > limits.max_bytes:
                raise Unreadable("decompression_bomb")
            if not RESERVED.isdisjoint(schema):
                raise Unreadable("reserved_column")
            wanted = 2 * chunk_bytes * rows // (_UNPACKED * size) if rows else _MIN_ROWS
            least = _MIN_PICTURES if any(map(_binary, schema.values())) else _MIN_ROWS
            step = min(_MAX_ROWS, max(least, wanted))
            done = 0
            for first in range(0, rows, _CHUNKS_MAPPED * step):
                # a scan maps the file and keeps what it has touched: begun anew, it lets go of it
                scan = scanned.slice(first, _CHUNKS_MAPPED * step)
                for frame in scan.collect_batches(chunk_size=step, maintain_order=True):
                    for start in range(0, frame.height, step):
                        part = frame.slice(start, step)
                        yield _placed(part, account, done)
                        done += part.height
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, ValueError) as error:
            raise Unreadable("broken_parquet") from error


def _placed(frame: pl.DataFrame, account: Account, done: int) -> pl.DataFrame:
    columns = [_readable(pl.col(name), dtype).alias(name) for name, dtype in frame.schema.items() if _odd(dtype)]
    if columns:
        frame = frame.with_columns(columns)
    height = frame.height
    placed = pl.DataFrame(
        {
            "_file": pl.repeat(account.file, height, dtype=pl.String, eager=True),
            "_line": pl.int_range(done + 1, done + 1 + height, dtype=pl.Int64, eager=True),
            "_offset": pl.Series([None] * height, dtype=pl.Int64),
        }
    ).hstack(frame.get_columns())
    if any(_nul(column) for column in frame.get_columns()):
        bad = [at for at, row in enumerate(frame.iter_rows()) if "\\x00" in repr(row) and _holds_nul(row)]
        for at in bad:
            account.quarantine("nul_character", repr(frame.row(at)).encode(), line=done + 1 + at, offset=None)
        placed = placed.filter(~pl.int_range(height, eager=True).is_in(bad))
    account.rows += placed.height
    return placed


def _binary(dtype: Any) -> bool:
    """Whether a dtype holds bytes at any level."""
    if isinstance(dtype, pl.Struct):
        return any(_binary(field.dtype) for field in dtype.fields)
    return _binary(dtype.inner) if isinstance(dtype, pl.List) else dtype == pl.Binary


def _odd(dtype: Any) -> bool:
    """Whether a dtype holds, at any level, what JSON and the formats do not know."""
    if isinstance(dtype, pl.Struct):
        return any(_odd(field.dtype) for field in dtype.fields)
    if isinstance(dtype, pl.List):
        return _odd(dtype.inner)
    return isinstance(dtype, pl.Array) or dtype in (pl.Binary, pl.Categorical, pl.Enum, pl.Object, pl.Decimal)


def _readable(value: pl.Expr, dtype: Any) -> pl.Expr:
    """Bytes as base64, categories and decimals as text, arrays as lists; nulls stay."""
    if isinstance(dtype, pl.Struct):
        fields = [_readable(value.struct.field(one.name), one.dtype).alias(one.name) for one in dtype.fields]
        return pl.when(value.is_not_null()).then(pl.struct(fields))
    if isinstance(dtype, pl.Array):
        return _readable(value.cast(pl.List(dtype.inner)), pl.List(dtype.inner))
    if isinstance(dtype, pl.List):
        return value.list.eval(_readable(pl.element(), dtype.inner)) if _odd(dtype.inner) else value
    if dtype == pl.Binary:
        return value.bin.encode("base64")
    return value.cast(pl.String) if _odd(dtype) else value


def _nul(column: pl.Series) -> bool:
    """Whether a text at any level of `column` holds a NUL."""
    if isinstance(column.dtype, pl.Struct):
        return any(_nul(column.struct.field(one.name)) for one in column.dtype.fields)
    if isinstance(column.dtype, pl.List):
        return _texts(column.dtype) and _nul(column.explode())
    return column.dtype == pl.String and bool(column.str.contains("\x00", literal=True).any())


def _texts(dtype: Any) -> bool:
    if isinstance(dtype, pl.Struct):
        return any(_texts(field.dtype) for field in dtype.fields)
    return _texts(dtype.inner) if isinstance(dtype, pl.List) else dtype == pl.String


def _holds_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\x00" in value
    if isinstance(value, dict):
        return any(map(_holds_nul, value.values()))
    return any(map(_holds_nul, value)) if isinstance(value, (list, tuple)) else False
