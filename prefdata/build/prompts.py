"""Prompt-only rows: each prompt once, with the reference answer and whatever else a reward needs."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from prefdata.build.built import Built, as_messages, finish, is_empty, json_object, moved_images, need, optional, sift
from prefdata.build.pieces import CARRIED
from prefdata.build.retype import prompt_keys
from prefdata.errors import InputError
from prefdata.schema import RecordType


def from_rows(rows: pl.DataFrame, *, columns: Sequence[str] = ()) -> Built:
    """PROMPT rows of `rows`, each prompt (messages, pictures, tools) once: the row of the smallest id.

    `rows`: `id`, `source`, `prompt` (messages or text), maybe `answer` (String, the reference that a reward compares
    with) and the columns of `pieces.CARRIED`. `columns`: further columns that the reward reads; they are put into
    `meta`, a JSON object, beside what is there. Candidates are the rows. Unmade: no_prompt, prompt_repeated, and
    conflicting_answers: a prompt that stands with two different references has none that a reward could trust, and none
    of its rows is made. A row without a reference conflicts with nothing and gives way to one that has it.
    """
    what = "prompts"
    need(rows, {"id": pl.String(), "source": pl.String(), **dict.fromkeys(columns)}, what=what)
    taken = sorted({*columns} & {"id", "source", "prompt", "answer", *CARRIED})
    if taken:
        raise InputError(f"columns: {', '.join(taken)} have a place of their own in a row; name other columns only")
    rows = as_messages(rows, {"prompt": "user"}, what=what)
    rows = optional(rows, {**CARRIED, "answer": pl.String()})
    need(rows, {"answer": pl.String()}, what=what)
    rows = rows.with_columns(_key=prompt_keys(rows)).sort(pl.col("answer").is_null(), "id")
    if columns:
        more = json_object(**{name: pl.col(name) for name in columns})
        rows = rows.with_columns(meta=_joined(pl.col("meta").fill_null("{}"), more))
    answer = pl.col("answer").str.strip_chars()
    conflict = (answer.drop_nulls().n_unique() > 1).over("_key")
    empty = is_empty("prompt", images="images")
    made, unmade = sift(
        rows.with_columns(_first=pl.int_range(pl.len()).over("_key") == 0),
        {
            "no_prompt": empty,
            "conflicting_answers": ~empty & conflict,
            "prompt_repeated": ~empty & ~conflict & ~pl.col("_first"),
        },
    )
    made = made.with_columns(
        images=moved_images("images", {"prompt": "prompt"}),
        group=pl.coalesce("group", "_key"),
        meta=pl.when(pl.col("meta") != "{}").then("meta"),
    )
    return finish(made, RecordType.PROMPT, [unmade])


def _joined(first: pl.Expr, second: pl.Expr) -> pl.Expr:
    """Two JSON objects as one."""
    body, more = first.str.strip_suffix("}"), second.str.strip_prefix("{")
    comma = pl.when((body == "{") | (more == "}")).then(pl.lit("")).otherwise(pl.lit(","))
    return body + comma + more
