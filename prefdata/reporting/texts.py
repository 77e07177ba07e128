"""Texts of the data as a page may show them: cut, and with everything that a browser would hide or obey written out."""

from __future__ import annotations

import unicodedata

MAX_CHARS = 600
"""Characters of a text shown before it is cut."""

SNIPPET = 70
"""Characters of a text shown in the heading of a fold."""

HIDDEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
"""Unicode categories whose characters are written as their code points."""


def shown(text: str | None) -> str:
    """A text as the page may show it: cut, and with control and Bidi characters written as ⟨U+XXXX⟩."""
    text = text or ""
    more = f" … ({len(text) - MAX_CHARS:,} more characters)" if len(text) > MAX_CHARS else ""
    return visible(text[:MAX_CHARS]) + more


def snippet(text: str) -> str:
    """The first words of a text, on one line."""
    return visible(text[:SNIPPET].replace("\n", " ")) + ("…" if len(text) > SNIPPET else "")


def visible(text: str | None) -> str:
    """The text with everything that a browser would not show, or would obey, written as ⟨U+XXXX⟩."""
    return "".join(
        character
        if character in "\n\t" or unicodedata.category(character) not in HIDDEN
        else f"⟨U+{ord(character):04X}⟩"
        for character in (text or "").replace("\r\n", "\n")
    )
