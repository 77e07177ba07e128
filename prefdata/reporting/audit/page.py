"""report.html of an audit: one self-contained page, findings first, each with its rows.

All that stands in the data is shown as text: escaped, held in its own direction, characters that a browser would hide
or obey written as their code points. The page may run its own script and no other, by its hash, and load nothing.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefdata.auditing.finding import Example, Finding, Severity
from prefdata.reporting import pages
from prefdata.reporting.audit import charts as audit_charts
from prefdata.reporting.audit.estimates import dots
from prefdata.reporting.audit.json import counts, unreadable
from prefdata.reporting.audit.values import cut, shown
from prefdata.reporting.audit.words import (
    SYMBOLS,
    Language,
    family,
    pieces,
    read_because,
    reading,
    record_type,
    say,
    severity,
    told,
    told_of,
)
from prefdata.reporting.drawing.rows import lines_of
from prefdata.reporting.policy import policy
from prefdata.reporting.texts import HIDDEN, MAX_CHARS
from prefdata.reporting.what_if import page as what_if_page
from prefdata.reporting.what_if import words as what_if_words

if TYPE_CHECKING:
    from prefdata.auditor import Audit

NAME_CHARS = 160
"""Of a name of a file, a place or a value, shown before it is cut."""

PLACES_BYTES = 4 * 2**20
"""Of places in a page, all findings together; report.json has those that are left out."""

TALL = 20
"""Line ends in an example's text from which on it scrolls in a box of its own."""

COLUMNS = 3
"""Charts beside each other at a glance."""

HTML_LANGUAGES = {"en": "en", "zh": "zh-CN"}

PREDICTING = frozenset({"shortcuts", "trainability"})
"""Families whose areas are of the preference; others tell halves of a file apart, or labels already doubted."""


def write_page(audit: Audit, path: Path, *, lang: Language = "en") -> Path:
    """Writes the page of an audit to `path` and returns it. The file is readable by its owner only."""
    return pages.write(render(audit, lang=lang), path)


def render(audit: Audit, *, lang: Language = "en") -> str:
    """The page as HTML; equal audits give equal pages."""
    from markupsafe import Markup

    environment = pages.environment()
    environment.filters.update(
        prose=prose,
        count=lambda value: f"{value:,}",
        percent=_percent,
        safe_text=text,
        name=name,
        width=lambda value: f"{value:g}%",
    )
    environment.globals.update(
        say=lambda key, **values: say(key, lang, **values),
        wi=lambda key, **values: what_if_words.say(key, lang, **values),
    )
    sheets = ("style.css.jinja", "drawing.css", "audit.css", *(["what_if.css"] if audit.what_if else []))
    style = "".join(environment.get_template(sheet).render() for sheet in sheets)
    script = environment.get_template("audit.js").render()
    budget = _Budget()
    found = {(finding.family, finding.check) for finding in audit.findings}
    findings = [_finding(audit, at, finding, budget, lang) for at, finding in enumerate(audit.findings)]
    return environment.get_template("audit.html.jinja").render(
        audit=audit,
        language=HTML_LANGUAGES[lang],
        policy=policy(style, script),
        style=Markup(style),
        script=Markup(script),
        type=record_type(audit.type.value, lang),
        unreadable=unreadable(audit),
        reasons=[read_because(one, lang) for one in audit.reasons],
        refused=[
            {"reason": reason, "title": reading(reason, lang), "count": number}
            for reason, number in sorted(audit.refused.items(), key=lambda one: (-one[1], one[0]))
        ],
        severities=[
            {"name": one.value, "symbol": SYMBOLS[one], "word": severity(one, lang), "count": number}
            for one, number in zip(Severity, counts(audit).values(), strict=True)
        ],
        findings=findings,
        families=list(dict.fromkeys((one["family"], one["family_word"]) for one in findings)),
        glance=_glance(audit, lang),
        quiet=_quiet(audit, found, lang),
        what_if=what_if_page.view(audit.what_if, lang) if audit.what_if else None,
        quiet_count=sum((check.family, check.name) not in found for check in audit.checks),
    )


class _Budget:
    """How many bytes of places may still go into the page."""

    def __init__(self) -> None:
        self.left = PLACES_BYTES

    def taken(self, places: tuple[str, ...]) -> list[str]:
        found = []
        for place in places:
            self.left -= min(len(place), NAME_CHARS) + 24
            if self.left < 0:
                break
            found.append(place)
        return found


def _finding(audit: Audit, at: int, finding: Finding, budget: _Budget, lang: Language) -> dict[str, Any]:
    words = told(audit, finding, lang)
    places = budget.taken(finding.places)
    return {
        "id": f"finding-{at + 1}",
        "at": at,
        "check": finding.check,
        "family": finding.family,
        "family_word": family(finding.family, lang),
        "severity": finding.severity.value,
        "rank": finding.severity.rank,
        "symbol": SYMBOLS[finding.severity],
        "severity_word": severity(finding.severity, lang),
        "count": finding.count,
        "total": finding.total,
        "share": finding.share,
        "title": words.title,
        "why": words.why,
        "source": words.source,
        "cure": pieces(words.cure),
        "drawings": [
            {**one, "chart": audit_charts.picture(one, words.title)}
            for one in audit_charts.drawn(finding.measures, lang)
        ],
        "examples": [_example(one, lang) for one in finding.examples],
        "places": places,
        "more_places": finding.count - len(places),
        "open": finding.severity in (Severity.CRITICAL, Severity.MAJOR),
    }


def _example(example: Example, lang: Language) -> dict[str, Any]:
    sides = [
        {
            "side": side,
            "name": say(f"side_{side}", lang),
            "text": content[:MAX_CHARS],
            "tall": content.count("\n", 0, MAX_CHARS) > TALL,
            "note": _told_length(content, example.chars.get(side, len(content)), lang),
        }
        for side, content in example.texts.items()
    ]
    return {
        "place": example.place,
        "note": example.note,
        "sides": sides,
        "label": example.label,
        "margin": "" if example.margin is None else shown("margin", example.margin, lang),
    }


def _told_length(content: str, chars: int, lang: Language) -> str:
    """What is said below a text: that it is empty, or of how many characters these are the first."""
    if not content:
        return say("empty_text", lang)
    shown = min(len(content), MAX_CHARS)
    return say("cut_text", lang, shown=shown, chars=max(chars, len(content))) if chars > shown else ""


def _glance(audit: Audit, lang: Language) -> dict[str, Any] | None:
    """How well each thing that was measured tells the better answer from the worse, in one chart."""
    named = [
        (f"finding-{at + 1}", *one)
        for at, finding in enumerate(audit.findings)
        if finding.family in PREDICTING
        for one in audit_charts.baselines(finding.measures, told(audit, finding, lang).title, lang)
    ]
    # a figure that two checks tell stands once, under its shorter name
    named = list({one[2][1:]: one for one in sorted(named, key=lambda one: -len(one[1]))}.values())
    if len(named) < 2:
        return None
    named.sort(key=lambda one: (-abs(one[2].value - 0.5), one[1]))
    (drawing,) = dots(
        [one for _, _, one in named],
        lang,
        names=[name for _, name, _ in named],
        anchors=[anchor for anchor, _, _ in named],
    )
    # beside each other where there is room, below each other where there is none, all on one axis
    rows, column = drawing["rows"], -(-len(named) // min(COLUMNS, -(-len(named) // 3)))
    lines = lines_of([(row.name, row.text) for row in rows])
    equal = {**drawing, "title": "", "lines": lines}
    parts = [{**equal, "rows": rows[at : at + column]} for at in range(0, len(rows), column)]
    return {
        "charts": [audit_charts.picture(part, say("glance", lang)) for part in parts],
        "meaning": drawing["meaning"],
    }


def _quiet(audit: Audit, found: set[tuple[str, str]], lang: Language) -> list[dict[str, Any]]:
    """The checks that found nothing, by family."""
    groups: dict[str, list[dict[str, str]]] = {}
    for check in audit.checks:
        if (check.family, check.name) not in found:
            one = {"check": check.name, "title": told_of(check, lang).title}
            groups.setdefault(check.family, []).append(one)
    return [{"family": family(key, lang), "checks": checks} for key, checks in groups.items()]


def text(content: str) -> Any:
    """A text of the data as HTML: escaped, with everything that a browser would hide or obey as marked code points."""
    from markupsafe import Markup, escape

    parts = [
        Markup('<span class="code-point">{}</span>').format(part[1:-1]) if at % 2 else escape(part)
        for at, part in enumerate(_MARK.split(_with_marks(content)))
    ]
    return Markup("").join(parts)


def prose(content: str) -> Any:
    """A sentence of ours as HTML: what stands between backticks is code."""
    from markupsafe import Markup, escape

    parts = content.split("`")
    if len(parts) % 2 == 0:
        return escape(content)
    wrapped = (Markup("<code>{}</code>").format(part) if at % 2 else escape(part) for at, part in enumerate(parts))
    return Markup("").join(wrapped)


_MARK = re.compile("(\x01[^\x02]*\x02)")


def _with_marks(content: str) -> str:
    """The text with hidden characters as code points between U+0001 and U+0002, which stand for nothing else then."""
    import unicodedata

    return "".join(
        one if one in "\n\t" or unicodedata.category(one) not in HIDDEN else f"\x01U+{ord(one):04X}\x02"
        for one in content.replace("\r\n", "\n")
    )


def name(content: str) -> str:
    """A name of the data on one line: a file, a place, a value; cut with its length told where it is long."""
    return cut(content, NAME_CHARS)


def _percent(share: float) -> str:
    if 0 < share < 0.001:
        return "< 0.1 %"
    return f"{100 * share:.1f} %"
