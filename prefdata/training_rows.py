"""The rows that a stage of training is given: of its own run or of another recipe's, as its method reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import polars as pl

from prefdata import building, catalogue
from prefdata.recipe_parts import Recipe, TrainingStage
from prefdata.rows import kept_rows
from prefdata.schema import RecordType

OTHERS = "data"
"""Folder of the runs of other recipes that stages take rows from."""

Side = Literal["train", "evaluation"]

SIDES: tuple[Side, ...] = get_args(Side)


class Taken(NamedTuple):
    """Where a stage takes its rows from."""

    recipe: Recipe
    run: Path
    type: RecordType
    """Of the rows there."""
    wanted: RecordType
    """That the stage's method reads."""


def other_run(run: Path, recipe: Recipe) -> Path:
    """Where the run of another recipe is that a stage takes rows from."""
    return run / OTHERS / recipe.name


def made_for(run: Path, recipe: Recipe, stage: TrainingStage, side: Side) -> building.Made:
    """The rows of one side of the split that a stage is given, made of the kept rows of its run."""
    source, place, record_type, wanted = source_of(run, recipe, stage)
    rows = kept_rows(place, side).drop("split")
    if stage.data.sources is not None:
        rows = rows.filter(pl.col("source").is_in(stage.data.sources))
    return building.made(rows, record_type, source, wanted, source=stage.name)


def source_of(run: Path, recipe: Recipe, stage: TrainingStage) -> Taken:
    """The recipe and the run that a stage takes rows from, their type, and the one that its method reads."""
    source = recipe if stage.data.recipe is None else stage.data.recipe
    place = run if stage.data.recipe is None else other_run(run, stage.data.recipe)
    facts = json.loads((place / "run.json").read_text(encoding="utf-8"))
    record_type = RecordType(facts["recipe"].get("type", RecordType.UNPAIRED))
    return Taken(source, place, record_type, catalogue.method(stage.method).type)
