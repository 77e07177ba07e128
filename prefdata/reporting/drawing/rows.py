"""Charts of rows: bars, parts of bars, opposed bars, estimates with intervals.

Names and figures are HTML over a drawing of the tracks, not part of it: they wrap, keep their direction, can be
searched, and a name of the data is only ever text. Values that are not finite are not drawn.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from prefdata.reporting.drawing.parts import (
    EDGE,
    KINDS,
    NAME_CHARS,
    WIDTH,
    Kind,
    across_axis,
    box,
    colour,
    down,
    room,
)
from prefdata.reporting.drawing.vega import svg
from prefdata.reporting.texts import visible

if TYPE_CHECKING:
    from markupsafe import Markup

STEPS = {1: 38, 2: 54, 3: 71}
"""Pixels of a row whose name takes that many lines; drawing.css has the same numbers."""

LONG = 40
"""Characters of a name from which on it is told in full where a mouse rests on it."""

TRACK = 8
"""Pixels of a bar."""


class Bar(NamedTuple):
    """A row of `bars`."""

    name: str
    value: float
    text: str = ""
    """The figure as it is written; by default the value with four digits."""
    kind: Kind = ""
    anchor: str = ""
    """Id of the part of this page that the name links to."""


class Stack(NamedTuple):
    """A row of `split_bars`: parts of one bar, from the left."""

    name: str
    parts: Sequence[tuple[Kind, float]]
    text: str = ""
    anchor: str = ""


class Opposed(NamedTuple):
    """A row of `opposed_bars`: what speaks against, to the left, and for, to the right."""

    name: str
    left: float
    right: float
    text: str = ""
    anchor: str = ""


class Interval(NamedTuple):
    """A row of `intervals`: an estimate with what it lies between."""

    name: str
    value: float
    low: float
    high: float
    text: str = ""
    """By default the value and the bounds with three decimals."""
    kind: Kind = ""
    anchor: str = ""


def bars(rows: Sequence[Bar], *, title: str, top: float | None = None) -> Markup:
    """A bar a row, from 0; negative ones go left. `top`: what fills the box, by default the largest value."""
    sound = [one.value for one in rows if math.isfinite(one.value)]
    low, high = min([0.0, *sound]), max([0.0, *sound]) if top is None else top
    pieces = [(at, 0.0, one.value, one.kind) for at, one in enumerate(rows)]
    listed = [(one.name, one.text or f"{one.value:,.4g}", one.anchor) for one in rows]
    return _tracks(listed, pieces, (low, high), title)


def split_bars(rows: Sequence[Stack], *, title: str, whole: bool = True) -> Markup:
    """A bar of parts a row. `whole`: each bar fills the box; else the largest sum does."""
    sums = [math.fsum(value for _, value in one.parts) for one in rows]
    top = max(sums, default=1.0) or 1.0
    pieces = []
    for at, (one, total) in enumerate(zip(rows, sums, strict=True)):
        scale = 1 / (total or 1.0) if whole else 1 / top
        start = 0.0
        for kind, value in one.parts:
            pieces.append((at, start, start + value * scale, kind))
            start += value * scale
    listed = [(one.name, one.text or " : ".join(f"{value:,.4g}" for _, value in one.parts), one.anchor) for one in rows]
    return _tracks(listed, pieces, (0.0, 1.0), title)


def opposed_bars(rows: Sequence[Opposed], *, title: str, kinds: tuple[Kind, Kind] = ("bad", "good")) -> Markup:
    """Two bars a row from the middle, to the left and to the right, all on one scale."""
    top = max((max(one.left, one.right) for one in rows), default=1.0) or 1.0
    pieces = [
        piece
        for at, one in enumerate(rows)
        for piece in ((at, -one.left / top, 0.0, kinds[0]), (at, 0.0, one.right / top, kinds[1]))
    ]
    listed = [(one.name, one.text or f"{one.left:,.4g} : {one.right:,.4g}", one.anchor) for one in rows]
    return _tracks(listed, pieces, (-1.0, 1.0), title)


def intervals(
    rows: Sequence[Interval],
    *,
    title: str,
    reference: float | None = None,
    span: tuple[float, float] | None = None,
    percent: bool = False,
    lines: int = 0,
) -> Markup:
    """A dot with its interval a row, on one axis. `reference`: a dashed line; intervals that miss it have full dots.

    `span`: the ends of the axis, by default where all intervals and the reference are. `lines`: for how many lines of a
    name there is room at least, so that charts beside each other have equal rows.
    """
    numbers = [value for one in rows for value in (one.value, one.low, one.high)] + [reference or 0.0]
    span = span or room(numbers if reference is not None else numbers[:-1])
    lines = max(lines, lines_of([(one.name, one.text or _estimate(one)) for one in rows]))
    values = []
    for at, one in enumerate(rows):
        if not all(map(math.isfinite, one[1:4])):
            continue
        certain = reference is None or one.low > reference or one.high < reference
        shade = KINDS[one.kind]
        values.append(
            {
                "y": _middle(at, lines),
                "low": max(one.low, span[0]),
                "high": min(one.high, span[1]),
                "value": min(max(one.value, span[0]), span[1]),
                "colour": shade,
                "fill": shade if certain else "var(--paper)",
            }
        )
    height = STEPS[lines] * len(rows)
    across = across_axis("low", span, percent=percent)
    ruled = [] if reference is None else [_reference(min(max(reference, span[0]), span[1]), len(rows), lines)]
    spec = {
        **box(height, axis=True, edge=EDGE),
        "data": {"values": values},
        "encoding": {"y": down(height), "x": across},
        "layer": [
            {
                "mark": {"type": "rule", "strokeWidth": 4, "strokeCap": "round", "opacity": 0.4},
                "encoding": {"x2": {"field": "high"}, "color": colour("colour")},
            },
            *ruled,
            {
                "mark": {"type": "point", "size": 80, "strokeWidth": 2, "opacity": 1},
                "encoding": {
                    "x": {"field": "value", "type": "quantitative"},
                    "stroke": colour("colour"),
                    "fill": colour("fill"),
                },
            },
        ],
    }
    listed = [(one.name, one.text or _estimate(one), one.anchor) for one in rows]
    return _with_rows(svg(spec, title=title), listed, lines, axis=True)


def _tracks(
    listed: Sequence[tuple[str, str, str]],
    pieces: Sequence[tuple[int, float, float, str]],
    span: tuple[float, float],
    title: str,
) -> Markup:
    lines = lines_of([(name, text) for name, text, _ in listed])
    low, high = span if span[1] > span[0] else (0.0, 1.0)
    height = STEPS[lines] * len(listed)
    least = (high - low) * 2 / WIDTH
    """What is there is seen: two pixels."""
    marks = []
    for at, start, end, kind in pieces:
        if start == end or not (math.isfinite(start) and math.isfinite(end)):
            continue
        if abs(end - start) < least and (start, end).count(0.0):
            start, end = (-least, 0.0) if min(start, end) < 0 else (0.0, least)
        y = _middle(at, lines)
        marks.append(
            {
                "x": max(min(start, end), low),
                "x2": min(max(start, end), high),
                "y": y - TRACK / 2,
                "y2": y + TRACK / 2,
                "colour": KINDS[kind],
            }
        )
    grounds = [
        {"x": low, "x2": high, "y": _middle(at, lines) - TRACK / 2, "y2": _middle(at, lines) + TRACK / 2}
        for at in range(len(listed))
    ]
    place = {
        "x": {"field": "x", "type": "quantitative", "scale": {"domain": [low, high], "nice": False}, "axis": None},
        "x2": {"field": "x2"},
        "y": down(height),
        "y2": {"field": "y2"},
    }
    spec = {
        **box(height, axis=False),
        "encoding": place,
        "layer": [
            {"data": {"values": grounds}, "mark": {"type": "rect", "color": "var(--track)"}},
            {
                "data": {"values": marks},
                "mark": {"type": "rect"},
                "encoding": {"color": colour("colour")},
            },
        ],
    }
    return _with_rows(svg(spec, title=title), listed, lines, axis=False)


def _with_rows(drawn: Markup, listed: Sequence[tuple[str, str, str]], lines: int, *, axis: bool) -> Markup:
    from markupsafe import Markup

    rows = []
    for name, text, anchor in listed:
        shown = " ".join(visible(name[:NAME_CHARS]).split()) + ("…" if len(name) > NAME_CHARS else "")
        hint = Markup(' title="{}"').format(shown) if len(shown) > LONG else ""
        called = Markup("<bdi{}>{}</bdi>").format(hint, shown)
        if anchor:
            called = Markup('<a href="#{}">{}</a>').format(anchor, called)
        rows.append(
            Markup('<li><span class="name">{}</span><span class="number">{}</span></li>').format(called, visible(text))
        )
    look = ("chart-box", "rows", ("one", "two", "three")[lines - 1], *(["axis"] if axis else []))
    return Markup('<div class="{}">{}<ul>{}</ul></div>').format(" ".join(look), drawn, Markup("").join(rows))


def lines_of(listed: Sequence[tuple[str, str]]) -> int:
    """How many lines, 1 to 3, the longest of names needs beside its figure; widths are those of a wide font."""
    found = (_pixels(name) / max(WIDTH - _pixels(text) - 12, 60) for name, text in listed)
    return min(max(math.ceil(max(found, default=0.0) * 1.1 - 0.1), 1), 3)


def _pixels(text: str) -> float:
    return math.fsum(13.5 if unicodedata.east_asian_width(one) in "WF" else 7.0 for one in text[:NAME_CHARS])


def _reference(value: float, rows: int, lines: int) -> dict[str, Any]:
    """A dashed line behind the tracks, not behind the names."""
    values = [{"low": value, "y": _middle(at, lines) - 7, "end": _middle(at, lines) + 9} for at in range(rows)]
    return {
        "data": {"values": values},
        "mark": {"type": "rule", "strokeDash": [3, 3], "color": "var(--limit)"},
        "encoding": {"y2": {"field": "end"}},
    }


def _middle(at: int, lines: int) -> float:
    """Where the track of a row stands, from above."""
    return STEPS[lines] * (at + 1) - 9.0


def _estimate(one: Interval) -> str:
    return f"{one.value:.3f} ({one.low:.3f} to {one.high:.3f})"
