"""How honest probabilities are: reliability curve, expected calibration error, area under the ROC curve.

Imported on use only: it loads numpy.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

BINS = 10


class Bin(NamedTuple):
    """One bin of a reliability curve."""

    low: float
    high: float
    predicted: float | None
    """Mean probability of the rows in the bin, null where there is none."""
    observed: float | None
    """Share of satisfied rows among them."""
    n: int


def reliability(probability: Floats, truth: NDArray[np.bool_], *, bins: int = BINS) -> list[Bin]:
    """The curve over `bins` bins of equal width."""
    place = np.clip((probability * bins).astype(np.int64), 0, bins - 1)
    curve = []
    for index in range(bins):
        inside = place == index
        count = int(inside.sum())
        predicted = round(float(probability[inside].mean()), 4) if count else None
        observed = round(float(truth[inside].mean()), 4) if count else None
        curve.append(Bin(round(index / bins, 4), round((index + 1) / bins, 4), predicted, observed, count))
    return curve


def calibration_error(probability: Floats, truth: NDArray[np.bool_], *, bins: int = BINS) -> float:
    """Expected calibration error: mean distance of predicted from observed over equal-width bins, by their counts."""
    place = np.clip((probability * bins).astype(np.int64), 0, bins - 1)
    error = 0.0
    for index in range(bins):
        inside = place == index
        if inside.any():
            error += inside.sum() * abs(probability[inside].mean() - truth[inside].mean())
    return float(error / max(len(probability), 1))


def roc_auc(score: Floats, truth: NDArray[np.bool_]) -> float:
    """Share of (satisfied, dissatisfied) pairs that `score` puts in the right order, ties half; nan without both."""
    good = int(truth.sum())
    bad = len(truth) - good
    if not good or not bad:
        return float("nan")
    _, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks = (ends - (counts - 1) / 2.0)[inverse]
    return float((ranks[truth].sum() - good * (good + 1) / 2.0) / (good * bad))


def honesty(probability: Floats, truth: NDArray[np.bool_]) -> dict[str, Any]:
    """`auc`, `ece` and the `reliability` curve as plain data for a report; `n` rows with `satisfied` among them."""
    return {
        "n": len(truth),
        "satisfied": int(truth.sum()),
        "auc": round(roc_auc(probability, truth), 4),
        "ece": round(calibration_error(probability, truth), 4),
        "reliability": [entry._asdict() for entry in reliability(probability, truth)],
    }
