"""Labels of rows that stand on both sides: which changed, and by how much their margins and confidences moved."""

from __future__ import annotations

from typing import Any, NamedTuple

import polars as pl

from prefdata.comparing.rows import Pairing
from prefdata.schema import RecordType

NAMES = {True: "desirable", False: "undesirable", None: "none"}
"""A label, as a table of changes calls it."""

KEPT, SWAPPED = "chosen_first", "rejected_first"
"""Which answer of A's chosen and rejected is the chosen one: the same, or the other."""


class Moved(NamedTuple):
    """How a number of rows whose content is the same on both sides differs."""

    rows: int
    """Rows that have the number on both sides."""
    changed: int
    mean: float | None
    """B's less A's, over these rows."""


class Labels(NamedTuple):
    """What became of the labels of rows on both sides."""

    table: dict[str, dict[str, int]]
    """Label of A -> label of B -> rows. Of pairs, A's row is KEPT, and B's is KEPT or SWAPPED."""
    rows: int
    changed: int
    numbers: dict[str, Moved]
    """margin or label_confidence -> how it moved, where rows have it."""

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        numbers = {name: moved._asdict() for name, moved in self.numbers.items()}
        return {"table": self.table, "rows": self.rows, "changed": self.changed, "numbers": numbers}


def labels(a: pl.DataFrame, b: pl.DataFrame, found: Pairing, record_type: RecordType) -> Labels | None:
    """The labels of rows that are the same or relabelled; None for types without labels."""
    rows = found.same.height + found.relabelled.height
    numbers: dict[str, Moved] = {
        name: moved
        for name in ("margin", "label_confidence")
        if name in a.columns and name in b.columns and (moved := _moved(a, b, found.same, name)).rows
    }
    if record_type is RecordType.PREFERENCE:
        table = {KEPT: {KEPT: found.same.height, SWAPPED: found.relabelled.height}}
        return Labels(table, rows, found.relabelled.height, numbers)
    if record_type is not RecordType.UNPAIRED:
        return None
    pairs = pl.concat([found.same, found.relabelled])
    both = pairs.select(was=a["label"].gather(pairs["a"]), now=b["label"].gather(pairs["b"]))
    counts = {(was, now): number for was, now, number in both.group_by("was", "now").len().iter_rows()}
    there = [label for label in NAMES if any(label in ways for ways in counts)]
    table = {NAMES[was]: {NAMES[now]: counts.get((was, now), 0) for now in there} for was in there}
    return Labels(table, rows, found.relabelled.height, numbers)


def _moved(a: pl.DataFrame, b: pl.DataFrame, pairs: pl.DataFrame, name: str) -> Moved:
    both = pl.DataFrame({"was": a[name].gather(pairs["a"]), "now": b[name].gather(pairs["b"])}).drop_nulls()
    moved = both.select((pl.col("now").cast(pl.Float64) - pl.col("was").cast(pl.Float64)).alias("by")).to_series()
    mean = moved.mean()
    return Moved(len(moved), int((moved.abs() > 1e-6).sum()), round(float(mean), 4) + 0.0 if mean is not None else None)  # type: ignore[arg-type]
