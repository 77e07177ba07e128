"""An audit in the terminal: a table of findings, worst first, with the places to look at and the cures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefdata.auditing.finding import Finding, Severity
from prefdata.reporting.audit.estimates import taken
from prefdata.reporting.audit.json import counts, unreadable
from prefdata.reporting.audit.values import cut
from prefdata.reporting.audit.words import (
    SYMBOLS,
    Language,
    measure,
    pieces,
    read_because,
    reading,
    record_type,
    say,
    severity,
    told,
)
from prefdata.reporting.texts import visible

if TYPE_CHECKING:
    from rich.console import Console

    from prefdata.auditor import Audit

STYLES = {
    Severity.CRITICAL: "bold red",
    Severity.MAJOR: "bold yellow",
    Severity.MINOR: "cyan",
    Severity.NOTE: "dim",
}

PLACES = 3
"""Of a finding, named in the table."""


def terminal(audit: Audit, console: Console, lang: Language = "en") -> None:
    """Prints the audit to `console`. What the data say of themselves is printed as text, never as markup."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    console.print(Text(headline(audit, lang), style="bold"), soft_wrap=True)
    because = say("semicolon", lang).join(visible(read_because(reason, lang)) for reason in audit.reasons)
    console.print(Text(because, style="dim"), soft_wrap=True)
    if audit.refused:
        console.print(Text(refused(audit, lang), style="dim"), soft_wrap=True)
    if audit.findings:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, expand=False)
        for name in ("severity", "finding"):
            table.add_column(say(name, lang), no_wrap=name == "severity", overflow="fold")
        for name in ("rows", "share"):
            table.add_column(say(name, lang), justify="right", no_wrap=True)
        table.add_column(say("where", lang), overflow="fold")
        for finding in audit.findings:
            words = told(audit, finding, lang)
            what = Text(words.title)
            what.append(f"\n{' · '.join([visible(finding.check), *figures(finding, lang)])}", style="dim")
            if finding.severity in (Severity.CRITICAL, Severity.MAJOR):
                what.append("".join(f"\n→ {piece.text}" for piece in pieces(words.cure)), style="green")
            table.add_row(
                Text(f"{SYMBOLS[finding.severity]} {severity(finding.severity, lang)}", STYLES[finding.severity]),
                what,
                Text(f"{finding.count:,}" if finding.count else "–"),
                Text(f"{100 * finding.share:.1f} %" if finding.count else "–"),
                Text(where(finding)),
            )
        console.print(table)
    console.print(Text(summary(audit, lang)), soft_wrap=True)
    if audit.what_if is not None:
        from prefdata.reporting.what_if.text import terminal as tried

        tried(audit.what_if, console, lang)


def headline(audit: Audit, lang: Language) -> str:
    """What was audited: name, type, format, rows."""
    return say(
        "headline",
        lang,
        name=visible(audit.name),
        type=record_type(audit.type.value, lang),
        format=visible(audit.format),
        rows=audit.rows,
        read=audit.read,
        unreadable=unreadable(audit),
    )


def refused(audit: Audit, lang: Language) -> str:
    """Why records are no rows, and how many for each reason, most first."""
    counted = sorted(audit.refused.items(), key=lambda one: (-one[1], one[0]))
    told = say("semicolon", lang).join(f"{cut(reading(reason, lang))} ({number:,})" for reason, number in counted)
    return f"{say('refused', lang)}{say('colon', lang)}{told}"


def summary(audit: Audit, lang: Language) -> str:
    """How many findings of each severity, and how many checks found nothing."""
    told_of = [f"{number:,} {severity(name, lang)}" for name, number in counts(audit).items() if number]
    found = {(finding.family, finding.check) for finding in audit.findings}
    quiet = sum((check.family, check.name) not in found for check in audit.checks)
    return say(
        "summary", lang, findings=say("comma", lang).join(told_of) or say("none", lang), quiet=quiet,
        checks=len(audit.checks),
    )  # fmt: skip


def figures(finding: Finding, lang: Language) -> list[str]:
    """The estimates of a finding, with their intervals, for one line."""
    return [
        f"{measure(one.name, lang)} {one.value:.3f} ({one.low:.3f} – {one.high:.3f})"
        for one in taken(dict(finding.measures))[:2]
    ]


def where(finding: Finding) -> str:
    """The first places of a finding, and how many more there are."""
    shown = [visible(place) for place in finding.places[:PLACES]]
    more = finding.count - len(shown)
    return "\n".join([*shown, f"+ {more:,}"] if shown and more > 0 else shown)
