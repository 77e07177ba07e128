"""Groups around a head: every member agrees with one and the same row, so that a chain of likenesses merges nothing.

The connected components of a graph of likenesses put A with C where A is like B and B like C, and a slow pan of a
camera becomes one cluster. Here a cluster is a row and those that are like it.
"""

from __future__ import annotations

import heapq
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from prefdata.dedup.components import GROUPS, components

Ints = NDArray[np.int64]


def around_heads(edges: pl.DataFrame) -> pl.DataFrame:
    """A row for each id that is in a cluster, sorted: `cluster` (its smallest id), `size`, best `similarity`.

    Edges of similarity 1 are of rows that are equal, and do chain. Heads are chosen by the number of those that are
    like them and belong to no cluster yet, then by id.
    """
    if not edges.height:
        return GROUPS.to_frame()
    equal = components(edges.filter(pl.col("similarity") >= 1)).select("id", unit="cluster")
    units = edges
    for side in ("left", "right"):
        units = units.join(equal.rename({"id": side, "unit": f"{side}_unit"}), on=side, how="left").with_columns(
            pl.coalesce(f"{side}_unit", side).alias(f"{side}_unit")
        )
    pairs = (
        units.select(
            left=pl.min_horizontal("left_unit", "right_unit"), right=pl.max_horizontal("left_unit", "right_unit")
        )
        .filter(pl.col("left") != pl.col("right"))
        .unique()
        .sort("left", "right")
    )
    ids = pl.concat([edges["left"], edges["right"]]).unique().sort()
    members = pl.DataFrame({"id": ids}).join(equal, on="id", how="left").with_columns(pl.coalesce("unit", "id"))
    heads = pl.DataFrame({"unit": [], "head": []}, schema={"unit": pl.String, "head": pl.String})
    if pairs.height:
        names = pl.concat([pairs["left"], pairs["right"]]).unique().sort()
        index = pl.DataFrame({"name": names, "node": np.arange(len(names), dtype=np.int64)})
        left, right = (
            pairs.select(name=side).join(index, on="name", how="left", maintain_order="left")["node"].to_numpy()
            for side in ("left", "right")
        )
        heads = pl.DataFrame({"unit": names, "head": names.gather(chosen_heads(left, right, len(names)))})
    grouped = (
        members.join(heads, on="unit", how="left")
        .with_columns(pl.coalesce("head", "unit").alias("head"))
        .with_columns(cluster=pl.col("id").min().over("head"), size=pl.len().over("head").cast(pl.UInt32))
        .filter(pl.col("size") > 1)
    )
    inside = grouped.select("id", "cluster")
    kept = (
        edges.select("left", "right", "similarity")
        .join(inside.rename({"id": "left", "cluster": "left_cluster"}), on="left")
        .join(inside.rename({"id": "right", "cluster": "right_cluster"}), on="right")
        .filter(pl.col("left_cluster") == pl.col("right_cluster"))
    )
    best = (
        pl.concat([kept.select(pl.col(side).alias("id"), "similarity") for side in ("left", "right")])
        .group_by("id")
        .agg(pl.col("similarity").max())
    )
    return (
        grouped.join(best, on="id", how="left")
        .sort("id")
        .select(*(pl.col(name).cast(dtype) for name, dtype in GROUPS.items()))
    )


def chosen_heads(left: Ints, right: Ints, count: int) -> Ints:
    """The head of each of `count` nodes, itself where none that is left is like it; edges are distinct."""
    ends = np.concatenate([left, right])
    order = np.argsort(ends, kind="stable")
    neighbours = np.concatenate([right, left])[order]
    starts = np.searchsorted(ends[order], np.arange(count + 1))
    head = np.full(count, -1, dtype=np.int64)
    free = np.diff(starts)
    # the node with the most free neighbours first, of equals the smallest; an entry whose count is old is put back
    queue: list[tuple[int, int]] = [(-int(free[node]), node) for node in range(count)]
    heapq.heapify(queue)
    while queue:
        told, node = heapq.heappop(queue)
        if head[node] >= 0:
            continue
        mine: NDArray[Any] = neighbours[starts[node] : starts[node + 1]]
        mine = mine[head[mine] < 0]
        if -told != mine.size:
            heapq.heappush(queue, (-int(mine.size), node))
            continue
        head[node] = node
        head[mine] = node
    return head
