"""Where one attribute of a caption can be changed so that the sentence stays whole and becomes false.

`changes` finds the places: words of prefdata.build.attribute_words, and of these only such as are surely meant so. "The
man left the room" has no position, "an orange on a plate" no colour, "two of them" no number. What is uncertain is left
alone: a missed place costs one row, a wrong one teaches that a true sentence is bad. Whether the new sentence is true
for another reason, `prefdata.build.hard_negatives` looks after, which knows the other captions of the picture.

Fixed patterns without nested repetition are matched in Python: a batch kernel, run once on each distinct text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple, get_args

from prefdata.build import attribute_words as words
from prefdata.build.assertions import asserts
from prefdata.build.attribute_words import Kind

KINDS: tuple[Kind, ...] = get_args(Kind)


class Change(NamedTuple):
    """One place of a text, `start` to `end` in characters, and what may stand there instead of `old`."""

    kind: Kind
    language: str
    start: int
    end: int
    old: str
    new: tuple[str, ...]
    """Texts for the place, each of them false where `old` is true."""
    means: tuple[str, ...]
    """The attribute that each text of `new` states: what no true caption of the picture may state, too."""


class _Token(NamedTuple):
    text: str
    low: str
    start: int
    end: int


_TOKEN = re.compile(r"[A-Za-z]+(?:['’][A-Za-z]+)*|[0-9]+(?:[.,:][0-9]+)*|[^\sA-Za-z0-9]")
_WORD = re.compile(r"[A-Za-z]")
_VOWELS = "aeiou"
_SHAPED = {singular: (name, False) for name, one in words.OBJECTS.items() for singular in one} | {
    plural: (name, True) for name, one in words.OBJECTS.items() for plural in one.values()
}
"""Word -> its class, and whether it is a plural."""
_SINGULAR = {plural: singular for one in words.OBJECTS.values() for singular, plural in one.items()}
_PLURAL = {singular: plural for plural, singular in _SINGULAR.items()}


def changes(text: str, kind: Kind) -> list[Change]:
    """Every place where `text` states an attribute of `kind` for certain, in order."""
    return [one for one in (*_ENGLISH[kind](_Sentence(text)), *_CHINESE[kind](text)) if asserts(text, one.start)]


def applied(text: str, change: Change, new: str) -> str:
    """`text` with `new` in the place of `change`."""
    return text[: change.start] + new + text[change.end :]


def stated(text: str, kind: Kind) -> set[str]:
    """Every attribute of `kind` that `text` may state, certain or not, as `Change.means` writes them."""
    low = text.lower()
    spoken = {word.removesuffix("'s") for word in re.findall(r"[a-z]+|[0-9]+", low)}
    if kind == "colour":
        found = {one for one in words.COLOURS if one in spoken} | ({"grey"} & spoken)
        return found | ({"grey"} if "gray" in spoken else set()) | {one for one in words.COLOURS_ZH if one in text}
    if kind == "number":
        numbers = {"one": 1, **words.NUMBERS}
        counted = {name for name, value in numbers.items() if name in spoken or str(value) in spoken}
        return counted | {one for one in words.TARGETS_ZH if one in text or ("二" in text and one == "两")}
    if kind == "object":
        found = {_SINGULAR.get(one, one) for one in spoken if one in _SHAPED}
        return found | {one for names in words.OBJECTS_ZH.values() for one in names if one in text}
    return set()  # that one thing is on the left does not keep another from being on the right


# -------------------------------------------------------------------------------------------------------------- English


class _Sentence:
    """A text in tokens; what stands before the first and after the last is ""."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = [_Token(one[0], one[0].lower(), one.start(), one.end()) for one in _TOKEN.finditer(text)]

    def low(self, at: int) -> str:
        return self.tokens[at].low if 0 <= at < len(self.tokens) else ""

    def ends(self, at: int) -> bool:
        """Whether no noun goes on at this token: the end, a mark, or a word that links."""
        low = self.low(at)
        return not low or (not _WORD.match(low) and not low.isdigit()) or low in words.LINKING

    def plain(self, at: int) -> bool:
        """A word of its own in small letters, or with a capital where a sentence begins."""
        one = self.tokens[at]
        if "-" in (self.text[one.start - 1 : one.start], self.text[one.end : one.end + 1]):
            return False
        opens = at == 0 or self.low(at - 1) in (".", "!", "?", ":", "\n")
        return one.text == one.low or (opens and one.text[1:] == one.low[1:])

    def opened(self, at: int) -> bool:
        """Whether a determiner, number, colour or adjective stands right before."""
        before = self.low(at - 1)
        known = before in words.DETERMINERS or before in words.ADJECTIVES or before in words.COLOURS or before == "gray"
        return known or before.isdigit()

    def change(self, kind: Kind, first: int, last: int, news: Mapping[str, str]) -> Change | None:
        """The tokens `first` to `last` for each of `news` (text -> what it states), an article before them fitted."""
        if not news:
            return None
        start, end = self.tokens[first].start, self.tokens[last].end
        article = self.low(first - 1) if self.low(first - 1) in ("a", "an") else ""
        if article:
            start = self.tokens[first - 1].start
        old = self.text[start:end]
        made = []
        for new in news:
            if article:
                said = self.tokens[first - 1].text
                fitting = "an" if new[0] in _VOWELS else "a"
                new = (fitting.capitalize() if said[0].isupper() else fitting) + old[len(said) : len(said) + 1] + new
            elif self.tokens[first].text[0].isupper():
                new = new[0].upper() + new[1:]
            made.append(new)
        return Change(kind, "en", start, end, old, tuple(made), tuple(news.values()))


def _colours(said: _Sentence) -> list[Change]:
    found = []
    for at, token in enumerate(said.tokens):
        colour = "grey" if token.low == "gray" else token.low
        after = said.low(at + 1)
        if colour not in words.COLOURS or not said.plain(at) or after in words.NO_COLOUR_BEFORE:
            continue
        attribute = bool(_WORD.match(after)) and not said.ends(at + 1) and said.tokens[at + 1].text == after
        predicate = said.low(at - 1) in words.COPULAS and said.ends(at + 1)
        if not attribute and not predicate:
            continue
        if after in words.COLOURS or (said.low(at - 1) in ("and", "or") and said.low(at - 2) in words.COLOURS):
            continue  # "black and white film": together they mean another thing
        others = [one for one in words.COLOURS if one != colour and one not in words.NEAR_COLOURS.get(colour, ())]
        found.append(said.change("colour", at, at, {one: one for one in others}))
    return [one for one in found if one is not None]


def _numbers(said: _Sentence) -> list[Change]:
    found = []
    for at, token in enumerate(said.tokens):
        value = words.NUMBERS.get(token.low) or (int(token.low) if re.fullmatch("[2-9]|10", token.low) else 0)
        if token.low == "one":
            found.append(_one(said, at))
        if (
            not value
            or not said.plain(at)
            or said.low(at - 1) in words.NAMES_A_NUMBER
            or said.low(at + 1) in words.COUNTS_ON
        ):
            continue
        if said.low(at - 1) in words.NUMERALS or said.low(at - 1) in words.NUMBERS or said.low(at - 1).isdigit():
            continue
        of = said.low(at - 1) == "of" and (said.low(at - 2) in words.NUMBERS or said.low(at - 2) in words.NUMERALS)
        among = of or (said.low(at - 1) == "the" and said.low(at - 2) == "of")
        if among or _counted(said, at + 1) is None:
            continue
        others = [name for name, other in words.NUMBERS.items() if other != value and other <= 6]
        names = {one if token.low in words.NUMBERS else str(words.NUMBERS[one]): one for one in others}
        found.append(said.change("number", at, at, names))
        if token.low in words.NUMBERS:
            found.append(_alone(said, at))
    return [one for one in found if one is not None]


def _alone(said: _Sentence, at: int) -> Change | None:
    """ "three red circles" as one of them, the other way round than `_one`."""
    before, verb = said.low(at - 1), {"are": "is ", "were": "was "}.get(said.low(at - 1), "")
    several = before in (*words.DETERMINERS, "or", "than", "only", "and", "among", "of")
    if several or (verb and said.low(at - 2) != "there"):
        return None
    for place in range(at + 1, min(at + 4, len(said.tokens))):
        low = said.low(place)
        if low in _SINGULAR:
            after = said.low(place + 1)
            goes_on = after in words.LINKING and after not in words.PLACING
            if goes_on or not said.ends(place + 1) or not said.plain(place):
                return None
            between = said.text[said.tokens[at].end : said.tokens[place].start]
            return said.change("number", at - 1 if verb else at, place, {f"{verb}one{between}{_SINGULAR[low]}": "one"})
        if low not in words.COLOURS and low not in words.ADJECTIVES:
            return None
    return None


def _counted(said: _Sentence, at: int) -> int | None:
    """Where the plural stands that is counted, up to two words on; null where it is no thing that is seen."""
    for place in range(at, at + 3):
        low = said.low(place)
        if not low or not _WORD.match(low) or low in words.LINKING or low in words.DETERMINERS:
            return None
        plural = low in words.IRREGULAR_PLURALS or low in _SINGULAR
        plural = plural or (len(low) > 3 and low.endswith("s") and not low.endswith(("ss", "us", "is")))
        if plural:
            return None if low in words.NO_COUNT else place
    return None


def _one(said: _Sentence, at: int) -> Change | None:
    """ "one red circle" as several of them: the noun, and a verb right before, become plural."""
    if (
        not said.plain(at)
        or said.low(at - 1) in (*words.DETERMINERS, "no", "or", "than", "only")
        or at + 1 >= len(said.tokens)
    ):
        return None
    for place in range(at + 1, min(at + 4, len(said.tokens))):
        low = said.low(place)
        if low in _PLURAL:
            after = said.low(place + 1)
            if (
                (after in words.LINKING and after not in words.PLACING)
                or not said.ends(place + 1)
                or not said.plain(place)
            ):
                return None
            verb = said.low(at - 1) in ("is", "was")
            first = at - 1 if verb else at
            said_verb = {"is": "are ", "was": "were "}.get(said.low(at - 1), "")
            between = said.text[said.tokens[at].end : said.tokens[place].start]
            news = {f"{said_verb}{name}{between}{_PLURAL[low]}": name for name in ("two", "three", "four")}
            return said.change("number", first, place, news)
        if low not in words.COLOURS and low not in words.ADJECTIVES:
            return None
    return None


def _positions(said: _Sentence) -> list[Change]:
    found = []
    for at, token in enumerate(said.tokens):
        if not said.plain(at):
            continue
        if token.low == "front" and said.low(at - 1) == "in" and said.low(at + 1) == "of":
            if _beside(said, at + 2) and not _even(said, at - 1, at + 2):
                found.append(said.change("position", at - 1, at + 1, {"behind": "behind"}))
            continue
        if token.low == "top" and said.low(at - 1) == "on" and said.low(at + 1) == "of":
            if _beside(said, at + 2) and not _even(said, at - 1, at + 2):
                found.append(said.change("position", at - 1, at + 1, {"under": "under"}))
            continue
        other = words.OPPOSITES.get(token.low)
        if other is not None and _POSITION[token.low](said, at):
            found.append(said.change("position", at, at, {other: other}))
    return [one for one in found if one is not None]


def _is_side(said: _Sentence, at: int) -> bool:
    """left, right: "on the left", "left of a square", "the left side"; neither the verb nor "all right"."""
    before, after = said.low(at - 1), said.low(at + 1)
    if before in ("upper", "lower", "top", "bottom"):
        return said.ends(at + 1) or after in words.PARTS or after == "of"
    if before == "the" and said.low(at - 2) in ("on", "to", "at", "in", "from"):
        if after == "of":
            return _beside(said, at + 2) and not _even(said, at - 2, at + 2)
        return said.ends(at + 1) or after in words.PARTS
    if after in words.PARTS and before == "the":
        return True
    quantity = {"little", "much", "nothing", "something", "what", "all", "none", "any"} & {before, said.low(at - 2)}
    return after == "of" and before != "the" and not quantity and _beside(said, at + 2) and not _even(said, at, at + 2)


def _is_end(said: _Sentence, at: int) -> bool:
    """top, bottom: "at the top", "at the bottom of the picture", "top left", "in the top right corner"."""
    before, after = said.low(at - 1), said.low(at + 1)
    if after in ("left", "right"):
        return said.ends(at + 2) or said.low(at + 2) in words.PARTS or said.low(at + 2) == "of"
    if before != "the":
        return False
    if said.low(at - 2) in ("at", "near"):
        return said.ends(at + 1) or after == "of"
    return said.low(at - 2) in ("in", "on") and after in (*words.PARTS, "of")


def _is_level(said: _Sentence, at: int) -> bool:
    """upper, lower: "the upper left", "in the lower half"."""
    after = said.low(at + 1)
    return after in words.PARTS or (
        after in ("left", "right") and (said.ends(at + 2) or said.low(at + 2) in words.PARTS)
    )


def _is_relation(said: _Sentence, at: int) -> bool:
    """above, under, behind, inside: of one thing to another."""
    return said.low(at - 1) != "the" and _beside(said, at + 1) and not _even(said, at, at + 1)


def _is_ground(said: _Sentence, at: int) -> bool:
    return said.low(at - 1) == "the" and said.low(at - 2) == "in" and said.ends(at + 1)


def _always(said: _Sentence, at: int) -> bool:
    return said.low(at - 1) == "the"


_POSITION: Mapping[str, Callable[[_Sentence, int], bool]] = {
    **dict.fromkeys(("left", "right"), _is_side),
    **dict.fromkeys(("leftmost", "rightmost"), _always),
    **dict.fromkeys(("top", "bottom"), _is_end),
    **dict.fromkeys(("upper", "lower"), _is_level),
    **dict.fromkeys(("above", "below", "beneath", "underneath", "under", "behind", "inside"), _is_relation),
    **dict.fromkeys(("foreground", "background"), _is_ground),
}


def _beside(said: _Sentence, at: int) -> bool:
    """Whether a thing is named from here on: "a square", "the red car"; not "the weather"."""
    opens = said.low(at) in words.DETERMINERS or said.low(at) in words.COLOURS
    return opens and not {said.low(at + 1), said.low(at + 2)} & words.IDIOMS


def _even(said: _Sentence, end: int, begin: int) -> bool:
    """Whether the things on both sides of a relation are called the same: "a dot left of a dot" stays true turned."""
    skipped = words.DETERMINERS | words.COPULAS | frozenset(("to", "the", "there", "picture", "of", "on"))

    def named(places: range) -> set[str]:
        found: set[str] = set()
        for place in places:
            low = said.low(place)
            if not low or not _WORD.match(low) or ((low in words.LINKING and low not in skipped) and found):
                break
            if low not in skipped:
                found.add(_SINGULAR.get(low, low))
        return found

    return named(range(end - 1, -1, -1)) == named(range(begin, len(said.tokens)))


def _objects(said: _Sentence) -> list[Change]:
    found = []
    gendered = any(token.low in words.GENDERED for token in said.tokens)
    for at, token in enumerate(said.tokens):
        if token.low not in _SHAPED or not said.plain(at) or not said.ends(at + 1):
            continue
        name, plural = _SHAPED[token.low]
        if name in ("adult", "child") and gendered:
            continue
        bare = plural and (at == 0 or said.low(at - 1) in words.BARE_PLURALS_AFTER)
        if not said.opened(at) and not bare:
            continue
        own = _SINGULAR.get(token.low, token.low)
        near = words.SAME_OBJECTS.get(own, frozenset())
        others = [one for one in words.OBJECTS[name] if one != own and one not in near]
        found.append(said.change("object", at, at, {_PLURAL[one] if plural else one: one for one in others}))
    return [one for one in found if one is not None]


_ENGLISH: Mapping[Kind, Callable[[_Sentence], list[Change]]] = {
    "colour": _colours,
    "number": _numbers,
    "position": _positions,
    "object": _objects,
}

# -------------------------------------------------------------------------------------------------------------- Chinese

_THINGS_ZH = "|".join(
    sorted({one for names in words.OBJECTS_ZH.values() for one in names}, key=lambda one: (-len(one), one))
)
_ENDS_ZH = r"(?=$|[，。、；！？,.;!?\s]|在|位于|和|与|旁|左|右|上|下|中|前|后|站|坐|躺|跑|正|的[左右上下前后旁])"
_COLOUR_ZH = re.compile(
    rf"([{''.join(words.COLOURS_ZH)}])(?:色(?!{words.NO_COLOUR_BEFORE_ZH})(?![{''.join(words.COLOURS_ZH)}])|(?=(?:的)?(?:{_THINGS_ZH})))"
)
_NUMBER_ZH = re.compile(
    rf"(?<![第每这那另同某哪十百千万零几0-9一二两三四五六七八九])([一二两三四五六七八九])(?=(?:{words.MEASURES_ZH})(?![一个]))"
)
_POSITION_ZH = re.compile(
    r"(?<![左右上下前后里外以之])(?:([左右])(?=[上下](?:角|方|侧|边)|边|侧|面|方|半|角)|([上下])(?=方|面|边|半部)|([前后])(?=方|面)|([里外])(?=面|边))"
)
_OBJECT_ZH = re.compile(
    rf"(?:(?:{words.MEASURES_ZH})(?:[大小]的?)?(?:[{''.join(words.COLOURS_ZH)}]色?的?)?|(?:色的?))({_THINGS_ZH}){_ENDS_ZH}"
)


def _colours_zh(text: str) -> list[Change]:
    found = []
    for match in _COLOUR_ZH.finditer(text):
        own = match[1]
        news = tuple(one for one in words.COLOURS_ZH if one != own and one not in words.NEAR_COLOURS_ZH[own])
        found.append(Change("colour", "zh", match.start(1), match.end(1), own, news, news))
    return found


def _numbers_zh(text: str) -> list[Change]:
    found = []
    for match in _NUMBER_ZH.finditer(text):
        own = match[1]
        news = tuple(one for one in words.TARGETS_ZH if words.NUMBERS_ZH[one] != words.NUMBERS_ZH[own])
        found.append(Change("number", "zh", match.start(1), match.end(1), own, news, news))
    return found


def _positions_zh(text: str) -> list[Change]:
    found = []
    for match in _POSITION_ZH.finditer(text):
        own = match[0]
        if _even_zh(text, match.start()):
            continue
        new = (words.OPPOSITES_ZH[own],)
        found.append(Change("position", "zh", match.start(), match.end(), own, new, new))
    return found


_BOTH_ZH = re.compile(r"([^，。、；在]*?)(?:在|位于)([^，。、；在的]*)的?$")
_ARTICLE_ZH = re.compile(rf"^.*?[有一两二三四五六七八九](?:{words.MEASURES_ZH})")


def _even_zh(text: str, at: int) -> bool:
    """Whether the things on both sides of a relation are called the same, as `_even` asks of English."""
    both = _BOTH_ZH.search(text[:at])
    if both is None:
        return False
    one, other = (_ARTICLE_ZH.sub("", named).replace("的", "") for named in both.groups())
    return one == other


def _objects_zh(text: str) -> list[Change]:
    found = []
    gendered = any(one in text for one in words.GENDERED_ZH)
    for match in _OBJECT_ZH.finditer(text):
        own = match[1]
        name = next(name for name, names in words.OBJECTS_ZH.items() if own in names)
        if name in ("adult", "child") and gendered:
            continue
        near = words.SAME_OBJECTS_ZH.get(own, frozenset())
        news = tuple(one for one in words.OBJECTS_ZH[name] if one != own and one not in near)
        found.append(Change("object", "zh", match.start(1), match.end(1), own, news, news))
    return found


_CHINESE: Mapping[Kind, Callable[[str], list[Change]]] = {
    "colour": _colours_zh,
    "number": _numbers_zh,
    "position": _positions_zh,
    "object": _objects_zh,
}
