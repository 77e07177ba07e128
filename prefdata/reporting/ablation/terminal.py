"""An ablation in the terminal: a table of what was left out, with differences, intervals and verdicts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prefdata.reporting.ablation.words import SYMBOLS, Language, arm, head, headline, say, short, signed, summary
from prefdata.reporting.texts import visible

if TYPE_CHECKING:
    from rich.console import Console

STYLES = {"pays": "bold green", "harms": "bold red", "not_shown": "", "no_rows": "dim"}


def terminal(result: dict[str, Any], console: Console, lang: Language = "en") -> None:
    """Prints the result to `console`; what changes no training row is named below the table."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    console.print(Text(visible(headline(result, lang)), style="bold"), soft_wrap=True)
    console.print(Text(visible(full_line(result, lang)), style="dim"), soft_wrap=True)
    compared = [one for one in result["arms"] if one["verdict"] != "no_rows"]
    if compared:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, expand=False)
        table.add_column(say("left_out", lang), overflow="fold")
        for name in ("restored_short", "difference", "detectable_short"):
            table.add_column(say(name, lang), justify="right", no_wrap=name == "difference")
        table.add_column(say("verdict", lang), no_wrap=True)
        for one in compared:
            found = one["difference"]
            table.add_row(
                Text(visible(short(one, lang))),
                Text(f"{one['restored']:,}"),
                Text(f"{signed(found['value'])}\n{signed(found['low'])} – {signed(found['high'])}"),
                Text(f"{found['detectable']:.4f}"),
                Text(f"{SYMBOLS[one['verdict']]} {say(one['verdict'] + '_short', lang)}", STYLES[one["verdict"]]),
            )
        console.print(table)
    else:
        console.print(Text(say("nothing", lang)))
    unused = [visible(arm(one["name"], lang)) for one in result["arms"] if one["verdict"] == "no_rows"]
    if unused:
        console.print(Text(say("unused", lang, names=", ".join(unused)), style="dim"), soft_wrap=True)
    console.print(Text(summary(result, lang)), soft_wrap=True)


def full_line(result: dict[str, Any], lang: Language) -> str:
    """What the head trained on the full recipe comes to."""
    metric = result["metric"]
    found = result["full"]["clean"][metric]
    figure = f"{say(metric, lang)} {found['value']:.3f} ({found['low']:.3f} – {found['high']:.3f})"
    return f"{head(result, lang)}; {say('full', lang)}: {figure}"
