"""A preflight in the terminal: figures, and a table of findings, worst first, with rows, cures and threads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from prefdata.reporting.preflight.words import (
    SYMBOLS,
    VIEWS,
    by_view,
    figures,
    headline,
    kept,
    lengths,
    pictures,
    summary,
    trained,
)
from prefdata.reporting.texts import visible

if TYPE_CHECKING:
    from rich.console import Console

STYLES = {"critical": "bold red", "major": "bold yellow", "minor": "cyan", "note": "dim"}

PLACES = 3
"""Of a finding, named in the table."""


def terminal(record: Mapping[str, Any], console: Console) -> None:
    """Prints one preflight. What the data say of themselves is printed as text, never as markup."""
    from rich.text import Text

    console.print(Text(visible(headline(record)), style="bold"), soft_wrap=True)
    console.print(Text(kept(record)), soft_wrap=True)
    for line in [*([told] if (told := trained(record)) else []), *lengths(record), *pictures(record)]:
        console.print(Text(line), soft_wrap=True)
    for view, found in by_view(record["findings"]).items():
        console.print()
        if "trl" in record["figures"]:
            console.rule(Text(VIEWS[view], style="bold"), align="left", style="dim")
        for finding in found:
            _print(finding, console)
    console.print()
    console.print(Text(summary(record)), soft_wrap=True)


def _print(finding: Mapping[str, Any], console: Console) -> None:
    """One finding: what, how many, why, the cure, which rows, where users met it."""
    from rich.padding import Padding
    from rich.text import Text

    severity = finding["severity"]
    head = Text(f"{SYMBOLS[severity]} {severity:9}", style=STYLES[severity])
    head.append(finding["title"], style="default" if severity == "note" else "bold default")
    console.print(head)
    many = f"{finding['count']:,} of {finding['total']:,} ({100 * finding['share']:.1f} %)" if finding["count"] else ""
    about = " · ".join([finding["check"], *([many] if many else []), *map(visible, figures(finding))])
    lines = [Text(about, style="dim" if severity == "note" else STYLES[severity])]
    if severity in ("critical", "major"):
        lines.append(Text(finding["why"]))
    if severity != "note":
        lines.append(Text(f"→ {finding['cure']}", style="green"))
    if finding["ids"]:
        lines.append(Text(f"rows {where(finding)}", style="dim"))
    if finding["threads"] and severity != "note":
        lines.append(Text(f"seen in {', '.join(finding['threads'])}", style="dim"))
    for line in lines:
        console.print(Padding(line, (0, 0, 0, 11)))


def where(finding: Mapping[str, Any]) -> str:
    """The first rows of a finding, and how many more there are."""
    shown = [visible(one) for one in finding["ids"][:PLACES]]
    more = finding["count"] - len(shown)
    return ", ".join([*shown, f"+ {more:,}"] if shown and more > 0 else shown)
