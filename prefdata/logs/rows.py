"""Rows out of turns: the conversation so far as the prompt, a person's answer as the completion."""

from __future__ import annotations

import polars as pl

from prefdata.errors import RecipeError
from prefdata.logs.events import TURNS
from prefdata.schema import MESSAGE, MESSAGES

ROWS = pl.Schema(
    {
        "source": pl.String(),
        "session": pl.String(),
        "turn": pl.Int32(),
        "prompt": MESSAGES,
        "completion": MESSAGES,
        "pictures": pl.List(pl.String()),  # of the prompt, then of the completion
        "time": pl.Datetime("us", "UTC"),
        "customer": pl.String(),
        "agent": pl.String(),
        "file": pl.String(),
        "line": pl.Int64(),
        "part": pl.Int32(),
        "meta": pl.String(),
    }
)
"""One row an agent's turn that answers; sorted by (session, turn). `file`, `line`, `part`, `meta` are the answer's."""

NEVER_COMPLETIONS = ("bot", "tool", "auto_reply")
"""Flags of turns that stand in prompts only."""


def rows(turns: pl.DataFrame, *, max_context_turns: int | None = None) -> pl.DataFrame:
    """ROWS: one for each agent's turn of a person that has a customer's turn before it.

    The prompt is all turns before, or the last `max_context_turns` of them; it begins with a customer's turn, as most
    chat templates demand, so an agent's opening before it is left out.
    """
    if max_context_turns is not None and max_context_turns < 1:
        raise RecipeError(f"max_context_turns: {max_context_turns}, expected at least 1 or none")
    frame = turns.select(TURNS.names()).sort("session", "turn").with_row_index("_at")
    frame = frame.with_columns(pl.col("_at").cast(pl.Int64))
    customer = pl.col("role") == "customer"
    limit = pl.col("_at").min().over("session")
    if max_context_turns is not None:
        limit = pl.max_horizontal(limit, pl.col("_at") - max_context_turns)
    frame = frame.with_columns(_limit=limit, _customer_at=pl.when(customer).then("_at"))
    frame = frame.with_columns(
        _seen=pl.col("_customer_at").forward_fill().over("session"),
        _next=pl.col("_customer_at").backward_fill().over("session"),
    )
    answers = frame.filter(
        ~customer
        & pl.col("_seen").is_not_null()
        & pl.col("flags").list.set_intersection(list(NEVER_COMPLETIONS)).list.len().eq(0)
    )
    begins = frame["_next"].gather(answers["_limit"].cast(pl.UInt32))
    chosen = pl.select(pl.when(begins < answers["_at"]).then(begins).otherwise(answers["_seen"])).to_series()
    answers = answers.with_columns(chosen.alias("_begins"))
    messages = frame.select(
        pl.struct(
            pl.when(customer).then(pl.lit("user")).otherwise(pl.lit("assistant")).alias("role"),
            pl.col("text").alias("content"),
            pl.lit(None, dtype=pl.String).alias("tool_calls"),
        ).alias("message")
    )["message"].cast(MESSAGE)
    places = answers.select(pl.int_ranges("_begins", "_at").alias("place")).with_row_index("row").explode("place")
    prompts = (
        places.select("row", prompt=messages.gather(places["place"].cast(pl.UInt32)))
        .group_by("row", maintain_order=True)
        .agg("prompt")
    )
    return (
        answers.with_columns(
            _pictures(frame, answers),
            prompts["prompt"].cast(MESSAGES),
            completion=pl.concat_list(messages.gather(answers["_at"].cast(pl.UInt32)).alias("completion")),
        )
        .select(ROWS.names())
        .cast(ROWS)
    )


def _pictures(frame: pl.DataFrame, answers: pl.DataFrame) -> pl.Series:
    """The pictures of each answer's prompt, then its own, in the order of their turns; null where there are none."""
    nothing = pl.Series("pictures", [None], dtype=pl.List(pl.String)).new_from_index(0, answers.height)
    if frame["pictures"].null_count() == frame.height:
        return nothing
    places = answers.select(pl.int_ranges("_begins", pl.col("_at") + 1).alias("_at")).with_row_index("row")
    shown = frame.filter(pl.col("pictures").is_not_null()).select("_at", "pictures")
    found = (
        places.explode("_at")
        .join(shown, on="_at", how="inner", maintain_order="left")
        .group_by("row", maintain_order=True)
        .agg(pl.col("pictures").list.explode(keep_nulls=False, empty_as_null=False))
    )
    return places.select("row").join(found, on="row", how="left", maintain_order="left")["pictures"]
