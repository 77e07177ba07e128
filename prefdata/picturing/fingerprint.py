"""What tells that two files show the same picture: a hash of its frequencies, and its colours at 16 x 16."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL import Image

MEASURES = 1
"""Raised whenever the same pixels would get another hash or fingerprint."""

SIDE = 16
"""The fingerprint's sides in pixels."""

HASH_SIDE = 32
HASH_BITS = 8


def _cosines() -> npt.NDArray[Any]:
    """The first 8 rows of the discrete cosine transform (type II) of 32 values."""
    at = np.arange(HASH_SIDE) + 0.5
    return np.cos(np.pi / HASH_SIDE * np.outer(np.arange(HASH_BITS), at))


COSINES = _cosines()

WEIGHTS = np.left_shift(np.uint64(1), np.arange(63, -1, -1, dtype=np.uint64))


def phash(small: Image.Image) -> int:
    """The 64-bit perceptual hash of a luminance picture: which of its 8 x 8 lowest frequencies lie above their median.

    The mean of the picture (the first frequency) is left out of the median and its bit is 0, so that a brighter
    copy has the same hash. Small Hamming distance: alike. Frequencies are rounded, so that a picture without any
    (one colour) has the hash 0 rather than noise.
    """
    from PIL.Image import Resampling

    # BOX counts a pixel wholly or not at all: a copy of 40 % of the size then differs in up to 15 bits, here in 4
    values = np.asarray(small.resize((HASH_SIDE, HASH_SIDE), Resampling.BILINEAR), dtype=np.float64)
    frequencies = np.round(COSINES @ values @ COSINES.T, 3).ravel()
    bits = frequencies > np.median(frequencies[1:])
    bits[0] = False
    return int(WEIGHTS[bits].sum(dtype=np.uint64)) if bits.any() else 0


def fingerprint(rgb: Image.Image) -> bytes:
    """The picture's colours at 16 x 16: 768 bytes, row by row, red green blue.

    Smooth, so that a crop of some percent can be undone by shifting and scaling what is left.
    """
    from PIL.Image import Resampling

    return rgb.resize((SIDE, SIDE), Resampling.BICUBIC, reducing_gap=3.0).tobytes()
