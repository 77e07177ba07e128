"""The words of an ablation's report, in English and Chinese."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

Language = str
"""en or zh."""

VERDICTS = ("pays", "harms", "not_shown", "no_rows")

KINDS: Mapping[str, str] = {"pays": "good", "harms": "bad", "not_shown": "none", "no_rows": "none"}
"""The colour of a verdict."""

SYMBOLS: Mapping[str, str] = {"pays": "▲", "harms": "▼", "not_shown": "○", "no_rows": "–"}
"""A shape each, so that colour is not all that tells them apart."""


def say(name: str, lang: Language = "en", /, **values: Any) -> str:
    """A sentence of the report; whole numbers among `values` are written with separators."""
    return _table(lang)[name].format(**{key: f"{one:,}" if type(one) is int else one for key, one in values.items()})


def arm(name: str, lang: Language = "en") -> str:
    """What is left out, as words: a name of the recipe, or all of a kind."""
    return say(name, lang) if name in ("all filters", "everything") else name


def short(one: Mapping[str, Any], lang: Language = "en") -> str:
    """What is left out, below its filter: a rule by its reason alone."""
    return f"· {one['name'].partition('.')[2]}" if one["kind"] == "rule" else arm(one["name"], lang)


def head(result: Mapping[str, Any], lang: Language = "en") -> str:
    """What was trained."""
    kind = f"head_{result['head']['kind']}" + ("_pairs" if result["metric"] == "accuracy" else "")
    return say(kind, lang, model=result["head"].get("model", ""))


def signed(value: float) -> str:
    """A difference with its sign, four digits; 0.0000 has none."""
    return f"{value:+.4f}" if round(value, 4) else "0.0000"


def counts(result: Mapping[str, Any]) -> dict[str, int]:
    """How many of what is left out came to each verdict."""
    return {one: sum(each["verdict"] == one for each in result["arms"]) for one in VERDICTS}


def headline(result: Mapping[str, Any], lang: Language = "en") -> str:
    """What was compared, on what, in one line."""
    return say(
        "headline",
        lang,
        name=result["name"],
        draws=result["draws"],
        budget=result["training"]["budget"]["least"],
        rows=result["held_out"]["clean_rows"],
    )


def summary(result: Mapping[str, Any], lang: Language = "en") -> str:
    """How many pay, harm, show nothing, change nothing."""
    return say("summary", lang, **counts(result))


@cache
def _table(lang: Language) -> dict[str, str]:
    file = resources.files("prefdata.reporting.ablation").joinpath(f"words_{lang}.json")
    table: dict[str, str] = json.loads(file.read_text(encoding="utf-8"))
    return table
