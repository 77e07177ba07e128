"""How much a value of a row (its source, its month) tells of its label: chi-square and Cramér's V.

Import this module where it is used, inside functions: it needs numpy and scipy.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import polars as pl

MOST_CHANCE = 0.001
"""Probability of a table as uneven among labels that hang on nothing, above which nothing is said."""


class Association(NamedTuple):
    """Of a value and the label."""

    cramers_v: float
    """In [0, 1], corrected for the size of the table (Bergsma, 2013): about 0 where nothing hangs together."""
    chi_square: float
    p_value: float
    """Of chi-square over the design effect of prompts that come more than once."""
    table: pl.DataFrame
    """`value`, `rows`, `share` of desirable ones; a row a value, sorted by value."""

    @property
    def holds(self) -> bool:
        """Whether chance is ruled out."""
        return self.p_value <= MOST_CHANCE

    def measures(self) -> dict[str, Any]:
        """For `Found.measures`."""
        return {
            "cramers_v": round(self.cramers_v, 4),
            "chi_square": round(self.chi_square, 4),
            "p_value": float(f"{self.p_value:.2g}"),
            "values": self.table.height,
        }


def association(rows: pl.DataFrame, *, by: str) -> Association | None:
    """Of column `by` and `label` (Boolean); None where either has one value only.

    Rows of one prompt (`prompt_norm`) are not independent: chi-square is divided by the mean number of rows of a
    prompt, each row weighing the same (the most that the design effect can be; Kish, 1965).
    """
    from scipy.special import chdtrc

    table = (
        rows.group_by(pl.col(by).alias("value"))
        .agg(rows=pl.len(), good=pl.col("label").sum())
        .sort("value")
        .with_columns(share=pl.col("good") / pl.col("rows"))
    )
    total, good = int(table["rows"].sum()), int(table["good"].sum())
    if table.height < 2 or not 0 < good < total:
        return None
    expected = good / total
    counts, away_by = table["rows"].to_numpy(), table["share"].to_numpy() - expected
    away = float((away_by**2 * counts).sum()) / (expected * (1 - expected))
    freedom = table.height - 1
    same = rows.group_by("prompt_norm").len()["len"].to_numpy().astype("float64")
    design = float((same**2).sum()) / total
    shrunk = max(0.0, away / total - freedom / (total - 1))
    columns = 2 - 1 / (total - 1)
    height = table.height - freedom**2 / (total - 1)
    strength = math.sqrt(shrunk / min(columns - 1, height - 1)) if height > 1 else 0.0
    chance = float(chdtrc(freedom, away / max(1.0, design)))
    return Association(min(1.0, strength), away, chance, table.select("value", "rows", "share"))
