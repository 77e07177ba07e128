"""Whether rows that are alike stand near each other in a file: the test of nearest neighbours for rows that are not
independent and identically distributed (Cummings, Snorrason and Mueller, 2023, arXiv:2305.15696).

The statistic is that of cleanlab's `NonIIDIssueManager`. It is computed here since importing cleanlab takes longer than
the whole family does, for twenty lines that it keeps among its internals; a test holds the two equal.
Import this module where it is used, inside functions: it needs numpy and scipy.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import polars as pl
from scipy import sparse

from prefdata.auditing.bags import bag
from prefdata.auditing.statistics import Floats, Ints

NEIGHBOURS = 10
PERMUTATIONS = 99
"""Orders drawn by lot, with which the file's own is compared: the least p-value is 0.01."""
NEAR = 0.05
"""Part of the file within which two rows are called near each other."""
RARE, COMMON = 2, 0.5
"""A word is looked at that stands in so many texts, and in no more than this share of them."""


class Order(NamedTuple):
    """What the places of neighbours in content tell."""

    statistic: float
    """Kolmogorov-Smirnov's, in [0, 1]: distances in the file between neighbours, against those of any two rows."""
    p_value: float
    """Share of the orders, the file's own among them, in which it is as large."""
    near: float
    """Share of the neighbours that stand within NEAR of the file."""
    near_expected: float
    """The same of any two rows."""


def order(texts: pl.Series, *, seed: int = 0) -> Order:
    """Of texts in the order of their file; NEIGHBOURS times ten of them at least."""
    found = nearest(vectors(texts), NEIGHBOURS)
    draws = np.random.default_rng(seed)
    rows = len(texts)
    own = distances(found, np.arange(rows))
    value = statistic(own, rows)
    by_lot = [statistic(distances(found, draws.permutation(rows)), rows) for _ in range(PERMUTATIONS)]
    reach = max(1, int(NEAR * rows))
    return Order(
        statistic=value,
        p_value=(1 + sum(one >= value for one in by_lot)) / (1 + PERMUTATIONS),
        near=float((own <= reach).mean()),
        near_expected=float(_shares(rows)[:reach].sum()),
    )


def vectors(texts: pl.Series) -> Any:
    """Words of texts as sparse vectors of length 1: log counts times the inverse share of texts that have the word."""
    counts = bag(texts).often(RARE).counts
    texts_with = np.bincount(counts.indices, minlength=counts.shape[1])
    weights = np.log(counts.shape[0] / np.maximum(1, texts_with)) * (texts_with <= COMMON * counts.shape[0])
    weighted = counts.log1p() @ sparse.diags_array(weights)
    length = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1)).reshape(-1))
    return (sparse.diags_array(1 / np.where(length > 0, length, 1.0)) @ weighted).tocsr()


def nearest(found: Any, count: int) -> Ints:
    """Of each row the `count` others with the largest product, rows by neighbours; of equal ones the earlier."""
    near = np.empty((found.shape[0], count), dtype=np.int64)
    turned = found.T.tocsc()
    for start in range(0, found.shape[0], 500):
        likeness = (found[start : start + 500] @ turned).toarray()
        here = np.arange(likeness.shape[0])
        likeness[here, start + here] = -1.0
        near[start : start + 500] = np.argsort(-likeness.round(9), axis=1, kind="stable")[:, :count]
    return near


def distances(neighbours: Ints, place: Ints) -> Ints:
    """How many places apart rows and their neighbours stand, where row i stands at `place[i]`."""
    return np.asarray(np.abs(place[:, None] - place[neighbours]).reshape(-1), dtype=np.int64)


def statistic(apart: Ints, rows: int) -> float:
    """The largest difference between the shares of `apart` up to a distance, and of any two of the rows."""
    seen = np.bincount(apart, minlength=rows)[1:].cumsum() / len(apart)
    return float(np.abs(seen - _shares(rows).cumsum()).max())


def _shares(rows: int) -> Floats:
    """Of the pairs of any two rows, those that stand 1, 2, ... places apart."""
    return np.asarray((rows - np.arange(1, rows)) / (rows * (rows - 1) / 2), dtype=np.float64)
