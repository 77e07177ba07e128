"""What a transform is, and the account it gives: the `touched` column, "name:count" entries a row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

import polars as pl

TOUCHED = "touched"
"""List(String): what edited the row, in the order of the edits, for example ["unicode:1", "personal_data.email:2"]."""


class Transform(Protocol):
    """Edits String columns of a frame of turns; the same rows in the same order come out, and `touched` says what
    was edited. A row that needs nothing keeps its text byte for byte and gets no entry."""

    @property
    def name(self) -> str: ...

    def __call__(self, frame: pl.DataFrame) -> pl.DataFrame: ...


def present(frame: pl.DataFrame, columns: Iterable[str]) -> list[str]:
    """Those of `columns` that `frame` has as String columns, in the order given."""
    return [name for name in dict.fromkeys(columns) if frame.schema.get(name) == pl.String()]


def with_touched(frame: pl.DataFrame) -> pl.DataFrame:
    """`frame` with a `touched` column: added empty where missing, null taken for empty."""
    empty = pl.lit([], dtype=pl.List(pl.String))
    if TOUCHED not in frame.columns:
        return frame.with_columns(empty.alias(TOUCHED))
    return frame.with_columns(pl.col(TOUCHED).cast(pl.List(pl.String)).fill_null(empty))


def add_touched(frame: pl.DataFrame, counts: Mapping[str, pl.Series]) -> pl.DataFrame:
    """`frame` with "name:count" appended to `touched` for every count above zero, in the order of `counts`."""
    frame = with_touched(frame)
    used = {name: count for name, count in counts.items() if count.len() and bool((count > 0).any())}
    if not used:
        return frame
    entries = pl.DataFrame({name: count.cast(pl.Int64) for name, count in used.items()}).select(
        pl.concat_list(
            pl.when(pl.col(name) > 0).then(pl.lit(f"{name}:") + pl.col(name).cast(pl.String)) for name in used
        )
        .list.drop_nulls()
        .alias("entries")
    )
    return frame.with_columns(pl.col(TOUCHED).list.concat(entries["entries"]))
