"""Charts with two axes: curves, histograms, heat maps. Values that are not finite are not drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from prefdata.reporting.drawing.parts import (
    AXIS,
    EDGE,
    KINDS,
    NAME_CHARS,
    WIDTH,
    Kind,
    Limit,
    across_axis,
    box,
    colour,
    key,
    limit_lines,
    room,
    ticks_as,
    zones,
)
from prefdata.reporting.drawing.vega import svg
from prefdata.reporting.texts import visible

if TYPE_CHECKING:
    from markupsafe import Markup


class Line(NamedTuple):
    """A line of `curve`, by rising x; `band` has a low and a high for each point."""

    name: str
    points: Sequence[tuple[float, float]]
    band: Sequence[tuple[float, float]] = ()
    kind: Kind = ""
    thin: bool = False


class Series(NamedTuple):
    """Counts or shares of a `histogram`, one for each bin."""

    name: str
    counts: Sequence[float]
    kind: Kind = ""
    muted: bool = False


def curve(
    lines: Sequence[Line],
    *,
    title: str,
    across: str = "",
    up: str = "",
    reference: float | None = None,
    limits: Sequence[Limit] = (),
    percent: bool = False,
    percent_across: bool = False,
    zero: bool = False,
    healthy: tuple[float | None, float | None] | None = None,
    height: int = 130,
) -> Markup:
    """Lines over a number that grows, each with its band. `across` and `up` name the axes, `zero` begins at 0.

    `reference` is a dashed line across, `limits` are upright ones. `healthy` is shaded from its lowest to its highest
    value, null where it has no end, as far as the lines reach. Lines of two and more are named below.
    """
    rows: list[dict[str, float]] = []
    bands: list[dict[str, float]] = []
    for at, line in enumerate(lines):
        for spot, (x, y) in enumerate(line.points):
            if math.isfinite(x) and math.isfinite(y):
                rows.append({"line": at, "x": x, "y": y})
                if line.band and all(map(math.isfinite, line.band[spot])):
                    bands.append({"line": at, "x": x, "low": line.band[spot][0], "high": line.band[spot][1]})
    ups = [one["y"] for one in rows] + [one[end] for one in bands for end in ("low", "high")]
    ups += [] if reference is None else [reference]
    ups += [0.0] if zero else []
    overs = [one["x"] for one in rows] + [one.value for one in limits]
    low, high = room(ups, margin=0.0 if zero else 0.04)
    along = (min(overs, default=0.0), max(overs, default=1.0))
    upright: dict[str, Any] = {
        "type": "quantitative",
        "scale": {"domain": [low, high], "zero": False, "nice": bool(zero)},
        "axis": {
            "title": up or None,
            "tickCount": 4,
            "grid": True,
            "domain": False,
            "ticks": False,
            **ticks_as(percent),
        },
    }
    level = across_axis("x", along, percent=percent_across, title=across)
    layers: list[dict[str, Any]] = [] if healthy is None else _healthy(healthy, (low, high), upright)
    dashes = iter([{}, {"strokeDash": [6, 3]}, *({"strokeDash": [2, 2]} for _ in lines)])
    for at, line in enumerate(lines):
        dash = {} if line.thin else next(dashes)
        own = [one for one in bands if one["line"] == at]
        if own:
            layers.append(
                {
                    "data": {"values": own},
                    "mark": {"type": "area", "color": KINDS[line.kind], "opacity": 0.18},
                    "encoding": {"x": level, "y": {**upright, "field": "low"}, "y2": {"field": "high"}},
                }
            )
        layers.append(
            {
                "data": {"values": [one for one in rows if one["line"] == at]},
                "mark": {
                    "type": "line",
                    "color": KINDS[line.kind],
                    "strokeWidth": 1 if line.thin else 2,
                    "opacity": 0.45 if line.thin else 1,
                    **dash,
                },
                "encoding": {"x": level, "y": {**upright, "field": "y"}},
            }
        )
    if reference is not None:
        layers.append(
            {
                "data": {"values": [{"y": reference}]},
                "mark": {"type": "rule", "strokeDash": [3, 3], "color": "var(--limit)"},
                "encoding": {"y": {**upright, "field": "y"}},
            }
        )
    layers += limit_lines(limits, along, level)
    left = 46 if up else 40
    spec = {**box(height, axis=True, left=left, top=14 if limits else 6, titled=bool(across)), "layer": layers}
    told = "; ".join(
        f"{line.name or title}: {', '.join(f'{x:g}: {y:.4g}' for x, y in _some(line.points))}" for line in lines
    )
    drawn = svg(spec, title=title, description=told)
    named = [(line.name, line.kind) for line in lines if line.name and not line.thin]
    return _alone(drawn, named if len(named) > 1 else [])


def _healthy(
    ends: tuple[float | None, float | None], span: tuple[float, float], upright: dict[str, Any]
) -> list[dict[str, Any]]:
    """The part of the axis that is healthy, shaded, with a line at each end that can be seen."""
    low, high = (given if given is not None else own for given, own in zip(ends, span, strict=True))
    inside = (max(low, span[0]), min(high, span[1]))
    if inside[0] >= inside[1]:
        return []
    edges = [{"y": one} for one in ends if one is not None and span[0] < one < span[1]]
    level = {**upright, "field": "y"}
    found: list[dict[str, Any]] = [
        {
            "data": {"values": [{"y": inside[0], "y2": inside[1]}]},
            "mark": {"type": "rect", "color": "var(--sound)"},
            "encoding": {"y": level, "y2": {"field": "y2"}},
        }
    ]
    if edges:
        mark = {"type": "rule", "strokeDash": [2, 3], "color": "var(--good)"}
        found.append({"data": {"values": edges}, "mark": mark, "encoding": {"y": level}})
    return found


def histogram(
    series: Sequence[Series],
    edges: Sequence[float],
    *,
    title: str,
    limits: Sequence[Limit] = (),
    across: str = "",
    stacked: bool = True,
    root: bool = False,
    percent: bool = False,
    height: int = 110,
) -> Markup:
    """Counts of one or more series on common bins; `edges` are one more than the counts of each.

    Series stand on each other, or with `stacked=False` beside each other in each bin. `root`: heights are square roots
    of the sums, so that ten beside ten thousand are seen, and have no axis. A limit's stopped side is shaded.
    """
    sums = [math.fsum(one.counts[at] for one in series) for at in range(len(edges) - 1)]
    blocks = []
    for at, total in enumerate(sums):
        low, high = float(edges[at]), float(edges[at + 1])
        scale = (math.sqrt(total) / total if total else 0.0) if root else 1.0
        start, width = 0.0, (high - low) * 0.92
        for order, one in enumerate(series):
            value = one.counts[at] * scale
            if value <= 0:
                continue
            left = low + (high - low) * 0.04 + (0.0 if stacked else width * order / len(series))
            blocks.append(
                {
                    "x": left,
                    "x2": left + (width if stacked else width / len(series)),
                    "y": start,
                    "y2": start + value,
                    "colour": KINDS[one.kind],
                    "opacity": 0.3 if one.muted else 1,
                }
            )
            start += value if stacked else 0.0
    along = (float(edges[0]), float(edges[-1]))
    level = across_axis("x", along, title=across)
    up = {"title": None, "tickCount": 3, "grid": True, "domain": False, "ticks": False, **ticks_as(percent)}
    layers: list[dict[str, Any]] = [
        {
            "data": {"values": blocks},
            "mark": {"type": "rect"},
            "encoding": {
                "x": level,
                "x2": {"field": "x2"},
                "y": {"field": "y", "type": "quantitative", "scale": {"zero": True}, "axis": None if root else up},
                "y2": {"field": "y2"},
                "color": colour("colour"),
                "opacity": {"field": "opacity", "type": "quantitative", "scale": None},
            },
        }
    ]
    inside = [one for one in limits if along[0] <= one.value <= along[1]]
    spec = {
        **box(height, axis=True, left=EDGE if root else 40, top=16 if inside else 6, titled=bool(across)),
        "layer": zones(inside, along, level) + layers + limit_lines(inside, along, level),
    }
    told = "; ".join(
        f"{edges[at]:.4g} – {edges[at + 1]:.4g}: " + ", ".join(f"{one.name} {one.counts[at]:,.4g}" for one in series)
        for at, total in enumerate(sums)
        if total
    )
    named = [(one.name, one.kind) for one in series if one.name]
    return _alone(svg(spec, title=title, description=told), named if len(named) > 1 else [])


def matrix(
    values: Sequence[Sequence[float | None]],
    rows: Sequence[str],
    *,
    title: str,
    columns: Sequence[str] = (),
    texts: Sequence[Sequence[str]] = (),
    shades: Sequence[Sequence[float]] = (),
) -> Markup:
    """A heat map with its numbers. Names stand beside it, numbered where columns are too many to be named above.

    Without `columns` they are the rows over again. `shades` in [0, 1] colour the cells, by default the values by the
    largest of them; a null is left empty. A matrix of many columns is wider than WIDTH and scrolls by itself.
    """
    top = max((value for line in values for value in line if value is not None), default=0) or 1
    names = list(columns) or list(rows)
    cell, tall = max(34, min(60, (WIDTH - 130) // max(len(names), 1))), 30
    width, height = cell * len(names), tall * len(rows)
    cells = [
        {
            "x": at * cell + 1,
            "x2": (at + 1) * cell - 1,
            "y": down * tall + 1,
            "y2": (down + 1) * tall - 1,
            "middle": at * cell + cell / 2,
            "centre": down * tall + tall / 2,
            "shade": round(0.06 + 0.5 * (shades[down][at] if shades else value / top), 3),
            "text": visible(texts[down][at]) if texts else f"{value:,.4g}",
        }
        for down, line in enumerate(values)
        for at, value in enumerate(line)
        if value is not None
    ]
    heads = [{"middle": at * cell + cell / 2, "text": str(at + 1)} for at in range(len(names))]
    x = {"type": "quantitative", "scale": {"domain": [0, width], "nice": False}, "axis": None}
    y = {"type": "quantitative", "scale": {"domain": [0, height], "range": [0, height], "nice": False}, "axis": None}
    spec = {
        "width": width,
        "height": height,
        "autosize": {"type": "none"},
        "padding": {"left": 0, "right": 0, "top": AXIS, "bottom": 0},
        "layer": [
            {
                "data": {"values": cells},
                "mark": {"type": "rect", "color": "var(--curve)", "cornerRadius": 3},
                "encoding": {
                    "x": {**x, "field": "x"},
                    "x2": {"field": "x2"},
                    "y": {**y, "field": "y"},
                    "y2": {"field": "y2"},
                    "opacity": {"field": "shade", "type": "quantitative", "scale": None},
                },
            },
            {
                "data": {"values": cells},
                "mark": {"type": "text", "baseline": "middle", "color": "var(--ink)"},
                "encoding": {"x": {**x, "field": "middle"}, "y": {**y, "field": "centre"}, "text": {"field": "text"}},
            },
            {
                "data": {"values": heads},
                "mark": {"type": "text", "baseline": "bottom", "y": -4, "color": "var(--soft)"},
                "encoding": {"x": {**x, "field": "middle"}, "text": {"field": "text"}},
            },
        ],
    }
    return _beside(svg(spec, title=title, description=_cells(rows, names, values)), rows, list(columns))


def _some(points: Sequence[tuple[float, float]], most: int = 12) -> list[tuple[float, float]]:
    """Points that tell a curve, its ends among them."""
    points = [point for point in points if all(map(math.isfinite, point))]
    if len(points) <= most:
        return points
    return [points[round(at * (len(points) - 1) / (most - 1))] for at in range(most)]


def _cells(rows: Sequence[str], names: Sequence[str], values: Sequence[Sequence[float | None]]) -> str:
    lines = []
    for name, line in zip(rows, values, strict=True):
        found = (f"{other} {value:,.4g}" for other, value in zip(names, line, strict=True) if value is not None)
        lines.append(f"{visible(name)}: {visible(', '.join(found))}")
    return "; ".join(lines)


def _alone(drawn: Markup, named: Sequence[tuple[str, str]]) -> Markup:
    from markupsafe import Markup

    return Markup('<div class="chart-box">{}{}</div>').format(drawn, key(named) if named else "")


def _beside(drawn: Markup, rows: Sequence[str], columns: Sequence[str]) -> Markup:
    from markupsafe import Markup

    def listed(names: Sequence[str], look: str, numbered: bool) -> Markup:
        items = (
            Markup("<li>{}<bdi>{}</bdi></li>").format(f"{at + 1} " if numbered else "", visible(name[:NAME_CHARS]))
            for at, name in enumerate(names)
        )
        return Markup('<ol class="{}">{}</ol>').format(look, Markup("").join(items))

    beneath = listed(columns, "columns", True) if columns else ""
    return Markup('<div class="chart-box heat" tabindex="0"><div>{}{}</div>{}</div>').format(
        listed(rows, "names", not columns), drawn, beneath
    )
