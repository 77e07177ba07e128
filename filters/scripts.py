"""Which script a text is written in, against those of languages: all that letters tell of what a model can read."""

from __future__ import annotations

import polars as pl

from filters.letters import letters

ANY = "any"
"""Stands for all languages."""

_SCRIPTS = {
    "Han": ("zh", "yue", "wuu"),
    "Arabic": ("ar", "fa", "ur", "ps", "ug", "sd", "ckb"),
    "Armenian": ("hy",),
    "Bengali": ("bn", "as"),
    "Cyrillic": ("ru", "uk", "bg", "be", "sr", "mk", "kk", "ky", "mn", "tg"),
    "Devanagari": ("hi", "mr", "ne", "sa"),
    "Ethiopic": ("am", "ti"),
    "Georgian": ("ka",),
    "Greek": ("el",),
    "Gujarati": ("gu",),
    "Gurmukhi": ("pa",),
    "Hebrew": ("he", "yi"),
    "Kannada": ("kn",),
    "Khmer": ("km",),
    "Lao": ("lo",),
    "Malayalam": ("ml",),
    "Myanmar": ("my",),
    "Sinhala": ("si",),
    "Tamil": ("ta",),
    "Telugu": ("te",),
    "Thai": ("th",),
    "Tibetan": ("bo",),
}
_SEVERAL = {"ja": ("Han", "Hiragana", "Katakana"), "ko": ("Hangul", "Han")}
_OF = {language: (script,) for script, languages in _SCRIPTS.items() for language in languages} | _SEVERAL


def scripts_of(languages: tuple[str, ...]) -> tuple[str, ...]:
    """The scripts that languages (ISO 639) are written in, sorted; Latin for those that no other is known of."""
    return tuple(sorted({script for language in languages for script in _OF.get(language, ("Latin",))}))


def readable(text: pl.Expr, languages: tuple[str, ...], *, min_ratio: float) -> pl.Expr:
    """Whether at least `min_ratio` of a text's letters are of the languages' scripts; without a letter, a digit does.

    French to a model of English is readable: letters do not tell one language of a script from another.
    """
    spoken = (letters(text) > 0) | text.str.contains(r"\p{N}")
    if ANY in languages:
        return spoken
    known = "".join(rf"\p{{{script}}}" for script in scripts_of(languages))
    # a letter that scripts share, as the mark of long kana, counts as none
    foreign = text.str.count_matches(rf"[\p{{L}}--[{known}\p{{Common}}\p{{Inherited}}]]")
    return spoken & (foreign <= (1 - min_ratio) * letters(text) + 1e-9)
