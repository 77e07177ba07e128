"""What every check may look at: texts of a chunk's rows, and the narrow features of them that are kept for all rows."""

from __future__ import annotations

import polars as pl

from prefdata.formats.core import answers_of, sides_of
from prefdata.schema import RecordType
from prefdata.text import joined_text, last_user_text

_BETWEEN = r"[\s\p{P}\p{Cf}]+"


def texts(rows: pl.DataFrame, record_type: RecordType) -> pl.DataFrame:
    """`rows` with `<side>_text` (all contents of a side, a line end between turns) and `turn_text` (the last user turn
    of the prompt): String, never null."""
    return rows.with_columns(
        *(joined_text(side).fill_null("").alias(f"{side}_text") for side in sides_of(record_type)),
        last_user_text("prompt").fill_null("").alias("turn_text"),
    )


def features(rows: pl.DataFrame, record_type: RecordType) -> pl.DataFrame:
    """`rows` with texts (see `texts`) with the features of every side:

    `<side>_chars` UInt32 (code points) and `<side>_turns` UInt32; `<side>_hash` UInt64, equal where the turns are;
    `<side>_norm` UInt64, equal where the texts are but for case, blanks and punctuation. The hashes hold for one run.
    """
    found = []
    for side in sides_of(record_type):
        text = pl.col(f"{side}_text")
        found += [
            text.str.len_chars().alias(f"{side}_chars"),
            pl.col(side).list.len().fill_null(0).cast(pl.UInt32).alias(f"{side}_turns"),
            _turns_hash(side).alias(f"{side}_hash"),
            normalised(text).hash().alias(f"{side}_norm"),
        ]
    return rows.with_columns(found)


def kept(record_type: RecordType) -> list[str]:
    """The features that are kept of every row."""
    return [f"{side}_{name}" for side in sides_of(record_type) for name in ("chars", "turns", "hash", "norm")]


def normalised(text: pl.Expr) -> pl.Expr:
    """Text in lower case, everything between words one blank."""
    return text.str.to_lowercase().str.replace_all(_BETWEEN, " ").str.strip_chars(" ")


def any_answer(record_type: RecordType, rule: str) -> list[pl.Expr]:
    """`<answer>_<rule>` columns of a type's answers."""
    return [pl.col(f"{side}_{rule}") for side in answers_of(record_type)]


def _turns_hash(side: str) -> pl.Expr:
    """A hash over roles, contents and tool calls of all turns."""
    turn = pl.element().struct
    parts = pl.concat_str(
        turn.field("role"),
        pl.lit("\x1f"),
        turn.field("content").fill_null(""),
        pl.lit("\x1f"),
        turn.field("tool_calls").fill_null(""),
    )
    return pl.col(side).list.eval(parts).list.join("\x1e").fill_null("").hash()
