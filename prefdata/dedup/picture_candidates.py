"""Which pictures are compared with which: bands of their hashes, and cells of their coarse colours.

All arithmetic on colours is of whole numbers, so that a picture falls in the same cells whatever stands beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

Ints = NDArray[np.int64]

SIDE = 16
PIXELS = SIDE * SIDE * 3
RECORD = PIXELS + 8 + 4
"""Bytes of a picture in a packed look: fingerprint, hash, aspect."""
FREQUENCIES = 3
"""Along each axis, of each of three channels of colour: 27 numbers a picture."""
CELL_NUMBERS = 6
"""Numbers that must agree in a table's cell."""
CELL_WIDTH = 24.0
"""Levels of a cell; the coarse colours of copies are apart by 1 as a rule, by up to 10 where 5 % a side are cropped."""
MOST_APART = 12.0
"""Levels between coarse colours above which two pictures are not compared further."""
UNIT = 256.0
"""Steps of a level: coarse colours are kept as whole numbers of them."""
MOST_STRETCH = 0.12
"""Difference of the logarithms of width to height that a crop may make."""
NEXT = 64
AT_ONCE = 1 << 16
"""Pairs whose coarse colours are compared together."""
HEADS = 8
"""In a bucket, sorted by brightness, a picture meets the first HEADS and its next NEXT that may be alike."""


class Looks(NamedTuple):
    """The pictures of rows: those of row i are `starts[i]` to `starts[i] + counts[i]`."""

    counts: Ints
    starts: Ints
    fingerprints: NDArray[np.uint8]
    hashes: NDArray[np.uint64]
    aspects: NDArray[np.float32]
    """Logarithm of width to height."""


class Candidates(NamedTuple):
    """Pairs of row numbers, `left` < `right`, each once; and how many buckets were not compared in full."""

    left: Ints
    right: Ints
    large_buckets: int


def packed(pictures: pl.Series) -> tuple[list[int], list[bytes]]:
    """The places of the rows all of whose pictures have fingerprints, and the looks of each as bytes."""
    frame = (
        pl.DataFrame({"pictures": pictures})
        .with_row_index("row")
        .filter(pl.col("pictures").list.len() > 0)
        .explode("pictures")
        .unnest("pictures")
    )
    if not frame.height:
        return [], []
    whole = pl.col("fingerprint").bin.size() == PIXELS
    frame = frame.filter((whole & pl.col("phash").is_not_null()).fill_null(False).all().over("row"))
    if not frame.height:
        return [], []
    records = np.empty((frame.height, RECORD), dtype=np.uint8)
    records[:, :PIXELS] = np.frombuffer(b"".join(frame["fingerprint"].to_list()), dtype=np.uint8).reshape(-1, PIXELS)
    records[:, PIXELS : PIXELS + 8] = frame["phash"].to_numpy().astype("<u8").view(np.uint8).reshape(-1, 8)
    sides = frame.select(pl.col("width", "height").fill_null(1).clip(1)).to_numpy().astype(np.float64)
    aspects = np.log(sides[:, 0] / sides[:, 1]).astype("<f4")
    records[:, PIXELS + 8 :] = aspects.view(np.uint8).reshape(-1, 4)
    rows, counts = np.unique(frame["row"].to_numpy(), return_counts=True)
    ends = np.cumsum(counts) * RECORD
    everything = records.tobytes()
    starts = np.concatenate([[0], ends[:-1]])
    return rows.tolist(), [everything[start:end] for start, end in zip(starts.tolist(), ends.tolist())]


def unpacked(looks: Sequence[bytes]) -> Looks:
    """The pictures behind packed looks."""
    records = np.frombuffer(b"".join(looks), dtype=np.uint8).reshape(-1, RECORD)
    counts = np.array([len(look) // RECORD for look in looks], dtype=np.int64)
    return Looks(
        counts=counts,
        starts=np.cumsum(counts) - counts,
        fingerprints=np.ascontiguousarray(records[:, :PIXELS]),
        hashes=np.ascontiguousarray(records[:, PIXELS : PIXELS + 8]).view("<u8").ravel().astype(np.uint64),
        aspects=np.ascontiguousarray(records[:, PIXELS + 8 :]).view("<f4").ravel(),
    )


def keys_of(looks: Looks, *, hamming: int, tables: int) -> NDArray[np.uint64]:
    """Keys of each row by its first picture, (rows, hamming + 1 + tables): two that share one are candidates."""
    first = looks.starts
    hashes = looks.hashes[first]
    columns = []
    edges = np.linspace(0, 64, hamming + 2).round().astype(int)
    for band, (low, high) in enumerate(pairwise(edges.tolist())):
        mask = np.uint64((1 << (high - low)) - 1)
        columns.append(_mixed(band, [(hashes >> np.uint64(low)) & mask, looks.counts]))
    if tables:
        places = coarse(looks.fingerprints[first]) @ _directions(tables)
        shift = np.floor(np.random.RandomState(11).random_sample(places.shape[1]) * (1 << 20))
        width = CELL_WIDTH * UNIT * DIRECTION_UNIT
        cells = np.floor((places + shift * width / (1 << 20)) / width).astype(np.int64)
        for table in range(tables):
            numbers = cells[:, table * CELL_NUMBERS : (table + 1) * CELL_NUMBERS]
            columns.append(_mixed(1000 + table, [*numbers.T, looks.counts]))
    return np.stack(columns, 1) if columns else np.zeros((first.size, 0), dtype=np.uint64)


def _mixed(table: int, parts: Sequence[Any]) -> NDArray[np.uint64]:
    """One number of several: splitmix64 over them."""
    state = np.full(len(parts[0]), table + 1, dtype=np.uint64)
    for part in parts:
        state = (state ^ part.astype(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state ^= state >> np.uint64(31)
    return state


DIRECTION_UNIT = 256.0


def _directions(tables: int) -> NDArray[np.float64]:
    """Whole-numbered normal directions, (27, tables x CELL_NUMBERS); the legacy generator's sequence is frozen."""
    draws = np.random.RandomState(7).standard_normal((FREQUENCIES * FREQUENCIES * 3, tables * CELL_NUMBERS))
    return np.asarray(np.round(draws * DIRECTION_UNIT))


def _coarse_weights() -> NDArray[np.float64]:
    """(768, 27): lowest frequencies of brightness and two colour differences; the mean first, higher ones lighter."""
    places = np.arange(SIDE) + 0.5
    waves = np.array([np.cos(np.pi * turn * places / SIDE) for turn in range(FREQUENCIES)])
    waves *= np.where(np.arange(FREQUENCIES) > 0, np.sqrt(2), 1)[:, None] / SIDE
    channels = np.array([[0.299, 0.587, 0.114], [-0.2535, -0.4965, 0.75], [0.75, -0.6285, -0.1215]])
    weights = np.einsum("ua,vb,lc->abcuvl", waves, waves, channels)
    height = np.hypot(*np.meshgrid(np.arange(FREQUENCIES), np.arange(FREQUENCIES), indexing="ij"))
    weights /= (1 + height)[None, None, None, :, :, None]
    return np.asarray(np.round(weights.reshape(PIXELS, -1) * 2**20))


WEIGHTS = _coarse_weights()


def coarse(fingerprints: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(n, 27) coarse colours, whole numbers, UNIT to a level."""
    out = np.empty((fingerprints.shape[0], WEIGHTS.shape[1]))
    for start in range(0, out.shape[0], 4096):
        # whole numbers below 2^53: exact in any order of summing
        exact = fingerprints[start : start + 4096].astype(np.float64) @ WEIGHTS
        out[start : start + 4096] = np.round(exact / (2**20 / UNIT))
    return out


def candidates(bucket: Ints, row: Ints, looks: Looks) -> Candidates:
    """Pairs to verify. `bucket` and `row` name memberships; pairs whose coarse colours are far apart are left out."""
    colours = coarse(looks.fingerprints[looks.starts]) / UNIT
    order = np.lexsort([row, colours[row, 0], bucket])
    bucket, row = bucket[order], row[order]
    codes: list[NDArray[np.uint64]] = []
    height = np.uint64(max(looks.counts.size, 1))

    def keep(one: Ints, other: Ints) -> None:
        for start in range(0, one.size, AT_ONCE):
            low, high = (
                pick(one[start : start + AT_ONCE], other[start : start + AT_ONCE]) for pick in (np.minimum, np.maximum)
            )
            near = ((colours[low] - colours[high]) ** 2).sum(1) <= MOST_APART**2
            near &= (low != high) & (looks.counts[low] == looks.counts[high])
            codes.append(low[near].astype(np.uint64) * height + high[near].astype(np.uint64))
        if sum(part.size for part in codes) > 1 << 22:
            codes[:] = [np.unique(np.concatenate(codes))]

    active = np.arange(bucket.size)
    large: Ints = active[:0]
    brightness = colours[row, 0]
    for step in range(1, bucket.size):
        active = active[active + step < bucket.size]
        later = active + step
        active = active[(bucket[later] == bucket[active]) & (brightness[later] - brightness[active] <= MOST_APART)]
        if not active.size:
            break
        if step > NEXT:
            large = np.unique(bucket[active])
            break
        keep(row[active], row[active + step])
    if large.size:
        starts = np.flatnonzero(np.r_[True, bucket[1:] != bucket[:-1]])
        sizes = np.diff(np.r_[starts, bucket.size])
        place = np.arange(bucket.size) - np.repeat(starts, sizes)
        flooded = np.isin(bucket, large)
        for head in range(HEADS):
            after = np.flatnonzero(flooded & (place > head))
            keep(row[after - place[after] + head], row[after])
    found = np.unique(np.concatenate(codes)) if codes else np.zeros(0, dtype=np.uint64)
    return Candidates((found // height).astype(np.int64), (found % height).astype(np.int64), int(large.size))
