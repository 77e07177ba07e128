"""How far apart two sets are: held-out figures of models trained on draws of each, and an interval for the difference.

**A draw** is half of the split units of the training side and its complement, the same two halves for every set, each
trained on in several random orders, of which a larger set takes the first rows up to the shared budget. A table of
figures has the axes (draws, 2 halves, orders, 1 + resamples); the last holds the figure on the held-out rows as they
are, then on resamples of their units.

**The interval.** Three things make the difference uncertain, and more draws make none of the first two smaller:

- which rows there happen to be to train on. Half the difference of two complementary halves varies as a statistic of
  the whole does (balanced half-samples: McCarthy, 1969; Wolter, 2007, chapter 3). What its variance owes to the orders,
  which their spread within a half tells, is taken off.
- which rows happened to be held out: the variance over resamples of their units, less the part that goes with the
  trained models at hand, which the first variance has already (Owen, 2007, on crossed effects).
- that the draws are finitely many: the variance of their means, divided by their number.

The sum makes a t interval with the degrees of freedom of Satterthwaite (1946). benchmarks/ablation.md says how often it
holds what it should.
Import this module where it is used, inside functions: it needs numpy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

LEVEL = 0.05
"""Of the tests, both sides together; intervals are at 1 - LEVEL."""

LEAST_FREEDOM = 2.0
"""Degrees of freedom of an interval, at least: below, it says nothing."""

POWER = 0.8
"""With which the smallest effect that could have been shown would be shown."""


class Estimate(NamedTuple):
    """A figure and its 95 % interval."""

    value: float
    low: float
    high: float


class Difference(NamedTuple):
    """The full recipe minus the set without one filter."""

    value: float
    low: float
    high: float
    p: float
    """Two-sided, of no difference; not corrected for the number of sets."""
    detectable: float
    """The smallest true difference that data of this size would have shown, with power POWER."""


def bootstrap(units: Ints, *, resamples: int, seed: int) -> Floats:
    """Weights (1 + resamples, rows): ones, then how often each row's unit was drawn."""
    count = int(units.max()) + 1
    random = np.random.default_rng([seed, 1])
    draws = random.multinomial(count, np.full(count, 1 / count), size=resamples)
    return np.vstack([np.ones(len(units)), draws[:, units].astype(np.float64)])


def auc(scores: Floats, label: npt.NDArray[np.bool_], weights: Floats) -> Floats:
    """Share of (good, bad) pairs whose good row has the higher score, ties count half; one figure a row of `weights`.

    NaN where a resample has one class only.
    """
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=np.nan) != 0)
    good = np.add.reduceat(weights[:, order] * label[order], starts, axis=1)
    bad = np.add.reduceat(weights[:, order] * ~label[order], starts, axis=1)
    below = np.cumsum(bad, axis=1) - 0.5 * bad
    pairs = good.sum(1) * bad.sum(1)
    with np.errstate(invalid="ignore"):
        return np.asarray((good * below).sum(1) / np.where(pairs > 0, pairs, np.nan), dtype=np.float64)


def accuracy(margins: Floats, weights: Floats) -> Floats:
    """Share of pairs whose chosen side scores higher, ties count half; one figure a row of `weights`."""
    right = (margins > 0) + 0.5 * (margins == 0)
    return np.asarray(weights @ right / weights.sum(1), dtype=np.float64)


def log_loss(margins: Floats, label: npt.NDArray[np.bool_], weights: Floats) -> Floats:
    """Mean negative log-likelihood in nats; ln 2 is that of no knowledge. One figure a row of `weights`."""
    loss = np.logaddexp(0.0, np.where(label, -margins, margins))
    return np.asarray(weights @ loss / weights.sum(1), dtype=np.float64)


def estimate(figures: Floats) -> Estimate:
    """The mean of a table, and its interval."""
    found = difference(figures, np.zeros_like(figures))
    return Estimate(found.value, found.low, found.high)


def difference(full: Floats, other: Floats) -> Difference:
    """Of two tables of figures, paired on every axis."""
    from scipy.stats import t

    table = full - other
    value = float(table[..., 0].mean())
    found = variances(table)
    variance = found.over_rows + found.over_held_out + found.over_draws
    if variance <= 0:
        return Difference(value, value, value, 1.0 if value == 0 else 0.0, 0.0)
    draws, _, orders, resamples = table.shape
    uncertain = (
        found.apart**2 / draws
        + found.of_orders**2 / (2 * draws * max(orders - 1, 1))
        + found.over_held_out**2 / (resamples - 2)
        + found.over_draws**2 / (draws - 1)
    )
    freedom = max(variance**2 / uncertain, LEAST_FREEDOM)
    error = variance**0.5
    reach = float(t.ppf(1 - LEVEL / 2, freedom)) * error
    p = 2 * float(t.sf(abs(value) / error, freedom))
    return Difference(value, value - reach, value + reach, p, reach + float(t.ppf(POWER, freedom)) * error)


class Variances(NamedTuple):
    """What makes the mean of a table vary."""

    over_rows: float
    """Which rows there are to train on: `apart` less `of_orders`, and at least a quarter of `apart`."""
    over_held_out: float
    over_draws: float
    """That the draws are finitely many."""
    apart: float
    """The variance of half the difference of two complementary halves."""
    of_orders: float
    """What of it the random orders account for."""


def variances(table: Floats) -> Variances:
    """The variances of the mean of a table."""
    orders = table.shape[2]
    halves = table.mean(axis=2)
    apart = (halves[:, 0] - halves[:, 1]) / 2
    residues = (table - halves[:, :, None]) * (orders / max(orders - 1, 1)) ** 0.5
    squared = float((apart[:, 0] ** 2).mean())
    of_orders = float((residues[..., 0] ** 2).mean()) / (2 * orders)
    over_rows = max(squared - of_orders, squared / 4)
    over_draws = float(halves[..., 0].mean(axis=1).var(ddof=1)) / table.shape[0]
    resampled = float(_spread(table.mean(axis=(0, 1, 2))))
    both = float(_spread(apart).mean()) - float(_spread(residues).mean()) / (2 * orders)
    return Variances(over_rows, max(resampled - max(both, 0.0), 0.0), over_draws, squared, of_orders)


def _spread(figures: Floats) -> Floats:
    """The variance over resamples, the last axis without its first column; those with one class only do not count."""
    return np.asarray(np.nanvar(figures[..., 1:], axis=-1, ddof=1), dtype=np.float64)


def holm(values: Sequence[float]) -> list[float]:
    """p values corrected for their number (Holm, 1979), in the order given."""
    order = sorted(range(len(values)), key=lambda at: (values[at], at))
    found, highest = [0.0] * len(values), 0.0
    for rank, at in enumerate(order):
        highest = max(highest, min(1.0, (len(values) - rank) * values[at]))
        found[at] = highest
    return found
