"""From any kind of pixels to red, green and blue of 8 bits: rescaled rather than clipped, nothing hidden shown."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from prefdata.picturing.reasons import Refused


def to_rgb(picture: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    """The picture as RGB; what is transparent in it lies on `background`.

    16 bits are scaled to 8, other whole numbers and fractions from their own range. Raises Refused where a value is
    no number.
    """
    if picture.mode.startswith("I") or picture.mode == "F":
        return _scaled(picture).convert("RGB")
    if picture.has_transparency_data:
        upper = picture.convert("RGBA")
        lower = Image.new("RGBA", upper.size, (*background, 255))
        lower.alpha_composite(upper)
        return lower.convert("RGB")
    if picture.mode == "RGB":
        return picture
    return picture.convert("RGB")


def _scaled(picture: Image.Image) -> Image.Image:
    """Grey values of more than 8 bits as 8 bits."""
    values = np.asarray(picture)
    if values.dtype.kind == "f":
        if not np.isfinite(values).all():
            raise Refused("broken")
        low, high = float(values.min()), float(values.max())
        if low >= 0 and high <= 1:
            low, high = 0.0, 1.0
        elif low >= 0 and high <= 255:
            low, high = 0.0, 255.0
        return _stretched(values, low, high)
    low, high = int(values.min()), int(values.max())
    if picture.mode.startswith("I;16") or (low >= 0 and high <= 65535):
        whole = values.astype(np.uint32)
        return Image.fromarray(((whole * 255 + 32767) // 65535).astype(np.uint8))
    return _stretched(values, low, high)


def _stretched(values: npt.NDArray[Any], low: float, high: float) -> Image.Image:
    span = (high - low) or 1.0
    return Image.fromarray(np.round((values.astype(np.float64) - low) * (255 / span)).astype(np.uint8))
