"""Small datasets written for the tests."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

QUESTIONS = (
    "Where is my parcel number {n}? The page has not moved since Monday.",
    "I was charged twice for order {n}, can you send one payment back?",
    "The kettle of order {n} leaks at its handle, what do I do now?",
    "How do I change the address of order {n} before it is sent?",
)
GOOD = (
    "Parcel {n} is with the driver now and will reach you before six this evening.",
    "You are right; the second payment of order {n} is on its way back to your card.",
    "That is covered by the warranty: a new kettle for order {n} leaves us today.",
    "Order {n} is still in our warehouse; tell me the address and I will change it.",
)
BAD = (
    "I do not know anything about {n}, please wait.",
    "Our system never charges twice, look again at {n}.",
    "Then buy a better kettle than that of {n} next time.",
    "You cannot change {n}, read the terms.",
)


def question(n: int) -> str:
    return QUESTIONS[n % 4].format(n=1000 + n)


def good(n: int) -> str:
    return GOOD[n % 4].format(n=1000 + n)


def bad(n: int) -> str:
    return BAD[n % 4].format(n=1000 + n)


def pairs(count: int, *, start: int = 0) -> list[dict[str, Any]]:
    return [{"prompt": question(n), "chosen": good(n), "rejected": bad(n)} for n in range(start, start + count)]


def labelled(count: int) -> list[dict[str, Any]]:
    return [
        {"prompt": question(n), "completion": answer(n), "label": label}
        for n in range(count)
        for answer, label in ((good, True), (bad, False))
    ]


def write(path: Path, rows: Iterable[dict[str, Any] | str]) -> Path:
    """JSON lines; a text stands as it is."""
    lines = [one if isinstance(one, str) else json.dumps(one, ensure_ascii=False) for one in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
