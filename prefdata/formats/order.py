"""The order in which unpaired rows are written: every stretch of a file holds both labels."""

from __future__ import annotations

import polars as pl


def interleave(rows: pl.DataFrame) -> pl.DataFrame:
    """`rows` with both labels spread evenly, so that trainers that read in file order see both in every batch.

    Rows of one label keep their order; those without a label are spread likewise. Rows that alternate stay as they are.
    """
    place = (pl.int_range(pl.len()).over("label") + 0.5) / pl.len().over("label")
    return rows.sort(place, maintain_order=True)
