"""What to change so that a step fits, in the order of what it costs: from nothing but time to another way of training.

Batch -> checkpointing -> reference kept on disk -> LoRA -> QLoRA -> several devices. Each change adds to those before.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from trainers.memory.devices import Memory
from trainers.memory.estimate import Estimate, estimate_step
from trainers.memory.shapes import Shape
from trainers.memory.terms import Step

BATCH, AGAIN = "per_device_batch: ", ", which fits again"

DEVICES = (2, 4, 8, 16, 32, 64)


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """One change, and what the step takes with it and all before it."""

    change: str
    """As a recipe says it."""
    estimate: Estimate
    fits: bool

    def record(self) -> dict[str, Any]:
        return {"change": self.change, "peak": self.estimate.total, "fits": self.fits}


def suggest(shape: Shape, step: Step, memory: Memory) -> list[Suggestion]:
    """The changes that lead down to what fits `memory`; none where the step fits as it is.

    A change that saves nothing is left out. The last one fits, or nothing does. Where a later change made room, the
    batch grows again as far as it fits.
    """
    now = estimate_step(shape, step)
    found: list[Suggestion] = []
    for change, changed in _ladder(step):
        if now.total <= memory.bytes:
            break
        after = estimate_step(shape, changed(now.step))
        if after.total >= now.total:
            continue
        now = after
        found.append(Suggestion(change=change, estimate=now, fits=now.total <= memory.bytes))
    if found and found[-1].fits:
        found += _grown(shape, step, now, memory)
    return found


def together(suggestions: Sequence[Suggestion]) -> str:
    """All changes as one piece of advice: of several batches the last, and everything else."""
    batches = [one.change for one in suggestions if one.change.startswith(BATCH)]
    others = [one.change for one in suggestions if not one.change.startswith(BATCH)]
    return "; ".join([*others, *(change.removesuffix(AGAIN) for change in batches[-1:])])


def _ladder(step: Step) -> Iterator[tuple[str, Any]]:
    least = 2 if step.method == "kto" else 1
    batch = step.batch
    while batch // 2 >= least and batch % 2 == 0:
        batch //= 2
        accumulation = step.accumulation * step.batch // batch
        yield _batch(batch, accumulation), _with(batch=batch, accumulation=accumulation)
    if not step.checkpointing:
        yield "gradient_checkpointing: true", _with(checkpointing=True)
    if step.reference == "copy" and step.method in ("dpo", "kto"):
        yield "reference_store: always", _with(reference="store")
    if step.tuner == "full":
        reference = "adapter" if step.reference == "copy" else step.reference
        yield "tuner: lora", _with(tuner="lora", reference=reference)
    if step.tuner != "qlora" and step.device == "cuda":
        yield "tuner: qlora", _with(tuner="qlora", compute_bytes=2)
    for devices in DEVICES:
        if devices > step.devices:
            yield f"{devices} devices with fsdp2", _with(devices=devices, sharding="fsdp2")


def _grown(shape: Shape, step: Step, now: Estimate, memory: Memory) -> list[Suggestion]:
    """The largest batch up to the one asked for that fits after all changes."""
    batch = step.batch
    while batch > now.step.batch:
        larger = dataclasses.replace(now.step, batch=batch, accumulation=max(step.accumulation, 1))
        if step.batch // batch > 1:
            larger = dataclasses.replace(larger, accumulation=step.accumulation * step.batch // batch)
        estimate = estimate_step(shape, larger)
        if estimate.total <= memory.bytes:
            change = _batch(batch, larger.accumulation) + AGAIN
            return [Suggestion(change=change, estimate=estimate, fits=True)]
        batch //= 2
    return []


def _batch(batch: int, accumulation: int) -> str:
    return f"{BATCH}{batch} with gradient_accumulation: {accumulation}"


def _with(**changes: Any) -> Any:
    def changed(step: Step) -> Step:
        return dataclasses.replace(step, **changes)

    return changed
