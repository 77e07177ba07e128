"""Alpaca's columns in and out: instruction, input, system and history as one prompt.

`instruction` and `input` are joined by one line end, where both have text: so do ms-swift and LLaMA-Factory. (The
sentences of Stanford Alpaca's own template belong to its training script, not to its rows.)
"""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

from prefdata.formats.messages import message
from prefdata.formats.shapes import with_system
from prefdata.schema import MESSAGE, MESSAGES


class Names(NamedTuple):
    """Column names; "" where there is no such column."""

    instruction: str = "instruction"
    input: str = "input"
    system: str = "system"
    history: str = "history"


def prompt(rows: pl.DataFrame, names: Names) -> tuple[pl.DataFrame, dict[str, pl.Expr]]:
    """`rows` with `prompt` (MESSAGES), and the rules true where it cannot be made."""
    texts = [
        pl.col(name).replace("", None)
        for name in (names.instruction, names.input)
        if name in rows.columns and rows.schema[name] == pl.String
    ]
    wrong = [
        pl.col(name).is_not_null()
        for name in (names.instruction, names.input)
        if name in rows.columns and rows.schema[name] not in (pl.String, pl.Null)
    ]
    text = pl.concat_str(texts, separator="\n", ignore_nulls=True) if texts else pl.lit("")
    frame = rows.with_columns(message("user", text).alias("prompt"))
    rules = {
        "empty_prompt": text.str.len_bytes() == 0,
        "not_a_conversation": pl.any_horizontal(wrong) if wrong else pl.lit(False),
    }
    if names.history in rows.columns and rows.schema[names.history] != pl.Null:
        frame, rules["missing_content"], odd = _with_history(frame, names.history)
        rules["not_a_conversation"] |= odd
    if names.system in rows.columns:
        frame, _ = with_system(frame, "prompt", rows[names.system])
    return frame, rules


def _with_history(frame: pl.DataFrame, name: str) -> tuple[pl.DataFrame, pl.Expr, pl.Expr]:
    dtype = frame.schema[name]
    if not (isinstance(dtype, pl.List) and isinstance(dtype.inner, pl.List) and dtype.inner.inner == pl.String):
        empty = pl.col(name).list.len() == 0 if isinstance(dtype, pl.List) else pl.col(name).is_null()
        return frame, pl.lit(False), ~empty
    pair = pl.element()
    turns = [
        pl.struct(
            role=pl.lit(role), content=pair.list.get(at, null_on_oob=True), tool_calls=pl.lit(None, pl.String)
        ).cast(MESSAGE)
        for at, role in enumerate(("user", "assistant"))
    ]
    odd = pl.col(name).list.eval(pair.list.len() != 2).list.any()
    missing = pl.col(name).list.eval(pair.list.contains(None)).list.any()
    grown = pl.concat_list(pl.col(name).list.eval(pl.concat_list(turns).explode()).cast(MESSAGES), pl.col("prompt"))
    frame = frame.with_columns(
        pl.when(pl.col(name).list.len() > 0).then(grown).otherwise(pl.col("prompt")).alias("prompt")
    )
    return frame, missing, odd


def with_answer(frame: pl.DataFrame, column: str) -> pl.DataFrame:
    """`frame` with `_talk`: its prompt and, where `column` has text, that as the answer."""
    if not column or frame.schema.get(column) != pl.String:
        return frame.with_columns(pl.col("prompt").alias("_talk"))
    grown = pl.concat_list("prompt", message("assistant", pl.col(column)))
    return frame.with_columns(
        pl.when(pl.col(column).is_not_null()).then(grown).otherwise(pl.col("prompt")).alias("_talk")
    )


def columns(frame: pl.DataFrame) -> list[pl.Expr]:
    """`instruction`, `input`, and `system` and `history` where a row has them.

    The last turn is all `instruction`; `input` is there, empty, since ms-swift tells instructions by both names.

    For rows whose turns alternate and end with the user's, the system prompt first.
    """
    turns = pl.col("prompt").list.eval(
        pl.element().struct.field("content").filter(pl.element().struct.field("role") != "system")
    )
    before = turns.list.head(turns.list.len() - 1)
    history = before.list.eval(pl.concat_list(pl.element().gather_every(2), pl.element().gather_every(2, 1)))
    first = pl.col("prompt").list.first()
    system = pl.when(first.struct.field("role") == "system").then(first.struct.field("content"))
    found = [turns.list.last().alias("instruction"), pl.lit("").alias("input")]
    if frame.select(system.is_not_null().any()).item():
        found.append(system.alias("system"))
    if frame.select((before.list.len() > 0).any()).item():
        found.append(pl.when(before.list.len() > 0).then(history).alias("history"))
    return found
