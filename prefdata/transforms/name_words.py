"""The word lists of name_words.txt: what is never a name, what is also an ordinary word, places, Chinese surnames."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from typing import NamedTuple


class NameWords(NamedTuple):
    """Lower-case words by what they say about a name."""

    words: frozenset[str]
    """Never a name, though they follow "Hi" or stand in a name column."""

    months: frozenset[str]
    also_names: frozenset[str]
    """Ordinary words that are names as well: Will, Rose, Mark."""

    places: frozenset[str]
    """Places, their languages and kitchens, brands: after a comma they are no form of address."""

    surnames: frozenset[str]
    """Chinese surnames of one and two characters, the common ones."""

    not_chinese_names: frozenset[str]
    """Words that begin with a character of `surnames`."""

    not_agents: frozenset[str]
    """Words where the name of a Chinese agent could stand: after 客服, after 我是, before 为您服务."""


@lru_cache(maxsize=1)
def name_words() -> NameWords:
    """The lists, read once."""
    lists: dict[str, set[str]] = {}
    current: set[str] = set()
    for line in files("prefdata.transforms").joinpath("name_words.txt").read_text("utf-8").splitlines():
        if line.startswith("family: "):
            current = lists.setdefault(line.removeprefix("family: "), set())
        elif not line.startswith("#"):
            current.update(line.split())
    return NameWords(**{name: frozenset(entries) for name, entries in lists.items()})
