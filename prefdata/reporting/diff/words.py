"""The words of a diff's report, in English and Chinese; those of findings are the audit's."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from prefdata.reporting.audit import words as audit_words
from prefdata.reporting.audit.values import cut
from prefdata.schema import RecordType

if TYPE_CHECKING:
    from prefdata.comparing.findings import Change, Figure, Seen
    from prefdata.comparing.shapes import Effect
    from prefdata.comparing.sides import Side
    from prefdata.comparison import Comparison

Language = audit_words.Language

_LESS = {RecordType.UNPAIRED: "unpaired", RecordType.SFT: "sft", RecordType.PROMPT: "prompts"}
"""What rows of a type that says more can become, as `prefdata convert --as` calls it; most first."""


def say(name: str, lang: Language = "en", /, **values: Any) -> str:
    """A sentence of the report; numbers among `values` are written with separators. What only the audit's report says
    is said as it does."""
    template = _table(lang).get(name) or _table("en").get(name)
    if template is None:
        return audit_words.say(name, lang, **values)
    return template.format(**{key: f"{one:,}" if type(one) is int else one for key, one in values.items()})


def title(found: Comparison, change: Change, lang: Language = "en") -> str:
    """What a finding says."""
    return words(found, change, lang).title


def words(found: Comparison, change: Change, lang: Language = "en") -> audit_words.Told:
    """All that a check says of a finding."""
    for side in (found.b, found.a):
        for finding in side.audit.findings:
            if (finding.family, finding.check) == (change.family, change.check):
                return audit_words.told(side.audit, finding, lang)
    raise KeyError(change.check)


def side_line(side: Side, mark: str, lang: Language = "en") -> str:
    """What a side is, in one line."""
    from prefdata.reporting.audit.json import unreadable

    return say(
        "side_line",
        lang,
        mark=mark,
        name=cut(side.name),
        type=audit_words.record_type(side.type.value, lang),
        kind=say(f"kind_{side.kind}", lang),
        format=cut(side.audit.format),
        rows=side.audit.rows,
        unreadable=unreadable(side.audit),
    )


def relabelled(found: Comparison) -> str:
    """The name of what is said of rows with another label."""
    return "swapped" if found.a.type is RecordType.PREFERENCE else "relabelled"


def command(found: Comparison) -> str:
    """The command after which the rows of two types can be compared."""
    order = list(_LESS)
    poorer, other = sorted(
        ((found.a.type, "A"), (found.b.type, "B")),
        key=lambda one: order.index(one[0]) if one[0] in _LESS else -1,
        reverse=True,
    )
    told = _LESS[poorer[0]]
    return f"prefdata convert {other[1]} --to trl --as {told} --out {other[1].lower()}_as_{told}.parquet"


def seen(one: Seen | None) -> str:
    """How often a finding was seen on a side, or how strong it was there."""
    if one is None:
        return "–"
    if one.rows:
        return f"{one.rows:,} ({percent(one.share)})"
    return f"{one.figure.value:.3f}" if one.figure else one.severity.value


def moved(figure: Figure | None, lang: Language = "en") -> str:
    """A difference with its interval; of shares in percentage points."""
    if figure is None:
        return ""
    if figure.name == "share":
        value, low, high = (f"{100 * one:+.2f}" for one in figure[1:])
        return say("points", lang, value=value, low=low, high=high)
    value, low, high = (f"{one:+.3f}" for one in figure[1:])
    return say("by", lang, name=audit_words.measure(figure.name, lang), value=value, low=low, high=high)


def effect(one: Effect, lang: Language = "en") -> list[str]:
    """An effect size with its name, Cohen's d where there is one, and the p-value."""
    told = [f"{say(one.name, lang)} {one.value:.3f}"]
    if one.cohen_d is not None:
        value, low, high = (f"{each:+.2f}" for each in one.cohen_d)
        told.append(say("cohen_d", lang, value=value, low=low, high=high))
    told.append(say("p_small", lang) if one.p_value < 0.0001 else say("p_value", lang, value=f"{one.p_value:.4f}"))
    return told


def percent(share: float) -> str:
    """A share in percent; what is not 0 is not called so."""
    return "< 0.1 %" if 0 < share < 0.001 else f"{100 * share:.1f} %"


@cache
def _table(lang: Language) -> dict[str, str]:
    file = resources.files("prefdata.reporting.diff").joinpath(f"words_{lang}.json")
    table: dict[str, str] = json.loads(file.read_text(encoding="utf-8"))
    return table
