"""The loss of the first step, known beforehand: policy and reference are still one model, so every log-ratio is 0.

Another value shows that the reference is some other model. What each value follows from is TRL's own formula of the
loss at a log-ratio of 0; `sft` alone needs more, the likelihood of the chosen answers under the reference.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

LN2 = math.log(2)

SMOOTHED = frozenset(["exo_pair", "robust", "aot", "aot_unpaired"])
"""Losses of DPO that label_smoothing changes."""

SIDED = frozenset(["nca_pair", "bco_pair", "sppo_hard", "aot", "aot_unpaired", "apo_zero", "apo_down"])
"""Losses of DPO that no other divergence than reverse KL can take the place in."""


def dpo_first_loss(
    losses: Sequence[str],
    weights: Sequence[float],
    *,
    beta: float,
    label_smoothing: float = 0.0,
    chosen_nll: float | None = None,
) -> float | None:
    """The weighted sum of what each of DPO's losses is at a log-ratio of 0; None where a part of it is not known.

    `chosen_nll` is the mean negative log-likelihood, a token, of the first update's chosen answers, for `sft`.
    """
    total = 0.0
    for loss, weight in zip(losses, weights, strict=True):
        value = chosen_nll if loss == "sft" else dpo_value(loss, beta=beta, label_smoothing=label_smoothing)
        if value is None:
            return None
        total += weight * value
    return total


def dpo_value(loss: str, *, beta: float, label_smoothing: float = 0.0) -> float:
    """What one loss of DPO, other than `sft`, is at a log-ratio of 0. Raises KeyError for a name that is none."""
    smoothing = label_smoothing or 0.5  # only exo_pair reads it, which has none without
    return {
        "sigmoid": LN2,
        "robust": LN2,  # the two terms of flipped labels leave (1 - 2e) ln 2 over (1 - 2e)
        "aot": LN2,
        "aot_unpaired": LN2,
        "sigmoid_norm": LN2,
        "hinge": 1.0,
        "ipo": 1 / (4 * beta**2),
        "sppo_hard": 1 / (2 * beta**2),
        "exo_pair": -LN2 - 0.5 * (math.log1p(-smoothing) + math.log(smoothing)),
        "nca_pair": 2 * LN2,
        "bco_pair": 2 * LN2,
        "apo_zero": 1.0,
        "apo_down": 1.0,
        "discopop": 0.5 * LN2 + 0.5,  # half logistic, half exponential, whatever its tau
    }[loss]


def kto_first_loss(labels: Sequence[bool], weights: Mapping[str, float], *, batch: int, accumulation: int) -> float:
    """0.5 times the mean weight of the labels of the first update, in either of KTO's losses."""
    micro = [labels[start : start + batch] for start in range(0, len(labels), batch)][:accumulation]
    means = [
        sum(weights["desirable"] if label else weights["undesirable"] for label in one) / len(one) for one in micro
    ]
    return 0.5 * sum(means) / len(means)
