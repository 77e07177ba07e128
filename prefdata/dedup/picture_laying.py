"""Laying one grey picture over another: shift and stretch along each axis, found by Gauss-Newton on their brightness.

All functions take stacks of pictures of one size, (n, height, width), so that the work is done for many pairs at once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

ROUNDS = 5
MOST_CUT = 0.06
"""What a side may have lost, as a part of it."""


def fitted(fixed: Floats, moved: Floats, places: Floats | None = None, *, rounds: int = ROUNDS) -> Floats:
    """How each of `moved` lies over its `fixed`, (n, 4): shift and stretch across and down, in parts of a side.

    `places` is where to start from.
    """
    count, height, width = fixed.shape
    place = np.zeros((count, 4), dtype=np.float32) if places is None else places.copy()
    x = ((np.arange(width, dtype=np.float32) + 0.5) / width - 0.5)[None, None, :]
    y = ((np.arange(height, dtype=np.float32) + 0.5) / height - 0.5)[None, :, None]
    for _ in range(rounds):
        now, inside = laid(moved, place)
        middle = (now + fixed) * np.float32(0.5)
        across, down = _slopes(middle, 2) * np.float32(width), _slopes(middle, 1) * np.float32(height)
        within = inside.astype(np.float32)
        across, down = across * within, down * within
        moves = np.stack([across, across * x, down, down * y], 1).reshape(count, 4, -1)
        missing = ((fixed - now) * within).reshape(count, -1)
        # what differs much is not what tells where the rest lies
        scale = 2 * np.median(np.abs(missing), axis=1, keepdims=True) + 4
        weight = 1 / (1 + (missing / scale) ** 2)
        weighed = moves * weight[:, None, :]
        normal = weighed @ moves.transpose(0, 2, 1)
        sizes = within.reshape(count, -1).sum(1)[:, None]
        diagonal = np.einsum("nii->ni", normal)
        diagonal += diagonal * np.float32(1e-3) + 1e-3 * sizes + np.float32(1e-6)
        step = np.linalg.solve(normal, (weighed @ missing[:, :, None]))[:, :, 0]
        place = np.clip(place + step, -2 * MOST_CUT, 2 * MOST_CUT).astype(np.float32)
    return place


def laid(stack: Floats, places: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """The pictures read at shifted and stretched places, and which of these lie in them."""
    columns, in_columns = _resampling(stack.shape[2], places[:, 0], places[:, 1])
    rows, in_rows = _resampling(stack.shape[1], places[:, 2], places[:, 3])
    return np.asarray(rows @ stack @ columns.transpose(0, 2, 1)), in_rows[:, :, None] & in_columns[:, None, :]


def _resampling(size: int, shift: Floats, stretch: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Matrices (n, size, size) that read at shifted and stretched places, in between the given ones linearly."""
    centre = ((np.arange(size, dtype=np.float32) + 0.5) / size - 0.5)[None]
    places = (centre * (1 + stretch[:, None]) + shift[:, None] + np.float32(0.5)) * size - np.float32(0.5)
    inside = (places >= -1e-3) & (places <= size - 1 + 1e-3)
    places = np.clip(places, 0, size - 1)
    low = np.minimum(places.astype(np.int64), max(size - 2, 0))
    part = (places - low).astype(np.float32)
    matrix = np.zeros((shift.size, size, size), dtype=np.float32)
    which, at = np.arange(shift.size)[:, None], np.arange(size)[None]
    matrix[which, at, low] = 1 - part
    matrix[which, at, np.minimum(low + 1, size - 1)] += part
    return matrix, inside


def _slopes(stack: Floats, axis: int) -> Floats:
    """Half the difference of the neighbours on both sides, at the borders the difference to the one there is."""
    slopes = np.empty_like(stack)
    along, out = np.moveaxis(stack, axis, -1), np.moveaxis(slopes, axis, -1)
    out[..., 1:-1] = (along[..., 2:] - along[..., :-2]) * np.float32(0.5)
    out[..., 0] = along[..., 1] - along[..., 0]
    out[..., -1] = along[..., -1] - along[..., -2]
    return slopes
