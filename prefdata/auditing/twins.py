"""Columns that hold the same as another, told chunk by chunk."""

from __future__ import annotations

from itertools import combinations

import polars as pl

LEAST = 20
"""Rows from which on equal columns are no chance."""
MOST_COLUMNS = 64
"""Columns that are compared with each other, in the order of the files."""


class Twins:
    """Pairs of columns that have been equal in all records so far; a column of one value says nothing."""

    def __init__(self) -> None:
        self._alive: list[tuple[str, str]] | None = None
        self._varied: set[str] = set()
        self._rows = 0

    def add(self, frame: pl.DataFrame) -> None:
        """Looks at one more chunk of records; almost all pairs fall in the first."""
        if not frame.height:
            return
        if self._alive is None:
            names = [name for name in frame.columns if not name.startswith("_")][:MOST_COLUMNS]
            self._alive = list(combinations(names, 2))
        self._rows += frame.height
        self._alive = [pair for pair in self._alive if self._equal(frame, *pair)]
        for name in {name for pair in self._alive for name in pair} - self._varied:
            if not frame[name].slice(1).equals(frame[name].slice(0, frame.height - 1)):
                self._varied.add(name)

    def _equal(self, frame: pl.DataFrame, one: str, other: str) -> bool:
        if one not in frame.columns or other not in frame.columns:
            return False
        left, right = frame[one], frame[other]
        if left.dtype != right.dtype:
            return False
        # the first rows first: they part almost every pair
        return left.head(LEAST).equals(right.head(LEAST)) and left.equals(right)

    def groups(self) -> list[list[str]]:
        """Columns that are equal, each group once."""
        found: list[list[str]] = []
        if self._rows < LEAST:
            return found
        for one, other in self._alive or ():
            if one not in self._varied:
                continue
            group = next((names for names in found if one in names or other in names), None)
            if group is None:
                found.append([one, other])
            else:
                group.extend(name for name in (one, other) if name not in group)
        return found
