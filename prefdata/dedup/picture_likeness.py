"""How alike two pictures are, by their colours at 16 x 16: after the one is laid over the other, cell by cell.

A crop moves and stretches what is seen, so the one fingerprint is first shifted and scaled along each axis until it
fits the other best (Gauss-Newton on the differences of colour). Then two things are asked: do the colours rise and fall
together over the whole picture, and is there a place where they differ. The first tells two textures of one mean colour
apart, the second a red ball from a blue one in an otherwise equal scene.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

SIDE = 16
BATCH = 1024
"""Pairs compared at a time: some 60 MB."""
ROUNDS = 12
MOST_SHIFT = 0.8
"""Cells that a picture is shifted at most: 5 % of it."""
MOST_SCALE = 0.1
STIFFNESS = np.array([30.0, 1500.0, 30.0, 1500.0], dtype=np.float32)
"""What keeps a picture without edges from sliding: for shift and scale, across and down."""
NOISE = 3000.0
"""Squared differences of two levels in each of the 768 values: variation below it is no evidence."""
BASE = 8.0
SLOPE = 0.1
"""A cell may differ by this many levels, and this part of the range of colours around it; 1 is "as may be"."""
WORST = 4
"""Cells whose mean excess counts."""
SPREAD_CELLS = 12
MOST_IN_SPREAD = 0.55
MOST_WORST = 2.1
MOST_MEDIAN = 0.45
SPREAD_WEIGHT = 0.2
"""Differences of which no 12 cells hold more than this part, none of them large, are what drawing anew does to fine
detail: what correlation they cost counts a fifth. A thing that was exchanged is in few cells."""
IN_REGISTER = 0.45
EDGE = 8.0
STRICT_BASE = 3.0
STRICT_SLOPE = 0.05
LEAST_GAIN = 0.002
"""Where this part of the cells at edges are equal to a level as they lie, and fitting gains nothing, the two have one
frame and one encoding: what differs then is judged by stricter bounds."""
SURE = 0.99
"""Pairs that are so alike as they lie are not laid over each other."""


def likeness(fingerprints: NDArray[np.uint8], left: NDArray[Any], right: NDArray[Any]) -> Floats:
    """Of each pair of rows of `fingerprints` (n, 768): 1 equal, .973 and above the same picture, re-encoded or cropped.

    The lower of two figures: the correlation of all values, and 1 - .01 x the excess of the cells that differ most.
    Symmetric; below 1 unless the fingerprints are equal.
    """
    found = np.empty(left.size, dtype=np.float32)
    for start in range(0, left.size, BATCH):
        part = slice(start, start + BATCH)
        one, other = (
            np.ascontiguousarray(
                fingerprints[rows[part]].reshape(-1, SIDE, SIDE, 3).transpose(0, 3, 1, 2), dtype=np.float32
            )
            for rows in (left, right)
        )
        as_they_lie = _laid(one, other)
        alike = as_they_lie.copy()
        open_ = np.flatnonzero(alike < SURE)
        if open_.size:
            a, b = one[open_], other[open_]
            both = np.maximum(_laid(a, _fitted(a, b)), _laid(b, _fitted(b, a)))
            alike[open_] = np.maximum(alike[open_], both)
        strict = np.where(alike - as_they_lie <= LEAST_GAIN, _in_register(one, other), 1)
        equal = (one == other).reshape(alike.size, -1).all(1)
        found[part] = np.where(equal, 1.0, np.minimum(np.round(np.minimum(alike, strict), 4), 0.9999))
    return found


def _laid(one: Floats, other: Floats) -> Floats:
    """How alike two stacks of pictures (n, 3, 16, 16) are as they lie."""
    count = one.shape[0]
    x, y = (stack.reshape(count, 3, -1) - stack.reshape(count, 3, -1).mean(2, keepdims=True) for stack in (one, other))
    x, y = x.reshape(count, -1), y.reshape(count, -1)
    together = (x * y).sum(1) + NOISE
    lost = 1 - together / np.sqrt(((x * x).sum(1) + NOISE) * ((y * y).sum(1) + NOISE))
    excess = _excess(one, other, BASE, SLOPE)
    worst = _highest(excess, WORST).mean(1)
    squares = ((one - other) ** 2).sum(1).reshape(count, -1)
    held = _highest(squares, SPREAD_CELLS).sum(1) / (squares.sum(1) + 1)
    spread = (held <= MOST_IN_SPREAD) & (worst <= MOST_WORST) & (np.median(excess, axis=1) <= MOST_MEDIAN)
    return np.asarray(np.minimum(1 - np.where(spread, SPREAD_WEIGHT, 1) * lost, 1 - worst / 100), dtype=np.float32)


def _in_register(one: Floats, other: Floats) -> Floats:
    """1 - .01 x the strict excess of pictures that have one frame, 1 of others."""
    count = one.shape[0]
    apart = np.abs(one - other).max(1).reshape(count, -1)
    edge = np.minimum(_range(one), _range(other)).max(1).reshape(count, -1) >= EDGE
    equal = ((apart <= 1) & edge).sum(1) / np.maximum(edge.sum(1), 1)
    worst = _highest(_excess(one, other, STRICT_BASE, STRICT_SLOPE), WORST).mean(1)
    return np.where(equal >= IN_REGISTER, 1 - worst / 100, 1).astype(np.float32)


def _excess(one: Floats, other: Floats, base: float, slope: float) -> Floats:
    """What each cell (n, 256) differs by, in the channel where that is most, as a multiple of what it may."""
    allowed = base + slope * np.maximum(_range(one), _range(other))
    return np.asarray((np.abs(one - other) / allowed).max(1).reshape(one.shape[0], -1))


def _highest(values: Floats, count: int) -> Floats:
    return np.asarray(np.partition(values, -count, axis=1)[:, -count:])


def _range(stack: Floats) -> Floats:
    """Highest less lowest value of the 3 x 3 cells around each."""
    padded = np.pad(stack, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    rows_high = np.maximum(np.maximum(padded[:, :, :-2], padded[:, :, 1:-1]), padded[:, :, 2:])
    rows_low = np.minimum(np.minimum(padded[:, :, :-2], padded[:, :, 1:-1]), padded[:, :, 2:])
    high = np.maximum(np.maximum(rows_high[..., :-2], rows_high[..., 1:-1]), rows_high[..., 2:])
    low = np.minimum(np.minimum(rows_low[..., :-2], rows_low[..., 1:-1]), rows_low[..., 2:])
    return np.asarray(high - low)


def _fitted(fixed: Floats, moved: Floats) -> Floats:
    """`moved`, shifted and scaled along each axis until it fits `fixed` best."""
    count = fixed.shape[0]
    from_middle = np.arange(SIDE, dtype=np.float32) - (SIDE - 1) / 2
    most = np.array([MOST_SHIFT, MOST_SCALE, MOST_SHIFT, MOST_SCALE], dtype=np.float32)
    place = np.zeros((count, 4), dtype=np.float32)
    now: Floats = moved
    for _ in range(ROUNDS):
        middle: Floats = (now + fixed) * np.float32(0.5)
        across, down = _slopes(middle, 3), _slopes(middle, 2)
        moves = np.stack(
            [across, across * from_middle[None, None, None, :], down, down * from_middle[None, None, :, None]], 1
        ).reshape(count, 4, -1)
        missing = (fixed - now).reshape(count, -1, 1)
        normal = moves @ moves.transpose(0, 2, 1) + np.diag(STIFFNESS)
        place = np.clip(place + np.linalg.solve(normal, moves @ missing)[:, :, 0], -most, most)
        rows = _resampling(place[:, 2], place[:, 3], from_middle)
        columns = _resampling(place[:, 0], place[:, 1], from_middle)
        now = np.asarray(rows[:, None] @ moved @ columns[:, None].transpose(0, 1, 3, 2), dtype=np.float32)
    return now


def _slopes(stack: Floats, axis: int) -> Floats:
    padding = [(0, 0)] * 4
    padding[axis] = (1, 1)
    padded = np.pad(stack, padding, mode="edge")
    size = padded.shape[axis]
    before, after = (np.take(padded, range(start, size - 2 + start), axis=axis) for start in (0, 2))
    return np.asarray((after - before) * np.float32(0.5))


def _resampling(shift: Floats, scale: Floats, from_middle: Floats) -> Floats:
    """Matrices (n, 16, 16) that read 16 cells at shifted and scaled places, in between the given ones linearly."""
    half = np.float32((SIDE - 1) / 2)
    places = np.clip(from_middle[None] * (1 + scale[:, None]) + shift[:, None] + half, 0, SIDE - 1)
    low = np.minimum(places.astype(np.int64), SIDE - 2)
    part = (places - low).astype(np.float32)
    matrix = np.zeros((shift.size, SIDE, SIDE), dtype=np.float32)
    rows, cells = np.arange(shift.size)[:, None], np.arange(SIDE)[None]
    matrix[rows, cells, low] = 1 - part
    matrix[rows, cells, low + 1] = part
    return matrix
