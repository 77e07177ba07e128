"""A method's settings as the step that memory depends on."""

from __future__ import annotations

from typing import Any

from trainers.memory.devices import Memory
from trainers.memory.longest import Longest
from trainers.memory.terms import PAIRED, SAMPLING, Reference, Sharding, Step


def step_of(
    method: str,
    settings: Any,
    memory: Memory,
    *,
    longest: Longest | None = None,
    devices: int = 1,
    sharding: Sharding = "none",
) -> Step:
    """The step that `settings` lead to on such a device.

    Without a longest row every row is as long as `max_length` allows, and all of it may be the answer.
    """
    bfloat16 = memory.bfloat16 if settings.precision == "auto" else settings.precision == "bfloat16"
    row = (longest or unknown(settings)).within(settings.max_length)
    length, scored, generations = row.tokens, max(row.scored, 1), 0
    if method in SAMPLING:
        answer = settings.max_completion_length
        asked = settings.max_length - answer if row.known == "settings" else row.tokens
        length, scored = min(asked + answer, settings.max_length), answer
        generations = settings.per_device_batch * settings.micro_batches()
    checkpointing = settings.gradient_checkpointing
    return Step(
        method=method,
        tuner=settings.tuner,
        batch=settings.per_device_batch,
        length=settings.max_length if getattr(settings, "packing", False) else length,
        scored=settings.max_length if getattr(settings, "packing", False) else min(scored, length),
        padded=settings.per_device_batch > 1 or method in (*PAIRED, *SAMPLING) or getattr(settings, "packing", False),
        compute_bytes=2 if bfloat16 or settings.tuner == "qlora" else 4,
        lora_r=settings.lora_r,
        lora_layers=settings.lora_layers,
        lora_targets=settings.lora_targets,
        lora_vision=getattr(settings, "lora_vision", False),
        accumulation=settings.gradient_accumulation,
        checkpointing=memory.kind == "cuda" if checkpointing is None else checkpointing,
        reference=_reference(method, settings),
        optimizer="adamw_8bit" if "8bit" in str(settings.args.get("optim", "")) else "adamw",
        generations=generations,
        device=memory.kind,
        devices=devices,
        sharding=sharding,
    )


def unknown(settings: Any) -> Longest:
    """What must be assumed of rows that nobody has seen."""
    return Longest(id=None, tokens=settings.max_length, scored=settings.max_length, known="settings")


def _reference(method: str, settings: Any) -> Reference:
    """How the reference is there while training; `auto` may keep a store or not, so it counts as none."""
    full = settings.tuner == "full"
    if method in SAMPLING:
        return "none" if not settings.beta else "copy" if full else "adapter"
    store = getattr(settings, "reference_store", None)
    if store is None:
        return "none"
    if store not in ("auto", "never"):
        return "store"
    return "copy" if full else "adapter"
