"""Measures as text: numbers with separators, shares in percent, names as words, all of it on one line and cut."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from prefdata.reporting.audit.words import Language, known_measure, measure, say
from prefdata.reporting.texts import visible

CELL = 120
"""Characters of a value that is a text."""

NAME = 80
"""Characters of the name of a measure."""

OWN = 60
"""Characters of a name that is a value of the data."""

SHARES = ("share", "rate", "coverage", "fraction", "percent_of", "accuracy_of")
"""Parts of names of numbers that are shown as percentages."""


def label(name: str, lang: Language = "en") -> str:
    """What a measure is called."""
    told = measure(name, lang)
    if name.endswith("_interval"):
        told = f"{measure(name.removesuffix('_interval'), lang)}, {measure('interval', lang)}"
    return cut(told, NAME)


def own(name: str, lang: Language = "en") -> str:
    """A name in a mapping: that of a measure where it is known as one, else a value of the data."""
    return cut(known_measure(name, lang) or name, OWN)


def shown(name: str, value: Any, lang: Language = "en") -> str:
    """A measure as text."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return say("yes" if value else "no", lang)
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        if not math.isfinite(value):
            return "–"
        return f"{100 * value:.1f} %" if is_share(name, value) else f"{value:,.4g}"
    if isinstance(value, Mapping):
        return cut(", ".join(f"{own(str(key), lang)}: {shown(str(key), one, lang)}" for key, one in value.items()))
    if isinstance(value, Sequence) and not isinstance(value, str):
        numbers = all(isinstance(one, (int, float)) and not isinstance(one, bool) for one in value)
        if "interval" in name and len(value) == 2 and numbers:
            return say("from_to", lang, low=shown("", value[0], lang), high=shown("", value[1], lang))
        return cut(", ".join(shown(name, one, lang) for one in value))
    return cut(known_measure(str(value), lang) or str(value))


def is_share(name: str, value: float) -> bool:
    """Whether a number is a share of something, by its name."""
    return 0 <= value <= 1 and any(part in name for part in SHARES)


def cut(text: str, chars: int = CELL) -> str:
    """A text as the page may show it on one line, its length told where it is cut."""
    more = f"… ({len(text):,})" if len(text) > chars else ""
    short = text[:chars]
    if not short.isprintable():  # what is printable has no character to be made visible, and no line end
        short = visible(short)
    return " ".join(short.split()) + more
