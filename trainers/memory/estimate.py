"""The peak of a training step, estimated in closed form: every term, every phase, and whether it fits a device.

The peak is what is held all through the step and the largest of its phases, never the sum of all terms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trainers.memory import terms
from trainers.memory.shapes import Shape
from trainers.memory.terms import SAMPLING, Step

GIB = 1 << 30

CONTEXT = {"cuda": int(0.6 * GIB), "cpu": int(0.8 * GIB)}
"""Assumed: what the process itself takes, CUDA's context and libraries or torch's."""

FRAGMENTATION = {"cuda": 0.1, "cpu": 0.0}
"""Assumed: what the caching allocator cannot hand out, as a share of what comes and goes; states never move."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a step takes, in bytes on one device."""

    shape: Shape
    step: Step
    states: Mapping[str, int]
    """Held from the first to the last moment of a step."""
    phases: Mapping[str, Mapping[str, int]]
    """Moment of a step -> what is held then, beside the states."""
    assumed: Mapping[str, int]
    """What no formula gives: the process itself, and fragmentation."""

    @property
    def phase(self) -> str:
        """The moment at which most is held."""
        return max(self.phases, key=lambda name: sum(self.phases[name].values()))

    @property
    def live(self) -> int:
        """Bytes of tensors at the peak: what a measurement of live tensors finds."""
        return sum(self.states.values()) + sum(self.phases[self.phase].values())

    @property
    def total(self) -> int:
        """Bytes that the device must have: live tensors, and what is assumed beside them."""
        return self.live + sum(self.assumed.values())

    def record(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {
            "model": self.shape.name,
            "parameters": self.shape.parameters,
            "trained": terms.trained(self.shape, self.step),
            "peak": self.total,
            "peak_of_tensors": self.live,
            "phase": self.phase,
            "states": dict(self.states),
            "phases": {name: {"bytes": sum(parts.values()), **parts} for name, parts in self.phases.items()},
            "assumed": dict(self.assumed),
        }


def estimate_step(shape: Shape, step: Step) -> Estimate:
    """The estimate for one step of one model."""
    parts = _parts(shape, step)
    states = {
        "weights": parts["weights"],
        "adapter": parts["adapter"],
        "optimizer": parts["optimizer"],
        "reference": parts["reference"],
        "gathered layers": parts["gathered"],
        "frozen layers' outputs": terms.trunk(shape, step),
        "pictures": terms.pictures(shape, step),
        "reward models": 4 * step.reward_models,
    }
    phases = _phases(shape, step, parts)
    if step.sharding != "none":  # a stage scores its held-out rows with the whole model before it shares it out
        phases["start, weights still whole"] = {
            "rest of the weights": max(0, terms.weights(shape, step) - sum(states.values()))
        }
    moving = max(sum(found.values()) for found in phases.values())
    return Estimate(
        shape=shape,
        step=step,
        states={name: size for name, size in states.items() if size},
        phases={name: {part: size for part, size in found.items() if size} for name, found in phases.items()},
        assumed={
            "process": CONTEXT[step.device],
            **({"fragmentation": int(FRAGMENTATION[step.device] * moving)} if FRAGMENTATION[step.device] else {}),
        },
    )


def _parts(shape: Shape, step: Step) -> dict[str, int]:
    """The terms that sharding divides, divided.

    DeepSpeed keeps trained weights in bfloat16 beside a float32 copy, which counts to the optimizer that it divides.
    """
    whole = step.devices if step.sharding in ("zero3", "fsdp2") else 1
    states = step.devices if step.sharding in ("zero2", "zero3", "fsdp2") else 1
    gathered = 0
    if whole > 1:
        gathered = (2 * shape.layer + shape.embedding) * step.compute_bytes
    weights = -(-terms.weights(shape, step) // whole)
    if step.sharding == "zero2" and step.mixed:
        count = terms.held(shape, step)
        weights = count * 2 + -(-count * 4 // states)
    return {
        "weights": weights,
        "adapter": -(-terms.adapter(shape, step) // whole),
        "reference": -(-terms.reference(shape, step) // whole),
        "optimizer": -(-terms.optimizer(shape, step) // states),
        "gradients": -(-terms.gradients(shape, step) // states),
        "gathered": gathered,
    }


def _phases(shape: Shape, step: Step, parts: Mapping[str, int]) -> dict[str, dict[str, int]]:
    kept = parts["gradients"] if step.accumulation > 1 else 0
    seen = terms.seen(shape, step)
    saved = terms.activations(shape, step) + seen
    scored = terms.head_input(shape, step)
    stream = step.tokens * shape.hidden * step.weight_bytes
    rounded = terms.rounded_weights(shape, step) if step.sharding == "none" else 0
    again = terms.layer_saved(shape, step) if step.checkpointing else 0
    trained_layer = 0 if step.adapter else shape.layer * step.weight_bytes
    forward = {"gradients": kept, "activations": saved, "hidden states": scored + stream}
    saved_copies = 0 if step.checkpointing else rounded
    found = {
        "end of the forward pass": {
            **forward,
            "rounded weights": rounded,
            "head": terms.head_forward(shape, step),
        },
        "backward pass of the head": {
            **forward,
            "rounded weights": saved_copies,
            "head": terms.head_backward(shape, step),
        },
        "backward pass of the last layer": {
            "gradients": kept + terms.head_gradient(shape, step) + trained_layer,
            "activations": saved + again,
            "rounded weights": saved_copies or rounded // shape.layers,
            "temporaries": terms.layer_backward(shape, step),
        },
        "backward pass of the first layer": {
            "gradients": kept + trained_layer + (terms.head_gradient(shape, step) if shape.tied else 0)
            if kept
            else parts["gradients"],
            "activations": terms.layer_saved(shape, step) + stream + seen,
            "rounded weights": rounded // shape.layers,
            "temporaries": terms.layer_backward(shape, step),
        },
        "gradient of the embedding": {
            "gradients": parts["gradients"],
            "being added": terms.embedding_gradient(shape, step),
        },
        "optimizer step": {"gradients": parts["gradients"]},
    }
    if step.pictured and shape.vision is not None:
        found["forward pass of the vision tower"] = {
            "gradients": kept,
            "activations": seen,
            "rounded weights": rounded,
            "temporaries": terms.seeing_forward(shape, step),
        }
        found["backward pass of the vision tower"] = {
            "gradients": parts["gradients"],
            "activations": seen,
            "temporaries": terms.seeing_backward(shape, step),
        }
    if step.reference in ("adapter", "copy") and step.method not in SAMPLING:
        found["forward pass of the reference"] = {
            "gradients": kept,
            "activations": saved,
            "rounded weights": saved_copies,
            "hidden states": 2 * (scored + stream),
            "temporaries": max(terms.layer_forward(shape, step), terms.head_forward(shape, step)),
        }
    if step.generations:
        found["generation"] = {
            "gradients": kept,
            "cache": terms.cache(shape, step),
            "temporaries": terms.layer_forward(shape, step),
        }
    return found
