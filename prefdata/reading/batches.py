"""Records become frames, a batch at a time, with the union of keys as columns; all text, nothing inferred."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from prefdata.reading.account import PLACE, Account, ReadLimits, Unreadable

BATCH_ROWS = 50_000


class Batches:
    """Collects the records of one file into frames of `BATCH_ROWS`."""

    def __init__(self, account: Account, limits: ReadLimits) -> None:
        self._account = account
        self._limits = limits
        self._records: list[dict[str, Any]] = []
        self._lines: list[int] = []
        self._offsets: list[int | None] = []
        self._frames: list[pl.DataFrame] = []

    def add(self, record: dict[str, Any], line: int, offset: int | None) -> None:
        self._records.append(record)
        self._lines.append(line)
        self._offsets.append(offset)
        if len(self._records) >= BATCH_ROWS:
            self._flush()

    def extend(self, columns: Mapping[str, Sequence[str | None]], lines: list[int], offsets: list[int | None]) -> None:
        """Adds records that are columns already (all of the same keys)."""
        self._flush()
        self._append(columns, lines, offsets)

    def _flush(self) -> None:
        if not self._records:
            return
        shapes = dict.fromkeys(map(tuple, self._records))
        columns: dict[str, Sequence[Any]]
        if len(shapes) == 1:
            columns = dict(zip(next(iter(shapes)), zip(*map(dict.values, self._records), strict=True), strict=True))
        else:
            keys: dict[str, None] = {}
            for shape in shapes:
                keys.update(dict.fromkeys(shape))
                if len(keys) > self._limits.max_columns:
                    raise Unreadable("too_many_columns")
            columns = {key: [record.get(key) for record in self._records] for key in keys}
        self._append({key: _plain(values) for key, values in columns.items()}, self._lines, self._offsets)
        self._records, self._lines, self._offsets = [], [], []

    def _append(self, columns: Mapping[str, Sequence[str | None]], lines: list[int], offsets: list[int | None]) -> None:
        self._account.columns.update(dict.fromkeys(columns))
        if len(self._account.columns) > self._limits.max_columns:
            raise Unreadable("too_many_columns")
        self._account.rows += len(lines)
        # by a dict, since polars would rename a column whose name is ""
        self._frames.append(
            pl.DataFrame(
                {
                    "_file": pl.repeat(self._account.file, len(lines), dtype=pl.String, eager=True),
                    "_line": pl.Series(lines, dtype=pl.Int64),
                    "_offset": pl.Series(offsets, dtype=pl.Int64),
                    **{key: pl.Series(values, dtype=pl.String) for key, values in columns.items()},
                }
            )
        )

    def frame(self) -> pl.DataFrame:
        """All that was added, with the columns in the order in which they were first seen."""
        self._flush()
        return union(self._frames)

    def drained(self) -> pl.DataFrame:
        """As `frame`, of what was added since the last call."""
        found = self.frame()
        self._frames = []
        return found


def _plain(values: Sequence[Any]) -> Sequence[str | None]:
    """`values` with its booleans as `true` and `false`."""
    if bool not in set(map(type, values)):
        return values
    return [value if type(value) is not bool else "true" if value else "false" for value in values]


def union(frames: list[pl.DataFrame]) -> pl.DataFrame:
    """`frames` below each other; a column that one lacks is null there."""
    if not frames:
        return pl.DataFrame(schema=PLACE)
    if all(frame.columns == frames[0].columns for frame in frames):
        return pl.concat(frames, how="vertical")
    return pl.concat(frames, how="diagonal")
