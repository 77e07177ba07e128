"""How the scores of several models become one probability: shares chosen by what they foretell, then Platt's curve.

The shares are picked among all mixtures in steps of a tenth by the log loss of the probabilities that come of them, on
rows that the models had not seen. Labels are read off probabilities, so a rule that only honest ones satisfy best is
the one to choose by. Fitting the models belongs to satisfaction.py.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

STEPS = 10
"""Shares are multiples of 1 / STEPS: log loss is flat about its best, finer steps would choose by chance."""


class Curve(NamedTuple):
    """Platt's scaling: the logistic curve from a score to a probability."""

    slope: float
    bias: float
    loss: float
    """Mean log loss on the rows that it was fitted to."""


class Joining(NamedTuple):
    """Standardisation, shares, and a curve over the one score that they make."""

    centre: Floats
    spread: Floats
    shares: Floats
    """One a model, sum 1."""
    curve: Curve

    def probability(self, scores: Floats) -> Floats:
        """(rows, models) -> (rows,): probability of a satisfied customer."""
        mixed = (scores - self.centre) / self.spread @ self.shares
        return np.asarray(1.0 / (1.0 + np.exp(-(mixed * self.curve.slope + self.curve.bias))))


def join(scores: Floats, truth: NDArray[np.bool_], *, shares: Floats | None = None) -> Joining:
    """The joining of (rows, models) scores that foretells `truth` best; `shares` given are taken as they are.

    The scores must come from models that had not seen the rows. Of equal mixtures the evenest is taken.
    """
    centre, spread = scores.mean(axis=0), np.maximum(scores.std(axis=0), 1e-9)
    standard = (scores - centre) / spread
    candidates = mixtures(scores.shape[1]) if shares is None else [shares]
    fits = [platt(standard @ candidate, truth) for candidate in candidates]
    best = int(np.argmin([round(fit.loss, 9) for fit in fits]))
    return Joining(centre, spread, candidates[best], fits[best])


def mixtures(models: int) -> list[Floats]:
    """Every split of 1 into `models` multiples of 1 / STEPS, the evenest first."""
    splits = [split for split in itertools.product(range(STEPS + 1), repeat=models) if sum(split) == STEPS]
    splits.sort(key=lambda split: (sum(part * part for part in split), split))
    return [np.array(split) / STEPS for split in splits]


def platt(score: Floats, truth: NDArray[np.bool_]) -> Curve:
    """Logistic regression of `truth` on `score` by Newton's method, a normal prior of spread 1 on the slope."""
    design = np.column_stack([score, np.ones_like(score)])
    sign = np.where(truth, 1.0, -1.0)
    penalty = np.diag([1.0, 1e-6])

    def objective(weights: Floats) -> float:
        return float(np.logaddexp(0.0, -sign * (design @ weights)).sum() + weights @ penalty @ weights / 2.0)

    weights, value = np.zeros(2), objective(np.zeros(2))
    for _ in range(100):
        probability = 1.0 / (1.0 + np.exp(-(design @ weights)))
        gradient = design.T @ (probability - truth) + penalty @ weights
        hessian = (design * (probability * (1.0 - probability))[:, None]).T @ design + penalty
        step = np.linalg.solve(hessian, gradient)
        # a full step may overshoot where nearly all rows are of one class
        while (found := objective(weights - step)) > value and np.abs(step).max() > 1e-9:
            step = step / 2.0
        weights, value = weights - step, found
        if np.abs(step).max() < 1e-9:
            break
    return Curve(float(weights[0]), float(weights[1]), float(np.logaddexp(0.0, -sign * (design @ weights)).mean()))
