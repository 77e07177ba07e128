"""One row in the terminal: masked and trained tokens, markers, what is cut, both sides of a pair, and a legend.

Without colour the same is told by brackets: [[trained]], {-cut-}, <marker> in single guillemets.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from prefdata.reporting.texts import visible

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

STYLES = {"masked": "dim", "trained": "bold green", "cut": "red strike"}
MARKER = "reverse"
BRACKETS = {"masked": ("", ""), "trained": ("[[", "]]"), "cut": ("{-", "-}")}
LEGEND = {"masked": "masked: read, not trained on", "trained": "trained on", "cut": "cut off"}


def show(shown: Mapping[str, Any], console: Console) -> None:
    """Prints a row that `trainers.preflight.showing` took apart."""
    from rich.text import Text

    plain = console.no_color or not console.is_terminal
    facts = shown["facts"]
    about = [f"{name} {value}" for name, value in facts.items() if name in ("label", "margin")]
    console.print(Text(" · ".join([visible(shown["id"]), *about]), style="bold"), soft_wrap=True)
    if "dropped" in facts:
        why = f"{facts['dropped']}" + (f": {facts['refused']}" if "refused" in facts else "")
        console.print(Text(f"not trained on: {why}", style="bold red"), soft_wrap=True)
    for at, one in enumerate(facts.get("pictures", ()), 1):
        console.print(Text(f"picture {at}: {visible(one['uri'])}, {_seen(one)}"), soft_wrap=True)
    console.print(_legend(plain), soft_wrap=True)
    for turn in shown["cut"]:
        console.print(_piece("cut", f"{turn['role']}: {turn['content']}", marker=False, plain=plain), soft_wrap=True)
    for name, spans in shown["sides"].items():
        tokens, learned = facts[f"{name}_tokens"], facts[f"{name}_trained"]
        title = f"── {name}: {tokens:,} tokens, {learned:,} trained on, max_length {facts['max_length']:,} "
        console.print(Text(f"\n{title}{'─' * max(2, 72 - len(title))}", style="bold"), soft_wrap=True)
        text = Text()
        before = None
        for kind, part in _runs(spans):
            if plain and before is not None and kind != before:
                text.append(BRACKETS[before][1])
            if plain and kind != before:
                text.append(BRACKETS[kind][0])
            for span in part:
                text.append_text(_inner(kind, span["text"], marker=span["marker"], plain=plain))
            before = kind
        if plain and before is not None:
            text.append(BRACKETS[before][1])
        console.print(text, soft_wrap=True)


def _seen(picture: Mapping[str, Any]) -> str:
    if "reason" in picture:
        return str(picture["reason"])
    return f"{picture['width']:,} x {picture['height']:,} pixels, {picture['tokens']:,} tokens"


def _runs(spans: list[Mapping[str, Any]]) -> list[tuple[str, list[Mapping[str, Any]]]]:
    found: list[tuple[str, list[Mapping[str, Any]]]] = []
    for span in spans:
        if not found or found[-1][0] != span["kind"]:
            found.append((span["kind"], []))
        found[-1][1].append(span)
    return found


def _inner(kind: str, text: str, *, marker: bool, plain: bool) -> Text:
    from rich.text import Text

    told = visible(text)
    if plain:
        return Text(f"‹{told}›" if marker else told)
    return Text(told, style=f"{STYLES[kind]} {MARKER}" if marker else STYLES[kind])


def _piece(kind: str, text: str, *, marker: bool, plain: bool) -> Text:
    from rich.text import Text

    inner = _inner(kind, text, marker=marker, plain=plain)
    if not plain:
        return inner
    first, last = BRACKETS[kind]
    return Text(first).append_text(inner).append(last)


def _legend(plain: bool) -> Text:
    from rich.text import Text

    found = Text("legend: ")
    for at, (kind, words) in enumerate(LEGEND.items()):
        found.append(" · " if at else "")
        found.append_text(_piece(kind, words, marker=False, plain=plain))
    found.append(" · ")
    return found.append_text(_inner("masked", "control token", marker=True, plain=plain))
