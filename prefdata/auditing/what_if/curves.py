"""Thresholds moved: how many rows each would keep, which ones the data themselves propose, which rows stand next to it.

All from kept scores. A rule over several sides fails with the worst of them, so its bound sees one score a row: the
least of the sides' for a lower bound, the greatest for an upper one, null where no side was judged (such rows pass).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from prefdata.auditing.what_if.settings import Asked, as_setting, setting_of, snippet
from prefdata.judging import SCORE_DECIMALS, RowFilter, Side, decide, speaks

PERCENTS = (1.0, 5.0, 10.0)
"""Of the judged rows, dropped by the proposed thresholds."""

NEAREST = 10
"""Rows shown on each side of a threshold."""

MOST_POINTS = 25
"""Of a curve."""

NEIGHBOURS = 3
"""Thresholds on each side of the present one that are tried, however many rows they stop."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Point:
    """What a filter would keep with one threshold moved and all others as they are."""

    threshold: float
    kept: int
    """Rows that the filter keeps."""
    of_all: int
    """Rows that all filters keep (groupings aside)."""


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A threshold that the data propose: it drops about the worst so many percent of the judged rows."""

    percent: float
    threshold: float
    dropped: int
    """Rows that this bound alone drops there; fewer than `percent` where many rows have one score."""
    recipe: str
    """The piece of a recipe that sets it; empty where no setting does."""


class Bar(NamedTuple):
    """One numeric bound of a rule, over the sides for which it is the same number."""

    filter: str
    reason: str
    bound: Literal["min", "max"]
    threshold: float
    sides: tuple[Side, ...]
    column: str
    """Of the scorer."""
    scores: pl.Series
    """Float64, a row each; null passes."""
    failed: pl.Series
    """Boolean."""


class Verdicts(NamedTuple):
    """What one filter says of every row at its present thresholds."""

    bars: list[Bar]
    reasons: dict[str, pl.Series]
    """Reason -> Boolean, a row each; with `unjudged_by_<filter>` where a run drops what has no score."""
    sides: dict[Side, pl.Series]
    """Side -> whether a rule fails on it."""
    unjudged: pl.Series
    """Boolean: a rule that speaks for the row has no score."""

    def dropped(self) -> pl.Series:
        """Boolean: any reason."""
        found = pl.repeat(False, len(self.unjudged), eager=True)
        for failed in self.reasons.values():
            found = found | failed
        return found


def verdicts(scored: pl.DataFrame, row_filter: RowFilter, *, unjudged: str, labelled: bool) -> Verdicts:
    """The filter's verdict on every row, bound by bound. Percentiles are resolved as `judging.decide` does."""
    if not row_filter.rules:
        nothing = pl.repeat(False, scored.height, eager=True)
        return Verdicts([], {}, dict.fromkeys(row_filter.sides, nothing), nothing)
    stem = row_filter.scorer.name
    wanted = ["id", "label", "label_confidence", *(name for name in scored.columns if name.startswith(f"{stem}_"))]
    bounds = decide(scored.select(wanted), [row_filter], [], labelled=labelled).thresholds
    reasons: dict[str, pl.Series] = {}
    sides: dict[Side, pl.Series] = {}
    missing = pl.repeat(False, scored.height, eager=True)
    grouped: dict[tuple[str, Any, float], list[tuple[Side, str, pl.Expr]]] = {}
    for side in row_filter.sides:
        for reason, rule in row_filter.rules.items():
            key = f"{reason}:{side}" if f"{reason}:{side}" in bounds else reason
            column = bounds[key]["column"]
            spoken = speaks(rule, side, labelled=labelled)
            score = pl.when(spoken).then(pl.col(column))
            missing = missing | scored.select(_up(spoken & pl.col(column).is_null(), scored.height)).to_series()
            failed = [pl.lit(False)]
            if rule.values is not None:
                failed.append(~score.is_in(list(rule.values)))
            for bound in ("min", "max"):
                value = bounds[key][bound]
                if value is not None:
                    number = score.cast(pl.Float64).round(SCORE_DECIMALS)
                    failed.append(number < value if bound == "min" else number > value)
                    grouped.setdefault((reason, bound, value), []).append((side, rule.column or stem, number))
            gone = scored.select(_up(pl.any_horizontal(failed), scored.height)).to_series()
            reasons[reason] = reasons[reason] | gone if reason in reasons else gone
            sides[side] = sides[side] | gone if side in sides else gone
    bars = []
    for (reason, bound, value), parts in grouped.items():
        numbers = [number for _, _, number in parts]
        worst = pl.min_horizontal(numbers) if bound == "min" else pl.max_horizontal(numbers)
        scores = scored.select(worst.alias("score")).to_series()
        failed_here = (scores < value if bound == "min" else scores > value).fill_null(False)
        told = tuple(side for side, _, _ in parts)
        bars.append(Bar(row_filter.name, reason, bound, value, told, parts[0][1], scores, failed_here))
    if unjudged == "drop":
        reasons[f"unjudged_by_{row_filter.name}"] = missing
    return Verdicts(bars, reasons, sides, missing)


def _up(test: pl.Expr, height: int) -> pl.Expr:
    """A test of every row, also where it is of literals alone; null is false."""
    return (test.fill_null(False) & pl.repeat(True, height)).alias("flag")


def curve(bar: Bar, verdict: Verdicts, others: pl.Series) -> tuple[Point, ...]:
    """Rows kept at thresholds around the present one, in order. `others`: which rows another filter drops."""
    rest = _but(bar, verdict)
    mine, all_of = _sorted(bar.scores.filter(~rest)), _sorted(bar.scores.filter(~rest & ~others))
    free, free_of_all = int((~rest).sum()) - mine.size, int((~rest & ~others).sum()) - all_of.size
    at = grid(_sorted(bar.scores), bar.threshold, bar.bound)
    kept, of_all = _passing(mine, at, bar.bound), _passing(all_of, at, bar.bound)
    return tuple(
        Point(threshold=threshold, kept=free + int(one), of_all=free_of_all + int(other))
        for threshold, one, other in zip(at, kept, of_all, strict=True)
    )


def _but(bar: Bar, verdict: Verdicts) -> pl.Series:
    """The rows that the filter drops for something else than this bar."""
    found = pl.repeat(False, len(bar.scores), eager=True)
    for reason, failed in verdict.reasons.items():
        if reason != bar.reason:
            found = found | failed
    twins = [one for one in verdict.bars if one.reason == bar.reason]
    if len(twins) > 1:
        for one in twins:
            if one is not bar:
                found = found | one.failed
    return found


def _sorted(scores: pl.Series) -> Floats:
    found: Floats = np.sort(scores.drop_nulls().to_numpy())
    return found


def _passing(scores: Floats, at: Sequence[float], bound: str) -> NDArray[np.int64]:
    """How many of the sorted scores pass each threshold; bounds are inclusive."""
    if bound == "min":
        return np.asarray(scores.size - np.searchsorted(scores, at, side="left"), dtype=np.int64)
    return np.asarray(np.searchsorted(scores, at, side="right"), dtype=np.int64)


def grid(scores: Floats, present: float, bound: str) -> list[float]:
    """Thresholds worth a look, sorted, the present one among them, at most MOST_POINTS.

    Of shares and probabilities every twentieth; of counts and other positive numbers 1, 1.5, 2, 3, 5, 7.5, 10, ...; of
    numbers below zero percentiles. Those that stop more than half of the scores are left out, and those far outside.
    """
    if not scores.size:
        return [present]
    low, high = float(scores[0]), float(scores[-1])
    distinct = np.unique(scores[:: max(1, scores.size // 64)])
    if distinct.size <= 2 and np.isin(scores, distinct).all():
        steps = [float(one) for one in distinct]
    elif low >= 0 and max(high, present) <= 1:
        steps = [round(0.05 * number, 2) for number in range(21)]
    elif low >= 0:
        whole = bool((scores == np.round(scores)).all()) and present == round(present)
        steps = _ladder(low, max(high, present), whole=whole)
    else:
        cuts = np.quantile(scores, [0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99])
        steps = [float(f"{one:.3g}") for one in cuts]
    steps = sorted({one for one in steps if not _close(one, present)} | {present})
    first = max((one for one in steps if one <= min(low, present)), default=steps[0])
    last = min((one for one in steps if one >= max(high, present)), default=steps[-1])
    steps = [one for one in steps if first <= one <= last]
    here = steps.index(present)
    passing = _passing(scores, steps, bound)
    steps = [
        one
        for at, (one, kept) in enumerate(zip(steps, passing, strict=True))
        if abs(at - here) <= NEIGHBOURS or 2 * kept >= scores.size
    ]
    start = min(max(0, steps.index(present) - MOST_POINTS // 2), max(0, len(steps) - MOST_POINTS))
    return steps[start : start + MOST_POINTS]


def _ladder(low: float, high: float, *, whole: bool) -> list[float]:
    steps = [0.0]
    power = 1.0 if whole else 10.0 ** int(np.floor(np.log10(max(low, high / 1e4, 1e-4))))
    while power <= high * 10:
        steps += [power * one for one in ((1, 2, 3, 5, 7) if whole and power < 2 else (1, 1.5, 2, 3, 5, 7.5))]
        power *= 10
    return [round(one, SCORE_DECIMALS) for one in steps]


def _close(one: float, present: float) -> bool:
    return one != present and abs(one - present) <= 0.03 * abs(present)


def proposals(bar: Bar, asked: Asked) -> tuple[Proposal, ...]:
    """Thresholds that drop the worst PERCENTS of the judged rows or less; none where the worst score is too common."""
    scores = _sorted(bar.scores)
    setting = setting_of(asked.settings, bar.reason, bar.bound)
    found: list[Proposal] = []
    for percent in PERCENTS:
        at = int(percent / 100 * scores.size)
        if not at:
            continue
        threshold = float(scores[at] if bar.bound == "min" else scores[-1 - at])
        dropped = scores.size - int(_passing(scores, [threshold], bar.bound)[0])
        if not dropped or any(one.threshold == threshold for one in found):
            continue
        value = as_setting(asked, setting, threshold) if setting else None
        recipe = snippet(asked, setting, value) if setting and value == threshold else ""
        found.append(Proposal(percent=percent, threshold=threshold, dropped=dropped, recipe=recipe))
    return tuple(found)


def nearest(bar: Bar, texts: pl.Series) -> pl.DataFrame:
    """`row`, `score`, `kept` of the NEAREST rows on each side of the threshold, nearest first, dropped ones last.

    Of rows whose `texts` (hashes) are the same only the first is shown.
    """
    frame = pl.DataFrame({"score": bar.scores, "kept": ~bar.failed, "text": texts}).with_row_index("row")
    frame = frame.drop_nulls("score").with_columns(far=(pl.col("score") - bar.threshold).abs())
    parts = [
        frame.filter(pl.col("kept") == kept)
        .bottom_k(NEAREST * 20, by=["far", "row"])
        .sort("far", "row")
        .unique("text", keep="first", maintain_order=True)
        .head(NEAREST)
        for kept in (True, False)
    ]
    return pl.concat(parts).select("row", "score", "kept")


def values_of(scored: pl.DataFrame, columns: Mapping[Side, str]) -> pl.DataFrame:
    """`value` and `rows` of text columns over the sides of a rule, commonest first: rows in which the value stands."""
    parts = [scored.select("id", value=pl.col(column)) for column in columns.values()]
    whole = pl.concat(parts).drop_nulls().unique()
    return whole.group_by("value").agg(rows=pl.len()).sort(["rows", "value"], descending=[True, False])
