"""The labels of a run's rows: replies of logs are labelled by what customers did, rows of datasets bring theirs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import polars as pl

from prefdata import judging
from prefdata.judging import RowFilter
from prefdata.recipe import Recipe
from prefdata.schema import SCHEMAS, RecordType

RUDENESS = "toxicity_completion"
"""The score that is one of the combiner's signals."""

LABELS = ("label", "label_confidence", "label_sources", "evidence")


def labels(
    recipe: Recipe, shards: Iterable[tuple[pl.DataFrame, Path]], scores: pl.DataFrame
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """`id` and LABELS of every row, sorted by id, and the card of how they came.

    `shards`: the signals of each, and the file of its records. Rows that are not unpaired have no label.
    """
    if recipe.type is not RecordType.UNPAIRED:
        found = pl.concat([beside.select("id") for beside, _ in shards]).sort("id")
        nothing = [pl.lit(None, SCHEMAS[RecordType.UNPAIRED][name]).alias(name) for name in LABELS]
        return found.with_columns(nothing), {"method": "none"}
    mined, given = [], []
    for beside, records in shards:
        if "turn" in beside.columns:
            mined.append(beside)
        else:
            given.append(pl.read_parquet(records, columns=["id", *LABELS], glob=False))
    card: dict[str, Any] = {"method": "given"}
    parts = given
    if mined:
        signals = pl.concat(mined)
        found, card = combined(recipe, signals, scores)
        parts = [found, *given]
    if given:
        card["given"] = sum(one.height for one in given)
    return pl.concat(parts).sort("id"), card


def combined(recipe: Recipe, signals: pl.DataFrame, scores: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, Any]]:
    """`id` and LABELS of replies of logs, sorted by id, from their signals and, where it is known, their rudeness."""
    from prefdata.logs.combine import combine
    from prefdata.logs.credit import credit

    ids = signals.select("id", "session", "turn")
    frame = credit(signals.drop("rev"), policy=recipe.credit.policy, factor=recipe.credit.factor)
    if RUDENESS in scores.columns:
        frame = frame.join(scores.select("id", RUDENESS), on="id", how="left", maintain_order="left")
    found = combine(frame.drop("id"), settings=recipe.labels)
    joined = ids.join(found.labels, on=["session", "turn"], how="left", maintain_order="left").sort("id")
    return joined.drop("session", "turn").select("id", *LABELS), found.card


def labelled(
    recipe: Recipe, records: pl.DataFrame, signals: pl.DataFrame, filters: list[RowFilter]
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """The replies of one log with their labels, for a run that builds other rows of them; and the card.

    Labels are learnt from this log alone. Where the run has the filter `toxicity`, rude replies tell against
    themselves as in a run of unpaired rows.
    """
    scores = records.select("id")
    rude = next((one for one in filters if f"{one.scorer.name}_completion" == RUDENESS), None)
    if rude is not None and records.height:
        scores = scores.hstack(judging.judge(records, rude, "completion"))
    found, card = combined(recipe, signals, scores)
    order = records.columns
    return records.drop(LABELS).join(found, on="id", how="left", maintain_order="left").select(order), card
