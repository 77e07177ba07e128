"""Bags of words of many texts at once: a sparse matrix of counts, and the words of its columns.

A word is a run of letters and digits in lower case; a sign that is neither is a word of its own. Scripts that do not
put blanks between words (Chinese, Japanese, Thai, ...) give single characters and pairs of neighbours instead. The
vocabulary is that of the texts, sorted: no hashing, so that columns have names and do not collide.
Import this module where it is used, inside functions: it needs scipy.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy import sparse

UNSPACED = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]"
"""Characters of scripts without blanks between words; of Korean too, whose words carry their endings."""
WORD = UNSPACED + r"|[\p{L}\p{N}\p{M}]+|[^\s\p{L}\p{N}\p{M}]"
"""A word, a character of an unspaced script, or a sign."""

MAX_CHARS = 2_000
"""Of a text that are looked at."""


Int32s = npt.NDArray[np.int32]


class Bag(NamedTuple):
    """Counts of words: `counts` is a sparse matrix, texts by words, Float64; a word a column, in sorted order."""

    counts: Any
    words: pl.Series

    def often(self, texts: int) -> Bag:
        """Only the words of at least so many texts."""
        kept = np.flatnonzero(np.bincount(self.counts.indices, minlength=len(self.words)) >= texts)
        return Bag(self.counts[:, kept].tocsr(), self.words[kept])


def bag(texts: pl.Series) -> Bag:
    """The bag of words of each text's first MAX_CHARS characters; a null text is empty."""
    found = texts.fill_null("").str.slice(0, MAX_CHARS).str.to_lowercase().str.extract_all(WORD)
    words, text = found.explode(), np.repeat(np.arange(len(found), dtype=np.int32), found.list.len().to_numpy())
    words = words.drop_nulls() if words.null_count() else words
    if texts.str.contains(UNSPACED).any():
        pairs, where = _pairs(words, text)
        words, text = pl.concat([words, pairs]), np.concatenate([text, where])
    column, vocabulary = _columns(words)
    return Bag(_counts(text, column, (len(texts), len(vocabulary))), vocabulary)


def _counts(text: Int32s, column: Int32s, shape: tuple[int, int]) -> Any:
    """How often each word stands in each text: sparse, by one sort of whole numbers (scipy's own way takes twice)."""
    width = max(1, shape[1])
    places = text.astype(np.int64) * width + column
    places.sort()
    first = np.flatnonzero(np.append(True, places[1:] != places[:-1])[: len(places)])
    counts = np.diff(np.append(first, len(places))).astype(np.float64)
    rows, columns = np.divmod(places[first], width)
    starts = np.searchsorted(rows, np.arange(shape[0] + 1))
    return sparse.csr_matrix((counts, columns.astype(np.int32), starts.astype(np.int32)), shape=shape)


def _columns(words: pl.Series) -> tuple[Int32s, pl.Series]:
    """For every word its place among the different words, and these, sorted."""
    kinds = words.cast(pl.Categorical)
    number = kinds.to_physical().to_numpy()
    different = pl.DataFrame({"word": kinds.unique().cast(pl.String), "number": kinds.unique().to_physical()}).sort(
        "word"
    )
    place = np.zeros(int(number.max(initial=0)) + 1, dtype=np.int32)
    place[different["number"].to_numpy()] = np.arange(different.height, dtype=np.int32)
    return place[number], different["word"]


def _pairs(words: pl.Series, text: Int32s) -> tuple[pl.Series, Int32s]:
    """Neighbours of unspaced scripts in one text, as words of two characters, and their texts."""
    alone = words.str.contains(f"^{UNSPACED}$").to_numpy()
    first = np.flatnonzero(alone[:-1] & alone[1:] & (text[:-1] == text[1:]))
    return words.gather(first) + words.gather(first + 1), text[first]
