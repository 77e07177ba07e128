"""The tokenizer, its template and the model's vocabulary: what is the same for all rows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from prefdata.errors import InputError
from trainers.preflight.finding import Check, Finding, Levels, Severity
from trainers.preflight.seen import Seen
from trainers.rendering import Encoded, encode_chat

PROBED = 64
"""Rows of which the prompt is encoded alone, to see whether the whole chat begins with it."""

VOCABULARY = Check(
    name="token_outside_vocabulary",
    family="template",
    title="Rows hold token ids that the model has no embedding for",
    why="On a CPU that is an IndexError inside the embedding, on a GPU a failed assertion without a row's name.",
    cure="Take the tokenizer that belongs to the model, or resize its embedding before training",
    levels=Levels(critical=0),
)
LARGER = Check(
    name="tokenizer_larger_than_model",
    family="template",
    title="The tokenizer has more tokens than the model has embeddings",
    why="No row uses one of them, but a forged or generated one would stop the run.",
    cure="Take the tokenizer that belongs to the model",
)
TWO_BOS = Check(
    name="two_bos",
    family="template",
    title="Rows begin with two beginning-of-sequence tokens",
    why="The template writes one and the tokenizer adds another: the model was never trained on that, and what it "
    "learns here does not fit how it is served.",
    cure="Take bos_token out of the chat template, or out of the tokenizer's post-processor",
    threads=("huggingface/alignment-handbook#127", "huggingface/trl#3328", "OpenRLHF/OpenRLHF#1069"),
    levels=Levels(critical=0.5, major=0),
)
NOT_PREFIX = Check(
    name="prompt_is_no_prefix",
    family="template",
    title="The template renders the prompt alone otherwise than as the beginning of the chat",
    why="The end of the prompt is trained on as part of the answer, or left out: the model answers another context in "
    "training than in serving. TRL warns once and goes on.",
    cure="Set chat_template to one whose prompt with add_generation_prompt begins the whole chat",
    threads=("huggingface/trl#1858", "hiyouga/LlamaFactory#4617"),
    levels=Levels(major=0.5, minor=0),
)
NO_EOS = Check(
    name="no_eos_token",
    family="template",
    title="The tokenizer names no end token",
    why="Generation does not know when to stop, and TRL cannot append one.",
    cure="Set eos_token of the tokenizer to the token that ends the assistant's turn in the template",
    threads=("huggingface/trl#1623",),
)
NO_MARKERS = Check(
    name="no_generation_markers",
    family="template",
    view="trl",
    title="The template has no {% generation %} markers",
    why="TRL's assistant_only_loss needs them and raises without; without assistant_only_loss, rows of `messages` are "
    "trained on the customer's and system tokens too. Rows of prompt and completion, as here, do not need them.",
    cure="Give TRL prompt and completion apart (prefdata convert DATA --to trl), or a template with the markers",
    threads=("huggingface/trl#4879", "huggingface/trl#4147", "QwenLM/Qwen3#1522"),
)
STOP_TOKEN = Check(
    name="stop_token_not_trained",
    family="template",
    view="trl",
    title="The {% generation %} markers leave out the token that ends a turn",
    why="With assistant_only_loss the model is never trained to stop.",
    cure="Close {% generation %} behind the end token in the template",
    threads=("huggingface/trl#1623", "huggingface/alignment-handbook#127"),
)
MARKERS = re.compile(r"\{%-?\s*generation\s*-?%\}")
CLOSED_EARLY = re.compile(r"\{%-?\s*endgeneration\s*-?%\}\s*(\{\{-?\s*['\"][^'\"]*<|\{\{-?\s*eos_token|<\|)")


def look(seen: Seen) -> Iterator[Finding]:
    """Findings about tokenizer, template and vocabulary."""
    tokenizer, rows, total = seen.tokenizer, seen.rows, len(seen.rows)
    if tokenizer.eos_token_id is None:
        yield NO_EOS.found([], total, severity=Severity.MAJOR)
    if seen.vocabulary is not None:
        yield from _vocabulary(seen, seen.vocabulary)
    bos = tokenizer.bos_token_id
    if bos is not None:
        ids = seen.rows_where([_begins_with_two(row, bos) for row in rows.first])
        if ids:
            yield TWO_BOS.found(ids, total, bos_token=tokenizer.bos_token)
    if total and seen.answers:
        step = max(1, total // PROBED)
        probed = range(0, total, step)
        odd = [at for at in probed if not _prompt_begins(tokenizer, rows.first[at])]
        if odd:
            yield NOT_PREFIX.found([rows.ids[at] for at in odd], len(probed), rows_looked_at=len(probed))
    template = tokenizer.chat_template
    if isinstance(template, str) and "completion" in seen.answers and seen.method == "sft":
        if not MARKERS.search(template):
            yield NO_MARKERS.found([], total, severity=Severity.NOTE)
        elif CLOSED_EARLY.search(template):
            yield STOP_TOKEN.found([], total, severity=Severity.MINOR)


def _vocabulary(seen: Seen, vocabulary: int) -> Iterator[Finding]:
    sides: Sequence[Sequence[Encoded]] = list(seen.rows.sides.values())
    most = [max(max(row.prompt_ids, default=0) for row in row_sides) for row_sides in zip(*sides, strict=True)]
    answers = [max(max(row.completion_ids, default=0) for row in row_sides) for row_sides in zip(*sides, strict=True)]
    outside = [max(one, other) >= vocabulary for one, other in zip(most, answers, strict=True)]
    size = len(seen.tokenizer)
    told: dict[str, Any] = {"embeddings": vocabulary, "tokens": size}
    if any(outside):
        yield VOCABULARY.found(seen.rows_where(outside), len(seen.rows), **told)
    elif size > vocabulary:
        yield LARGER.found([], len(seen.rows), severity=Severity.MINOR, **told)


def _begins_with_two(row: Encoded, bos: int) -> bool:
    return (row.prompt_ids + row.completion_ids[:2])[:2] == [bos, bos]


def _prompt_begins(tokenizer: Any, row: Encoded) -> bool:
    """Whether the prompt that was left, encoded alone, is what the row's ids begin with."""
    try:
        return encode_chat(tokenizer, row.prompt, add_generation_prompt=True) == row.prompt_ids
    except InputError:
        return False
