"""MinHash signatures in datasketch's format, and their band keys, for many texts at once in numpy.

The signatures equal, bit for bit, `datasketch.MinHash(num_perm=..., seed=1, scheme="affine32")` of datasketch 2.0 fed
with the same 32-bit base hashes; signatures of datasketch 1.x are of another scheme and cannot be compared.
"""

from __future__ import annotations

import itertools
from functools import cache

import numpy as np
from numpy.typing import NDArray

from prefdata.dedup.shingles import Flat, UInt64Array, mix

UInt32Array = NDArray[np.uint32]

EMPTY = np.uint32(0xFFFFFFFF)
"""Every value of the signature of a text without a shingle; such texts get no band keys."""

_BLOCK = 1 << 16
"""Shingles in one pass: 256 KiB of hashes stay in the second-level cache over all permutations."""


@cache
def draw(count: int, seed: int) -> UInt32Array:
    """`a` and `b` of the permutations `a * h + b mod 2^32`, shape (2, count), drawn as datasketch draws them."""
    draws = np.random.RandomState(seed)
    a = draws.randint(0, 1 << 31, count, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
    b = draws.randint(0, 1 << 32, count, dtype=np.uint32)
    return np.array([a, b])


def _fmix32(values: UInt32Array) -> UInt32Array:
    values = values ^ (values >> np.uint32(16))
    values = values * np.uint32(0x85EBCA6B)
    values = values ^ (values >> np.uint32(13))
    values = values * np.uint32(0xC2B2AE35)
    return values ^ (values >> np.uint32(16))


def signatures(base: Flat, *, permutations: int, seed: int = 1, count: int | None = None) -> UInt32Array:
    """Signatures, shape (rows, count), of rows of 32-bit base hashes.

    `count` is how many of the `permutations` values are computed, the first ones; None is all of them.
    """
    a, b = draw(permutations, seed)
    count = permutations if count is None else count
    rows = np.flatnonzero(base.lengths > 0)
    starts = base.offsets[:-1][rows]
    total = base.values.size
    out = np.full((count, base.offsets.size - 1), EMPTY, dtype=np.uint32)
    hashes = _fmix32(base.values.astype(np.uint32))
    cuts = np.unique(np.append(np.searchsorted(starts, np.arange(0, total, _BLOCK)), rows.size))
    for low, high in itertools.pairwise(cuts):
        begin = starts[low]
        end = starts[high] if high < rows.size else total
        block, where = hashes[begin:end], starts[low:high] - begin
        for index in range(count):
            out[index, rows[low:high]] = np.minimum.reduceat(a[index] * block + b[index], where)
    return np.ascontiguousarray(out.T)


def band_keys(signature: UInt32Array, *, bands: int, rows: int) -> UInt64Array:
    """64-bit keys, shape (texts, bands), each of `rows` signature values and the number of the band."""
    keys = np.empty((signature.shape[0], bands), dtype=np.uint64)
    for band in range(bands):
        key = np.full(signature.shape[0], band + 1, dtype=np.uint64)
        for column in range(band * rows, (band + 1) * rows):
            key = mix(key * np.uint64(0x9E3779B97F4A7C15) + signature[:, column].astype(np.uint64))
        keys[:, band] = key
    return keys


def chance(similarity: float, *, bands: int, rows: int) -> float:
    """The probability that two texts of this Jaccard similarity share a band: 1 - (1 - s^rows)^bands."""
    return float(1 - (1 - similarity**rows) ** bands)
