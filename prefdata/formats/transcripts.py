"""Conversations in one text: `\\n\\nHuman: ...\\n\\nAssistant: ...`, as hh-rlhf and Nectar have them."""

from __future__ import annotations

import polars as pl

from prefdata.schema import MESSAGES

START = r"^\s*Human:"

_TURN, _TEXT = "\x1e", "\x1f"


def parsed(column: str) -> tuple[pl.Expr, pl.Expr]:
    """MESSAGES of a column of transcripts, and the rule true for what is none.

    A turn begins at `\\n\\nHuman:` or `\\n\\nAssistant:`; one space after the colon belongs to the mark. Nothing else
    is taken off. An `Assistant:` at the end, where an answer is to follow, is a turn without text.
    """
    text = pl.lit("\n\n") + pl.col(column).str.strip_chars_start("\n ")
    marked = text.str.replace_all(r"\n\n(Human|Assistant): ?", f"{_TURN}${{1}}{_TEXT}")
    turns = marked.str.split(_TURN).list.slice(1)
    element = pl.element().str.splitn(_TEXT, 2)
    role = element.struct.field("field_0").replace_strict(
        {"Human": "user", "Assistant": "assistant"}, default=None, return_dtype=pl.String
    )
    messages = turns.list.eval(
        pl.struct(role=role, content=element.struct.field("field_1"), tool_calls=pl.lit(None, pl.String))
    ).cast(MESSAGES)
    odd = ~pl.col(column).str.contains(START) | pl.col(column).str.contains(f"[{_TURN}{_TEXT}]")
    return messages, odd
