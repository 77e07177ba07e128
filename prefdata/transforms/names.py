"""Personal names: those of mapped name columns, and those that the words around them give away.

English: "Hi Anna,", "Dear Mr Smith", "my name is John Doe", "This is Kate from support", "Sorry for the wait, Anna.",
"Best regards,\\nJohn", "^JD" at the end of a tweet. Chinese: "我叫王小明", "王先生您好", "客服小贝为您服务".
A name in free text beyond those is NOT found, nor are user names. What one turn gives away is replaced in the whole
session.

Words that are also ordinary ones (Will, May, Rose) count alone only after a greeting, or, months aside, where they are
written with a capital inside a sentence; as part of the full name they always count.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

from prefdata.transforms.name_words import name_words
from prefdata.transforms.names_chinese import CHINESE_GATE, chinese_name_length, chinese_names
from prefdata.transforms.names_english import ENGLISH_GATE, WORD, english_names
from prefdata.transforms.spans import is_han

NAME_GATE = f"{ENGLISH_GATE}|{CHINESE_GATE}"
"""For polars: a text without a match holds no name that `find_names` could find."""

_HAN = re.compile("[\u4e00-\u9fff]")
_ASKS_NAME = re.compile(
    r"(?i:\b(?:your|full|first|last)\s+(?:(?:full|first|last|given|complete|good|legal|and|or|own)\s+)*name\b"
    r"|\bname (?:on|for) (?:your|the) (?:account|order|card|reservation|booking)\b)"
    r"|姓名|贵姓|怎么称呼|如何称呼|您的名字|你的名字"
)
_ANSWER = re.compile(
    rf"(?i:(?:sure|yes|yeah|ok|okay|it is|it['’]s|of course)[,.! ]*)*(?P<name>{WORD}(?: {WORD}){{0,2}})\s*[.!]?\s*"
)
ASKS_NAME_GATE = r"(?i)(?-u:\b)name(?-u:\b)|姓|称呼|名字"
"""For polars: a turn without a match does not ask for a name."""


def find_names(text: str) -> list[tuple[int, int]]:
    """Where names stand that the words around them give away, sorted, without overlaps."""
    spans = list(english_names(text))
    if not text.isascii() and _HAN.search(text):
        spans += chinese_names(text)
    kept: list[tuple[int, int]] = []
    for start, end in sorted(set(spans), key=lambda span: (span[0], -span[1])):
        if not kept or start >= kept[-1][1]:
            kept.append((start, end))
    return kept


def answered_name(question: str, answer: str) -> tuple[int, int] | None:
    """Where the name stands in an answer that is nothing but a name, given to a question for it."""
    if not _ASKS_NAME.search(question) or len(answer) > 60:
        return None
    match = _ANSWER.fullmatch(answer)
    if match is None:
        return None
    name = match["name"]
    if is_han(name[0]):
        valid = len(name) in (2, 3, 4) and chinese_name_length(name, 0) == len(name)
        return match.span("name") if valid else None
    parts = name.split(" ")
    if any(part.lower() in name_words().words or len(part) < 2 for part in parts) or (
        len(parts) == 1 and not parts[0][0].isupper()
    ):
        return None
    return match.span("name")


def name_parts(names: Iterable[str]) -> dict[str, str]:
    """Every form under which the persons of `names` may appear -> the person, both casefolded.

    Forms are full names and, of two letters on (Chinese) or three, their parts; a part that two persons share stands
    for itself. Values such as "Customer" or "N/A" are no names.
    """
    stop = name_words()
    forms: dict[str, str] = {}
    shared: set[str] = set()
    full = dict.fromkeys(" ".join(name.split()).casefold() for name in names)
    for person in sorted(full, key=lambda name: -name.count(" ")):
        parts = re.findall(WORD, person)
        if not parts or any(letter.isdigit() or letter in "@<>" for letter in person):
            continue
        if all(part in stop.words for part in parts) or len(person) < 2:
            continue
        if person not in forms:
            forms[person] = person
        for part in parts:
            if len(parts) < 2 or len(part) < (2 if is_han(part[0]) else 3) or part in stop.words:
                continue
            if forms.setdefault(part, person) != person and part not in full:
                shared.add(part)
    return forms | {part: part for part in shared}


def occurrences(text: str, forms: dict[str, str]) -> Iterator[tuple[int, int, str]]:
    """Where the `forms` of name_parts stand in `text`, longest first at a place: (start, end, person)."""
    stop = name_words()
    for match in _forms_pattern(tuple(forms)).finditer(text):
        form = " ".join(match[0].casefold().split())
        if form not in forms:
            continue
        if form in stop.also_names or form in stop.months or form in stop.words:
            inside = re.search(r"[\w,;:] {0,3}$", text[max(0, match.start() - 4) : match.start()])
            if form not in stop.also_names or not match[0][0].isupper() or not inside:
                continue
        yield match.start(), match.end(), forms[form]


@lru_cache(maxsize=256)
def _forms_pattern(forms: tuple[str, ...]) -> re.Pattern[str]:
    choices = []
    for form in sorted(forms, key=lambda form: (-len(form), form)):
        quoted = r"\s+".join(re.escape(part) for part in form.split())
        choices.append(quoted if is_han(form[0]) else rf"(?<![^\W_])(?<!\w['’]){quoted}(?![^\W_])")
    return re.compile("|".join(choices), re.IGNORECASE)
