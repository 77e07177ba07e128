"""What is measured of a decoded picture: how sharp, how bright, how much is in it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL import Image

BLUR_SIDE = 512
"""Sharpness is measured at this many pixels at most, as a photo at twice the size would else be softer."""

LUMINANCE = (0.299, 0.587, 0.114)
"""Of red, green and blue (ITU-R 601)."""


class Measures(NamedTuple):
    """Of one picture; its values are 0-255."""

    blur: float
    """Variance of the Laplacian (4 neighbours), of the channel where it is largest; low is blurred.

    The picture is scaled by a whole factor to at most 512 pixels. Of one channel, as yellow on white is sharp in blue
    and nowhere in the luminance.
    """
    entropy: float
    """Of the luminance's histogram at 512 pixels at most, in bits: 0 where all are equal, 8 at most."""
    brightness: float
    """Mean luminance, 0 black to 1 white."""
    contrast: float
    """Standard deviation of the channel where it is largest, in [0, 0.5]."""


def measured(rgb: Image.Image, small: Image.Image, grey: Image.Image) -> Measures:
    """The measures of a picture; `small` is `scaled(rgb)`, `grey` the luminance of that."""
    counts = np.asarray(rgb.histogram(), dtype=np.float64).reshape(3, 256)
    levels = np.arange(256, dtype=np.float64)
    total = rgb.width * rgb.height
    means = counts @ levels / total
    variances = [float(row @ (levels - mean) ** 2) / total for row, mean in zip(counts, means, strict=True)]
    return Measures(
        blur=max(laplacian_variance(np.asarray(channel)) for channel in small.split()),
        entropy=_entropy(grey),
        brightness=sum(weight * float(mean) for weight, mean in zip(LUMINANCE, means, strict=True)) / 255,
        contrast=math.sqrt(max(variances)) / 255,
    )


def scaled(rgb: Image.Image) -> Image.Image:
    """`rgb` itself; where it is larger than 512 pixels, averages of 2 x 2, 3 x 3, ... of them: as few as will do."""
    factor = -(-max(rgb.size) // BLUR_SIDE)
    return rgb if factor == 1 else rgb.reduce(factor)


def laplacian_variance(values: npt.NDArray[Any]) -> float:
    """Variance of the Laplacian over the inner pixels of one channel (height, width); 0 where there are none."""
    if min(values.shape) < 3:
        return 0.0
    wide = values.astype(np.int16)
    edges = 4 * wide[1:-1, 1:-1]
    edges -= wide[:-2, 1:-1]
    edges -= wide[2:, 1:-1]
    edges -= wide[1:-1, :-2]
    edges -= wide[1:-1, 2:]
    # sums of whole numbers below 2^53: exact in any order, so the same on every machine
    whole = edges.astype(np.float64).ravel()
    total, squares = float(whole.sum()), float(whole @ whole)
    return (squares - total * total / whole.size) / whole.size


def _entropy(grey: Image.Image) -> float:
    counts = np.asarray(grey.histogram(), dtype=np.float64)
    shares = counts[counts > 0] / counts.sum()
    return max(0.0, float(-(shares * np.log2(shares)).sum()))
