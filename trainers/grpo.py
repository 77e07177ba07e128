"""GRPO on prompts: a start model and rewards in, a model whose own answers earn more of them out.

For each prompt several answers are sampled; each is pushed by how much its reward lies above the mean of its group.
TRL's GRPOTrainer optimises; `trainers.online` is what it leaves to its caller. Shao et al., 2024, DeepSeekMath.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl

from trainers.job import Stage
from trainers.online import RESERVED, Online, OnlineSettings, split_functions
from trainers.rewards import Scorers
from trainers.training import train


@dataclass(frozen=True, kw_only=True)
class GRPOSettings(OnlineSettings):
    """How to train with GRPO."""

    beta: float = 0.0
    """How strongly the policy is held to its reference by a KL term; 0, TRL's default, has neither."""
    loss_type: Literal["grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo", "luspo", "vespo"] = "dapo"
    """How token losses are summed and clipped; dapo, TRL's default, weighs all tokens of an update alike."""

    def bounds(self) -> list[tuple[str, bool, str]]:
        return [*super().bounds(), ("beta", self.beta >= 0, "0 or more")]


class GRPO(Online):
    """GRPO on prompts, read in an order decided beforehand."""

    name = "grpo"
    version = 1
    config = "trl:GRPOConfig"
    trainer = "trl:GRPOTrainer"
    settings = GRPOSettings
    reserved = RESERVED
    max_first_kl = 1e-3  # of a token, and about half the square of the difference in log-probability

    def arguments(self, settings: GRPOSettings) -> dict[str, Any]:
        return {"loss_type": settings.loss_type}


def train_grpo(
    data: pl.DataFrame,
    evaluation: pl.DataFrame | None = None,
    *,
    model: str | Path,
    output_dir: str | Path = "model/grpo",
    settings: GRPOSettings | None = None,
    root: Path | None = None,
    scorers: Scorers | None = None,
    pictures: Path | None = None,
    **options: Any,
) -> Stage:
    """The trained stage in `output_dir`; see `trainers.training.train`.

    `data` and `evaluation` are canonical frames of prompts. `options` are settings by name, where `settings` is not
    given: `train_grpo(prompts, model="smollm2-135m", rewards={"length": {"max": 200}})`. A reward may be a function:
    `rewards={"short": lambda prompts, completions, **columns: [...]}`. `scorers` are by the name of their reward.
    Raises RewardError where rewards cannot train anything.
    """
    options, scorers = split_functions(options, scorers)
    return train(
        GRPO(scorers, root=root),
        data,
        evaluation,
        model=model,
        output_dir=output_dir,
        settings=settings or GRPOSettings(**options),
        root=root,
        pictures=pictures,
    )
