"""The mixture of a run: of the rows that pass, those that make up the set, by caps and by the weight of their source.

It comes after filters and duplicates and before the split is told: which side a row stands on is decided over all
records, so that no weight moves a row.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import polars as pl

from prefdata.build.mixing import Caps, capped, mix
from prefdata.judging import Decision, FunnelStep
from prefdata.labelling import LABELS
from prefdata.schema import RecordType
from prefdata.stages import State

REASONS = ("too_long", "over_cap_prompt", "over_cap_customer", "over_cap_source", "over_share")
"""Why a row is left out of the set, in the order in which it is asked."""


def mixed(state: State, decision: Decision, told: pl.DataFrame) -> tuple[Decision, list[dict[str, Any]] | None]:
    """The decision after the recipe's `mix`, and what each source gave; null where the recipe mixes nothing.

    A source without a row that passed has no share to fall short of.
    """
    settings = state.recipe.mix
    if settings is None:
        return decision, None
    rows = whole(state, decision.rows.filter("kept").select("id"), told)
    caps = Caps(
        per_prompt=settings.per_prompt,
        per_customer=settings.per_customer,
        per_source=settings.per_source,
        max_chars=settings.max_chars,
    )
    within = capped(rows, state.type, caps, seed=state.recipe.seed)
    unmade, table = [within.unmade], []
    passed = dict(rows.group_by("source").len().iter_rows())
    if within.rows.height:
        found = set(within.rows["source"].unique().to_list())
        weights = settings.weights and {name: weight for name, weight in settings.weights.items() if name in found}
        made = mix([within.rows], state.type, weights=weights, size=settings.size, seed=state.recipe.seed)
        unmade.append(made.built.unmade)
        table = made.shares.to_dicts()
    known = {row["source"]: row for row in table}
    shares = [
        {
            "source": source.name,
            "weight": (settings.weights or {}).get(source.name),
            "passed": passed.get(source.name, 0),
            "within_caps": known.get(source.name, {}).get("rows", 0),
            "wanted": known.get(source.name, {}).get("wanted", 0),
            "given": known.get(source.name, {}).get("made", 0),
        }
        for source in state.recipe.sources
    ]
    gone = pl.concat(unmade).select("id", reason=pl.col("reasons").list.first()).sort("id")
    return without(decision, gone, told, REASONS), shares


def whole(state: State, ids: pl.DataFrame, told: pl.DataFrame) -> pl.DataFrame:
    """The records named in `ids`, with their labels."""
    frames = []
    for shard in state.shards():
        frame = pl.read_parquet(shard, glob=False).join(ids, on="id", how="semi", maintain_order="left")
        if state.type is RecordType.UNPAIRED:
            order = frame.columns
            frame = frame.drop(LABELS).join(told.select("id", *LABELS), on="id", how="left", maintain_order="left")
            frame = frame.select(order)
        frames.append(frame)
    return pl.concat(frames)


def without(decision: Decision, gone: pl.DataFrame, told: pl.DataFrame, reasons: Sequence[str]) -> Decision:
    """The decision without the kept rows of `gone` (`id`, `reason`), and a step of the funnel for each reason."""
    rows = decision.rows.join(gone, on="id", how="left", maintain_order="left")
    funnel = list(decision.funnel)
    for reason in reasons:
        here = rows.filter(pl.col("reason") == reason).join(told.select("id", "label"), on="id", how="left")
        if here.height:
            last = funnel[-1]
            desirable, undesirable = int(here["label"].sum()), int((~here["label"]).sum())
            left = (last.rows - here.height, last.desirable - desirable, last.undesirable - undesirable)
            funnel.append(FunnelStep(reason, *left))
    own = pl.when(pl.col("reason").is_null()).then(pl.col("reasons"))
    rows = rows.with_columns(
        kept=pl.col("kept") & pl.col("reason").is_null(),
        reasons=own.otherwise(pl.concat_list("reasons", "reason")),
    )
    return dataclasses.replace(decision, rows=rows.drop("reason"), funnel=funnel)
