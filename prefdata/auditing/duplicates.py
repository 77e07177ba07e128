"""Duplicates: rows that say what an earlier row says."""

from __future__ import annotations

import polars as pl

from prefdata.auditing.check import Check
from prefdata.auditing.dataset import Audited
from prefdata.auditing.finding import Found, Levels


def _exact(data: Audited) -> Found:
    """Rows whose texts on all sides, and label, an earlier row has."""
    keys = [f"{side}_norm" for side in data.sides] + (["label"] if "label" in data.rows.columns else [])
    rows = data.rows.select("row", *keys)
    later = rows.filter(~pl.struct(keys).is_first_distinct())
    if not later.height:
        return Found()
    first = rows.unique(keys, keep="first", maintain_order=True).rename({"row": "first"})
    named = later.join(first, on=keys, how="left", nulls_equal=True, maintain_order="left")
    sizes = rows.join(later, on=keys, how="semi", nulls_equal=True).group_by(keys).len()["len"]
    return Found(
        rows=later["row"],
        measures={"groups": len(sizes), "largest_group": sizes.sort().to_list()[-1]},
        beside=dict(named.select("row", "first").iter_rows()),
    )


EXACT_DUPLICATES = Check(
    name="exact_duplicates",
    family="duplicates",
    title="The row repeats an earlier one, but for case, blanks and punctuation",
    why="Repeated rows weigh more than once, and land on both sides of a split by row.",
    cure="groupings: [exact_duplicates]",
    source="Lee et al. 2022, Deduplicating Training Data Makes Language Models Better",
    levels=Levels(major=0.1, minor=0.005),
    find=_exact,
)
