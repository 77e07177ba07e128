"""How well a trained model tells the better answer of a pair from the worse one, on pairs it never saw.

A side's implicit reward is beta * (log p_policy - log p_reference) of the answer given its prompt, the reference being
the start model. Before training both are the same model: every reward is 0, every pair a tie, the accuracy 0.5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trainers.evaluate_rewards import Estimate, estimate, resampled

MEASURES = ("accuracy", "margin", "mean_chosen", "mean_rejected")


def summarise_pairs(
    chosen: Sequence[float], rejected: Sequence[float], groups: Sequence[str], *, n_bootstrap: int, seed: int
) -> dict[str, Any]:
    """Rows, groups and each of MEASURES with its 95 % interval over resamples of whole groups, as plain JSON data.

    accuracy: share of pairs whose chosen answer has the higher reward, a tie counts half. margin: mean reward of the
    chosen answers minus that of the rejected ones.
    """
    import numpy as np

    good, bad = np.asarray(chosen, dtype=np.float64), np.asarray(rejected, dtype=np.float64)
    measured = {
        "accuracy": np.where(good > bad, 1.0, np.where(good == bad, 0.5, 0.0)),
        "margin": good - bad,
        "mean_chosen": good,
        "mean_rejected": bad,
    }
    weights = resampled(groups, n_bootstrap=n_bootstrap, seed=seed)
    return {
        "rows": len(good),
        "groups": len(set(groups)),
        **{name: rounded(estimate(weights @ each / weights.sum(1))) for name, each in measured.items()},
    }


def changed(
    before: Sequence[float], after: Sequence[float], groups: Sequence[str], *, n_bootstrap: int, seed: int
) -> dict[str, float]:
    """The mean of after minus before, row by row, with its 95 % interval over resamples of whole groups."""
    import numpy as np

    moved = np.asarray(after, dtype=np.float64) - np.asarray(before, dtype=np.float64)
    weights = resampled(groups, n_bootstrap=n_bootstrap, seed=seed)
    return rounded(estimate(weights @ moved / weights.sum(1)))


def wins(chosen: Sequence[float], rejected: Sequence[float]) -> list[float]:
    """1.0 for a pair whose chosen side has more, 0.5 for a tie, 0.0 otherwise."""
    return [1.0 if good > bad else 0.5 if good == bad else 0.0 for good, bad in zip(chosen, rejected, strict=True)]


def rounded(one: Estimate) -> dict[str, float]:
    """As plain JSON data, to 1e-4."""
    return {key: round(value, 4) for key, value in one._asdict().items()}


def moved_from(value: float, found: Mapping[str, float]) -> dict[str, float]:
    """The change of a measure that was `value` for every resample before training."""
    return {key: round(one - value, 4) for key, one in found.items()}
