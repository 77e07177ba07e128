"""Logistic regression with a ridge, by Newton's method: small enough to need no library, the same weights every time.

Import this module where it is used, inside functions: it needs scipy.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import sparse

from prefdata.auditing.statistics import Bools, Floats, Ints

STEPS = 25
INNER_STEPS = 25
TOLERANCE = 1e-4
"""Relative decrease of the loss below which nothing more is gained."""
OFTEN, MOST_OFTEN = 0.3, 64
"""Share of the rows in which a column of a sparse block is not 0 from which on it depends on others of that kind, and
how many such columns are taken together."""
_FREE = 1e-6
"""Prior precision of the intercept."""


def fit(block: Any, label: Floats, *, prior: float, intercept: bool) -> tuple[Floats, float]:
    """Weights and intercept for `block` (rows by columns, dense or CSR) and labels 1 and 0.

    `prior` is the prior precision of every weight: the loss is the sum of the rows' logistic losses and half of
    `prior` times the squared weights.
    """
    weights = Design(block, prior=prior, intercept=intercept).fit(label)
    return (weights[:-1], float(weights[-1])) if intercept else (weights, 0.0)


class Design:
    """A block to which several models are fitted, of some of its rows each."""

    def __init__(self, block: Any, *, prior: float, intercept: bool) -> None:
        rows, columns = block.shape
        self.ridge = np.full(columns, prior)
        if intercept:
            ones = np.ones((rows, 1))
            block = sparse.hstack([block, ones], format="csr") if sparse.issparse(block) else np.hstack([block, ones])
            self.ridge = np.append(self.ridge, _FREE)
        self.block = block
        self._bend = _Bend(block, self.ridge) if sparse.issparse(block) and min(block.shape) else None

    def fit(self, label: Floats, inside: Bools | None = None) -> Floats:
        """Weights of the columns, the intercept's last, fitted to the rows `inside`; `label` is of all rows."""
        block = self.block if inside is None else self.block[inside]
        sign = 2 * (label if inside is None else label[inside]) - 1
        return self._newton(block, sign) if min(block.shape) else np.zeros(block.shape[1])

    def scores(self, weights: Floats, rows: Bools) -> Floats:
        """Log odds that a model gives the rows `rows`."""
        return np.asarray(self.block[rows] @ weights, dtype=np.float64)

    def _newton(self, block: Any, sign: Floats) -> Floats:
        turned, ridge = block.T, self.ridge
        near = self._bend.of(len(sign)) if self._bend is not None else None
        weights, margin = np.zeros(block.shape[1]), np.zeros(block.shape[0])
        loss = len(sign) * math.log(2)
        for _ in range(STEPS):
            wrong = np.exp(-np.logaddexp(0.0, sign * margin))
            slope = ridge * weights - turned @ (sign * wrong)
            bend = wrong * (1 - wrong)
            step = (
                _directly(block, bend, ridge, slope)
                if near is None
                else _by_conjugate_gradients(block, bend, ridge, slope, near)
            )
            moved, length = block @ step, 1.0
            while (lower := _loss(sign, margin + length * moved, ridge, weights + length * step)) > loss:
                if length <= 1e-4:
                    break
                length /= 2
            if lower > loss:
                break
            weights, margin, gained, loss = weights + length * step, margin + length * moved, loss - lower, lower
            if gained <= TOLERANCE * loss:
                break
        return weights


class _Bend:
    """About how the loss bends, of a row on average: what conjugate gradients need few steps with.

    Exact, where nothing is fitted yet, for the columns that are seldom 0 (marks, `the`, the intercept), which tell much
    of each other; of all others only each by itself.
    """

    def __init__(self, block: Any, ridge: Floats) -> None:
        rows, columns = block.shape
        seen = np.bincount(block.indices, minlength=columns)
        most = np.argsort(-seen, kind="stable")[:MOST_OFTEN]
        self.often: Ints = np.sort(most[seen[most] >= OFTEN * rows])
        together = block[:, self.often].toarray()
        self.ridge = ridge
        self.alone = 0.25 / rows * np.bincount(block.indices, weights=block.data**2, minlength=columns)
        self.together = 0.25 / rows * (together.T @ together)

    def of(self, rows: int) -> _Near:
        """For a model of so many rows."""
        together = np.diag(self.ridge[self.often]) + rows * self.together
        return _Near(self.ridge + rows * self.alone, self.often, np.linalg.inv(together))


class _Near:
    """The approximate inverse of how the loss bends."""

    def __init__(self, alone: Floats, often: Ints, together: Floats) -> None:
        self.alone, self.often, self.together = alone, often, together

    def __call__(self, slope: Floats) -> Floats:
        found = slope / self.alone
        found[self.often] = self.together @ slope[self.often]
        return found


def _loss(sign: Floats, margin: Floats, ridge: Floats, weights: Floats) -> float:
    return float(np.logaddexp(0.0, -sign * margin).sum()) + 0.5 * float(ridge @ weights**2)


def _directly(block: Any, bend: Floats, ridge: Floats, slope: Floats) -> Floats:
    return np.asarray(np.linalg.solve((block.T * bend) @ block + np.diag(ridge), -slope), dtype=np.float64)


def _by_conjugate_gradients(block: Any, bend: Floats, ridge: Floats, slope: Floats, near: _Near) -> Floats:
    """An answer that is good enough for a Newton step (Nocedal and Wright, algorithm 7.1), preconditioned by `near`."""
    turned = block.T
    step, left = np.zeros(len(slope)), -slope
    search = near(left)
    size, norm = float(left @ search), float(np.linalg.norm(left))
    enough = size * min(0.25, norm / (1 + norm) * 0.1)
    for _ in range(INNER_STEPS):
        if size <= enough or size <= 0:
            break
        bent = turned @ (bend * (block @ search)) + ridge * search
        ahead = size / float(search @ bent)
        step += ahead * search
        left -= ahead * bent
        closer = near(left)
        size, before = float(left @ closer), size
        search = closer + size / before * search
    return step
