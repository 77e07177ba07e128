"""KTO on unpaired rows: a start model and labelled answers in, an adapter with the proof of what it learned out.

TRL's KTOTrainer optimises. Here is what it leaves to its caller: the order of rows, class weights, lengths, the proof
that the reference is the start model, continuing after a kill, and held-out rows scored before and after.
Ethayarajh et al., 2024, KTO: Model Alignment as Prospect Theoretic Optimization.
"""

from __future__ import annotations

import dataclasses
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import polars as pl

from prefdata.balance import Weights, kto_weights
from prefdata.errors import RecipeError, nearest
from trainers.job import (
    Precision,
    Stage,
    digest,
    finished,
    machine,
    quiet,
    require_training,
    versions,
    write_record,
)
from trainers.kto_rows import Rows, choose, encode_rows, require_both_labels
from trainers.models import MODELS, identity, load_tokenizer, resolve, rounding
from trainers.ordering import interleave
from trainers.rendering import protect

log = logging.getLogger(__name__)

VERSION = 1
"""Raised when the same rows, model and settings would train to other weights."""

LEARNING_RATES = {
    "lora": (5e-6, "LLaMA-Factory's KTO example with LoRA"),
    "full": (1e-6, "TRL's KTO page: not above 1e-6 at beta 0.1"),
}
"""Tuner -> learning rate where the recipe names none, and where it is from."""

OWN_ARGUMENTS = frozenset(
    [
        "output_dir",
        "beta",
        "learning_rate",
        "per_device_train_batch_size",
        "gradient_accumulation_steps",
        "max_steps",
        "num_train_epochs",
        "max_length",
        "seed",
        "data_seed",
        "loss_type",
        "desirable_weight",
        "undesirable_weight",
        "report_to",
        "save_steps",
        "save_strategy",
        "bf16",
        "fp16",
        "use_cpu",
        "train_sampling_strategy",
        "trust_remote_code",
        "push_to_hub",
        "hub_model_id",
        "hub_token",
        "hub_private_repo",
        "resume_from_checkpoint",
        "disable_dropout",
        "sync_ref_model",
        "precompute_ref_log_probs",
        "logging_dir",
        "run_name",
    ]
)
"""Arguments of KTOConfig that a recipe cannot pass through `args`: a setting of ours decides them, or nobody may."""


@dataclass(frozen=True, kw_only=True)
class KTOSettings:
    """How to train with KTO."""

    beta: float = 0.1
    """How strongly the policy is held to its reference; more holds more."""
    learning_rate: float | None = None
    """Peak learning rate; null takes 5e-6 for LoRA, 1e-6 for full fine-tuning."""
    tuner: Literal["lora", "full"] = "lora"
    """Train an adapter on all linear layers, or every weight."""
    lora_r: int = 16
    """Rank of the adapter."""
    lora_alpha: int = 32
    """Scale of the adapter: its output is multiplied by lora_alpha / lora_r."""
    lora_layers: int | None = None
    """Put the adapter on the last layers only, so many; the frozen ones below then run once a batch. null is all."""
    per_device_batch: int = 4
    """Rows in one forward pass, at least 2: the KL term is estimated among them."""
    gradient_accumulation: int = 4
    """Forward passes before one update."""
    max_steps: int | None = None
    """Updates; null trains for `epochs`."""
    epochs: float = 1.0
    """Passes over the rows, where max_steps is null."""
    max_length: int = 1024
    """Tokens of prompt and completion together; older turns are cut to fit, completions never."""
    system: str | None = None
    """System turn for prompts that have none; null leaves that to the model's own template."""
    loss_type: Literal["kto", "apo_zero_unpaired"] = "kto"
    """kto, or APO-zero without a KL term: for rows whose good answers are better than the model's own."""
    desirable_weight: float | None = None
    """Weight of desirable rows; null for both weights sets them from the counts, between 1:1 and 4:3."""
    undesirable_weight: float | None = None
    """Weight of undesirable rows; see desirable_weight."""
    precision: Precision = "auto"
    """auto is bfloat16 on a GPU that has it and float32 everywhere else."""
    gradient_checkpointing: bool | None = None
    """Trade time for memory; null does so on a GPU only."""
    save_steps: int = 10
    """Updates between checkpoints, from which a killed run goes on; 0 writes none."""
    seed: int = 0
    """Of the order of rows, the adapter's first weights, the bootstrap."""
    n_bootstrap: int = 1000
    """Resamples behind each interval of the held-out metrics."""
    max_evaluation_rows: int | None = 1000
    """Held-out rows scored, chosen by a hash of their id; null scores all."""
    samples: int = 3
    """Held-out prompts answered before and after training."""
    sample_tokens: int = 48
    """Longest sampled answer, in tokens."""
    report_to: tuple[str, ...] = ("tensorboard",)
    """Where curves go: tensorboard, and any reporter of transformers that is installed."""
    args: dict[str, Any] = field(default_factory=dict)
    """Further arguments of TRL's KTOConfig, checked by name."""

    def __post_init__(self) -> None:
        faults = [
            f"{name}: {getattr(self, name)}; expected {bound}"
            for name, sound, bound in (
                ("beta", self.beta > 0, "more than 0"),
                ("learning_rate", self.learning_rate is None or self.learning_rate > 0, "more than 0"),
                ("lora_r", self.lora_r >= 1, "at least 1"),
                ("lora_alpha", self.lora_alpha >= 1, "at least 1"),
                ("lora_layers", self.lora_layers is None or self.lora_layers >= 1, "at least 1"),
                ("per_device_batch", self.per_device_batch >= 2, "at least 2: KTO estimates its KL term within it"),
                ("gradient_accumulation", self.gradient_accumulation >= 1, "at least 1"),
                ("max_steps", self.max_steps is None or self.max_steps >= 1, "at least 1"),
                ("epochs", self.epochs > 0, "more than 0"),
                ("max_length", self.max_length >= 16, "at least 16"),
                ("save_steps", self.save_steps >= 0, "0 or more"),
                ("seed", 0 <= self.seed < 2**32, "0 to 2**32 - 1"),
                ("n_bootstrap", self.n_bootstrap >= 1, "at least 1"),
                ("samples", self.samples >= 0, "0 or more"),
                ("sample_tokens", self.sample_tokens >= 1, "at least 1"),
            )
            if not sound
        ]
        if (self.desirable_weight is None) != (self.undesirable_weight is None):
            faults.append("desirable_weight and undesirable_weight: set both or neither")
        if faults:
            raise RecipeError(faults)


def check_arguments(args: Mapping[str, Any]) -> None:
    """Raises RecipeError naming every key of `args` that KTOConfig lacks, or that is not the recipe's to set."""
    require_training()
    from trl import KTOConfig

    known = {entry.name for entry in dataclasses.fields(KTOConfig) if entry.init}
    faults = [f"args: unknown key {key!r}; {_nearest_only(key, known)}" for key in args if key not in known]
    faults += [
        f"args: {key} is not passed through; it is decided by the settings of `train:` or by prefdata itself"
        for key in args
        if key in known & OWN_ARGUMENTS
    ]
    if faults:
        raise RecipeError(faults)


def train_kto(
    train: pl.DataFrame,
    evaluation: pl.DataFrame | None,
    *,
    model: str | Path,
    output_dir: Path,
    settings: KTOSettings | None = None,
    root: Path | None = None,
) -> Stage:
    """The trained stage in `output_dir`: adapter, stage.json, metrics.json, eval_rewards.parquet, samples.json, curves.

    `train` and `evaluation` are canonical unpaired frames; rows whose label is null are left out and counted. A stage
    already there from the same rows, model and settings is given back as it is; a killed one goes on from its newest
    whole checkpoint and ends in the same weights as an unbroken run on the same machine and number of threads.

    Raises InputError for one class only or empty completions, RecipeError for wrong settings, CanaryError when the
    reference turns out not to be the start model.
    """
    settings = settings or KTOSettings()
    require_training()
    check_arguments(settings.args)
    from trainers.kto_run import Job, run

    folder = resolve(model, root=root)
    output_dir = Path(output_dir)
    place = machine(settings.precision)
    tokenizer = protect(load_tokenizer(folder))
    rows = encode_rows(train, tokenizer, max_length=settings.max_length, system=settings.system, name="training rows")
    require_both_labels(rows.labels, name="training rows")
    if len(rows.ids) < settings.per_device_batch:
        raise RecipeError(f"train: {len(rows.ids)} rows cannot fill one batch of {settings.per_device_batch}")
    held_out = None
    if evaluation is not None and evaluation.height:
        held_out = choose(
            encode_rows(
                evaluation,
                tokenizer,
                max_length=settings.max_length,
                system=settings.system,
                name="held-out rows",
            ),
            settings.max_evaluation_rows,
            seed=settings.seed,
        )
    order = interleave(
        rows.labels,
        [len(row.prompt_ids) + len(row.completion_ids) for row in rows.encoded],
        [str(row.completion_ids) for row in rows.encoded],
        rows.ids,
        batch=settings.per_device_batch,
        seed=settings.seed,
    )
    weights = _weights(rows, settings)
    base = {"name": _public_name(str(model), folder), "sha256": identity(folder), "rounded_to": rounding(folder)}
    key = digest(
        {
            "version": VERSION,
            "settings": _plain(settings),
            "base": base,
            "train": rows.digest(),
            "evaluation": None if held_out is None else held_out.digest(),
            "versions": versions(),
            "threads": place.threads,
            "device": place.device,
        }
    )
    done = finished(output_dir, key)
    if done is not None:
        log.info("kto: the stage is finished already, from the same rows, model and settings")
        return done
    output_dir.mkdir(parents=True, exist_ok=True)
    job = Job(
        rows=rows,
        order=order,
        held_out=held_out,
        weights=weights,
        settings=settings,
        learning_rate=settings.learning_rate or LEARNING_RATES[settings.tuner][0],
        machine=place,
        folder=folder,
        base_name=base["name"],
        tokenizer=tokenizer,
        output_dir=output_dir,
        key=key,
    )
    with quiet():
        outcome = run(job)
    record = {
        "method": "kto",
        "key": key,
        "model": str(model),
        "base": base,
        "parent": None,
        "settings": {**_plain(settings), "learning_rate": job.learning_rate},
        "learning_rate_source": "recipe" if settings.learning_rate else LEARNING_RATES[settings.tuner][1],
        "arguments": outcome.arguments,
        "precision": "bfloat16" if place.bfloat16 else "float32",
        "device": place.device,
        "threads": place.threads,
        "versions": versions(),
        "data": {
            **rows.record(),
            "used": outcome.rows_used,
            "left_out_of_whole_batches": len(order.left_out),
            "single_label_batches": order.single_label_batches,
        },
        "evaluation": None if held_out is None else held_out.record(),
        "weights": weights._asdict(),
        "canary": outcome.canary,
        "reference": outcome.reference,
        "metrics": outcome.metrics,
    }
    stage = write_record(output_dir, record)
    shutil.rmtree(output_dir / "checkpoints", ignore_errors=True)
    (output_dir / "before.json").unlink(missing_ok=True)
    log.info("kto: %d rows, %d steps", len(order.rows), outcome.metrics["steps"])
    return stage


def _weights(rows: Rows, settings: KTOSettings) -> Weights:
    good, bad = sum(rows.labels), len(rows.labels) - sum(rows.labels)
    if settings.desirable_weight is None or settings.undesirable_weight is None:
        found = kto_weights(good, bad)
        assert found is not None  # both labels are there: require_both_labels
        return found
    ratio = settings.desirable_weight * good / (settings.undesirable_weight * bad)
    return Weights(settings.desirable_weight, settings.undesirable_weight, round(ratio, 4))


def _public_name(model: str, folder: Path) -> str:
    """What a model card may name: the hub id where there is one, else the folder's own name without its place."""
    if model in MODELS:
        return MODELS[model].huggingface
    return folder.name if Path(model).is_dir() else model


def _plain(settings: KTOSettings) -> dict[str, Any]:
    return {**dataclasses.asdict(settings), "report_to": list(settings.report_to)}


def _nearest_only(key: str, known: set[str]) -> str:
    """KTOConfig has some 130 names; only the close one helps."""
    hint = nearest(key, known)
    return hint.partition("? ")[0] + "?" if hint.startswith("did you mean") else "KTOConfig has nothing like it"
