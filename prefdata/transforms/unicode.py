"""Unicode brought into one form: NFC, plain line ends and spaces, nothing invisible that carries no meaning.

Removed: control characters but line feed and tab, zero-width characters, soft hyphens, Bidi marks and overrides, tag
characters, fillers, stray variation selectors. Kept where they mean something: the zero-width joiner in an emoji
sequence, joiner and non-joiner between letters of scripts that need them (Persian, Hindi ...), Bidi marks in text with
right-to-left letters, tags in the flag of a region, a variation selector after an emoji or a Han character.

Bidi overrides and tag characters hide text from a human reader, so they are counted apart: `unicode.bidi`,
`unicode.tag`. Look-alike letters (Cyrillic o for o) stay: that is a matter of a match key, not of the stored text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import polars as pl

from prefdata.transforms.touched import add_touched, present

_CONTROL = r"[\x00-\x08\x0E-\x1F\x7F-\x84\x86-\x9F]"
_LINE_END = r"\r\n|[\r\x0B\x0C\x{85}\x{2028}\x{2029}]"
_SPACE = r"[\x{A0}\x{1680}\x{2000}-\x{200A}\x{202F}\x{205F}]"
_BIDI = r"[\x{202A}-\x{202E}\x{2066}-\x{2069}]"
"""Embeddings, overrides and isolates."""
_MARK = r"[\x{200E}\x{200F}\x{61C}]"
"""Left-to-right, right-to-left and Arabic letter mark: no one needs them in text of left-to-right letters."""
_TAG = r"[\x{E0000}-\x{E007F}]"
_FLAG = r"\x{1F3F4}[\x{E0030}-\x{E0039}\x{E0061}-\x{E007A}]{3,6}\x{E007F}"
_HIDDEN = (
    r"[\x{AD}\x{34F}\x{115F}\x{1160}\x{17B4}\x{17B5}\x{180B}-\x{180F}\x{200B}\x{2060}-\x{2065}\x{206A}-\x{206F}"
    r"\x{3164}\x{FEFF}\x{FFA0}\x{FFF0}-\x{FFFB}\x{1BCA0}-\x{1BCA3}\x{1D173}-\x{1D17A}]"
)
_SELECTOR = r"[\x{FE00}-\x{FE0F}\x{E0100}-\x{E01EF}]"
_SELECTABLE = r"[\p{Extended_Pictographic}\p{Emoji}\p{Han}\p{Sm}\p{So}]"
_JOINER = r"[\x{200C}\x{200D}]"
_SHAPED = (
    r"\p{Arabic}\p{Syriac}\p{Mongolian}\p{Devanagari}\p{Bengali}\p{Gurmukhi}\p{Gujarati}\p{Oriya}\p{Tamil}\p{Telugu}"
    r"\p{Kannada}\p{Malayalam}\p{Sinhala}\p{Khmer}\p{Myanmar}"
)
"""Scripts whose letters take another shape beside a joiner or a non-joiner."""
_PICTURE = r"\p{Extended_Pictographic}\p{Emoji_Modifier}\x{FE0F}"
_RIGHT_TO_LEFT = r"[\p{Arabic}\p{Hebrew}\p{Syriac}\p{Thaana}\p{Nko}]"

_STRANGE = "|".join((_CONTROL, _LINE_END, _SPACE, _BIDI, _MARK, _TAG, _HIDDEN, _SELECTOR, _JOINER))
"""The gate: a text without any of these only needs its normal form and trimmed ends."""


@dataclass(frozen=True, kw_only=True)
class Unicode:
    """Settings of the `unicode` transform."""

    form: Literal["NFC", "NFKC"] = "NFC"
    """Normal form of the stored text; NFKC also folds full-width letters, ligatures and circled digits."""

    columns: tuple[str, ...] = ("text", "survey")
    """String columns to edit; those that the frame lacks are passed over."""

    def build(self) -> NormaliseUnicode:
        """The transform."""
        return NormaliseUnicode(self)


@dataclass(frozen=True)
class NormaliseUnicode:
    """Adds to `touched`: `unicode` (columns of the row that changed at all), `unicode.bidi`, `unicode.tag` and
    `unicode.hidden` (characters removed)."""

    settings: Unicode
    name: str = "unicode"

    def __call__(self, frame: pl.DataFrame) -> pl.DataFrame:
        columns = present(frame, self.settings.columns)
        counts = {
            name: pl.zeros(frame.height, dtype=pl.Int64, eager=True)
            for name in ("unicode", "unicode.bidi", "unicode.tag", "unicode.hidden")
        }
        edited = []
        for column in columns:
            texts = frame[column]
            clean = normalise(texts, form=self.settings.form)
            changed = (clean != texts).fill_null(False)
            if not changed.any():
                continue
            edited.append(clean.alias(column))
            counts["unicode"] += changed.cast(pl.Int64)
            for kind, pattern in (
                ("bidi", _BIDI),
                ("tag", _TAG),
                ("hidden", f"{_HIDDEN}|{_MARK}|{_JOINER}|{_SELECTOR}"),
            ):
                if texts.filter(changed).str.contains(pattern).any():
                    lost = texts.str.count_matches(pattern).cast(pl.Int64) - clean.str.count_matches(pattern)
                    counts[f"unicode.{kind}"] += lost.fill_null(0).clip(0)
        return add_touched(frame.with_columns(edited), counts)


def normalise(texts: pl.Series, *, form: Literal["NFC", "NFKC"] = "NFC") -> pl.Series:
    """`texts` in the one form; null stays null. Applying it twice gives the same as once."""
    name = texts.name
    plain = texts.str.normalize(form)
    strange = plain.str.contains(_STRANGE).fill_null(False)
    if strange.any():
        odd = plain.filter(strange).alias("text").to_frame().select(_stripped(pl.col("text"))).to_series()
        plain = plain.scatter(strange.arg_true(), odd.str.normalize(form))
    return plain.str.strip_chars().alias(name)


def _stripped(text: pl.Expr) -> pl.Expr:
    text = text.str.replace_all(_LINE_END, "\n").str.replace_all(_SPACE, " ").str.replace_all(_CONTROL, "")
    text = text.str.replace_all(f"{_BIDI}|{_HIDDEN}", "").str.replace_all(f"({_FLAG})|{_TAG}", "$1")
    text = pl.when(text.str.contains(_RIGHT_TO_LEFT)).then(text).otherwise(text.str.replace_all(_MARK, ""))
    text = text.str.replace_all(f"({_SELECTABLE}{_SELECTOR})|{_SELECTOR}", "$1")
    for joiner, around in ((r"\x{200C}", _SHAPED), (r"\x{200D}", _SHAPED + _PICTURE)):
        text = text.str.replace_all(f"([{around}]{joiner})|{joiner}", "$1")
        text = text.str.replace_all(f"{joiner}([^{around}]|$)", "$1")
    return text
