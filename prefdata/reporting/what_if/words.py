"""The words in which a trial of filters is told, in English and Chinese; numbers and names as they are written."""

from __future__ import annotations

import json
import re
from functools import cache
from importlib import resources
from typing import Any

from prefdata.auditing.what_if.effects import Curve, WhatIf
from prefdata.auditing.what_if.groups import Clusters
from prefdata.auditing.what_if.slices import UNKNOWN, Slice
from prefdata.reporting.audit.words import Language, plain

REASONS_ZH = {
    "reply_too_short": "回答太短",
    "reply_too_long": "回答太长",
    "prompt_too_short": "提问太短",
    "prompt_too_long": "提问太长",
    "reply_has_too_few_letters": "回答中字母数字太少",
    "reply_has_too_many_symbols": "回答中符号太多",
    "reply_repeats_characters": "回答重复字符",
    "reply_repeats_words": "回答重复词语",
    "reply_repeats_a_phrase": "回答重复同一短语",
    "reply_repeats_prompt": "回答重复提问",
    "reply_is_only_placeholder": "回答只有占位符",
    "reply_toxic": "回答有毒性",
    "language_not_allowed": "语言不在允许之列",
    "exact_duplicates": "完全重复",
    "near_duplicates": "近似重复",
}
"""Reasons of the catalogue's filters; others are told by their names."""


def say(name: str, lang: Language = "en", /, **values: Any) -> str:
    """A sentence; whole numbers among `values` are written with separators."""
    template = _table(lang)[name]
    told = template.format(**{key: f"{one:,}" if type(one) is int else one for key, one in values.items()})
    return _ONE.sub(r"1 \1", told) if lang == "en" else told


_ONE = re.compile(r"(?<![\d.,])1 (row|cluster)s\b")


def reason(name: str, lang: Language = "en") -> str:
    """A reason for dropping as words."""
    return (REASONS_ZH.get(name) if lang == "zh" else None) or plain(name)


def number(value: float) -> str:
    """A threshold or score."""
    return f"{int(value):,}" if value == int(value) else f"{value:.4g}"


def percent(share: float) -> str:
    """A share as percent, in which neither "none" nor "all" is said of something else."""
    if 0 < share < 0.001:
        return "< 0.1 %"
    if 0.999 < share < 1:
        return "> 99.9 %"
    return f"{100 * share:.1f} %"


def part(one: Slice, lang: Language = "en") -> str:
    """What a part of the rows is called."""
    if one.value == UNKNOWN:
        return say("unknown", lang)
    if one.by == "length":
        return say("characters", lang, value=one.value.replace("-", "–"))
    if one.by == "class":
        return say(one.value, lang)
    return one.value


def intro(what_if: WhatIf, lang: Language = "en") -> list[str]:
    """What was tried and what all of it together comes to."""
    kept = say("lead", lang, kept=what_if.kept, rows=what_if.rows, share=percent(what_if.share))
    tried = say("of_catalogue", lang) if what_if.recipe is None else say("of_recipe", lang, name=what_if.recipe)
    return [kept, tried, *([say("abstained", lang, rows=what_if.abstained)] if what_if.abstained else [])]


def steps(curve: Curve, lang: Language = "en") -> str:
    """What the nearest thresholds would change: "At 0.6: 212 rows more (198 with the other filters)."."""
    here = curve.present
    told = []
    for one in curve.steps():
        rows, every = abs(one.kept - here.kept), abs(one.of_all - here.of_all)
        others = say("with_others", lang, all=every) if every != rows else ""
        name = "step_more" if one.kept > here.kept else "step_fewer"
        told.append(say(name, lang, threshold=number(one.threshold), rows=rows, others=others))
    return (" " if lang == "en" else "").join(told) or say("no_step", lang)


def similar(clusters: Clusters, lang: Language = "en") -> str:
    """What the nearest similarities would change."""
    here = next((one for one in clusters.points if one.threshold == clusters.threshold), None)
    if here is None:
        return ""
    below = [one for one in clusters.points if one.threshold < here.threshold and one.kept != here.kept]
    above = [one for one in clusters.points if one.threshold > here.threshold and one.kept != here.kept]
    told = [
        say(
            "similarity_more" if one.kept > here.kept else "similarity_fewer",
            lang,
            threshold=number(one.threshold),
            rows=abs(one.kept - here.kept),
        )
        for one in (*below[-1:], *above[:1])
    ]
    return (" " if lang == "en" else "").join(told) or say("no_step", lang)


def losses(slices: tuple[Slice, ...], kept: int, rows: int, lang: Language = "en") -> list[str]:
    """A sentence for every part that loses far more than the rest."""
    return [
        say(
            "unfair_slice",
            lang,
            by=say(one.by, lang),
            value=part(one, lang),
            rows=one.rows,
            share=percent(one.share),
            rest=percent((kept - one.kept) / (rows - one.rows)),
            ratio=f"{one.ratio:.2f}" if one.ratio is not None else "–",
            p=f"{one.p_value:.1g}",
        )
        for one in slices
        if one.unfair
    ]


@cache
def _table(lang: Language) -> dict[str, str]:
    file = resources.files("prefdata.reporting.what_if").joinpath(f"words_{lang}.json")
    table: dict[str, str] = json.loads(file.read_text(encoding="utf-8"))
    return table
