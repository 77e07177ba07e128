"""Who loses the rows: what is kept by class, source, language, length and month, and whether a part loses far more.

A part of the data is called out where three things hold. It has at least MIN_ROWS rows, and so has the rest. Its kept
share is below that of the rest by Fisher's exact test of two proportions (one-sided; Fisher 1935), the p-values of all
parts and filters of one report corrected together by Holm's step-down rule (Holm 1979, Scand. J. Statist. 6), below
ALPHA. And the difference matters: it keeps less than four fifths of the share that the rest keeps (the four-fifths rule
of the US Uniform Guidelines on Employee Selection Procedures, 29 CFR 1607.4 D, there for hiring), or it loses at least
twice the share that the rest loses, and MIN_DIFFERENCE of its rows more.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from prefdata.auditing.what_if.scores import LANGUAGE
from prefdata.schema import RecordType
from prefdata.sides import TAUGHT

MIN_ROWS = 30
ALPHA = 0.01
FOUR_FIFTHS = 0.8
MIN_DIFFERENCE = 0.05
LOSES_TIMES = 2.0

MOST_VALUES = 20
"""Parts that are told apart by one thing; the commonest."""

UNKNOWN = ""
"""The value of rows of which it is not known: no label, no source, too short for a language to be told."""


@dataclass(frozen=True, kw_only=True)
class Slice:
    """A part of the rows and what is kept of it."""

    by: str
    """class, side, source, file, language, length, month."""
    value: str
    rows: int
    kept: int
    ratio: float | None = None
    """Its kept share over that of all other rows; null where these keep nothing, or the slice is not compared."""
    p_value: float | None = None
    """Corrected; null where it was not tested."""
    unfair: bool = False

    @property
    def share(self) -> float:
        """Kept, 0 to 1."""
        return self.kept / self.rows if self.rows else 1.0


def parts_of(rows: pl.DataFrame, scored: pl.DataFrame, record_type: RecordType) -> pl.DataFrame:
    """What rows are told apart by, a String column each, as far as there are several values of it."""
    columns: list[pl.Series] = []
    if record_type is RecordType.UNPAIRED and "label" in rows.columns:
        label = pl.when("label").then(pl.lit("desirable")).otherwise(pl.lit("undesirable"))
        columns.append(rows.select(pl.when(pl.col("label").is_not_null()).then(label).alias("class")).to_series())
    if "source" in rows.columns:
        columns.append(rows["source"].cast(pl.String))
    if rows["_file"].n_unique() > 1:
        columns.append(rows["_file"].cast(pl.String).alias("file"))
    columns += [scored[LANGUAGE].alias("language"), _lengths(rows[f"{TAUGHT[record_type]}_chars"])]
    if "time" in rows.columns and rows.schema["time"].is_temporal():
        columns.append(rows["time"].dt.strftime("%Y-%m").alias("month"))
    return pl.DataFrame([one.fill_null(UNKNOWN) for one in columns if one.fill_null(UNKNOWN).n_unique() > 1])


def _lengths(chars: pl.Series) -> pl.Series:
    """Terciles of the length of what is to be learnt, called by their characters."""
    cuts = sorted({int(chars.quantile(part, "nearest") or 0) for part in (1 / 3, 2 / 3)})
    least, most = (int(chars.quantile(part, "nearest") or 0) for part in (0.0, 1.0))
    low, names, edges = least, [], [*cuts, most]
    told = pl.lit(None, dtype=pl.String)
    for edge in dict.fromkeys(edges):
        name = f"{low}-{edge}"
        names.append((edge, name))
        low = edge + 1
    for edge, name in reversed(names):
        told = pl.when(pl.col("chars") <= edge).then(pl.lit(name)).otherwise(told)
    return chars.to_frame("chars").select(told.alias("length")).to_series()


def slices(parts: pl.DataFrame, dropped: pl.Series) -> tuple[Slice, ...]:
    """What is kept of every part, the commonest first within what tells them apart; lengths and months in order."""
    total, kept = len(dropped), len(dropped) - int(dropped.sum())
    found: list[Slice] = []
    for by in parts.columns:
        counted = (
            pl.DataFrame({"value": parts[by], "kept": ~dropped})
            .group_by("value")
            .agg(rows=pl.len(), kept=pl.col("kept").sum())
            .sort(["rows", "value"], descending=[True, False])
            .head(MOST_VALUES)
        )
        if by == "month":
            counted = counted.sort("value")
        if by == "length":
            counted = counted.sort(pl.col("value").str.split("-").list.first().cast(pl.Int64))
        for value, rows, left in counted.select("value", "rows", "kept").iter_rows():
            rest = (kept - left) / (total - rows) if total > rows else 0.0
            ratio = round(left / rows / rest, 4) if rest else None
            found.append(Slice(by=by, value=value, rows=rows, kept=left, ratio=ratio))
    return tuple(found)


def with_verdicts(effects: Sequence[tuple[int, int, tuple[Slice, ...]]]) -> list[tuple[Slice, ...]]:
    """The slices of all filters (`rows`, `kept` of each and its slices) with corrected p-values and verdicts.

    A test is made where slice and rest are large enough and something was dropped at all.
    """
    asked = [
        (at, number)
        for at, (rows, kept, parts) in enumerate(effects)
        for number, one in enumerate(parts)
        if 0 < kept < rows and one.rows >= MIN_ROWS and rows - one.rows >= MIN_ROWS
    ]
    raw = [
        _at_most(effects[at][2][number].kept, effects[at][2][number].rows, effects[at][1], effects[at][0])
        for at, number in asked
    ]
    corrected = dict(zip(asked, _holm(raw), strict=True))
    return [
        tuple(
            one if (at, number) not in corrected else _judged(one, rows, kept, corrected[at, number])
            for number, one in enumerate(parts)
        )
        for at, (rows, kept, parts) in enumerate(effects)
    ]


def _judged(one: Slice, rows: int, kept: int, p_value: float) -> Slice:
    rest = (kept - one.kept) / (rows - one.rows)
    lost, lost_by_rest = 1 - one.share, 1 - rest
    matters = one.share < FOUR_FIFTHS * rest or (
        lost - lost_by_rest >= MIN_DIFFERENCE and lost >= LOSES_TIMES * lost_by_rest
    )
    return dataclasses.replace(one, p_value=float(f"{p_value:.3g}"), unfair=bool(p_value < ALPHA and matters))


def _at_most(kept: int, rows: int, all_kept: int, total: int) -> float:
    """Fisher's exact test, one-sided: the chance that of `rows` of `total`, of which `all_kept` are kept, at most
    `kept` are among the kept ones. The sum of hypergeometric terms, those further than 40 deviations away left out."""
    from scipy.special import gammaln

    share = all_kept / total
    mean = rows * share
    deviation = np.sqrt(mean * (1 - share) * (total - rows) / max(1, total - 1))
    if kept >= mean + 10 * deviation + 10:
        return 1.0
    least = max(0, rows - (total - all_kept), int(min(mean, kept) - 40 * deviation - 40))
    at = np.arange(least, kept + 1, dtype=np.float64)

    def chosen(many: Any, of: Any) -> Any:
        return gammaln(of + 1) - gammaln(many + 1) - gammaln(of - many + 1)

    terms = chosen(at, all_kept) + chosen(rows - at, total - all_kept) - chosen(rows, total)
    return float(min(1.0, np.exp(terms).sum()))


def _holm(p_values: Sequence[float]) -> list[float]:
    """Holm's correction: the k-th smallest of n times n - k + 1, never below a smaller one, at most 1."""
    order = np.argsort(p_values, kind="stable")
    found = [1.0] * len(p_values)
    worst = 0.0
    for rank, at in enumerate(order):
        worst = max(worst, min(1.0, (len(p_values) - rank) * p_values[at]))
        found[int(at)] = worst
    return found
