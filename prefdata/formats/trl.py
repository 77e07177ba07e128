"""TRL's datasets: explicit `prompt`, answers apart, boolean `label`; conversational, or plain text where asked for.

Read are the shapes that TRL's trainers take: `messages`, prompt and answers as messages or as plain text, and pairs of
whole conversations without a prompt, whose prompt is the turns that both sides begin with.
https://huggingface.co/docs/trl/dataset_formats
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Literal

import polars as pl

from prefdata.formats import placeholders, rules
from prefdata.formats.core import (
    Container,
    Feature,
    Match,
    Outcome,
    answers_of,
    pieces,
    refuse,
    set_aside,
    sides_of,
)
from prefdata.formats.features import CALLS, PICTURES, TEXT
from prefdata.formats.messages import fields_of, holds_text, is_conversation, written
from prefdata.formats.placeholders import placed
from prefdata.formats.shapes import (
    boolean_label,
    common_rules,
    conversations,
    json_text,
    last_answer,
    number,
    other_pictures,
    shared_prompt,
)
from prefdata.schema import SCHEMAS, RecordType

CHAT = TEXT | CALLS | PICTURES | {Feature.ANSWER_TURNS, Feature.TOOLS}

COLUMNS: Mapping[RecordType, frozenset[Feature]] = {
    RecordType.SFT: CHAT | {Feature.ANSWER_IMAGES},
    RecordType.PREFERENCE: CHAT | {Feature.MARGIN, Feature.ANSWER_IMAGES},
    RecordType.UNPAIRED: CHAT | {Feature.ANSWER_IMAGES},
    RecordType.PROMPT: CHAT | {Feature.ANSWER},
}
"""What rows in TRL's columns hold, whoever reads them."""

SHAPES: Mapping[RecordType, tuple[str, ...]] = {
    RecordType.UNPAIRED: ("prompt", "completion", "label"),
    RecordType.PREFERENCE: ("chosen", "rejected"),
    RecordType.SFT: ("prompt", "completion"),
    RecordType.PROMPT: ("prompt",),
}
"""Columns by which a type is told, the first that fits; `messages` is SFT as well."""

ANSWER_LIKE = re.compile(
    r"response|answers|output|completion|chosen|rejected|label|replies|kto_tag|^reward_model$", re.I
)
"""Columns beside which a `prompt` is not there for its own sake: answers, or another tool's reward."""


@dataclass(frozen=True, kw_only=True)
class Trl:
    """What TRL's SFT, DPO, KTO, GRPO and reward trainers read."""

    name: ClassVar[str] = "trl"
    reads: ClassVar[frozenset[RecordType]] = frozenset(RecordType)
    writes: ClassVar[frozenset[RecordType]] = frozenset(RecordType)
    container: ClassVar[Container] = "parquet"
    holds: ClassVar[Mapping[RecordType, frozenset[Feature]]] = {
        record_type: features - {Feature.ANSWER_IMAGES} for record_type, features in COLUMNS.items()
    }

    picture_columns: ClassVar[tuple[str, ...]] = ("images",)

    style: Literal["conversational", "standard"] = "conversational"
    """TRL's words: lists of messages, or plain text. Plain text holds one user turn and one answer."""
    images: bool | None = None
    """Write contents as parts, as rows with pictures need them; null: if a row has one."""
    labels: Mapping[str, bool] | None = None
    """What values other than true and false mean, e.g. {"good": true, "bad": false}; null: they are refused."""
    pictures: Literal["files", "bytes"] = "bytes"
    """Stored pictures: bytes inside, or files in `images/` beside the data."""
    ids: bool = True
    """Write the row's id beside what the trainer reads; TRL passes over it."""

    def recognise(self, sample: pl.DataFrame) -> Sequence[Match]:
        """By the names of columns: `messages`; `chosen` and `rejected`; `prompt` with `completion`, with `label`."""
        names = set(sample.columns)
        if "messages" in names and is_conversation(sample.schema["messages"]):
            if names & {"chosen", "rejected", "rejected_response", "rejected_messages", "label", "kto_tag"}:
                return []
            if set(fields_of(sample.schema["messages"])) & {"weight", "train", "training", "loss"}:
                return []  # another tool's word for what is trained on
            if names & {"images", "image"} and holds_text(sample, "messages", "<image>"):
                return []  # TRL would put the pictures before the text, and take the tags for words
            return [Match(RecordType.SFT, ("column messages: lists of role and content",))]
        for record_type, wanted in SHAPES.items():
            if not names.issuperset(wanted):
                continue
            if record_type is RecordType.PROMPT and any(ANSWER_LIKE.search(name) for name in names):
                return []
            sides = [name for name in wanted if name != "label"]
            if record_type is RecordType.PREFERENCE and "prompt" not in names:
                # two texts without a prompt: where they begin alike is no turn
                return (
                    [Match(record_type, ("columns chosen, rejected: lists of role and content",))]
                    if all(is_conversation(sample.schema[name]) for name in sides)
                    else []
                )
            if all(sample.schema[name] == pl.String or is_conversation(sample.schema[name]) for name in sides):
                return [Match(record_type, (f"columns {', '.join(wanted)}",))]
            return []
        return []

    def decode(self, rows: pl.DataFrame, record_type: RecordType) -> Outcome:
        """Messages or text as they stand; TRL's own rules for prompts that are missing and pictures without a place."""
        whole = record_type is RecordType.SFT and "messages" in rows.columns
        sides = (
            {"messages": "prompt"} if whole else {name: name for name in sides_of(record_type) if name in rows.columns}
        )
        own = [name for name in ("label", "margin", "answer") if name in SCHEMAS[record_type]]
        taken = [*sides, "images", "image", "tools", *own]
        frame, images, faults = conversations(set_aside(rows, taken), sides)
        refusals: dict[str, pl.Expr] = {}
        frame, refusals["image_count"] = placed(frame, rows, images, sides=sides)
        refusals["picture_without_address"] = placeholders.without_address() & ~refusals["image_count"]
        if whole:
            frame = last_answer(frame, "messages")
            refusals["no_answer"] = pl.col("completion").is_null()
        elif record_type is RecordType.PREFERENCE and "prompt" not in sides:
            pictures = frame["images"]
            frame = shared_prompt(frame)
            other = pl.lit(other_pictures(pictures, frame["prompt"]))
            refusals["differing_prompts"] = other & ~refusals["image_count"]
        elif record_type is RecordType.PREFERENCE:
            refusals["prompt_in_answer"] = rules.prompt_in_answer(text=rows.schema["chosen"] == pl.String)
        elif record_type is RecordType.UNPAIRED:
            frame, refusals["ambiguous_label"] = boolean_label(frame, "label", labels=self.labels)
        if record_type is RecordType.PREFERENCE:
            frame, refusals["margin_not_a_number"] = number(frame, "margin")
        texts = [name for name in ("tools", "answer") if name in frame.columns]
        frame = frame.with_columns(json_text(frame[name]).alias(name) for name in texts)
        result = refuse(frame, common_rules(record_type, rows) | refusals, also=[faults])
        return Outcome(pieces(result.rows, record_type), result.refused)

    def encode(self, rows: pl.DataFrame, record_type: RecordType) -> Outcome:
        """Prompt and answers apart, boolean label; `tools` as JSON text; pictures as parts and a list of addresses.

        Refused are rows with a picture in an answer: TRL's trainers take all `images` for the prompt's, and stop at the
        batch that has more of them than its prompts have places.
        """
        refusals = {"answer_images": rules.answer_images()} if answers_of(record_type) else {}
        return self.in_columns(rows, record_type, refusals)

    def in_columns(
        self, rows: pl.DataFrame, record_type: RecordType, also: Mapping[str, pl.Expr] = MappingProxyType({})
    ) -> Outcome:
        """Rows in TRL's columns, as containers hold them that are not for its trainers alone; `also`: more rules."""
        sides = sides_of(record_type)
        refusals = rules.answers(record_type) | dict(also)
        refusals["image_count"] = rules.image_count(*sides)
        refusals["empty_turn"] = _nothing_asked()
        if self.style == "standard":
            refusals |= {
                "multi_turn_prompt": rules.multi_turn_prompt(),
                "system_prompt": rules.system_prompt(),
                "tool_turns": rules.tool_turns(*sides),
                "images": rules.images(),
            }
            for side in answers_of(record_type):
                refusals["multi_turn_answer"] = refusals.get(
                    "multi_turn_answer", pl.lit(False)
                ) | rules.multi_turn_answer(side)
        result = refuse(rows, refusals)
        frame = result.rows
        return Outcome(frame.select(self._columns(frame, record_type)), result.refused)

    def _columns(self, frame: pl.DataFrame, record_type: RecordType) -> list[pl.Expr]:
        sides = sides_of(record_type)
        columns = [pl.col("id")] if self.ids and "id" in frame.columns else []
        with_images = self.images if self.images is not None else bool(frame.select(rules.images().any()).item())
        for side in sides:
            calls = bool(frame.select(rules.tool_calls(side).any()).item())
            if self.style == "standard":
                columns.append(pl.col(side).list.first().struct.field("content").alias(side))
            elif with_images:
                columns.append(placeholders.parts(side, tool_calls=calls).alias(side))
            else:
                columns.append(written(side, tool_calls=calls).alias(side))
        if with_images:
            columns.append(placeholders.uris().fill_null(pl.lit([], pl.List(pl.String))).alias("images"))
        for name in ("label", "margin", "answer", "tools"):
            if name in frame.columns and (name == "label" or frame[name].null_count() < frame.height):
                columns.append(pl.col(name))
        return columns

    def beside(
        self, files: Mapping[str, str], record_type: RecordType, *, columns: Collection[str] = ()
    ) -> Mapping[str, str]:
        """Nothing: TRL loads the files as they are."""
        return {}


def _nothing_asked() -> pl.Expr:
    """The last turn of the prompt, unless it is a tool's result, is blank and calls no tool: the answer to it would be
    trained on. A picture is a mark in the text."""
    last = pl.col("prompt").list.last().struct
    blank = last.field("content").fill_null("").str.strip_chars().str.len_bytes() == 0
    return blank & last.field("tool_calls").is_null() & (last.field("role") != "tool")
