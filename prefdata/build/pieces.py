"""What builders of preferences are given: one row an answer, checked and with all the columns that rows carry on."""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

from prefdata.build.built import as_messages, content_keys, is_empty, moved_images, need, optional, sameness, sift
from prefdata.schema import COMMON

CARRIED = {name: dtype for name, dtype in COMMON.items() if name not in ("id", "prompt", "source")}
"""Columns that a piece may have beside its id, source, prompt and answer: they are carried on."""


class Pieces(NamedTuple):
    """Answers that can be compared, sorted by id, and UNMADE of those that cannot."""

    sound: pl.DataFrame
    unmade: pl.DataFrame


def answers(rows: pl.DataFrame, *, what: str) -> pl.DataFrame:
    """`rows`, one an answer, sorted by id: `id`, `source`, `prompt`, `answer`, `key` and the columns of CARRIED.

    `prompt` and `answer` may be messages or text. `key` says which answers belong to one prompt; without it the prompt
    itself does (with its pictures and tools). `group` is the hash of the prompt where there is none.
    """
    need(rows, {"id": pl.String(), "source": pl.String()}, what=what)
    rows = as_messages(rows, {"prompt": "user", "answer": "assistant"}, what=what)
    rows = optional(rows, CARRIED)
    rows = rows.with_columns(_images=moved_images("images", {"prompt": "prompt"}), _tools=pl.col("tools").fill_null(""))
    own = content_keys(rows, ["prompt", "_images", "_tools"], purpose="prompt")
    rows = rows.with_columns(own.alias("_prompt"), _group=content_keys(rows, ["prompt"], purpose="prompt"))
    rows = rows.with_columns(
        key=pl.col("key").cast(pl.String).fill_null(pl.col("_prompt")) if "key" in rows.columns else pl.col("_prompt"),
        group=pl.coalesce("group", "_group"),
        _same=sameness("answer"),
        _empty=is_empty("answer", images="images"),
    )
    return rows.drop("_images", "_tools", "_group").sort("id")


def answers_with_ratings(rows: pl.DataFrame) -> Pieces:
    """Rated answers: the columns of `answers` and `rating` (a number, Float64 in the result).

    Unmade: no_rating (null or not a number), empty_completion, no_prompt, prompts_differ (all answers under a key that
    stands with several prompts).
    """
    need(rows, {"rating": None}, what="rated answers")
    found = answers(rows, what="rated answers").with_columns(pl.col("rating").cast(pl.Float64))
    return sound(found, {"no_rating": pl.col("rating").is_null() | ~pl.col("rating").is_finite()})


def sound(found: pl.DataFrame, rules: dict[str, pl.Expr]) -> Pieces:
    """The answers that pass `rules` and what any answer must: not empty, a prompt, one prompt under one key."""
    passed, unmade = sift(
        found,
        {
            **rules,
            "empty_completion": pl.col("_empty"),
            "no_prompt": is_empty("prompt", images="images"),
            "prompts_differ": (pl.col("_prompt").n_unique() > 1).over("key"),
        },
    )
    return Pieces(passed, unmade)
