"""A diff as Markdown, for the comment of a pull request: counts, places and figures, no text of any row."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefdata.comparing.findings import Status
from prefdata.reporting.audit.markdown import code, escaped
from prefdata.reporting.audit.words import SYMBOLS, record_type, severity
from prefdata.reporting.diff.terminal import kinds, label_lines, middles, summary
from prefdata.reporting.diff.words import Language, command, effect, moved, say, seen, side_line, title

if TYPE_CHECKING:
    from prefdata.comparison import Comparison

FINDINGS = 60
"""In a comment, which GitHub cuts off at 65,536 characters."""

PLACES = 5
"""Named of each finding."""


def to_markdown(found: Comparison, *, lang: Language = "en") -> str:
    """The comparison as GitHub's Markdown."""
    lines = [f"## {say('diff_of', lang, a=code(found.a.name), b=code(found.b.name))}", ""]
    lines += [f"- {escaped(side_line(side, mark, lang))}" for side, mark in ((found.a, "A"), (found.b, "B"))]
    lines.append("")
    if found.rows is None:
        kind = {mark: record_type(side.type.value, lang) for mark, side in (("a", found.a), ("b", found.b))}
        lines += [escaped(say("other_types", lang, **kind)), "", "```sh", command(found), "```", ""]
    lines += _table([say(name, lang) for name in ("what", "rows", "where")], _rows(found, lang), "-:-")
    lines += [*(escaped(line) for line in label_lines(found, lang)), ""]
    if found.findings is not None:
        heads = [say(name, lang) for name in ("status", "severity", "finding", "in_a", "in_b", "difference", "where")]
        cells = _findings(found, lang)
        lines += [f"### {say('findings_title', lang)}", ""]
        if cells:
            lines += _table(heads, cells[:FINDINGS], "-------")
        lines += [escaped(say("more", lang, number=len(cells) - FINDINGS)), ""] if len(cells) > FINDINGS else []
    clear = [one for one in found.shapes if one.clear]
    if clear:
        heads = [say(name, lang) for name in ("distribution", "in_a", "in_b", "effect")]
        cells = [
            [escaped(each) for each in (say(f"shape_{one.name}", lang), *middles(one, lang))]
            + [escaped("; ".join(effect(one.effect, lang)))]
            for one in clear
        ]
        lines += [f"### {say('distributions_title', lang)}", "", *_table(heads, cells, "----")]
    if found.runs is not None:
        lines += _runs(found, lang)
    told = summary(found, lang)
    return "\n".join([*lines, *(escaped(line) + "  " for line in (told[1:] if found.rows is None else told))]).rstrip()


def _table(heads: list[str], rows: list[list[str]], align: str) -> list[str]:
    rule = " | ".join("---:" if one == ":" else "---" for one in align)
    return [f"| {' | '.join(heads)} |", f"| {rule} |", *(f"| {' | '.join(cells)} |" for cells in rows), ""]


def _rows(found: Comparison, lang: Language) -> list[list[str]]:
    rows = []
    for name, number, where in kinds(found):
        more = number - len(where)
        shown = [code(one) for one in where] + ([f"+ {more:,}"] if where and more > 0 else [])
        rows.append([say(name, lang), f"{number:,}", ", ".join(shown)])
    return rows


def _findings(found: Comparison, lang: Language) -> list[list[str]]:
    return [
        [
            f"**{say(f'status_{one.status}', lang)}**",
            f"{SYMBOLS[one.severity]} {severity(one.severity, lang)}",
            f"{escaped(title(found, one, lang))} ({code(one.check)})",
            seen(one.a),
            seen(one.b),
            escaped(moved(one.difference, lang)),
            ", ".join(code(place) for place in one.places[:PLACES]),
        ]
        for one in found.findings or ()
        if one.status is not Status.SAME
    ]


def _runs(found: Comparison, lang: Language) -> list[str]:
    assert found.runs is not None
    heads = [say(name, lang) for name in ("rows_title", "step", "reason", "rows")]
    cells = [
        [say(what, lang), escaped(one["step"]), code(one["reason"]), f"{one['rows']:,}"]
        for what in ("came", "went")
        for one in found.runs["steps"][what]
    ]
    lines = [f"### {say('runs_title', lang)}", ""]
    return [*lines, *(_table(heads, cells, "---:") if cells else []), escaped(kept_line(found, lang)), ""]


def kept_line(found: Comparison, lang: Language = "en") -> str:
    """How many rows two runs kept, and what came and went."""
    runs = found.runs
    assert runs is not None
    return say(
        "kept_line",
        lang,
        before=runs["before"]["kept"],
        after=runs["after"]["kept"],
        came=len(runs["came"]),
        went=len(runs["went"]),
        stayed=runs["kept_in_both"],
    )
