"""Form: what a row must be for a trainer to read it as it was meant."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from prefdata.auditing.check import ALL, ANSWERED, Check
from prefdata.auditing.encoding import broken
from prefdata.auditing.finding import Levels
from prefdata.formats import rules
from prefdata.formats.core import answers_of, sides_of
from prefdata.schema import RecordType


def _any_answer(record_type: RecordType, rule: str) -> pl.Expr:
    return pl.any_horizontal([getattr(rules, rule)(side).fill_null(False) for side in answers_of(record_type)])


def _any_text(record_type: RecordType, rule: Callable[[pl.Expr], pl.Expr]) -> pl.Expr:
    return pl.any_horizontal([rule(pl.col(f"{side}_text")) for side in sides_of(record_type)])


EMPTY_ANSWER = Check(
    name="empty_answer",
    family="form",
    title="An answer has no text and no tool call",
    why="The trainer learns to say nothing, or computes a loss over zero tokens, which is NaN.",
    cure="filters: [chat_quality]",
    source="trl#2257",
    types=ANSWERED,
    levels=Levels(critical=0.01, major=0),
    flag=lambda record_type: _any_answer(record_type, "empty_answer"),
)

EMPTY_PROMPT = Check(
    name="empty_prompt",
    family="form",
    title="There is nothing before the answer but a system prompt",
    why="The answer is learnt as a reply to anything.",
    cure="Leave the row out; an export refuses it.",
    types=ALL,
    levels=Levels(critical=0.05, major=0),
    flag=lambda record_type: rules.empty_prompt(),
)

ANSWER_NOT_BY_ASSISTANT = Check(
    name="answer_not_by_assistant",
    family="form",
    title="An answer does not begin with a turn of the assistant",
    why="Chat templates render the turn as the user's: the model is trained to speak for the customer.",
    cure="Say which roles mean what, or leave the row out; an export refuses it.",
    types=ANSWERED,
    levels=Levels(critical=0.01, major=0),
    flag=lambda record_type: _any_answer(record_type, "answer_not_by_assistant"),
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
    flag=lambda record_type: rules.not_alternating(tools=True) & ~rules.prompt_ends_with_assistant().fill_null(False),
)

BROKEN_CHARACTERS = Check(
    name="broken_characters",
    family="form",
    title="A text holds replacement characters, control characters or wrongly decoded text",
    why="The model learns to write them; they come from a wrong encoding somewhere before this file.",
    cure="Read the source again in its own encoding; transforms: [unicode]",
    levels=Levels(major=0.02, minor=0.0005),
    flag=lambda record_type: _any_text(record_type, broken),
)
