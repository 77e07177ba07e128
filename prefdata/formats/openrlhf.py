"""OpenRLHF's datasets: `input` and `output` for SFT, `prompt`, `chosen` and `rejected` for pairs, `input`, `label`,
`images` and `datasource` for prompts of RL. Messages are written, plain text is read too.

The keys are told to it: `--data.input_key input --data.output_key output --data.apply_chat_template`, and
`--data.prompt_key prompt` for pairs. KTO is no longer there (since March 2026); its old files are read.
https://github.com/OpenRLHF/OpenRLHF, openrlhf/datasets: sft_dataset.py, reward_dataset.py, prompts_dataset.py
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import polars as pl

from prefdata.formats import placeholders, rules, tagged
from prefdata.formats.core import Container, Feature, Match, Outcome, pieces, refuse, set_aside, sides_of
from prefdata.formats.features import CALLS, PICTURES, TEXT, TURNS
from prefdata.formats.messages import is_conversation, written
from prefdata.formats.shapes import (
    boolean_label,
    common_rules,
    conversations,
    json_text,
    last_answer,
    other_pictures,
    shared_prompt,
)
from prefdata.schema import RecordType

CHAT = TEXT | CALLS | {Feature.ANSWER_TURNS}
PROMPTS = TURNS | PICTURES | {Feature.ANSWER}


@dataclass(frozen=True, kw_only=True)
class OpenRlhf:
    """What OpenRLHF's SFT, reward model, DPO and RL trainers read."""

    name: ClassVar[str] = "openrlhf"
    reads: ClassVar[frozenset[RecordType]] = frozenset(RecordType)
    writes: ClassVar[frozenset[RecordType]] = frozenset(RecordType) - {RecordType.UNPAIRED}
    container: ClassVar[Container] = "jsonl"
    holds: ClassVar[Mapping[RecordType, frozenset[Feature]]] = {
        RecordType.SFT: CHAT,
        RecordType.PREFERENCE: CHAT | {Feature.MARGIN},
        RecordType.PROMPT: PROMPTS,
    }

    whole: bool = False
    """Write pairs as two whole conversations, without `prompt`: for `--data.prompt_key` left empty. One turn a side."""
    pictures: Literal["files", "bytes"] = "files"
    """Stored pictures: files in `images/` beside the data, or bytes inside."""
    labels: Mapping[str, bool] | None = None
    """What labels of old KTO files other than true and false mean; null: they are refused."""

    def recognise(self, sample: pl.DataFrame) -> Sequence[Match]:
        """By input with output (and label), input with label or datasource; chosen and rejected with or without
        prompt."""
        schema = {name: dtype for name, dtype in sample.schema.items() if _told(dtype)}
        names = set(sample.columns)
        if "input" in schema and not names & {"instruction", "messages", "conversations"}:
            if "output" in schema:
                kind = RecordType.UNPAIRED if "label" in names else RecordType.SFT
                return [Match(kind, ("columns input, output" + (", label" if "label" in names else ""),))]
            beside = [name for name in ("label", "datasource") if name in names]
            return [Match(RecordType.PROMPT, (f"columns input, {', '.join(beside)}",))] if beside else []
        pair = ("prompt", "chosen", "rejected") if "prompt" in names else ("chosen", "rejected")
        if all(is_conversation(schema.get(name)) for name in pair) and not names & {"messages", "conversations"}:
            return [Match(RecordType.PREFERENCE, (f"columns {', '.join(pair)}: lists of role and content",))]
        return []

    def decode(self, rows: pl.DataFrame, record_type: RecordType) -> Outcome:
        """Without `output` the last turn of `input` is the answer; without `prompt` the shared turns are the prompt."""
        names = set(rows.columns)
        pairs, prompts = record_type is RecordType.PREFERENCE, record_type is RecordType.PROMPT
        if pairs:
            sides = {name: name for name in sides_of(record_type) if name in names}
        else:
            sides = {"input": "prompt"} | ({"output": "completion"} if "output" in names and not prompts else {})
        own = {RecordType.PREFERENCE: ["margin"], RecordType.PROMPT: ["label"], RecordType.UNPAIRED: ["label"]}
        frame = set_aside(rows, [*sides, *own.get(record_type, []), *tagged.IMAGE_COLUMNS, *tagged.MEDIA])
        frame, found, faults = conversations(frame, sides)
        frame, refusals = tagged.incoming(frame, rows, sides=sides, found=found)
        if pairs and "prompt" not in sides:
            pictures = frame["images"]
            frame = shared_prompt(frame)
            other = pl.lit(other_pictures(pictures, frame["prompt"]))
            refusals["differing_prompts"] = other & ~refusals["image_count"]
        elif pairs:
            refusals["prompt_in_answer"] = rules.prompt_in_answer(text=rows.schema["chosen"] == pl.String)
        elif prompts:
            frame = frame.rename({"input": "prompt"})
            if "label" in frame.columns:
                frame = frame.with_columns(json_text(frame["label"]).alias("answer"))
                frame = frame.with_columns(pl.when(pl.col("answer") != "").then("answer").alias("answer"))
        elif "output" in sides:
            frame = frame.rename({"input": "prompt", "output": "completion"})
        else:
            frame = last_answer(frame, "input")
        if record_type is RecordType.UNPAIRED:
            frame, refusals["ambiguous_label"] = boolean_label(frame, "label", labels=self.labels)
        result = refuse(frame, common_rules(record_type, rows) | refusals, also=[faults])
        return Outcome(pieces(result.rows, record_type), result.refused)

    def encode(self, rows: pl.DataFrame, record_type: RecordType) -> Outcome:
        """Refused are tool definitions, which it does not hand to the template, pictures outside prompts of RL, and
        there the tag `<image>` in a text and tool calls."""
        sides = sides_of(record_type)
        refusals = rules.answers(record_type) | {
            "tool_definitions": rules.tool_definitions(),
            "prompt_ends_with_assistant": rules.prompt_ends_with_assistant(),
        }
        if record_type is RecordType.PROMPT:
            refusals |= tagged.tag_rules(sides) | {"tool_turns": rules.tool_turns("prompt")}
        else:
            refusals["images"] = rules.images()
        if self.whole and record_type is RecordType.PREFERENCE:
            # the prompt is then all but the last turn of `chosen`
            refusals["multi_turn_answer"] = tagged.all_of("multi_turn_answer", sides[1:])
        result = refuse(rows, refusals)
        frame = result.rows
        if record_type is RecordType.PROMPT:
            return Outcome(_prompts(frame), result.refused)
        turns = {
            side: written(side, tool_calls=bool(frame.select(rules.tool_calls(side).any()).item())) for side in sides
        }
        if record_type is RecordType.SFT:
            columns = [turns["prompt"].alias("input"), turns["completion"].alias("output")]
        elif self.whole:
            columns = [_joined(frame, side).alias(side) for side in sides[1:]]
        else:
            columns = [turns[side].alias(side) for side in sides]
        return Outcome(frame.select(columns + tagged.extra_columns(frame, ("margin",))), result.refused)

    def beside(
        self, files: Mapping[str, str], record_type: RecordType, *, columns: Collection[str] = ()
    ) -> Mapping[str, str]:
        """Nothing: OpenRLHF takes files by name."""
        return {}


def _told(dtype: pl.DataType) -> bool:
    return dtype == pl.String or is_conversation(dtype)


def _joined(frame: pl.DataFrame, side: str) -> pl.Expr:
    calls = any(frame.select(rules.tool_calls(one).any()).item() for one in ("prompt", side))
    return pl.concat_list(written("prompt", tool_calls=calls), written(side, tool_calls=calls))


def _prompts(frame: pl.DataFrame) -> pl.DataFrame:
    frame = frame.with_columns(placeholders.tagged(("prompt",)))
    columns = [written("prompt").alias("input")]
    if frame["answer"].null_count() < frame.height:
        columns.append(pl.col("answer").alias("label"))
    columns += tagged.extra_columns(frame, ("images",))
    if "source" in frame.columns:
        columns.append(pl.col("source").alias("datasource"))
    return frame.select(columns)
