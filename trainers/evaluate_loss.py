"""How well a model says the answers of held-out rows: nats a token before and after training, and the change.

The loss is the mean over tokens, as in training, not over rows: -sum log p(token) / tokens of all completions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from trainers.evaluate_rewards import Estimate


class Loss(NamedTuple):
    """Held-out loss of one model."""

    rows: int
    groups: int
    tokens: int
    """Of the completions, their end tokens included."""
    loss: Estimate
    """Nats a token; lower is better."""
    perplexity: Estimate
    """exp(loss)."""

    def record(self) -> dict[str, Any]:
        """As plain JSON data, rounded to 1e-4."""
        return {
            "rows": self.rows,
            "groups": self.groups,
            "tokens": self.tokens,
            "loss": rounded(self.loss),
            "perplexity": rounded(self.perplexity),
        }


class Comparison(NamedTuple):
    """One model before and after training, on the same rows."""

    before: Loss
    after: Loss
    change: Estimate
    """Loss after minus loss before, on the same resamples; below 0 where training helped."""


def compare_losses(
    before: Sequence[float],
    after: Sequence[float],
    tokens: Sequence[int],
    groups: Sequence[str],
    *,
    n_bootstrap: int,
    seed: int,
) -> Comparison:
    """Both losses with percentile intervals over `n_bootstrap` resamples of whole groups, and their paired difference.

    `before` and `after` are summed log-probabilities of each row's completion, `tokens` its length. Rows of one group
    are not independent, so groups are drawn, not rows.
    """
    import numpy as np

    names, group = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    sums = np.zeros((3, len(names)))
    for line, values in enumerate((before, after, tokens)):
        np.add.at(sums[line], group, np.asarray(values, dtype=np.float64))
    random = np.random.default_rng(seed)
    draws = random.multinomial(len(names), np.full(len(names), 1 / len(names)), size=n_bootstrap)
    weights = np.vstack([np.ones(len(names), dtype=np.int64), draws]).astype(np.float64)
    old, new, count = (weights @ line for line in sums)
    size = (len(group), len(names), int(sums[2].sum()))
    before_loss, after_loss = _estimate(-old / count), _estimate(-new / count)
    return Comparison(
        before=Loss(*size, before_loss, _perplexity(before_loss)),
        after=Loss(*size, after_loss, _perplexity(after_loss)),
        change=_estimate((old - new) / count),
    )


def rounded(estimate: Estimate) -> dict[str, float]:
    """An estimate as JSON data, to 1e-4."""
    return {name: round(value, 4) for name, value in estimate._asdict().items()}


def _perplexity(loss: Estimate) -> Estimate:
    """Of a model that has run away it is told as e to the 700th: JSON has no infinity."""
    return Estimate(*(math.exp(min(value, 700.0)) for value in loss))


def _estimate(values: Any) -> Estimate:
    import numpy as np

    low, high = np.quantile(values[1:], [0.025, 0.975]) if len(values) > 1 else (values[0], values[0])
    return Estimate(float(values[0]), float(low), float(high))
