"""An audit as Markdown, for the comment of a pull request: findings, places and cures, no text of any row."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from prefdata.reporting.audit.terminal import headline, refused, summary
from prefdata.reporting.audit.words import SYMBOLS, Language, pieces, say, severity, told
from prefdata.reporting.texts import visible

if TYPE_CHECKING:
    from prefdata.auditing.gate import Fresh
    from prefdata.auditor import Audit

PLACES = 5
"""Of a finding, named in a comment."""

FINDINGS = 60
"""In a comment, which GitHub cuts off at 65,536 characters."""

NAME = 200
"""Characters of a name or place."""


def to_markdown(audit: Audit, *, new: Sequence[Fresh] | None = None, lang: Language = "en") -> str:
    """The audit as GitHub's Markdown. `new`: what a baseline did not have; told first, the rest is folded."""
    lines = [f"## {say('audit_of', lang, name=code(audit.name))}", "", escaped(headline(audit, lang)), ""]
    if audit.refused:
        lines += [escaped(refused(audit, lang)), ""]
    if new is not None:
        lines += _new(audit, new, lang)
    if audit.findings:
        table = _table(audit, lang)
        if new is not None:
            title = escaped(say("all_findings", lang, number=len(audit.findings)))
            table = [f"<details><summary>{title}</summary>", "", *table, "", "</details>"]
        lines += [*table, "", *_cures(audit, lang)]
    if audit.what_if is not None:
        from prefdata.reporting.what_if.text import markdown

        lines += markdown(audit.what_if, lang)
    return "\n".join([*lines, escaped(summary(audit, lang))])


def _new(audit: Audit, new: Sequence[Fresh], lang: Language) -> list[str]:
    if not new:
        return [f"**{say('nothing_new', lang)}**", ""]
    lines = [f"### {say('new_findings', lang)}", ""]
    for one in new[:FINDINGS]:
        words = told(audit, one.finding, lang)
        how = say("new_rows", lang, rows=one.rows) if one.rows else say("whole_set", lang)
        where = f": {_places(one.places, one.rows)}" if one.places else ""
        mark = f"{SYMBOLS[one.finding.severity]} **{severity(one.finding.severity, lang)}**"
        lines.append(f"- {mark} {escaped(words.title)} ({how}){where}")
    return [*lines, ""]


def _table(audit: Audit, lang: Language) -> list[str]:
    names = [say(name, lang) for name in ("severity", "finding", "rows", "share", "where")]
    lines = [f"| {' | '.join(names)} |", "| --- | --- | ---: | ---: | --- |"]
    for finding in audit.findings[:FINDINGS]:
        cells = [
            f"{SYMBOLS[finding.severity]} {severity(finding.severity, lang)}",
            f"{escaped(told(audit, finding, lang).title)} ({code(finding.check)})",
            f"{finding.count:,}" if finding.count else "–",
            f"{100 * finding.share:.1f} %" if finding.count else "–",
            _places(finding.places, finding.count),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    more = len(audit.findings) - FINDINGS
    return [*lines, f"| | {say('more', lang, number=more)} | | | |"] if more > 0 else lines


def _cures(audit: Audit, lang: Language) -> list[str]:
    lines = [f"<details><summary>{say('what_to_do', lang)}</summary>", ""]
    for finding in audit.findings[:FINDINGS]:
        words = told(audit, finding, lang)
        lines += [f"**{escaped(words.title)}** {_prose(words.why)}", ""]
        for piece in pieces(words.cure):
            lines += [f"```{_language(piece.text)}", piece.text, "```", ""] if piece.code else [_prose(piece.text), ""]
    return [*lines, "</details>", ""]


def _language(piece: str) -> str:
    return "sh" if piece.startswith("prefdata ") else "python" if piece.startswith("build.") else "yaml"


def _places(places: Sequence[str], count: int) -> str:
    shown = [code(place) for place in places[:PLACES]]
    more = count - len(shown)
    return ", ".join([*shown, f"+ {more:,}"] if shown and more > 0 else shown)


_LINKING = re.compile(r"[@#]|(?<=[A-Za-z]):(?=//)|^[-+=!]|^\d+(?=[.)])|(?<=www)\.")
"""What GitHub makes mentions, references and links of, or a list where it begins a line."""


def escaped(text: str) -> str:
    """Text that Markdown shows as it is, on one line: no markup, no link, no mention of a user."""
    text = " ".join(visible(text).split())
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(r"[\\`*_\[\]|~$]", r"\\\g<0>", text)
    return _LINKING.sub(lambda found: _entities(found[0]), text)


def _prose(text: str) -> str:
    """A sentence of ours: what stands between backticks is code."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return escaped(text)
    return "".join(code(part) if at % 2 else _spaced(part) for at, part in enumerate(parts))


def _spaced(text: str) -> str:
    """Escaped text with the blanks at its ends."""
    return f"{' ' * text[:1].isspace()}{escaped(text)}{' ' * text[-1:].isspace()}"


def _entities(text: str) -> str:
    return "".join(f"&#{ord(one)};" for one in text)


def code(text: str) -> str:
    """A name as code, cut where it is long; backticks and bars cannot end it."""
    text = " ".join(visible(text).split()).replace("`", "'").replace("|", "¦")
    if len(text) > NAME:
        text = f"{text[:NAME]}… ({len(text):,})"
    return f"`{text}`" if text else ""
