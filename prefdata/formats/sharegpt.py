"""ShareGPT: `conversations` of `from` and `value`; human, gpt, system and tool.

Pictures stand as `<image>` in the text, their addresses in `images`; tool calls are turns `function_call` with JSON
text; tool definitions are JSON text in `tools`. Pairs have `chosen` and `rejected`, one message each, beside the
conversation that they answer.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import polars as pl

from prefdata.formats import rules, tagged
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
from prefdata.formats.features import PICTURES, TURNS
from prefdata.formats.messages import SHAREGPT, is_conversation, written
from prefdata.formats.shapes import (
    common_rules,
    conversations,
    json_text,
    last_answer,
    other_pictures,
    shared_prompt,
    with_system,
)
from prefdata.schema import MESSAGES, RecordType

HELD = TURNS | PICTURES | {Feature.TOOL_CALLS, Feature.TOOLS, Feature.ANSWER_IMAGES}

NAMES = {"system": "system", "user": "human", "assistant": "gpt", "tool": "tool", "function_call": "function_call"}

COLUMNS = ("conversations", "conversation", "messages")


@dataclass(frozen=True, kw_only=True)
class ShareGpt:
    """Conversations of `from` and `value`."""

    name: ClassVar[str] = "sharegpt"
    reads: ClassVar[frozenset[RecordType]] = frozenset({RecordType.SFT, RecordType.PREFERENCE})
    writes: ClassVar[frozenset[RecordType]] = frozenset({RecordType.SFT, RecordType.PREFERENCE})
    container: ClassVar[Container] = "jsonl"
    holds: ClassVar[Mapping[RecordType, frozenset[Feature]]] = {RecordType.SFT: HELD, RecordType.PREFERENCE: HELD}

    picture_columns: ClassVar[tuple[str, ...]] = ("images",)

    pictures: Literal["files", "bytes"] = "files"
    """Stored pictures: files in `images/` beside the data, or bytes inside."""
    system_column: bool = False
    """Write the system prompt into a column `system`, not as the first turn. Both are read."""

    def recognise(self, sample: pl.DataFrame) -> Sequence[Match]:
        """By a column of conversations of `from` and `value`, and none that makes pairs or labels of them."""
        names = set(sample.columns)
        if names & {"chosen", "rejected", "kto_tag", "label"}:
            return []
        for name in COLUMNS:
            if name in names and is_conversation(sample.schema[name], SHAREGPT):
                return [Match(RecordType.SFT, (f"column {name}: lists of from and value",))]
        return []

    def decode(self, rows: pl.DataFrame, record_type: RecordType) -> Outcome:
        """The last turn as the answer; pairs with or without a conversation before them."""
        column = next((name for name in COLUMNS if name in rows.columns), None)
        sides = {column: "prompt"} if column else {}
        if record_type is RecordType.PREFERENCE:
            sides |= {"chosen": "chosen", "rejected": "rejected"}
        taken = [*sides, *tagged.IMAGE_COLUMNS, "system", "tools"]
        frame, found, faults = conversations(set_aside(rows, taken), sides, dialect=SHAREGPT)
        refusals: dict[str, pl.Expr] = {}
        frame, wrong = tagged.incoming(frame, rows, sides=sides, found=found)
        refusals |= wrong
        if column and "system" in rows.columns:
            frame, refusals["second_system_prompt"] = with_system(frame, column, rows["system"])
        if column and record_type is RecordType.SFT:
            frame = last_answer(frame, column)
        elif column:
            frame = frame.rename({column: "prompt"})
        elif record_type is RecordType.PREFERENCE:
            pictures = frame["images"]
            frame = shared_prompt(frame)
            other = pl.lit(other_pictures(pictures, frame["prompt"]))
            refusals["differing_prompts"] = other & ~refusals["image_count"]
        if "tools" in frame.columns:
            frame = frame.with_columns(json_text(frame["tools"]).alias("tools"))
        result = refuse(frame, common_rules(record_type, rows) | refusals, also=[faults])
        return Outcome(pieces(result.rows, record_type), result.refused)

    def encode(self, rows: pl.DataFrame, record_type: RecordType) -> Outcome:
        """Refused are answers of several turns, text beside a tool call, and `<image>` in a text."""
        sides = sides_of(record_type)
        refusals = rules.answers(record_type) | tagged.tag_rules(sides)
        refusals["multi_turn_answer"] = tagged.all_of("multi_turn_answer", answers_of(record_type))
        refusals["text_beside_call"] = rules.text_beside_call(*sides)
        if self.system_column:
            refusals["system_not_first"] = rules.system_not_first()
        result = refuse(rows, refusals)
        frame = tagged.outgoing(result.rows, sides, call_role="function_call")
        columns = []
        if self.system_column:
            first = pl.col("prompt").list.first()
            system = pl.when(first.struct.field("role") == "system").then(first.struct.field("content"))
            if frame.select(system.is_not_null().any()).item():
                columns.append(system.alias("system"))
            rest = pl.when(system.is_not_null()).then(pl.col("prompt").list.slice(1)).otherwise(pl.col("prompt"))
            talk = rest.cast(MESSAGES)
        else:
            talk = pl.col("prompt")
        if record_type is RecordType.SFT:
            talk = pl.concat_list(talk, "completion")
        frame = frame.with_columns(talk.alias("_talk"), *[one.alias("_system") for one in columns])
        chosen = [
            written(side, dialect=SHAREGPT, names=NAMES).list.first().alias(side)
            for side in answers_of(record_type)
            if record_type is RecordType.PREFERENCE
        ]
        return Outcome(
            frame.select(
                *[pl.col("_system").alias("system") for _ in columns],
                written("_talk", dialect=SHAREGPT, names=NAMES).alias("conversations"),
                *chosen,
                *tagged.extra_columns(frame, ("images", "tools")),
            ),
            result.refused,
        )

    def beside(
        self, files: Mapping[str, str], record_type: RecordType, *, columns: Collection[str] = ()
    ) -> Mapping[str, str]:
        """Nothing."""
        return {}
