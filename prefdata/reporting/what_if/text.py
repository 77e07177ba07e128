"""A trial of filters in the terminal and as Markdown: what each would drop, its nearest thresholds, who loses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefdata.auditing.what_if.effects import Curve, Effect, WhatIf
from prefdata.reporting.audit.words import Language
from prefdata.reporting.texts import visible
from prefdata.reporting.what_if.words import intro, losses, number, percent, reason, say, similar, steps

if TYPE_CHECKING:
    from rich.console import Console

STEPS = 4
"""Thresholds of a filter that are told, those first that move the most rows."""


def terminal(what_if: WhatIf, console: Console, lang: Language = "en") -> None:
    """Prints the trial to `console`; what the data say of themselves is text, never markup."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    console.print(Text(say("title", lang), style="bold"))
    for line in intro(what_if, lang):
        console.print(Text(line), soft_wrap=True)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, expand=False)
    table.add_column(say("filter", lang), no_wrap=True)
    for name in ("kept", "dropped", "alone", "unjudged"):
        table.add_column(say(name, lang), justify="right", no_wrap=True)
    for effect in what_if.tried:
        cells = (percent(effect.share), f"{effect.dropped:,}", f"{effect.alone:,}", _unjudged(effect))
        table.add_row(Text(effect.name), *map(Text, cells))
    console.print(table)
    for effect in what_if.effects:
        lines = [Text(line) for line in thresholds(effect, lang)]
        unfair = losses(effect.slices, effect.kept, effect.rows, lang)
        lines += [Text(f"▲ {visible(loss)}", style="bold yellow") for loss in unfair]
        if effect.message:
            lines.append(Text(f"{say('failed', lang)}: {visible(effect.message)}", style="red"))
        if lines:
            console.print(Text(effect.name, style="bold"))
        for each in lines:
            console.print(Text("  ").append_text(each), soft_wrap=True)


def markdown(what_if: WhatIf, lang: Language = "en") -> list[str]:
    """The trial as lines of GitHub's Markdown, without any text of a row."""
    from prefdata.reporting.audit.markdown import code, escaped

    names = [say(name, lang) for name in ("filter", "kept", "dropped", "alone", "unjudged", "thresholds")]
    lines = [f"### {say('title', lang)}", "", *(f"{escaped(line)}\n" for line in intro(what_if, lang))]
    lines += [f"| {' | '.join(names)} |", "| --- | ---: | ---: | ---: | ---: | --- |"]
    for effect in what_if.tried:
        cells = [
            code(effect.name),
            percent(effect.share).replace("<", "&lt;").replace(">", "&gt;"),
            f"{effect.dropped:,}",
            f"{effect.alone:,}",
            _unjudged(effect),
            "<br>".join(escaped(line) for line in thresholds(effect, lang)),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines.append("")
    for effect in what_if.effects:
        lines += [
            f"- ▲ {code(effect.name)} {escaped(loss)}" for loss in losses(effect.slices, effect.kept, effect.rows, lang)
        ]
        if effect.message:
            lines.append(f"- {escaped(say('failed', lang))}: {code(effect.name)} {escaped(effect.message)}")
    return [*lines, ""]


def thresholds(effect: Effect, lang: Language = "en") -> list[str]:
    """The thresholds of a filter whose neighbours move the most rows, a line each."""
    if effect.clusters is not None:
        told = similar(effect.clusters, lang) if effect.clusters.points else ""
        setting = effect.clusters.setting or say("similarity", lang)
        now = number(effect.clusters.threshold)
        return [say("sentence", lang, setting=setting, threshold=now, steps=told)] if told else []
    moving = sorted((one for one in effect.curves if one.steps()), key=_moved, reverse=True)
    return [
        say(
            "sentence",
            lang,
            setting=one.setting or reason(one.reason, lang),
            threshold=number(one.threshold),
            steps=steps(one, lang),
        )
        for one in moving[:STEPS]
    ]


def _moved(curve: Curve) -> int:
    """Rows that the nearest thresholds move."""
    return max(abs(one.kept - curve.present.kept) for one in curve.steps())


def _unjudged(effect: Effect) -> str:
    return "–" if effect.kind == "grouping" else f"{effect.unjudged:,}"
