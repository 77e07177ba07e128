"""Two texts word by word: what was taken out, what was put in, what stayed; of long texts the part that differs."""

from __future__ import annotations

import re
from collections import Counter
from difflib import SequenceMatcher
from typing import Literal, NamedTuple

MIDDLE = 1_200
"""Characters of each text that are compared word by word, between the ends that are alike."""

AROUND = 120
"""Characters shown of the ends that are alike."""

UNLIKE = 0.25
"""Similarity of the words below which one text stands after the other: pieced together, neither could be read."""

WORD = 60
"""Characters of a word that is not to be cut."""

PAIRS = 200_000
"""Pairs of equal words from which on frequent words are no place to begin from: hostile texts would take minutes."""

_WIDE = r"\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_TOKENS = re.compile(rf"(?:[{_WIDE}]|[^\W{_WIDE}]+|[^\w\s])\s*|\s+")
"""A word with the blanks after it; letters of scripts without blanks stand alone."""


class Piece(NamedTuple):
    """A piece of both texts, in their order."""

    what: Literal["same", "gone", "come", "cut_same", "cut_gone", "cut_come"]
    """In both texts; in the first alone; in the second alone; or left out here."""
    text: str
    """Empty where it is left out."""
    chars: int


def words(one: str, other: str) -> list[Piece]:
    """How `other` comes of `one`. Of what exceeds MIDDLE, and of equal ends beyond AROUND, the length is told."""
    if one == other:
        return _merged(_ends(one, from_start=True))
    first = _boundary(one, other, _alike(one, other))
    rest, rest_other = one[first:], other[first:]
    alike = last = _alike(rest[::-1], rest_other[::-1])
    while last and alike - last < WORD and _joined(rest, len(rest) - last, rest_other, len(rest_other) - last):
        last -= 1
    middle, changed = rest[: len(rest) - last], rest_other[: len(rest_other) - last]
    return _merged(
        [
            *_ends(one[:first], from_start=False),
            *_between(middle[:MIDDLE], changed[:MIDDLE]),
            *([Piece("cut_gone", "", len(middle) - MIDDLE)] if len(middle) > MIDDLE else []),
            *([Piece("cut_come", "", len(changed) - MIDDLE)] if len(changed) > MIDDLE else []),
            *_ends(rest[len(rest) - last :], from_start=True),
        ]
    )


def _between(one: str, other: str) -> list[Piece]:
    left, right = _TOKENS.findall(one), _TOKENS.findall(other)
    counts = Counter(left)
    many = sum(counts[word] * number for word, number in Counter(right).items()) > PAIRS
    matcher = SequenceMatcher(None, left, right, autojunk=many)
    if matcher.ratio() < UNLIKE:
        return [Piece("gone", one, len(one)), Piece("come", other, len(other))]
    found = []
    for _, low, high, low_other, high_other in matcher.get_opcodes():
        gone, come = "".join(left[low:high]), "".join(right[low_other:high_other])
        found += [Piece("same", gone, len(gone))] if gone == come else [
            Piece("gone", gone, len(gone)),
            Piece("come", come, len(come)),
        ]  # fmt: skip
    return found


def _alike(one: str, other: str) -> int:
    """How many characters both begin with."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _boundary(one: str, other: str, at: int) -> int:
    """The last place not after `at` that cuts no word."""
    place = at
    while place and at - place < WORD and _joined(one, place, other, place):
        place -= 1
    return place


def _joined(one: str, at: int, other: str, at_other: int) -> bool:
    """Whether a cut before this character would part a word of one of the texts."""
    return any(
        0 < spot < len(text) and _LETTER.match(text[spot]) and _LETTER.match(text[spot - 1])
        for text, spot in ((one, at), (other, at_other))
    )


_LETTER = re.compile(rf"[^\W{_WIDE}]")


def _ends(text: str, *, from_start: bool) -> list[Piece]:
    """A part that is alike: AROUND characters of the end that is next to a change."""
    if len(text) <= 2 * AROUND:
        return [Piece("same", text, len(text))]
    cut = Piece("cut_same", "", len(text) - AROUND)
    return [Piece("same", text[:AROUND], AROUND), cut] if from_start else [cut, Piece("same", text[-AROUND:], AROUND)]


def _merged(pieces: list[Piece]) -> list[Piece]:
    """Without empty ones, and with one piece for neighbours of a kind."""
    found: list[Piece] = []
    for piece in pieces:
        if piece.what.startswith("cut"):
            found.append(piece)
        elif piece.text and found and found[-1].what == piece.what:
            found[-1] = Piece(piece.what, found[-1].text + piece.text, found[-1].chars + piece.chars)
        elif piece.text:
            found.append(piece)
    return found
