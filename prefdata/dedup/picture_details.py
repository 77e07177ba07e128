"""Whether two stored pictures agree in their fine detail: lines of text, digits, small marks.

Colours at 16 x 16 say nothing of what is written on a page: two lists of orders have the same. So the files of two
pictures that agree there are opened, brought to one size of at most 256 pixels a side, laid over each other, and
compared tile by tile. Where something fine stands in a tile, most of it has to be the same thing in the same place.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

SIDE = 256
"""Pixels of the longer side at which two pictures are compared at most."""
KEPT = 256
"""Pictures kept in memory: 64 KB each at most."""
COARSEST = 32
FINEST = 128
"""The longer side at which pictures are laid over each other, first and last."""
LEAST_SIDE = 96
"""Nobody reads in smaller pictures, and colours at 16 x 16 tell most of them."""
MOST_APART = 0.35
"""The part of a tile's detail that may differ: copies are below .25 as a rule, pages of other text above .65."""
MOST_IN_FRAME = 0.12
"""The same of fine tiles in one frame: re-encoded copies are below .1, four other digits above .25 as a rule."""
ROUNDS = 5
MOST_CUT = 0.06
"""What a side may have lost, as a part of it."""
TILES = 12
"""Tiles along the longer side."""
FINE_TILES = 24
"""Of two pictures in one frame, which need not be laid over each other."""
EQUAL = 2.0
"""Squared levels a pixel below which a tile is equal in both."""
LEAST_EQUAL = 0.75
"""Pictures of one size lie in one frame where this part of their tiles is equal."""
NOISE = 40.0
"""Squared levels a pixel that encoding explains."""


class _Place(NamedTuple):
    """How the second picture lies over the first: shift and stretch across and down, in parts of a side."""

    across: float
    wide: float
    down: float
    high: float


def apart(one: str, other: str) -> float:
    """How much of the fine detail differs where most does: 0 nothing, above MOST_APART too much for one picture.

    1 where a file cannot be opened, 0 for pictures too small to hold any.
    """
    first, second = _grey(one), _grey(other)
    if first is None or second is None:
        return 1.0
    if min(max(first.shape), max(second.shape)) < LEAST_SIDE:
        return 0.0
    height, width = (min(sizes) for sizes in zip(first.shape, second.shape))
    a, b = _sized(first, height, width), _sized(second, height, width)
    unmoved = _Place(0, 0, 0, 0)
    if first.shape == second.shape:
        squares, parts = _differing(a, b, unmoved, FINE_TILES)
        if (squares < EQUAL).mean() >= LEAST_EQUAL:
            return float(parts.max()) / MOST_IN_FRAME * MOST_APART
    as_they_lie = float(_differing(a, b, unmoved, TILES)[1].max())
    if as_they_lie <= MOST_APART:
        return as_they_lie
    return min(as_they_lie, float(_differing(a, b, _fitted(a, b), TILES)[1].max()))


@lru_cache(maxsize=KEPT)
def _grey(path: str) -> Floats | None:
    from PIL import Image

    try:
        with Image.open(path) as picture:
            factor = min(1.0, SIDE / max(picture.size))
            size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
            picture.draft("L", size)
            grey = picture.convert("L").resize(size, Image.Resampling.BOX if factor < 1 else Image.Resampling.NEAREST)
    except (OSError, Image.DecompressionBombError):
        return None
    return np.asarray(grey, dtype=np.float32)


def _sized(values: Floats, height: int, width: int) -> Floats:
    from PIL import Image

    if values.shape == (height, width):
        return values
    return np.asarray(Image.fromarray(values).resize((width, height), Image.Resampling.BICUBIC), dtype=np.float32)


def _fitted(fixed: Floats, moved: Floats) -> _Place:
    """Gauss-Newton on the differences of brightness, from coarse to fine."""
    place = np.zeros(4)
    side = COARSEST
    longest = max(fixed.shape)
    while True:
        factor = min(1.0, side / longest)
        height, width = (max(4, round(length * factor)) for length in fixed.shape)
        a, b = _sized(fixed, height, width), _sized(moved, height, width)
        x = ((np.arange(width) + 0.5) / width - 0.5)[None, :]
        y = ((np.arange(height) + 0.5) / height - 0.5)[:, None]
        for _ in range(ROUNDS):
            now, inside = _laid(b, _Place(*place))
            middle = (now + a) * 0.5
            down, across = np.gradient(middle)
            across, down = across * width, down * height
            moves = np.stack([across, across * x, down, down * y])[:, inside]
            missing = (a - now)[inside]
            # what differs much is not what tells where the rest lies
            scale = 2 * np.median(np.abs(missing)) + 4
            weight = 1 / (1 + (missing / scale) ** 2)
            normal = (moves * weight) @ moves.T
            normal += np.diag(np.diag(normal) * 1e-3 + 1e-3 * inside.size)
            place = np.clip(place + np.linalg.solve(normal, moves @ (weight * missing)), -2 * MOST_CUT, 2 * MOST_CUT)
        if factor == 1.0 or side >= FINEST:
            return _Place(*place.tolist())
        side *= 2


def _laid(values: Floats, place: _Place) -> tuple[Floats, NDArray[np.bool_]]:
    """The picture read at shifted and stretched places, and which of them lie in it."""
    height, width = values.shape
    columns, in_columns = _resampling(width, place.across, place.wide)
    rows, in_rows = _resampling(height, place.down, place.high)
    return np.asarray(rows @ values @ columns.T, dtype=np.float32), in_rows[:, None] & in_columns[None, :]


def _resampling(size: int, shift: float, stretch: float) -> tuple[Floats, NDArray[np.bool_]]:
    centre = (np.arange(size) + 0.5) / size - 0.5
    places = (centre * (1 + stretch) + shift + 0.5) * size - 0.5
    inside = (places >= 0) & (places <= size - 1)
    places = np.clip(places, 0, size - 1)
    low = np.minimum(places.astype(np.int64), max(size - 2, 0))
    part = (places - low).astype(np.float32)
    matrix = np.zeros((size, size), dtype=np.float32)
    at = np.arange(size)
    matrix[at, low] = 1 - part
    matrix[at, np.minimum(low + 1, size - 1)] += part
    return matrix, inside


def _soft(values: Floats) -> Floats:
    """Means of 3 x 3, so that a part of a pixel's shift and sharpness count less."""
    padded = np.pad(values, 1, mode="edge")
    rows = (padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4
    return np.asarray((rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:]) / 4)


def _differing(one: Floats, other: Floats, place: _Place, tiles: int) -> tuple[Floats, Floats]:
    """Of each tile: mean squared difference, and the part of its detail that is not the same in both."""
    laid, inside = _laid(other, place)
    a, b = _soft(one), _soft(laid)
    height, width = a.shape
    step = max(5, -(-max(height, width) // tiles))
    squares, parts = [0.0], [0.0]
    for shift in (0, step // 2):
        for top in range(shift, max(height - step // 2, 1), step):
            for left in range(shift, max(width - step // 2, 1), step):
                part = (slice(top, top + step), slice(left, left + step))
                keep = inside[part]
                if keep.sum() < keep.size / 2:
                    continue
                x, y = a[part][keep], b[part][keep]
                x, y = x - x.mean(), y - y.mean()
                squares.append(float(((x - y) ** 2).mean()))
                parts.append(squares[-1] / (float((x * x).mean() + (y * y).mean()) + NOISE))
    return np.array(squares, dtype=np.float32), np.array(parts, dtype=np.float32)
