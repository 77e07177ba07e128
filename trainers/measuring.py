"""What the held-out rows say of a stage: before and after training, and once more when only that was asked anew."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from prefdata.io import write_json, write_parquet
from trainers.adapters import frozen_layers
from trainers.job import ADAPTER, MEASURED, RECORD, Stage, digest
from trainers.method import Plan
from trainers.processes import barrier, shared, writes
from trainers.samples import sampled, write_samples
from trainers.trunk import SharedTrunk

SETTINGS = frozenset(["n_bootstrap", "max_evaluation_rows", "samples", "sample_tokens", "evaluation_generations"])
"""Settings that decide what is measured of a stage, and nothing of its weights."""


def loaded(plan: Plan) -> Any:
    """The start model on its device, ready to be measured and trained."""
    model = plan.method.load(plan, plan.dtype())
    model.to(plan.machine.device)
    frozen = frozen_layers(plan, model)
    if frozen:
        SharedTrunk(model, frozen)
    return model


def measured_before(plan: Plan, model: Any) -> dict[str, Any]:
    """What the start model scores and answers on the held-out rows; kept on disk for a run that is killed."""
    if plan.held_out is None or not len(plan.held_out):
        return {"measured": None, "answers": []}
    kept = plan.output_dir / "before.json"
    key = digest([plan.bits(), plan.measured])
    found: dict[str, Any] | None = shared(json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else None)
    if found is None or found["key"] != key:
        found = shared({"key": key, "measured": plan.method.before(plan, model), "answers": sampled(plan, model)})
        if writes():
            write_json(kept, found)
        barrier()
    return found


def measured_after(plan: Plan, model: Any, before: Mapping[str, Any]) -> Mapping[str, Any]:
    """The metrics of the trained model beside those of before; rows and answers are written beside the stage."""
    if plan.held_out is None or not len(plan.held_out):
        return {}
    held = plan.method.after(plan, model, before["measured"])
    answers = sampled(plan, model) if plan.method.answers else []
    if writes():
        write_parquet(plan.output_dir / "eval_rewards.parquet", held.frame)
        if plan.method.answers:
            write_samples(plan, before["answers"], answers)
    return held.metrics


def trained_model(plan: Plan, model: Any, stage: Stage) -> Any:
    """The trained model of a stage, measured as it was when training ended: its adapter beside the weights of `model`,
    the start model, and not merged into them; or its own whole weights."""
    if stage.trained.name == ADAPTER:
        from peft import PeftModel

        return PeftModel.from_pretrained(model, str(stage.trained)).to(plan.machine.device)
    whole = type(model).from_pretrained(
        str(stage.trained), dtype=plan.dtype(), use_safetensors=True, local_files_only=True
    )
    return whole.to(plan.machine.device)


def forget(stage: Stage) -> dict[str, Any]:
    """The record of a stage whose weights stand and of which nothing is measured; the files that told it are gone.

    Written first, so that a kill while it is measured costs the measuring and not the weights.
    """
    told = (stage.record.get("measured") or {"metrics": []})["metrics"]
    record = {
        **stage.record,
        "measured": None,
        "evaluation": None,
        "metrics": {name: one for name, one in stage.metrics.items() if name not in told},
        "files": {name: one for name, one in stage.record["files"].items() if name not in MEASURED},
    }
    if writes():
        write_json(stage.folder / RECORD, record)
        for name in MEASURED:
            (stage.folder / name).unlink(missing_ok=True)
    barrier()
    return record
