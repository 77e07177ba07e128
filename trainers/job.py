"""What every training stage shares: its record on disk, the machine it runs on, and quiet around other libraries.

A stage is a folder: the trained weights, `stage.json` (what was done, from what, with which result; no clock, no host),
`metrics.json` (one entry a logged step), TensorBoard files and a model card. What is optimised belongs to the trainer.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import logging
import os
import shutil
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from prefdata.errors import InputError, MissingExtraError
from prefdata.io import sha256_file, write_json
from trainers.processes import count, join, kind

RECORD = "stage.json"
ADAPTER = "adapter"
MODEL = "model"

PACKAGES = ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "tokenizers")

FOR_SOME = ("bitsandbytes", "deepspeed")
"""Packages that only some training needs: weights or optimizer states of few bits, and states spread by DeepSpeed."""

MEASURED = ("samples.json", "eval_rewards.parquet")
"""Files of a stage that tell what was measured of it."""

Precision = Literal["auto", "float32", "bfloat16"]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A finished stage of training."""

    folder: Path
    record: Mapping[str, Any]
    """stage.json: method, model, base, settings, arguments, data, evaluation, weights, canary, metrics, files."""

    @property
    def trained(self) -> Path:
        """The adapter's folder, or the whole model's after full fine-tuning; safetensors and tokenizer."""
        adapter = self.folder / ADAPTER
        return adapter if adapter.is_dir() else self.folder / MODEL

    @property
    def metrics(self) -> Mapping[str, Any]:
        """Held-out metrics `before` and `after`, and what the first and last steps logged."""
        found: Mapping[str, Any] = self.record["metrics"]
        return found


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where and in which precision the stage runs."""

    device: Literal["cpu", "cuda", "mps"]
    bfloat16: bool
    threads: int
    processes: int = 1
    """How many train together, each with its own share of every update's rows."""
    spread: str = "alone"
    """How weights and gradients are spread over them: alone, ddp, fsdp2, deepspeed."""


def machine(precision: Precision = "auto") -> Machine:
    """The accelerator if there is one, and bfloat16 only on a GPU that has it.

    A CPU counts as float32 even where torch accepts bfloat16: without AMX it is emulated, measured 9 times slower (an
    EPYC with AVX2, torch 2.15, 480 x 576 x 1536: 77 against 8.8 GFLOP/s on one thread).
    """
    torch = require_training()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS may add up in any order
    device: Literal["cpu", "cuda", "mps"] = "cpu"
    if torch.cuda.is_available():
        device = "cuda"
    elif torch.backends.mps.is_available():
        device = "mps"
    native = device == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    join(device)
    return Machine(
        device=device,
        processes=count(),
        spread=kind(),
        bfloat16=native if precision == "auto" else precision == "bfloat16",
        threads=torch.get_num_threads(),
    )


def require_training() -> Any:
    """The torch module. Raises MissingExtraError unless everything that training needs is installed."""
    try:
        import accelerate  # noqa: F401
        import datasets  # noqa: F401
        import peft  # noqa: F401
        import torch
        import trl  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("training a language model", "train") from error
    return torch


def read_stage(folder: Path) -> Stage:
    """The finished stage in `folder`. Raises InputError if there is none, or a file of it changed since."""
    folder = Path(folder)
    file = folder / RECORD
    if not file.is_file():
        raise InputError(f"{folder.name}: no {RECORD}; it holds no finished training stage")
    record = json.loads(file.read_text(encoding="utf-8"))
    for name, expected in record["files"].items():
        if not (folder / name).is_file() or sha256_file(folder / name) != expected:
            raise InputError(f"{folder.name}: {name} is missing or changed since the stage was finished")
    return Stage(folder=folder, record=record)


def finished(folder: Path, key: str) -> Stage | None:
    """The stage in `folder` if it is whole and was made from the same data, model and settings."""
    try:
        stage = read_stage(folder)
    except (InputError, ValueError, KeyError):
        return None
    return stage if stage.record.get("key") == key else None


def write_record(folder: Path, record: Mapping[str, Any]) -> Stage:
    """Writes stage.json last of all, with the hashes of the files that make up the stage."""
    parts = [file for part in (ADAPTER, MODEL) for file in sorted((folder / part).rglob("*")) if file.is_file()]
    parts += [folder / name for name in ("metrics.json", *MEASURED)]
    files = {file.relative_to(folder).as_posix(): sha256_file(file) for file in parts if file.is_file()}
    whole = {**record, "files": files}
    write_json(folder / RECORD, whole)
    return Stage(folder=folder, record=whole)


def versions() -> dict[str, str]:
    """Versions of the packages that trained weights depend on; of those that only some training needs, where installed.

    Nothing is imported for it.
    """
    found = {name: importlib.metadata.version(name) for name in PACKAGES}
    for name in FOR_SOME:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def decisive(settings: Any) -> dict[str, str]:
    """The versions that decide the weights of a stage: bitsandbytes for rounded weights or optimizer states alone.

    That of deepspeed decides none, as the number of processes does not: a stage is the same however it was spread.
    """
    optimizer = str(settings.args.get("optim", ""))
    rounded = settings.tuner == "qlora" or "bit" in optimizer or optimizer.startswith("paged")
    wanted = (*PACKAGES, *(("bitsandbytes",) if rounded else ()))
    return {name: version for name, version in versions().items() if name in wanted}


def trained_hash(record: Mapping[str, Any]) -> str:
    """SHA-256 of the files that a stage trained, which is what others go on from; not of what was measured of them."""
    files: Mapping[str, str] = record["files"]
    return digest({name: one for name, one in files.items() if name.startswith((f"{ADAPTER}/", f"{MODEL}/"))})


def digest(value: Any) -> str:
    """SHA-256 of plain data, independent of the order of keys."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


@contextlib.contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A new folder to fill, which takes the place of `folder` when the block ends without an error."""
    new = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    yield new
    shutil.rmtree(folder, ignore_errors=True)
    new.replace(folder)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hides what libraries say about choices that are made on purpose here; errors stay.

    Named: TRL on class weights (ours are set and recorded), transformers on generation flags and tied weights, torch
    on pinned memory without a GPU, and the bars that datasets draws for a second's work.
    """
    import datasets

    from trainers.models import quiet_progress

    loggers = [logging.getLogger(name) for name in ("trl", "transformers", "accelerate", "peft", "datasets")]
    levels = [logger.level for logger in loggers]
    bars = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), quiet_progress():
            warnings.filterwarnings("ignore", module=r"(trl|transformers|accelerate|peft|datasets|dill|torch)(\.|$)")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if bars:
            datasets.enable_progress_bars()
