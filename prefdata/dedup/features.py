"""What two rows are compared by, as bytes: shingles, values and stance of both sides; no text.

A row has one band key for each band, and each carries these bytes. In a polars Binary column that costs 16 bytes a
key: the bytes themselves are stored once and shared.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
import polars as pl

from prefdata.dedup.opposites import STANCE, Stances, stances
from prefdata.dedup.shingles import Flat, Int64Array, UInt64Array, mix, normalised, shingle, tokenise

SIDES = ("customer", "reply")

_MARKS = {"customer": np.uint64(0x1B873593CC9E2D51), "reply": np.uint64(0xE6546B64A54FF53A)}

_COUNTS = 2 * len(SIDES)
_HEAD = _COUNTS + STANCE * len(SIDES)
"""Numbers in front of the ragged parts: the length of each, then the stance of each side."""


class Features(NamedTuple):
    """Shingles, and values and stance, of the two sides of many rows."""

    shingles: dict[str, Flat]
    stance: dict[str, Stances]

    def union(self) -> Flat:
        """32-bit base hashes of the shingles of both sides, each marked with its side."""
        marked = [mix(self.shingles[side].values ^ _MARKS[side]) >> np.uint64(32) for side in SIDES]
        return interleaved([Flat(one, self.shingles[side].offsets) for one, side in zip(marked, SIDES, strict=True)])


def features_of(frame: pl.DataFrame, *, shingle_words: int) -> Features:
    """Features of `customer` and `reply`."""
    shingles, stance = {}, {}
    for side in SIDES:
        texts = normalised(frame[side])
        tokens = tokenise(texts)
        shingles[side] = shingle(tokens, size=shingle_words)
        stance[side] = stances(texts, tokens)
    return Features(shingles, stance)


def pack(features: Features) -> list[bytes]:
    """The features of each row as little-endian 64-bit numbers. Equal bytes are equal features."""
    parts = [part for side in SIDES for part in (features.shingles[side], features.stance[side].values)]
    head = np.hstack(
        [np.stack([part.lengths for part in parts], axis=1).astype(np.uint64)]
        + [features.stance[side].numbers for side in SIDES]
    )
    height = head.shape[0]
    flat = interleaved([Flat(head.ravel(), np.arange(height + 1, dtype=np.int64) * _HEAD), *parts])
    data = flat.values.astype("<u8").tobytes()
    ends = (flat.offsets * 8).tolist()
    return [data[begin:end] for begin, end in itertools.pairwise(ends)]


def unpack(packed: list[bytes]) -> Features:
    """The features that `pack` made bytes of."""
    values = np.frombuffer(b"".join(packed), dtype="<u8").astype(np.uint64)
    lengths = np.fromiter((len(row) // 8 for row in packed), dtype=np.int64, count=len(packed))
    starts = np.cumsum(lengths) - lengths
    head = values[starts[:, None] + np.arange(_HEAD)]
    counts = head[:, :_COUNTS].astype(np.int64)
    begins = starts[:, None] + _HEAD + np.cumsum(counts, axis=1) - counts
    shingles, stance = {}, {}
    for number, side in enumerate(SIDES):
        shingles[side] = _taken(values, begins[:, 2 * number], counts[:, 2 * number])
        low = _COUNTS + STANCE * number
        stated = _taken(values, begins[:, 2 * number + 1], counts[:, 2 * number + 1])
        stance[side] = Stances(head[:, low : low + STANCE], stated)
    return Features(shingles, stance)


def interleaved(parts: list[Flat]) -> Flat:
    """One ragged array whose rows are the rows of `parts`, end to end."""
    counts = np.stack([part.lengths for part in parts], axis=1)
    offsets = np.concatenate([[0], np.cumsum(counts.sum(axis=1))]).astype(np.int64)
    begins = offsets[:-1, None] + np.cumsum(counts, axis=1) - counts
    values = np.empty(int(offsets[-1]), dtype=np.uint64)
    for number, part in enumerate(parts):
        place = np.arange(part.values.size) + np.repeat(begins[:, number] - part.offsets[:-1], part.lengths)
        values[place] = part.values
    return Flat(values, offsets)


def _taken(values: UInt64Array, begins: Int64Array, counts: Int64Array) -> Flat:
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    inside = np.arange(int(offsets[-1])) + np.repeat(begins - offsets[:-1], counts)
    return Flat(values[inside], offsets)
