"""One run of TRL's trainer, start to end: scores before, training, scores and answers after. Loads torch."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.trainer_callback import PrinterCallback

from prefdata.errors import PrefdataError, RecipeError
from prefdata.io import write_json
from trainers.adapters import adapter_config, keep_exact, save
from trainers.arguments import config_class, refusals
from trainers.callbacks import (
    Bar,
    CanaryError,
    End,
    FirstLoss,
    TrainingEndedError,
    TrustedCheckpoints,
    newest_checkpoint,
)
from trainers.card import write_card
from trainers.curves import Curves, keep_curves
from trainers.job import Stage
from trainers.measuring import loaded, measured_after, measured_before, trained_model
from trainers.method import Plan, Reads
from trainers.monitor import Monitor
from trainers.processes import barrier, shard_on_cpu, shared, whole_weights, writes
from trainers.reference import proof
from trainers.reporters import tell, tell_curves
from trainers.shortages import KEPT_CHECKPOINTS, require_room, shortages
from trainers.vision.processor import looks_of

LEFT_OUT = ("runtime", "per_second", "total_flos", "num_tokens", "step_time")
"""Parts of names of logged values that belong to a machine, or that TRL counts anew after a kill."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a run found."""

    rows_used: int
    """Rows that training read, which is fewer than there are where max_steps ends it early."""
    arguments: dict[str, Any]
    canary: dict[str, Any] | None
    reference: dict[str, Any]
    metrics: dict[str, Any]
    measured: list[str]
    """Which of the metrics are of the held-out rows."""
    monitor: dict[str, Any]
    """What left its healthy range."""


def run(plan: Plan) -> Outcome:
    """Trains and evaluates; everything but stage.json is on disk afterwards.

    All processes of a run come through here together, each with the same rows in the same order: what is scored
    before and after is scored by all alike, since weights that are shared out can only be used by all at once. One of
    them writes.
    """
    with deterministic(), shortages(plan):
        return _run(plan)


def measure_again(plan: Plan, stage: Stage, metrics: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the held-out rows say of a finished stage, measured as at the end of training; nothing is trained.

    `metrics` are those of its training. Files, curves and card tell the new ones.
    """
    with deterministic(), shortages(plan):
        transformers.set_seed(plan.settings.seed)
        model = loaded(plan)
        before = measured_before(plan, model)
        transformers.set_seed(plan.settings.seed)
        found = measured_after(plan, trained_model(plan, model, stage), before)
    if writes():
        tell_curves(plan, {**metrics, **found}, step=metrics["steps"])
        write_card(plan, {**metrics, **found})
    return found


@contextlib.contextmanager
def deterministic() -> Iterator[None]:
    """The same sums in the same order every time, where torch has a way to; elsewhere it goes on as it can."""
    before = torch.are_deterministic_algorithms_enabled()
    filled = torch.utils.deterministic.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # writes every new tensor once more, to find bugs
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        torch.utils.deterministic.fill_uninitialized_memory = filled


def _run(plan: Plan) -> Outcome:
    settings = plan.settings
    transformers.set_seed(settings.seed)
    model = loaded(plan)
    before = measured_before(plan, model)
    transformers.set_seed(settings.seed)  # a run that finds `before` on disk draws what one that measured it draws
    reads = plan.method.reads(plan, model)
    checkpoint = shared(_go_on_from(plan) if writes() else None)
    trainer, arguments = build_trainer(plan, model, reads)
    with torch.random.fork_rng():  # what is looked up on disk once draws nothing, what is computed may
        if reads.after_build is not None:
            reads.after_build(trainer)
        expected = reads.first_loss(trainer) if callable(reads.first_loss) else reads.first_loss
    if expected is not None or plan.method.reference:
        trainer.add_callback(FirstLoss(expected, reads.reward_tolerance))
    monitor = Monitor(plan.method.name)
    trainer.add_callback(monitor)
    require_room(plan, trainer)
    with completions_only() if plan.machine.device == "cpu" else contextlib.nullcontext():
        try:
            with _refusals_of_the_first_step(plan, trainer):
                trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        except TrainingEndedError:
            trainer.callback_handler.on_train_end(trainer.args, trainer.state, trainer.control)
    history = [
        {name: _finite(value) for name, value in entry.items() if not any(part in name for part in LEFT_OUT)}
        for entry in trainer.state.log_history
        if "loss" in entry
    ]
    canary: dict[str, Any] | None = None
    if expected is not None:
        if not history or history[0]["step"] != 1:
            raise CanaryError("the first step's loss was not logged, so the reference model is unproven")
        canary = {"expected": round(expected, 6), "found": round(float(history[0]["loss"]), 6)}
    elif reads.unproven is not None:
        canary = {"unproven": reads.unproven}
    metrics: dict[str, Any] = {
        "steps": trainer.state.global_step,
        "first": history[0] if history else None,
        "last": history[-1] if history else None,
    }
    if reads.summary is not None:
        metrics |= reads.summary(history)
    weights = whole_weights(trainer)
    if writes():
        write_json(plan.output_dir / "metrics.json", history)
        save(plan, trainer.model, weights)
    barrier()
    reference: dict[str, Any] = dict(reads.reference)
    transformers.set_seed(settings.seed)
    if plan.held_out is not None and len(plan.held_out) and plan.method.reference:
        reference |= proof(plan, trainer)
    found = measured_after(plan, trainer.model, before)
    metrics |= found
    if writes():
        tell(plan, trainer, metrics)
        write_card(plan, metrics)
    return Outcome(
        rows_used=min(len(reads.dataset), math.ceil(round(trainer.state.epoch * len(reads.dataset), 6))),
        arguments=arguments,
        canary=canary,
        reference=reference,
        metrics=metrics,
        measured=sorted(found),
        monitor=monitor.record(),
    )


def _go_on_from(plan: Plan) -> Path | None:
    """The checkpoint that training goes on from, with the curves cut to it."""
    checkpoint = newest_checkpoint(plan.output_dir / "checkpoints", plan.key, vars(plan.machine))
    keep_curves(plan.output_dir / "tensorboard", int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0)
    return checkpoint


def build_trainer(plan: Plan, model: Any, reads: Reads) -> tuple[Any, dict[str, Any]]:
    """TRL's trainer for a plan, and the arguments that it was given; RecipeError where TRL refuses them."""
    from datasets import Dataset

    settings, place = plan.settings, plan.machine
    checkpointing = settings.gradient_checkpointing
    arguments: dict[str, Any] = {
        "learning_rate": plan.value("learning_rate"),
        "per_device_train_batch_size": settings.per_device_batch,
        "gradient_accumulation_steps": settings.gradient_accumulation,
        "max_steps": settings.max_steps or -1,
        "num_train_epochs": settings.epochs,
        "seed": settings.seed,
        "data_seed": settings.seed,
        "bf16": place.bfloat16,
        "use_cpu": place.device == "cpu",
        "gradient_checkpointing": place.device == "cuda" if checkpointing is None else checkpointing,
        "save_strategy": "steps" if settings.save_steps else "no",
        "save_steps": settings.save_steps or 500,
        "save_total_limit": KEPT_CHECKPOINTS,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "dataloader_pin_memory": place.device == "cuda",
        **reads.arguments,
        **settings.args,
    }
    names = [which.partition(":")[2] for which in (plan.method.config, plan.method.trainer)]
    with refusals(settings.args, names[0], of_settings=True):
        config = config_class(plan.method.config)(
            output_dir=str(plan.output_dir / "checkpoints"),
            report_to=[name for name in settings.report_to if name != "tensorboard"] or "none",
            disable_tqdm=True,
            **{"run_name": plan.output_dir.resolve().name, **arguments},
        )
    callbacks: list[Any] = [End(), TrustedCheckpoints(), *([Bar()] if writes() else [])]
    if "tensorboard" in settings.report_to and writes():
        from torch.utils.tensorboard import SummaryWriter

        callbacks.append(Curves(SummaryWriter(str(plan.output_dir / "tensorboard"))))
    looks = looks_of(plan.tokenizer)
    shard_on_cpu()
    # without use_json Arrow gives every tool call the arguments of all others, as nulls
    dataset, adapter = Dataset.from_list(reads.dataset, on_mixed_types="use_json"), adapter_config(plan, model)
    with refusals(settings.args, names[1]):
        trainer = config_class(plan.method.trainer)(
            model=model,
            args=config,
            train_dataset=dataset,
            peft_config=adapter,
            callbacks=callbacks,
            **{"processing_class": looks.processor if looks is not None else plan.tokenizer, **reads.options},
        )
    trainer.remove_callback(PrinterCallback)
    _require_first_step(plan, trainer.args)
    _require_all_rows(plan, trainer, reads)
    keep_exact(plan, trainer.model)
    return trainer, arguments


@contextlib.contextmanager
def _refusals_of_the_first_step(plan: Plan, trainer: Any) -> Iterator[None]:
    """What optimizers, schedules and losses make of `args` shows only when they are built, before the first update."""
    with contextlib.ExitStack() as stack:
        try:
            yield
        except (TypeError, ValueError, ImportError):
            if trainer.state.global_step == 0:
                stack.enter_context(refusals(plan.settings.args, plan.method.trainer.partition(":")[2]))
            raise


def _require_first_step(plan: Plan, args: Any) -> None:
    """The first step proves the reference, so it is logged whatever `args` say of the others."""
    logged = args.logging_first_step or args.logging_steps == 1
    if (plan.method.reference or getattr(plan.settings, "beta", 0)) and not (
        args.logging_strategy == "steps" and logged
    ):
        raise RecipeError(
            "args: logging_steps: the first step is not logged, which proves that the reference is the start model; "
            "set logging_first_step: true beside it"
        )


def _require_all_rows(plan: Plan, trainer: Any, reads: Reads) -> None:
    """Nothing was cut or left out behind our back: rows are encoded to fit, and packing keeps every token of them."""
    kept, given, what = len(trainer.train_dataset), len(reads.dataset), "rows"
    if getattr(trainer.args, "packing", False):
        lengths = plan.rows.lengths()
        kept, given, what = sum(map(len, trainer.train_dataset["input_ids"])), sum(lengths), "tokens of rows"
    if kept != given:
        raise PrefdataError(f"TRL kept {kept} of {given} {what} that were made to fit; a bug of ours")


def _finite(value: Any) -> Any:
    """JSON has no NaN; a curve with a gap shows that a step gave no number."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


@contextlib.contextmanager
def completions_only() -> Iterator[None]:
    """Has TRL's head score the positions of completions only, on a CPU too.

    TRL 1.16 does so where it has Triton and scores every position elsewhere, lest Neuron compile anew for each shape.
    A CPU compiles nothing. Without the private switch in another version of TRL nothing changes but the time.
    """
    from trl.trainer import utils

    switch = getattr(utils, "_use_triton", None)
    if switch is None:
        yield
        return
    utils._use_triton = lambda device: True
    try:
        yield
    finally:
        utils._use_triton = switch
