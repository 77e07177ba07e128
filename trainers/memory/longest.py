"""The longest row, which sets the length of a batch and with it most of what comes and goes in a step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import polars as pl

from prefdata.schema import RecordType
from trainers.rows import ANSWERS, Rows

CHARS_PER_TOKEN = 3.0
"""Letters of a token, taken low: English text has 4 to 4.5 under the tokenizers of current models."""

TOKENS_PER_TURN = 6
"""Markers around each turn."""


@dataclass(frozen=True, kw_only=True)
class Longest:
    """The row that needs most, and how that is known."""

    id: str | None
    """None where no row is known: every row may be as long as max_length allows."""
    tokens: int
    """Of prompt and longest answer."""
    scored: int
    """The most tokens that any answer has."""
    known: Literal["tokenised", "estimated", "settings"]

    def within(self, max_length: int) -> Longest:
        """The same, cut to `max_length` as training would cut it."""
        tokens = min(self.tokens, max_length)
        return Longest(id=self.id, tokens=tokens, scored=min(self.scored, tokens), known=self.known)


def longest_of(rows: Rows) -> Longest:
    """The longest of rows that are encoded."""
    lengths = rows.lengths()
    at = max(range(len(lengths)), key=lambda one: (lengths[one], -one))
    scored = max(len(row.completion_ids) for side in rows.sides.values() for row in side)
    return Longest(id=rows.ids[at], tokens=lengths[at], scored=scored, known="tokenised")


def guessed(frame: pl.DataFrame, record_type: RecordType) -> Longest | None:
    """The longest row of a canonical frame, its tokens estimated from its letters; None for an empty frame.

    Three letters a token, one token for each letter beyond U+2E80 (Chinese, Japanese, Korean) and each line break.
    """
    if not frame.height:
        return None
    answers = ANSWERS[record_type]
    asked = _tokens("prompt")
    told = pl.max_horizontal([_tokens(side) for side in answers]) if answers else pl.lit(0)
    found = frame.select("id", tokens=asked + told, scored=told).select(
        pl.col("id").sort_by("tokens", "id", descending=[True, False]).first(),
        pl.col("tokens").max(),
        pl.col("scored").max(),
    )
    row = found.row(0, named=True)
    return Longest(id=row["id"], tokens=int(row["tokens"]), scored=int(row["scored"]), known="estimated")


def _tokens(column: str) -> pl.Expr:
    text = pl.element().struct.field("content").fill_null("")
    wide = text.str.count_matches(r"[\u2E80-\u{10FFFF}\n]")
    each = ((text.str.len_chars() - wide) / CHARS_PER_TOKEN).ceil() + wide + TOKENS_PER_TURN
    return pl.col(column).list.eval(each).list.sum().cast(pl.Int64)
