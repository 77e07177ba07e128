"""What can be wrong with the values of settings for logs, each told as `setting: fault`."""

from __future__ import annotations

import math
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


def cuts(scale: tuple[float, float], satisfied: float | None, dissatisfied: float | None) -> tuple[float, float]:
    """The upper end of dissatisfied and the lower end of satisfied, between 0 worst and 1 best."""
    worst, best = scale
    low = 0.25 if dissatisfied is None else (dissatisfied - worst) / (best - worst)
    high = 0.75 if satisfied is None else (satisfied - worst) / (best - worst)
    return low, high


def scale_faults(
    scale: tuple[float, float], satisfied: float | None, dissatisfied: float | None, *, name: str
) -> list[str]:
    """What is wrong with a scale of ratings (worst, best), called `name`, and with the bounds on it."""
    worst, best = scale
    if not math.isfinite(best - worst) or worst == best:
        return [f"{name}: {_number(worst)} (worst) and {_number(best)} (best), expected two different ratings"]
    low, high = cuts(scale, satisfied, dissatisfied)
    faults = [
        f"{bound}: {_number(given)}, expected a rating on the scale {_number(worst)} (worst) to {_number(best)} (best)"
        for bound, given, place in (("satisfied", satisfied, high), ("dissatisfied", dissatisfied, low))
        if given is not None and not 0.0 <= place <= 1.0
    ]
    if not faults and not low < high:
        told = [
            f"{bound} {_number(worst + place * (best - worst))}"
            for bound, place in (("satisfied", high), ("dissatisfied", low))
        ]
        faults.append(
            f"{'satisfied' if satisfied is not None else 'dissatisfied'}: {' and '.join(told)}, expected dissatisfied "
            f"on the worse side of satisfied, the scale is {_number(worst)} (worst) to {_number(best)} (best)"
        )
    return faults


def _number(value: float) -> str:
    return f"{value:.10g}"
