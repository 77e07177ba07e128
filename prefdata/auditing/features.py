"""What every check may look at: texts of a chunk's rows, and the narrow features of them that are kept for all rows."""

from __future__ import annotations

import polars as pl

from prefdata.auditing.words import words
from prefdata.formats.core import sides_of
from prefdata.formats.screens import calls_tools, has_pictures
from prefdata.schema import RecordType
from prefdata.text import joined_text, last_user_text

_TURN, _FIELD = "\x1e", "\x1f"


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
    `<side>_norm` UInt64, equal where the texts are but for case, blanks and punctuation (see `words`; a text of
    nothing else is equal to itself alone). Tool calls and pictures count in both. The hashes hold for one run.
    """
    found: list[pl.Expr | pl.Series] = []
    pictures = has_pictures(rows)
    for side in sides_of(record_type):
        text = rows[f"{side}_text"]
        found += [
            text.str.len_chars().alias(f"{side}_chars"),
            pl.col(side).list.len().fill_null(0).cast(pl.UInt32).alias(f"{side}_turns"),
        ]
        beside = [_calls(side)] if calls_tools(rows, side) else []
        beside += [_pictures(side)] if pictures else []
        norm = _told(text)
        if beside:
            told = rows.select(pl.concat_str(pl.lit(norm), *beside, separator=_TURN).hash().alias(f"{side}_norm"))
            found.append(told.to_series())
        else:
            found.append(norm.hash().alias(f"{side}_norm"))
        found.append(pl.concat_str(_turns(side), *beside, separator=_TURN).hash().alias(f"{side}_hash"))
    return rows.with_columns(found)


def kept(record_type: RecordType) -> list[str]:
    """The features that are kept of every row."""
    return [f"{side}_{name}" for side in sides_of(record_type) for name in ("chars", "turns", "hash", "norm")]


def normalised(text: pl.Expr) -> pl.Expr:
    """Text as `words` gives it."""
    return text.map_batches(words, return_dtype=pl.String)


def _told(text: pl.Series) -> pl.Series:
    """Words; of a text without words the text."""
    found = words(text)
    bare = (found == "").arg_true()
    return found.scatter(bare, text.gather(bare)) if len(bare) else found


def _turns(side: str) -> pl.Expr:
    """Roles and contents of all turns as one text."""
    turn = pl.element().struct
    parts = pl.concat_str(turn.field("role"), pl.lit(_FIELD), turn.field("content").fill_null(""))
    return pl.col(side).list.eval(parts).list.join(_TURN).fill_null("")


def _calls(side: str) -> pl.Expr:
    return pl.col(side).list.eval(pl.element().struct.field("tool_calls").fill_null("")).list.join(_FIELD).fill_null("")


def _pictures(side: str) -> pl.Expr:
    """Addresses of the pictures of a side."""
    picture = pl.element().struct
    here = pl.when(picture.field("side") == side).then(picture.field("uri").fill_null("")).drop_nulls()
    return pl.col("images").list.eval(here).list.join(_FIELD).fill_null("")
