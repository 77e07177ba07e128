"""A preflight as Markdown, for the comment of a pull request: figures, findings, rows and cures, no text of any row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prefdata.reporting.audit.markdown import code, escaped
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

PLACES = 5
"""Of a finding, named in a comment."""


def markdown(records: Sequence[Mapping[str, Any]]) -> str:
    """The preflights as GitHub's Markdown."""
    return "\n\n".join(_one(record) for record in records)


def _one(record: Mapping[str, Any]) -> str:
    lines = [f"## Preflight of {code(record['name'])}", "", escaped(headline(record)), "", escaped(kept(record)), ""]
    if told := trained(record):
        lines += [escaped(told), ""]
    lines += [line for told in [*lengths(record), *pictures(record)] for line in (escaped(told), "")]
    for view, found in by_view(record["findings"]).items():
        if "trl" in record["figures"]:
            lines += [f"### {VIEWS[view]}", ""]
        lines += ["| severity | finding | rows | share | where |", "| --- | --- | ---: | ---: | --- |"]
        lines += [_row(finding) for finding in found]
        lines += ["", *_cures(found)]
    return "\n".join([*lines, escaped(summary(record))])


def _row(finding: Mapping[str, Any]) -> str:
    more = finding["count"] - len(finding["ids"][:PLACES])
    places = ", ".join(code(one) for one in finding["ids"][:PLACES])
    cells = [
        f"{SYMBOLS[finding['severity']]} {finding['severity']}",
        " · ".join([f"{escaped(finding['title'])} ({code(finding['check'])})", *map(escaped, figures(finding))]),
        f"{finding['count']:,}" if finding["count"] else "–",
        f"{100 * finding['share']:.1f} %" if finding["count"] else "–",
        f"{places}, + {more:,}" if places and more > 0 else places,
    ]
    return f"| {' | '.join(cells)} |"


def _cures(findings: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = ["<details><summary>Why it matters, and what to do</summary>", ""]
    for finding in findings:
        threads = f" Seen in {', '.join(map(code, finding['threads']))}." if finding["threads"] else ""
        cure = f"What to do: {escaped(finding['cure'])}."
        lines.append(f"- **{escaped(finding['title'])}.** {escaped(finding['why'])} {cure}{threads}")
    return [*lines, "", "</details>", ""]
