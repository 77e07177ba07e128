"""Names that the English words around them give away: greetings, titles, introductions, forms of address, sign-offs."""

from __future__ import annotations

import re
from collections.abc import Iterator

from prefdata.transforms.name_words import name_words
from prefdata.transforms.spans import is_han

_HELLO = "hi|hello|hey|dear|hiya|greetings|good (?:morning|afternoon|evening|day)"
_THANK = "thanks|thank you|cheers|bye|goodbye|sorry|welcome"
_SO_MUCH = "(?: so much| again| very much)?"
_TITLES = "Mr|Mrs|Ms|Miss|Mx|Dr|Prof|mr|mrs|ms|MR|MRS|MS"
_TALK = "(?:(?:speaking|chat|chatting|talking|spoke|connected|assisted|helped) (?:with|to|by)|handed over from bot to)"
_CLOSING = "regards|sincerely|best wishes|yours truly|yours faithfully|all the best"
_LOOSE_CLOSING = "cheers|thanks|thank you|best|love"
_LEADING_UP = (
    "(?:sorry|apologies|apologi[sz]e|thank you|thanks|understand|appreciate|you(?:['’]re| are) right to)"
    "(?: [a-z'’]+){0,7}"
)
_ADDRESSING = (
    "(?:(?:good|great|fair|excellent) (?:question|point)|no (?:problem|worries)|(?:my|a) pleasure|of course|absolutely"
    "|certainly|not at all|you(?:['’]re| are)(?: absolutely| quite| completely| so)? (?:right|welcome)|for you"
    "|with you|help you|assist you|(?:there|here) you (?:go|are)|welcome(?: back)?|happy to help|glad to help)"
)
_CALLING = "(?:yes|no|sure|okay|please|look|listen)"

ENGLISH_GATE = "|".join(
    (
        rf"(?i:(?-u:\b)(?:{_HELLO})[ ,]+(?:(?:there|again)[ ,]+)?)\p{{Lu}}",
        rf"(?i:(?-u:\b)(?:{_THANK}){_SO_MUCH},? )\p{{Lu}}",
        rf"(?-u:\b)(?:{_TITLES})(?-u:\b)\.? ?\p{{Lu}}",
        r"(?i:(?-u:\b)(?:names?(?:['’]s|\s+is|\s+was|\s*[:：])|names |call me|i am called|i['’]m called))",
        rf"(?i:(?-u:\b)(?:this is|i['’]m|i am)(?: agent)? |(?-u:\b){_TALK} )\p{{Lu}}",
        rf"(?i:(?-u:\b)(?:{_CLOSING}|{_LOOSE_CLOSING})),?\s*\n",
        rf"(?i:(?-u:\b)(?:{_CLOSING})),? \p{{Lu}}",
        r"\p{Lu}\S* (?i:speaking|here)(?-u:\b)",
        r"\^ ?[A-Z]|[.!?] ?[-–—~] ?[A-Z]",
        r"(?i:(?-u:\b)(?:best|love|yours), )\p{Lu}|(?i:it['’]s )\p{Lu}",
        rf"(?i:(?-u:\b)(?:{_LEADING_UP}|{_ADDRESSING}|{_CALLING})), \p{{Lu}}",
        r"\n\s*\p{Lu}\S* from \p{Lu}",
    )
)
"""For polars: a text without a match holds no name that `english_names` could find. The ASCII word boundary is meant:
with the Unicode one the regular expression engine is forty times as slow on Chinese text."""

WORD = r"[^\W\d_](?:[^\W\d_]|['’-](?=[^\W\d_]))*"
"""One word of letters of any script, with apostrophes and hyphens inside."""

_GREETING = re.compile(
    rf"(?i:\b(?:{_HELLO}))[ ,]+(?:(?i:there|again)[ ,]+)?"
    rf"(?=(?P<name>{WORD}(?: {WORD}|(?<=\b[MmD][rsRS])\. ?{WORD}){{0,3}}))"
)
_EMOJI = "[\U0001f300-\U0001faff\u2600-\u27bf]|:-?\\)|;-?\\)|<3"
_STARTS = (
    "(?:I|I['’]m|I['’]ve|My|The|You|Your|We|Our|It|It['’]s|This|That|Please|If|And|Also|Can|Could|PS|Order|Bye|Have"
    "|Thanks|Let)"
)
_NEXT = rf"(?= {_STARTS}\b)"  # the next sentence begins without a full stop, as customers write after signing
_THANKS = re.compile(rf"(?i:\b(?:{_THANK}){_SO_MUCH}),? (?P<name>{WORD})(?:{_NEXT}|(?=\s*(?:[.!,?\n]|{_EMOJI}|$)))")
# "Sorry for the trouble, Anna." After "yes" and the like more has to follow: "No, Italian." is an answer,
# "No, Anna, you have ..." an address.
_VOCATIVE = re.compile(
    rf"(?i:\b(?:(?P<leading>{_LEADING_UP})|{_ADDRESSING})), (?P<name>{WORD})(?=\s*(?:[.!,?;:…\n]|[-–—]|{_EMOJI}|$))"
    rf"|(?:^|(?<=[.!?\n])|(?<=[.!?] ))(?i:{_CALLING}), (?P<called>{WORD})(?=, [a-z]|, I\b|[.!] [A-Z])"
)
_FROM = re.compile(rf"\n\s*(?P<name>{WORD}) from (?:[A-Z][\w'’&.-]*)(?: [A-Z][\w'’&.-]*){{0,3}}(?=\s*\n|\s*$| [A-Z])")
_TITLE = re.compile(rf"\b(?:{_TITLES})\b\.? ?(?P<name>{WORD}(?: {WORD})?)")
_NAMED = re.compile(
    r"(?i:\b(?:my|her|his|your) (?:full |first |last )?names?(?: is|['’]s|:| was|(?<=names))"
    r"|(?:^|(?<=[.!?\n,;])) ?(?:full |first |last |customer )?name(?: is|['’]s|\s*[:：])"
    rf"|\bcall me|\bi am called|\bi['’]m called) *(?P<name>{WORD}(?: {WORD}){{0,2}})"
)
_THIS_IS = re.compile(
    rf"(?i:\b(?:this is|i['’]m|i am))(?i: agent)? (?P<name>{WORD}(?: {WORD}){{0,2}}?)"
    r"(?=,? (?i:from|with|at|here|speaking|calling|your|and i|and i['’](?:ll|m)|again)\b"
    r"|\s*[.,!] (?i:how|i['’]ll|i will|your|what|thank))"
)
_HELLO_I_AM = re.compile(
    rf"(?i:\b(?:hi|hello|hey|good (?:morning|afternoon|evening))(?: there| all)?[,.! ]+"
    rf"(?:i['’]m|i am|this is|it['’]s)) (?P<name>{WORD}(?: {WORD})?)"
)
_SPEAKING = re.compile(rf"(?:^|(?<=[.!?\n,] )|(?<=[.!?\n]))(?P<name>{WORD}) (?i:speaking|here)\b")
_WITH = re.compile(rf"(?i:\b{_TALK}) (?P<name>{WORD}(?: {WORD})?)")
_FULL = rf"{WORD}(?:\.? {WORD}){{0,2}}"
_SIGN_OFF = re.compile(
    rf"(?i:\b(?:{_CLOSING}|{_LOOSE_CLOSING})),?\s*\n+\s*[-–—~]?\s*(?P<name>{_FULL}?)(?=\s*(?:\n|,|{_EMOJI}|$))"
    rf"|(?i:\b(?:{_CLOSING})),? (?P<same>{_FULL}?)(?:{_NEXT}|(?=\s*(?:[\n,.!?]|{_EMOJI}|$)))"
    rf"|(?i:\b(?:best|love|yours)), (?P<short>{_FULL}?)(?:{_NEXT}|(?=\s*[.!]*\s*(?:\n|{_EMOJI}|$)))"
)
_CARET = re.compile(
    r"(?:(?:^|(?<=\s))\^|(?<=[.!?] )[-–—~]|(?<=[.!?])[-–—~]) ?(?P<name>[A-Z][A-Za-z]{1,14})(?=\s*(?:$|https?:))"
)
_TITLE_WORDS = frozenset(_TITLES.lower().split("|"))
_ORGANISATION = frozenset(("support", "team", "service", "services", "care", "customer", "bank", "store"))


def english_names(text: str) -> Iterator[tuple[int, int]]:
    """Places of names, in no order; the same one may come twice."""
    for pattern in (_GREETING, _THANKS, _HELLO_I_AM):
        for match in pattern.finditer(text):
            yield from _capitalised(text, match, strict=True)
    for pattern in (_TITLE, _SPEAKING, _WITH, _CARET):
        for match in pattern.finditer(text):
            yield from _capitalised(text, match)
    for match in _THIS_IS.finditer(text):
        yield from (span for span in _capitalised(text, match) if span[1] == match.end("name"))
    for match in _NAMED.finditer(text):
        yield from _capitalised(text, match, lower=True)
    for match in _VOCATIVE.finditer(text):
        group = "called" if match["called"] else "name"
        if not _no_address(match[group], sure=group == "name"):
            yield from _capitalised(text, match, strict=True, group=group)
    for match in _FROM.finditer(text):
        if not _no_address(match["name"], sure=True):
            yield from _capitalised(text, match)
    for match in _SIGN_OFF.finditer(text):
        yield from _capitalised(text, match, strict=True, group=match.lastgroup or "name")


def _no_address(word: str, *, sure: bool) -> bool:
    """Whether a word after a comma is a place, a month, a brand, an abbreviation; unless `sure`, an ordinary word."""
    lists, letters = name_words(), word.lower()
    if letters in lists.places or letters in lists.months or (word.isupper() and len(word) > 1):
        return True
    return not sure and letters in lists.also_names


def _capitalised(
    text: str, match: re.Match[str], *, strict: bool = False, lower: bool = False, group: str = "name"
) -> Iterator[tuple[int, int]]:
    """The leading words of a match that can be a name, at most three; none if the first cannot.

    `strict`: an ordinary word that is also a name counts only before punctuation or the end. `lower`: so do words
    without a capital.
    """
    lists = name_words()
    start = end = match.start(group)
    taken: list[str] = []
    for word in re.finditer(WORD, match[group]):
        letters = word[0].lower().replace("’", "'").removesuffix("'s")
        if not taken and letters in _TITLE_WORDS:
            continue
        if letters.split("'")[0] in lists.words or is_han(word[0][0]) or not (word[0][0].isupper() or lower):
            if taken and letters in _ORGANISATION:
                return
            break
        if not taken:
            start = match.start(group) + word.start()
        taken.append(letters)
        end = match.start(group) + word.start() + len(letters)
        if len(taken) == 3:
            break
    if not taken or (len(taken) == 1 and len(taken[0]) < 2):
        return
    ordinary = taken[0] in lists.also_names or taken[0] in lists.months
    if ordinary and len(taken) == 1 and strict and not re.match(r"\s*(?:[,.!?;:\n]|$)", text[end:]):
        return
    yield start, end
