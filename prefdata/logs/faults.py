"""What can be wrong with single values of a layout's settings, each told as `setting: fault`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import polars as pl

from prefdata.errors import RecipeError
from prefdata.reading.account import RESERVED
from prefdata.reading.lines import known_encoding


def character_faults(name: str, value: str | None, *, otherwise: str) -> list[str]:
    """A setting that is one character, or the word `otherwise` ("null" for none)."""
    if value is None or value == otherwise or (len(value) == 1 and value not in "\r\n\x00"):
        return []
    return [f"{name}: {value!r}, expected one character, or {otherwise}"]


def header_faults(header: Sequence[str] | None) -> list[str]:
    """The names of a table's columns: some, each once, none of ours."""
    if header is None:
        return []
    if not header:
        return ["header: is empty; leave it out where the file has a header line"]
    twice = [name for name, times in Counter(header).items() if times > 1]
    return [
        *[f"header: {name!r} stands there more than once" for name in twice],
        *[f"header: {name!r} is a name of ours; take another" for name in sorted(RESERVED.intersection(header))],
    ]


def encoding_faults(encoding: str) -> list[str]:
    """The name of an encoding."""
    try:
        known_encoding(encoding)
    except RecipeError as error:
        return [f"encoding: {fault.removeprefix('encoding ')}" for fault in error.faults]
    return []


def pattern_faults(name: str, pattern: str) -> list[str]:
    """A pattern of the Rust regex engine."""
    try:
        pl.Series([""]).str.contains(pattern)
    except pl.exceptions.PolarsError:
        return [f"{name}: {pattern!r} is no pattern of the Rust regex engine"]
    return []


def empty_faults(values: Mapping[str, str | None]) -> list[str]:
    """Settings that are not to be empty, by name."""
    return [f"{name}: is empty" for name, value in values.items() if value is not None and not value.strip(" ")]


def word_faults(words: Mapping[str, float]) -> list[str]:
    """Words that stand for ratings: each once, without regard to case."""
    folded = Counter(word.strip().lower() for word in words)
    return [f"rating_words: {word!r} stands there more than once" for word, times in folded.items() if times > 1]
