"""The split of a run: which rows stand on which side, and the account of it.

Units and draws are taken over all records, also dropped ones, so that neither a changed threshold nor appended rows
move what was split before; the law stands in prefdata.build.splits. The report counts kept rows.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import polars as pl

from prefdata.build import leaks as leaking
from prefdata.build import splits as splitting
from prefdata.build.splits import Splits
from prefdata.io import write_parquet
from prefdata.judging import Decision
from prefdata.schema import stable_hash
from prefdata.stages import State, unfinish
from prefdata.text import joined_text, last_user_text

GIANT = 0.05
"""Share of the rows from which on a unit is named in the report."""

LISTED = 20
"""Merges, and ids of each, that the report names; splits.parquet has them all."""

SALTS = 16
"""Other salts tried for how evenly they would draw."""

MOST_TRIED = 200_000
"""Rows above which no other salt is tried."""


def links_of(state: State, decision: Decision) -> tuple[pl.DataFrame, list[str]]:
    """`id`, `time`, the anchors and the columns that connect, of every record; and the names of the latter.

    A duplicate cluster ties only rows that are long enough: "Thank you!" - "You are welcome." stands in every other
    session, and would make one unit of them all. Length is a row's own, so appended rows change nothing in it.
    """
    wanted = state.recipe.split.connect
    parts = []
    for shard in state.shards():
        frame = pl.read_parquet(shard, columns=["id", "group", "prompt", "completion", "meta", "time"], glob=False)
        prompt = stable_hash([frame.select(pl.struct("prompt").struct.json_encode()).to_series()], purpose="prompt")
        customer = pl.col("meta").str.json_path_match("$.customer")
        said = last_user_text("prompt").fill_null("").str.len_chars() + joined_text("completion").str.len_chars()
        long = said >= state.recipe.split.min_duplicate_chars
        parts.append(
            frame.select("id", "time", session="group", customer=customer, long=long).with_columns(prompt=prompt)
        )
    rows = pl.concat(parts).sort("id")
    connect: list[str] = [name for name in ("session", "customer", "prompt") if name in wanted]
    for grouping in state.groupings if "duplicates" in wanted else []:
        members = decision.clusters.filter(pl.col("grouping") == grouping.name)
        members = members.join(rows.filter("long"), on="id", how="semi").select(
            "id", pl.col("cluster").alias(grouping.name)
        )
        rows = rows.join(members, on="id", how="left", maintain_order="left")
        connect.append(grouping.name)
    return rows.drop("long"), connect


def split_run(state: State, decision: Decision, told: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, Any]]:
    """`id`, `group` and `split` of every kept row, and the account for the report; writes splits.parquet.

    `told` has `id`, `label` and `language` of every record.
    """
    settings = state.recipe.split
    rows, connect = links_of(state, decision)
    salt = state.recipe.seed if settings.salt is None else settings.salt
    if settings.by == "time":
        found = splitting.split_by_time(rows, connect=connect, shares=settings.shares(), cuts=settings.cuts())
    else:
        found = splitting.split_by_hash(rows, connect=connect, shares=settings.shares(), salt=salt)
    unfinish(state)
    write_parquet(state.run.path / "splits.parquet", found.rows)
    ids = decision.rows.filter("kept").select("id")
    kept = found.rows.join(ids, on="id", how="semi", maintain_order="left")
    labelled = kept.join(told.select("id", "label", "language"), on="id", how="left", maintain_order="left")
    table = splitting.strata(labelled, ["label", "language"])
    account: dict[str, Any] = {
        "by": settings.by,
        "connect": list(settings.connect),
        "sides": list(settings.sides()),
        "shares": settings.shares(),
        "salt": salt if settings.by == "hash" else None,
        "cuts": {side: cut.isoformat() for side, cut in found.cuts.items()},
        "units": kept["group"].n_unique(),
        "giants": splitting.giants(kept, rows, connect, share=GIANT),
        "merges": _merges(found, kept),
        "strata": table.to_dicts(),
        "imbalance": splitting.imbalance(table),
        "salt_tried": None,
        "leaks": _leaks(state, kept, decision),
    }
    if settings.by == "hash" and 0 < rows.height <= MOST_TRIED and any(settings.shares().values()):
        account["salt_tried"] = _other_salt(rows, connect, settings.shares(), salt, labelled)
    return kept.select("id", "group", "split"), account


def _merges(found: Splits, kept: pl.DataFrame) -> dict[str, Any]:
    """Units that joined what would have stood on two sides: how many, the kept rows that train for it, some by name."""
    merges = found.merges()
    moved = kept.filter(pl.col("own") != pl.col("split"))
    listed = merges.head(LISTED).with_columns(pl.col("ids").list.head(LISTED)).to_dicts()
    return {"units": merges.height, "rows": moved.height, "listed": listed}


def _other_salt(
    rows: pl.DataFrame, connect: list[str], shares: dict[str, float], salt: int, kept: pl.DataFrame
) -> dict[str, Any]:
    """The salt, of the one that is used and SALTS others, under which the strata stand most evenly."""
    best: dict[str, Any] = {}
    units = splitting.components(rows, connect)
    for tried in [salt, *[number for number in range(SALTS + 1) if number != salt][:SALTS]]:
        drawn = splitting.split_by_hash(rows, connect=connect, shares=shares, salt=tried, units=units).rows
        table = splitting.strata(kept.drop("split").join(drawn.select("id", "split"), on="id"), ["label", "language"])
        uneven = splitting.imbalance(table)
        held = int(table["rows"].sum()) - int(table["train"].sum())
        if held and (not best or uneven < best["imbalance"]):
            best = {"salt": tried, "imbalance": uneven, "held_out": held}
    return best


def _leaks(state: State, kept: pl.DataFrame, decision: Decision) -> list[dict[str, Any]]:
    """What each two sides share, by prefdata.build.leaks over the kept rows and their duplicate clusters."""
    clusters = decision.clusters.select("id", pl.col("grouping").alias("kind"), pl.col("cluster").alias("value"))
    found = [clusters.join(kept, on="id", how="semi", maintain_order="left")]
    for shard in state.shards():
        frame = pl.read_parquet(shard, columns=["id", "prompt", "completion", "meta"], glob=False)
        found.append(leaking.keys(frame.join(kept, on="id", how="semi", maintain_order="left")))
    keys = pl.concat(found).join(kept.select("id", "split"), on="id", how="left")
    names = [grouping.name for grouping in state.groupings]
    told: list[dict[str, Any]] = []
    for sides in combinations(state.recipe.split.sides(), 2):
        one, other = (keys.filter(pl.col("split") == side).drop("split") for side in sides)
        told += [{"sides": list(sides), **leak._asdict()} for leak in leaking.shared(one, other, also=names)]
    return told
