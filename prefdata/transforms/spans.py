"""Found pieces of personal data in one text, and the rule that no two of them overlap."""

from __future__ import annotations

from typing import NamedTuple

KEPT = "kept"
"""Kind of a span that is no personal data and must not be searched further: an ordinary address of a web page."""


class Found(NamedTuple):
    """One piece of personal data: its kind, where it stands, and the value by which equal ones are recognised."""

    kind: str
    start: int
    end: int
    value: str


class Claims:
    """The spans found so far in one text; the first to claim a place has it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.taken = bytearray(len(text))
        self.found: list[Found] = []

    def free(self, start: int, end: int) -> bool:
        return start < end and not any(self.taken[start:end])

    def add(self, kind: str, start: int, end: int, value: str) -> bool:
        """Claims a span; False, and nothing changes, where a part of it is taken."""
        if not self.free(start, end):
            return False
        self.taken[start:end] = b"\x01" * (end - start)
        self.found.append(Found(kind, start, end, value))
        return True

    def rest(self) -> str:
        """The text with every claimed character blanked by a line feed: same length, same places."""
        if not self.found:
            return self.text
        return "".join("\n" if taken else letter for letter, taken in zip(self.text, self.taken, strict=True))


def _one_to_one() -> dict[int, str]:
    table = {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
    table |= dict.fromkeys((0x3000, 0xA0, 0x202F, 0x2009), " ")
    table |= dict.fromkeys((0x2010, 0x2011, 0x2012, 0x2013, 0x2014, 0x2212, 0xFE63, 0xFE58), "-")
    for zero in (0x660, 0x6F0, 0x966):
        table |= {zero + digit: str(digit) for digit in range(10)}
    return table


_PLAIN = _one_to_one()


def plain(text: str) -> str:
    """`text` with full-width ASCII, other digits, dashes and spaces made plain: same length, so places agree."""
    return text if text.isascii() else text.translate(_PLAIN)


def is_han(letter: str) -> bool:
    """Whether a character is a Chinese one."""
    return "\u4e00" <= letter <= "\u9fff" or "\u3400" <= letter <= "\u4dbf" or "\U00020000" <= letter <= "\U0003ffff"
