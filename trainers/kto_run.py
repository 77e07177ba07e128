"""One KTO run, start to end: reference, training with TRL, scores and answers after. Loads torch; imported on use."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import torch
import transformers
from transformers.integrations import TensorBoardCallback
from transformers.trainer_callback import PrinterCallback
from trl import KTOConfig, KTOTrainer

from prefdata.balance import Weights
from prefdata.errors import PrefdataError, RecipeError
from prefdata.io import write_json, write_parquet
from trainers.answering import answers
from trainers.callbacks import Bar, CanaryError, FirstLoss, TrustedCheckpoints, newest_checkpoint, progress
from trainers.card import write_card
from trainers.evaluate_rewards import completion_logps, summarise
from trainers.job import ADAPTER, MODEL, Machine, digest, whole_folder
from trainers.kto_rows import Rows
from trainers.models import load_model, rounding
from trainers.ordering import Order
from trainers.trunk import SharedTrunk, decoder_layers, linear_names

if TYPE_CHECKING:
    from trainers.kto import KTOSettings

PROBES = 4
"""Held-out rows whose reference log-probability is taken again after training, to prove that it did not move."""

LEFT_OUT = ("runtime", "per_second", "total_flos", "num_tokens")
"""Parts of names of logged values that belong to a machine, or that TRL counts anew after a kill."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """Everything one run needs, decided beforehand."""

    rows: Rows
    order: Order
    held_out: Rows | None
    weights: Weights
    settings: KTOSettings
    learning_rate: float
    machine: Machine
    folder: Path
    base_name: str
    tokenizer: Any
    output_dir: Path
    key: str


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a run found."""

    rows_used: int
    """Rows that training read, which is fewer than there are where max_steps ends it early."""
    arguments: dict[str, Any]
    canary: dict[str, float]
    reference: dict[str, Any]
    metrics: dict[str, Any]


def run(job: Job) -> Outcome:
    """Trains and evaluates; everything but stage.json is on disk afterwards."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        return _run(job)
    finally:
        torch.use_deterministic_algorithms(before)


def _run(job: Job) -> Outcome:
    transformers.set_seed(job.settings.seed)
    model = load_model(job.folder, dtype=torch.bfloat16 if job.machine.bfloat16 else torch.float32)
    model.to(job.machine.device)
    frozen = _frozen_layers(job, model)
    if frozen:
        SharedTrunk(model, frozen)
    before = _before(job, model)
    trainer, arguments = _trainer(job, model)
    canary = next(one for one in trainer.callback_handler.callbacks if isinstance(one, FirstLoss))
    checkpoint = newest_checkpoint(job.output_dir / "checkpoints", job.key)
    with _completions_only() if job.machine.device == "cpu" else contextlib.nullcontext():
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    history = [
        {name: _finite(value) for name, value in entry.items() if not any(part in name for part in LEFT_OUT)}
        for entry in trainer.state.log_history
        if "loss" in entry
    ]
    if not history or history[0]["step"] != 1:
        raise CanaryError(
            "the first step's loss was not logged, so the reference model is unproven; leave logging_steps"
        )
    metrics: dict[str, Any] = {"steps": trainer.state.global_step, "first": history[0], "last": history[-1]}
    write_json(job.output_dir / "metrics.json", history)
    _save(job, trainer)
    reference: dict[str, Any] = {}
    if job.held_out is not None and job.held_out.ids:
        reference = _after(job, trainer, before, metrics)
    write_card(job.output_dir, job.base_name, job.rows, metrics, rounded_to=rounding(job.folder))
    return Outcome(
        rows_used=len(trainer.train_dataset),
        arguments=arguments,
        canary={"expected": round(canary.expected, 6), "found": round(float(history[0]["loss"]), 6)},
        reference=reference,
        metrics=metrics,
    )


def _before(job: Job, model: Any) -> dict[str, Any]:
    """Log-probabilities and answers of the start model on the held-out rows; kept on disk for a run that is killed."""
    if job.held_out is None or not job.held_out.ids:
        return {"logps": [], "answers": []}
    kept = job.output_dir / "before.json"
    if kept.is_file():
        found = json.loads(kept.read_text(encoding="utf-8"))
        if found["key"] == job.key:
            return found  # type: ignore[no-any-return]
    with progress("held-out rows, start model", len(job.held_out.ids), "row") as bar:
        logps = completion_logps(
            model, job.held_out.encoded, pad_id=job.tokenizer.pad_token_id, advance=lambda done: bar.update(done)
        )
    found = {"key": job.key, "logps": logps, "answers": _answers(job, model)}
    write_json(kept, found)
    return found


def _trainer(job: Job, model: Any) -> tuple[KTOTrainer, dict[str, Any]]:
    from datasets import Dataset
    from peft import LoraConfig

    settings, place = job.settings, job.machine
    checkpointing = settings.gradient_checkpointing
    arguments: dict[str, Any] = {
        "beta": settings.beta,
        "learning_rate": job.learning_rate,
        "per_device_train_batch_size": settings.per_device_batch,
        "gradient_accumulation_steps": settings.gradient_accumulation,
        "max_steps": settings.max_steps or -1,
        "num_train_epochs": settings.epochs,
        "max_length": settings.max_length,
        "loss_type": settings.loss_type,
        "desirable_weight": job.weights.desirable,
        "undesirable_weight": job.weights.undesirable,
        "seed": settings.seed,
        "data_seed": settings.seed,
        "bf16": place.bfloat16,
        "use_cpu": place.device == "cpu",
        "gradient_checkpointing": place.device == "cuda" if checkpointing is None else checkpointing,
        "save_strategy": "steps" if settings.save_steps else "no",
        "save_steps": settings.save_steps or 500,
        "save_total_limit": 2,
        "logging_steps": 1,
        "train_sampling_strategy": "sequential",
        "dataloader_pin_memory": place.device == "cuda",
        **settings.args,
    }
    try:
        config = KTOConfig(
            output_dir=str(job.output_dir / "checkpoints"),
            report_to=[name for name in settings.report_to if name != "tensorboard"] or "none",
            disable_tqdm=True,
            **arguments,
        )
    except (TypeError, ValueError) as error:
        raise PrefdataError(f"train: TRL refuses the settings: {error}") from error
    wanted = (settings.max_steps or 0) * settings.gradient_accumulation * settings.per_device_batch
    rows = [
        {
            "prompt": job.rows.encoded[at].prompt,
            "completion": job.rows.encoded[at].completion,
            "label": job.rows.labels[at],
        }
        for at in (job.order.rows[:wanted] if wanted else job.order.rows)
    ]
    callbacks: list[Any] = [FirstLoss(_expected_first_loss(job, rows)), TrustedCheckpoints(), Bar()]
    if "tensorboard" in settings.report_to:
        from torch.utils.tensorboard import SummaryWriter

        callbacks.append(TensorBoardCallback(SummaryWriter(str(job.output_dir / "tensorboard"))))
    frozen = _frozen_layers(job, model)
    adapter = LoraConfig(
        r=settings.lora_r,
        lora_alpha=settings.lora_alpha,
        target_modules=linear_names(decoder_layers(model)) if frozen else "all-linear",
        layers_to_transform=list(range(frozen, len(decoder_layers(model)))) if frozen else None,
        task_type="CAUSAL_LM",
    )
    trainer = KTOTrainer(
        model=model,
        args=config,
        train_dataset=Dataset.from_list(rows),
        processing_class=job.tokenizer,
        peft_config=adapter if settings.tuner == "lora" else None,
        callbacks=callbacks,
    )
    trainer.remove_callback(PrinterCallback)
    if len(trainer.train_dataset) != len(rows):
        raise PrefdataError(
            f"TRL kept {len(trainer.train_dataset)} of {len(rows)} rows that were made to fit; a bug of ours"
        )
    return trainer, arguments


def _finite(value: Any) -> Any:
    """JSON has no NaN; a curve with a gap shows that a step gave no number."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _frozen_layers(job: Job, model: Any) -> int:
    """How many layers lie below the adapter; 0 where it sits on all of them."""
    wanted = job.settings.lora_layers
    if wanted is None or job.settings.tuner != "lora":
        return 0
    layers = decoder_layers(model)
    if layers is None or wanted > len(layers):
        found = "no plain list of layers" if layers is None else f"{len(layers)} layers"
        raise RecipeError(f"train: lora_layers: {wanted}; the model {job.base_name} has {found}")
    return len(layers) - wanted


@contextlib.contextmanager
def _completions_only() -> Iterator[None]:
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


def _expected_first_loss(job: Job, rows: list[dict[str, Any]]) -> float:
    """0.5 times the mean weight of the labels of the first update: policy and reference are still one model."""
    micro = [
        rows[start : start + job.settings.per_device_batch]
        for start in range(0, len(rows), job.settings.per_device_batch)
    ][: job.settings.gradient_accumulation]
    means = [
        sum(job.weights.desirable if row["label"] else job.weights.undesirable for row in batch) / len(batch)
        for batch in micro
    ]
    return 0.5 * sum(means) / len(means)


def _save(job: Job, trainer: KTOTrainer) -> None:
    lora = job.settings.tuner == "lora"
    with whole_folder(job.output_dir / (ADAPTER if lora else MODEL)) as folder:
        if lora:
            trainer.model.save_pretrained(str(folder), save_embedding_layers=False)
            (folder / "README.md").unlink(missing_ok=True)
            config = folder / "adapter_config.json"
            write_json(
                config, {**json.loads(config.read_text(encoding="utf-8")), "base_model_name_or_path": job.base_name}
            )
        else:
            trainer.model.save_pretrained(str(folder))
        job.tokenizer.save_pretrained(str(folder))


def _after(job: Job, trainer: KTOTrainer, before: dict[str, Any], metrics: dict[str, Any]) -> dict[str, Any]:
    held_out, settings = job.held_out, job.settings
    assert held_out is not None
    pad_id = job.tokenizer.pad_token_id
    model = trainer.model
    reference = _proof(job, model, before["logps"])
    with progress("held-out rows, trained model", len(held_out.ids), "row") as bar:
        logps = completion_logps(model, held_out.encoded, pad_id=pad_id, advance=lambda done: bar.update(done))
    rewards = [settings.beta * (new - old) for new, old in zip(logps, before["logps"], strict=True)]
    frame = pl.DataFrame(
        {
            "id": held_out.ids,
            "group": held_out.groups,
            "label": held_out.labels,
            "reward": pl.Series([round(one, 4) for one in rewards], dtype=pl.Float32),
            "tokens": pl.Series([len(row.completion_ids) for row in held_out.encoded], dtype=pl.Int32),
        }
    )
    write_parquet(job.output_dir / "eval_rewards.parquet", frame)
    if len(set(held_out.labels)) == 2:
        options = {"n_bootstrap": settings.n_bootstrap, "seed": settings.seed}
        still = summarise(held_out.labels, [0.0] * len(rewards), held_out.groups, **options)
        found = summarise(held_out.labels, rewards, held_out.groups, **options)
        length = summarise(held_out.labels, [-float(one) for one in frame["tokens"]], held_out.groups, **options)
        metrics |= {"before": still.record(), "after": found.record(), "shorter_is_better_auc": length.record()["auc"]}
    samples = _sample_rows(job)
    texts = _answers(job, model)
    write_json(
        job.output_dir / "samples.json",
        [
            {"id": held_out.ids[at], "prompt": held_out.encoded[at].prompt, "before": old, "after": text}
            for at, old, text in zip(samples, before["answers"], texts, strict=True)
        ],
    )
    return reference


def _proof(job: Job, model: Any, logps: list[float]) -> dict[str, Any]:
    """That the reference after training is the start model still: the shortest rows score as they did before."""
    assert job.held_out is not None
    rows = job.held_out.encoded
    probes = sorted(range(len(rows)), key=lambda at: (len(rows[at].prompt_ids) + len(rows[at].completion_ids), at))[
        :PROBES
    ]
    encoded = [rows[at] for at in probes]
    if job.settings.tuner == "lora":
        with model.disable_adapter():
            again = completion_logps(model, encoded, pad_id=job.tokenizer.pad_token_id)
    else:
        again = completion_logps(
            load_model(job.folder, dtype=model.dtype).to(job.machine.device), encoded, pad_id=job.tokenizer.pad_token_id
        )
    change = max(abs(new - logps[at]) for new, at in zip(again, probes, strict=True))
    if not change <= (0.5 if job.machine.bfloat16 else 0.01):
        raise CanaryError(
            f"the reference model moved during training: log-probabilities of {len(probes)} held-out rows changed by "
            f"up to {change:.3f}; the stage was not finished"
        )
    return {"probes": len(probes), "largest_change": round(change, 4)}


def _sample_rows(job: Job) -> list[int]:
    """Positions of the held-out rows that are answered: by a hash of the id, no group twice, no prompt twice."""
    assert job.held_out is not None
    held_out = job.held_out
    chosen: list[int] = []
    for at in sorted(range(len(held_out.ids)), key=lambda at: digest([job.settings.seed, held_out.ids[at]])):
        taken_groups = {held_out.groups[one] for one in chosen}
        taken_prompts = [held_out.encoded[one].prompt_ids for one in chosen]
        new = held_out.groups[at] not in taken_groups and held_out.encoded[at].prompt_ids not in taken_prompts
        if new and len(chosen) < job.settings.samples:
            chosen.append(at)
    return chosen


def _answers(job: Job, model: Any) -> list[str]:
    assert job.held_out is not None
    rows = _sample_rows(job)
    if not rows:
        return []
    chats = [job.held_out.encoded[at].prompt for at in rows]
    return answers(model, job.tokenizer, chats, max_new_tokens=job.settings.sample_tokens)
