"""Names that the Chinese words around them give away: 我叫王小明, 我是李雷, 客服小王, 王先生您好."""

from __future__ import annotations

import re
from collections.abc import Iterator

from prefdata.transforms.name_words import name_words
from prefdata.transforms.spans import is_han

CHINESE_GATE = (
    r"我叫|我是|名字|本人|姓|叫我|这里是|收件人|联系人|先生|女士|小姐|太太|老师|师傅"
    r"|(?:总|经理)(?:您好|你好|[，,!！：:])|客服|专员|转接[至给]|很高兴为您|谢谢[小阿]"
)
"""For polars: a text without a match holds no name that `chinese_names` could find."""

_CUE = re.compile(
    r"(?:我叫|名字(?:是|叫)|本人叫?|姓名\s*(?:是|为|：|:)?\s*|叫我|(?:收件人|联系人)\s*(?:是|为|：|:)\s*)"
)
_I_AM = re.compile(r"(?:我是|这里是|收件人|联系人)(?:[^\W\d_]{0,6}客服(?:专员|代表|人员)?)?")
_LITTLE = re.compile(r"(?:我是|我叫|叫我|谢谢)(?P<name>[小阿][\u4e00-\u9fff])(?![\u4e00-\u9fff])")
_AGENT = re.compile(
    r"(?:客服|专员)(?:(?P<little>[小阿][\u4e00-\u9fff])(?=[^\u4e00-\u9fff]|$|[为祝]您|很高兴|竭诚)"
    r"|(?P<served>[\u4e00-\u9fff]{2})(?=(?:竭诚)?为您服务|祝您))"
    r"|我是(?P<glad>[\u4e00-\u9fff]{2})[，,]\s*很高兴为您|转接[至给](?P<passed>[\u4e00-\u9fff]{2})(?![\u4e00-\u9fff])"
    r"|(?:我是|这里是|转接给|转接至|转给)[^\W\d_]{0,6}(?:客服|专员)(?P<named>[\u4e00-\u9fff]{2})(?![\u4e00-\u9fff])"
)
"""An agent by the name of the floor: 我是客服小贝, 客服文静为您服务, 转接给人工客服晓雯."""
_SURNAMED = re.compile(r"(?:我|免贵|本人|他|她|客人|顾客)姓(?P<name>[\u4e00-\u9fff])")
_HONORIFIC = re.compile(r"先生|女士|小姐|太太|老师|师傅")
_CHIEF = re.compile(r"(?:^|[^\u4e00-\u9fff])(?P<name>[\u4e00-\u9fff])(?:总|经理)(?=您好|你好|[，,!！：:])")
_LEAD = re.compile(r"(?:^|[^\u4e00-\u9fff]|尊敬的|亲爱的|请问|感谢|谢谢|您好|你好|联系|麻烦|是|叫|找|给|和|跟)$")
_NOT_GIVEN = frozenset(
    "的了是在我你您他她它们这那个不没有要想请就都也很吗呢吧啊哦呀么什谁哪几怎电手今昨号跟从到被把让对以"
)
"""Characters that go on with the sentence after a short name, and are hardly ever part of a given name."""


def chinese_names(text: str) -> Iterator[tuple[int, int]]:
    """Places of names, in no order; the honorific after a surname is left standing."""
    for match in _CUE.finditer(text):
        length = chinese_name_length(text, match.end())
        if length:
            yield match.end(), match.end() + length
    for match in _I_AM.finditer(text):
        length = chinese_name_length(text, match.end())
        after = text[match.end() + length : match.end() + length + 1]
        if length and not (after and is_han(after)):
            yield match.end(), match.end() + length
    for match in _LITTLE.finditer(text):
        if match["name"] not in name_words().not_agents:
            yield match.span("name")
    for match in _AGENT.finditer(text):
        group = match.lastgroup or "named"
        if match[group] not in name_words().not_agents and not _NOT_GIVEN.intersection(match[group]):
            yield match.span(group)
    for pattern in (_SURNAMED, _CHIEF):
        for match in pattern.finditer(text):
            if match["name"] in name_words().surnames:
                yield match.span("name")
    for match in _HONORIFIC.finditer(text):
        yield from _before_honorific(text, match.start())


def chinese_name_length(text: str, start: int) -> int:
    """Characters of the name that starts at `start`: a surname, one or two more (three after 欧阳); 0: no name."""
    lists = name_words()
    surname = next((size for size in (2, 1) if text[start : start + size] in lists.surnames), 0)
    if surname == 0 or any(text[start : start + size] in lists.not_chinese_names for size in (2, 3)):
        return 0
    length = surname
    while length < surname + surname // 2 + 2 and start + length < len(text):
        letter = text[start + length]
        if not is_han(letter) or letter in _NOT_GIVEN or _HONORIFIC.match(text, start + length):
            break
        length += 1
    return length if length > surname else 0


def _before_honorific(text: str, end: int) -> Iterator[tuple[int, int]]:
    """The longest name between a boundary and the honorific at `end`, else the surname right before it."""
    for start in range(max(0, end - 4), end - 1):
        if _LEAD.search(text[max(0, start - 4) : start]) and chinese_name_length(text[start:end], 0) == end - start:
            yield start, end
            return
    for size in (2, 1):
        if end >= size and text[end - size : end] in name_words().surnames:
            yield end - size, end
            return
