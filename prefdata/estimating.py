"""How much memory the stages of a recipe take, or one method on one model; nothing is loaded but the rows of a run.

The formulas are trainers'; here a recipe's stages and the rows of its run are brought to them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from prefdata import catalogue
from prefdata.errors import RecipeError

if TYPE_CHECKING:
    from prefdata.recipe import Recipe
    from prefdata.recipe_parts import TrainingStage
    from trainers.memory import Longest, Memory, Report
    from trainers.memory.terms import Sharding


class Estimated(NamedTuple):
    """The memory of one stage."""

    name: str
    """Of the recipe's stage; the method's where there is no recipe."""
    method: str
    model: str | Path
    settings: Any
    report: Report

    def record(self) -> dict[str, Any]:
        """As plain JSON data."""
        return {"stage": self.name, **self.report.record()}


def of_recipe(
    recipe: Recipe,
    *,
    run: Path | None = None,
    stage: str | None = None,
    memory: Memory | None = None,
    devices: int = 1,
    sharding: Sharding = "none",
    changes: Mapping[str, Any] | None = None,
    root: Path | None = None,
) -> list[Estimated]:
    """The estimates of a recipe's stages, or of one; its longest row is that of `run` where that is built already.

    `changes` are settings that are taken in place of the recipe's. Raises RecipeError for a recipe that trains nothing,
    and for a model whose shape is not known here.
    """
    from trainers.memory import estimate_stage

    named = [one.name for one in recipe.stages]
    if not named:
        raise RecipeError("the recipe trains nothing: it has neither `train` nor `stages`")
    if stage is not None and stage not in named:
        raise RecipeError(f"--stage {stage}: the recipe has {', '.join(named)}")
    found = []
    for one in recipe.stages:
        if stage not in (None, one.name):
            continue
        settings = dataclasses.replace(one.settings, **(changes or {}))
        model = _model(recipe, one)
        report = estimate_stage(
            one.method,
            settings,
            model,
            memory=memory,
            longest=_longest(recipe, one, run or Path("runs") / recipe.name, root),
            devices=devices,
            sharding=sharding,
            scored_by=_scored_by(recipe, one),
            root=root,
        )
        found.append(Estimated(one.name, one.method, model, settings, report))
    return found


def of_method(
    method: str,
    model: str | Path,
    settings: Mapping[str, Any],
    *,
    memory: Memory | None = None,
    devices: int = 1,
    sharding: Sharding = "none",
    root: Path | None = None,
) -> Estimated:
    """The estimate of one method on one model; `settings` are those of the method that are not its defaults."""
    from trainers.memory import estimate_stage

    kind = catalogue.load("trainer", method)
    known = {field.name for field in dataclasses.fields(kind)}
    unknown = [name for name in settings if name not in known]
    if unknown:
        raise RecipeError([f"{name}: {method} has no such setting" for name in unknown])
    given = dict(settings)
    if "max_completion_length" in known and "max_length" in given:
        given.setdefault("max_completion_length", min(256, given["max_length"] // 2))
    made = kind(**given)
    report = estimate_stage(method, made, model, memory=memory, devices=devices, sharding=sharding, root=root)
    return Estimated(method, method, model, made, report)


def rehearsed(estimated: Estimated, *, fake: bool, root: Path | None = None) -> dict[str, Any]:
    """Two updates of the real trainer beside the estimate: on shapes alone where `fake`, else for real.

    The estimate is of the very rows of the rehearsal: some tokens of a row are always its template's. Answers are
    rewarded by their length there, so no reward model is in either.
    """
    from trainers.memory.estimate import estimate_step
    from trainers.memory.rehearsal import dry_run, measure

    method, guess = catalogue.method(estimated.method), estimated.report.estimate
    run = dry_run if fake else measure
    found = run(method, estimated.settings, estimated.model, guess.step, root=root)
    step = dataclasses.replace(
        guess.step, length=found.length, scored=found.scored, pictured=found.pictured, reward_models=0
    )
    guess = estimate_step(guess.shape, step)
    return {
        "how": found.how,
        "measured": found.peak,
        "estimated": guess.live,
        "ratio": round(guess.live / found.peak, 3),
    }


def _model(recipe: Recipe, stage: TrainingStage) -> str | Path:
    """The model at the bottom of what the stage starts from; a path is meant from the recipe."""
    by_name = {one.name: one for one in recipe.stages}
    while stage.model is None and stage.start is not None:
        stage = by_name[stage.start]
    model = str(stage.model)
    return recipe.root / model if (recipe.root / model).is_dir() else model


def _scored_by(recipe: Recipe, stage: TrainingStage) -> list[str | Path]:
    """The reward models among a stage's rewards: what an earlier stage was trained from, or a folder.

    A folder is meant from the recipe.
    """
    by_name = {one.name: one for one in recipe.stages}
    found: list[str | Path] = []
    for name, facts in getattr(stage.settings, "rewards", {}).items():
        if name in stage.scored_by:
            found.append(_model(recipe, by_name[stage.scored_by[name]]))
        elif facts and facts.get("kind", name) == "reward_model":
            found.append(recipe.root / Path(facts["model"]).expanduser())
    return found


def _longest(recipe: Recipe, stage: TrainingStage, run: Path, root: Path | None) -> Longest | None:
    """The longest row that the stage was given, or will be given of a run that is built; None where there is none."""
    if not (run / "run.json").is_file():
        return None
    import polars as pl

    from prefdata.rows import kept_rows
    from prefdata.schema import RecordType
    from prefdata.training_rows import other_run, source_of
    from trainers.memory import guessed
    from trainers.memory.shapes import shape_of
    from trainers.rows import ANSWERS

    wanted: RecordType = catalogue.method(stage.method).type
    seeing = shape_of(_model(recipe, stage), root=root).vision
    each = seeing.most if seeing is not None else 0
    given = run / "training" / stage.name / "train.parquet"
    if given.is_file():
        return guessed(pl.read_parquet(given, glob=False), ANSWERS[wanted], system=stage.settings.system, each=each)
    if stage.data.recipe is not None and not (other_run(run, stage.data.recipe) / "run.json").is_file():
        return None
    _, place, kind, _ = source_of(run, recipe, stage)
    rows = kept_rows(place, "train")
    if stage.data.sources is not None:
        rows = rows.filter(pl.col("source").is_in(stage.data.sources))
    answers = () if wanted is RecordType.PROMPT else ANSWERS[kind]
    if wanted is RecordType.SFT:  # learns from good answers alone
        answers = answers[:1]
        rows = rows.filter("label") if kind is RecordType.UNPAIRED else rows
    return guessed(rows, answers, system=stage.settings.system, each=each)
