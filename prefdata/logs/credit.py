"""A session's outcome given to its turns: which agent turn a rating, a status or an abandonment is about.

Signals of scope `turn` already stand on the turn that they follow. What a label is made of is decided in combine.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import polars as pl

from prefdata.errors import RecipeError
from prefdata.logs.signals import SIGNALS

Policy = Literal["direct", "last_turn", "decay"]
POLICIES: tuple[Policy, ...] = ("direct", "last_turn", "decay")


@dataclass(frozen=True, kw_only=True)
class CreditSettings:
    """Which turns a session's outcome is about."""

    policy: Policy = "direct"
    """direct: turns keep the feedback that follows them, the session's outcome goes to its last agent turn.
    last_turn: only the last agent turn of a session keeps signals. decay: the outcome goes to every turn, weaker
    towards the beginning."""

    factor: float = 0.7
    """For decay: weight of the outcome on a turn, as a share of its weight on the agent turn after it."""

    def __post_init__(self) -> None:
        faults = []
        if self.policy not in POLICIES:
            faults.append(f"policy: {self.policy!r}, expected one of {', '.join(POLICIES)}")
        if not 0.0 < self.factor <= 1.0:
            faults.append(f"factor: {self.factor}, expected above 0 and at most 1")
        if faults:
            raise RecipeError(faults)


def credit(signals: pl.DataFrame, *, policy: Policy = "direct", factor: float = 0.7) -> pl.DataFrame:
    """`signals` with each session's outcome where `policy` puts it, in the same order of rows.

    Signals that do not reach a row become null there. Adds `credit_policy` (String) and `credit_weight` (Float32 in
    [0, 1]: how much of the session's outcome the row carries, 1 on the last agent turn).
    """
    CreditSettings(policy=policy, factor=factor)
    back = pl.col("turn").rank("ordinal", descending=True).over("session").cast(pl.Float64) - 1.0
    last = back == 0.0
    weight = pl.lit(factor).pow(back) if policy == "decay" else last.cast(pl.Float64)
    reach = {
        "session": pl.lit(True) if policy == "decay" else last,
        "turn": last if policy == "last_turn" else pl.lit(True),
    }
    return signals.with_columns(
        pl.lit(policy).alias("credit_policy"),
        weight.cast(pl.Float32).alias("credit_weight"),
        *(
            pl.when(reach[signal.scope]).then(pl.col(signal.name)).alias(signal.name)
            for signal in SIGNALS
            if signal.name in signals.columns
        ),
    )
