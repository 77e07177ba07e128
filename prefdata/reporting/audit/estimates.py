"""Estimates with their intervals: which measures are some, on which axis they stand, and where on it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from prefdata.reporting.audit.values import is_share, label
from prefdata.reporting.audit.words import Language, say
from prefdata.reporting.drawing import Interval, Line

CHANCE = ("auc", "accuracy", "onesided", "wins", "winning")
"""Parts of names of estimates that are 0.5 where nothing can be told."""

SHARES = ("share", "rate", "coverage", "fraction", "precision", "recall", "agreement")
"""Parts of names of estimates that are between 0 and 1, compared with nothing."""


class Estimate(NamedTuple):
    """A figure with its interval of 95 %."""

    name: str
    value: float
    low: float
    high: float


class Axis(NamedTuple):
    """From where to where an estimate is drawn, and what it is compared with."""

    low: float
    high: float
    reference: float | None
    meaning: str
    """Name of the sentence that says what the reference is; empty without one."""


def number(value: Any) -> bool:
    """Whether a measure is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def taken(left: dict[str, Any]) -> list[Estimate]:
    """Takes the numbers with intervals out of `left`. `interval` belongs to the number before it, `x_interval` to x."""
    found = []
    last = ""
    for name, value in list(left.items()):
        owner = last if name == "interval" else name.removesuffix("_interval") if name.endswith("_interval") else ""
        bounds = _bounds(value)
        if owner and bounds and number(left.get(owner)):
            found.append(Estimate(owner, float(left.pop(owner)), *bounds))
            del left[name]
        elif number(value):
            last = name
    return found


def references(measures: Mapping[str, Any]) -> dict[str, float]:
    """What estimates are compared with by measures called `<estimate>_at_chance`."""
    return {
        name.removesuffix("_at_chance"): float(value)
        for name, value in measures.items()
        if name.endswith("_at_chance") and number(value)
    }


def axis(name: str, values: Sequence[float], reference: float | None = None) -> Axis:
    """Where an estimate of this name is drawn. `reference`: what it is compared with, where the name does not say."""
    unit = all(0 <= one <= 1 for one in values)
    if reference is not None:
        low, high = min(*values, reference), max(*values, reference)
        margin = ((high - low) or 1.0) * 0.1
        return Axis(low - margin, high + margin, reference, "at_chance")
    if unit and any(part in name for part in CHANCE):
        return Axis(0.0, 1.0, 0.5, "both_alike" if "onesided" in name else "chance")
    if unit and (any(part in name for part in SHARES) or name not in ("difference", "cohen_d", "alpha")):
        return Axis(0.0, 1.0, None, "")
    reach = max(abs(one) for one in values) or 1.0
    return Axis(-1.1 * reach, 1.1 * reach, 0.0, "no_difference")


def dots(
    found: Sequence[Estimate],
    lang: Language,
    *,
    names: Sequence[str] = (),
    anchors: Sequence[str] = (),
    compared: Mapping[str, float] | None = None,
) -> list[dict[str, Any]]:
    """Charts of estimates, those that share an axis in one.

    `names`: what each is called, where its name is not it; `anchors`: what each links to.
    """
    compared = compared or {}
    axes = [axis(one.name, one[1:], compared.get(one.name)) for one in found]
    # each distinct comparison has one axis, wide enough for all its estimates
    groups: dict[tuple[bool, str], list[int]] = {}
    for at, own in enumerate(axes):
        groups.setdefault(((own.low, own.high) == (0.0, 1.0), own.meaning), []).append(at)
    drawings = []
    for members in groups.values():
        first = axes[members[0]]
        rows = [
            Interval(
                names[at] if names else label(found[at].name, lang),
                *found[at][1:],
                text=_told(found[at], lang),
                anchor=anchors[at] if anchors else "",
            )
            for at in members
        ]
        drawings.append(
            {
                "kind": "intervals",
                "rows": rows,
                "span": (min(axes[at].low for at in members), max(axes[at].high for at in members)),
                "percent": all(is_share(found[at].name, found[at].value) for at in members),
                **_compared(first, lang),
            }
        )
    return drawings


def _told(one: Estimate, lang: Language) -> str:
    percent = is_share(one.name, one.value)
    reach = say("from_to", lang, low=figure(one.low, percent=percent), high=figure(one.high, percent=percent))
    return f"{figure(one.value, percent=percent)} ({reach})"


def _compared(own: Axis, lang: Language) -> dict[str, Any]:
    meaning = say(own.meaning, lang, value=f"{own.reference:.3g}") if own.meaning else ""
    return {"reference": own.reference, "meaning": meaning}


def curves(
    steps: Sequence[Mapping[str, Any]], lang: Language, *, compared: Mapping[str, float] | None = None
) -> list[dict[str, Any]]:
    """Estimates that change with a number that grows: a line with its band for each. Empty where `steps` are not that.

    Every step begins with the number, and has the same estimates.
    """
    rests = [dict(one) for one in steps]
    found = [taken(rest) for rest in rests]
    growing = next((key for key in steps[0] if key in rests[0]), "") if steps else ""
    values = [rest.get(growing) for rest in rests]
    names = {tuple(one.name for one in some) for some in found}
    sound = [float(value) for value in values if isinstance(value, (int, float)) and number(value)]
    rising = len(sound) == len(steps) >= 3 and all(a < b for a, b in pairwise(sound))
    if not rising or len(names) != 1 or not next(iter(names)) or any(len(rest) > 1 for rest in rests):
        return []
    drawings = []
    for line in zip(*found, strict=True):
        name = line[0].name
        own = axis(name, [value for one in line for value in one[1:]], (compared or {}).get(name))
        drawings.append(
            {
                "kind": "curve",
                "title": label(name, lang),
                "rows": [
                    Line(
                        "",
                        [(x, one.value) for x, one in zip(sound, line, strict=True)],
                        [(one.low, one.high) for one in line],
                    )
                ],
                "across": label(growing, lang),
                "percent": all(is_share(name, one.value) for one in line),
                **_compared(own, lang),
            }
        )
    return drawings


def figure(value: float, *, percent: bool) -> str:
    """An estimate as text, with as many digits as are worth it."""
    return f"{100 * value:.1f} %" if percent else f"{value:.3f}"


def _bounds(value: Any) -> tuple[float, float] | None:
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 2 and all(map(number, value)):
        return float(value[0]), float(value[1])
    return None
