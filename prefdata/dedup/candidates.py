"""Which rows of a bucket are compared with which: all of a small bucket, a bounded number for each row of a large one.

Comparing every member with the smallest id only is linear but misses pairs whose head happens to be unrelated;
comparing all with all is quadratic in a boilerplate bucket. So a bucket of up to ALL_PAIRS distinct texts is compared
in full. In a larger one each row meets the first HEADS ids and, in ORDERS orders by fresh MinHash values, its next
NEIGHBOURS: texts that agree stand side by side there. Nothing depends on the order or the number of rows outside.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from prefdata.dedup.minhash import signatures
from prefdata.dedup.shingles import Flat, Int64Array, UInt64Array

ALL_PAIRS = 48
HEADS = 8
ORDERS = 8
NEIGHBOURS = 6
ORDER_SEED = 2
"""Not the seed of the signatures: within a bucket those agree by construction."""


class Candidates(NamedTuple):
    """Pairs of row numbers, `left` < `right`, each once; and the large buckets that were not compared in full."""

    left: Int64Array
    right: Int64Array
    large_buckets: int
    largest_bucket: int


def candidates(bucket: Int64Array, row: Int64Array, base: Flat) -> Candidates:
    """Pairs to verify. `bucket` and `row` name memberships, sorted by both; `base` are the rows' 32-bit base hashes."""
    heads = np.flatnonzero(np.r_[True, bucket[1:] != bucket[:-1]]) if bucket.size else np.zeros(0, dtype=np.int64)
    sizes = np.diff(np.r_[heads, bucket.size])
    size = np.repeat(sizes, sizes)
    small = size <= ALL_PAIRS
    pairs = _Pairs(base.offsets.size - 1)
    _slide(pairs, bucket[small], row[small], ALL_PAIRS - 1)
    large = np.flatnonzero(sizes > ALL_PAIRS)
    if large.size:
        kept = ~small
        groups, members = bucket[kept], row[kept]
        place = np.arange(bucket.size) - np.repeat(heads, sizes)
        start = np.repeat(heads, sizes)
        for head in range(HEADS):
            with_head = kept & (place > head)
            pairs.add(row[start[with_head] + head], row[with_head])
        values = _values(base, np.unique(members))
        for turn in range(ORDERS):
            keys = [members, *(values[members, (turn + step) % ORDERS] for step in (3, 2, 1, 0)), groups]
            order = np.lexsort(keys)
            _slide(pairs, groups[order], members[order], NEIGHBOURS)
    left, right = pairs.unique()
    return Candidates(left, right, int(large.size), int(sizes.max(initial=0)))


def _slide(pairs: _Pairs, bucket: Int64Array, row: Int64Array, reach: int) -> None:
    """Each row with the `reach` rows after it in its bucket."""
    for step in range(1, reach + 1):
        together = np.flatnonzero(bucket[step:] == bucket[:-step])
        if not together.size:
            return
        pairs.add(row[together], row[together + step])


def _values(base: Flat, rows: Int64Array) -> Int64Array:
    """MinHash values that order the rows of large buckets; rows not asked for are left at 0."""
    counts = base.lengths[rows]
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    inside = np.arange(int(offsets[-1])) + np.repeat(base.offsets[:-1][rows] - offsets[:-1], counts)
    out = np.zeros((base.offsets.size - 1, ORDERS), dtype=np.int64)
    out[rows] = signatures(Flat(base.values[inside], offsets), permutations=ORDERS, seed=ORDER_SEED)
    return out


class _Pairs:
    """Unordered pairs of row numbers, gathered in parts and kept unique."""

    LIMIT = 1 << 23

    def __init__(self, height: int) -> None:
        self.height = np.uint64(max(height, 1))
        self.parts: list[UInt64Array] = []
        self.waiting = 0

    def add(self, one: Int64Array, other: Int64Array) -> None:
        low, high = np.minimum(one, other), np.maximum(one, other)
        self.parts.append(low.astype(np.uint64) * self.height + high.astype(np.uint64))
        self.waiting += low.size
        if self.waiting > self.LIMIT:
            self.parts = [np.unique(np.concatenate(self.parts))]
            self.waiting = 0

    def unique(self) -> tuple[Int64Array, Int64Array]:
        if not self.parts:
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
        codes = np.unique(np.concatenate(self.parts))
        return (codes // self.height).astype(np.int64), (codes % self.height).astype(np.int64)
