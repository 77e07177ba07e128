"""Bags of words of many texts at once: a sparse matrix of counts, and the words of its columns.

A word is a run of letters and digits in lower case; a sign that is neither is a word of its own. Scripts that do not
put blanks between words (Chinese, Japanese, Thai, ...) give single characters and pairs of neighbours instead. The
vocabulary is that of the texts, sorted: no hashing, so that columns have names and do not collide.
Import this module where it is used, inside functions: it needs scipy.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import polars as pl
from scipy import sparse

UNSPACED = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]"
"""Characters of scripts without blanks between words; of Korean too, whose words carry their endings."""
WORD = UNSPACED + r"|[\p{L}\p{N}\p{M}]+|[^\s\p{L}\p{N}\p{M}]"
"""A word, a character of an unspaced script, or a sign."""

MAX_CHARS = 2_000
"""Of a text that are looked at."""


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
    found = texts.str.slice(0, MAX_CHARS).str.to_lowercase().str.extract_all(WORD)
    words = pl.DataFrame({"text": pl.int_range(len(found), dtype=pl.UInt32, eager=True), "word": found})
    words = words.explode("word").drop_nulls("word")
    unspaced = words.filter(pl.col("word").str.contains(f"^{UNSPACED}$")).height
    if unspaced:
        words = pl.concat([words, _pairs(words)])
    counts = words.group_by("text", "word").len()
    vocabulary = counts.select("word").unique().sort("word").with_row_index("column")
    counts = counts.join(vocabulary, on="word").sort("text", "column")
    matrix = sparse.csr_matrix(
        (counts["len"].to_numpy().astype(np.float64), (counts["text"].to_numpy(), counts["column"].to_numpy())),
        shape=(len(texts), vocabulary.height),
    )
    return Bag(matrix, vocabulary["word"])


def _pairs(words: pl.DataFrame) -> pl.DataFrame:
    """Neighbours of unspaced scripts in one text, as words of two characters."""
    alone = pl.col("word").str.contains(f"^{UNSPACED}$")
    neighbours = alone & alone.shift(-1) & (pl.col("text") == pl.col("text").shift(-1))
    pair = pl.when(neighbours).then(pl.col("word") + pl.col("word").shift(-1))
    return words.select("text", pair.alias("word")).drop_nulls()
