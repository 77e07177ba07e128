"""Who answers whom, followed to the first message: roots, depths and running maxima along chains of replies.

Pointer doubling: every round each message looks twice as far up, so a chain of n replies takes log2(n) rounds of
whole-column gathers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import polars as pl


class Lineage(NamedTuple):
    """One row a message, in the order given."""

    frame: pl.DataFrame
    """`parent` UInt32 (null at a root), `root` UInt32, `depth` Int64 (0 at a root), each `carried` column as its
    maximum over the message and all its ancestors, each `nearest` one as the first that is not null going up."""
    cut: int
    """How many reply links were cut because they closed a circle."""


def without_circles(parent: pl.Series) -> pl.Series:
    """`parent` with the links of circles (and of what hangs on them) cut where a message answers a later one."""
    start = pl.DataFrame({"parent": parent.cast(pl.UInt32)}).with_row_index("at")
    frame = start.with_columns(up=pl.col("parent"))
    for _ in range(_rounds(parent.len())):
        if frame["up"].null_count() == frame.height:
            return start["parent"]
        frame = frame.with_columns(up=pl.col("up").gather(pl.col("up")))
    backwards = pl.col("up").is_not_null() & (pl.col("at") <= pl.col("parent"))
    return frame.select(pl.when(~backwards).then(pl.col("parent")).alias("parent"))["parent"]


def lineage(parent: pl.Series, *, carried: Sequence[pl.Series] = (), nearest: Sequence[pl.Series] = ()) -> Lineage:
    """Root and depth, and what is `carried` down, for messages whose `parent` is the position of what they answer.

    Positions are of one time order: a link of a circle is cut where it points forwards.
    """
    sound = without_circles(parent)
    maxima, first = [series.name for series in carried], [series.name for series in nearest]
    frame = pl.DataFrame([sound.alias("parent"), *carried, *nearest]).with_row_index("root")
    frame = frame.with_columns(up=pl.col("parent"), depth=pl.col("parent").is_not_null().cast(pl.Int64))
    for _ in range(_rounds(parent.len())):
        if frame["up"].null_count() == frame.height:
            break
        up = pl.col("up")
        frame = frame.with_columns(
            pl.coalesce(pl.col("root").gather(up), "root").alias("root"),
            (pl.col("depth") + pl.col("depth").gather(up).fill_null(0)).alias("depth"),
            *[pl.max_horizontal(name, pl.col(name).gather(up)).alias(name) for name in maxima],
            *[pl.coalesce(name, pl.col(name).gather(up)).alias(name) for name in first],
            up.gather(up).alias("up"),
        )
    return Lineage(frame.select("parent", "root", "depth", *maxima, *first), sound.null_count() - parent.null_count())


def _rounds(height: int) -> int:
    return max(height, 1).bit_length() + 1
