"""RLOO on prompts: a start model and rewards in, a model whose own answers earn more of them out.

For each prompt several answers are sampled; each is pushed by how much its reward lies above the mean of the others.
The distance to the reference is taken off the reward. TRL's RLOOTrainer optimises; `trainers.online` is what it leaves
to its caller. Ahmadian et al., 2024, Back to Basics: Revisiting REINFORCE Style Optimization.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from trainers.job import Stage
from trainers.online import RESERVED, Online, OnlineSettings, split_functions
from trainers.rewards import Scorers
from trainers.training import train


@dataclass(frozen=True, kw_only=True)
class RLOOSettings(OnlineSettings):
    """How to train with RLOO."""

    beta: float = 0.05
    """How strongly the policy is held to its reference: what its log-probability ratio takes off the reward."""

    def bounds(self) -> list[tuple[str, bool, str]]:
        return [*super().bounds(), ("beta", self.beta >= 0, "0 or more")]


class RLOO(Online):
    """RLOO on prompts, read in an order decided beforehand."""

    name = "rloo"
    version = 1
    config = "trl:RLOOConfig"
    trainer = "trl:RLOOTrainer"
    settings = RLOOSettings
    reserved = RESERVED - {"loss_type"}
    max_first_kl = 0.05  # the difference in log-probability of whole answers


def train_rloo(
    data: pl.DataFrame,
    evaluation: pl.DataFrame | None = None,
    *,
    model: str | Path,
    output_dir: str | Path = "model/rloo",
    settings: RLOOSettings | None = None,
    root: Path | None = None,
    scorers: Scorers | None = None,
    pictures: Path | None = None,
    **options: Any,
) -> Stage:
    """The trained stage in `output_dir`; see `trainers.training.train`.

    `data` and `evaluation` are canonical frames of prompts. `options` are settings by name, where `settings` is not
    given: `train_rloo(prompts, model="smollm2-135m", rewards={"length": {"max": 200}})`. A reward may be a function:
    `rewards={"short": lambda prompts, completions, **columns: [...]}`. `scorers` are by the name of their reward.
    Raises RewardError where rewards cannot train anything.
    """
    options, scorers = split_functions(options, scorers)
    return train(
        RLOO(scorers, root=root),
        data,
        evaluation,
        model=model,
        output_dir=output_dir,
        settings=settings or RLOOSettings(**options),
        root=root,
        pictures=pictures,
    )
