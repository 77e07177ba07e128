"""Form: what a row must be for a trainer to read it as it was meant."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import polars as pl

from prefdata.auditing.check import ALL, ANSWERED, Check
from prefdata.auditing.dataset import Audited
from prefdata.auditing.encoding import broken
from prefdata.auditing.finding import Found, Levels, Severity
from prefdata.formats import rules
from prefdata.formats.core import answers_of, sides_of
from prefdata.schema import RecordType

_ID_NAMES = ("id", "_id", "uid", "uuid", "row_id", "sample_id", "example_id")
"""Columns that are meant to tell rows apart. Ids of prompts and conversations repeat for good reasons."""

MOST = 0.2
"""Share of the rows with repeated ids from which on the column is no id of rows."""


def _any(sides: Iterable[str], rule: Callable[[str], pl.Expr]) -> pl.Expr:
    """Whether a rule holds of one of the sides."""
    return pl.any_horizontal([rule(side).fill_null(False) for side in sides])


def _answer_is_prompt(record_type: RecordType) -> pl.Expr:
    """The answer to be learnt is the last turn of the prompt: of a pair the chosen one, else a desirable one."""
    side = answers_of(record_type)[0]
    same = (pl.col("turn_text") == pl.col(f"{side}_text")) & (pl.col("turn_text").str.strip_chars() != "")
    return same & pl.col("label").fill_null(True) if record_type is RecordType.UNPAIRED else same


def _ids(chunk: pl.DataFrame, record_type: RecordType) -> pl.DataFrame:
    """`row` and a hash of the id that the file gives it; of several rows of one record the first."""
    given = [pl.col("id")] if "id" in chunk.columns else []
    named = [name for name in _ID_NAMES if chunk["meta"].str.contains(f'"{name}":', literal=True).any()]
    given += [pl.col("meta").str.json_path_match(f"$.{name}") for name in named]
    if not given:
        return pl.DataFrame(schema={"row": pl.UInt32, "id": pl.UInt64})
    found = chunk.lazy().filter(pl.col("part") == 0).select("row", id=pl.coalesce(given)).drop_nulls()
    return found.select("row", pl.col("id").hash()).collect()


def _repeated_ids(data: Audited) -> Found:
    """Rows whose id an earlier row has, where most ids are of one row."""
    rows = data.collected["repeated_ids"]
    repeated = rows.filter(~pl.col("id").is_first_distinct())
    if not repeated.height or repeated.height > MOST * rows.height:
        return Found()
    first = rows.unique("id", keep="first", maintain_order=True).rename({"row": "first"})
    named = repeated.join(first, on="id", how="left", maintain_order="left")
    return Found(
        rows=repeated["row"],
        measures={"with_id": rows.height, "ids": repeated["id"].n_unique()},
        beside=dict(named.select("row", "first").iter_rows()),
    )


def _empty_prompts(data: Audited) -> Found:
    """Rows without a prompt; where none has one, the set is of texts alone, which is said once."""
    rows = data.flagged("empty_prompt")
    if len(rows) == data.total and data.type is not RecordType.PROMPT:
        return Found(measures={"rows_with_prompt": 0}, severity=Severity.NOTE)
    return Found(rows=rows)


EMPTY_ANSWER = Check(
    name="empty_answer",
    family="form",
    title="An answer has no text and no tool call",
    why="The trainer learns to say nothing, or computes a loss over zero tokens, which is NaN.",
    cure="filters: [chat_quality]",
    source="trl#2257",
    types=ANSWERED,
    levels=Levels(critical=0.01, major=0),
    flag=lambda record_type: _any(answers_of(record_type), rules.empty_answer),
)

EMPTY_PROMPT = Check(
    name="empty_prompt",
    family="form",
    title="There is nothing before the answer but a system prompt",
    why="The answer is learnt as a reply to anything. Where no row has a prompt the texts can be audited, not trained "
    "on.",
    cure="Leave the row out: an export refuses it. A table may be given one prompt for all (--from-set prompt=TEXT).",
    types=ALL,
    levels=Levels(critical=0.05, major=0.005, minor=0),
    flag=lambda record_type: rules.empty_prompt(),
    find=_empty_prompts,
)

ANSWER_NOT_BY_ASSISTANT = Check(
    name="answer_not_by_assistant",
    family="form",
    title="An answer does not begin with a turn of the assistant",
    why="Chat templates render the turn as the user's: the model is trained to speak for the customer.",
    cure="Say which roles mean what, or leave the row out; an export refuses it.",
    types=ANSWERED,
    levels=Levels(critical=0.01, major=0.001, minor=0),
    flag=lambda record_type: _any(answers_of(record_type), rules.answer_not_by_assistant),
)

PROMPT_ENDS_WITH_ASSISTANT = Check(
    name="prompt_ends_with_assistant",
    family="form",
    title="The prompt ends with a turn of the assistant",
    why="Most templates then close that turn: the answer follows an answer, as it never does when the model is used.",
    cure="Cut conversations before the assistant's turn, or join the two turns.",
    levels=Levels(major=0.05, minor=0),
    flag=lambda record_type: rules.prompt_ends_with_assistant(),
)

NOT_ALTERNATING = Check(
    name="not_alternating",
    family="form",
    title="Turns of user and assistant do not alternate in the prompt",
    why="Several templates (Gemma, Mistral) raise an error on such a row, others join the turns.",
    cure="transforms join bursts of one role in logs; in imported data join the turns of one role.",
    levels=Levels(major=0.2, minor=0.01),
    flag=lambda record_type: (
        rules.not_alternating(tools=True)
        & ~rules.prompt_ends_with_assistant().fill_null(False)
        & ~rules.empty_prompt().fill_null(False)
    ),
)

BROKEN_CHARACTERS = Check(
    name="broken_characters",
    family="form",
    title="A text holds replacement characters, control characters or wrongly decoded text",
    why="The model learns to write them; they come from a wrong encoding somewhere before this file.",
    cure="Read the source again in its own encoding; transforms: [unicode]",
    levels=Levels(major=0.02, minor=0.0005),
    flag=lambda record_type: _any(sides_of(record_type), lambda side: broken(pl.col(f"{side}_text"))),
)

ANSWER_IS_PROMPT = Check(
    name="answer_is_prompt",
    family="form",
    title="The answer that is to be learnt is the prompt itself",
    why="Two columns were mixed up, or an answer was never written: the model learns to say what it was asked.",
    cure="Map the columns anew, or leave the row out.",
    types=ANSWERED,
    levels=Levels(critical=0.05, major=0.005, minor=0),
    flag=_answer_is_prompt,
)

REPEATED_IDS = Check(
    name="repeated_ids",
    family="form",
    title="An id of the file stands on several rows",
    why="What is joined by it (scores, votes, splits) lands on the wrong rows; prefdata gives them new ids.",
    cure="Make the ids unique in the source, or drop the column.",
    levels=Levels(minor=0),
    collect=_ids,
    find=_repeated_ids,
)
