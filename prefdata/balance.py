"""The balance of what is trained on: class weights from the counts, and, where a recipe asks for it, fewer rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import polars as pl

from prefdata.errors import RecipeError
from prefdata.schema import RecordType

LOW, HIGH = 1.0, 4 / 3
"""Bounds of the weighted ratio desirable : undesirable. Ethayarajh et al., 2024, equation 8."""

MIDDLE = (LOW + HIGH) / 2

DECIMALS = 4

REASONS = ("too_long", "over_cap_prompt", "over_cap_customer", "over_cap_source", "surplus_label")
"""Why a row is left out of training for balance, in the order in which it is asked."""


class Weights(NamedTuple):
    """KTO's two class weights, and the weighted ratio desirable : undesirable that they come to."""

    desirable: float
    undesirable: float
    ratio: float


def kto_weights(desirable: int, undesirable: int) -> Weights | None:
    """Weights that put desirable : undesirable between 1:1 and 4:3, raising only the rarer class.

    Counts already in the range get 1 and 1, others the middle of it. None where a class is missing: KTO needs both.
    """
    if desirable <= 0 or undesirable <= 0:
        return None
    ratio = desirable / undesirable
    if LOW <= ratio <= HIGH:
        return Weights(1.0, 1.0, round(ratio, DECIMALS))
    if ratio > HIGH:
        raised = round(ratio / MIDDLE, DECIMALS)
        return Weights(1.0, raised, round(ratio / raised, DECIMALS))
    raised = round(MIDDLE / ratio, DECIMALS)
    return Weights(raised, 1.0, round(raised * ratio, DECIMALS))


@dataclass(frozen=True, kw_only=True)
class Balance:
    """Rows left out of training for balance: by cap, then by class. Held-out rows stay as they are.

    Weights make up for uneven classes without losing a row, so nothing is left out unless a recipe asks for it.
    """

    max_ratio: float | None = None
    """The larger class is cut down to this many times the smaller; 1 is even, null leaves both whole."""
    policy: Literal["hash", "least_confident"] = "hash"
    """Which rows of the larger class go: any, by a hash of the id, or those whose label is least sure."""
    per_prompt: int | None = None
    """Rows of one prompt, at most."""
    per_customer: int | None = None
    """Rows of one customer, at most."""
    per_source: int | None = None
    """Rows of one source, at most."""
    max_chars: int | None = None
    """Characters of prompt and reply together, at most."""

    def __post_init__(self) -> None:
        caps = ("per_prompt", "per_customer", "per_source", "max_chars")
        faults = [
            f"{name}: {getattr(self, name)}, expected a whole number of at least 1"
            for name in caps
            if getattr(self, name) is not None and not 1 <= getattr(self, name) < 2**31
        ]
        if self.max_ratio is not None and not 1 <= self.max_ratio < float("inf"):
            faults.append(f"max_ratio: {self.max_ratio}, expected a number of at least 1")
        if faults:
            raise RecipeError(faults)

    def idle(self) -> bool:
        """Whether every row stays."""
        fields = (self.max_ratio, self.per_prompt, self.per_customer, self.per_source, self.max_chars)
        return all(value is None for value in fields)


def surplus(
    rows: pl.DataFrame, settings: Balance, *, seed: int, record_type: RecordType = RecordType.UNPAIRED
) -> pl.DataFrame:
    """`id` and `reason` of the rows that `settings` leave out of training, sorted by id.

    The reason is the first of REASONS that holds.
    """
    from prefdata.build.mixing import Caps, balanced, capped

    caps = Caps(
        per_prompt=settings.per_prompt,
        per_customer=settings.per_customer,
        per_source=settings.per_source,
        max_chars=settings.max_chars,
    )
    first = capped(rows, record_type, caps, seed=seed)
    left_out = [first.unmade]
    if settings.max_ratio is not None:
        left_out.append(balanced(first.rows, max_ratio=settings.max_ratio, policy=settings.policy, seed=seed).unmade)
    told = pl.concat(left_out)
    return told.select("id", reason=pl.col("reasons").list.first()).sort("id")
