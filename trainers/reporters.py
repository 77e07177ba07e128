"""What reporters are told beside what TRL logs: the stage's settings, and what the held-out rows say in the end.

Reporters are TensorBoard, and those of transformers that are installed: wandb, swanlab, trackio. TensorBoard lies in
the stage's folder; the others get the same values by their own callback, whose files and names are theirs.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Mapping
from typing import Any

from trainers.method import Plan

log = logging.getLogger(__name__)

CONFIGS = {"WandbCallback": "_wandb", "SwanLabCallback": "_swanlab", "TrackioCallback": "_trackio"}
"""Callback of transformers -> the attribute whose `config.update` takes a run's settings."""


def tell(plan: Plan, trainer: Any, metrics: Mapping[str, Any]) -> None:
    """Gives settings and held-out estimates to every reporter; a reporter that fails costs a warning, not the stage."""
    if not trainer.is_world_process_zero():
        return
    values, settings = held_out_values(metrics), settled(plan)
    tell_curves(plan, metrics, step=trainer.state.global_step)
    for callback in trainer.callback_handler.callbacks:
        name = type(callback).__name__
        if name not in CONFIGS:
            continue
        try:
            callback.on_log(trainer.args, trainer.state, trainer.control, model=trainer.model, logs=dict(values))
            getattr(callback, CONFIGS[name]).config.update({"prefdata": settings})
            if name == "TrackioCallback":
                callback.on_train_end(trainer.args, trainer.state, trainer.control, model=trainer.model)
        except Exception as error:  # a service's client may raise anything, and the stage is trained already
            log.warning("%s took no held-out metrics: %s", name.removesuffix("Callback"), type(error).__name__)


def tell_curves(plan: Plan, metrics: Mapping[str, Any], *, step: int) -> None:
    """Gives settings and held-out estimates to TensorBoard, where it is asked for."""
    if "tensorboard" in plan.settings.report_to:
        _tensorboard(plan, held_out_values(metrics), settled(plan), step=step)


def settled(plan: Plan) -> dict[str, Any]:
    """Method, model and every setting as used, defaults filled in; plain JSON data."""
    used = {**dataclasses.asdict(plan.settings), **{name: one.value for name, one in plan.defaults.items()}}
    whole = {"method": plan.method.name, "model": plan.start.name, "rows": len(plan.rows), "key": plan.key, **used}
    found: dict[str, Any] = json.loads(json.dumps(whole, default=str))
    return found


def held_out_values(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Every estimate of `before`, `after` and `change`, with its bounds, as flat names: `eval_after_auc_low`."""
    found: dict[str, float] = {}
    for part in ("before", "after", "change"):
        for name, one in metrics.get(part, {}).items():
            if isinstance(one, Mapping) and {"value", "low", "high"} <= set(one):
                found[f"eval_{part}_{name}"] = float(one["value"])
                found[f"eval_{part}_{name}_low"] = float(one["low"])
                found[f"eval_{part}_{name}_high"] = float(one["high"])
    return found


def _tensorboard(plan: Plan, values: Mapping[str, float], settings: Mapping[str, Any], *, step: int) -> None:
    """`held_out/<name>` at step 0 and at the last one, bounds as `held_out/<name>_low`, and the settings as text."""
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(plan.output_dir / "tensorboard"))
    text = json.dumps(settings, indent=2, sort_keys=True)
    writer.add_text("prefdata", "\n".join(f"    {line}" for line in text.splitlines()))
    for name, value in values.items():
        _, part, rest = name.split("_", 2)
        tag = f"held_out/change_{rest}" if part == "change" else f"held_out/{rest}"
        writer.add_scalar(tag, value, 0 if part == "before" else step)
    writer.close()
