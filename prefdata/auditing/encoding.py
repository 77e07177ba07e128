"""Texts that were read in the wrong encoding somewhere, or hold characters that are no text."""

from __future__ import annotations

import polars as pl

_HIGH = "\u20ac\u201a\u0192\u201e\u2026\u2020\u2021\u02c6\u2030\u0160\u2039\u0152\u017d" + (
    "\u2018\u2019\u201c\u201d\u2022\u2013\u2014\u02dc\u2122\u0161\u203a\u0153\u017e\u0178"
)
"""What Windows-1252 makes of the bytes 80 to 9F, those without a character left out."""

_RARE = "\u20ac\u0192\u2020\u2021\u02c6\u2030\u0160\u0152\u017d\u2022\u02dc\u2122\u0161\u0153\u017e\u0178"
"""Those of them that hardly follow a letter in a text: no quotes, dashes and dots."""

PATTERN = "|".join(
    (
        # no text: the replacement character, control characters (also those of Latin-1: UTF-8 that was read as it)
        r"[\x{FFFD}\x00-\x08\x0B\x0E-\x1F\x7F-\x84\x86-\x9F]",
        # what is left of \\frac where \\f was read as an escape
        r"\x0C[a-z]",
        # UTF-8 read as Windows-1252 or Latin-1. Two bytes: accented letters, signs
        rf"\x{{C3}}[\x{{A1}}-\x{{BA}}\x{{BC}}-\x{{BF}}{_RARE}]",
        r"\x{C2}[\x{A0}-\x{BF}]",
        # three: quotes and dashes; letters of Chinese and other scripts
        r"\x{E2}\x{20AC}",
        rf"[\x{{E3}}-\x{{E9}}\x{{EF}}][\x{{A1}}-\x{{AA}}\x{{AC}}-\x{{B6}}\x{{B8}}-\x{{BA}}\x{{BC}}-\x{{BF}}{_RARE}]"
        rf"[\x{{A0}}-\x{{BF}}{_HIGH}]",
        # Cyrillic
        rf"(?:[\x{{D0}}\x{{D1}}][\x{{A0}}-\x{{BF}}{_HIGH}]){{3}}",
        # UTF-8 read as GBK: quotes, full-width marks, and the replacement character twice
        r"[\x{9225}\x{951B}\x{9286}]|\x{951F}\x{65A4}\x{62F7}",
    )
)
"""What is found in a text that was read in the wrong encoding; hardly ever in another."""


def broken(text: pl.Expr) -> pl.Expr:
    """Whether a text holds replacement characters, control characters, or text decoded as what it is not."""
    return text.str.contains(PATTERN)
