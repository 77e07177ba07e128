"""What an audit of B finds that one of A does not, and what became better or worse: told from what may be chance.

A share is called changed where the interval of 95 % of its difference leaves out 0. The rows of A and B are taken for
two samples; where they are mostly the same rows, that is on the safe side: a change that is called one is one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple

import polars as pl

from prefdata.auditing.finding import Finding, Severity
from prefdata.comparing.rows import Pairing
from prefdata.comparing.sides import Side

PLACES_SHOWN = 1_000

REFERENCES = {"auc": 0.5, "cohen_d": 0.0}
"""Estimates that are the worse the farther they are from this."""


class Status(StrEnum):
    """What became of a finding, in the order in which they are read about."""

    NEW = "new"
    WORSE = "worse"
    BETTER = "better"
    GONE = "gone"
    SAME = "same"


class Figure(NamedTuple):
    """A number with its interval of 95 %."""

    name: str
    value: float
    low: float
    high: float


class Seen(NamedTuple):
    """A finding on one side."""

    severity: Severity
    rows: int
    total: int
    figure: Figure | None
    """The first estimate of its measures, where it has one."""

    @property
    def share(self) -> float:
        """Of the rows that the check speaks for."""
        return self.rows / self.total if self.total else 0.0


class Change(NamedTuple):
    """One finding on both sides."""

    check: str
    family: str
    status: Status
    a: Seen | None
    b: Seen | None
    difference: Figure | None
    """Of the shares (`share`), or of the estimates of both sides (their name); B less A."""
    rows_new: int | None
    """Rows of B that it is found in, and that are not on A's side or are clean there; None where rows have no
    counterparts."""
    rows_gone: int | None
    places: tuple[str, ...]
    """Where the first of the new rows stand, in B."""

    @property
    def severity(self) -> Severity:
        """How bad it is; how bad it was, where it is gone."""
        seen = self.b or self.a
        assert seen is not None
        return seen.severity


def findings(a: Side, b: Side, rows: Pairing | None) -> tuple[Change, ...]:
    """Every finding of either side, of checks that ran on both; new ones first, the worst of them first."""
    ran = [{(check.family, check.name) for check in side.audit.checks} for side in (a, b)]
    both = [{(found.family, found.check): found for found in side.audit.findings} for side in (a, b)]
    names = list(dict.fromkeys([*both[1], *both[0]]))
    changes = [
        _change(name, both[0].get(name), both[1].get(name), a, b, rows)
        for name in names
        if name[0] == "reading" or all(name in known for known in ran)
    ]
    order = list(Status)
    return tuple(sorted(changes, key=lambda one: (order.index(one.status), one.severity.rank, -_size(one), one.check)))


def failing(changes: tuple[Change, ...], level: Severity) -> list[Change]:
    """What is new or worse in B, and at least as bad as `level`."""
    return [one for one in changes if one.status in (Status.NEW, Status.WORSE) and one.severity.rank <= level.rank]


def _size(change: Change) -> float:
    return abs(change.difference.value) if change.difference else 0.0


def _change(
    name: tuple[str, str], one: Finding | None, other: Finding | None, a: Side, b: Side, rows: Pairing | None
) -> Change:
    before = _seen(one) if one is not None else None
    after = _seen(other) if other is not None else None
    difference = _difference(before, after, a, b)
    arrived, gone, places = _rows(one, other, b, rows)
    return Change(
        check=name[1],
        family=name[0],
        status=_status(before, after, difference),
        a=before,
        b=after,
        difference=difference,
        rows_new=arrived,
        rows_gone=gone,
        places=places,
    )


def _seen(finding: Finding) -> Seen:
    return Seen(finding.severity, finding.count, finding.total, estimate(finding.measures))


def estimate(measures: Mapping[str, Any]) -> Figure | None:
    """The first number among the measures that has an interval, `interval` or `<name>_interval`."""
    last = ""
    for name, value in measures.items():
        owner = last if name == "interval" else name.removesuffix("_interval") if name.endswith("_interval") else ""
        if owner and isinstance(value, (list, tuple)) and len(value) == 2:
            numbers = (measures.get(owner), *value)
            if all(isinstance(each, (int, float)) and math.isfinite(each) for each in numbers):
                return Figure(owner, *map(float, numbers))
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            last = name
    return None


def _difference(before: Seen | None, after: Seen | None, a: Side, b: Side) -> Figure | None:
    """Of the shares, where rows are counted; of the estimates, where both sides have the same one. The first of the two
    that is clear of chance, else the first."""
    found = []
    if (before and before.rows) or (after and after.rows):
        counted = [
            (seen.rows, seen.total) if seen else (0, side.audit.rows) for seen, side in ((before, a), (after, b))
        ]
        found.append(difference("share", share(*counted[0]), share(*counted[1])))
    one, other = (seen.figure if seen else None for seen in (before, after))
    if one is not None and other is not None and one.name == other.name:
        found.append(difference(one.name, one, other))
    return next((each for each in found if not each.low <= 0 <= each.high), found[0] if found else None)


def share(count: int, total: int) -> Figure:
    """A share of rows with Wilson's interval."""
    from prefdata.auditing.statistics import wilson

    return Figure("share", *wilson(count, total))


def difference(name: str, one: Figure, other: Figure) -> Figure:
    """`other` less `one`; the interval is made of both intervals (Newcombe, 1998, method 10, for shares; Zou and
    Donner, 2008, for any estimates)."""
    value = other.value - one.value
    low = value - math.hypot(other.value - other.low, one.high - one.value)
    high = value + math.hypot(other.high - other.value, one.value - one.low)
    return Figure(name, *(round(each, 6) + 0.0 for each in (value, low, high)))


def _status(before: Seen | None, after: Seen | None, moved: Figure | None) -> Status:
    if before is None:
        return Status.NEW
    if after is None:
        return Status.GONE
    grown = _grown(before, after, moved)
    steps = before.severity.rank - after.severity.rank
    # a severity that changes with a share that may be the same has crossed its threshold by chance
    if moved is not None and not grown:
        return Status.SAME
    if steps:
        return Status.WORSE if steps > 0 else Status.BETTER
    return Status.SAME if not grown else Status.WORSE if grown > 0 else Status.BETTER


def _grown(before: Seen, after: Seen, moved: Figure | None) -> int:
    """1 where a finding became larger beyond chance, -1 where it became smaller, else 0. An estimate that moved to no
    known side counts as larger: there severity says which way."""
    if moved is None or moved.low <= 0 <= moved.high:
        return 0
    if moved.name == "share":
        return 1 if moved.value > 0 else -1
    if moved.name not in REFERENCES or before.figure is None or after.figure is None:
        return 1 if before.severity != after.severity else 0
    middle = REFERENCES[moved.name]
    return 1 if abs(after.figure.value - middle) > abs(before.figure.value - middle) else -1


def _rows(
    one: Finding | None, other: Finding | None, b: Side, rows: Pairing | None
) -> tuple[int | None, int | None, tuple[str, ...]]:
    """How many rows have the finding in B and not in A, and the other way round; and where the first ones stand."""
    counts = sum(len(finding.rows) for finding in (one, other) if finding is not None)
    if rows is None or not counts:
        return None, None, ()
    nothing = pl.Series("row", [], dtype=pl.UInt32)
    was, now = (finding.rows if finding is not None else nothing for finding in (one, other))
    pairs = rows.together()
    stayed = pairs.filter(pl.col("a").is_in(was.implode()) & pl.col("b").is_in(now.implode()))
    new = now.filter(~now.is_in(stayed["b"].implode()))
    from prefdata.auditing.dataset import place

    shown = b.rows.select("_file", "_line", "part")[new.head(PLACES_SHOWN)]
    return len(new), len(was) - stayed.height, tuple(place(row) for row in shown.iter_rows(named=True))
