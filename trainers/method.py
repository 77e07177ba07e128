"""What one method of training says of itself; `training` and `loop` do what all methods share.

A new method is one module with a class of this shape, its settings and one function, and a line in the catalogue.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import polars as pl

from prefdata.schema import RecordType
from trainers.job import Machine, digest
from trainers.ordering import Order
from trainers.rows import Rows
from trainers.settings import Settings
from trainers.start import Start


class Default(NamedTuple):
    """A value that a recipe left open, and where it is from."""

    value: float
    source: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything one run needs, decided beforehand."""

    method: Method
    settings: Any
    """Of the method's own type, as the recipe has them."""
    defaults: Mapping[str, Default]
    """What the recipe left open, decided: `learning_rate`, `beta`, ..."""
    facts: Mapping[str, Any]
    """What the rows decide, such as class weights."""
    rows: Rows
    order: Order
    held_out: Rows | None
    start: Start
    machine: Machine
    tokenizer: Any
    output_dir: Path
    key: str
    """Hash of rows, model, settings and versions: all that decides the weights, but for the machine.

    The machine rounds in its own way, and the number of processes, which each add their share to every update, decides
    how many rows an update reads and so how many updates there are.
    """
    measured: str = ""
    """Hash of the held-out rows and of what is measured with them."""
    root: Path | None = None
    """The models' home, where it is not the one of the environment."""

    def value(self, name: str) -> Any:
        """A setting, or its default where the recipe left it open."""
        given = getattr(self.settings, name)
        return self.defaults[name].value if given is None else given

    def bits(self) -> str:
        """Hash of all that decides the weights to the last bit: the kind of machine and the number of processes too."""
        return digest([self.key, vars(self.machine)])

    def batch(self) -> int:
        """Rows in one forward pass of all processes together."""
        rows: int = self.settings.per_device_batch * self.machine.processes
        return rows

    def dtype(self) -> Any:
        """In which type the start model is loaded.

        Weights that are trained stay float32 and are rounded as they are used: in bfloat16, with 8 bits, an update of
        a usual learning rate is lost. Frozen ones under an adapter may be bfloat16.
        """
        import torch

        return torch.bfloat16 if self.machine.bfloat16 and self.settings.tuner != "full" else torch.float32

    def rows_read(self) -> float:
        """How many rows training will read, each as often as it comes."""
        steps = self.settings.max_steps
        if steps is None:
            return float(self.settings.epochs * len(self.order.rows))
        return float(steps * self.settings.gradient_accumulation * self.batch())

    def used(self) -> list[int]:
        """Positions of the rows that training reads, in order; fewer than there are where max_steps ends it early.

        Only for methods that fix the order (`sequential`); the others read all and shuffle.
        """
        settings = self.settings
        wanted = (settings.max_steps or 0) * settings.gradient_accumulation * self.batch()
        return self.order.rows[:wanted] if wanted else self.order.rows


class Held(NamedTuple):
    """What the held-out rows say of a trained model."""

    metrics: Mapping[str, Any]
    """`before` and `after`, and what else the method measures."""
    frame: pl.DataFrame
    """One row each: id, group, and what was measured; becomes eval_rewards.parquet."""


@dataclass(frozen=True, kw_only=True)
class Reads:
    """What TRL is given beside the rows."""

    dataset: list[dict[str, Any]]
    """Rows in TRL's columns."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Of the config class, beyond those all methods share."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of the trainer class: ref_model, reward_funcs."""
    first_loss: float | Callable[[Any], float | None] | None = None
    """The loss of the first step, where it is known beforehand, or what tells it of the trainer once that is built;
    another one stops the run."""
    unproven: str | None = None
    """Why the loss of the first step is not known, where a method has a reference and yet none is told."""
    reference: Mapping[str, Any] = field(default_factory=dict)
    """What stage.json says of the reference, beside the proof that it did not move."""
    reward_tolerance: float = 0.01
    """How far from 0 the mean implicit reward of the first step may be, where TRL logs it."""
    after_build: Callable[[Any], None] | None = None
    """What is done to TRL's trainer once it is built."""
    summary: Callable[[list[dict[str, Any]]], Mapping[str, Any]] | None = None
    """Further metrics of the stage, from what its steps logged."""


class Method(Protocol):
    """What one method decides.

    Two more are asked for where a method has them: `given(settings)`, JSON data that joins the key of the stage, where
    more than rows, model and settings decides the weights; `least_rows(settings)`, the fewest rows that fill a batch,
    where that is not the batch of the settings.
    """

    name: str
    version: int
    """Raised when the same rows, model and settings would train to other weights."""
    type: RecordType
    """Of the rows it reads."""
    config: str
    trainer: str
    """TRL's classes, as `module:Class`."""
    settings: type[Settings]
    reserved: frozenset[str]
    """Arguments of the config class that `args` may not hold, beyond those of all methods."""
    task: str
    """PEFT's task type: CAUSAL_LM, or SEQ_CLS for a model with a score head."""
    answers: bool
    """Whether the trained model answers chats, so that samples can be drawn before and after."""
    reference: bool
    """Whether it holds the policy to a frozen reference, whose identity is then proven."""

    def encode(self, frame: pl.DataFrame, tokenizer: Any, settings: Any, *, name: str) -> Rows:
        """The rows of a canonical frame, encoded. Raises InputError for rows that cannot train this method."""
        ...

    def arrange(self, rows: Rows, settings: Any) -> Order:
        """The order in which the rows are read, or given to TRL's own shuffling."""
        ...

    def defaults(self, settings: Any, start: Start) -> dict[str, Default]:
        """Values for settings that the recipe left open, by model and tuner, each with its source."""
        ...

    def facts(self, rows: Rows, settings: Any) -> dict[str, Any]:
        """What the rows decide; plain JSON data, recorded in stage.json."""
        ...

    def load(self, plan: Plan, dtype: Any) -> Any:
        """The start model, ready to be trained."""
        ...

    def reads(self, plan: Plan, model: Any) -> Reads:
        """What TRL's trainer is given."""
        ...

    def before(self, plan: Plan, model: Any) -> Any:
        """What is measured on the held-out rows before training; JSON data, kept for a run that is killed."""
        ...

    def after(self, plan: Plan, model: Any, before: Any) -> Held:
        """The same after training, compared."""
        ...

    def told(self, metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
        """(path into `metrics`, what it is in words): the estimates that a model card shows."""
        ...
