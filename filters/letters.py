"""What a text is made of: its words, its letters by script, and the pseudonyms that stand for personal data.

Expressions over a String column, shared by the scorers; what they mean for quality, language or toxicity is theirs.
"""

from __future__ import annotations

import polars as pl

PLACEHOLDER = r"<[A-Z][A-Z_]*_[0-9]+>"
"""A typed, numbered pseudonym as the transform `personal_data` leaves it: `<EMAIL_1>`."""

CJK = r"\p{Han}\p{Hiragana}\p{Katakana}"
"""Inside a character class: scripts written without spaces, where a character counts as a word."""

WORD = rf"[{CJK}]|[[\p{{L}}\p{{M}}\p{{N}}_]--[{CJK}]]+(?:['’][\p{{L}}]+)*"
"""One word: a character of a script without spaces, or a run of letters and digits, apostrophes inside."""


def without_placeholders(text: pl.Expr, replacement: str = " ") -> pl.Expr:
    """`text` with every pseudonym replaced, so that its brackets and its English type name say nothing."""
    return text.str.replace_all(PLACEHOLDER, replacement)


def letters(text: pl.Expr) -> pl.Expr:
    """How many letters of any script."""
    return text.str.count_matches(r"\p{L}")


def cjk_letters(text: pl.Expr) -> pl.Expr:
    """How many Han, kana or hangul letters."""
    return text.str.count_matches(rf"[{CJK}\p{{Hangul}}]")


def han_letters(text: pl.Expr) -> pl.Expr:
    """How many Han letters."""
    return text.str.count_matches(r"\p{Han}")


def words(text: pl.Expr) -> pl.Expr:
    """How many words, as WORD counts them."""
    return text.str.count_matches(WORD)
