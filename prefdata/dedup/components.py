"""Groups from edges: the connected components of the graph of verified pairs."""

from __future__ import annotations

import numpy as np
import polars as pl

EDGES = pl.Schema({"left": pl.String(), "right": pl.String(), "similarity": pl.Float32()})

GROUPS = pl.Schema({"id": pl.String(), "cluster": pl.String(), "size": pl.UInt32(), "similarity": pl.Float32()})


def components(edges: pl.DataFrame) -> pl.DataFrame:
    """A row for each id with an edge, sorted: `cluster` (smallest id of its component), `size`, best `similarity`."""
    if not edges.height:
        return GROUPS.to_frame()
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    ids = pl.concat([edges["left"], edges["right"]]).unique().sort()
    index = pl.DataFrame({"id": ids, "node": np.arange(len(ids), dtype=np.int64)})
    ends = [
        edges.select(pl.col(side).alias("id"))
        .join(index, on="id", how="left", maintain_order="left")["node"]
        .to_numpy()
        for side in ("left", "right")
    ]
    graph = coo_matrix((np.ones(edges.height, dtype=np.uint8), (ends[0], ends[1])), shape=(len(ids), len(ids)))
    labels = connected_components(graph, directed=False)[1]
    best = (
        pl.concat([edges.select(pl.col(side).alias("id"), "similarity") for side in ("left", "right")])
        .group_by("id", maintain_order=True)
        .agg(pl.col("similarity").max())
    )
    return (
        pl.DataFrame({"id": ids, "label": labels})
        .with_columns(
            pl.col("id").min().over("label").alias("cluster"), pl.len().over("label").cast(pl.UInt32).alias("size")
        )
        .join(best, on="id", how="left", maintain_order="left")
        .select(*(pl.col(name).cast(dtype) for name, dtype in GROUPS.items()))
    )
