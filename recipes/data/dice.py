"""Seeded choices that come out the same in every Python, and the templates they are made on."""

from __future__ import annotations

import random
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

Item = TypeVar("Item")

WORDING = Path(__file__).resolve().parent / "wording"
CHOICE = re.compile(r"\[([^\[\]]*)\]")
SLOT = re.compile(r"\{(\w+)\}")


class Dice:
    """Random choices. Only `random()` of the standard generator is used: its sequence is promised for a seed."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)

    def chance(self, probability: float) -> bool:
        return self._random.random() < probability

    def real(self, low: float, high: float) -> float:
        return low + self._random.random() * (high - low)

    def between(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`, both included."""
        return low + int(self._random.random() * (high - low + 1))

    def one(self, items: Sequence[Item]) -> Item:
        return items[self.between(0, len(items) - 1)]

    def weighted(self, weights: Mapping[str, float]) -> str:
        left = self._random.random() * sum(weights.values())
        for name, weight in weights.items():
            left -= weight
            if left < 0:
                return name
        return next(iter(weights))

    def shuffled(self, items: Sequence[Item]) -> list[Item]:
        result = list(items)
        for last in range(len(result) - 1, 0, -1):
            other = self.between(0, last)
            result[last], result[other] = result[other], result[last]
        return result

    def digits(self, count: int) -> str:
        return "".join(str(self.between(0, 9)) for _ in range(count))

    def hexes(self, count: int) -> str:
        return "".join(self.one("0123456789abcdef") for _ in range(count))

    def letters(self, count: int) -> str:
        return "".join(self.one("abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789") for _ in range(count))


def spin(template: str, dice: Dice) -> str:
    """`template` with one side of every [this|that] chosen."""
    return CHOICE.sub(lambda found: dice.one(found.group(1).split("|")), template)


def filled(template: str, slots: Mapping[str, str]) -> str:
    """`template` with every {slot} replaced; a slot's value may hold slots itself."""
    for _ in range(3):
        if "{" not in template:
            break
        template = SLOT.sub(lambda found: slots[found.group(1)], template)
    return template


def wording(language: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The intents and the common phrases of a language."""
    intents: dict[str, Any] = {}
    for name in (f"{language}_intents.toml", f"{language}_intents2.toml"):
        intents.update(tomllib.loads((WORDING / name).read_text(encoding="utf-8")))
    return intents, tomllib.loads((WORDING / f"{language}_common.toml").read_text(encoding="utf-8"))
