"""Picture files that tests make: sound ones of few pixels, and PNG files put together chunk by chunk."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, data: bytes | None = None, extra: bytes = b"") -> bytes:
    """A PNG of one bit a pixel, all black; `data`: its compressed rows, `extra`: chunks before them."""
    if data is None:
        packer = zlib.compressobj(9)
        row = bytes(1 + (width + 7) // 8)
        data = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def saved(picture: Image.Image, name: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, name, **options)
    return buffer.getvalue()


def gradient(width: int = 48, height: int = 32) -> Image.Image:
    """A picture without symmetry: red grows to the right, green downwards, blue is a corner."""
    red = Image.linear_gradient("L").rotate(90).resize((width, height))
    green = Image.linear_gradient("L").resize((width, height))
    blue = Image.new("L", (width, height))
    blue.paste(200, (0, 0, width // 3, height // 4))
    return Image.merge("RGB", (red, green, blue))


def noise(width: int, height: int, spread: float) -> Image.Image:
    """A grey picture of normal noise around the middle, the same in every run."""
    drawn = np.random.default_rng(7).normal(128, spread, (height, width))
    return Image.fromarray(drawn.clip(0, 255).astype(np.uint8))


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))
