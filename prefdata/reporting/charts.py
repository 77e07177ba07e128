"""Where the marks of a chart stand, in percent of its box: the template draws them, the browser scales them."""

from __future__ import annotations

import math
from typing import Any

from prefdata.reporting.distributions import CLASSES

STACK = ("unlabelled", "undesirable", "desirable")
"""Classes of a stacked bar, from the axis up."""

Z95 = 1.96


def bars(histogram: dict[str, Any], rule: dict[str, Any], *, root: bool = True) -> dict[str, Any]:
    """A stacked histogram with the rule's thresholds and the zones where it stops rows.

    Heights are square roots of counts (`root`), so that ten rows beside ten thousand are still seen. Bars of a class
    that the rule does not speak for are `muted`. `single` is the only score there is, `off` are thresholds beyond the
    axis.
    """
    edges, count = histogram["edges"], len(histogram["desirable"])
    limits = [(name, float(rule[name])) for name in ("min", "max") if rule.get(name) is not None]
    empty: dict[str, Any] = {"rects": [], "lines": [], "zones": [], "off": [], "ticks": [], "single": None, "rows": 0}
    if not count:
        return {**empty, "off": [f"{name} {value:g}" for name, value in limits]}
    totals = [sum(histogram[name][at] for name in CLASSES) for at in range(count)]
    if edges[0] == edges[-1]:
        labels = [f"{name} {value:g}" for name, value in limits]
        return {**empty, "single": edges[0], "rows": totals[0], "off": labels}
    low, high = float(edges[0]), float(edges[-1])

    def place(value: float) -> float:
        return round(100 * (value - low) / (high - low), 3)

    power = 0.5 if root else 1.0
    top = max(totals) ** power
    spoken = rule.get("only")
    rects = []
    for at in range(count):
        y, height = 100.0, 100 * totals[at] ** power / top
        for name in STACK:
            number = histogram[name][at]
            if not number:
                continue
            part = max(height * number / totals[at], 0.8)
            y -= part
            rects.append(
                {
                    "x": place(edges[at] + (edges[at + 1] - edges[at]) * 0.05),
                    "width": round(90 / count, 3),
                    "y": round(max(y, 0), 3),
                    "height": round(part, 3),
                    "kind": name,
                    "muted": spoken is not None and spoken != name,
                    "title": f"{_span(histogram, at)}: {number:,} {name}",
                }
            )
    lines, zones, off = [], [], []
    for name, value in limits:
        edge = value + (0.5 if name == "max" else -0.5) * bool(histogram["whole"])
        if not low <= edge <= high:
            off.append(f"{name} {value:g} →" if edge > high else f"← {name} {value:g}")
            continue
        x = place(edge)
        lines.append({"x": x, "label": f"{name} {value:g}", "left": x > 50})
        zone = {"x": 0.0, "width": x} if name == "min" else {"x": x, "width": round(100 - x, 3)}
        if zone["width"]:
            zones.append(zone)
    return {
        **empty,
        "rects": rects,
        "lines": lines,
        "zones": zones,
        "off": off,
        "ticks": [
            {"x": place(value), "label": f"{value:,.6g}"} for value in ticks(low, high, bool(histogram["whole"]))
        ],
        "rows": sum(totals),
    }


def _span(histogram: dict[str, Any], at: int) -> str:
    low, high = histogram["edges"][at], histogram["edges"][at + 1]
    if not histogram["whole"]:
        return f"{low:.4g} to {high:.4g}"
    first, last = math.ceil(low), math.floor(high)
    return f"{first:,}" if first == last else f"{first:,} to {last:,}"


def ticks(low: float, high: float, whole: bool, wanted: int = 5) -> list[float]:
    """At most `wanted` + 1 round numbers in [low, high], equally far apart."""
    rough = (high - low) / wanted
    scale = 10.0 ** math.floor(math.log10(rough)) if rough > 0 else 1.0
    step = next(size * scale for size in (1.0, 2.0, 2.5, 5.0, 10.0) if size * scale >= rough * (1 - 1e-9))
    step = max(math.ceil(step), 1) if whole else step
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(step * at, 9) + 0.0 for at in range(first, last + 1)]


def shares(histogram: dict[str, Any], rule: dict[str, Any]) -> list[dict[str, Any]]:
    """Horizontal bars of a text score, one a value: widths in percent of the most frequent one, and what passes."""
    totals = [sum(histogram[name][at] for name in CLASSES) for at in range(len(histogram["values"]))]
    top = max(totals, default=0) or 1
    allowed = rule.get("values")
    return [
        {
            "value": value,
            "n": total,
            "passes": value is None or allowed is None or value in allowed,
            "parts": [
                {"kind": name, "width": round(100 * histogram[name][at] / top, 3), "n": histogram[name][at]}
                for name in CLASSES
            ],
        }
        for at, (value, total) in enumerate(zip(histogram["values"], totals, strict=True))
    ]


def curve(history: list[dict[str, Any]], key: str) -> dict[str, Any] | None:
    """One logged value over the steps: points as logged and as a running mean, and the numbers at its ends."""
    points = [
        (entry["step"], float(entry[key]))
        for entry in history
        if isinstance(entry.get(key), (int, float)) and math.isfinite(entry[key])
    ]
    if len(points) < 2:
        return None
    steps = [step for step, _ in points]
    logged = [value for _, value in points]
    reach = max(len(logged) // 12, 1)
    smooth = [
        sum(logged[max(at - reach, 0) : at + reach + 1]) / len(logged[max(at - reach, 0) : at + reach + 1])
        for at in range(len(logged))
    ]
    low, high = min(logged), max(logged)
    spread = (high - low) or 1.0

    def height(value: float) -> float:
        return round(96 - 92 * (value - low) / spread, 2)

    def drawn(values: list[float]) -> str:
        length = (steps[-1] - steps[0]) or 1
        pairs = zip(steps, values, strict=True)
        return " ".join(f"{round(100 * (step - steps[0]) / length, 2)},{height(value)}" for step, value in pairs)

    return {
        "logged": drawn(logged),
        "smooth": drawn(smooth) if len(logged) > 6 else drawn(logged),
        "zero": height(0.0) if low < 0 < high else None,
        "first": logged[0],
        "last": logged[-1],
        "low": low,
        "high": high,
        "steps": [steps[0], steps[-1]],
    }


def intervals(estimates: list[tuple[str, dict[str, float]]], *, reference: float) -> dict[str, Any]:
    """Estimates with their 95 % intervals on one axis that holds the `reference` (what chance would give)."""
    numbers = [reference, *(one[key] for _, one in estimates for key in ("value", "low", "high"))]
    low, high = min(numbers), max(numbers)
    margin = ((high - low) or 1.0) * 0.06
    low, high = low - margin, high + margin

    def place(value: float) -> float:
        return round(100 * (value - low) / (high - low), 2)

    return {
        "reference": {"x": place(reference), "label": f"{reference:g}"},
        "rows": [
            {
                "name": name,
                "x": place(one["value"]),
                "low": place(one["low"]),
                "width": round(place(one["high"]) - place(one["low"]), 2),
                "label": f"{one['value']:.3f} ({one['low']:.3f} to {one['high']:.3f})",
                "clear": one["low"] > reference or one["high"] < reference,
            }
            for name, one in estimates
        ],
    }


def reliability(points: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Predicted against observed share of satisfied turns, with the 95 % interval (Wilson) of what was observed."""
    found = [one for one in points if one["n"] and one["predicted"] is not None and one["observed"] is not None]
    most = max((one["n"] for one in found), default=1)
    marks = []
    for one in found:
        low, high = wilson(one["observed"], one["n"])
        marks.append(
            {
                "x": round(100 * one["predicted"], 2),
                "y": round(100 * (1 - one["observed"]), 2),
                "low": round(100 * (1 - low), 2),
                "high": round(100 * (1 - high), 2),
                "radius": round(1.2 + 2.6 * math.sqrt(one["n"] / most), 2),
                "title": f"predicted {one['predicted']:.2f}, observed {one['observed']:.2f}"
                f" ({low:.2f} to {high:.2f}), {one['n']:,} turns",
            }
        )
    return marks


def wilson(share: float, rows: int) -> tuple[float, float]:
    """The 95 % interval of a share of `rows` (Wilson, 1927)."""
    square = Z95**2 / rows
    centre = (share + square / 2) / (1 + square)
    reach = Z95 / (1 + square) * math.sqrt(share * (1 - share) / rows + square / (4 * rows))
    return max(centre - reach, 0.0), min(centre + reach, 1.0)


def diverging(values: list[tuple[float, float]]) -> list[dict[str, float]]:
    """Pairs (left, right) as widths in percent of half a box; the largest fills it."""
    top = max((max(pair) for pair in values), default=0) or 1
    return [{"left": round(100 * left / top, 2), "right": round(100 * right / top, 2)} for left, right in values]
