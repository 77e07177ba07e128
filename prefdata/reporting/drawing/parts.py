"""Parts that charts share: colours, axes, boxes, marked values, what colours stand for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from prefdata.reporting.texts import visible

if TYPE_CHECKING:
    from markupsafe import Markup

WIDTH = 300
"""Pixels of a chart; a phone of 360 px shows it inside a card."""

Kind = Literal["", "good", "bad", "none", "other", "faint", "limit", "critical", "major", "minor"]

KINDS: Mapping[str, str] = {
    "": "var(--curve)",
    "good": "var(--good)",
    "bad": "var(--bad)",
    "none": "var(--none)",
    "other": "var(--other)",
    "faint": "var(--faint)",
    "limit": "var(--limit)",
    "critical": "var(--critical)",
    "major": "var(--major)",
    "minor": "var(--minor)",
}
"""What a mark stands for -> its colour. `good` is chosen or desirable, `other` the second of two sets."""

NAME_CHARS = 160
"""Of a row's name."""

EDGE = 6
"""Pixels beside the ends of an axis of dots, so that none is cut."""

AXIS = 20
"""Pixels below a chart for the numbers of its axis."""


class Limit(NamedTuple):
    """A value marked on the horizontal axis, and which side of it is stopped."""

    value: float
    name: str = ""
    stops: Literal["below", "above", ""] = ""


def box(height: int, *, axis: bool, left: int = 0, top: int = 0, edge: int = 0, titled: bool = False) -> dict[str, Any]:
    left, right = max(left, edge), edge or (EDGE if left else 0)
    bottom = (AXIS if axis else 0) + (14 if titled else 0)
    return {
        "width": WIDTH - left - right,
        "height": height,
        "autosize": {"type": "none"},
        "padding": {"left": left, "right": right, "top": top, "bottom": bottom},
    }


def down(height: int) -> dict[str, Any]:
    """Rows by their pixels from above."""
    scale = {"domain": [0, height], "range": [0, height], "nice": False}
    return {"field": "y", "type": "quantitative", "scale": scale, "axis": None}


def across_axis(field: str, span: tuple[float, float], *, percent: bool = False, title: str = "") -> dict[str, Any]:
    return {
        "field": field,
        "type": "quantitative",
        "scale": {"domain": list(span), "nice": False, "zero": False},
        "axis": {
            "title": title or None,
            "tickCount": 5,
            "labelFlush": True,
            "labelOverlap": True,
            "labelSeparation": 8,
            **ticks_as(percent),
        },
    }


def ticks_as(percent: bool) -> dict[str, Any]:
    return (
        {"labelExpr": "format(100 * datum.value, '~r') + ' %'"}
        if percent
        else {"labelExpr": "format(datum.value, ',~r')"}
    )


def colour(field: str) -> dict[str, Any]:
    return {"field": field, "type": "nominal", "scale": None}


def zones(limits: Sequence[Limit], span: tuple[float, float], level: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The stopped sides of limits on the horizontal axis `level`, shaded."""
    sides = [(span[0], one.value) if one.stops == "below" else (one.value, span[1]) for one in limits if one.stops]
    values = [{"x": low, "x2": high} for low, high in sides if high > low]
    if not values:
        return []
    return [
        {
            "data": {"values": values},
            "mark": {"type": "rect", "color": "var(--zone)"},
            "encoding": {"x": {**level, "field": "x"}, "x2": {"field": "x2"}},
        }
    ]


def limit_lines(limits: Sequence[Limit], span: tuple[float, float], level: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Upright dashed lines with their names above, which stand on the side that has room."""
    if not limits:
        return []
    middle = (span[0] + span[1]) / 2
    x = {**level, "field": "x"}
    found: list[dict[str, Any]] = [
        {
            "data": {"values": [{"x": one.value} for one in limits]},
            "mark": {"type": "rule", "strokeDash": [4, 3], "strokeWidth": 1.5, "color": "var(--limit)"},
            "encoding": {"x": x},
        }
    ]
    for align, there in (("left", False), ("right", True)):
        texts = [{"x": one.value, "text": visible(one.name)} for one in limits if (one.value > middle) is there]
        if texts:
            mark = {"type": "text", "align": align, "baseline": "bottom", "y": -2, "color": "var(--limit)"}
            found.append(
                {
                    "data": {"values": texts},
                    "mark": {**mark, "dx": -3 if there else 3, "fontWeight": 600},
                    "encoding": {"x": x, "text": {"field": "text"}},
                }
            )
    return found


def room(values: Sequence[float], margin: float = 0.06) -> tuple[float, float]:
    """The ends of an axis on which all values stand, with some room beside them."""
    sound = [value for value in values if math.isfinite(value)]
    low, high = min(sound, default=0.0), max(sound, default=1.0)
    more = ((high - low) or abs(high) or 1.0) * margin or (0.0 if high > low else 1.0)
    return low - more, high + more


def key(named: Sequence[tuple[str, str]]) -> Markup:
    """What colours stand for, as a line of names, each with its kind."""
    from markupsafe import Markup

    parts = (
        Markup('<span><i class="key {}" aria-hidden="true"></i>{}</span>').format(kind or "plain", visible(name))
        for name, kind in named
    )
    return Markup('<p class="chart-key">{}</p>').format(Markup(" ").join(parts))
