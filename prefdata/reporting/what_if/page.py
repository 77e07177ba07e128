"""What templates/what_if.html.jinja shows of a trial of filters: tables, charts, rows next to thresholds."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from prefdata.auditing.what_if.effects import Borderline, Curve, Effect, Values, WhatIf
from prefdata.auditing.what_if.groups import Clusters
from prefdata.auditing.what_if.slices import Slice
from prefdata.reporting.audit.values import cut
from prefdata.reporting.audit.words import Language
from prefdata.reporting.audit.words import say as told
from prefdata.reporting.drawing import Bar, Limit, Line, bars, curve, matrix
from prefdata.reporting.what_if.words import intro, losses, number, part, percent, reason, say, similar, steps

SHOWN = 12
"""Parts of the rows in one chart."""


def view(what_if: WhatIf, lang: Language = "en") -> dict[str, Any]:
    """The trial as the template takes it."""
    effects = [_effect(one, at, lang) for at, one in enumerate(what_if.effects)]
    return {
        "intro": [*intro(what_if, lang), say("alone_note", lang)],
        "effects": [one for one, effect in zip(effects, what_if.effects, strict=True) if not effect.message],
        "failed": [(one.name, one.message) for one in what_if.effects if one.message],
        "overlap": _overlap(what_if, lang),
        "unfair_note": any(one.unfair for effect in what_if.effects for one in effect.slices),
    }


def _effect(effect: Effect, at: int, lang: Language) -> dict[str, Any]:
    speaking = [one for one in effect.curves if one.low != one.high]
    silent = [one for one in effect.curves if one.low == one.high]
    return {
        "id": f"what-if-{at + 1}",
        "name": effect.name,
        "kept": effect.kept,
        "dropped": effect.dropped,
        "share": effect.share,
        "shares": percent(effect.share),
        "lost": percent(1 - effect.share),
        "alone": effect.alone,
        "unjudged": effect.unjudged if effect.kind == "filter" else None,
        "losses": losses(effect.slices, effect.kept, effect.rows, lang),
        "reasons": [
            {"name": reason(one.name, lang), "key": one.name, "dropped": one.dropped, "alone": one.alone}
            for one in effect.reasons
            if one.dropped
        ],
        "measures_only": effect.kind == "filter" and not effect.reasons,
        "slices": _slices(effect, lang),
        "curves": [_curve(one, lang) for one in speaking],
        "silent": [one.setting or one.reason for one in silent],
        "values": [_values(one, lang) for one in effect.values],
        "clusters": _clusters(effect.clusters, lang) if effect.clusters else None,
        "borderline": _rows(effect.borderline, lang),
    }


def _slices(effect: Effect, lang: Language) -> list[Any]:
    """A chart of kept shares for each thing that tells rows apart."""
    groups: dict[str, list[Slice]] = {}
    for one in effect.slices:
        groups.setdefault(one.by, []).append(one)
    charts = []
    for by, parts in groups.items():
        rows = [
            Bar(
                name=("▲ " if one.unfair else "") + part(one, lang),
                value=one.share,
                text=f"{percent(one.share)} / {one.rows:,}",
                kind="bad" if one.unfair else "",
            )
            for one in parts[:SHOWN]
        ]
        title = say(f"by_{by}", lang)
        more = say("more", lang, number=len(parts) - SHOWN) if len(parts) > SHOWN else ""
        charts.append({"title": title, "chart": bars(rows, title=f"{effect.name}: {title}", top=1.0), "more": more})
    return charts


def _curve(one: Curve, lang: Language) -> dict[str, Any]:
    bound = "at_least" if one.bound == "min" else "at_most"
    lines = [Line(say("kept_at", lang), [(point.threshold, float(point.kept)) for point in one.points])]
    if any(point.kept != point.of_all for point in one.points):
        every = [(point.threshold, float(point.of_all)) for point in one.points]
        lines.append(Line(say("kept_of_all", lang), every, kind="none"))
    title = say("curve_title", lang, reason=reason(one.reason, lang))
    return {
        "title": reason(one.reason, lang),
        "setting": one.setting or one.column,
        "now": say(bound, lang, threshold=number(one.threshold)),
        "steps": steps(one, lang),
        "judged": say("judged", lang, judged=one.judged, low=number(one.low or 0.0), high=number(one.high or 0.0)),
        "chart": curve(
            lines,
            title=title,
            across=one.setting or one.column,
            limits=[Limit(one.threshold, say("now", lang), "below" if one.bound == "min" else "above")],
        )
        if len(one.points) > 1
        else "",
        "proposals": [
            {
                "percent": f"{each.percent:g} %",
                "threshold": number(each.threshold),
                "dropped": each.dropped,
                "recipe": each.recipe,
            }
            for each in one.proposals
        ],
        "borderline": _rows(one.borderline, lang),
    }


def _values(one: Values, lang: Language) -> dict[str, Any]:
    recipes: dict[str, list[str]] = {}
    for share, recipe in one.recipes.items():
        recipes.setdefault(recipe, []).append(share)
    return {
        "title": say("values", lang, setting=one.setting),
        "rows": [(each.value, each.rows, each.passes) for each in one.values],
        "more": say("more", lang, number=one.more) if one.more else "",
        "recipes": [
            (say("cover", lang, percent=" / ".join(covered)), recipe) for recipe, covered in recipes.items() if recipe
        ],
    }


def _clusters(one: Clusters, lang: Language) -> dict[str, Any]:
    title = say("similarity_title", lang)
    drawn = ""
    if len({point.kept for point in one.points}) > 1:
        line = Line(say("kept_at", lang), [(point.threshold, float(point.kept)) for point in one.points])
        limit = Limit(one.threshold, say("now", lang), "below")
        drawn = curve([line], title=title, across=one.setting or say("similarity", lang), limits=[limit])
    return {
        "told": say(
            "clusters", lang, clusters=one.clusters, rows=one.rows, largest=one.largest, conflicting=one.conflicting
        ),
        "steps": similar(one, lang),
        "title": title,
        "chart": drawn,
        "points": [
            {
                "threshold": number(each.threshold),
                "now": each.threshold == one.threshold,
                "kept": each.kept,
                "clusters": each.clusters,
                "found": percent(each.found) if each.found is not None else "–",
            }
            for each in (one.points if drawn else ())
        ],
    }


def _rows(rows: Sequence[Borderline], lang: Language) -> list[dict[str, Any]]:
    return [
        {
            "place": one.place,
            "beside": one.beside,
            "score": number(one.score),
            "kept": one.kept,
            "verdict": say(
                ("apart" if one.kept else "alike") if one.beside else "passes" if one.kept else "fails", lang
            ),
            "sides": [*_sides(one.texts, one.chars, lang), *_sides(one.beside_texts, {}, lang, one.beside)],
        }
        for one in rows
    ]


def _sides(texts: Any, chars: Any, lang: Language, place: str = "") -> list[dict[str, str]]:
    return [
        {
            "side": side,
            "name": told(f"side_{side}", lang) + (f" · {cut(place)}" if place else ""),
            "text": content,
            "note": _length(content, chars.get(side, 0), lang),
        }
        for side, content in texts.items()
    ]


def _length(content: str, chars: int, lang: Language) -> str:
    if not content:
        return say("empty_text", lang)
    return say("chars", lang, shown=len(content), chars=chars) if chars > len(content) else ""


def _overlap(what_if: WhatIf, lang: Language) -> dict[str, Any] | None:
    """A heat map of the rows that two drop, of those that drop any."""
    at = [number for number, one in enumerate(what_if.tried) if one.dropped]
    if len(at) < 2:
        return None
    names = [what_if.tried[one].name for one in at]
    values = [[float(what_if.overlap[one][other]) for other in at] for one in at]
    shades = [[what_if.jaccard(one, other) for other in at] for one in at]
    pairs = [
        (what_if.tried[one].name, what_if.tried[other].name, what_if.overlap[one][other], what_if.jaccard(one, other))
        for one, other in itertools.combinations(at, 2)
        if what_if.overlap[one][other]
    ]
    return {
        "chart": matrix(values, names, title=say("overlap", lang), shades=shades),
        "pairs": sorted(pairs, key=lambda one: -one[3]),
    }
