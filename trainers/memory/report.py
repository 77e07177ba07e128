"""What is said of a stage's memory: to a person, to a program, and in stage.json."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainers.memory.devices import Memory, smallest
from trainers.memory.estimate import Estimate, estimate_step
from trainers.memory.longest import Longest
from trainers.memory.shapes import Shape, scorer_parameters, shape_of
from trainers.memory.stages import step_of, unknown
from trainers.memory.suggest import Suggestion, suggest
from trainers.memory.terms import Sharding, Step, trained

GENERIC = Memory(name="a GPU", bytes=0)
"""Any GPU with bfloat16, where none is named: the report tells which sizes are enough."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """The estimate of one stage."""

    method: str
    estimate: Estimate
    longest: Longest
    memory: Memory
    """What it is to fit; 0 bytes where nothing was named."""
    suggestions: list[Suggestion]

    @property
    def fits(self) -> bool | None:
        """Whether it fits; None where nothing was named."""
        return self.estimate.total <= self.memory.bytes if self.memory.bytes else None

    def record(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {
            "method": self.method,
            **self.estimate.record(),
            "longest": {
                "id": self.longest.id,
                "tokens": self.estimate.step.length,
                "scored": self.estimate.step.scored,
                "known": self.longest.known,
                **({"pictured": self.estimate.step.pictured} if self.estimate.shape.vision is not None else {}),
            },
            "device": {"name": self.memory.name, "bytes": self.memory.bytes or None, "kind": self.memory.kind},
            "fits": self.fits,
            "smallest_gpu_gb": smallest(self.estimate.total),
            "suggestions": [one.record() for one in self.suggestions],
        }

    def lines(self) -> list[str]:
        """The same for a person, every term on a line of its own."""
        step, shape = self.estimate.step, self.estimate.shape
        count = trained(shape, step)
        tuner = f"{step.tuner}, rank {step.lora_r}" if step.adapter else "all weights"
        kind = "bfloat16" if step.compute_bytes == 2 else "float32"
        kept = ", layers checkpointed" if step.checkpointing else ""
        spread = f", {step.sharding} over {step.devices} devices" if step.devices > 1 else ""
        found = [
            f"{self.method} of {shape.name} ({shape.parameters / 1e9:.3g} B parameters; {tuner}: {count:,} trained)",
            f"  {step.batch} rows a pass ({step.sequences} sequences), {kind}{kept}{spread}",
            f"  longest row: {self._longest()}",
            "  held all through a step",
            *(_line(name, size) for name, size in self.estimate.states.items()),
        ]
        for phase, parts in self.estimate.phases.items():
            mark = "  <- the peak" if phase == self.estimate.phase else ""
            found.append(f"  {phase}: {_gib(sum(parts.values()))}{mark}")
            found += [_line(name, size) for name, size in parts.items()]
        found += ["  assumed, not derived", *(_line(name, size) for name, size in self.estimate.assumed.items())]
        found.append(f"  peak {_gib(self.estimate.total)} a device ({self.estimate.phase}); {self._fit()}")
        if self.suggestions:
            found.append("  what to change, each with all before it")
            found += [
                f"    {one.change}: {_gib(one.estimate.total)}{', fits' if one.fits else ''}"
                for one in self.suggestions
            ]
            if not self.suggestions[-1].fits:
                found.append(
                    "    no change that is known here makes it fit; take a shorter max_length or a smaller model"
                )
        return found

    def _longest(self) -> str:
        step = self.estimate.step
        size = f"{step.length} tokens, {step.scored} of them scored"
        if step.pictured:
            size += f", {step.pictured} of them of pictures"
        if self.longest.id is None:
            return f"{size} (no rows seen: every row may be as long as max_length)"
        return f"{size} ({self.longest.id}, {self.longest.known})"

    def _fit(self) -> str:
        if self.fits is not None:
            verdict = "fits" if self.fits else "does not fit"
            return f"{verdict} {self.memory.name} ({_gib(self.memory.bytes)})"
        size = smallest(self.estimate.total)
        return "more than any one GPU has" if size is None else f"a GPU of {size} GB is enough"


def estimate_stage(
    method: str,
    settings: Any,
    model: str | Path,
    *,
    memory: Memory | None = None,
    longest: Longest | None = None,
    devices: int = 1,
    sharding: Sharding = "none",
    scored_by: Sequence[str | Path] = (),
    root: Path | None = None,
) -> Report:
    """The report of one stage: `settings` are the method's own, `model` as a recipe names it. Loads no torch.

    `scored_by` are the reward models that score sampled answers, each named as `model` is.
    Raises RecipeError for a model whose shape is not known here; see `trainers.memory.shapes`.
    """
    place = memory or GENERIC
    shape = shape_of(model, root=root)
    step = step_of(method, settings, place, longest=longest, devices=devices, sharding=sharding)
    step = dataclasses.replace(
        step,
        reward_models=sum(scorer_parameters(one, root=root) for one in scored_by),
        pictured=_pictured(shape, step, longest),
    )
    estimate = estimate_step(shape, step)
    return Report(
        method=method,
        estimate=estimate,
        longest=longest or unknown(settings),
        memory=place,
        suggestions=suggest(shape, step, place) if place.bytes else [],
    )


def _pictured(shape: Shape, step: Step, longest: Longest | None) -> int:
    """Tokens of a row that may stand for pictures: where no row is known, all that are no sampled answer."""
    if shape.vision is None:
        return 0
    room = step.length - (step.scored if step.generations else 0)
    return room if longest is None else min(longest.pictured, room)


def _line(name: str, size: int) -> str:
    return f"    {name:24} {_gib(size):>11}"


def _gib(size: int) -> str:
    return f"{size / (1 << 30):,.2f} GiB" if size >= 1 << 28 else f"{size / (1 << 20):,.1f} MiB"
