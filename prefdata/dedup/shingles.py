"""Texts as sets of shingle hashes: the definition of "the same text, nearly" that every step of dedup shares.

1. A pseudonym `<EMAIL_3>` becomes `<email>`: which customer it stood for says nothing about the text.
2. NFKC, lower case, case folding.
3. Tokens: `<email>` and its like; runs of word characters, an apostrophe inside included; each CJK ideograph or kana
   alone; each emoji or other symbol alone. A text with none of these ("???") is one token as a whole.
4. Shingles: every `size` tokens in a row, as a set; a shorter text is one shingle as a whole. No text, no shingle.

Hashes are 64-bit and the same at every version and platform.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl
import xxhash
from numpy.typing import NDArray

UInt64Array = NDArray[np.uint64]
Int64Array = NDArray[np.int64]

CJK = r"\u{3005}-\u{3007}\u{3041}-\u{30FF}\u{3400}-\u{4DBF}\u{4E00}-\u{9FFF}\u{F900}-\u{FAFF}\u{20000}-\u{3FFFF}"
"""Ideographs and kana, as a range of a character class: written without spaces, each is a token of its own."""

_WORD = rf"[\w&&[^_{CJK}]]"
TOKEN = rf"<[a-z_]+>|{_WORD}+(?:['’]{_WORD}+)*|[{CJK}]|\p{{So}}"
PSEUDONYM = r"<([A-Z][A-Z_]*?)_[0-9]+>"

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_ABSENT = np.uint64(0x5851F42D4C957F2D)


class Flat(NamedTuple):
    """A ragged array: the values of all rows in one array, and where each row starts (one more entry than rows)."""

    values: UInt64Array
    offsets: Int64Array

    @property
    def lengths(self) -> Int64Array:
        """Number of values of each row."""
        return np.diff(self.offsets)


class Tokens(NamedTuple):
    """The tokens of many texts: `vocabulary` (each token once), `codes` into it, `offsets` of the texts in `codes`."""

    vocabulary: list[str]
    codes: Int64Array
    offsets: Int64Array


def mix(values: UInt64Array) -> UInt64Array:
    """The 64-bit finaliser of MurmurHash3: a bijection that spreads every input bit."""
    values = values ^ (values >> np.uint64(33))
    values = values * np.uint64(0xFF51AFD7ED558CCD)
    values = values ^ (values >> np.uint64(33))
    values = values * np.uint64(0xC4CEB9FE1A85EC53)
    return values ^ (values >> np.uint64(33))


def normalised(texts: pl.Series) -> pl.Series:
    """The texts as they are compared: pseudonyms by type, NFKC, lower case, one space for any white space."""
    return pl.select(
        pl.lit(texts.cast(pl.String).fill_null(""))
        .str.replace_all(PSEUDONYM, "<${1}>")
        .str.normalize("NFKC")
        .str.to_lowercase()
        .str.replace_all(r"\s+", " ")
        .str.strip_chars()
    ).to_series()


def tokenise(texts: pl.Series) -> Tokens:
    """Tokens of `normalised` texts, each distinct token stored once (sorted)."""
    lists = texts.str.extract_all(TOKEN)
    counts = lists.list.len().to_numpy().astype(np.int64)
    whole = (counts == 0) & (texts.str.len_bytes().to_numpy() > 0)
    if whole.any():
        symbols = texts.rename("text").to_frame().select(pl.concat_list("text")).to_series()
        lists = pl.select(pl.when(pl.lit(pl.Series(whole))).then(pl.lit(symbols)).otherwise(pl.lit(lists))).to_series()
        counts = counts + whole
    flat = lists.rename("token").explode(empty_as_null=False)
    vocabulary = flat.unique().sort()
    index = pl.DataFrame({"token": vocabulary, "code": np.arange(len(vocabulary), dtype=np.int64)})
    codes = flat.to_frame().join(index, on="token", how="left", maintain_order="left")["code"].to_numpy()
    return Tokens(vocabulary.to_list(), codes, np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))


def token_hashes(vocabulary: list[str]) -> UInt64Array:
    """xxh3 of each token, case-folded (lower case leaves ß as it is, case folding does not)."""
    digests = (xxhash.xxh3_64_intdigest(token.casefold().encode()) for token in vocabulary)
    return np.fromiter(digests, dtype=np.uint64, count=len(vocabulary))


def shingle(tokens: Tokens, *, size: int) -> Flat:
    """Hashes of the shingles of each text, sorted, each once."""
    hashes = token_hashes(tokens.vocabulary)
    lengths = np.diff(tokens.offsets)
    # A text shorter than a shingle is filled up with a token that no text holds, and so becomes one shingle.
    padded = np.where(lengths > 0, np.maximum(lengths, size), 0)
    starts = np.concatenate([[0], np.cumsum(padded)]).astype(np.int64)
    flat = np.full(int(starts[-1]), _ABSENT, dtype=np.uint64)
    inside = np.arange(tokens.codes.size, dtype=np.int64) + np.repeat(starts[:-1] - tokens.offsets[:-1], lengths)
    flat[inside] = hashes[tokens.codes]
    counts = np.where(padded > 0, padded - size + 1, 0)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    first = np.arange(int(offsets[-1]), dtype=np.int64) + np.repeat(starts[:-1] - offsets[:-1], counts)
    combined = np.zeros(first.size, dtype=np.uint64)
    for position in range(size):
        combined = mix(combined * _GOLDEN + flat[first + position])
    return distinct(Flat(combined, offsets))


def distinct(flat: Flat) -> Flat:
    """The same rows with their values sorted and each value once."""
    rows = np.repeat(np.arange(flat.offsets.size - 1), flat.lengths)
    order = np.lexsort((flat.values, rows))
    values = flat.values[order]
    keep = np.ones(values.size, dtype=bool)
    keep[1:] = (values[1:] != values[:-1]) | (rows[1:] != rows[:-1])
    counts = np.bincount(rows[keep], minlength=flat.offsets.size - 1)
    return Flat(values[keep], np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))
