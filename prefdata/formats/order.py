"""The order in which unpaired rows are written: every stretch of a file holds both labels."""

from __future__ import annotations

import polars as pl


def interleave(frame: pl.DataFrame) -> pl.DataFrame:
    """The rows in an order that spreads the rarer label evenly, so that every stretch holds both; ties by id."""
    return (
        frame.sort("id")
        .with_columns(place=(pl.int_range(pl.len()).over("label") + 0.5) / pl.len().over("label"))
        .sort(["place", "label", "id"])
        .drop("place")
    )
