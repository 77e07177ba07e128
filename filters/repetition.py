"""How much of a text says the same again: shares of repeated character and word n-grams.

Whole columns at a time: code points become one array, n-grams become 64-bit polynomials over it, and polars counts
them. Two different n-grams of one text share a number with probability 2^-64 or so; the numbers depend on the text
alone, never on its neighbours, so a score does not move with the shard.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from filters.letters import WORD

Array = np.ndarray[Any, np.dtype[Any]]

BATCH_ROWS = 1024
"""Texts counted at once: bounds the memory of the n-gram table, changes no score."""
MAX_CHARS = 20_000
"""What stands behind is not counted: such a text is too long for a chat anyway, and a loop shows before."""

_CHARACTER_BASE = np.uint64(0x9E3779B97F4A7C15)
_WORD_BASE = np.uint64(0xC2B2AE3D27D4EB4F)
_TOP_NGRAM = 3


def repetition(texts: pl.Series, *, size: int) -> pl.DataFrame:
    """Three shares of each text, Float64 in [0, 1], 1 the most repetitive; 0 where a text is too short for one n-gram.

    `character_repetition` and `word_repetition` are data-juicer's `character_repetition_filter` and
    `word_repetition_filter` at `rep_len = size`: of all n-grams, those that are among the (square root of the number
    of different n-grams) commonest, and those that occur more than once. `top_ngram` is the share of words under the
    commonest word 3-gram that occurs twice (after Rae et al., 2021, table A1). No nulls allowed.
    """
    frame = texts.str.slice(0, MAX_CHARS).to_frame("text")
    parts = [_repetition(batch, size) for batch in frame.iter_slices(BATCH_ROWS)]
    return pl.concat(parts) if parts else _repetition(frame, size)


def _repetition(frame: pl.DataFrame, size: int) -> pl.DataFrame:
    height = frame.height
    points, rows = _points(frame["text"])
    characters = _ngrams(points, rows, size, _CHARACTER_BASE)
    words = frame.select(row=pl.int_range(pl.len()), word=pl.col("text").str.to_lowercase().str.extract_all(WORD))
    words = words.explode("word").drop_nulls("word")
    word_rows, hashes = words["row"].to_numpy(), _word_hashes(words["word"])
    return pl.DataFrame(
        {
            "character_repetition": _spread(_commonest_share(characters), height),
            "word_repetition": _spread(_repeated_share(_ngrams(hashes, word_rows, size, _WORD_BASE)), height),
            "top_ngram": _spread(_top_share(_ngrams(hashes, word_rows, _TOP_NGRAM, _WORD_BASE), words), height),
        }
    )


def _points(texts: pl.Series) -> tuple[Array, Array]:
    """Code points of all texts, 1-based so that none is 0, and the row of each."""
    lengths = texts.str.len_chars().to_numpy()
    points = np.frombuffer("".join(texts.to_list()).encode("utf-32-le"), np.uint32).astype(np.uint64) + np.uint64(1)
    return points, np.repeat(np.arange(texts.len()), lengths)


def _word_hashes(words: pl.Series) -> Array:
    """One number a word: the polynomial of its code points."""
    points, rows = _points(words)
    if not points.size:
        return np.zeros(0, np.uint64)
    ends = np.cumsum(words.str.len_chars().to_numpy().astype(np.int64))
    starts = np.concatenate([np.zeros(1, np.int64), ends[:-1]])
    powers = np.power(_CHARACTER_BASE, (np.arange(points.size) - starts[rows]).astype(np.uint64))
    return np.add.reduceat(points * powers, starts)


def _ngrams(items: Array, rows: Array, size: int, base: np.uint64) -> pl.DataFrame:
    """`row`, `count` of every different n-gram of each row; `items` belong to `rows`, which ascend."""
    count = max(items.size - size + 1, 0)
    hashes = np.zeros(count, np.uint64)
    for position in range(size):
        hashes = hashes * base + items[position : position + count]
    whole = rows[:count] == rows[size - 1 : size - 1 + count]
    table = pl.DataFrame({"row": rows[:count][whole].astype(np.int64), "ngram": hashes[whole]})
    return table.group_by("row", "ngram").agg(count=pl.len().cast(pl.Int64)).select("row", "count")


def _commonest_share(ngrams: pl.DataFrame) -> pl.DataFrame:
    count = pl.col("count")
    taken = pl.min_horizontal(pl.len().sqrt().cast(pl.Int64), (count > 1).sum().cast(pl.Int64))
    return ngrams.group_by("row").agg(share=count.sort(descending=True).head(taken).sum() / count.sum())


def _repeated_share(ngrams: pl.DataFrame) -> pl.DataFrame:
    count = pl.col("count")
    return ngrams.group_by("row").agg(share=count.filter(count > 1).sum() / count.sum())


def _top_share(ngrams: pl.DataFrame, words: pl.DataFrame) -> pl.DataFrame:
    """The commonest n-gram that occurs more than once; overlaps may cover a word twice, so it is capped at 1."""
    totals = words.group_by("row").agg(words=pl.len().cast(pl.Int64))
    tops = ngrams.filter(pl.col("count") > 1).group_by("row").agg(top=pl.col("count").max())
    share = pl.min_horizontal(pl.lit(1.0), pl.col("top") * _TOP_NGRAM / pl.col("words"))
    return tops.join(totals, on="row").select("row", share=share)


def _spread(shares: pl.DataFrame, height: int) -> pl.Series:
    """`share` of each row from 0 to `height`, 0 where there is none."""
    rows = pl.DataFrame({"row": pl.int_range(height, eager=True)})
    return rows.join(shares, on="row", how="left", maintain_order="left")["share"].fill_null(0.0)
