"""How far apart two sets are: held-out figures of models trained on draws of each, and an interval for the difference.

A draw is half of the split units of the training side, the same half for every set. Over draws a difference spreads as
it would over other data of the same kind: the variance of a mean over half-samples is that of the mean itself
(McCarthy, 1969, balanced half-samples; Politis and Romano, 1994, subsampling). So the spread over draws is *not*
divided by their number: more draws tell it better, they do not make the data larger. To it comes the variance of the
held-out set, by a bootstrap over its units. Their sum makes a t interval with the degrees of freedom of Satterthwaite
(1946).
Import this module where it is used, inside functions: it needs numpy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

LEVEL = 0.05
"""Of the tests, both sides together; intervals are at 1 - LEVEL."""

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
    """Of (draws, 1 + resamples) figures the mean over draws, and its interval as of a difference from nothing."""
    found = difference(figures, np.zeros_like(figures))
    return Estimate(found.value, found.low, found.high)


def difference(full: Floats, other: Floats) -> Difference:
    """Of two tables of figures (draws, 1 + resamples), paired in both: column 0 is the held-out set as it is."""
    from scipy.stats import t

    table = full - other
    draws = table.shape[0]
    value = float(table[:, 0].mean())
    over_draws = float(table[:, 0].var(ddof=1)) * (1 + 1 / draws)
    means = table[:, 1:].mean(axis=0)
    over_units = float(np.nanvar(means, ddof=1))
    variance = over_draws + over_units
    if variance <= 0:
        return Difference(value, value, value, 1.0 if value == 0 else 0.0, 0.0)
    freedom = variance**2 / (over_draws**2 / (draws - 1) + over_units**2 / (means.size - 1))
    error = variance**0.5
    reach = float(t.ppf(1 - LEVEL / 2, freedom)) * error
    p = 2 * float(t.sf(abs(value) / error, freedom))
    return Difference(value, value - reach, value + reach, p, reach + float(t.ppf(POWER, freedom)) * error)


def holm(values: Sequence[float]) -> list[float]:
    """p values corrected for their number (Holm, 1979), in the order given."""
    order = sorted(range(len(values)), key=lambda at: (values[at], at))
    found, highest = [0.0] * len(values), 0.0
    for rank, at in enumerate(order):
        highest = max(highest, min(1.0, (len(values) - rank) * values[at]))
        found[at] = highest
    return found


def rounded(value: Any) -> Any:
    """Floats at four digits, in tuples too; never -0.0."""
    if isinstance(value, float):
        return round(value, 4) + 0.0
    return value
