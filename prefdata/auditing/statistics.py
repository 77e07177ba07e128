"""Estimates with intervals that take the rows of one prompt for what they are, one group; and folds that keep it whole.

All intervals are at 95 %. A function that takes `groups` allows rows of a group to depend on each other, so that a
prompt that comes a hundred times counts for little more than once; without groups each row stands alone.
Figures of models that are each fitted to the other folds take `inflation=cross_validated(folds)`.
Import this module where it is used, inside functions: it needs numpy.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_Z = NormalDist().inv_cdf(0.975)


class Estimate(NamedTuple):
    """A figure and the interval that holds it in 95 of 100 sets like this one."""

    value: float
    low: float
    high: float

    def holds(self, value: float) -> bool:
        """True where the interval does not rule `value` out."""
        return self.low <= value <= self.high

    def measures(self, name: str) -> dict[str, Any]:
        """{name: value, "interval": [low, high]}, rounded, for `Found.measures`."""
        return {name: rounded(self.value), "interval": self.interval()}

    def interval(self) -> list[float]:
        """[low, high], rounded."""
        return [rounded(self.low), rounded(self.high)]


def rounded(value: float) -> float:
    """To 4 digits, never -0.0."""
    return round(float(value), 4) + 0.0


def codes(values: pl.Series) -> Ints:
    """Numbers from 0 for the different values, in the order in which they come first; null is a value."""
    frame = pl.DataFrame({"value": values})
    first = frame.unique("value", keep="first", maintain_order=True).with_row_index("code")
    joined = frame.join(first, on="value", how="left", nulls_equal=True, maintain_order="left")
    return joined["code"].to_numpy().astype(np.int64)


def joined(one: Ints, other: Ints) -> Ints:
    """Numbers from 0 for the groups that come about where rows of one group of `one` or of `other` stay together."""
    first, second = int(one.max(initial=-1)) + 1, int(other.max(initial=-1)) + 1
    least = np.arange(first)
    while True:
        # the smallest number that a group of `one` reaches by way of a group of `other`, until none is smaller
        through = np.full(second, first)
        np.minimum.at(through, other, least[one])
        reached = least.copy()
        np.minimum.at(reached, one, through[other])
        if (reached == least).all():
            return codes(pl.Series(least[one]))
        least = reached[reached]


def folds(groups: Ints, count: int = 5, *, seed: int = 0) -> Ints:
    """The fold of each row, 0 to `count` - 1: a group lies in one fold, and folds are about equally large.

    Groups in the order of a seeded shuffle, the largest first, each into the fold with the fewest rows so far.
    """
    numbers, inverse, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    shuffled = np.random.default_rng(seed).permutation(len(numbers))
    order = shuffled[np.argsort(-sizes[shuffled], kind="stable")]
    fold_of = np.empty(len(numbers), dtype=np.int64)
    filled = [0] * count
    for group in order:
        smallest = min(range(count), key=filled.__getitem__)
        fold_of[group] = smallest
        filled[smallest] += int(sizes[group])
    return fold_of[inverse.reshape(-1)]


def cross_validated(count: int) -> float:
    """By how much the variance of a cross-validated figure exceeds that of rows judged by one given model.

    The models of different folds are fitted to much the same rows (Nadeau and Bengio, 2003, for each of `count` folds
    judged once). Without it, intervals of 5 folds miss 0.5 in 17 of 100 sets whose labels mean nothing; with it, in 1
    to 4.
    """
    return 1 + count / (count - 1)


def wilson(successes: float, total: float) -> Estimate:
    """A share of independent rows (Wilson, 1927). `total` may be an effective number; 0 gives [0, 1]."""
    if total <= 0:
        return Estimate(0.0, 0.0, 1.0)
    share = successes / total
    middle = (share + _Z**2 / (2 * total)) / (1 + _Z**2 / total)
    half = _Z / (1 + _Z**2 / total) * float(np.sqrt(share * (1 - share) / total + _Z**2 / (4 * total**2)))
    return Estimate(share, max(0.0, min(middle - half, share)), min(1.0, max(middle + half, share)))


def share(values: npt.ArrayLike, groups: Ints | None = None, *, inflation: float = 1.0) -> Estimate:
    """The mean of values in [0, 1], such as 1 for right and 0.5 for a tie.

    Wilson's interval at the effective number of rows: rows over the design effect, which is the variance between
    groups over that of independent rows, with Student's t for few groups (Korn and Graubard, 1998). Never more than
    there are rows; and where all values are the same, as many as there are groups.
    """
    array = np.asarray(values, dtype=np.float64)
    if not len(array):
        return Estimate(0.0, 0.0, 1.0)
    rows, count = len(array), _group_count(groups, len(array))
    middle = float(array.mean())
    plain = middle * (1 - middle) / max(1, rows - 1)
    variance = _variance((array - middle) / rows, groups)
    if not variance or not plain:
        return wilson(middle * count / inflation, count / inflation)
    number = rows * min(1.0, plain / variance) * (_quantile(rows) / _quantile(count)) ** 2 / inflation
    return wilson(middle * number, number)


def mean(values: npt.ArrayLike, groups: Ints | None = None, *, inflation: float = 1.0) -> Estimate:
    """The mean of any values, with a cluster-robust standard error and Student's t at groups - 1."""
    array = np.asarray(values, dtype=np.float64)
    if not len(array):
        return Estimate(0.0, -np.inf, np.inf)
    centre = float(array.mean())
    error = float(np.sqrt(inflation * _variance((array - centre) / len(array), groups)))
    half = _quantile(_group_count(groups, len(array))) * error
    return Estimate(centre, centre - half, centre + half)


def cohen_d(values: npt.ArrayLike, positive: npt.ArrayLike, groups: Ints | None = None) -> Estimate:
    """Cohen's d with the pooled standard deviation: above 0 where the positive rows have the larger values.

    0.2 is called small, 0.5 medium, 0.8 large (Cohen, 1988). The interval is by the delta method over groups; for
    the two sides of pairs give both as rows, the pair's prompt as group. Without spread: 0, nothing known.
    """
    array, good = np.asarray(values, dtype=np.float64), np.asarray(positive, dtype=bool)
    counts = int(good.sum()), int((~good).sum())
    if min(counts) == 0 or len(array) < 3:
        return Estimate(0.0, -np.inf, np.inf)
    high, low = float(array[good].mean()), float(array[~good].mean())
    centred = array - np.where(good, high, low)
    pooled = float((centred**2).sum()) / (len(array) - 2)
    if pooled <= 0:
        return Estimate(0.0, -np.inf, np.inf)
    effect = (high - low) / float(np.sqrt(pooled))
    own = centred * np.where(good, 1 / counts[0], -1 / counts[1]) / np.sqrt(pooled)
    spread = effect / (2 * pooled) * (centred**2 - pooled) / len(array)
    half = _quantile(_group_count(groups, len(array))) * float(np.sqrt(_variance(own - spread, groups)))
    return Estimate(effect, effect - half, effect + half)


def auc(
    scores: npt.ArrayLike,
    positive: npt.ArrayLike,
    groups: Ints | None = None,
    fold: Ints | None = None,
    *,
    inflation: float = 1.0,
) -> Estimate:
    """Area under the ROC curve: how often a positive row scores above a negative one, ties counting half.

    With `fold`, rows are only compared inside a fold and the folds' areas are averaged by their number of comparisons:
    scores of different models do not compare, and pooled ones lie below 0.5 on labels that mean nothing (Parker et al.,
    2007). The interval is DeLong's with groups (Obuchowski, 1997) on the logit scale. Where every comparison is won,
    the variance says nothing: there it is the exact one for as many independent comparisons as there are groups
    (Clopper and Pearson, 1934). Without both classes: 0.5, nothing known.
    """
    array, good = np.asarray(scores, dtype=np.float64), np.asarray(positive, dtype=bool)
    parts = [np.arange(len(array))] if fold is None else [np.flatnonzero(fold == one) for one in np.unique(fold)]
    value, compared, influence = 0.0, 0.0, np.zeros(len(array))
    for rows in parts:
        wins, losses = int(good[rows].sum()), int((~good[rows]).sum())
        if not wins or not losses:
            continue
        area, pull = _one_auc(array[rows], good[rows])
        value += area * wins * losses
        influence[rows] = pull * wins * losses
        compared += float(wins) * losses
    if not compared:
        return Estimate(0.5, 0.0, 1.0)
    value = min(1.0, max(0.0, value / compared))
    number = min(_group_count(groups, len(array), good), _group_count(groups, len(array), ~good)) / inflation
    if value in (0.0, 1.0):
        edge = 0.025 ** (1 / number)
        return Estimate(value, edge, 1.0) if value else Estimate(value, 0.0, 1 - edge)
    error = float(np.sqrt(inflation * _variance(influence / compared, groups)))
    half = _quantile(_group_count(groups, len(array))) * error / (value * (1 - value))
    odds = float(np.log(value / (1 - value)))
    return Estimate(value, _logistic(odds - half), _logistic(odds + half))


def bootstrap(groups: Ints, *, seed: int = 0) -> Ints:
    """Numbers of rows of one resample: as many groups as there are, drawn with replacement, with all their rows."""
    order = np.argsort(groups, kind="stable")
    _, starts, sizes = np.unique(groups[order], return_index=True, return_counts=True)
    drawn = np.random.default_rng(seed).integers(len(starts), size=len(starts))
    ends = np.cumsum(sizes[drawn])
    within = np.arange(ends[-1]) - np.repeat(ends - sizes[drawn], sizes[drawn])
    return np.asarray(order[np.repeat(starts[drawn], sizes[drawn]) + within], dtype=np.int64)


def _one_auc(scores: Floats, good: Bools) -> tuple[float, Floats]:
    """The area, and what each row adds to its deviation (DeLong's placements, centred and divided by the class)."""
    wins, losses = scores[good], scores[~good]
    above = _placement(wins, losses)
    below = 1.0 - _placement(losses, wins)
    area = float(above.mean())
    pull = np.empty(len(scores))
    pull[good] = (above - area) / len(wins)
    pull[~good] = (below - area) / len(losses)
    return area, pull


def _placement(values: Floats, others: Floats) -> Floats:
    """For each of `values` the share of `others` below it, equal ones counting half."""
    ordered = np.sort(others)
    both = np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")
    return np.asarray(both / (2.0 * len(others)), dtype=np.float64)


def _variance(influence: Floats, groups: Ints | None) -> float:
    """Of a sum of influences, those of a group taken together (with the factor G / (G - 1))."""
    if groups is not None:
        _, inverse = np.unique(groups, return_inverse=True)
        influence = np.bincount(inverse.reshape(-1), weights=influence).astype(np.float64)
    number = len(influence)
    total = float((influence**2).sum())
    return total * number / (number - 1) if number > 1 else total


def _group_count(groups: Ints | None, rows: int, chosen: Bools | None = None) -> int:
    if groups is None:
        return rows if chosen is None else int(chosen.sum())
    return len(np.unique(groups if chosen is None else groups[chosen]))


def _quantile(number: int) -> float:
    """The 0.975 quantile of Student's t at `number` - 1 degrees of freedom (Abramowitz and Stegun, 26.7.5)."""
    degrees = max(1, number - 1)
    if degrees < 5:
        return (12.7062, 4.3027, 3.1824, 2.7764)[degrees - 1]
    one, two = (_Z**3 + _Z) / 4, (5 * _Z**5 + 16 * _Z**3 + 3 * _Z) / 96
    three = (3 * _Z**7 + 19 * _Z**5 + 17 * _Z**3 - 15 * _Z) / 384
    return _Z + one / degrees + two / degrees**2 + three / degrees**3


def _logistic(value: float) -> float:
    return float(1 / (1 + np.exp(-np.clip(value, -500, 500))))
