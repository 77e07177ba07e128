"""How an ablation is done: its settings, and which features its head reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from prefdata.errors import RecipeError
from prefdata.recipe import Recipe

FEWEST = 20
"""Rows to train on in a draw, and clean rows held out, below which nothing can be said."""

LONGEST = 512
"""Tokens of prompt and answer that a model reads where nothing says otherwise."""

MOST_ROWS = {"words": 20_000, "model": 2_000}
"""Rows looked at where nothing else is asked for: a minute for words, some twenty for a small model on one core."""

HeadKind = Literal["auto", "words", "model"]

MODEL = "smollm2-135m"
"""The model whose states are read where a recipe names none."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How an ablation is done."""

    head: HeadKind = "auto"
    """What the head reads: words, or the hidden states of a model; auto takes the model where it is at hand."""
    model: str | None = None
    """A name of the table, a folder or a hub id; null takes the recipe's, else MODEL."""
    draws: int = 12
    """Times that the training units are cut in halves, on each of which every set is trained."""
    held_out: float = 0.3
    """Fraction of the customers (else sessions, else prompts) that is held out."""
    rows: int | None = None
    """Rows looked at, whole units of them, others left out by a hash; null is MOST_ROWS for the head."""
    budget: int | None = None
    """Most training rows in a draw; null is what the smallest set has."""
    resamples: int = 500
    """Of the held-out units."""
    max_length: int | None = None
    """Tokens of prompt and answer that a model reads, older turns cut to fit; null takes the recipe's, else 512."""
    only: tuple[str, ...] = ()
    """What to leave out; empty is all there is."""
    seed: int = 0
    """Of draws and resamples."""

    def __post_init__(self) -> None:
        faults = [
            f"{name}: {getattr(self, name)}; expected {bound}"
            for name, sound, bound in (
                ("head", self.head in ("auto", "words", "model"), "auto, words or model"),
                ("draws", 2 <= self.draws <= 1000, "2 to 1000"),
                ("held_out", 0 < self.held_out < 1, "a fraction between 0 and 1"),
                ("rows", self.rows is None or self.rows >= 2 * FEWEST, f"at least {2 * FEWEST}"),
                ("budget", self.budget is None or self.budget >= FEWEST, f"at least {FEWEST}"),
                ("resamples", 10 <= self.resamples <= 100_000, "10 to 100000"),
                ("max_length", self.max_length is None or self.max_length >= 16, "at least 16"),
                ("seed", 0 <= self.seed < 2**32, "0 to 2**32 - 1"),
            )
            if not sound
        ]
        if faults:
            raise RecipeError(faults)


def chosen_head(settings: Settings, recipe: Recipe) -> tuple[Literal["words", "model"], str]:
    """What the head reads, and the model where it reads one.

    `auto` takes a model only where that needs no network: the extra `train` is installed and the model is pulled.
    """
    model = settings.model or recipe.model or MODEL
    local = recipe.root / model
    model = str(local) if local.is_dir() else model
    if settings.head != "auto":
        return ("words", model) if settings.head == "words" else ("model", model)
    import importlib.util

    if settings.model is None and any(importlib.util.find_spec(name) is None for name in ("torch", "transformers")):
        return "words", model
    from trainers.models import MANIFEST, home

    there = Path(model).is_dir() or (home() / "models" / model / MANIFEST).is_file()
    return ("model" if settings.model is not None or there else "words"), model


def longest(settings: Settings, recipe: Recipe) -> int:
    """Tokens that a model reads: as set, else as the recipe trains, else LONGEST."""
    if settings.max_length is not None:
        return settings.max_length
    return LONGEST if recipe.train is None else int(recipe.train.settings.max_length)
