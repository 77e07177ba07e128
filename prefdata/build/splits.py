"""Splits that do not leak: what belongs together stays on one side."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import polars as pl


def components(rows: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
    """`id` and `group`: the smallest id among all rows connected through equal values in any column of `by`.

    Null connects nothing.
    """
    import numpy as np
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ids = rows.select("id").sort("id")
    count = ids.height
    if count == 0:
        return pl.DataFrame(schema={"id": pl.String, "group": pl.String})
    numbered = ids.with_row_index("node")
    links: list[pl.DataFrame] = []
    for column in by:
        members = rows.select("id", pl.col(column).alias("value")).drop_nulls().join(numbered, on="id")
        links.append(
            members.select(left=pl.col("node").min().over("value"), right=pl.col("node")).filter(
                pl.col("left") != pl.col("right")
            )
        )
    edges = pl.concat(links)
    left, right = edges["left"].to_numpy(), edges["right"].to_numpy()
    graph = coo_array((np.ones(edges.height, dtype=np.int8), (left, right)), shape=(count, count))
    _, found = connected_components(graph, directed=False)
    return (
        numbered.with_columns(component=pl.Series(found))
        .with_columns(group=pl.col("id").min().over("component"))
        .select("id", "group")
    )


def split_by_hash(groups: pl.DataFrame, *, evaluation: float, seed: int) -> pl.DataFrame:
    """`id`, `split` ("train" or "evaluation"): whole groups, chosen by a hash of the group, up to the fraction.

    Groups are taken in the order of their hash while they fit into `evaluation` x rows; a group larger than half of
    that stays in training, so that a giant component cannot become the test set.
    """
    sizes = groups.group_by("group").agg(pl.len().alias("size"))
    names = sizes["group"].to_list()
    draws = [
        int.from_bytes(hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=7).digest(), "big") for name in names
    ]
    room = evaluation * groups.height
    taken = (
        sizes.with_columns(draw=pl.Series(draws, dtype=pl.Int64))
        .filter(pl.col("size") <= max(room / 2, 1.0) if evaluation else pl.lit(False))
        .sort(["draw", "group"])
        .filter(pl.col("size").cum_sum() <= room)
    )
    chosen = pl.col("group").is_in(taken["group"].to_list())
    return groups.select("id", split=pl.when(chosen).then(pl.lit("evaluation")).otherwise(pl.lit("train"))).sort("id")
