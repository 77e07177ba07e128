"""One stage of training, whichever the method: rows encoded, everything decided, run, recorded."""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from prefdata.errors import InputError, RecipeError
from prefdata.io import write_json
from trainers.adapters import require_tuner
from trainers.arguments import check_arguments, check_generation, check_reporters
from trainers.chat_templates import given
from trainers.job import (
    ADAPTER,
    MODEL,
    RECORD,
    Machine,
    Stage,
    decisive,
    digest,
    finished,
    machine,
    quiet,
    require_training,
    versions,
    write_record,
)
from trainers.lineage import evidence, require
from trainers.measuring import SETTINGS as MEASURING
from trainers.measuring import forget
from trainers.memory.warning import foretold
from trainers.method import Method, Plan
from trainers.places import keyed, recorded
from trainers.preflight import examine
from trainers.preflight.model import vocabulary
from trainers.processes import barrier, shared, writes
from trainers.rows import choose
from trainers.start import model_record, open_start, parent_record
from trainers.vision.processor import looks_of
from trainers.vision.stage import OF_PICTURES, require_seeing, seen_record

log = logging.getLogger(__name__)

NEUTRAL = frozenset(["insist", "report_to", "save_steps"])
"""Settings that do not decide weights: a stage, or a checkpoint, made under others is as good."""


def train(
    method: Method,
    data: pl.DataFrame,
    evaluation: pl.DataFrame | None,
    *,
    model: str | Path,
    output_dir: str | Path,
    settings: Any = None,
    root: Path | None = None,
    pictures: Path | None = None,
) -> Stage:
    """The trained stage in `output_dir`: adapter or model, stage.json, metrics.json, samples.json, curves, a card.

    `data` and `evaluation` are canonical frames of the method's type. `model` is a name of the table of models, a
    folder, a hub id, or the folder of a finished stage, from which this one then goes on. A stage already there from
    the same rows, model and settings is given back as it is, whatever machine trained it, with a warning where another
    number of processes did. Where only held-out rows differ, or what is measured with them, it is measured anew and not
    trained. A killed one goes on from its newest whole checkpoint and ends in the same weights as an unbroken run on
    the same kind of machine; with another number of processes it is refused.

    Rows with pictures train a vision-language model: `images.uri` are addresses within the folder `pictures`. All are
    opened before the first step. Rows without pictures train it beside them.

    Raises InputError for rows that cannot train, RecipeError for wrong settings, CanaryError when the reference turns
    out not to be the start model.
    """
    settings = settings or method.settings()
    require_training()
    require_tuner(settings)
    check_arguments(method.config, settings.args, method.reserved)
    check_generation(settings)
    check_reporters(settings.report_to)
    output_dir = Path(output_dir)
    start = open_start(model, root=root)
    place = machine(settings.precision)
    require_seeing(method, settings, vision=start.vision, model=start.name)
    tokenizer = start.tokenizer(pictures)
    looks = looks_of(tokenizer)
    chat = evidence(start, tokenizer)
    require(method.name, start, chat, settings.insist)
    template = given(tokenizer, settings.chat_template, default=method.name == "sft", model=start.name)
    rows = method.encode(data, tokenizer, settings, name="training rows")
    if not len(rows):
        lost = ", ".join(f"{count} {reason}" for reason, count in rows.dropped.items()) or "none were given"
        raise InputError(f"training rows: none can be trained on ({lost})")
    least = getattr(method, "least_rows", None)
    batch = least(settings) if least else settings.per_device_batch * place.processes
    if len(rows) < batch:
        raise RecipeError(
            f"train: {len(rows)} rows cannot fill one batch of {batch // place.processes}"
            + (f" on each of {place.processes} processes" if place.processes > 1 else "")
        )
    held_out = None
    if evaluation is not None and evaluation.height:
        encoded = method.encode(evaluation, tokenizer, settings, name="held-out rows")
        held_out = choose(encoded, settings.max_evaluation_rows, seed=settings.seed) if len(encoded) else None
        if held_out is None:
            lost = ", ".join(f"{count} {reason}" for reason, count in encoded.dropped.items())
            log.warning(
                "%s: no held-out row can be measured (%s), so nothing is known of the result", method.name, lost
            )
    base = start.base()
    parent, named = parent_record(start, output_dir), model_record(start, output_dir)
    asked = getattr(method, "given", None)
    neutral = NEUTRAL | MEASURING | (frozenset() if looks is not None else OF_PICTURES)
    key = digest(
        {
            "method": method.name,
            "version": method.version,
            "settings": {name: value for name, value in keyed(plain(settings)).items() if name not in neutral},
            "base": base,
            "lineage": start.lineage(),
            "train": rows.digest(),
            "versions": decisive(settings),
            **({"given": asked(settings)} if asked else {}),
            **({"processor": looks.identity} if looks is not None else {}),
        }
    )
    measured = digest(
        {
            "settings": {name: value for name, value in plain(settings).items() if name in MEASURING},
            "evaluation": None if held_out is None else held_out.digest(),
        }
    )
    done = finished(output_dir, key)
    barrier()  # nobody may begin to write before all have looked
    if done is not None:
        tell_of_processes(done, place, settings)
        done = _where_it_is_now(done, {"model": named, "parent": parent})
    if done is not None and (done.record.get("measured") or {}).get("key") == measured:
        _tidy(output_dir)
        log.info("%s: the stage is finished already, from the same rows, model and settings", method.name)
        return done
    preflight = examine(
        method, rows, tokenizer, settings, vocabulary=vocabulary(start.folder), raw=data, held_out=held_out
    )
    preflight.require(settings.insist)
    for one in preflight.failing("major"):
        log.warning("%s: preflight: %s: %s", method.name, one.check, one.title)
    plan = Plan(
        method=method,
        settings=settings,
        defaults=method.defaults(settings, start),
        facts=method.facts(rows, settings),
        rows=rows,
        order=method.arrange(rows, settings).whole(batch),
        held_out=held_out,
        start=start,
        machine=place,
        tokenizer=tokenizer,
        output_dir=output_dir,
        key=key,
        measured=measured,
        root=root,
    )
    from trainers.loop import measure_again, run

    if done is not None:
        log.info("%s: the stage is trained already; its held-out rows are measured anew", method.name)
        record = forget(done)
        with quiet():
            found = measure_again(plan, done, record["metrics"])
        record |= {
            "settings": {
                **record["settings"],
                **{name: getattr(settings, name) for name in MEASURING if name in record["settings"]},
            },
            "evaluation": None if held_out is None else held_out.record(),
            "metrics": {**record["metrics"], **found},
            "measured": {"key": measured, "metrics": sorted(found)},
            "preflight": preflight.record(),
        }
        return _written(output_dir, record)
    memory = foretold(method.name, settings, rows, start, place, folders=getattr(method, "folders", {}))
    if writes():
        clear(output_dir, key)
        output_dir.mkdir(parents=True, exist_ok=True)
    with quiet():
        outcome = run(plan)
    record = {
        "method": method.name,
        "key": key,
        "model": named,
        "base": base,
        "parent": parent,
        "lineage": start.lineage(),
        "chat": {**chat._asdict(), "template": template},
        "settings": {
            **recorded(plain(settings), output_dir, getattr(method, "folders", {})),
            **{name: one.value for name, one in plan.defaults.items()},
        },
        "defaults": {name: one.source for name, one in plan.defaults.items()},
        "learning_rate_source": plan.defaults["learning_rate"].source if settings.learning_rate is None else "recipe",
        "arguments": outcome.arguments,
        "precision": "bfloat16" if place.bfloat16 else "float32",
        "device": place.device,
        "threads": place.threads,
        "processes": place.processes,
        "spread": place.spread,
        "versions": versions(),
        "data": {
            **rows.record(),
            "used": outcome.rows_used,
            "left_out_of_whole_batches": len(plan.order.left_out),
            "single_label_batches": plan.order.single_label_batches,
        },
        "evaluation": None if held_out is None else held_out.record(),
        **plan.facts,
        **({"pictures": seen_record(rows, looks)} if looks is not None else {}),
        "canary": outcome.canary,
        "reference": outcome.reference,
        "metrics": outcome.metrics,
        "measured": {"key": measured, "metrics": outcome.measured},
        "monitor": outcome.monitor,
        "preflight": preflight.record(),
        "memory": memory,
    }
    log.info("%s: %d rows, %d steps", method.name, outcome.rows_used, outcome.metrics["steps"])
    return _written(output_dir, record)


def _written(folder: Path, record: Mapping[str, Any]) -> Stage:
    stage = shared(write_record(folder, record) if writes() else Stage(folder=folder, record=record))
    _tidy(folder)
    return stage


def _tidy(folder: Path) -> None:
    """Removes from a finished stage what only an unfinished one needs."""
    if writes():
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        (folder / "before.json").unlink(missing_ok=True)


def tell_of_processes(stage: Stage, place: Machine, settings: Any) -> None:
    """Warns where the finished stage was trained with updates of another size than training it now would have."""
    trained: int = stage.record.get("processes", place.processes)
    if trained == place.processes:
        return
    each = settings.per_device_batch * settings.gradient_accumulation
    log.warning(
        "%s: trained with processes %d, updates of %d rows; now it is %d, updates of %d. It is taken as it is: remove "
        "the folder to train it anew",
        stage.folder.name,
        trained,
        each * trained,
        place.processes,
        each * place.processes,
    )


def _where_it_is_now(stage: Stage, start: Mapping[str, Any]) -> Stage:
    """The stage, whose record tells where its start is now: a run may have been moved, or the model."""
    record = {**stage.record, **start}
    if record == stage.record:
        return stage
    if writes():
        write_json(stage.folder / RECORD, record)
    return dataclasses.replace(stage, record=record)


def clear(folder: Path, key: str) -> None:
    """Removes what a stage writes at its end, whoever left it, and of another finished stage the curves too.

    An adapter of yesterday beside today's whole model would be read as what was trained; a stage that was killed after
    its weights were saved leaves them without a record. Checkpoints stay, each knows its key, and so does before.json.
    """
    try:
        found = json.loads((folder / RECORD).read_text(encoding="utf-8"))["key"]
    except (OSError, ValueError, KeyError):
        found = key
    (folder / RECORD).unlink(missing_ok=True)
    for name in (ADAPTER, MODEL, *(() if found == key else ("tensorboard",))):
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in ("metrics.json", "samples.json", "eval_rewards.parquet"):
        (folder / name).unlink(missing_ok=True)


def plain(settings: Any) -> dict[str, Any]:
    """Settings as JSON data."""
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in dataclasses.asdict(settings).items()
    }
