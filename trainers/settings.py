"""Settings that every trainer has: model tuning, batches, length, precision, checkpoints, evaluation, reporters.

Each method adds its own in its module. What TRL can do beyond them is passed through `args`, checked by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from prefdata.errors import RecipeError, nearest
from trainers.arguments import unknown_reporters
from trainers.chat_templates import TEMPLATES
from trainers.job import Precision

Tuner = Literal["lora", "dora", "qlora", "full"]

HEADS = frozenset(["lm_head", "embed_out", "output_layer"])
"""Names that architectures give the layer that turns hidden states into logits."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to train, as far as all methods agree."""

    learning_rate: float | None = None
    """Peak learning rate; null takes the default of the method for the tuner."""
    tuner: Tuner = "lora"
    """Train an adapter on all linear layers (lora, dora, or qlora over 4-bit weights), or every weight (full). qlora
    needs bitsandbytes, and its adapter is merged into the unrounded weights afterwards."""
    lora_r: int = 16
    """Rank of the adapter."""
    lora_alpha: int = 32
    """Scale of the adapter: its output is multiplied by lora_alpha / lora_r."""
    lora_dropout: float = 0.0
    """Share of the adapter's inputs left out in training, below 1; only sft leaves dropout on."""
    lora_targets: tuple[str, ...] | None = None
    """Linear modules to put the adapter on, by name (q_proj, v_proj, ...); null is all of them, never the head."""
    lora_vision: bool = False
    """Put the adapter on the vision tower and the projector of a vision-language model too, beside its language side.
    Other models have none."""
    rslora: bool = False
    """Divide by the root of lora_r instead (Kalajdzievski, 2023), which keeps a large rank from learning slowly."""
    lora_layers: int | None = None
    """Put the adapter on the last layers only, so many; the frozen ones below then run once a batch. null is all."""
    per_device_batch: int = 4
    """Rows in one forward pass on one device."""
    gradient_accumulation: int = 4
    """Forward passes before one update."""
    max_steps: int | None = None
    """Updates; null trains for `epochs`."""
    epochs: float = 1.0
    """Passes over the rows, where max_steps is null."""
    max_length: int = 1024
    """Tokens of prompt and answer together; older turns are cut to fit, answers never."""
    system: str | None = None
    """System turn for prompts that have none; null leaves that to the model's own template."""
    chat_template: str | None = None
    """For a model that has none: chatml, llama3 or plain; null lets SFT take chatml where its tokens are known."""
    insist: tuple[str, ...] = ()
    """Refusals that this stage goes against, by name, such as no_sft."""
    precision: Precision = "auto"
    """auto is bfloat16 on a GPU that has it and float32 everywhere else."""
    gradient_checkpointing: bool | None = None
    """Trade time for memory; null does so on a GPU only."""
    save_steps: int = 10
    """Updates between checkpoints, from which a killed run goes on; 0 writes none."""
    seed: int = 0
    """Of the order of rows, the adapter's first weights, the bootstrap."""
    n_bootstrap: int = 1000
    """Resamples behind each interval of the held-out metrics."""
    max_evaluation_rows: int | None = 1000
    """Held-out rows scored, chosen by a hash of their id; null scores all."""
    samples: int = 3
    """Held-out prompts answered before and after training."""
    sample_tokens: int = 48
    """Longest sampled answer, in tokens."""
    report_to: tuple[str, ...] = ("tensorboard",)
    """Where curves go: tensorboard, and any reporter of transformers that is installed (wandb, swanlab, trackio)."""
    args: dict[str, Any] = field(default_factory=dict)
    """Further arguments of TRL's config class, checked by name."""

    drops_out: ClassVar[bool] = False
    """Whether the method leaves dropout on. Those that hold the policy to a reference turn it off: the two would differ
    before the first step."""

    def __post_init__(self) -> None:
        faults = [
            f"{name}: {getattr(self, name)}; expected {bound}" for name, sound, bound in self.bounds() if not sound
        ]
        faults += self.contradictions()
        faults += unknown_reporters(self.report_to)
        faults += unknown_refusals(self.insist)
        if faults:
            raise RecipeError(faults)

    def bounds(self) -> list[tuple[str, bool, str]]:
        """Name of a setting, whether it is sound, and what is; a method adds its own to these."""
        return [
            ("learning_rate", self.learning_rate is None or self.learning_rate > 0, "more than 0"),
            ("chat_template", self.chat_template in (None, *TEMPLATES), f"{', '.join(TEMPLATES)}, or null"),
            ("lora_r", self.lora_r >= 1, "at least 1"),
            ("lora_alpha", self.lora_alpha >= 1, "at least 1"),
            (
                "lora_dropout",
                0 <= self.lora_dropout < 1 and (self.drops_out or self.lora_dropout == 0),
                "0 or more and below 1" if self.drops_out else "0: this method trains with all dropout turned off",
            ),
            (
                "lora_targets",
                self.lora_targets is None or not HEADS & {name.rpartition(".")[2] for name in self.lora_targets},
                "no head of the model: TRL multiplies by the head's own weight, so an adapter on it would never train",
            ),
            ("lora_layers", self.lora_layers is None or self.lora_layers >= 1, "at least 1"),
            ("per_device_batch", self.per_device_batch >= 1, "at least 1"),
            ("gradient_accumulation", self.gradient_accumulation >= 1, "at least 1"),
            ("max_steps", self.max_steps is None or self.max_steps >= 1, "at least 1"),
            ("epochs", self.epochs > 0, "more than 0"),
            ("max_length", self.max_length >= 16, "at least 16"),
            ("save_steps", self.save_steps >= 0, "0 or more"),
            ("seed", 0 <= self.seed < 2**32, "0 to 2**32 - 1"),
            ("n_bootstrap", self.n_bootstrap >= 1, "at least 1"),
            ("samples", self.samples >= 0, "0 or more"),
            ("sample_tokens", self.sample_tokens >= 1, "at least 1"),
        ]

    def contradictions(self) -> list[str]:
        """Faults between settings, each beginning with the name of one."""
        return []


def unknown_refusals(names: Sequence[str]) -> list[str]:
    """A fault for each name that no refusal has."""
    if not names:
        return []
    from trainers.lineage import INSIST
    from trainers.preflight import checks

    known = {INSIST, *checks()}
    return [f"insist: no refusal {name!r}; {nearest(name, known)}" for name in names if name not in known]
