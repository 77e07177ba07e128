"""What a recipe passes through to TRL, checked against the config class by name before anything is loaded."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import importlib.util
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from prefdata.errors import PrefdataError, RecipeError, nearest
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
    """Raises RecipeError naming every key of `args` that the config class lacks, that is not the recipe's to set, or
    whose value is no number or no truth value where the class takes nothing else."""
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
    hints = typing.get_type_hints(kind)
    faults += [
        f"args.{key}: {value!r}; expected {wanted}"
        for key, value in args.items()
        if key in known - kept and (wanted := _other_than(hints[key], value)) is not None
    ]
    if faults:
        raise RecipeError(faults)


def check_generation(settings: Any) -> None:
    """Raises RecipeError naming every key of `generation:` that transformers' GenerationConfig lacks; it takes any."""
    given = getattr(settings, "generation", None)
    if not given:
        return
    from transformers import GenerationConfig

    known = {name for name in vars(GenerationConfig()) if not name.startswith("_")} - {"transformers_version"}
    faults = [
        f"generation.{key}: unknown key; {_nearest_only(key, known, 'GenerationConfig')}"
        for key in given
        if key not in known
    ]
    if faults:
        raise RecipeError(faults)


@contextlib.contextmanager
def refusals(args: Mapping[str, Any], by: str, *, of_settings: bool = False) -> Iterator[None]:
    """Turns what TRL and what it is built on say of arguments into a RecipeError that names those of the recipe.

    Without any in the recipe the error is one of ours, and stays as it is; with `of_settings` it is told of those.
    """
    try:
        yield
    except PrefdataError:
        raise
    except (TypeError, ValueError, ImportError) as error:
        said = " ".join(str(error).split())[:300]
        if not args and of_settings:
            raise RecipeError(f"train: {by} refuses the settings: {said}") from error
        if not args:
            raise
        raise RecipeError(
            f"args: {by} refuses the stage with {', '.join(args)} set: {said}. Correct what it names, or leave it out"
        ) from error


_PLAIN = frozenset([int, float, bool, types.NoneType])


def _other_than(hint: Any, value: Any) -> str | None:
    """What is expected of an argument, where `value` is something else; only for numbers and truth values."""
    kinds = set(typing.get_args(hint)) if isinstance(hint, types.UnionType) else {hint}
    if value is None or not kinds <= _PLAIN or isinstance(value, tuple(kinds)):
        return None
    if float in kinds and isinstance(value, int):
        return None
    if not kinds & {int, float}:
        return "true or false"
    try:
        written = isinstance(value, str) and repr(float(value))
    except ValueError:
        written = False
    return "a number" + (f"; YAML reads this as text, so write {written}" if written else "")


def _nearest_only(key: str, known: set[str], config: str) -> str:
    """A config class has some 130 names; only the close one helps."""
    hint = nearest(key, known)
    return hint.partition("? ")[0] + "?" if hint.startswith("did you mean") else f"{config} has nothing like it"
