"""The longest row, which sets the length of a batch and with it most of what comes and goes in a step."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import polars as pl

if TYPE_CHECKING:
    from trainers.rows import Rows

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
    pictured: int = 0
    """The most tokens that stand for pictures in any row."""

    def within(self, max_length: int) -> Longest:
        """The same, cut to `max_length` as training would cut it."""
        tokens = min(self.tokens, max_length)
        return dataclasses.replace(
            self, tokens=tokens, scored=min(self.scored, tokens), pictured=min(self.pictured, tokens)
        )


def longest_of(rows: Rows) -> Longest:
    """The longest of rows that are encoded."""
    lengths = rows.lengths()
    at = max(range(len(lengths)), key=lambda one: (lengths[one], -one))
    scored = max(len(row.completion_ids) for side in rows.sides.values() for row in side)
    pictured = max(sum(one.tokens for one in row.pictures) for row in rows.first)
    return Longest(id=rows.ids[at], tokens=lengths[at], scored=scored, known="tokenised", pictured=pictured)


def guessed(frame: pl.DataFrame, answers: Sequence[str], *, system: str | None = None, each: int = 0) -> Longest | None:
    """The longest row of a canonical frame, its tokens estimated from its letters; None for an empty frame.

    Each of the columns `answers` may be the answer; `system` is put before prompts that have no system turn. Three
    letters a token, one token for each letter beyond U+2E80 (Chinese, Japanese, Korean) and each line break. Tools are
    counted, whether or not the chat template draws them; and `each` tokens for every picture, the most that the model
    makes of one.
    """
    if not frame.height:
        return None
    asked = _tokens("prompt")
    if system is not None:
        own = pl.col("prompt").list.eval(pl.element().struct.field("role") == "system").list.any()
        asked += pl.when(own).then(0).otherwise(pl.select(_of_text(pl.lit(system))).item())
    if "tools" in frame.columns:
        asked += pl.when(pl.col("tools").is_not_null()).then(_of_text(pl.col("tools"))).otherwise(0)
    told = pl.max_horizontal([_tokens(side) for side in answers]) if answers else pl.lit(0)
    seen = pl.col("images").list.len().fill_null(0).cast(pl.Int64) * each if each else pl.lit(0, pl.Int64)
    found = frame.select("id", tokens=asked + told + seen, scored=told, pictured=seen).select(
        pl.col("id").sort_by("tokens", "id", descending=[True, False]).first(),
        pl.col("tokens").max(),
        pl.col("scored").max(),
        pl.col("pictured").max(),
    )
    row = found.row(0, named=True)
    return Longest(
        id=row["id"],
        tokens=int(row["tokens"]),
        scored=int(row["scored"]),
        known="estimated",
        pictured=int(row["pictured"]),
    )


def _tokens(column: str) -> pl.Expr:
    each = _of_text(pl.element().struct.field("content").fill_null(""))
    return pl.col(column).list.eval(each).list.sum().cast(pl.Int64)


def _of_text(text: pl.Expr) -> pl.Expr:
    wide = text.str.count_matches(r"[\u2E80-\u{10FFFF}\n]")
    return ((text.str.len_chars() - wide) / CHARS_PER_TOKEN).ceil() + wide + TOKENS_PER_TURN
