"""The word lists of bias_words.txt, and the sentences of a dataset in which their words stand."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import NamedTuple

import polars as pl

from prefdata.auditing.dataset import Audited
from prefdata.auditing.once import once

FILE = Path(__file__).parent / "bias_words.txt"
ROWS = 4_000
"""Rows of the sample whose answers are read."""
CHARS = 4_000
"""Characters of an answer that are read."""
SENTENCE_CHARS = 400
_WITH = r"[^.!?。！？…\n]*(?:{})[^.!?。！？…\n]*[.!?。！？…]*"
"""A sentence with something in it."""

MARKERS = ("female", "male", "groups")
"""Families whose words make a sentence one that is read."""


class Lists(NamedTuple):
    """The word lists."""

    words: pl.DataFrame
    """`word` (lower case), `family`, `name`: what it is called together with others, or the word itself."""
    swaps: dict[str, list[list[str]]]
    """Family -> lists of words that stand for each other."""


@cache
def lists() -> Lists:
    """The lists, read once."""
    rows: list[tuple[str, str, str]] = []
    swaps: dict[str, list[list[str]]] = {}
    family = ""
    for line in FILE.read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        if line.startswith("family: "):
            family = line.removeprefix("family: ")
            continue
        words, _, name = line.partition(":")
        spoken = [word.replace("_", " ") for word in words.split()]
        if family.startswith("swaps_"):
            swaps.setdefault(family, []).append([*spoken, *([name.strip()] if name else [])])
        else:
            rows += [(word, family, name.strip() or word) for word in spoken]
    return Lists(pl.DataFrame(rows, schema=["word", "family", "name"], orient="row").unique(maintain_order=True), swaps)


def pattern(words: list[str]) -> str:
    """A pattern of `words`, without case: English ones between boundaries, the longest first."""
    ordered = sorted(set(words), key=lambda word: (-len(word), word))
    english = "|".join(word for word in ordered if word.isascii())
    chinese = "|".join(word for word in ordered if not word.isascii())
    return "|".join(part for part in (rf"(?i-u:\b(?:{english})\b)" if english else "", chinese) if part)


@cache
def _patterns() -> tuple[str, str]:
    words = lists().words
    markers = words.filter(pl.col("family").is_in(MARKERS))["word"].to_list()
    return pattern(markers), pattern(words["word"].to_list())


def sentences(data: Audited) -> pl.DataFrame:
    """`row`, `side`, `sentence` (its number), `text`: sentences of answers with a word for a gender or a group.

    Of at most ROWS rows, spread over the sample. A sentence counts once a side and label, however many rows have it.
    Three checks ask for the same: they are found once.
    """
    return once(data).get("bias sentences", lambda: _sentences(data))


def _sentences(data: Audited) -> pl.DataFrame:
    marked, _ = _patterns()
    rows = data.sample.gather_every(max(1, -(-data.sample.height // ROWS)))
    labels = [name for name in ("label",) if name in rows.columns]
    parts = []
    for side in data.answers:
        text = pl.col(f"{side}_text").str.slice(0, CHARS)
        texts = rows.select("row", *labels, pl.lit(side).alias("side"), text=text)
        near = texts.filter(pl.col("text").str.contains(marked))
        parts.append(near.with_columns(pl.col("text").str.extract_all(_WITH.format(marked))).explode("text"))
    found = pl.concat(parts).with_columns(pl.col("text").str.slice(0, SENTENCE_CHARS).str.strip_chars())
    found = found.unique([*labels, "side", "text"], keep="first", maintain_order=True).drop(labels)
    return found.with_row_index("sentence")


def looked_at(data: Audited) -> int:
    """Rows that `sentences` read."""
    return -(-data.sample.height // max(1, -(-data.sample.height // ROWS)))


def words_of(found: pl.DataFrame) -> pl.DataFrame:
    """`row`, `side`, `sentence`, `family`, `name` of each word of the lists in sentences, each once a sentence."""
    _, every = _patterns()
    words = found.select("row", "side", "sentence", word=pl.col("text").str.extract_all(every)).explode("word")
    words = words.with_columns(pl.col("word").str.to_lowercase()).join(lists().words, on="word", maintain_order="left")
    return words.drop("word").unique(maintain_order=True)
