"""What a near-duplicate may not differ in: a negation, an amount, a word and its opposite.

Shingles cannot see that "we will refund you" and "we will not refund you" say opposite things when forty words around
them agree. The lists are in opposites.json. Between two texts, on either side of a row, one of these refuses the pair:

- they hold different numbers of negations and refusals (phrases such as "no problem" are taken off the count);
- negations and auxiliaries are as many in both but stand in another order ("can .. cannot", "cannot .. can");
- each states a value (number, day, month) that the other does not; or both state the same values in another order.
  A value that only one of them states refuses nothing;
- one holds a word and the other its opposite, and neither holds both ("approved", "rejected").

The first of these is an equality and cannot be got round; the others can, where a third row that states neither of two
values is a near-duplicate of both.
"""

from __future__ import annotations

import json
import re
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from prefdata.dedup.shingles import Flat, Int64Array, Tokens, UInt64Array, distinct, mix, token_hashes

STANCE = 6
"""Numbers of a text's stance: negations, marks, order of marks, order of values, first poles, second poles.

Marks are negations, harmless ones included, and auxiliaries; their number is packed as both counts.
"""

_NUMBER = re.compile(r"\d")


class Stances(NamedTuple):
    """Of many texts: `numbers`, shape (texts, STANCE), and the values each states, sorted, repeats told apart."""

    numbers: UInt64Array
    values: Flat


@cache
def _lists() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(resources.files(__package__).joinpath("opposites.json").read_text("utf-8"))
    return loaded


def digest() -> str:
    """A hash of the word lists: they are part of what edges depend on."""
    import hashlib

    return hashlib.sha256(json.dumps(_lists(), sort_keys=True).encode()).hexdigest()[:16]


def stances(texts: pl.Series, tokens: Tokens) -> Stances:
    """Negations, values and poles of `normalised` texts and their tokens."""
    lists = _lists()
    words = [token.casefold().replace("’", "'") for token in tokens.vocabulary]
    rows = np.repeat(np.arange(tokens.offsets.size - 1), np.diff(tokens.offsets))
    height = tokens.offsets.size - 1

    negations = frozenset(lists["negations"]["en"] + lists["negations"]["zh"])
    auxiliaries = frozenset(lists["auxiliaries"]["en"] + lists["auxiliaries"]["zh"])
    named = frozenset(lists["values"]["en"] + lists["values"]["zh"])
    negative = np.array([word in negations or word.endswith("n't") for word in words], dtype=bool)[tokens.codes]
    auxiliary = np.array([word in auxiliaries for word in words], dtype=bool)[tokens.codes]
    value = np.array([word in named or bool(_NUMBER.search(word)) for word in words], dtype=bool)[tokens.codes]

    numbers = np.zeros((height, STANCE), dtype=np.uint64)
    counted = np.bincount(rows[negative], minlength=height)
    some = np.flatnonzero(counted)
    counted[some] = np.maximum(counted[some] - _harmless(texts.gather(some)), 0)
    counted += texts.str.count_matches("|".join(lists["negating"]["zh"])).to_numpy().astype(np.int64)
    numbers[:, 0] = counted.astype(np.uint64)
    spoken = np.bincount(rows[negative], minlength=height) << 32 | np.bincount(rows[auxiliary], minlength=height)
    numbers[:, 1] = spoken.astype(np.uint64)
    hashes = token_hashes(tokens.vocabulary)[tokens.codes]
    marked = negative | auxiliary
    numbers[:, 2] = _order(np.where(negative, np.uint64(1), np.uint64(2))[marked], rows[marked], height)
    numbers[:, 3] = _order(hashes[value], rows[value], height)
    numbers[:, 4], numbers[:, 5] = _poles(texts, words, tokens, rows, height)
    offsets = np.concatenate([[0], np.cumsum(np.bincount(rows[value], minlength=height))]).astype(np.int64)
    return Stances(numbers, distinct(Flat(_numbered(hashes[value], rows[value]), offsets)))


def contradict(
    left: UInt64Array, right: UInt64Array, shared: Int64Array, sizes: tuple[Int64Array, Int64Array]
) -> NDArray[np.bool_]:
    """Which pairs say opposite things: their `numbers`, how many values they share, and how many each has."""
    negation = left[:, 0] != right[:, 0]
    order = (left[:, 1] == right[:, 1]) & (left[:, 2] != right[:, 2])
    value = (shared < sizes[0]) & (shared < sizes[1])
    same = (shared == sizes[0]) & (shared == sizes[1]) & (left[:, 3] != right[:, 3])
    forth = (left[:, 4] & ~left[:, 5]) & (right[:, 5] & ~right[:, 4])
    back = (left[:, 5] & ~left[:, 4]) & (right[:, 4] & ~right[:, 5])
    opposed: NDArray[np.bool_] = negation | order | value | same | ((forth | back) != 0)
    return opposed


def _harmless(texts: pl.Series) -> Int64Array:
    """How many negations of each text stand in a phrase that negates nothing."""
    lists = _lists()["harmless"]
    english = r"\b(?:" + "|".join(re.escape(phrase) for phrase in lists["en"]) + r")\b"
    straight = texts.str.replace_all("’", "'", literal=True)
    found = straight.str.count_matches(english) + texts.str.count_matches("|".join(lists["zh"]))
    return found.to_numpy().astype(np.int64)


def _poles(
    texts: pl.Series, words: list[str], tokens: Tokens, rows: Int64Array, height: int
) -> tuple[UInt64Array, UInt64Array]:
    """A bit for each pair of opposites: is the first in the text, is the second."""
    lists = _lists()["poles"]
    both = (np.zeros(height, dtype=np.uint64), np.zeros(height, dtype=np.uint64))
    for pole in (0, 1):
        bits: dict[str, int] = {}
        for bit, pair in enumerate(lists["en"]):
            for word in pair[pole]:
                bits[word] = bits.get(word, 0) | 1 << bit
        held = np.array([bits.get(word, 0) for word in words], dtype=np.uint64)[tokens.codes]
        some = held != 0
        np.bitwise_or.at(both[pole], rows[some], held[some])
    anywhere = [word for pair in lists["zh"] for words in pair for word in words]
    where = np.flatnonzero(texts.str.contains_any(anywhere).to_numpy())
    if where.size:
        written = texts.gather(where)
        for bit, pair in enumerate(lists["zh"], start=len(lists["en"])):
            for pole in (0, 1):
                found = written.str.contains("|".join(pair[pole])).to_numpy()
                both[pole][where[found]] |= np.uint64(1 << bit)
    return both


def _numbered(values: UInt64Array, rows: Int64Array) -> UInt64Array:
    """The values with repeats in a row told apart: the second "2" of a text is another value than its first."""
    order = np.lexsort((values, rows))
    sorted_values, sorted_rows = values[order], rows[order]
    new = np.r_[True, (sorted_values[1:] != sorted_values[:-1]) | (sorted_rows[1:] != sorted_rows[:-1])][: values.size]
    first = np.flatnonzero(new)
    repeat = np.arange(values.size) - np.repeat(first, np.diff(np.r_[first, values.size]))
    out = np.empty_like(values)
    out[order] = mix(sorted_values + mix(repeat.astype(np.uint64)))
    return out


def _order(values: UInt64Array, rows: Int64Array, height: int) -> UInt64Array:
    """A hash of each row's values in their order; 0 for none."""
    out = np.zeros(height, dtype=np.uint64)
    if not values.size:
        return out
    first = np.flatnonzero(np.r_[True, rows[1:] != rows[:-1]])
    place = np.arange(values.size) - np.repeat(first, np.diff(np.r_[first, values.size]))
    out[rows[first]] = np.add.reduceat(mix(values + mix((place + 1).astype(np.uint64))), first)
    return out
