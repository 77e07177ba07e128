"""The processes of one run of training: how many there are, which one writes, and what all of them must do together.

Started by `accelerate launch` (or torchrun), which sets RANK, LOCAL_RANK and WORLD_SIZE. Without them there is one
process, nothing here does anything, and torch.distributed is never touched. Several machines share one output folder.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")


def count() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "LOCAL_RANK" in os.environ and "RANK" in os.environ else 1


def rank() -> int:
    """Which of them this is; 0 for a process on its own."""
    return int(os.environ["RANK"]) if count() > 1 else 0


def writes() -> bool:
    """Whether this process writes the files of the stage: one of all of them does."""
    return rank() == 0


def kind() -> str:
    """How weights and gradients are spread: alone, ddp, fsdp2, fsdp1, or deepspeed."""
    if count() == 1:
        return "alone"
    if _flag("ACCELERATE_USE_DEEPSPEED"):
        return "deepspeed"
    if _flag("ACCELERATE_USE_FSDP"):
        return f"fsdp{os.environ.get('FSDP_VERSION', '1')}"
    return "ddp"


def sharded() -> bool:
    """Whether a process holds only its share of the weights once training has begun."""
    return kind() not in {"alone", "ddp"}


def join(device: str) -> None:
    """Meets the other processes: gloo on a CPU, NCCL on GPUs, and each process takes the GPU of its number."""
    if count() > 1:
        from accelerate import PartialState

        PartialState(cpu=device == "cpu")


def barrier() -> None:
    """Goes on when all processes are here."""
    if count() > 1:
        import torch.distributed as dist

        dist.barrier()


def shared(value: T) -> T:
    """What the writing process holds, in every process."""
    if count() == 1:
        return value
    from accelerate.utils import broadcast_object_list

    held: list[T] = [value]
    broadcast_object_list(held)
    return held[0]


def whole_weights(trainer: Any) -> Mapping[str, Any] | None:
    """All weights put together out of their shares, on the writing process; None where each process has them whole.

    To be called by all processes.
    """
    if not sharded():
        return None
    found: Mapping[str, Any] = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    return found


def shard_on_cpu() -> None:
    """Has accelerate shard on a CPU too, which it does on accelerators only; for tests of what GPUs will do.

    To be called between the making of TRL's arguments and of its trainer: accelerate 1.15 asks then of which kind the
    processes are, and reads its settings of FSDP for GPUs only.
    """
    from accelerate import PartialState
    from accelerate.utils import DistributedType

    state = PartialState()
    if kind().startswith("fsdp") and state.distributed_type is DistributedType.MULTI_CPU:
        state.distributed_type = DistributedType.MULTI_GPU


def _flag(name: str) -> bool:
    return os.environ.get(name, "false").lower() in {"1", "true", "yes"}
