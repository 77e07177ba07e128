"""The charts of a run's report: how scores are spread, what each step left, what labels rest on, how training went."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from prefdata.reporting import drawing
from prefdata.reporting.distributions import CLASSES
from prefdata.reporting.drawing import Bar, Interval, Kind, Limit, Opposed, Series, Stack

if TYPE_CHECKING:
    from markupsafe import Markup

KINDS: Mapping[str, Kind] = {"desirable": "good", "undesirable": "bad", "unlabelled": "none"}
"""Class -> its colour, from the axis up."""

FATES: Mapping[str, Kind] = {
    "row": "",
    "context": "faint",
    "signal": "good",
    "separator": "none",
    "set_aside": "none",
    "erased": "other",
    "refused": "bad",
    "quarantined": "limit",
}
"""What became of a unit -> its colour."""

Z95 = 1.96


class Scores(NamedTuple):
    """How the scores of a rule are spread."""

    chart: Markup | None
    single: float | None
    """The only score there is."""
    rows: int
    off: Sequence[str]
    """Thresholds beyond the axis, with their side."""
    left_off: int = 0
    """Rarer values of a text score."""


def scores(found: Mapping[str, Any], rule: Mapping[str, Any], *, title: str, root: bool = True) -> Scores:
    """A histogram stacked by class with the rule's thresholds, or bars of the values of a text score.

    Heights are square roots of counts (`root`), so that ten rows beside ten thousand are still seen. Bars of a class
    that the rule does not speak for are pale.
    """
    if "values" in found:
        return _values(found, rule, title=title)
    edges, count = found["edges"], len(found["desirable"])
    limits = [(name, float(rule[name])) for name in ("min", "max") if rule.get(name) is not None]
    if not count:
        return Scores(None, None, 0, [f"{name} {value:g}" for name, value in limits])
    rows = sum(sum(found[name]) for name in CLASSES)
    if edges[0] == edges[-1]:
        return Scores(None, edges[0], rows, [f"{name} {value:g}" for name, value in limits])
    inside, off = [], []
    for name, value in limits:
        edge = value + (0.5 if name == "max" else -0.5) * bool(found["whole"])
        if edges[0] <= edge <= edges[-1]:
            inside.append(Limit(edge, f"{name} {value:g}", "below" if name == "min" else "above"))
        else:
            off.append(f"{name} {value:g} →" if edge > edges[-1] else f"← {name} {value:g}")
    spoken = rule.get("only")
    labelled = any(sum(found[name]) for name in CLASSES[:2])
    series = [
        Series(name, found[name], KINDS[name], muted=labelled and spoken is not None and spoken != name)
        for name in ("unlabelled", "undesirable", "desirable")
        if sum(found[name])
    ]
    return Scores(drawing.histogram(series, edges, title=title, limits=inside, root=root), None, rows, off)


def _values(found: Mapping[str, Any], rule: Mapping[str, Any], *, title: str) -> Scores:
    allowed = rule.get("values")
    rows = []
    for at, value in enumerate(found["values"]):
        parts = [(KINDS[name], found[name][at]) for name in CLASSES]
        total = sum(number for _, number in parts)
        stopped = value is not None and allowed is not None and value not in allowed
        name = "unjudged" if value is None else str(value)
        rows.append(Stack(name, parts, f"stopped, {total:,}" if stopped else f"{total:,}"))
    chart = drawing.split_bars(rows, title=title, whole=False) if rows else None
    return Scores(chart, None, sum(sum(found[name]) for name in CLASSES), [], found["left_off"])


def estimates(found: Sequence[tuple[str, Mapping[str, float]]], *, reference: float, title: str) -> Markup:
    """Estimates with their 95 % intervals on one axis that holds the `reference` (what chance would give)."""
    rows = [Interval(name, one["value"], one["low"], one["high"]) for name, one in found]
    return drawing.intervals(rows, title=title, reference=reference)


def reliability(points: Sequence[Mapping[str, Any]], *, title: str) -> Markup | None:
    """Predicted against observed share of satisfied turns, with the 95 % interval (Wilson) of what was observed."""
    found = [one for one in points if one["n"] and one["predicted"] is not None and one["observed"] is not None]
    if not found:
        return None
    most = max(one["n"] for one in found)
    marks, told = [], []
    for one in found:
        low, high = wilson(one["observed"], one["n"])
        size = round(30 + 170 * one["n"] / most, 1)
        marks.append({"x": one["predicted"], "y": one["observed"], "low": low, "high": high, "size": size})
        told.append(
            f"predicted {one['predicted']:.2f}, observed {one['observed']:.2f} ({low:.2f} to {high:.2f}), "
            f"{one['n']:,} turns"
        )
    scale = {"domain": [0, 1], "nice": False}
    x = {"field": "x", "type": "quantitative", "scale": scale, "axis": {"title": "foretold", "tickCount": 5}}
    y = {"field": "y", "type": "quantitative", "scale": scale, "axis": {"title": "observed", "tickCount": 5}}
    ideal = {"type": "line", "strokeDash": [3, 4], "strokeWidth": 1, "color": "var(--none)"}
    spec = {
        "width": 240,
        "height": 240,
        "autosize": {"type": "none"},
        "padding": {"left": 46, "right": 8, "top": 8, "bottom": 36},
        "data": {"values": marks},
        "layer": [
            {"data": {"values": [{"x": 0, "y": 0}, {"x": 1, "y": 1}]}, "mark": ideal, "encoding": {"x": x, "y": y}},
            {"mark": {"type": "line", "color": "var(--faint)", "strokeWidth": 1.5}, "encoding": {"x": x, "y": y}},
            {
                "mark": {"type": "rule", "color": "var(--curve)", "opacity": 0.6},
                "encoding": {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}},
            },
            {
                "mark": {"type": "circle", "color": "var(--curve)", "opacity": 1},
                "encoding": {
                    "x": x,
                    "y": y,
                    "size": {"field": "size", "type": "quantitative", "scale": None},
                },
            },
        ],
    }
    return drawing.svg(spec, title=title, description="; ".join(told))


def wilson(share: float, rows: int) -> tuple[float, float]:
    """The 95 % interval of a share of `rows` (Wilson, 1927)."""
    square = Z95**2 / rows
    centre = (share + square / 2) / (1 + square)
    reach = Z95 / (1 + square) * math.sqrt(share * (1 - share) / rows + square / (4 * rows))
    return max(centre - reach, 0.0), min(centre + reach, 1.0)


def classes(rows: Sequence[tuple[str, Mapping[str, int]]], *, title: str) -> Markup:
    """Rows by class, a bar of parts for each name; all on the scale of the longest."""
    stacks = []
    for name, counts in rows:
        parts = [(kind, counts.get(one, 0)) for one, kind in KINDS.items()]
        stacks.append(Stack(words(name), parts, f"{sum(number for _, number in parts):,}"))
    return drawing.split_bars(stacks, title=title, whole=False)


def reasons(rows: Sequence[Mapping[str, Any]], *, title: str) -> Markup | None:
    """Rows that each reason drops; the dark part would be dropped by no other."""
    stacks = [
        Stack(
            words(one["reason"]),
            [("", one["unique"]), ("faint", one["rows"] - one["unique"])],
            f"{one['rows']:,}",
            f"reason-{one['reason']}",
        )
        for one in rows
    ]
    return drawing.split_bars(stacks, title=title, whole=False) if stacks else None


def overlap(found: Mapping[str, Any], *, title: str) -> Markup | None:
    """Rows that carry two reasons, the darker the larger their share of the line's rows."""
    names, matrix = found["reasons"], found["matrix"]
    if len(names) < 2:
        return None
    shades = [
        [value / line[own] if at != own and line[own] else 0.0 for at, value in enumerate(line)]
        for own, line in enumerate(matrix)
    ]
    values = [[value or None for value in line] for line in matrix]
    return drawing.matrix(values, [words(name) for name in names], title=title, shades=shades)


def sources(found: Sequence[Mapping[str, Any]], *, title: str) -> Markup | None:
    """Labelled rows for which a signal spoke: undesirable to the left, desirable to the right."""
    rows = [
        Opposed(
            words(one["source"]),
            one["undesirable"],
            one["desirable"],
            f"{one['undesirable']:,} : {one['desirable']:,}",
        )
        for one in found
    ]
    return drawing.opposed_bars(rows, title=title) if rows else None


def coefficients(found: Sequence[Mapping[str, Any]], *, title: str) -> Markup | None:
    """Weights of features: against to the left, for to the right."""
    rows = [
        Bar(
            words(one["feature"]).replace(":", ": ").replace("+", " + "),
            one["weight"],
            f"{one['weight']:+.2f}",
            "good" if one["weight"] > 0 else "bad",
        )
        for one in found
    ]
    return drawing.bars(rows, title=title) if rows else None


def fates(rows: Sequence[Mapping[str, Any]], names: Sequence[str], *, title: str) -> Markup | None:
    """What became of the units of each file."""
    stacks = [
        Stack(f"{one['source']}: {one['file']}", [(FATES[name], one[name]) for name in names], f"{one['units']:,}")
        for one in rows
    ]
    return drawing.split_bars(stacks, title=title) if stacks else None


def counted(table: Mapping[str, int], *, title: str) -> Markup | None:
    """Counts by name, largest first."""
    ordered = sorted(table.items(), key=lambda one: (-one[1], one[0]))
    rows = [Bar(words(name), number, f"{number:,}") for name, number in ordered]
    return drawing.bars(rows, title=title) if rows else None


def words(name: str) -> str:
    """A name in snake case as words."""
    return name.replace("_", " ").replace(".", ": ")
