"""The texts of canonical rows through the transforms that were made for the turns of logs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import polars as pl

from prefdata.schema import MESSAGES, RecordType
from prefdata.sides import sides_of

Transform = Callable[[pl.DataFrame], pl.DataFrame]


def edited(
    rows: pl.DataFrame, record_type: RecordType, transforms: Sequence[Transform]
) -> tuple[pl.DataFrame, dict[str, int]]:
    """`rows` with their contents edited and a column `touched`; and how often each thing was touched.

    A row is one session, prompt before answers, so that a value has one pseudonym on all its sides. Tool calls and tool
    definitions are not looked at: they are JSON, which an edit may break.
    """
    turns = _turns(rows, record_type)
    for transform in transforms:
        turns = transform(turns)
    touched = (
        turns.select("session", entry="touched")
        .explode("entry")
        .drop_nulls("entry")
        .with_columns(pl.col("entry").str.splitn(":", 2))
        .unnest("entry")
        .group_by("session", name="field_0")
        .agg(n=pl.col("field_1").cast(pl.Int64).sum())
        .sort("session", "name")
    )
    listed = touched.group_by("session", maintain_order=True).agg(touched=pl.format("{}:{}", "name", "n"))
    rows = rows.join(listed, left_on="id", right_on="session", how="left", maintain_order="left")
    rows = rows.with_columns(pl.col("touched").fill_null(pl.lit([], dtype=pl.List(pl.String))))
    for number, side in enumerate(sides_of(record_type)):
        lists = (
            turns.filter(pl.col("side") == number)
            .group_by("session", maintain_order=True)
            .agg(pl.struct("role", content="text", tool_calls="tool_calls").alias("_edited"))
        )
        rows = rows.join(lists, left_on="id", right_on="session", how="left", maintain_order="left")
        rows = rows.with_columns(pl.coalesce("_edited", side).cast(MESSAGES).alias(side)).drop("_edited")
    if record_type is RecordType.PROMPT:
        answers = turns.filter(pl.col("side") == _ANSWER).select("session", _edited="text")
        rows = rows.join(answers, left_on="id", right_on="session", how="left", maintain_order="left")
        rows = rows.with_columns(answer=pl.coalesce("_edited", "answer")).drop("_edited")
    total = touched.group_by("name").agg(pl.col("n").sum()).sort("name")
    return rows, dict(total.iter_rows())


_ANSWER = 9
"""The side of a prompt's reference answer, after all others."""


def _turns(rows: pl.DataFrame, record_type: RecordType) -> pl.DataFrame:
    """The messages of all sides as the transforms want them: `session`, `turn`, `text`, `names`, `touched`, sorted."""
    parts = []
    for number, side in enumerate(sides_of(record_type)):
        said = rows.select(session="id", message=side).filter(pl.col("message").list.len() > 0).explode("message")
        parts.append(said.unnest("message").with_columns(side=pl.lit(number, pl.Int32)).rename({"content": "text"}))
    if record_type is RecordType.PROMPT:
        answers = rows.select(session="id", text="answer").drop_nulls("text")
        parts.append(
            answers.select(
                "session",
                pl.lit("assistant").alias("role"),
                "text",
                pl.lit(None, pl.String).alias("tool_calls"),
                pl.lit(_ANSWER, pl.Int32).alias("side"),
            )
        )
    columns = ("session", "role", "text", "tool_calls", "side")
    turns = pl.concat([part.select(columns) for part in parts]).sort("session", "side", maintain_order=True)
    return turns.with_columns(
        turn=pl.int_range(pl.len(), dtype=pl.Int32).over("session"),
        names=pl.lit([], dtype=pl.List(pl.String)),
        touched=pl.lit([], dtype=pl.List(pl.String)),
    )
