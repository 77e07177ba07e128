"""A diff in the terminal: rows, labels, findings, distributions; places and figures, no text of any row."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefdata.comparing.findings import Status
from prefdata.comparing.labels import KEPT
from prefdata.reporting.audit.terminal import STYLES
from prefdata.reporting.audit.values import cut
from prefdata.reporting.audit.words import SYMBOLS, record_type, severity
from prefdata.reporting.diff.json import places
from prefdata.reporting.diff.words import (
    Language,
    command,
    effect,
    moved,
    percent,
    relabelled,
    say,
    seen,
    side_line,
    title,
)

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from prefdata.comparing.shapes import Shape
    from prefdata.comparison import Comparison

PLACES = 3
"""Named of each kind of rows."""

COLOURS = {Status.NEW: "bold red", Status.WORSE: "yellow", Status.BETTER: "green", Status.GONE: "green"}


def terminal(found: Comparison, console: Console, lang: Language = "en") -> None:
    """Prints the comparison to `console`. What the data say of themselves is printed as text, never as markup."""
    from rich.text import Text

    for side, mark in ((found.a, "A"), (found.b, "B")):
        console.print(Text(side_line(side, mark, lang), style="bold"), soft_wrap=True)
    for part in (_rows(found, lang), *_findings(found, lang), _shapes(found, lang)):
        if part is not None:
            console.print(part)
    for line in [*label_lines(found, lang), *summary(found, lang)]:
        console.print(Text(line), soft_wrap=True)


def label_lines(found: Comparison, lang: Language = "en") -> list[str]:
    """What became of labels, margins and confidences, a sentence each."""
    labels = found.labels
    if labels is None or not labels.rows:
        return []
    name = "swaps_note" if KEPT in labels.table else "labels_note"
    told = [say(name, lang, rows=labels.rows, changed=labels.changed, share=percent(labels.changed / labels.rows))]
    for number, one in labels.numbers.items():
        if one.changed:
            mean = f"{one.mean:+.4g}" if one.mean is not None else "–"
            told.append(
                say("moved", lang, name=say(f"number_{number}", lang), changed=one.changed, rows=one.rows, mean=mean)
            )
    return told


def summary(found: Comparison, lang: Language = "en") -> list[str]:
    """All in a line or a few."""
    told = []
    if found.rows is None:
        kinds = {mark: record_type(side.type.value, lang) for mark, side in (("a", found.a), ("b", found.b))}
        told.append(f"{say('other_types', lang, **kinds)} {command(found)}")
    if found.findings is not None:
        counts = {status.value: sum(one.status is status for one in found.findings) for status in Status}
        told.append(say("summary_findings", lang, **counts))
    clear = sum(one.clear for one in found.shapes)
    told.append(say("summary_shapes", lang, clear=clear, all=len(found.shapes)))
    if found.rows is not None:
        counts = {
            name: len(getattr(found.rows, name)) for name in ("same", "relabelled", "changed", "only_a", "only_b")
        }
        told.append(say("summary", lang, **counts))
    return told


def kinds(found: Comparison) -> list[tuple[str, int, list[str]]]:
    """Each kind of rows: its name, how many, and the first places, in B where there are any."""
    rows = found.rows
    if rows is None:
        told = zip(("prompts_both", "prompts_only_a", "prompts_only_b"), (2, 0, 1), strict=True)
        return [(name, found.prompts[at], []) for name, at in told]
    pairs = [(relabelled(found), rows.relabelled), ("changed", rows.changed)]
    return [
        ("same", rows.same.height, []),
        *((name, frame.height, places(found.b, frame["b"].head(PLACES))) for name, frame in pairs),
        ("only_a", len(rows.only_a), places(found.a, rows.only_a.head(PLACES))),
        ("only_b", len(rows.only_b), places(found.b, rows.only_b.head(PLACES))),
    ]


def _table(*columns: str, right: int = 0) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, expand=False)
    for at, name in enumerate(columns):
        table.add_column(name, justify="right" if right and at == right else "left", overflow="fold")
    return table


def _rows(found: Comparison, lang: Language) -> Table:
    from rich.text import Text

    table = _table(say("what", lang), say("rows", lang), say("where", lang), right=1)
    for name, number, where in kinds(found):
        more = number - len(where)
        shown = [cut(one) for one in where] + ([f"+ {more:,}"] if where and more > 0 else [])
        table.add_row(say(name, lang), f"{number:,}", Text(", ".join(shown)))
    return table


def _findings(found: Comparison, lang: Language) -> list[Table]:
    from rich.text import Text

    moving = [one for one in found.findings or () if one.status is not Status.SAME]
    if not moving:
        return []
    table = _table(*(say(name, lang) for name in ("status", "severity", "finding", "in_a", "in_b", "difference")))
    for one in moving:
        what = Text(title(found, one, lang))
        told = [cut(one.check)]
        told += [say("rows_new", lang, rows=one.rows_new)] if one.rows_new else []
        told += [cut(place) for place in one.places[:PLACES]]
        what.append("\n" + " · ".join(told), style="dim")
        table.add_row(
            Text(say(f"status_{one.status}", lang), COLOURS[one.status]),
            Text(f"{SYMBOLS[one.severity]} {severity(one.severity, lang)}", STYLES[one.severity]),
            what,
            Text(seen(one.a)),
            Text(seen(one.b)),
            Text(moved(one.difference, lang)),
        )
    return [table]


def _shapes(found: Comparison, lang: Language) -> Table | None:
    from rich.text import Text

    clear = [one for one in found.shapes if one.clear]
    if not clear:
        return None
    table = _table(*(say(name, lang) for name in ("distribution", "in_a", "in_b", "effect")))
    for one in clear:
        table.add_row(
            say(f"shape_{one.name}", lang),
            *(Text(side) for side in middles(one, lang)),
            Text("; ".join(effect(one.effect, lang))),
        )
    return table


def middles(shape: Shape, lang: Language = "en") -> tuple[str, str]:
    """Each side of a distribution in a few words: median and mean, or the shares of the values that moved most."""
    if shape.numbers is not None:
        one, other = (
            f"{say('median', lang)} {side.quantiles[2]:,.4g}, {say('mean', lang)} {side.mean:,.4g}"
            for side in shape.numbers
        )
        return one, other
    found = sorted(shares(shape), key=lambda row: -abs(row[1] - row[2]))[:PLACES]
    return (
        ", ".join(f"{named(value, lang)} {percent(share)}" for value, share, _ in found),
        ", ".join(f"{named(value, lang)} {percent(share)}" for value, _, share in found),
    )


def shares(shape: Shape) -> list[tuple[str | None, float, float]]:
    """Each value of a distribution with its share of either side."""
    totals = sum(one.a for one in shape.values) or 1, sum(one.b for one in shape.values) or 1
    return [(one.value, one.a / totals[0], one.b / totals[1]) for one in shape.values]


def named(value: str | None, lang: Language = "en") -> str:
    """A value of a distribution, as it is called."""
    from prefdata.comparing.shapes import OTHERS

    if value is None:
        return say("none_told", lang)
    return say("others", lang) if value == OTHERS else cut(value, 60)
