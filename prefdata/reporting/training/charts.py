"""The charts of a trained stage: its steps with what is healthy, and what the held-out rows say."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from prefdata.reporting import charts, drawing
from prefdata.reporting.distributions import histogram
from prefdata.reporting.drawing import Interval, Kind, Line, Series
from prefdata.reporting.training import words
from prefdata.reporting.training.stages import Trained

if TYPE_CHECKING:
    from markupsafe import Markup

RIGHT_OVER = 20
"""Steps behind each value of `batches_right`."""


SIDES = (("chosen_reward", "rejected_reward"), ("chosen", "rejected"))
"""Columns of eval_rewards.parquet for pairs: rewards of DPO, scores of a reward model."""


class Drawn(NamedTuple):
    """A curve with what stands above it."""

    title: str
    note: str
    healthy: str
    """The healthy range in words, or nothing."""
    first: float
    last: float
    chart: Markup


def curves(stage: Trained) -> list[Drawn]:
    """The curves of a stage; those that were not logged twice are left out."""
    history = [dict(entry) for entry in stage.history]
    _batches_right(history)
    bands = (stage.record.get("monitor") or {}).get("bands", {})
    drawn = (_curve(one, history, bands) for one in words.curves(stage.method, history))
    return [one for one in drawn if one is not None]


def _curve(
    asked: words.Curve, history: Sequence[Mapping[str, Any]], bands: Mapping[str, Sequence[float | None]]
) -> Drawn | None:
    lines, ends = [], []
    for name, called, kind in asked.lines:
        points = _points(history, name)
        if len(points) < 2:
            continue
        ends.append((points[0][1], points[-1][1]))
        band = _band(asked.band, history) if asked.band else ()
        if band and len(band) == len(points):
            lines.append(Line(called, points, band=band, kind=kind))
        elif len(points) > 6:
            lines += [Line("", points, kind=kind, thin=True), Line(called, _smooth(points), kind=kind)]
        else:
            lines.append(Line(called, points, kind=kind))
    if not lines:
        return None
    values = [y for line in lines for _, y in line.points]
    range_ = bands.get(asked.lines[0][0])
    chart = drawing.curve(
        lines,
        title=f"{asked.title} over the steps",
        across="step",
        reference=0.0 if min(values) < 0 < max(values) else None,
        healthy=(range_[0], range_[1]) if range_ else None,
    )
    return Drawn(asked.title, asked.note, _told(range_) if range_ else "", ends[0][0], ends[0][1], chart)


def held(stage: Trained) -> dict[str, Any] | None:
    """Charts of the held-out estimates: the headline before and after, the others after, or what changed."""
    metrics, asked = stage.metrics, words.held(stage.method)
    after, before = metrics.get("after"), metrics.get("before", {})
    if asked is None or not after or asked.headline not in after:
        return None
    rows = [(side, part[asked.headline]) for side, part in (("before", before), ("after", after)) if part]
    rows += [(_baseline(name), one) for name, one in metrics.items() if _estimate(one) and name.endswith(_BASELINES)]
    called = f"{asked.called} of the held-out rows"
    found: dict[str, Any] = {
        "asked": asked,
        "rows": after["rows"],
        "groups": after["groups"],
        "headline": drawing.intervals(
            [Interval(name, one["value"], one["low"], one["high"]) for name, one in rows],
            title=called,
            reference=asked.reference,
        ),
    }
    others = [(called, after[name]) for name, called in asked.others.items() if name in after]
    change = [
        (name.replace("_", " ").replace("/", ": "), one)
        for name, one in metrics.get("change", {}).items()
        if name == asked.headline or name.startswith("rewards/")
    ]
    found["also"] = [
        (words.ALSO.get(name, name.replace("_", " ")), before[name]["value"], one["value"])
        for name, one in after.items()
        if _estimate(one) and name in before and not {name} & {asked.headline, *asked.others} and "/" not in name
    ]
    found["others"] = charts.estimates(others, reference=0.0, title="Held-out rewards") if others else None
    found["change"] = (
        charts.estimates(change, reference=0.0, title="Change on the held-out rows") if change and not others else None
    )
    return found


def spread(stage: Trained) -> dict[str, Any] | None:
    """How what was measured is spread over the held-out rows: rewards by label, or margins."""
    frame = stage.held
    if frame is None or not frame.height:
        return None
    nothing: dict[str, Any] = {"min": None, "max": None, "only": None}
    if {"label", "reward"} <= set(frame.columns):
        return {
            "title": "Rewards of the held-out rows, by label",
            "scores": charts.scores(histogram(frame, "reward", nothing), nothing, title="Rewards by label", root=False),
        }
    for better, worse in SIDES:
        if not {better, worse} <= set(frame.columns):
            continue
        margin = frame.select(margin=pl.col(better) - pl.col(worse)).with_columns(label=pl.col("margin") > 0)
        counts = histogram(margin, "margin", nothing)
        drawn = charts.scores(counts, nothing, title="Margins", root=False)
        if drawn.chart is not None:
            named: list[tuple[str, str, Kind]] = [
                ("undesirable", "not told apart", "bad"),
                ("desirable", "told apart", "good"),
            ]
            series = [Series(called, counts[name], kind) for name, called, kind in named]
            drawn = drawn._replace(chart=drawing.histogram(series, counts["edges"], title="Margins"))
        return {"title": "Margins of the held-out pairs", "scores": drawn}
    return None


_BASELINES = ("_auc", "_accuracy")


def _baseline(name: str) -> str:
    return "by shortness" if name.startswith("shorter") else "by length" if name.startswith("longer") else name


def _estimate(one: Any) -> bool:
    return isinstance(one, Mapping) and {"value", "low", "high"} <= set(one)


def _points(history: Sequence[Mapping[str, Any]], name: str) -> list[tuple[float, float]]:
    return [
        (float(entry["step"]), float(entry[name]))
        for entry in history
        if isinstance(entry.get(name), (int, float)) and math.isfinite(entry[name])
    ]


def _band(names: tuple[str, str], history: Sequence[Mapping[str, Any]]) -> list[tuple[float, float]]:
    low, high = (_points(history, name) for name in names)
    return [(one[1], other[1]) for one, other in zip(low, high, strict=False)]


def _smooth(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The running mean over a twelfth of the steps to either side.

    Never outside what it is the mean of: rounding would draw a constant as spikes over the whole height.
    """
    reach = max(len(points) // 12, 1)
    found = []
    for at, (step, _) in enumerate(points):
        near = [value for _, value in points[max(at - reach, 0) : at + reach + 1]]
        found.append((step, min(max(math.fsum(near) / len(near), min(near)), max(near))))
    return found


def _batches_right(history: Sequence[dict[str, Any]]) -> None:
    """Adds the share of the last steps whose good rows had the higher mean reward: TRL logs no accuracy for KTO."""
    found = [entry for entry in history if isinstance(entry.get("rewards/margins"), (int, float))]
    right = [entry["rewards/margins"] > 0 for entry in found]
    for at in range(RIGHT_OVER - 1, len(found)):
        found[at]["batches_right"] = sum(right[at + 1 - RIGHT_OVER : at + 1]) / RIGHT_OVER


def _told(ends: Sequence[float | None]) -> str:
    low, high = ends
    if low is None:
        return "" if high is None else f"at most {high:g}"
    return f"at least {low:g}" if high is None else f"{low:g} to {high:g}"
