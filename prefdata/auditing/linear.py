"""Logistic regression with a ridge, by Newton's method: small enough to need no library, the same weights every time.

Import this module where it is used, inside functions: it needs scipy.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import sparse

from prefdata.auditing.statistics import Floats

STEPS = 25
INNER_STEPS = 25
TOLERANCE = 1e-4
"""Relative decrease of the loss below which nothing more is gained."""
_FREE = 1e-6
"""Prior precision of the intercept."""


def fit(block: Any, label: Floats, *, prior: float, intercept: bool) -> tuple[Floats, float]:
    """Weights and intercept for `block` (rows by columns, dense or CSR) and labels 1 and 0.

    `prior` is the prior precision of every weight: the loss is the sum of the rows' logistic losses and half of
    `prior` times the squared weights.
    """
    rows, columns = block.shape
    ridge = np.full(columns, prior)
    if not rows or not columns:
        return np.zeros(columns), 0.0
    if intercept:
        ones = np.ones((rows, 1))
        block = sparse.hstack([block, ones]).tocsr() if sparse.issparse(block) else np.hstack([block, ones])
        ridge = np.append(ridge, _FREE)
    weights = _newton(block, 2 * label - 1, ridge)
    return weights[:columns], float(weights[columns]) if intercept else 0.0


def _newton(block: Any, sign: Floats, ridge: Floats) -> Floats:
    turned = block.T.tocsr() if sparse.issparse(block) else block.T
    direction = _by_conjugate_gradients if sparse.issparse(block) else _directly
    weights, margin = np.zeros(block.shape[1]), np.zeros(block.shape[0])
    loss = len(sign) * math.log(2)
    for _ in range(STEPS):
        wrong = np.exp(-np.logaddexp(0.0, sign * margin))
        slope = ridge * weights - turned @ (sign * wrong)
        step = direction(block, turned, wrong * (1 - wrong), ridge, slope)
        moved, length = block @ step, 1.0
        while (lower := _loss(sign, margin + length * moved, ridge, weights + length * step)) > loss and length > 1e-4:
            length /= 2
        if lower > loss:
            break
        weights, margin, gained, loss = weights + length * step, margin + length * moved, loss - lower, lower
        if gained <= TOLERANCE * loss:
            break
    return weights


def _loss(sign: Floats, margin: Floats, ridge: Floats, weights: Floats) -> float:
    return float(np.logaddexp(0.0, -sign * margin).sum()) + 0.5 * float(ridge @ weights**2)


def _directly(block: Any, turned: Any, bend: Floats, ridge: Floats, slope: Floats) -> Floats:
    return np.asarray(np.linalg.solve((turned * bend) @ block + np.diag(ridge), -slope), dtype=np.float64)


def _by_conjugate_gradients(block: Any, turned: Any, bend: Floats, ridge: Floats, slope: Floats) -> Floats:
    """An answer that is good enough for a Newton step (Nocedal and Wright, algorithm 7.1)."""
    step, left = np.zeros(len(slope)), -slope
    search, size = left.copy(), float(left @ left)
    enough = size * min(0.25, math.sqrt(size) / (1 + math.sqrt(size)) * 0.1)
    for _ in range(INNER_STEPS):
        if size <= enough or size == 0:
            break
        bent = turned @ (bend * (block @ search)) + ridge * search
        ahead = size / float(search @ bent)
        step += ahead * search
        left -= ahead * bent
        size, before = float(left @ left), size
        search = left + size / before * search
    return step
