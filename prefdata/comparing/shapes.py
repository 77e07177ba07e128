"""Distributions of two datasets side by side, and how far apart they are: sources, languages, labels, lengths, numbers.

Every distribution has an effect size between 0 and 1 under its name, and the p-value of a test that both sides are two
samples of one population. Import this module where it is used, inside functions: it needs numpy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from prefdata.auditing.statistics import cohen_d
from prefdata.comparing.labels import NAMES
from prefdata.comparing.sides import Side
from prefdata.formats.core import answers_of, sides_of
from prefdata.schema import RecordType

Floats = npt.NDArray[np.float64]

BINS = 20
CATEGORIES = 12
"""Values of a distribution that are told; the others are one."""

CERTAIN = 0.001
"""p-value below which a difference is taken for one: a dozen distributions are looked at."""

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)

KOLMOGOROV, JENSEN = "kolmogorov_smirnov", "jensen_shannon"

OTHERS = "\x00others"
"""The name of all values beyond CATEGORIES together."""


class Effect(NamedTuple):
    """How far apart two distributions are."""

    name: str
    """KOLMOGOROV: the largest distance of the distribution functions. JENSEN: the square root of the Jensen-Shannon
    divergence in bits. Both 0 for equal ones and 1 where no value is shared."""
    value: float
    p_value: float
    """Of the test by Kolmogorov and Smirnov; of the G-test. Rows on both sides make it too large, not too small."""
    cohen_d: tuple[float, float, float] | None = None
    """Of numbers: B's mean less A's in pooled standard deviations, and its interval of 95 %."""


class Numbers(NamedTuple):
    """Figures of one side of a distribution of numbers."""

    rows: int
    mean: float
    quantiles: tuple[float, ...]
    """At QUANTILES."""
    counts: tuple[int, ...]
    """Rows in each bin."""


class Value(NamedTuple):
    """One value of a distribution of categories."""

    value: str | None
    """Null where a row tells none."""
    a: int
    """Rows."""
    b: int


class Shape(NamedTuple):
    """One distribution on both sides."""

    name: str
    effect: Effect
    numbers: tuple[Numbers, Numbers] | None = None
    edges: tuple[float, ...] = ()
    """Of the bins of numbers, one more than bins; the last bin holds all that is larger, too."""
    values: tuple[Value, ...] = ()
    """Of categories; the most frequent first."""

    @property
    def clear(self) -> bool:
        """Whether the difference is more than chance."""
        return self.effect.p_value < CERTAIN


def shapes(a: Side, b: Side) -> tuple[Shape, ...]:
    """All distributions that both sides have, first those that differ beyond chance, the most different first."""
    found = []
    for name, one, other in _columns(a, b):
        shape = _categories(name, one, other) if one.dtype == pl.String else _numbers(name, one, other)
        if shape is not None:
            found.append(shape)
    return tuple(sorted(found, key=lambda shape: (not shape.clear, -shape.effect.value)))


def _columns(a: Side, b: Side) -> list[tuple[str, pl.Series, pl.Series]]:
    """Name, and the values of both sides."""
    found: list[tuple[str, pl.Series, pl.Series]] = []

    def both(name: str, of: Any) -> None:
        found.append((name, of(a), of(b)))

    if all("source" in side.rows.columns for side in (a, b)):
        both("source", lambda side: side.rows["source"])
    both("language", lambda side: side.languages)
    if a.type == b.type == RecordType.UNPAIRED:
        both("label", lambda side: side.rows["label"].replace_strict(NAMES, return_dtype=pl.String))
    if all("time" in side.rows.columns for side in (a, b)):
        both("month", lambda side: side.rows["time"].dt.strftime("%Y-%m"))
    sides = [side for side in sides_of(a.type) if side in sides_of(b.type)]
    for side in sides:
        for what in ("chars", "turns"):
            both(f"{side}_{what}", lambda one, column=f"{side}_{what}": one.rows[column])
    if a.type != b.type and answers_of(a.type) and answers_of(b.type):
        both("answer_chars", _answers)
    if a.type == b.type == RecordType.PREFERENCE:
        both("chosen_longer_by", _longer)
    both("rows_of_a_prompt", lambda side: side.rows.group_by("prompt_hash").len()["len"])
    for name in ("margin", "label_confidence"):
        if all(name in side.rows.columns for side in (a, b)):
            both(name, lambda one, column=name: one.rows[column])
    return found


def _answers(side: Side) -> pl.Series:
    """Characters of all answers, whatever they are called."""
    return pl.concat([side.rows[f"{name}_chars"].alias("answer_chars") for name in answers_of(side.type)])


def _longer(side: Side) -> pl.Series:
    return side.rows.select(pl.col("chosen_chars").cast(pl.Int64) - pl.col("rejected_chars").cast(pl.Int64)).to_series()


def _categories(name: str, one: pl.Series, other: pl.Series) -> Shape | None:
    sides = []
    for at, series in enumerate((one, other)):
        counted = series.alias("value").to_frame().group_by("value").len(name=f"n{at}")
        sides.append(counted.with_columns(pl.col(f"n{at}").cast(pl.Int64)))
    joined = sides[0].join(sides[1], on="value", how="full", coalesce=True, nulls_equal=True).fill_null(0)
    # fill_null leaves the value alone: it is no number
    joined = joined.with_columns(total=pl.col("n0") + pl.col("n1")).sort(
        "total", "value", descending=[True, False], nulls_last=True
    )
    rows = joined.select("value", "n0", "n1").rows()
    if len(rows) < 2 or not all(len(series) for series in (one, other)):
        return None
    counts = np.array([row[1:] for row in rows], dtype=np.float64)
    divergence, p_value = jensen_shannon(counts[:, 0], counts[:, 1])
    if len(rows) > CATEGORIES:
        rest = counts[CATEGORIES - 1 :].sum(axis=0)
        rows = [*rows[: CATEGORIES - 1], (OTHERS, int(rest[0]), int(rest[1]))]
    return Shape(name, Effect(JENSEN, divergence, p_value), values=tuple(Value(*row) for row in rows))


def _numbers(name: str, one: pl.Series, other: pl.Series) -> Shape | None:
    arrays = []
    for series in (one, other):
        values = series.cast(pl.Float64).drop_nulls()
        arrays.append(np.sort(values.filter(values.is_finite()).to_numpy()))
    if not all(map(len, arrays)) or arrays[0][0] == arrays[0][-1] == arrays[1][0] == arrays[1][-1]:
        return None
    distance, p_value = kolmogorov_smirnov(*arrays)
    both = np.concatenate(arrays)
    d = cohen_d(both, np.repeat([False, True], [len(values) for values in arrays]))
    told = (_rounded(d.value), _rounded(d.low), _rounded(d.high)) if math.isfinite(d.low) else None
    edges = bins(both)
    return Shape(
        name,
        Effect(KOLMOGOROV, distance, p_value, told),
        numbers=(_told(arrays[0], edges), _told(arrays[1], edges)),
        edges=tuple(edges),
    )


def _told(values: Floats, edges: Sequence[float]) -> Numbers:
    """Figures of sorted values."""
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    quantiles = np.quantile(values, QUANTILES)
    return Numbers(
        rows=len(values),
        mean=_rounded(values.mean()),
        quantiles=tuple(_rounded(each) for each in quantiles),
        counts=tuple(int(each) for each in counts),
    )


def bins(values: Floats) -> list[float]:
    """Edges of at most BINS equal bins of round width, to the 99th percentile; from the first, where values are below
    0. Whole numbers have whole bins."""
    low, high = np.quantile(values, [0.01 if values.min() < 0 else 0.0, 0.99])
    if high <= low:
        low, high = float(values.min()), float(values.max())
    whole = bool((values == np.floor(values)).all())
    rough = float(high - low) / BINS
    scale = 10.0 ** math.floor(math.log10(rough))
    width = next(size * scale for size in (1.0, 2.0, 2.5, 5.0, 10.0) if size * scale >= rough * (1 - 1e-9))
    if whole:
        width = max(1.0, math.ceil(width))
    start = math.floor(low / width) * width
    number = max(1, math.ceil((high - start) / width + (1e-9 if not whole else 0) - 1e-12))
    if whole and start + number * width <= high:  # the last whole number has a bin of its own
        number += 1
    return [round(start + at * width, 9) + 0.0 for at in range(number + 1)]


def kolmogorov_smirnov(one: Floats, other: Floats) -> tuple[float, float]:
    """The largest distance of the distribution functions of two sorted samples, and the p-value of the test.

    The p-value is the limit for large samples, with Stephens' correction (1970); for values with ties it is too large.
    """
    points = np.concatenate([one, other])
    below = [np.searchsorted(values, points, "right") / len(values) for values in (one, other)]
    distance = float(np.abs(below[0] - below[1]).max())
    root = math.sqrt(len(one) * len(other) / (len(one) + len(other)))
    return _rounded(distance), _kolmogorov((root + 0.12 + 0.11 / root) * distance)


def _kolmogorov(x: float) -> float:
    """How often Kolmogorov's distribution exceeds `x`."""
    if x < 0.2:
        return 1.0
    terms = (2 * (-1) ** (k - 1) * math.exp(-2 * k**2 * x**2) for k in range(1, 101))
    return min(1.0, max(0.0, math.fsum(terms)))


def jensen_shannon(one: Floats, other: Floats) -> tuple[float, float]:
    """The Jensen-Shannon distance of two vectors of counts, and the p-value of the G-test that they are of one
    population."""
    from scipy.stats import chi2

    shares = [counts / counts.sum() for counts in (one, other)]
    middle = (shares[0] + shares[1]) / 2
    divergence = sum(_divergence(each, middle) for each in shares) / 2
    pooled = (one + other) / (one.sum() + other.sum())
    statistic = 2 * sum(
        float(counts.sum()) * _divergence(each, pooled) for counts, each in zip((one, other), shares, strict=True)
    )
    p_value = float(chi2.sf(max(0.0, statistic), max(1, len(one) - 1)))
    return _rounded(math.sqrt(max(0.0, divergence / math.log(2)))), p_value


def _divergence(one: Floats, other: Floats) -> float:
    """Kullback and Leibler's, in nats."""
    there = one > 0
    return float((one[there] * np.log(one[there] / other[there])).sum())


def _rounded(value: Any) -> float:
    return round(float(value), 4) + 0.0
