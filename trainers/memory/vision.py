"""The vision tower of a vision-language model and what joins it to the decoder: counts of parameters, and their memory.

A picture is cut into patches, which pass the tower; a projector makes tokens of them, which stand in the decoder's
sequence like words. Two families are described: LLaVA's (a CLIP tower, as many tokens for every picture) and
Qwen2.5-VL's (a tower with gated MLPs, 2 x 2 patches a token, more tokens for larger pictures).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prefdata.errors import InputError

if TYPE_CHECKING:
    from trainers.memory.terms import Step

LLAVA, QWEN = "llava", "qwen2_5_vl"

TEXT_FAMILIES: Mapping[str, str] = {LLAVA: "llama", QWEN: "qwen2"}
"""`model_type` of a vision-language model -> that of its decoder where its config does not say."""

CHANNELS = 3
FRAMES = 2
"""Qwen's tower reads pictures as films of two equal frames."""
MOST_PATCHES = 65_536
"""Qwen2.5-VL's own processor makes at most 12,845,056 pixels of a picture, in patches of 14 x 14."""


@dataclass(frozen=True, kw_only=True)
class Vision:
    """Sizes of a vision tower and its projector; counts are parameters."""

    family: str
    hidden: int
    intermediate: int
    layers: int
    patch: int
    """Pixels of a side of a patch."""
    pixels: int
    """Of a side of the picture that the tower reads; 0 where it reads pictures of any size."""
    merge: int
    """Patches along a side of one token."""
    out: int
    """Width of the decoder."""

    @property
    def gated(self) -> bool:
        """Whether the MLP has a gate, and norms have no bias."""
        return self.family == QWEN

    @property
    def linear(self) -> int:
        """Weights of the linear modules of one layer, biases aside."""
        return 4 * self.hidden**2 + (3 if self.gated else 2) * self.hidden * self.intermediate

    @property
    def layer(self) -> int:
        """All parameters of one layer."""
        h, f = self.hidden, self.intermediate
        biases = 4 * h + (2 * f + h if self.gated else f + h)
        return self.linear + biases + (2 if self.gated else 4) * h

    @property
    def tower(self) -> int:
        """Parameters before the projector."""
        patches = CHANNELS * (FRAMES if self.gated else 1) * self.patch**2 * self.hidden
        if self.gated:
            return self.layers * self.layer + patches
        positions = (self.pixels // self.patch) ** 2 + 1
        return self.layers * self.layer + patches + (1 + positions + 4) * self.hidden

    @property
    def joined(self) -> int:
        """Width of what the projector reads: the patches of one token side by side."""
        return self.hidden * self.merge**2

    @property
    def projector(self) -> int:
        """Parameters of the two linear modules, and of a norm before them, that make tokens of patches."""
        inner = self.joined if self.gated else self.out
        return self.joined * inner + inner + inner * self.out + self.out + (self.hidden if self.gated else 0)

    @property
    def parameters(self) -> int:
        """Parameters of tower and projector."""
        return self.tower + self.projector

    @property
    def most(self) -> int:
        """Tokens of one picture at most."""
        patches = (self.pixels // self.patch) ** 2 if self.pixels else MOST_PATCHES
        return patches // self.merge**2

    def adapter(self, rank: int) -> int:
        """Parameters of a LoRA adapter on all linear modules of tower and projector."""
        h, f = self.hidden, self.intermediate
        attention = (h + 3 * h) + 2 * h if self.gated else 8 * h
        inner = self.joined if self.gated else self.out
        ends = (self.joined + inner) + (inner + self.out)
        return rank * (self.layers * (attention + (3 if self.gated else 2) * (h + f)) + ends)


def vision_of(config: Mapping[str, Any], *, out: int, name: str) -> Vision:
    """What config.json says of the tower of a model whose decoder is `out` wide."""
    family = str(config.get("model_type"))
    said = config.get("vision_config") or {}
    try:
        return Vision(
            family=family,
            hidden=int(said["hidden_size"]),
            intermediate=int(said["intermediate_size"]),
            layers=int(said["depth"] if family == QWEN else said["num_hidden_layers"]),
            patch=int(said["patch_size"]),
            pixels=0 if family == QWEN else int(said["image_size"]),
            merge=int(said["spatial_merge_size"]) if family == QWEN else 1,
            out=out,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"model {name}: its config.json lacks a size of its vision tower ({error})") from error


def patches(vision: Vision, step: Step) -> int:
    """Patches in one forward pass; both sides of a pair have their own copy of the pictures."""
    return step.sequences * step.pictured * vision.merge**2


def pixel_values(vision: Vision, step: Step) -> int:
    """The pictures as the processor gives them, in float32, all through a step."""
    return patches(vision, step) * CHANNELS * (FRAMES if vision.gated else 1) * vision.patch**2 * 4


def layer_saved(vision: Vision, step: Step) -> int:
    """What one layer of the tower keeps where something of it, or before it, has a gradient.

    Norms keep their input in float32; attention keeps q, k, v and its output, and what was turned in float32 (Qwen);
    the MLP keeps what goes into its activation and comes out of it.
    """
    h, f, a = vision.hidden, vision.intermediate, step.compute_bytes
    attention = 4 * h * a + (4 * h * 4 if vision.gated else 0)
    mlp = (4 if vision.gated else 3) * f * a
    return patches(vision, step) * (2 * h * 4 + 2 * h * a + attention + mlp)


def layer_forward(vision: Vision, step: Step) -> int:
    """What a layer holds at most where nothing is kept: the stream, a norm's output, and q, k, v or the MLP's width."""
    h, f, a = vision.hidden, vision.intermediate, step.compute_bytes
    return patches(vision, step) * (2 * h * max(a, step.weight_bytes) + max(4 * h, (3 if vision.gated else 2) * f) * a)


def saved(vision: Vision, step: Step) -> int:
    """What the tower keeps while the decoder works.

    Nothing where it is frozen; but its layers' inputs under checkpointing, since transformers then asks gradients
    of the outputs of all embeddings (`enable_input_require_grads`), those of patches too.
    """
    stream = patches(vision, step) * vision.hidden * step.weight_bytes
    if step.checkpointing:
        return vision.layers * stream
    return vision.layers * layer_saved(vision, step) + stream if trains(step) else 0


def trains(step: Step) -> bool:
    """Whether the tower is trained, or an adapter on it."""
    return not step.adapter or step.lora_vision


KNOWN: Mapping[str, Mapping[str, Any]] = {
    name: {
        "model_type": QWEN,
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "intermediate_size": intermediate,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv,
        "tie_word_embeddings": tied,
        "vision_config": {
            "depth": 32,
            "hidden_size": 1280,
            "intermediate_size": 3420,
            "patch_size": 14,
            "spatial_merge_size": 2,
            "out_hidden_size": hidden,
        },
    }
    for name, vocabulary, hidden, intermediate, layers, heads, kv, tied in (
        ("qwen2.5-vl-3b", 151936, 2048, 11008, 36, 16, 2, True),
        ("qwen2.5-vl-7b", 152064, 3584, 18944, 28, 28, 4, False),
    )
} | {
    "llava-1.5-7b": {
        "model_type": LLAVA,
        "text_config": {
            "model_type": "llama",
            "vocab_size": 32064,
            "hidden_size": 4096,
            "intermediate_size": 11008,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "num_key_value_heads": 32,
        },
        "vision_config": {
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_hidden_layers": 24,
            "image_size": 336,
            "patch_size": 14,
        },
    }
}
"""config.json of Qwen/Qwen2.5-VL-3B-Instruct, Qwen/Qwen2.5-VL-7B-Instruct and llava-hf/llava-1.5-7b-hf, as far as
memory depends on them. (The tower's MLP is 3,420 wide there; the report, arXiv 2502.13923, says 3,456.)"""
