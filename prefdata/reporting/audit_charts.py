"""Measures of a finding as what draws them best: dots with intervals, bars, tables; what is left is a list of facts.

What a measure is drawn as follows from its form, so that a new check is drawn without a line here: a number followed by
`interval` is an estimate; counts of two sides or classes are bars; a mapping of numbers is bars, one of mappings a
table.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from prefdata.reporting import charts
from prefdata.reporting.audit_words import Language, measure, say
from prefdata.reporting.page import visible

ROWS = 40
"""Lines of a table or of bars that are shown."""

CELL = 120
"""Characters of a value that is a text."""

SHARES = ("share", "rate", "coverage", "fraction", "precision", "recall", "percent_of")
"""Parts of names of numbers that are shown as percentages."""

CHANCE = ("auc", "accuracy", "onesided", "wins", "winning")
"""Parts of names of estimates that are 0.5 where nothing can be told."""

PAIRED = (("chosen", "rejected"), ("desirable", "undesirable"), ("human", "model"))
"""Parts of names of two measures that stand beside each other."""

KINDS = {"chosen": "good", "rejected": "bad", "desirable": "good", "undesirable": "bad", "without_label": "none"}


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
    """Name of the sentence that says what the reference is."""


def drawn(measures: Mapping[str, Any], lang: Language = "en") -> list[dict[str, Any]]:
    """What to draw, in order: `kind` is intervals, bars, table or facts."""
    left = dict(measures)
    estimates = _estimates(left)
    found = [*_dots(estimates, lang), *_paired(left, lang)]
    facts: list[tuple[str, str]] = []
    for name, value in left.items():
        if isinstance(value, Mapping) and value:
            found += _mapping(name, value, lang)
        elif isinstance(value, Sequence) and not isinstance(value, str) and value and _all(value, Mapping):
            found.append(_table(name, [("", one) for one in value], lang))
        else:
            facts.append((_label(name, lang), shown(name, value, lang)))
    if facts:
        found.append({"kind": "facts", "rows": facts})
    return [{"title": "", "more": 0, **one} for one in found]


def estimates(measures: Mapping[str, Any]) -> list[Estimate]:
    """The estimates among the measures of a finding."""
    return _estimates(dict(measures))


def dots(found: Sequence[Estimate], lang: Language = "en") -> dict[str, Any] | None:
    """One chart of estimates that share an axis; None where there are none."""
    return next(iter(_dots(found, lang, named=False)), None)


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
        return cut(", ".join(f"{key}: {shown(str(key), one, lang)}" for key, one in value.items()))
    if isinstance(value, Sequence) and not isinstance(value, str):
        if "interval" in name and len(value) == 2 and all(_number(one) for one in value):
            return say("from_to", lang, low=shown("", value[0], lang), high=shown("", value[1], lang))
        return cut(", ".join(shown(name, one, lang) for one in value))
    return cut(str(value))


def is_share(name: str, value: float) -> bool:
    """Whether a number is a share of something, by its name."""
    return 0 <= value <= 1 and any(part in name for part in SHARES)


def cut(text: str, chars: int = CELL) -> str:
    """A text as the page may show it on one line, its length told where it is cut."""
    more = f"… ({len(text):,})" if len(text) > chars else ""
    return " ".join(visible(text[:chars]).split()) + more


def _label(name: str, lang: Language) -> str:
    return cut(measure(name, lang), 80)


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _all(values: Any, kind: type) -> bool:
    return all(isinstance(one, kind) for one in values)


def _bounds(value: Any) -> tuple[float, float] | None:
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 2 and all(map(_number, value)):
        return float(value[0]), float(value[1])
    return None


def _estimates(left: dict[str, Any]) -> list[Estimate]:
    """Takes the numbers with intervals out of `left`. `interval` belongs to the number before it."""
    found = []
    last = ""
    for name, value in list(left.items()):
        owner = last if name == "interval" else name.removesuffix("_interval") if name.endswith("_interval") else ""
        bounds = _bounds(value)
        if owner and bounds and _number(left.get(owner)):
            found.append(Estimate(owner, float(left.pop(owner)), *bounds))
            del left[name]
        elif _number(value):
            last = name
    return found


def axis(name: str, values: Sequence[float]) -> Axis:
    """Where an estimate of this name is drawn."""
    if any(part in name for part in CHANCE) and all(0 <= one <= 1 for one in values):
        return Axis(0.0, 1.0, 0.5, "both_alike" if "onesided" in name else "chance")
    if (any(part in name for part in SHARES) or name == "alpha") and all(0 <= one <= 1 for one in values):
        return Axis(0.0, 1.0, None, "")
    reach = max(abs(one) for one in values) or 1.0
    if all(0 <= one <= 1 for one in values) and "difference" not in name and name != "cohen_d":
        return Axis(0.0, 1.0, None, "")
    return Axis(-1.1 * reach, 1.1 * reach, 0.0, "no_difference")


def _dots(found: Sequence[Estimate], lang: Language, *, named: bool = True) -> list[dict[str, Any]]:
    groups: dict[tuple[bool, str], list[Estimate]] = {}
    for one in found:
        own = axis(one.name, one[1:])
        unit = own.low == 0.0 and own.high == 1.0
        groups.setdefault((unit, own.meaning), []).append(one)
    drawings = []
    for (unit, _), members in groups.items():
        wide = axis(members[0].name, [value for one in members for value in one[1:]])
        low, high = (0.0, 1.0) if unit else (wide.low, wide.high)
        rows = []
        for one in members:
            reference = axis(one.name, one[1:]).reference
            percent = is_share(one.name, one.value)
            rows.append(
                {
                    "name": _label(one.name, lang) if named else one.name,
                    "anchor": "",
                    "x": place(one.value, low, high),
                    "low": place(one.low, low, high),
                    "width": round(max(place(one.high, low, high) - place(one.low, low, high), 0.0), 2),
                    "value": _figure(one.value, percent),
                    "reach": say("from_to", lang, low=_figure(one.low, percent), high=_figure(one.high, percent)),
                    "clear": reference is not None and not one.low <= reference <= one.high,
                }
            )
        drawings.append(
            {
                "kind": "intervals",
                "rows": rows,
                "reference": None if wide.reference is None else place(wide.reference, low, high),
                "meaning": say(wide.meaning, lang) if wide.meaning else "",
                "ticks": [
                    {"x": place(tick, low, high), "label": f"{tick:g}"} for tick in charts.ticks(low, high, False, 4)
                ],
            }
        )
    return drawings


def _figure(value: float, percent: bool) -> str:
    return f"{100 * value:.1f} %" if percent else f"{value:.3f}"


def place(value: float, low: float, high: float) -> float:
    """Where a value stands on an axis, in percent, never outside."""
    return round(min(max(100 * (value - low) / ((high - low) or 1.0), 0.0), 100.0), 2)


def _paired(left: dict[str, Any], lang: Language) -> list[dict[str, Any]]:
    """Takes measures of two sides out of `left`: bars beside each other, all counts in one scale and all shares."""
    found: list[dict[str, Any]] = []
    groups: dict[bool, tuple[dict[str, float], dict[str, str]]] = {}
    for name in list(left):
        for one, other in PAIRED:
            if not _has(name, one) or name not in left:
                continue
            mate = name.replace(one, other)
            if mate == name or not (_number(left.get(name)) and _number(left.get(mate))):
                continue
            values = {name: left.pop(name), mate: left.pop(mate)}
            if name == "desirable" and _number(left.get("without_label")):
                nothing = left.pop("without_label")
                values |= {"without_label": nothing} if nothing else {}
            if all(value >= 0 for value in values.values()):
                kinds = dict(zip(values, (*(KINDS.get(part, "") for part in (one, other)), "none"), strict=False))
                group = groups.setdefault(all(is_share(key, value) for key, value in values.items()), ({}, {}))
                group[0].update(values)
                group[1].update(kinds)
            else:
                rows = [(_label(key, lang), shown(key, value, lang)) for key, value in values.items()]
                found.append({"kind": "facts", "rows": rows})
    return [*(_bars("", values, lang, kinds) for values, kinds in groups.values()), *found]


def _has(name: str, part: str) -> bool:
    return part in name and f"un{part}" not in name


def _mapping(name: str, value: Mapping[str, Any], lang: Language) -> list[dict[str, Any]]:
    if all(_number(one) for one in value.values()):
        if all(one >= 0 for one in value.values()):
            return [_bars(name, {str(key): one for key, one in value.items()}, lang, KINDS, own=True)]
        rows = [(cut(str(key)), shown(name, one, lang)) for key, one in value.items()]
        return [{"kind": "facts", "title": _label(name, lang), "rows": rows[:ROWS]}]
    if _all(value.values(), Mapping):
        return _nested(name, value, lang)
    rows = [(cut(str(key)), shown(str(key), one, lang)) for key, one in value.items()]
    return [{"kind": "facts", "title": _label(name, lang), "rows": rows[:ROWS]}]


def _nested(name: str, value: Mapping[str, Mapping[str, Any]], lang: Language) -> list[dict[str, Any]]:
    """A mapping of mappings: dots where every one is one estimate of the same name; and a table of the rest."""
    rests = {key: dict(one) for key, one in value.items()}
    found = {key: _estimates(rest) for key, rest in rests.items()}
    kinds = {tuple(one.name for one in some) for some in found.values()}
    if len(kinds) != 1 or len(next(iter(kinds))) != 1 or len(value) > ROWS:
        return [_table(name, [(str(key), one) for key, one in value.items()], lang)]
    (estimated,) = next(iter(kinds))
    drawing = _dots([some[0] for some in found.values()], lang)[0]
    for row, key in zip(drawing["rows"], value, strict=True):
        row["name"] = cut(str(key), 60)
    drawing["title"] = f"{_label(estimated, lang)}: {_label(name, lang)}"
    rest = [(str(key), one) for key, one in rests.items()]
    return [drawing, _table(name, rest, lang)] if any(one for _, one in rest) else [drawing]


def _bars(
    name: str, values: Mapping[str, float], lang: Language, kinds: Mapping[str, str], *, own: bool = False
) -> dict[str, Any]:
    """Horizontal bars from 0; shares fill the box at 1. `own`: the names are values of the data."""
    percent = bool(values) and all(
        isinstance(one, float) and 0 <= one <= 1 for one in values.values() if one not in (0, 1)
    )
    percent = percent and any(isinstance(one, float) for one in values.values())
    top = 1.0 if percent else max(values.values(), default=1) or 1
    rows = [
        {
            "name": cut(key, 60) if own and key not in KINDS else _label(key, lang),
            "width": round(100 * value / top, 2),
            "text": f"{100 * value:.1f} %" if percent else shown("", value, lang),
            "kind": kinds.get(key, ""),
        }
        for key, value in list(values.items())[:ROWS]
    ]
    title = _label(name, lang) if name else ""
    return {"kind": "bars", "title": title, "rows": rows, "more": max(0, len(values) - ROWS)}


def _table(name: str, lines: Sequence[tuple[str, Mapping[str, Any]]], lang: Language) -> dict[str, Any]:
    columns = list(dict.fromkeys(str(key) for _, one in lines for key in one))
    named = any(label for label, _ in lines)
    rows = [
        [
            *([{"text": cut(label), "value": label}] if named else []),
            *(_cell(key, one.get(key), lang) for key in columns),
        ]
        for label, one in lines[:ROWS]
    ]
    heads = [*([""] if named else []), *(_label(key, lang) for key in columns)]
    return {
        "kind": "table",
        "title": _label(name, lang),
        "columns": heads,
        "rows": rows,
        "more": max(0, len(lines) - ROWS),
    }


def _cell(name: str, value: Any, lang: Language) -> dict[str, Any]:
    return {"text": shown(name, value, lang), "value": value if _number(value) else None}
