"""Where every record and candidate of every source went: read, refused, quarantined, unmade, kept, dropped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from prefdata.judging import Decision

ENDS = ("kept", "dropped", "erased", "unmade", "refused", "quarantined")
"""What becomes of a candidate; together all of them."""


def accounts(read: Sequence[dict[str, Any]], sources: pl.DataFrame, decision: Decision) -> list[dict[str, Any]]:
    """The account of each source with its rows decided: `all` is the sum of ENDS.

    A candidate is a record that was refused or could not be read, and whatever could have been a row of the run: a row
    of the source, a side of its pairs, two replies that match. `sources`: `id` and `source` of every record. Raises
    where a sum does not hold, which would be a fault of ours.
    """
    decided = decision.rows.select("id", "kept").join(sources, on="id", how="left")
    kept = dict(decided.group_by("source").agg(pl.col("kept").sum()).iter_rows())
    rows = dict(decided.group_by("source").len().iter_rows())
    found = []
    for account in read:
        name = account["source"]
        ends = {
            **account,
            "erased": account.get("erased", 0),
            "kept": int(kept.get(name, 0)),
            "dropped": int(rows.get(name, 0)) - int(kept.get(name, 0)),
        }
        ends["all"] = account["candidates"] + account["refused"] + account["quarantined"]
        if ends["all"] != sum(ends[end] for end in ENDS):
            raise RuntimeError(f"source {name}: its account does not add up")
        found.append(ends)
    return found
