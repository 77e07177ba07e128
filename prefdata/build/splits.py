"""Splits that do not leak and do not drift: what belongs together stays on one side, and stays there as data grows.

**The unit** is the connected component over the columns of `connect` (session, customer, prompt, near-duplicate
cluster), taken over *all* rows, also those that filters drop: the units then depend on no threshold, and grow or
merge, but never fall apart, when rows are appended.

**The law of the hash split.** Every row has an *anchor*, the first of its anchor columns that is not null (customer,
else session, else prompt, else its own id), and every anchor a draw: a hash of the salt and the anchor alone, in
[0, 1). Draws below the evaluation share belong to evaluation, draws from 1 - test share up to test, the others to
train. A unit whose anchors all drew one side goes there; any other is a *merge*, goes to train and is listed.

So a row's own draw never changes, and appended rows move a row only where they join its unit to an anchor that drew
another side, and then only to train: nothing that a model was trained on is ever held out later. No rule without a
memory can promise more: were the side of {a} kept whatever new anchor b joins it, and that of {b} whatever a joins it,
then all anchors would be on one side. A key such as the smallest id of a unit, or filling up to a quota, breaks even
this: both move units that nothing has joined.

**Strata** (label, language) are reported and not steered by: a label may change as data is appended, so a rule that
looks at it would move rows. Each stratum's expected share is the same, because the draw knows nothing of it;
`imbalance` says how far chance has put it off, and another salt, chosen before anyone trains, draws again.

**By time**, evaluation is the newest units: those all of whose rows are at or after the cut. A unit across the cut
goes to train and is listed. The cut follows from the share, so it moves as data is appended, unless it is given.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import polars as pl

TRAIN, EVALUATION, TEST = "train", "evaluation", "test"

HELD_OUT = (EVALUATION, TEST)

ANCHORS = ("customer", "session", "prompt")
"""Where a row's anchor is looked for, in this order."""

_STEPS = 1 << 48
"""Draws are whole numbers below it: exact in every comparison."""

TIME = pl.Datetime("us", "UTC")


class Splits(NamedTuple):
    """Where every row stands.

    `rows`: id, group (its unit: the smallest id in it), own (the side it would have taken alone), split; sorted by id.
    `cuts`: side -> first time that belongs to it; only of a split by time.
    """

    rows: pl.DataFrame
    cuts: dict[str, datetime]

    def merges(self) -> pl.DataFrame:
        """Units whose rows, alone, would have stood on different sides: `group`, `rows`, each side's rows, `ids`.

        `ids` are the rows that went to train for it, smallest first. Largest unit first.
        """
        mixed = self.rows.filter(pl.col("own").n_unique().over("group") > 1)
        sides = [(pl.col("own") == side).sum().cast(pl.Int64).alias(side) for side in (TRAIN, *HELD_OUT)]
        moved = pl.col("id").filter(pl.col("own") != pl.col("split")).sort().alias("ids")
        found = mixed.group_by("group").agg(pl.len().cast(pl.Int64).alias("rows"), *sides, moved)
        return found.sort(["rows", "group"], descending=[True, False])


def components(rows: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
    """`id` and `group`: the smallest id among all rows connected through equal values in any column of `by`.

    Null connects nothing.
    """
    import numpy as np
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ids = rows.select("id").sort("id")
    count = ids.height
    if count == 0 or not by:
        return ids.select("id", group=pl.col("id"))
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


def split_by_hash(
    rows: pl.DataFrame,
    *,
    connect: Sequence[str],
    shares: Mapping[str, float],
    salt: int,
    anchors: Sequence[str] = ANCHORS,
    units: pl.DataFrame | None = None,
) -> Splits:
    """The split by a hash of each unit's anchors; the law stands in the docstring of this module.

    `rows` has `id` and the columns of `connect`; of `anchors` those that it has are used. `shares` gives the fraction
    of anchors for `evaluation` and, where wanted, `test`; `units` are the components, where they are known.
    """
    named = [pl.col(name).cast(pl.String) for name in anchors if name in rows.columns]
    anchored = rows.select("id", anchor=pl.coalesce(*named, "id"))
    unique = anchored["anchor"].unique().sort()
    own = pl.DataFrame({"anchor": unique, "own": sides(unique, shares=shares, salt=salt)})
    found = components(rows, connect) if units is None else units
    found = found.join(anchored, on="id", how="left", maintain_order="left")
    found = found.join(own, on="anchor", how="left", maintain_order="left").select("id", "group", "own")
    return Splits(_united(found), {})


def sides(anchors: pl.Series, *, shares: Mapping[str, float], salt: int) -> pl.Series:
    """The side that each anchor draws. A larger share only adds to what a smaller one drew."""
    draws = pl.Series("draw", _draws(anchors.to_list(), salt), dtype=pl.Int64)
    evaluation, test = (round(shares.get(name, 0.0) * _STEPS) for name in HELD_OUT)
    drawn = pl.when(draws < evaluation).then(pl.lit(EVALUATION))
    return pl.select(drawn.when(draws >= _STEPS - test).then(pl.lit(TEST)).otherwise(pl.lit(TRAIN))).to_series()


def _draws(anchors: Sequence[str], salt: int) -> list[int]:
    """A batch kernel: 48 bits of a hash for each anchor."""
    return [
        int.from_bytes(hashlib.blake2b(f"{salt}:{anchor}".encode(), digest_size=6, person=b"split").digest(), "big")
        for anchor in anchors
    ]


def split_by_time(
    rows: pl.DataFrame,
    *,
    connect: Sequence[str],
    shares: Mapping[str, float],
    cuts: Mapping[str, datetime] | None = None,
) -> Splits:
    """The newest units held out: those all of whose rows are at or after the cut. A row without a time is of the past.

    `rows` has `id`, `time` (Datetime UTC) and the columns of `connect`. A cut that is not given is the earliest time
    from which on the units that begin there have at most the share of all rows; test stands after evaluation.
    """
    found = components(rows, connect).join(rows.select("id", pl.col("time").cast(TIME)), on="id", how="left")
    known = dict(cuts or {})
    starts = found.group_by("group").agg(
        start=pl.when(pl.col("time").is_not_null().all()).then(pl.col("time").min()), rows=pl.len()
    )
    later = starts.drop_nulls("start").group_by("start").agg(pl.col("rows").sum()).sort("start", descending=True)
    later = later.with_columns(pl.col("rows").cum_sum())
    share = 0.0
    for side in reversed(HELD_OUT):  # test is newer than evaluation
        share += shares.get(side, 0.0)
        if side not in known and shares.get(side, 0.0) > 0:
            room = later.filter(pl.col("rows") <= share * found.height)
            if room.height:
                known[side] = room["start"].to_list()[-1]
    own: Any = pl.when(pl.lit(False)).then(pl.lit(TRAIN))
    for side in reversed(HELD_OUT):
        if side in known:
            own = own.when(pl.col("time") >= pl.lit(known[side], dtype=TIME)).then(pl.lit(side))
    found = found.select("id", "group", own=own.otherwise(pl.lit(TRAIN)))
    return Splits(_united(found), known)


def _united(rows: pl.DataFrame) -> pl.DataFrame:
    """`rows` with `split`: the one side of all rows of a unit, and train where they have several."""
    alone = pl.col("own").n_unique().over("group") == 1
    return rows.with_columns(split=pl.when(alone).then(pl.col("own")).otherwise(pl.lit(TRAIN))).sort("id")


def giants(rows: pl.DataFrame, links: pl.DataFrame, connect: Sequence[str], *, share: float) -> list[dict[str, Any]]:
    """Units with at least `share` of the rows, largest first: `group`, `rows`, `split`, `share`, `values`.

    `values` counts the distinct values of each column of `connect`: a unit of 3,000 rows with one customer is a
    placeholder for a missing id, one with 1,400 customers and 12 prompts is held together by those prompts.
    """
    sizes = rows.group_by("group").agg(pl.len().cast(pl.Int64).alias("rows"), pl.col("split").first())
    large = sizes.filter(pl.col("rows") >= max(share * rows.height, 2)).sort(
        ["rows", "group"], descending=[True, False]
    )
    found = []
    for unit in large.iter_rows(named=True):
        members = links.join(rows.filter(pl.col("group") == unit["group"]), on="id", how="semi")
        values = {name: int(members[name].drop_nulls().n_unique()) for name in connect}
        found.append({**unit, "share": unit["rows"] / rows.height, "values": values})
    return found


def strata(rows: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
    """Each combination of values in `by`: `rows`, and the rows of each side; sorted by the values."""
    counts = [(pl.col("split") == side).sum().cast(pl.Int64).alias(side) for side in (TRAIN, *HELD_OUT)]
    return rows.group_by(by).agg(pl.len().cast(pl.Int64).alias("rows"), *counts).sort(by, nulls_last=True)


def imbalance(table: pl.DataFrame) -> float:
    """Fraction of the held-out rows that stand in another stratum than an even draw would give; 0 is even."""
    held = table.select(rows=pl.col("rows"), held=pl.col("rows") - pl.col(TRAIN))
    total, out = int(held["rows"].sum()), int(held["held"].sum())
    if not total or not out:
        return 0.0
    expected = held["rows"] * (out / total)
    return float((held["held"] - expected).abs().sum()) / (2 * out)
