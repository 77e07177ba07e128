"""The bytes of a picture as an address, `data:image/png;base64,...`, and back. Nothing is decoded, nothing opened."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any

import polars as pl

BASE64: Mapping[str, str] = {
    "iVBORw0KGg": "png",
    "/9j/": "jpeg",
    "R0lGOD": "gif",
    "UklGR": "webp",
    "Qk": "bmp",
    "SUkq": "tiff",
    "TU0AK": "tiff",
}
"""What the bytes of a picture begin with in base64 -> the kind that an address names."""

SUFFIXES: Mapping[str, str] = {"png": "png", "jpeg": "jpg", "gif": "gif", "webp": "webp", "bmp": "bmp", "tiff": "tif"}
"""Kind -> suffix of a file."""

OTHER = "data:application/octet-stream;base64,"
"""Begin of the address of bytes that are no picture of a known kind: whoever opens pictures refuses them by reason."""

BARE = r"^(?:iVBORw0KGgo|R0lGOD[dl]h|UklGR|/9j/[A-Za-z0-9+/]{60})[A-Za-z0-9+/]*={0,2}$"
"""Base64 text without a `data:` before it: what PNG, GIF, WebP and JPEG begin with."""

_DATA = re.compile(r"data:([\w.+-]+/[\w.+-]+)?(?:;[\w.+-]+=[\w.+-]+)*;base64,", re.ASCII)


def as_address(text: pl.Expr) -> pl.Expr:
    """Base64 text of a picture's bytes as its address; null stays."""
    begin = pl.lit(OTHER)
    for start, kind in BASE64.items():
        begin = pl.when(text.str.starts_with(start)).then(pl.lit(f"data:image/{kind};base64,")).otherwise(begin)
    return pl.when(text.is_not_null()).then(begin + text)


def encoded(value: pl.Expr, dtype: Any) -> pl.Expr:
    """Bytes as base64 text, which readers of files have made of them already; values of other types are no bytes."""
    if dtype == pl.Binary:
        return value.bin.encode("base64")
    return value if dtype == pl.String else pl.lit(None, pl.String)


def address_of(data: bytes) -> str:
    """A picture's bytes as its address."""
    kind = _kind(data)
    return (f"data:image/{kind};base64," if kind else OTHER) + base64.b64encode(data).decode()


def bytes_of(address: str) -> bytes | None:
    """The bytes behind a `data:` address in base64; None where it is none, or its base64 is broken."""
    found = _DATA.match(address)
    if found is None:
        return None
    try:
        return base64.b64decode(address[found.end() :], validate=True)
    except (binascii.Error, ValueError):
        return None


def suffix_of(data: bytes) -> str:
    """The suffix of a file of these bytes, "bin" where they are no picture of a known kind."""
    return SUFFIXES.get(_kind(data) or "", "bin")


def _kind(data: bytes) -> str | None:
    begin = base64.b64encode(data[:24]).decode()
    return next((kind for start, kind in BASE64.items() if begin.startswith(start)), None)
