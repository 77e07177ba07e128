"""Measures of a finding as what draws them best: dots with intervals, curves, bars, tables; the rest a list of facts.

What a measure is drawn as follows from its form, so that a new check is drawn without a line here: a number followed by
`interval` is an estimate; counts of two sides or classes are bars; a mapping of numbers is bars, one of mappings a
table, one of pairs of counts bars that are split; a list of mappings with a number that grows is a curve.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from prefdata.reporting.audit.estimates import Estimate, curves, dots, number, references, taken
from prefdata.reporting.audit.values import is_share, label, own, shown
from prefdata.reporting.audit.words import Language
from prefdata.reporting.drawing import Bar, Kind, Stack, bars, curve, intervals, split_bars

if TYPE_CHECKING:
    from markupsafe import Markup

ROWS = 40
"""Lines of a table or of bars that are shown."""

PAIRED = (("chosen", "rejected"), ("desirable", "undesirable"), ("preferred", "other"))
"""Parts of names of two measures that stand beside each other."""

SIDES = ("prompt", "turn", "completion", "chosen", "rejected", "desirable", "undesirable")
"""Mappings of these names are columns of one table, in this order."""

KINDS: Mapping[str, Kind] = {
    "chosen": "good",
    "rejected": "bad",
    "desirable": "good",
    "undesirable": "bad",
    "without_label": "none",
}


def drawn(measures: Mapping[str, Any], lang: Language = "en") -> list[dict[str, Any]]:
    """What to draw, in order; `kind` is intervals, curve, bars, split, table or facts."""
    left = dict(measures)
    compared = references(measures)
    found = [*dots(taken(left), lang, compared=compared), *_by_side(left, lang), *_paired(left, lang)]
    for name in compared:
        if any(one["kind"] == "intervals" for one in found):
            left.pop(f"{name}_at_chance")
    facts: list[tuple[str, str]] = []
    for name, value in left.items():
        if isinstance(value, Mapping) and value:
            found += _mapping(name, value, lang)
        elif isinstance(value, Sequence) and not isinstance(value, str) and value and _all(value, Mapping):
            found += curves(value, lang, compared=compared) or [_table(name, [("", one) for one in value], lang)]
        else:
            facts.append((label(name, lang), shown(name, value, lang)))
    if facts:
        found.append({"kind": "facts", "rows": facts})
    return [{"title": "", "more": 0, **one} for one in found]


def picture(drawing: Mapping[str, Any], title: str) -> Markup | None:
    """A drawing as a chart called `title` where it has no title of its own; None for tables and facts."""
    title = drawing["title"] or title
    rows = drawing["rows"]
    if drawing["kind"] == "bars":
        return bars(rows, title=title, top=drawing["top"])
    if drawing["kind"] == "split":
        return split_bars(rows, title=title)
    if drawing["kind"] == "intervals":
        among = {key: drawing[key] for key in ("reference", "span", "percent", "lines") if key in drawing}
        return intervals(rows, title=title, **among)
    if drawing["kind"] == "curve":
        among = {key: drawing[key] for key in ("reference", "across", "percent")}
        return curve(rows, title=title, **among)
    return None


def baselines(measures: Mapping[str, Any], title: str, lang: Language = "en") -> list[tuple[str, Estimate]]:
    """Every AUC among the measures of a finding, with what it is of: `title`, or its name in a mapping."""
    found = [(title, one) for one in taken(dict(measures)) if one.name == "auc"]
    for value in measures.values():
        if isinstance(value, Mapping) and _all(value.values(), Mapping):
            for name, inner in value.items():
                found += [(own(str(name), lang), one) for one in taken(dict(inner)) if one.name == "auc"]
    return found


def _all(values: Any, kind: type) -> bool:
    return all(isinstance(one, kind) for one in values)


def _by_side(left: dict[str, Any], lang: Language) -> list[dict[str, Any]]:
    """Takes mappings of counts by side out of `left`: one table, a column a side."""
    sides = [
        side
        for side in SIDES
        if isinstance(left.get(side), Mapping) and all(number(one) for one in left[side].values())
    ]
    if len(sides) < 2:
        return []
    return [_columns("", {side: left.pop(side) for side in sides}, lang)]


def _columns(name: str, sides: Mapping[str, Mapping[str, Any]], lang: Language) -> dict[str, Any]:
    """Mappings by side as one table: a column a side, a line a name. What a side does not count is 0 there."""
    names = list(dict.fromkeys(str(key) for values in sides.values() for key in values))
    counts = all(isinstance(one, int) for values in sides.values() for one in values.values())
    heads = [side for side in SIDES if side in sides]
    rows = [
        [own(key, lang), *(shown(key, sides[side].get(key, 0 if counts else None), lang) for side in heads)]
        for key in names[:ROWS]
    ]
    return {
        "kind": "table",
        "title": label(name, lang) if name else "",
        "columns": ["", *(label(side, lang) for side in heads)],
        "rows": rows,
        "more": max(0, len(names) - ROWS),
    }


def _paired(left: dict[str, Any], lang: Language) -> list[dict[str, Any]]:
    """Takes measures of two sides out of `left`: bars beside each other, all counts in one scale and all shares."""
    groups: dict[str, tuple[dict[str, float], dict[str, Kind]]] = {}
    for name in list(left):
        for one, other in PAIRED:
            mate = _mate(name, one, other)
            if mate is None or not (number(left.get(name)) and number(left.get(mate))):
                continue
            if min(left[name], left[mate]) < 0:
                continue
            values = {name: left.pop(name), mate: left.pop(mate)}
            if name == "desirable" and number(left.get("without_label")):
                nothing = left.pop("without_label")
                values |= {"without_label": nothing} if nothing else {}
            sides: tuple[Kind, ...] = ("good", "bad", "none")
            kinds = dict(zip(values, sides, strict=False))
            share = all(is_share(key, value) for key, value in values.items())
            unit = "share" if share else "count" if _all(values.values(), int) else name
            group = groups.setdefault(unit, ({}, {}))
            group[0].update(values)
            group[1].update(kinds)
    return [_bars("", values, lang, kinds) for values, kinds in groups.values()]


def _mate(name: str, one: str, other: str) -> str | None:
    """The name of the same measure of the other side; None where `name` is of neither, or of the other."""
    words = name.split("_")
    return "_".join(other if word == one else word for word in words) if one in words else None


def _mapping(name: str, value: Mapping[str, Any], lang: Language) -> list[dict[str, Any]]:
    values = list(value.values())
    if all(number(one) and one >= 0 for one in values) and _of_one_unit(values):
        return [_bars(name, {str(key): one for key, one in value.items()}, lang, KINDS, of_data=True)]
    if _all(values, Mapping):
        if set(value) <= set(SIDES) and not any(taken(dict(one)) for one in values):
            return [_columns(name, value, lang)]
        return _nested(name, value, lang)
    if all(_two_counts(one) for one in values) and not taken(dict(value)):
        return [_split(name, value, lang)]
    if any(isinstance(one, Mapping) for one in values) or taken(dict(value)):
        inside = drawn({str(key): one for key, one in value.items()}, lang)
        titles = [f"{label(name, lang)}: {one['title']}" if one["title"] else label(name, lang) for one in inside]
        return [{**one, "title": title} for one, title in zip(inside, titles, strict=True)]
    rows = [(own(str(key), lang), shown(str(key), one, lang)) for key, one in value.items()]
    return [{"kind": "facts", "title": label(name, lang), "rows": rows[:ROWS], "more": max(0, len(rows) - ROWS)}]


def _of_one_unit(values: Sequence[float]) -> bool:
    """Whether numbers can be compared: all counts, or all shares, or none of both."""
    counts = [one for one in values if isinstance(one, int)]
    return len(counts) in (0, len(values)) or set(counts) <= {0, 1}


def _two_counts(value: Any) -> bool:
    return (
        isinstance(value, Sequence)
        and not isinstance(value, str)
        and len(value) == 2
        and all(number(one) and one >= 0 for one in value)
    )


def _nested(name: str, value: Mapping[str, Mapping[str, Any]], lang: Language) -> list[dict[str, Any]]:
    """A mapping of mappings: dots of the estimates that most of them begin with; and a table of the rest."""
    rests = {str(key): dict(one) for key, one in value.items()}
    first = {key: some[0] for key, rest in rests.items() if (some := taken(rest))}
    names = {one.name for one in first.values()}
    if len(names) != 1 or len(first) < 2 or len(value) > ROWS:
        return [_table(name, [(str(key), one) for key, one in value.items()], lang)]
    (estimated,) = names
    # only the estimate that is drawn is taken out; the others are told in the table
    rests = {str(key): dict(one) for key, one in value.items()}
    for key in first:
        keys = list(rests[key])
        bounds = f"{estimated}_interval" if f"{estimated}_interval" in rests[key] else "interval"
        rests[key] = {one: rests[key][one] for one in keys if one not in (estimated, bounds)}
    drawing = dots(list(first.values()), lang, names=[own(key, lang) for key in first])
    drawing[0]["title"] = f"{label(estimated, lang)}: {label(name, lang)}"
    rest = [(key, one) for key, one in rests.items() if one]
    return [*drawing, _table("", rest, lang)] if rest else drawing


def _bars(
    name: str, values: Mapping[str, float], lang: Language, kinds: Mapping[str, Kind], *, of_data: bool = False
) -> dict[str, Any]:
    """Horizontal bars from 0; shares fill the box at 1. `of_data`: the names are values of the data."""
    whole = [one for one in values.values() if isinstance(one, int)]
    percent = len(whole) < len(values) and set(whole) <= {0, 1} and all(0 <= one <= 1 for one in values.values())
    rows = [
        Bar(
            own(key, lang) if of_data else label(key, lang),
            value,
            f"{100 * value:.1f} %" if percent else shown("", value, lang),
            kinds.get(key, ""),
        )
        for key, value in list(values.items())[:ROWS]
    ]
    top = 1.0 if percent else float(max(values.values(), default=1) or 1)
    title = label(name, lang) if name else ""
    return {"kind": "bars", "title": title, "rows": rows, "top": top, "more": max(0, len(values) - ROWS)}


def _split(name: str, value: Mapping[str, Sequence[float]], lang: Language) -> dict[str, Any]:
    """Counts of two sides for each name: a bar that is split where they are."""
    rows = [
        Stack(
            own(str(key), lang), (("good", one), ("bad", other)), f"{shown('', one, lang)} : {shown('', other, lang)}"
        )
        for key, (one, other) in list(value.items())[:ROWS]
    ]
    return {"kind": "split", "title": label(name, lang), "rows": rows, "more": max(0, len(value) - ROWS)}


def _table(name: str, lines: Sequence[tuple[str, Mapping[str, Any]]], lang: Language) -> dict[str, Any]:
    columns = list(dict.fromkeys(str(key) for _, one in lines for key in one))
    named = any(key for key, _ in lines)
    rows = [
        [*([own(key, lang)] if named else []), *(shown(column, one.get(column), lang) for column in columns)]
        for key, one in lines[:ROWS]
    ]
    return {
        "kind": "table",
        "title": label(name, lang) if name else "",
        "columns": [*([""] if named else []), *(label(key, lang) for key in columns)],
        "rows": rows,
        "more": max(0, len(lines) - ROWS),
    }
