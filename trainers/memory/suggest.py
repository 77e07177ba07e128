"""What to change so that a step fits, in the order of what it costs: from nothing but time to another way of training.

Batch -> checkpointing -> reference kept on disk -> weights shared out over the devices that are there -> bfloat16 ->
LoRA -> QLoRA -> more devices. Each change adds to those before, and none changes how many rows an update reads.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from trainers.memory.devices import Memory
from trainers.memory.estimate import Estimate, estimate_step
from trainers.memory.shapes import Shape
from trainers.memory.terms import Step

BATCH, AGAIN, MORE = "per_device_batch: ", ", which fits again", " devices with fsdp2"

DEVICES = (2, 4, 8, 16, 32, 64)

Change = Callable[[Step], Step]


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
    for change, changed in _ladder(step, memory):
        if now.total <= memory.bytes:
            break
        after = estimate_step(shape, changed(now.step))
        if after.total >= now.total:
            continue
        if after.step.devices > now.step.devices:
            change += f", gradient_accumulation: {after.step.accumulation}"
        now = after
        found.append(Suggestion(change=change, estimate=now, fits=now.total <= memory.bytes))
    if found and found[-1].fits:
        found += _grown(shape, step.batch, now, memory)
    return found


def together(suggestions: Sequence[Suggestion]) -> str:
    """All changes as one piece of advice: what batches and numbers of devices come to, and everything else."""
    if not suggestions:
        return ""
    step = suggestions[-1].estimate.step
    told = [one.change for one in suggestions if not one.change.startswith(BATCH) and MORE not in one.change]
    counted = [one for one in suggestions if one.change not in told]
    told += [f"{step.devices}{MORE}"] if any(MORE in one.change for one in counted) else []
    return "; ".join([*told, _batch(step.batch, step.accumulation)] if counted else told)


def _ladder(step: Step, memory: Memory) -> Iterator[tuple[str, Change]]:
    rows, batch = step.batch * step.accumulation, step.batch
    while (smaller := _smaller(batch, rows, least=2 if step.method == "kto" else 1)) is not None:
        batch = smaller
        yield _batch(batch, rows // batch), _with(batch=batch, accumulation=rows // batch)
    if not step.checkpointing:
        yield "gradient_checkpointing: true", _with(checkpointing=True)
    if step.reference == "copy" and step.method in ("dpo", "kto"):
        yield "reference_store: always", _with(reference="store")
    if step.devices > 1 and step.sharding in ("none", "zero2"):
        yield f"fsdp2 over the {step.devices} devices", _with(sharding="fsdp2")
    if step.compute_bytes == 4 and memory.bfloat16 and step.device == "cuda":
        yield "precision: bfloat16", _with(compute_bytes=2)
    if step.tuner == "full":
        yield "tuner: lora", _adapter(tuner="lora")
    if step.tuner != "qlora" and step.device == "cuda":
        yield "tuner: qlora", _adapter(tuner="qlora", compute_bytes=2)
    if step.device == "cuda":  # processes on one CPU share its memory
        for devices in DEVICES:
            if devices > step.devices:
                yield f"{devices}{MORE}", _over(devices)


def _smaller(batch: int, rows: int, *, least: int) -> int | None:
    """The largest batch up to half of `batch` that so many rows can be cut into; None below `least`."""
    sizes = range(min(max(batch // 2, least), batch - 1), least - 1, -1)
    return next((size for size in sizes if rows % size == 0), None)


def _grown(shape: Shape, asked: int, now: Estimate, memory: Memory) -> list[Suggestion]:
    """The largest batch up to the one asked for that fits after all changes."""
    rows = now.step.batch * now.step.accumulation
    for batch in range(min(asked, rows), now.step.batch, -1):
        if rows % batch:
            continue
        estimate = estimate_step(shape, dataclasses.replace(now.step, batch=batch, accumulation=rows // batch))
        if estimate.total <= memory.bytes:
            return [Suggestion(change=_batch(batch, rows // batch) + AGAIN, estimate=estimate, fits=True)]
    return []


def _batch(batch: int, accumulation: int) -> str:
    return f"{BATCH}{batch} with gradient_accumulation: {accumulation}"


def _with(**changes: Any) -> Change:
    def changed(step: Step) -> Step:
        return dataclasses.replace(step, **changes)

    return changed


def _adapter(**changes: Any) -> Change:
    """An adapter in place of all weights: the policy without it is its own reference."""

    def changed(step: Step) -> Step:
        reference = "adapter" if step.reference == "copy" else step.reference
        return dataclasses.replace(step, reference=reference, **changes)

    return changed


def _over(devices: int) -> Change:
    """Each device accumulates less, so that all together read as many rows for an update as before."""

    def changed(step: Step) -> Step:
        accumulation = max(1, step.accumulation * step.devices // devices)
        generations = step.generations * accumulation // step.accumulation
        return dataclasses.replace(
            step, devices=devices, sharding="fsdp2", accumulation=accumulation, generations=generations
        )

    return changed
