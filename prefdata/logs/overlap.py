"""How much of one turn's words comes back in another, whole-column, for English and Chinese."""

from __future__ import annotations

import polars as pl

from prefdata.logs.lexicons import entries

MIN_WORDS = 3
"""A turn of fewer words that carry meaning is too short to tell a repetition from a short answer."""


def words(text: pl.Expr) -> pl.Expr:
    """List(String) of the distinct words of `text` that carry meaning: Latin words and Chinese character pairs."""
    lower = text.str.to_lowercase()
    latin = lower.str.extract_all(r"[a-z0-9][a-z0-9']*")
    han = pl.concat_list(lower.str.extract_all(r"\p{Han}{2}"), lower.str.slice(1).str.extract_all(r"\p{Han}{2}"))
    content = latin.list.set_difference(pl.lit(list(entries("stop_words")), dtype=pl.List(pl.String)))
    return pl.concat_list(content, han).list.unique()


def shared_words(before: pl.Expr, after: pl.Expr) -> pl.Expr:
    """Words in common, as a share of the shorter turn's: in [0, 1], 0 under MIN_WORDS, null where a text is null."""
    left, right = words(before), words(after)
    shorter = pl.min_horizontal(left.list.len(), right.list.len())
    known = before.is_not_null() & after.is_not_null()
    share = left.list.set_intersection(right).list.len() / shorter
    return pl.when(known).then(pl.when(shorter >= MIN_WORDS).then(share).otherwise(0.0))
