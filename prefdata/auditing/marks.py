"""Marks: what may stand in an answer, counted by side: do the preferred answers carry it more than the others?

A mark is an expression over a text. Of every row that has it on a side, `collect` keeps a narrow frame; `carried` sets
the sides against each other: chosen against rejected of the same pairs, desirable against undesirable rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import polars as pl

from prefdata.auditing.dataset import Audited
from prefdata.auditing.finding import Found, Severity
from prefdata.formats.core import answers_of
from prefdata.schema import RecordType

Mark = Callable[[str], pl.Expr]
"""Side -> Boolean expression over the columns of a chunk."""

Z95 = 1.959964


def collector(mark: Mark) -> Callable[[pl.DataFrame, RecordType], pl.DataFrame]:
    """A `collect` of the rows that have `mark` on a side: `row` and a Boolean column a side of the answers."""

    def collect(chunk: pl.DataFrame, record_type: RecordType) -> pl.DataFrame:
        sides = answers_of(record_type)
        marked = chunk.select("row", *(mark(side).fill_null(False).alias(side) for side in sides))
        return marked.filter(pl.any_horizontal(sides))

    return collect


def preferred(data: Audited, marked: pl.DataFrame) -> pl.Series:
    """Numbers of the marked rows whose mark would be learnt: chosen; a completion that is not undesirable."""
    if data.type is RecordType.PREFERENCE:
        return marked.filter("chosen")["row"]
    if data.type is RecordType.UNPAIRED:
        return marked.filter(pl.Series(data.rows["label"][marked["row"]]).fill_null(True))["row"]
    return marked["row"]


def carried(data: Audited, marked: pl.DataFrame) -> dict[str, Any]:
    """How many answers of each side carry a mark, and whether the preferred ones carry it more.

    Pairs: `chosen`, `rejected`, `chosen_only`, `rejected_only`; `chosen_share_of_onesided` with its Wilson interval of
    95 % (0.5 where neither side carries more; the sign test of McNemar). Labelled rows: `desirable`, `undesirable`, the
    share of each class, `difference` of the shares with the interval of Newcombe (1998, method 10). Rows are taken as
    independent.
    """
    if data.type is RecordType.PREFERENCE:
        return _pairs(marked)
    if data.type is RecordType.UNPAIRED:
        return _labels(data, marked)
    return {"completions": marked.height}


def _pairs(marked: pl.DataFrame) -> dict[str, Any]:
    chosen, rejected = int(marked["chosen"].sum()), int(marked["rejected"].sum())
    both = int((marked["chosen"] & marked["rejected"]).sum())
    told: dict[str, Any] = {
        "chosen": chosen,
        "rejected": rejected,
        "chosen_only": chosen - both,
        "rejected_only": rejected - both,
    }
    onesided = chosen + rejected - 2 * both
    if onesided >= 10:
        told["chosen_share_of_onesided"] = round((chosen - both) / onesided, 4)
        told["interval"] = [round(bound, 4) for bound in wilson(chosen - both, onesided)]
    return told


def _labels(data: Audited, marked: pl.DataFrame) -> dict[str, Any]:
    labels = data.rows["label"]
    of_marked = pl.Series(labels[marked["row"]])
    good, bad = int((of_marked == True).sum()), int((of_marked == False).sum())  # noqa: E712  null is neither
    all_good, all_bad = int((labels == True).sum()), int((labels == False).sum())  # noqa: E712
    told: dict[str, Any] = {"desirable": good, "undesirable": bad}
    if of_marked.null_count():
        told["without_label"] = of_marked.null_count()
    if all_good and all_bad:
        told["desirable_share"] = round(good / all_good, 4)
        told["undesirable_share"] = round(bad / all_bad, 4)
        told["difference"] = round(good / all_good - bad / all_bad, 4)
        told["interval"] = [round(bound, 4) for bound in newcombe(good, all_good, bad, all_bad)]
    return told


def found(data: Audited, name: str, **more: Any) -> Found:
    """The rows whose mark `name` would be learnt, and the counts of all sides; a note where only the others carry it.

    `more`: measures beside those of `carried`.
    """
    marked = data.collected.get(name)
    if marked is None or not marked.height:
        return Found()
    rows = preferred(data, marked)
    measures = {**carried(data, marked), **more}
    return Found(rows=rows, measures=measures, severity=None if len(rows) else Severity.NOTE)


def wilson(hits: int, total: int) -> tuple[float, float]:
    """Interval of 95 % of a share (Wilson, 1927)."""
    if not total:
        return 0.0, 1.0
    share, square = hits / total, Z95**2
    middle = (share + square / (2 * total)) / (1 + square / total)
    half = Z95 * math.sqrt(share * (1 - share) / total + square / (4 * total**2)) / (1 + square / total)
    return max(0.0, middle - half), min(1.0, middle + half)


def newcombe(hits: int, total: int, other_hits: int, other_total: int) -> tuple[float, float]:
    """Interval of 95 % of the difference of two shares (Newcombe, 1998, method 10)."""
    share, other = hits / total, other_hits / other_total
    low, high = wilson(hits, total)
    other_low, other_high = wilson(other_hits, other_total)
    below = math.sqrt((share - low) ** 2 + (other_high - other) ** 2)
    above = math.sqrt((high - share) ** 2 + (other - other_low) ** 2)
    return share - other - below, share - other + above


def onesided(measures: Mapping[str, Any]) -> str | None:
    """The class that carries a mark more than by chance, by the interval of `carried`: its name, or None."""
    if "interval" not in measures:
        return None
    low, high = measures["interval"]
    middle = 0.0 if "difference" in measures else 0.5
    more, less = ("desirable", "undesirable") if "difference" in measures else ("chosen", "rejected")
    return more if low > middle else less if high < middle else None
