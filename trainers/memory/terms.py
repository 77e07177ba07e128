"""The terms of a training step's memory, in bytes, each a closed formula over a model's shape and a step's settings.

What is held all through a step (weights, optimizer, reference, gradients) and what comes and goes with it (activations
of a layer, the head's tile, the cache of generation). docs/memory.md tells where each formula is from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from prefdata.errors import RecipeError
from trainers.memory import vision
from trainers.memory.shapes import Shape

Device = Literal["cuda", "cpu"]
Reference = Literal["none", "adapter", "copy", "store"]
Sharding = Literal["none", "zero2", "zero3", "fsdp2"]

PAIRED = ("dpo", "reward")
"""Methods whose batch of rows is twice as many sequences."""

SAMPLING = ("grpo", "rloo")
"""Methods that generate what they train on."""

TILE_TOKENS = 4096
TILE_VOCABULARY = 32768
"""TRL 1.16 scores in tiles of so many positions and entries of the vocabulary; the full logits are never made."""

TRUNK = 1 << 30
"""The most that `trainers.trunk` keeps of frozen layers' outputs."""

NF4_BYTES = 0.5 + 0.127 / 8
"""A weight in NF4 with double quantisation: 4 bits and 0.127 for the constants (Dettmers et al. 2023, section 3)."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One training step on one device, as far as memory depends on it."""

    method: str
    tuner: str
    batch: int
    """Rows in one forward pass; a pair is one row."""
    length: int
    """Tokens of the longest row: prompt and one answer."""
    scored: int
    """Of those, tokens that the head scores: the answer."""
    padded: bool = False
    """Whether rows of one pass differ in length: attention then needs a mask of length x length for each."""
    compute_bytes: int = 4
    """Of what linear modules read and write: 4 in float32, 2 in bfloat16."""
    lora_r: int = 16
    lora_layers: int | None = None
    """The last layers only; the frozen ones below keep nothing for the backward pass."""
    lora_targets: tuple[str, ...] | None = None
    lora_vision: bool = False
    """Whether the adapter is on the vision tower too."""
    pictured: int = 0
    """Tokens of the longest row that stand for pictures."""
    accumulation: int = 1
    """Forward passes before an update; from the second on, gradients are there during the forward pass."""
    checkpointing: bool = False
    reference: Reference = "none"
    """adapter: the policy without its adapter; copy: a second model; store: log-probabilities kept on disk."""
    optimizer: Literal["adamw", "adamw_8bit"] = "adamw"
    generations: int = 0
    """Completions that are generated at once."""
    reward_models: int = 0
    """Parameters of the reward models that score what is generated; whole and in float32 on every device."""
    device: Device = "cuda"
    devices: int = 1
    sharding: Sharding = "none"

    def __post_init__(self) -> None:
        if min(self.batch, self.length, self.accumulation, self.devices) < 1 or self.scored > self.length:
            raise RecipeError(
                f"memory: batch {self.batch}, length {self.length}, scored {self.scored}, devices {self.devices}; "
                "expected all at least 1 and scored no longer than the row"
            )

    @property
    def sequences(self) -> int:
        """Sequences in one forward pass."""
        return self.batch * (2 if self.method in PAIRED else 1)

    @property
    def tokens(self) -> int:
        """Positions in one forward pass, padding included."""
        return self.sequences * self.length

    @property
    def positions(self) -> int:
        """Positions that the head scores in one forward pass."""
        return self.sequences * self.scored

    @property
    def adapter(self) -> bool:
        """Whether an adapter is trained over frozen weights."""
        return self.tuner != "full"

    def adapted(self, shape: Shape) -> int:
        """Layers that are trained, or that an adapter is on."""
        return shape.layers if self.lora_layers is None or not self.adapter else min(self.lora_layers, shape.layers)

    @property
    def weight_bytes(self) -> int:
        """Of one weight as loaded, and of the residual stream: weights that are trained stay float32."""
        return self.compute_bytes if self.adapter else 4

    @property
    def mixed(self) -> bool:
        """Whether float32 weights are rounded to bfloat16 as they are used."""
        return self.weight_bytes > self.compute_bytes


def trained(shape: Shape, step: Step) -> int:
    """Parameters that are trained."""
    if step.adapter:
        layers, targets = step.adapted(shape), step.lora_targets
        extra = shape.magnitudes(layers=layers, targets=targets) if step.tuner == "dora" else 0
        head = shape.hidden if _scores(step) else 0
        seeing = shape.vision.adapter(step.lora_r) if shape.vision is not None and step.lora_vision else 0
        return shape.adapter(step.lora_r, layers=layers, targets=targets) + extra + head + seeing
    return held(shape, step)


def held(shape: Shape, step: Step) -> int:
    """Parameters of the model that is loaded: a reward model has one row of outputs in place of a head."""
    if _scores(step):
        return shape.body + shape.embedding + shape.hidden
    return shape.parameters


def trained_bytes(step: Step) -> int:
    """Bytes of one trained weight: PEFT keeps adapters in float32, TRL those over 4-bit weights in bfloat16."""
    if step.tuner == "qlora":
        return 2
    return 4 if step.adapter else step.weight_bytes


def weights(shape: Shape, step: Step) -> int:
    """The model's own weights."""
    count = held(shape, step)
    if step.tuner == "qlora":
        linear = shape.layers * shape.linear + (shape.vision.layers * shape.vision.linear if shape.vision else 0)
        return int(linear * NF4_BYTES) + (count - linear) * 2
    return count * step.weight_bytes


def adapter(shape: Shape, step: Step) -> int:
    """Weights of the adapter."""
    return trained(shape, step) * trained_bytes(step) if step.adapter else 0


def gradients(shape: Shape, step: Step) -> int:
    """One gradient for each trained weight."""
    return trained(shape, step) * trained_bytes(step)


def optimizer(shape: Shape, step: Step) -> int:
    """AdamW's two moments, in the type of the trained weights; one byte each in 8 bit."""
    each = 2 if step.optimizer == "adamw_8bit" else 2 * trained_bytes(step)
    return trained(shape, step) * each


def reference(shape: Shape, step: Step) -> int:
    """The second model that full fine-tuning is held to; nothing for adapters and kept log-probabilities."""
    return shape.parameters * step.weight_bytes if step.reference == "copy" else 0


def layer_saved(shape: Shape, step: Step) -> int:
    """What one layer keeps for the backward pass, attention without a score matrix (SDPA).

    A norm keeps its input in float32 (and, where its weight is trained, what it scaled); attention keeps q, k, v, its
    output and one number a head; the MLP keeps gate, up, the activation and their product. Linear modules keep their
    input: one tensor for all that read it, but a bfloat16 copy each where autocast rounds it, as it does what PEFT has
    cast to an adapter's float32.
    """
    h, q, k, f = shape.hidden, shape.query, shape.key, shape.intermediate
    a = step.compute_bytes
    cast = step.adapter and step.tuner != "qlora" and a == 2
    norms = 2 * h * 4 + (0 if step.adapter else 2 * h * step.weight_bytes)
    inputs = (5 if cast or step.mixed else 2) * h * a
    attention = (2 * q + 2 * (q if step.padded else k) + (q if cast else 0)) * a + 4 * shape.heads
    mlp = 4 * f * a
    lora = 7 * step.lora_r * a if step.adapter else 0
    dora = 2 * (q + 2 * k + 2 * h + 2 * f) * a if step.tuner == "dora" else 0
    return step.tokens * (norms + inputs + attention + mlp + lora + dora) + mask(step)


def mask(step: Step) -> int:
    """The mask that one layer's attention keeps where rows are padded, in the type of what it attends to.

    Without padding SDPA is told that attention is causal, and key and value heads need not be repeated either.
    """
    return step.sequences * step.length**2 * step.compute_bytes if step.padded else 0


def layer_backward(shape: Shape, step: Step) -> int:
    """What the backward pass of one layer holds at most beside the saved tensors: three gradients of the MLP's width
    while one saved tensor is freed already, and those of the residual stream."""
    f, h, a = shape.intermediate, shape.hidden, step.compute_bytes
    dequantised = max(h * f, h * shape.query) * 2 if step.tuner == "qlora" else 0
    dora = 3 * h * f * 4 + f * f * 4 if step.tuner == "dora" else 0
    return step.tokens * ((3 if step.adapter else 2) * f * a + 3 * h * step.weight_bytes) + dequantised + dora


def layer_forward(shape: Shape, step: Step) -> int:
    """What a layer holds at most where nothing is kept for a backward pass: gate, up and activation, and the stream."""
    stream = 3 * shape.intermediate * step.compute_bytes + 3 * shape.hidden * step.weight_bytes
    return step.tokens * stream + mask(step)


def activations(shape: Shape, step: Step) -> int:
    """What all layers keep when the forward pass ends; only their inputs under checkpointing."""
    stream = step.tokens * shape.hidden * step.weight_bytes
    layers = step.adapted(shape)
    shared = step.sequences * step.length**2 if step.padded else 0
    return (layers * stream if step.checkpointing else layers * layer_saved(shape, step)) + stream + shared


def trunk(shape: Shape, step: Step) -> int:
    """Outputs of the frozen layers below an adapter on the last ones, kept for batches to come (`trainers.trunk`)."""
    return TRUNK if step.adapted(shape) < shape.layers else 0


def pictures(shape: Shape, step: Step) -> int:
    """The pictures of a pass as the vision tower is given them."""
    return vision.pixel_values(shape.vision, step) if shape.vision is not None else 0


def seen(shape: Shape, step: Step) -> int:
    """What the vision tower keeps for the backward pass."""
    return vision.saved(shape.vision, step) if shape.vision is not None else 0


def seeing_forward(shape: Shape, step: Step) -> int:
    """What one layer of the vision tower holds at most where nothing is kept."""
    return vision.layer_forward(shape.vision, step) if shape.vision is not None else 0


def seeing_backward(shape: Shape, step: Step) -> int:
    """What the backward pass of one layer of the vision tower holds, its inputs read again under checkpointing."""
    if shape.vision is None or not seen(shape, step):
        return 0
    again = vision.layer_saved(shape.vision, step) if step.checkpointing else 0
    return again + vision.layer_forward(shape.vision, step)


def rounded_weights(shape: Shape, step: Step) -> int:
    """The bfloat16 copies of all layers' weights that autocast keeps while the forward pass lasts."""
    seeing = shape.vision.layers * shape.vision.linear if shape.vision is not None and step.pictured else 0
    return (shape.layers * shape.linear + seeing) * 2 if step.mixed else 0


def head_input(shape: Shape, step: Step) -> int:
    """The hidden states that are scored, copied out of the rest."""
    return step.positions * shape.hidden * step.weight_bytes if not _scores(step) else 0


def head_forward(shape: Shape, step: Step) -> int:
    """Scoring one tile. Triton works in the tile; without it torch makes three float32 copies of it."""
    if _scores(step):
        return 0
    return _tile(step) + (0 if step.device == "cuda" else int(3 * _tile_copy(shape, step)))


def head_backward(shape: Shape, step: Step) -> int:
    """Gradient of one tile, of the hidden states, and of the head's weights where they are trained (in float32)."""
    if _scores(step):
        return 0
    hidden = step.positions * shape.hidden * 4
    weight = 0 if step.adapter else shape.embedding * 4
    folding = 0 if step.device == "cuda" else int(7.25 * _tile_copy(shape, step))
    rounding = 0 if step.weight_bytes == 4 else hidden // 2
    return _tile(step) + hidden + weight + max(folding, rounding)


def head_gradient(shape: Shape, step: Step) -> int:
    """The gradient of the head's weights, there before that of any layer."""
    return 0 if step.adapter or _scores(step) else shape.embedding * step.weight_bytes


def embedding_gradient(shape: Shape, step: Step) -> int:
    """What is held beside all gradients when that of the embedding is made, which is as large as the embedding.

    Where it is the head too, the head's gradient waits for it, and their sum is a third; one of these is the gradient
    that stays, unless it is added to that of an earlier pass.
    """
    if step.adapter:
        return 0
    made = 3 if shape.tied and not _scores(step) else 1
    return (made - (0 if step.accumulation > 1 else 1)) * shape.embedding * step.weight_bytes


def cache(shape: Shape, step: Step) -> int:
    """Keys and values of everything that is generated at once, at the end of it, and the logits of one position."""
    if not step.generations:
        return 0
    keys = 2 * shape.layers * shape.key * step.compute_bytes * step.length * step.generations
    return keys + 3 * step.generations * shape.vocabulary * 4


def _scores(step: Step) -> bool:
    return step.method == "reward"


def _tile(step: Step) -> int:
    return min(step.positions, TILE_TOKENS) * TILE_VOCABULARY * step.compute_bytes


def _tile_copy(shape: Shape, step: Step) -> int:
    return min(step.positions, TILE_TOKENS) * min(shape.vocabulary, TILE_VOCABULARY) * 4
