"""What is measured of a decoded picture: how sharp, how bright, how much is in it."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

BLUR_SIDE = 512
"""Sharpness is measured at this many pixels at most, as a photo at twice the size would else be softer."""


class Measures(NamedTuple):
    """Of one picture, from its luminance (ITU-R 601: .299 R + .587 G + .114 B, in 0-255)."""

    blur: float
    """Variance of the Laplacian (4 neighbours) of the luminance, scaled to at most 512 pixels; low is blurred."""
    entropy: float
    """Of the luminance's histogram, in bits: 0 where all pixels are equal, 8 at most."""
    brightness: float
    """Mean luminance, 0 black to 1 white."""
    contrast: float
    """Standard deviation of the luminance, in [0, 0.5]."""


def measured(grey: Image.Image, small: Image.Image) -> Measures:
    """The measures of a picture whose luminance is `grey`; `small` is `scaled(grey)`."""
    counts = np.asarray(grey.histogram(), dtype=np.float64)
    total = counts.sum()
    levels = np.arange(256, dtype=np.float64)
    mean = float(counts @ levels / total)
    variance = float(counts @ (levels - mean) ** 2 / total)
    shares = counts[counts > 0] / total
    entropy = float(-(shares * np.log2(shares)).sum())
    return Measures(
        blur=laplacian_variance(np.asarray(small)),
        entropy=max(0.0, entropy),
        brightness=mean / 255,
        contrast=math.sqrt(variance) / 255,
    )


def scaled(grey: Image.Image) -> Image.Image:
    """`grey` itself, or its area averages where it is larger than 512 pixels."""
    longest = max(grey.size)
    if longest <= BLUR_SIDE:
        return grey
    width, height = (max(1, round(side * BLUR_SIDE / longest)) for side in grey.size)
    return grey.resize((width, height), Image.Resampling.BOX, reducing_gap=2.0)


def laplacian_variance(grey: npt.NDArray[Any]) -> float:
    """Variance of the Laplacian over the inner pixels of `grey` (height, width); 0 where there are none."""
    if min(grey.shape) < 3:
        return 0.0
    values = grey.astype(np.int16)
    edges = 4 * values[1:-1, 1:-1]
    edges -= values[:-2, 1:-1]
    edges -= values[2:, 1:-1]
    edges -= values[1:-1, :-2]
    edges -= values[1:-1, 2:]
    # sums of whole numbers below 2^53: exact in any order, so the same on every machine
    whole = edges.astype(np.float64).ravel()
    total, squares = float(whole.sum()), float(whole @ whole)
    return (squares - total * total / whole.size) / whole.size
