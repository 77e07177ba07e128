"""Exact duplicates: rows whose last customer turn and reply are the same text after normalisation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from prefdata.dedup.components import EDGES, components
from prefdata.dedup.shingles import normalised
from prefdata.schema import stable_hash


@dataclass(frozen=True, kw_only=True)
class ExactDuplicates:
    """Drops all but one of the rows with the same last customer turn and reply.

    Compared are the texts with pseudonyms by type, in NFKC and lower case, any white space as one space.
    """

    def build(self) -> ExactGrouping:
        """The grouping that these settings describe."""
        return ExactGrouping()


@dataclass(frozen=True, kw_only=True)
class ExactGrouping:
    """Rows of one normalised (customer, reply)."""

    name: str = "exact_duplicates"
    version: int = 1
    min_similarity: float = 1.0

    def parameters(self) -> Mapping[str, Any]:
        """Nothing: there is one way of being the same."""
        return {}

    def keys(self, frame: pl.DataFrame) -> pl.DataFrame:
        """`id` and `key`, a 128-bit hash of both texts in hex, keyed by PREFDATA_KEY where that is set."""
        texts = [normalised(frame["customer"]), normalised(frame["reply"])]
        # the length says where one text ends, whatever separator the texts themselves hold
        key = stable_hash([*texts, texts[0].str.len_bytes()], purpose="exact_duplicate", size=16)
        return pl.DataFrame({"id": frame["id"], "key": key})

    def edges(self, bucket: pl.DataFrame) -> pl.DataFrame:
        """A star for each key: its smallest id with each of the others, similarity 1."""
        return (
            bucket.select(pl.col("id").min().over("key").alias("left"), pl.col("id").alias("right"))
            .filter(pl.col("left") != pl.col("right"))
            .with_columns(pl.lit(1.0, dtype=pl.Float32).alias("similarity"))
            .select(EDGES.names())
            .sort("left", "right")
        )

    def groups(self, edges: pl.DataFrame) -> pl.DataFrame:
        """`id`, `cluster`, `size`, `similarity` of the rows that have a duplicate."""
        return components(edges)
