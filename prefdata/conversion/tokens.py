"""Control tokens in the messages of canonical rows: escaped, or their rows refused."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from prefdata.formats.core import Outcome, nothing_refused, refuse
from prefdata.schema import MESSAGES
from prefdata.transforms.control_tokens import contains_control_token, escape

_GATE = r"[<\[\]＜［］﹤﹇﹈]"
"""What every token holds one of."""


def without_tokens(rows: pl.DataFrame, sides: Sequence[str], *, refuse_them: bool) -> Outcome:
    """`rows` without a model's control tokens in any content: such texts get a space that breaks them, or, with
    `refuse_them`, their rows are refused as control_tokens."""
    numbered = rows.with_row_index("_row")
    hit = pl.Series([False] * rows.height, dtype=pl.Boolean)
    for side in sides:
        turns = (
            numbered.select("_row", turn=side)
            .filter(pl.col("turn").list.eval(pl.element().struct.field("content").str.contains(_GATE)).list.any())
            .explode("turn")
            .unnest("turn")
            .with_columns(bad=contains_control_token("content").fill_null(False))
            .filter(pl.col("bad").any().over("_row"))
        )
        if not turns.height:
            continue
        if refuse_them:
            hit = hit.scatter(turns["_row"].unique(), True)
            continue
        bad = turns["bad"].arg_true()
        escaped = pl.Series([escape(text) for text in turns["content"].gather(bad).to_list()], dtype=pl.String)
        turns = turns.with_columns(turns["content"].scatter(bad, escaped).alias("content"))
        listed = turns.group_by("_row", maintain_order=True).agg(
            pl.struct("role", "content", "tool_calls").alias("_escaped")
        )
        numbered = (
            numbered.join(listed, on="_row", how="left", maintain_order="left")
            .with_columns(pl.coalesce("_escaped", side).cast(MESSAGES).alias(side))
            .drop("_escaped")
        )
    if refuse_them:
        return refuse(rows, {"control_tokens": pl.lit(hit)})
    return Outcome(numbered.drop("_row"), nothing_refused())
