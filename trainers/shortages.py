"""Memory and disk that run out: told beforehand where they can be counted, and in plain words where they cannot."""

from __future__ import annotations

import contextlib
import errno
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prefdata.errors import PrefdataError, ResourceError
from trainers.method import Plan
from trainers.processes import count

KEPT_CHECKPOINTS = 2
"""Whole checkpoints that stay on disk; while the next is written there is one more."""

FULL_DISK = ("No space left", "os error 28", "Disk quota exceeded", "PytorchStreamWriter", "at inline_container.cc")
NO_MEMORY = ("DefaultCPUAllocator", "CUDA out of memory", "MPS backend out of memory", "Cannot allocate memory")


@contextlib.contextmanager
def shortages(plan: Plan) -> Iterator[None]:
    """Turns what torch, safetensors and the system say of full memory or disk into one ResourceError with a cure."""
    import torch

    try:
        yield
    except PrefdataError:
        raise
    except Exception as error:  # safetensors and polars have error classes of their own for everything
        if isinstance(error, torch.OutOfMemoryError | MemoryError) or _says(error, NO_MEMORY, errno.ENOMEM):
            raise ResourceError(_memory(plan)) from error
        if _says(error, FULL_DISK, errno.ENOSPC, errno.EDQUOT):
            raise ResourceError(_disk(plan)) from error
        raise


def require_room(plan: Plan, trainer: Any) -> None:
    """Raises ResourceError where the disk cannot hold the checkpoints and the trained weights.

    Counted as float32: trained weights, and in a checkpoint Adam's two moments of each beside them.
    """
    trained = 4 * sum(weight.numel() for weight in trainer.model.parameters() if weight.requires_grad)
    whole = 4 * sum(weight.numel() for weight in trainer.model.parameters())
    saved = whole if plan.settings.tuner == "full" else trained
    checkpoints = plan.output_dir / "checkpoints"
    wanted = saved
    if plan.settings.save_steps:
        wanted += (KEPT_CHECKPOINTS + 1) * (saved + 2 * trained)
    there = sum(file.stat().st_size for file in checkpoints.rglob("*") if file.is_file())
    free = shutil.disk_usage(plan.output_dir).free
    if free + there < wanted:
        raise ResourceError(
            f"train: {_size(free)} are free where {plan.output_dir.name} is written; the checkpoints "
            f"({KEPT_CHECKPOINTS} kept, one more while it is written) and the trained weights take {_size(wanted)}. "
            "Make room, write elsewhere, or set save_steps: 0 and do without checkpoints"
        )


def _says(error: BaseException, texts: tuple[str, ...], *codes: int) -> bool:
    said = str(error)
    return getattr(error, "errno", None) in codes or any(text in said for text in texts)


def _memory(plan: Plan) -> str:
    settings = plan.settings
    where = "the GPU" if plan.machine.device != "cpu" else "this machine"
    each = " in a process" if count() > 1 else ""
    cures = []
    if settings.per_device_batch > 2:
        half = settings.per_device_batch // 2
        cures.append(f"per_device_batch: {half} with gradient_accumulation: {settings.gradient_accumulation * 2}")
    if not settings.gradient_checkpointing:
        cures.append("gradient_checkpointing: true")
    if settings.tuner == "full":
        cures.append("tuner: lora, or more GPUs with --config fsdp2")
    elif settings.tuner != "qlora" and plan.machine.device == "cuda":
        cures.append("tuner: qlora")
    cures.append("a smaller max_length")
    return (
        f"{plan.method.name}: the memory of {where} ran out, with {settings.per_device_batch} rows{each} of up to "
        f"{max(plan.rows.lengths(), default=0)} tokens. `prefdata estimate` shows what every part needs and what would "
        f"fit; try {'; '.join(cures)}"
    )


def _disk(plan: Plan) -> str:
    folder: Path = plan.output_dir
    free = shutil.disk_usage(folder).free
    return (
        f"{plan.method.name}: the disk ran full while {folder.name} was written ({_size(free)} free). Make room and "
        "run it again: it goes on from the last whole checkpoint"
    )


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"
