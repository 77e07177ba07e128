"""The bytes of a stored picture: of its pixels and of nothing else, and always the same."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

MIN_FLAT = 0.5
"""A picture is drawn rather than taken where this fraction of pixels is as light as the one to its left."""

SMALL_PIXELS = 4096
"""Up to 64 x 64 nothing is won by anything but PNG."""

JPEG_QUALITY = 95
"""Of photographs: errors of one or two levels in 255; a PNG of one is five times as large and slow to write."""

JPEG_SIDE = 65_500
"""Pixels a side: of more no JPEG can be written."""

PLAIN_INFO = frozenset(("jfif", "jfif_version", "jfif_unit", "jfif_density", "dpi", "progressive", "progression"))
"""What a file may say beside its pixels and be kept as it came: nothing that tells of a person, place or device."""


def encoded(rgb: Image.Image) -> tuple[str, bytes]:
    """Suffix and bytes of an RGB picture.

    What is drawn (a screenshot, a chart) or has a side that no JPEG has is a PNG and keeps every pixel; what is taken
    (a photograph) a JPEG of quality 95 without subsampling.
    """
    buffer = io.BytesIO()
    if max(rgb.size) > JPEG_SIDE or _is_drawn(rgb):
        rgb.save(buffer, "PNG", compress_level=6)
        return "png", buffer.getvalue()
    rgb.save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return "jpg", buffer.getvalue()


def _is_drawn(rgb: Image.Image) -> bool:
    values = np.asarray(rgb.convert("L"))
    if values.size <= SMALL_PIXELS or values.shape[1] < 2:
        return True
    same = values[:, 1:] == values[:, :-1]
    return bool(np.count_nonzero(same) >= MIN_FLAT * same.size)


def plain(picture: Image.Image, data: bytes, frames: int | None) -> bool:
    """Whether a file can be kept byte by byte: a PNG or JPEG of one frame, RGB or grey, and nothing else in it."""
    if picture.format not in ("PNG", "JPEG") or picture.mode not in ("RGB", "L") or frames != 1:
        return False
    if set(picture.info) - PLAIN_INFO or picture.getexif() or len(data) < 16:
        return False
    if picture.format == "PNG":
        return _png_is_bare(data)
    return _jpeg_is_bare(data)


BARE_CHUNKS = frozenset((b"IHDR", b"PLTE", b"IDAT", b"IEND", b"gAMA", b"cHRM", b"sRGB", b"pHYs", b"sBIT"))


def _png_is_bare(data: bytes) -> bool:
    """Only chunks that say how the pixels are meant, 8 bits, and nothing behind the last."""
    at, kind = 8, b""
    if data[24] != 8:
        return False
    while kind != b"IEND":
        kind = data[at + 4 : at + 8]
        if kind not in BARE_CHUNKS:
            return False
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    return at == len(data)


BARE_SEGMENTS = frozenset((0xC0, 0xC1, 0xC2, 0xC4, 0xDB, 0xDD, 0xE0, 0xEE))
"""Frame heads, tables, restart interval, JFIF and Adobe: what a decoder needs."""


def _jpeg_is_bare(data: bytes) -> bool:
    """Only segments that a decoder needs, and nothing behind the end of the picture."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        kind = data[at + 1]
        if kind == 0xD9:
            return at + 2 == len(data)
        if kind != 0xDA and kind not in BARE_SEGMENTS:
            return False
        size = int.from_bytes(data[at + 2 : at + 4], "big")
        if kind in (0xE0, 0xEE) and size > 16:
            return False
        at += 2 + size
        if kind == 0xDA:  # pixels: up to the next marker that is neither a stuffed zero nor a restart
            while True:
                at = data.find(b"\xff", at)
                if at < 0 or at + 1 >= len(data):
                    return False
                if data[at + 1] == 0 or 0xD0 <= data[at + 1] <= 0xD7:
                    at += 2
                else:
                    break
    return data[at : at + 2] == b"\xff\xd9" and at + 2 == len(data)
