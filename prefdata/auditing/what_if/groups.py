"""What a grouping would do: clusters, rows dropped, and both at other similarities, from the edges that it keeps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from prefdata.auditing.what_if.curves import NEAREST
from prefdata.auditing.what_if.settings import Asked, similarity_setting
from prefdata.judging import Grouping, decide

STEPS = tuple(round(0.05 * number, 2) for number in range(21))

Oriented = Callable[[pl.DataFrame], pl.DataFrame] | None


@dataclass(frozen=True, kw_only=True)
class Similarity:
    """What a grouping would come to with rows this alike in one cluster, every filter aside."""

    threshold: float
    kept: int
    clusters: int
    found: float | None
    """The chance that a pair of this similarity is compared at all; null where the grouping does not tell."""


@dataclass(frozen=True, kw_only=True)
class Clusters:
    """The clusters of a grouping at its present similarity."""

    threshold: float
    setting: str | None
    """The setting that is the threshold; null where it is fixed."""
    clusters: int
    rows: int
    """Rows in a cluster."""
    largest: int
    """Rows of the largest cluster."""
    conflicting: int
    """Rows dropped because their cluster holds both labels, or both orders of a pair."""
    points: tuple[Similarity, ...]


def decided(
    scored: pl.DataFrame, grouping: Grouping, edges: pl.DataFrame, *, labelled: bool, oriented: Oriented
) -> tuple[pl.Series, pl.DataFrame]:
    """Ids of the rows that the grouping drops, sorted, and its clusters as `judging.decide` lists them.

    `scored` needs no other rows than those of the edges.
    """
    decision = decide(scored, [], [(grouping, edges)], labelled=labelled, oriented=oriented)
    reasons = pl.col("reasons")
    dropped = reasons.list.contains(grouping.name) | reasons.list.contains("conflicting_labels")
    return decision.rows.filter(dropped)["id"].sort(), decision.clusters


def clusters(
    scored: pl.DataFrame, asked: Asked, grouping: Grouping, edges: pl.DataFrame, *, labelled: bool, oriented: Oriented
) -> tuple[Clusters, pl.Series]:
    """The clusters of a grouping, with the curve over its similarity where a setting moves it; and what it drops."""
    ends = pl.concat([edges["left"], edges["right"].alias("left")]).unique().alias("id").to_frame()
    narrow = scored.select("id", "label", "label_confidence").join(ends, on="id", how="semi")
    gone, found = decided(narrow, grouping, edges, labelled=labelled, oriented=oriented)
    setting = similarity_setting(asked.settings)
    points = []
    for threshold in sorted({*STEPS, grouping.min_similarity}) if setting else []:
        moved = asked.moved(setting, threshold) if setting else None
        if moved is None:
            continue
        other = moved.built.build()
        lost, here = (
            (gone, found)
            if threshold == grouping.min_similarity
            else decided(narrow, other, edges, labelled=labelled, oriented=oriented)
        )
        chance = getattr(other, "chance", None)
        points.append(
            Similarity(
                threshold=threshold,
                kept=scored.height - len(lost),
                clusters=here["cluster"].n_unique(),
                found=round(chance(threshold), 4) if chance is not None else None,
            )
        )
    sizes = found.group_by("cluster").len()["len"]
    return (
        Clusters(
            threshold=grouping.min_similarity,
            setting=setting,
            clusters=len(sizes),
            rows=found.height,
            largest=sizes.sort().to_list()[-1] if len(sizes) else 0,
            conflicting=int(found["conflict"].sum()),
            points=tuple(points),
        ),
        scored["id"].is_in(gone.implode()),
    )


def nearest_edges(edges: pl.DataFrame, threshold: float) -> pl.DataFrame:
    """`row`, `other`, `score`, `kept` of the pairs of rows nearest to the threshold, NEAREST on each side.

    `row` is the later one of a pair; `kept` is true of pairs that are not alike enough. Equal texts are next to no
    threshold and are left out.
    """
    frame = edges.select(
        row=pl.col("right").cast(pl.UInt32),
        other=pl.col("left").cast(pl.UInt32),
        score=pl.col("similarity").cast(pl.Float64).round(4),
    ).filter(pl.col("score") < 1)
    frame = frame.with_columns(far=(pl.col("score") - threshold).abs(), apart=pl.col("score") < threshold)
    parts = [
        frame.filter(pl.col("apart") == apart)
        .sort("far", "row", "other")
        .unique("row", keep="first", maintain_order=True)
        .head(NEAREST)
        for apart in (True, False)
    ]
    return pl.concat(parts).select("row", "other", "score", kept="apart")
