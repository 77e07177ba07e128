"""What a recipe passes through to TRL, checked against the config class by name before anything is loaded."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
from collections.abc import Iterable, Mapping
from typing import Any

from prefdata.errors import RecipeError, nearest
from trainers.job import require_training

RESERVED = frozenset(
    [
        "output_dir",
        "learning_rate",
        "per_device_train_batch_size",
        "gradient_accumulation_steps",
        "max_steps",
        "num_train_epochs",
        "max_length",
        "seed",
        "data_seed",
        "report_to",
        "save_steps",
        "save_strategy",
        "save_total_limit",
        "save_only_model",
        "load_best_model_at_end",
        "ignore_data_skip",
        "auto_find_batch_size",
        "accelerator_config",
        "deepspeed",
        "disable_tqdm",
        "fsdp",
        "fsdp_config",
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
        "logging_dir",
        "run_name",
    ]
)
"""Arguments that a recipe cannot pass through `args` to any method: a setting of ours decides them, or nobody may."""


REPORTERS = {
    "tensorboard": "tensorboard",
    "wandb": "wandb",
    "swanlab": "swanlab",
    "trackio": "trackio",
    "mlflow": "mlflow",
    "comet_ml": "comet_ml",
    "clearml": "clearml",
    "neptune": "neptune",
    "dvclive": "dvclive",
}
"""Name in `report_to` -> the package that it needs."""


def unknown_reporters(names: Iterable[str]) -> list[str]:
    """A fault for every name that is no reporter, with the nearest that is."""
    return [
        f"report_to: unknown reporter {name!r}; {nearest(name, REPORTERS)}" for name in names if name not in REPORTERS
    ]


def check_reporters(names: Iterable[str]) -> None:
    """Raises RecipeError naming every reporter that is unknown, or whose package is not installed."""
    faults = unknown_reporters(names)
    faults += [
        f"report_to: {name} needs the package {REPORTERS[name]}: pip install {REPORTERS[name]}"
        for name in names
        if name in REPORTERS and importlib.util.find_spec(REPORTERS[name]) is None
    ]
    if faults:
        raise RecipeError(faults)


def config_class(config: str) -> Any:
    """The class behind `trl:KTOConfig`."""
    require_training()
    module, _, name = config.partition(":")
    return getattr(importlib.import_module(module), name)


def check_arguments(config: str, args: Mapping[str, Any], reserved: Iterable[str] = ()) -> None:
    """Raises RecipeError naming every key of `args` that the config class lacks, or that is not the recipe's to set."""
    kind = config_class(config)
    known = {entry.name for entry in dataclasses.fields(kind) if entry.init}
    kept = RESERVED | set(reserved)
    faults = [
        f"args: unknown key {key!r}; {_nearest_only(key, known, kind.__name__)}" for key in args if key not in known
    ]
    faults += [
        f"args: {key} is not passed through; it is decided by the settings of `train:` or by prefdata itself"
        for key in args
        if key in known & kept
    ]
    if faults:
        raise RecipeError(faults)


def _nearest_only(key: str, known: set[str], config: str) -> str:
    """A config class has some 130 names; only the close one helps."""
    hint = nearest(key, known)
    return hint.partition("? ")[0] + "?" if hint.startswith("did you mean") else f"{config} has nothing like it"
