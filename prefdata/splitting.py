"""The split of a run: which rows stand on which side, and the account of it.

Units and draws are taken over all records, also dropped ones, so that neither a changed threshold nor appended rows
move what was split before; the law stands in prefdata.build.splits. The report counts kept rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any, NamedTuple

import polars as pl

from prefdata.balance import REASONS, surplus
from prefdata.build import leaks as leaking
from prefdata.build import splits as splitting
from prefdata.build.splits import Splits
from prefdata.io import write_parquet
from prefdata.judging import Decision
from prefdata.mixture import whole, without
from prefdata.picture_rows import clusters_of, looking, own_groups, tied
from prefdata.schema import RecordType
from prefdata.sides import compared, length, prompts
from prefdata.stages import State, unfinish

GIANT = 0.05
"""Share of the rows from which on a unit is named in the report."""

LISTED = 20
"""Merges, and ids of each, that the report names; splits.parquet has them all."""

SALTS = 16
"""Other salts tried for how evenly they would draw."""

MOST_TRIED = 50_000
"""Rows above which no other salt is tried."""


def links_of(state: State, decision: Decision) -> tuple[pl.DataFrame, list[str]]:
    """`id`, `time`, the anchors and the columns that connect, of every record; and the names of the latter.

    A duplicate cluster ties only rows that are long enough: "Thank you!" - "You are welcome." stands in every other
    session, and would make one unit of them all. Length is a row's own, so appended rows change nothing in it. Rows of
    one picture, or of duplicates of it, are tied whatever is said of it: by a grouping that compares pictures, or
    `picture_duplicates` where the recipe names none; and so are those of one session or group of a file's own.
    """
    wanted = state.recipe.split.connect
    parts = []
    for shard in state.shards():
        columns = ["group", "meta", "time", *compared(state.type)]
        frame = pl.read_parquet(shard, columns=columns, glob=False)
        customer = pl.col("meta").str.json_path_match("$.customer")
        long = length(state.type) >= state.recipe.split.min_duplicate_chars
        parts.append(
            frame.select("id", "time", session="group", customer=customer, long=long).with_columns(
                prompt=prompts(frame), images=frame["images"], **_own_groups(frame, wanted)
            )
        )
    rows = pl.concat(parts).sort("id")
    connect: list[str] = [name for name in ("session", "customer", "prompt") if name in wanted]
    if "prompt" in wanted and rows["images"].null_count() < rows.height:
        groupings = looking(state.groupings) if "duplicates" in wanted else []
        rows = rows.with_columns(tied(rows, clusters_of(groupings, state.pictures())))
        connect.append("picture")
    for grouping in state.groupings if "duplicates" in wanted else []:
        members = decision.clusters.filter(pl.col("grouping") == grouping.name)
        members = members.join(rows.filter("long"), on="id", how="semi").select(
            "id", pl.col("cluster").alias(grouping.name)
        )
        rows = rows.join(members, on="id", how="left", maintain_order="left")
        connect.append(grouping.name)
    return rows.drop("long", "images", "own_groups", strict=False), connect


def _own_groups(frame: pl.DataFrame, wanted: Sequence[str]) -> dict[str, pl.Series]:
    """The sessions and groups of rows with pictures, of which a pair has two."""
    if "session" not in wanted:
        return {}
    if frame["images"].null_count() == frame.height:
        return {"own_groups": pl.repeat(None, frame.height, eager=True, dtype=pl.List(pl.String))}
    return {"own_groups": frame.select(own_groups())["meta"]}


class Division(NamedTuple):
    """Where every record stands (`splits`), and what connects them."""

    splits: Splits
    links: pl.DataFrame
    connect: list[str]


def divide(state: State, decision: Decision) -> Division:
    """The side of every record, kept or not; writes splits.parquet."""
    settings = state.recipe.split
    rows, connect = links_of(state, decision)
    if settings.by == "time":
        found = splitting.split_by_time(rows, connect=connect, shares=settings.shares(), cuts=settings.cuts())
    else:
        found = splitting.split_by_hash(rows, connect=connect, shares=settings.shares(), salt=_salt(state))
    unfinish(state)
    write_parquet(state.run.path / "splits.parquet", found.rows)
    return Division(found, rows, connect)


def even_out(state: State, decision: Decision, division: Division, told: pl.DataFrame) -> Decision:
    """The decision after the recipe's `balance`: kept rows of the training side that go, each with its reason.

    The funnel gets a step for each reason. Held-out rows stay as they are.
    """
    settings = state.recipe.balance
    if settings.idle():
        return decision
    sides = division.splits.rows.filter(pl.col("split") == splitting.TRAIN)
    train = decision.rows.filter("kept").join(sides, on="id", how="semi").select("id")
    gone = surplus(whole(state, train, told), settings, seed=state.recipe.seed, record_type=state.type)
    return without(decision, gone, told, REASONS)


def account(
    state: State, decision: Decision, division: Division, told: pl.DataFrame
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """`id`, `group` and `split` of every kept row, and the account for the report.

    `told` has `id`, `label` and `language` of every record.
    """
    settings, found, connect = state.recipe.split, division.splits, division.connect
    ids = decision.rows.filter("kept").select("id")
    kept = found.rows.join(ids, on="id", how="semi", maintain_order="left")
    labelled = kept.join(told.select("id", "label", "language"), on="id", how="left", maintain_order="left")
    table = splitting.strata(labelled, ["label", "language"])
    facts: dict[str, Any] = {
        "by": settings.by,
        "connect": list(settings.connect),
        "sides": list(settings.sides()),
        "shares": settings.shares(),
        "salt": _salt(state) if settings.by == "hash" else None,
        "cuts": {side: cut.isoformat() for side, cut in found.cuts.items()},
        "units": kept["group"].n_unique(),
        "giants": splitting.giants(kept, division.links, connect, share=GIANT),
        "merges": _merges(found, kept),
        "strata": table.to_dicts(),
        "imbalance": splitting.imbalance(table),
        "salt_tried": None,
        "leaks": _leaks(state, kept, decision),
    }
    few = 0 < division.links.height <= MOST_TRIED
    if settings.by == "hash" and few and any(settings.shares().values()):
        facts["salt_tried"] = _other_salt(division, settings.shares(), _salt(state), labelled)
    return kept.select("id", "group", "split"), facts


def _salt(state: State) -> int:
    return state.recipe.seed if state.recipe.split.salt is None else state.recipe.split.salt


def _merges(found: Splits, kept: pl.DataFrame) -> dict[str, Any]:
    """Units that joined what would have stood on two sides: how many, the kept rows that train for it, some by name."""
    merges = found.merges()
    moved = kept.filter(pl.col("own") != pl.col("split"))
    listed = merges.head(LISTED).with_columns(pl.col("ids").list.head(LISTED)).to_dicts()
    return {"units": merges.height, "rows": moved.height, "listed": listed}


def _other_salt(division: Division, shares: dict[str, float], salt: int, kept: pl.DataFrame) -> dict[str, Any]:
    """The salt, of the one that is used and SALTS others, under which the strata stand most evenly."""
    best: dict[str, Any] = {}
    rows, connect = division.links, division.connect
    units = division.splits.rows.select("id", "group")
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
        frame = pl.read_parquet(shard, columns=["meta", *compared(state.type)], glob=False)
        if state.type is RecordType.PROMPT:
            frame = frame.with_columns(completion=pl.lit(""))  # no answer, so that only prompts are compared
        found.append(leaking.keys(frame.join(kept, on="id", how="semi", maintain_order="left")))
    keys = pl.concat(found).join(kept.select("id", "split"), on="id", how="left")
    names = [grouping.name for grouping in state.groupings]
    told: list[dict[str, Any]] = []
    for sides in combinations(state.recipe.split.sides(), 2):
        one, other = (keys.filter(pl.col("split") == side).drop("split") for side in sides)
        told += [{"sides": list(sides), **leak._asdict()} for leak in leaking.shared(one, other, also=names)]
    return told
