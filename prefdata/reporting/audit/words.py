"""The words of an audit's report, in English and Chinese: its own, and what every check says of a finding."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, NamedTuple

from prefdata.auditing.check import Check
from prefdata.auditing.finding import Finding, Severity
from prefdata.conversion.reasons import sentence
from prefdata.reporting.texts import visible

if TYPE_CHECKING:
    from prefdata.auditor import Audit

Language = str
"""en or zh."""

READING = "reading"
"""The family of what is said of records that are no rows; their checks are reasons."""

SYMBOLS: Mapping[Severity, str] = {
    Severity.CRITICAL: "■",
    Severity.MAJOR: "▲",
    Severity.MINOR: "●",
    Severity.NOTE: "○",
}
"""A shape each, so that colour is not all that tells them apart."""


class Told(NamedTuple):
    """What a finding means, in one language."""

    title: str
    why: str
    cure: str
    source: str


class Piece(NamedTuple):
    """A part of a cure: a sentence, or code that can be pasted."""

    code: bool
    text: str


def told(audit: Audit, finding: Finding, lang: Language = "en") -> Told:
    """The title of a finding, why it matters, what to do and where it is known from."""
    if finding.family == READING:
        return _reading(finding.check, lang)
    check = next((check for check in audit.checks if check.name == finding.check), None)
    return told_of(check, lang) if check else Told(visible(plain(finding.check)), "", "", "")


def told_of(check: Check, lang: Language = "en") -> Told:
    """The words of a check. What has no translation is told in English."""
    own = _table(lang)["checks"].get(check.name, {})
    words = {"title": check.title, "why": check.why, "cure": check.cure, "source": check.source} | own
    words["cure"] = _with_code_of(words["cure"], check.cure)
    return Told(**{name: visible(text) for name, text in words.items()})


def _reading(reason: str, lang: Language) -> Told:
    told = reading(reason, lang)
    why, cure = say("reading_why", lang), say("reading_cure", lang)
    return Told(told[:1].upper() + told[1:], why, cure, "")


def reading(reason: str, lang: Language = "en") -> str:
    """Why a record is no row."""
    return str(_table(lang)["reasons"].get(reason) or visible(sentence(reason)))


_COLUMNS = re.compile(r"(?:columns?|as columns are said to be:) (?P<names>[^:]+)(?:: (?P<what>.+))?")


def read_because(reason: str, lang: Language = "en") -> str:
    """Why a file is read as a format and a type: the columns it has, and what they hold."""
    phrases: Mapping[str, str] = _table(lang).get("because", {})
    if not phrases:
        return reason
    found = _COLUMNS.fullmatch(reason)
    if not found:
        return phrases.get(reason, reason)
    names = found["names"].replace(", ", phrases["comma"])
    told = phrases["columns"].format(names=names)
    return told + (phrases["colon"] + phrases.get(found["what"], found["what"]) if found["what"] else "")


def say(name: str, lang: Language = "en", /, **values: Any) -> str:
    """A sentence of the report itself; numbers among `values` are written with separators."""
    template: str = _table(lang)["labels"].get(name) or _table("en")["labels"][name]
    return template.format(**{key: f"{one:,}" if type(one) is int else one for key, one in values.items()})


def family(name: str, lang: Language = "en") -> str:
    """What the checks of a family are about."""
    return str(_table(lang)["families"].get(name, plain(name)))


def severity(one: Severity | str, lang: Language = "en") -> str:
    """How bad, as a word."""
    return str(_table(lang)["severities"].get(str(one), str(one)))


def measure(name: str, lang: Language = "en") -> str:
    """What a figure is called."""
    return known_measure(name, lang) or plain(name)


def known_measure(name: str, lang: Language = "en") -> str | None:
    """What a figure of this name is called, where the tables have it."""
    return _table(lang)["measures"].get(name) or _table("en")["measures"].get(name)


def record_type(name: str, lang: Language = "en") -> str:
    """What the rows of a type are."""
    return str(_table(lang)["types"].get(name, plain(name)))


def plain(name: str) -> str:
    """A name in snake case as words."""
    return name.replace("_", " ")


@cache
def _table(lang: Language) -> dict[str, dict[str, Any]]:
    file = resources.files("prefdata.reporting.audit").joinpath(f"words_{lang}.json")
    table: dict[str, dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
    return table


def _with_code_of(translated: str, cure: str) -> str:
    """A translated cure whose code is that of the check today; the check's own where they cannot be matched."""
    found, own = pieces(translated), [piece.text for piece in pieces(cure) if piece.code]
    given = [piece.text for piece in found if piece.code]
    if [_bare(text) for text in given] == [_bare(text) for text in own]:
        return translated
    if len(given) != len(own):
        return cure
    rest = iter(own)
    return "\n".join(next(rest) if piece.code else piece.text for piece in found)


def _bare(code: str) -> str:
    """Code without the comments at the ends of its lines."""
    return re.sub(r"  #.*", "", code)


RECIPE_KEYS = (
    *("balance", "credit", "export", "filters", "groupings", "labels", "match", "max_context_turns", "max_length"),
    *("mix", "seed", "sessions", "signals", "sources", "split", "train", "transforms", "unjudged", "use"),
)
"""Words with which a piece of a recipe begins."""

_KEYS = "|".join(RECIPE_KEYS)

_WORD = r"(?:--?[\w-]+(?:[ =][\w./*]+)?|[A-Z]+|\S*[./]\S*[\w/])"
"""A word of a command: an option with its value, a place to fill in, a path."""

_CODE = re.compile(
    rf"^(?:{_KEYS}):$|(?:^|(?<=[;:.,；：。，] ))"
    rf"(?:(?:{_KEYS}): .+|prefdata [a-z]+(?: {_WORD})+(?:  #.*)?|build\.[a-z_.]+\([^()]*\))$"
)


def pieces(cure: str) -> list[Piece]:
    """A cure as sentences and code. Code is a line, or the end of one, that begins as a recipe, a command or a call;
    lines after it that are indented belong to it.

    Example: `pieces("Read it again; transforms: [unicode]")` is a sentence and one line of a recipe.
    """
    found: list[Piece] = []
    for line in filter(None, map(str.rstrip, cure.split("\n"))):
        follows = line[0] == " " and bool(found) and found[-1].code
        hit = None if follows else _CODE.search(line)
        code = line if follows else hit[0] if hit else ""
        before = line[: len(line) - len(code)].rstrip(" ;:,；：，")
        if before:
            mark = "" if not code or before[-1] in ".。" else "：" if before[-1] > "\u2e80" else ":"
            found.append(Piece(False, before + mark))
        if code and found and found[-1].code:
            found[-1] = Piece(True, f"{found[-1].text}\n{code}")
        elif code:
            found.append(Piece(True, code))
    return found
