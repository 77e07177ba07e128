"""Personal names: those of mapped name columns, and those that a greeting or an introduction gives away.

English: "Hi Anna,", "Dear Mr Smith", "my name is John Doe", "This is Kate from support", "Best regards,\\nJohn",
"^JD" at the end of a tweet. Chinese: "我叫王小明", "我是李雷，", "王先生您好". A name in free text beyond those is NOT
found, nor are nicknames or user names. What one turn gives away is replaced in the whole session.

Words that are also ordinary ones (Will, May, Rose) count alone only after a greeting, or, months aside, where they are
written with a capital inside a sentence; as part of the full name they always count.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from importlib.resources import files
from typing import NamedTuple

from prefdata.transforms.spans import is_han

NAME_GATE = "|".join(
    (
        r"(?i)\b(?:hi|hello|hey|dear|hiya|greetings|good (?:morning|afternoon|evening|day)|thanks|thank you|cheers|bye|sorry)[\s,]+\w",
        r"(?i)\b(?:mr|mrs|ms|miss|mx|dr|prof)\b",
        r"(?i)\bname(?:['’]s|\s+is|\s*[:：])|\b(?:this is|i['’]m|i am|call me|with|it['’]s)\s+\w|\b(?:regards|sincerely|wishes|faithfully|truly)\b",
        r"\w+ (?:speaking|here)\b|\^ ?\w{2,15}\W*$",
        r"我叫|我是|名字|姓名|姓|叫我|这里是|收件人|联系人|小\p{Han}|先生|女士|小姐|太太|老师|师傅",
    )
)
"""For polars: a text without a match holds no name that `find_names` could find."""


class Words(NamedTuple):
    """The lists of not_names.txt."""

    words: frozenset[str]
    months: frozenset[str]
    also_names: frozenset[str]
    surnames: frozenset[str]
    not_chinese_names: frozenset[str]


@lru_cache(maxsize=1)
def words() -> Words:
    """The word lists, read once."""
    lists: dict[str, set[str]] = {}
    current: set[str] = set()
    for line in files("prefdata.transforms").joinpath("not_names.txt").read_text("utf-8").splitlines():
        if line.startswith("family: "):
            current = lists.setdefault(line.removeprefix("family: "), set())
        elif not line.startswith("#"):
            current.update(line.split())
    return Words(**{name: frozenset(entries) for name, entries in lists.items()})


_WORD = r"[^\W\d_](?:[^\W\d_]|['’-](?=[^\W\d_]))*"
_GREETING = re.compile(
    rf"(?i:\b(?:hi|hello|hey|dear|hiya|greetings|good (?:morning|afternoon|evening|day)))[ ,]+(?:(?i:there|again)[ ,]+)?(?P<name>{_WORD}(?: {_WORD})?)"
)
_THANKS = re.compile(
    rf"(?i:\b(?:thanks|thank you|cheers|bye|goodbye|sorry|welcome))(?:,| so much,| again,| very much,)? (?P<name>{_WORD})(?=\s*(?:[.!,?\n]|$))"
)
_TITLE = re.compile(rf"\b(?:Mr|Mrs|Ms|Miss|Mx|Dr|Prof|mr|mrs|ms|MR|MRS|MS)\b\.? ?(?P<name>{_WORD}(?: {_WORD})?)")
_NAMED = re.compile(
    rf"(?i:\b(?:my|the|her|his|your) (?:full |first |last |user )?name(?: is|['’]s|:| was)|(?:^|(?<=[.!?\n,;] )|(?<=[.!?\n,;]))(?:full |first |last |customer )?name(?: is|['’]s|\s*[:：])"
    rf"|\bcall me|\bi am called|\bi['’]m called) *(?P<name>{_WORD}(?: {_WORD}){{0,2}})",
)
_THIS_IS = re.compile(
    rf"(?i:\b(?:this is|i['’]m|i am|it['’]s))(?i: agent)? (?P<name>{_WORD}(?: {_WORD}){{0,2}}?)"
    r"(?=,? (?i:from|with|at|here|speaking|calling|your|and i|and i['’](?:ll|m)|again)\b|\s*[.,!] (?i:how|i['’]ll|i will|your|what|thank))"
)
_SPEAKING = re.compile(rf"(?:^|(?<=[.!?\n,] )|(?<=[.!?\n]))(?P<name>{_WORD}) (?i:speaking|here)\b")
_WITH = re.compile(
    rf"(?i:\b(?:speaking|chatting|chat|talking|spoke|connected|assisted|helped)(?: (?:with|to|by))) (?P<name>{_WORD}(?: {_WORD})?)"
)
_SIGN_OFF = re.compile(
    rf"(?i:\b(?:regards|sincerely|best wishes|yours truly|yours faithfully|all the best|cheers|thanks|thank you|best|love)),?\s*\n+\s*[-–—~]?\s*(?P<name>{_WORD}(?: {_WORD}){{0,2}})(?=\s*(?:\n|,|$))"
    rf"|(?i:\b(?:regards|sincerely|best wishes)),? (?P<same>{_WORD}(?: {_WORD}){{0,2}})(?=\s*(?:\n|,|\.|$))"
)
_CARET = re.compile(r"(?:^|(?<=\s))\^ ?(?P<name>[A-Z][A-Za-z]{1,14})(?=\s*(?:$|https?:))")
_ASKS_NAME = re.compile(
    r"(?i:\b(?:your|full|first|last)\b[^.?!]{0,30}\bname\b)|姓名|贵姓|怎么称呼|如何称呼|您的名字|你的名字"
)
_ANSWER = re.compile(
    rf"(?i:(?:sure|yes|yeah|ok|okay|it is|it['’]s|of course)[,.! ]*)*(?P<name>{_WORD}(?: {_WORD}){{0,2}})\s*[.!]?\s*"
)
ASKS_NAME_GATE = r"(?i)\bname\b|姓|称呼|名字"
"""For polars: a turn without a match does not ask for a name."""


def find_names(text: str) -> list[tuple[int, int]]:
    """Where names stand that the words around them give away, sorted, without overlaps."""
    spans = list(_english(text))
    if any(is_han(letter) for letter in text):
        spans += _chinese(text)
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
        valid = len(name) in (2, 3, 4) and _chinese_name(name, 0) == len(name)
        return match.span("name") if valid else None
    parts = name.split(" ")
    if any(part.lower() in words().words or len(part) < 2 for part in parts) or (
        len(parts) == 1 and not parts[0][0].isupper()
    ):
        return None
    return match.span("name")


def name_parts(names: Iterable[str]) -> dict[str, str]:
    """Every form under which the persons of `names` may appear -> the person, both casefolded.

    Forms are full names and, of two letters on (Chinese) or three, their parts; a part that two persons share stands
    for itself. Values such as "Customer" or "N/A" are no names.
    """
    stop = words()
    forms: dict[str, str] = {}
    shared: set[str] = set()
    full = dict.fromkeys(" ".join(name.split()).casefold() for name in names)
    for person in sorted(full, key=lambda name: -name.count(" ")):
        parts = re.findall(_WORD, person)
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
    stop = words()
    for match in _forms_pattern(tuple(forms)).finditer(text):
        form = " ".join(match[0].casefold().split())
        if form not in forms:
            continue
        if form in stop.also_names or form in stop.months or form in stop.words:
            inside = re.search(r"[\w,;:] *$", text[: match.start()])
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


def _english(text: str) -> Iterator[tuple[int, int]]:
    for pattern, bare in (
        (_GREETING, True), (_THANKS, True), (_TITLE, False), (_THIS_IS, False), (_SPEAKING, False), (_WITH, False), (_CARET, False),
    ):  # fmt: skip
        for match in pattern.finditer(text):
            yield from _capitalised(text, match, strict=bare)
    for match in _NAMED.finditer(text):
        yield from _capitalised(text, match, strict=False, lower=True)
    for match in _SIGN_OFF.finditer(text):
        yield from _capitalised(text, match, strict=True, group="name" if match["name"] else "same")


def _capitalised(
    text: str, match: re.Match[str], *, strict: bool, lower: bool = False, group: str = "name"
) -> Iterator[tuple[int, int]]:
    """The leading words of a match that can be a name, none if the first cannot.

    `strict`: an ordinary word that is also a name counts only before punctuation or the end. `lower`: small letters do.
    """
    stop = words()
    start = end = match.start(group)
    taken: list[str] = []
    for word in re.finditer(_WORD, match[group]):
        letters = word[0].lower().replace("’", "'").removesuffix("'s")
        if not taken and letters in _TITLES:
            start = match.start(group) + word.end()
            start += len(text[start:]) - len(text[start:].lstrip(". "))
            continue
        if letters.split("'")[0] in stop.words or is_han(word[0][0]) or not (word[0][0].isupper() or lower):
            if taken and letters in ("support", "team", "service", "care", "customer"):
                return
            break
        taken.append(letters)
        end = match.start(group) + word.start() + len(letters)
    if not taken or (len(taken) == 1 and len(taken[0]) < 2):
        return
    ordinary = taken[0] in stop.also_names or taken[0] in stop.months
    if ordinary and len(taken) == 1 and strict and not re.match(r"\s*(?:[,.!?;:\n]|$)", text[end:]):
        return
    yield start, end


_TITLES = frozenset(("mr", "mrs", "ms", "miss", "mx", "dr", "prof"))
_SURNAME_CUE = re.compile(
    r"(?:我叫|名字(?:是|叫)|本人叫?|姓名\s*(?:是|为|：|:)?\s*|叫我|收件人\s*(?:是|为|：|:)\s*|联系人\s*(?:是|为|：|:)\s*)"
)
_I_AM = re.compile(r"(?:我是|这里是)(?:[^\W\d_]{0,6}客服(?:专员|代表|人员)?)?")
_LITTLE = re.compile(
    r"(?:(?:客服|专员)小(?P<name>[\u4e00-\u9fff])|(?:我是|我叫|叫我)小(?P<own>[\u4e00-\u9fff])(?![\u4e00-\u9fff]))"
)
_SURNAMED = re.compile(r"(?:我|免贵|本人|他|她|客人|顾客)姓(?P<name>[\u4e00-\u9fff])")
_HONORIFIC = re.compile(r"先生|女士|小姐|太太|老师|师傅")
_LEAD = re.compile(r"(?:^|[^\u4e00-\u9fff]|尊敬的|亲爱的|请问|感谢|谢谢|您好|你好|联系|麻烦|是|叫|找|给|和|跟)$")
_NOT_GIVEN = frozenset(
    "的了是在我你您他她它们这那个不没有要想请就都也很吗呢吧啊哦呀么什谁哪几怎电手今昨号跟从到被把让对以先女小太老师"
)


def _chinese(text: str) -> Iterator[tuple[int, int]]:
    for match in _SURNAME_CUE.finditer(text):
        length = _chinese_name(text, match.end())
        if length:
            yield match.end(), match.end() + length
    for match in _I_AM.finditer(text):
        length = _chinese_name(text, match.end())
        after = text[match.end() + length : match.end() + length + 1]
        if length and not (after and is_han(after)):
            yield match.end(), match.end() + length
    for pattern in (_LITTLE, _SURNAMED):
        for match in pattern.finditer(text):
            group = match.lastgroup or "name"
            if match[group] in words().surnames:
                yield match.span(group)
    for match in _HONORIFIC.finditer(text):
        for start in range(match.start() - 1, max(-1, match.start() - 5), -1):
            if not is_han(text[start]):
                break
            length = match.start() - start
            alone = length == 1 and text[start] in words().surnames
            whole = _LEAD.search(text[:start]) and _chinese_name(text[: match.start()], start) == length
            if whole or (alone and not _longer(text, match.start())):
                yield start, match.start()
                break


def _longer(text: str, end: int) -> bool:
    """Whether a name of two to four characters that follows a boundary ends at `end`."""
    return any(
        _LEAD.search(text[:start]) and _chinese_name(text[:end], start) == end - start
        for start in range(max(0, end - 4), end - 1)
    )


def _chinese_name(text: str, start: int) -> int:
    """Length of the Chinese name that starts at `start`, 0 where there is none; a surname alone is none."""
    stop = words()
    surname = next((size for size in (2, 1) if text[start : start + size] in stop.surnames), 0)
    if surname == 0 or any(text[start : start + size] in stop.not_chinese_names for size in (2, 3)):
        return 0
    length = surname
    while length < surname + 2 and start + length < len(text):
        letter = text[start + length]
        if not is_han(letter) or letter in _NOT_GIVEN or _HONORIFIC.match(text, start + length):
            break
        length += 1
    return length if length > surname else 0
