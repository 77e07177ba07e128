"""Whether two stored pictures agree in their fine detail: lines of text, digits, small marks.

Colours at 16 x 16 say nothing of what is written on a page: two lists of orders have the same. So the files of two
pictures that agree there are opened and compared tile by tile: where something fine stands in a tile, most of it has to
be the same thing in the same place. What can be told from little is not looked at further:

1. As squares of 64 x 64 pixels, many pairs at once. In pictures of one size and one frame, such as two screenshots of
   one dialog, a tile that differs far more than the others tells them apart.
2. Those of one frame in their own size, first only where the squares differ most; of two sizes, in the smaller one.
   There the digits of an error number are seen, and re-encoding costs a tenth of what another digit does.
3. Pictures in two frames are laid over each other: as squares, and what is alike then at up to 256 pixels a side.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from prefdata.dedup.picture_greys import SQUARE, Grey, Greys
from prefdata.dedup.picture_laying import Floats, fitted, laid

LEAST_SIDE = 96
"""Nobody reads in smaller pictures, and colours at 16 x 16 tell most of them."""
BATCH = 256
"""Pairs compared at a time."""
BLOCK = 24
"""Pictures of a block: pairs are looked at block by block, so that what was opened is used before it is forgotten."""

CELL = 8
"""Pixels of a tile's side in a square; tiles overlap by half."""
NOISE = 40.0
"""Squared levels a pixel that encoding and reduction explain in a square."""
IN_FRAME = 0.15
"""Two pictures are in one frame where of half their tiles with detail at most this part differs."""
FAR = 0.15
"""In squares of one frame, what a tile may differ by, and TYPICAL times what they differ by as a rule."""
TYPICAL = 4.0
NEVER = 0.65
SOME = 12
"""Squares laid over each other are another picture's where SOME tiles differ by more than NEVER: photographs that were
cropped have .5 there at most, pages of other text .66 at least."""

WINDOW = 16
"""Pixels of a tile in a picture's own size: a letter or two."""
OWN_NOISE = 800.0
OWN_FAR = 0.12
OWN_TYPICAL = 2.0
"""The same in pictures of one size."""
OWN_CLOSE = 0.07
OWN_HIGH = 1.5
"""And what it may differ by beyond so many times what nine of ten tiles with detail stay below: encoding costs all of
them something, another digit one or two. Copies of screens are .055 beyond at most; of other numbers 99 in 100 are .076
and more, a 3 beside an 8 least."""
UNTOUCHED = 0.02
UNTOUCHED_TILES = 0.2
"""Where this part of the tiles with detail is equal to the bit, nothing was encoded anew, and UNTOUCHED is too much."""
PLAINLY = 0.35
"""Above it no more than this tile has to be seen."""
SEEN_FIRST = 3
SOFT_NOISE = 200.0
SOFT_FAR = 0.04
SOFT_TYPICAL = 4.0
SOFT_CLOSE = 0.025
SOFT_HIGH = 1.5
"""The same in pictures of two sizes, brought to the smaller one and softened: copies are .02 beyond at most; of other
numbers in a picture of half the size one in eleven is no more than that."""

SIDE = 256
"""Pixels of the longer side at which pictures in two frames are compared."""
LAID_AT = (32, 64, 128)
"""The longer sides at which they are laid over each other, one after the other."""
MOST_APART = 0.3
"""Then the part of a tile's detail that may differ: photographs that were cropped are below .1 as a rule, and seven of
ten screens below .3; lists of other orders are above .33, an error number of other digits often is not."""


class _Squares(NamedTuple):
    """Squares of all pictures, their tiles' variances, and their sizes."""

    greys: Grey
    detail: Floats
    sizes: NDArray[np.int64]


def agree(pairs: Sequence[tuple[str, str]], *, greys: Greys | None = None) -> NDArray[np.bool_]:
    """Of each pair of files, whether they show the same in detail; a file that cannot be opened agrees with none."""
    paths = sorted({path for pair in pairs for path in pair})
    if greys is None:
        with Greys() as opened:
            return _agree(pairs, paths, opened)
    return _agree(pairs, paths, greys)


def _agree(pairs: Sequence[tuple[str, str]], paths: Sequence[str], greys: Greys) -> NDArray[np.bool_]:
    place = {path: at for at, path in enumerate(paths)}
    left, right = (np.array([place[pair[side]] for pair in pairs], dtype=np.int64) for side in (0, 1))
    left, right = np.minimum(left, right), np.maximum(left, right)
    stored, sizes = greys.squares(paths)
    squares = _Squares(stored, _details(stored), sizes)
    told = np.zeros(left.size, dtype=np.bool_)
    there = np.asarray((sizes > 0).all(1))
    readable = there[left] & there[right]
    small = np.minimum(sizes[left].max(1), sizes[right].max(1)) < LEAST_SIDE
    told[readable & (small | (left == right))] = True
    open_ = np.flatnonzero(readable & ~told)
    # neighbours in brightness are compared with each other, so that few pictures are needed at a time
    rank = np.empty(len(paths), dtype=np.int64)
    rank[np.lexsort([np.arange(len(paths)), stored.mean((1, 2))])] = np.arange(len(paths))
    low, high = (pick(rank[left[open_]], rank[right[open_]]) // BLOCK for pick in (np.minimum, np.maximum))
    open_ = open_[np.lexsort([right[open_], left[open_], high, low])]
    for start in range(0, open_.size, BATCH):
        part = open_[start : start + BATCH]
        told[part] = _told(left[part], right[part], squares, paths, greys)
    return told


def _told(
    left: NDArray[np.int64], right: NDArray[np.int64], squares: _Squares, paths: Sequence[str], greys: Greys
) -> NDArray[np.bool_]:
    """The verdicts on one batch of pairs."""
    told = np.zeros(left.size, dtype=np.bool_)
    one_size = (squares.sizes[left] == squares.sizes[right]).all(1)
    crossed = squares.sizes[left] * squares.sizes[right][:, ::-1]
    one_shape = np.abs(crossed[:, 0] - crossed[:, 1]) <= np.maximum(squares.sizes[left], squares.sizes[right]).max(1)
    differs, parts, typical = _as_squares(squares, left, right)
    in_frame = typical <= IN_FRAME
    gone = one_size & in_frame & (parts.max(1) > FAR + TYPICAL * typical)
    framed = np.flatnonzero(((one_size & in_frame) | (one_shape & ~one_size)) & ~gone)
    loose = ~gone
    for some in _in_turn(framed, left, right):
        greys.load(paths[at] for at in {*left[some].tolist(), *right[some].tolist()})
        for pair in some.tolist():
            one, other = paths[left[pair]], paths[right[pair]]
            verdict = (
                _of_one_size(greys.whole(one), greys.whole(other), differs[pair])
                if one_size[pair]
                else _of_two_sizes(one, other, greys)
            )
            if verdict is not None:
                told[pair], loose[pair] = verdict, False
    open_ = np.flatnonzero(loose)
    if open_.size:
        for pair in open_[_near(squares, left[open_], right[open_])].tolist():
            told[pair] = _laid_over(paths[left[pair]], paths[right[pair]], greys)
    return told


def _in_turn(pairs: NDArray[np.int64], left: NDArray[np.int64], right: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Pairs in groups of one left picture, at most BLOCK at a time."""
    groups = [np.array(list(some), dtype=np.int64) for _, some in groupby(pairs.tolist(), key=lambda at: int(left[at]))]
    return [group[start : start + BLOCK] for group in groups for start in range(0, group.size, BLOCK)]


def _halves(size: int) -> Floats:
    """Sums over half tiles of a square's side."""
    half = CELL // 2
    return np.asarray(np.arange(size)[None] // half == np.arange(size // half)[:, None], dtype=np.float32)


HALVES = _halves(SQUARE)


def _tiled(stack: Floats) -> Floats:
    """Sums of every tile of squares (n, 64, 64): (n, 225), tiles overlap by half."""
    halves = HALVES @ stack @ HALVES.T
    rows = halves[:, :-1] + halves[:, 1:]
    return np.asarray((rows[:, :, :-1] + rows[:, :, 1:]).reshape(stack.shape[0], -1))


def _variances(stack: Floats) -> Floats:
    area = np.float32(CELL * CELL)
    return np.asarray(np.maximum(_tiled(stack * stack) / area - (_tiled(stack) / area) ** 2, 0), dtype=np.float32)


def _details(stored: Grey) -> Floats:
    parts = [_variances(stored[start : start + BATCH].astype(np.float32)) for start in range(0, len(stored), BATCH)]
    return np.concatenate(parts) if parts else np.zeros((0, 1), dtype=np.float32)


def _as_squares(squares: _Squares, left: NDArray[np.int64], right: NDArray[np.int64]) -> tuple[Floats, Floats, Floats]:
    """Of each pair's tiles, as they lie: squared difference and its part of their detail; and the median of that."""
    differs = _variances(squares.greys[left].astype(np.float32) - squares.greys[right].astype(np.float32))
    detail = squares.detail[left] + squares.detail[right]
    parts = differs / (detail + np.float32(NOISE))
    counted: NDArray[np.bool_] = detail > NOISE / 2
    return differs, parts, _middle(parts, counted)


def _middle(parts: Floats, counted: NDArray[np.bool_]) -> Floats:
    """The median of the counted ones of each row, 0 where there are none."""
    ordered = np.sort(np.where(counted, parts, np.float32(np.inf)), axis=1)
    counts = counted.sum(1)
    middle = ordered[np.arange(len(parts)), np.maximum(counts - 1, 0) // 2]
    return np.asarray(np.where(counts > 0, middle, 0), dtype=np.float32)


class _Own(NamedTuple):
    """What differs between two pictures in their own size: in the tile where most does, in the middle one of those with
    detail, in the highest but a tenth of them; and how many are untouched."""

    most: float
    typical: float
    high: float
    untouched: float


def _in_own_size(one: Floats, other: Floats, noise: float) -> _Own:
    half = WINDOW // 2
    if min(one.shape) < half:
        return _Own(0, 0, 0, 1)
    seen = (slice(one.shape[0] // half * half), slice(one.shape[1] // half * half))
    a, b = one[seen], other[seen]
    variances = _windows(np.stack([a, b, a - b]))
    detail = variances[0] + variances[1]
    parts = variances[2] / (detail + np.float32(noise))
    counted = parts[detail > noise]
    if not counted.size:
        return _Own(float(parts.max()), 0, 0, 1)
    typical, high = np.quantile(counted, (0.5, 0.9)).tolist()
    return _Own(float(parts.max()), typical, high, float((counted < 1e-6).mean()))


def _windows(stack: Floats) -> Floats:
    """The variance of every window of pictures (n, height, width); windows overlap by half."""
    half = WINDOW // 2
    height, width = stack.shape[1] // half, stack.shape[2] // half
    both = np.concatenate([stack, stack * stack])
    sums = both.reshape(-1, half, width * half).sum(1).reshape(-1, height, width, half).sum(3)
    if height > 1:
        sums = (sums[:, 1:] + sums[:, :-1]) / 2
    if width > 1:
        sums = (sums[:, :, 1:] + sums[:, :, :-1]) / 2
    means, squares = np.split(sums / np.float32(half * half), 2)
    return np.asarray(np.maximum(squares - means**2, 0))


def _of_one_size(one: Grey | None, other: Grey | None, differs: Floats) -> bool | None:
    """Whether two pictures of one size and frame agree; None where they turn out to be in two frames."""
    if one is None or other is None:
        return False
    side = SQUARE // (CELL // 2) - 1
    for at in np.argsort(-differs, kind="stable")[:SEEN_FIRST].tolist():
        part = tuple(
            slice(max(0, int(start * length) - WINDOW), int((start + CELL / SQUARE) * length) + WINDOW)
            for start, length in (
                (at // side * (CELL // 2) / SQUARE, one.shape[0]),
                (at % side * (CELL // 2) / SQUARE, one.shape[1]),
            )
        )
        seen = _in_own_size(one[part].astype(np.float32), other[part].astype(np.float32), OWN_NOISE)
        if seen.most > PLAINLY:
            return False
    found = _in_own_size(one.astype(np.float32), other.astype(np.float32), OWN_NOISE)
    if found.typical > IN_FRAME:
        return None
    if found.untouched >= UNTOUCHED_TILES:
        return found.most <= UNTOUCHED
    close = OWN_CLOSE + OWN_HIGH * found.high + found.typical
    return found.most <= min(close, OWN_FAR + OWN_TYPICAL * found.typical)


def _of_two_sizes(one: str, other: str, greys: Greys) -> bool | None:
    """The same for pictures of one shape, brought to the size of the smaller one."""
    first, second = greys.whole(one), greys.whole(other)
    if first is None or second is None:
        return False
    height, width = min(first.shape, second.shape)
    both = [greys.sized(path, height, width) for path in (one, other)]
    a, b = (_soft(each.astype(np.float32)) for each in both if each is not None)
    found = _in_own_size(a, b, SOFT_NOISE)
    if found.typical > IN_FRAME:
        return None
    return found.most <= min(SOFT_CLOSE + SOFT_HIGH * found.high, SOFT_FAR + SOFT_TYPICAL * found.typical)


def _near(squares: _Squares, left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which pairs may be one picture once the one is laid over the other, as far as squares tell."""
    half = SQUARE // 2
    stacks = [squares.greys[side].astype(np.float32) for side in (left, right)]
    coarse = [stack.reshape(-1, half, 2, half, 2).mean((2, 4)) for stack in stacks]
    near = np.zeros(left.size, dtype=np.bool_)
    for one, other in ((0, 1), (1, 0)):
        some = np.flatnonzero(~near)
        if not some.size:
            break
        fixed, moved = stacks[one][some], stacks[other][some]
        place = fitted(fixed, moved, fitted(coarse[one][some], coarse[other][some]), rounds=3)
        now, inside = laid(moved, place)
        within = inside.astype(np.float32)
        differs, *details = (_variances(each * within) for each in (fixed - now, fixed, now))
        parts = differs / (details[0] + details[1] + np.float32(NOISE))
        parts = np.where(_tiled(within) >= CELL * CELL - 0.5, parts, 0)
        near[some] = np.partition(parts, -SOME, axis=1)[:, -SOME] <= NEVER
    return near


def _laid_over(one: str, other: str, greys: Greys) -> bool:
    """Whether two pictures agree at up to 256 pixels a side, as they lie or laid over each other."""
    first, second = greys.whole(one), greys.whole(other)
    if first is None or second is None:
        return False
    shapes = [_within(grey.shape, SIDE) for grey in (first, second)]
    height, width = (min(lengths) for lengths in zip(*shapes))
    both = [greys.sized(path, height, width) for path in (one, other)]
    a, b = (each.astype(np.float32)[None] for each in both if each is not None)
    scales = [_within((height, width), longest) for longest in LAID_AT]
    views = [[greys.sized(path, *size) for size in scales] for path in (one, other)]
    these, those = ([each.astype(np.float32)[None] for each in views[at] if each is not None] for at in (0, 1))
    for fixed, moved, still, over in ((these, those, a, b), (those, these, b, a)):
        place = np.zeros((1, 4), dtype=np.float32)
        for c, d in zip(fixed, moved, strict=True):
            place = fitted(c, d, place)
        place = fitted(still, over, place, rounds=2)
        now, inside = laid(over, place)
        rows, columns = (np.flatnonzero(inside[0].any(axis)) for axis in (1, 0))
        seen = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
        if _in_own_size(_soft(still[0])[seen], _soft(now[0])[seen], SOFT_NOISE).most <= MOST_APART:
            return True
    return False


def _within(shape: tuple[int, ...], longest: int) -> tuple[int, int]:
    factor = min(1.0, longest / max(shape))
    return max(4, round(shape[0] * factor)), max(4, round(shape[1] * factor))


def _soft(values: Floats) -> Floats:
    """Means of 3 x 3, so that a part of a pixel's shift and sharpness count less."""
    padded = np.pad(values, 1, mode="edge")
    rows = (padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4
    return np.asarray((rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:]) / 4)
