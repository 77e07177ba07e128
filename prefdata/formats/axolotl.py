"""Axolotl's datasets: `chat_template` for SFT, `chat_template.default` for DPO, plain text for KTO; and the piece of
its YAML that names the files, `axolotl_datasets.yaml`.

`train` says of a turn of the assistant whether it is trained on (`message_field_training`). Pictures stand as parts
with their address, in SFT only: the loader of preferences hands no picture on, and takes of a message role and content.
https://github.com/axolotl-ai-cloud/axolotl, prompt_strategies: chat_template.py, dpo/chat_template.py,
kto/user_defined.py; processing_strategies.py
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import polars as pl

from prefdata.formats import rules, tagged, turns
from prefdata.formats.core import Container, Feature, Match, Outcome, answers_of, pieces, refuse, set_aside, sides_of
from prefdata.formats.features import CALLS, PICTURES, TEXT
from prefdata.formats.messages import TOOL_CALLS, fields_of, is_conversation, is_message, written
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

CHAT = TEXT | CALLS | PICTURES | {Feature.ANSWER_TURNS, Feature.TOOLS}
TRAIN = ("train", "training")
"""Keys that say whether a turn is trained on; the first is written."""


@dataclass(frozen=True, kw_only=True)
class Axolotl:
    """What Axolotl's SFT, DPO and KTO read."""

    name: ClassVar[str] = "axolotl"
    reads: ClassVar[frozenset[RecordType]] = frozenset(RecordType) - {RecordType.PROMPT}
    writes: ClassVar[frozenset[RecordType]] = reads
    container: ClassVar[Container] = "jsonl"
    holds: ClassVar[Mapping[RecordType, frozenset[Feature]]] = {
        RecordType.SFT: CHAT,
        RecordType.PREFERENCE: TEXT,
        RecordType.UNPAIRED: frozenset({Feature.IMAGE_TAG}),
    }

    pictures: Literal["files", "bytes"] = "files"
    """Stored pictures: files in `images/` beside the data, or bytes inside."""
    labels: Mapping[str, bool] | None = None
    """What values of `label` other than true and false mean; null: they are refused."""

    def recognise(self, sample: pl.DataFrame) -> Sequence[Match]:
        """By messages with chosen and rejected; messages; prompt, completion and label as plain text."""
        names, schema = set(sample.columns), sample.schema
        if is_conversation(schema.get("messages")):
            if all(is_message(schema.get(name)) for name in ("chosen", "rejected")):
                return [Match(RecordType.PREFERENCE, ("columns messages, chosen, rejected",))]
            if turns.plain_messages(sample, own=TRAIN):
                return [Match(RecordType.SFT, ("column messages: lists of role and content",))]
        plain = all(schema.get(name) == pl.String for name in ("prompt", "completion"))
        if plain and "label" in names and not names & set(tagged.IMAGE_COLUMNS):
            return [Match(RecordType.UNPAIRED, ("columns prompt, completion, label: plain text",))]
        return []

    def decode(self, rows: pl.DataFrame, record_type: RecordType) -> Outcome:
        """The answer of SFT are the turns that are trained on; without `messages`, the turns that both sides of a pair
        begin with are the prompt."""
        refusals: dict[str, pl.Expr] = {}
        if record_type is RecordType.SFT:
            sides = {"messages": "prompt"}
        elif record_type is RecordType.PREFERENCE:
            there = {"messages": "prompt"} if "messages" in rows.columns else {}
            sides = there | {"chosen": "chosen", "rejected": "rejected"}
        else:
            sides = {"prompt": "prompt", "completion": "completion"}
        label = ["label"] if record_type is RecordType.UNPAIRED else []
        frame = set_aside(rows, [*sides, *label, "tools", *tagged.IMAGE_COLUMNS])
        size = pl.lit(1)
        if record_type is RecordType.SFT:
            flag = next((one for one in TRAIN if one in fields_of(rows.schema["messages"])), TRAIN[0])
            frame, size, refusals["trained_turns"] = turns.trained(frame, "messages", flag)
        frame, found, faults = conversations(frame, sides)
        frame, refusals["image_count"] = turns.in_parts(frame, rows, found)
        if record_type is RecordType.SFT:
            frame = last_answer(frame, "messages", size=size)
        elif record_type is RecordType.UNPAIRED:
            frame, refusals["ambiguous_label"] = boolean_label(frame, "label", labels=self.labels)
        elif "messages" in sides:
            frame = frame.rename({"messages": "prompt"})
        else:
            pictures = frame["images"]
            frame = shared_prompt(frame)
            other = pl.lit(other_pictures(pictures, frame["prompt"]))
            refusals["differing_prompts"] = other & ~refusals["image_count"]
        if "tools" in frame.columns:
            frame = frame.with_columns(json_text(frame["tools"]).alias("tools"))
        result = refuse(frame, common_rules(record_type, rows) | refusals, also=[faults])
        return Outcome(pieces(result.rows, record_type), result.refused)

    def encode(self, rows: pl.DataFrame, record_type: RecordType) -> Outcome:
        """Refused are pictures in answers; in preferences all pictures, tools, and answers of several turns; in KTO
        also all that is not one turn of the user before the answer."""
        sides = sides_of(record_type)
        refusals = rules.answers(record_type)
        if record_type is RecordType.SFT:
            refusals |= {
                "image_count": rules.image_count(*sides),
                "answer_images": rules.answer_images(),
                "prompt_ends_with_assistant": rules.prompt_ends_with_assistant(),
                # its collator for pictures does not read `train`
                "earlier_answers": rules.images() & rules.earlier_answers(),
            }
            result = refuse(rows, refusals)
            return Outcome(_conversations(result.rows), result.refused)
        refusals |= {
            "images": rules.images(),
            "tool_turns": rules.tool_turns(*sides),
            "tool_definitions": rules.tool_definitions(),
            "multi_turn_answer": tagged.all_of("multi_turn_answer", answers_of(record_type)),
        }
        if record_type is RecordType.PREFERENCE:
            refusals["prompt_ends_with_assistant"] = rules.prompt_ends_with_assistant()
            # it looks for the answer's text in the whole rendered conversation
            refusals["answer_in_template"] = rules.answer_in_template("chosen") | rules.answer_in_template("rejected")
            columns = [written("prompt").alias("messages")]
            columns += [written(side).list.first().alias(side) for side in answers_of(record_type)]
        else:
            refusals |= {
                "multi_turn_prompt": rules.multi_turn_prompt(),
                "prompt_not_by_user": ~rules.ends_with_user(),
                "system_prompt": rules.system_prompt(),
            }
            columns = [pl.col(side).list.last().struct.field("content").alias(side) for side in sides]
            columns.append(pl.col("label"))
        result = refuse(rows, refusals)
        return Outcome(result.rows.select(columns), result.refused)

    def beside(
        self, files: Mapping[str, str], record_type: RecordType, *, columns: Collection[str] = ()
    ) -> Mapping[str, str]:
        """`axolotl_datasets.yaml`: `datasets` of the split train (else of all), `test_datasets` of the others."""
        train = {split: name for split, name in files.items() if split == "train"} or dict(files)
        lines = {RecordType.PREFERENCE: ["rl: dpo"], RecordType.UNPAIRED: ["rl: kto"]}.get(record_type, [])
        for key, some in (("datasets", train), ("test_datasets", {k: v for k, v in files.items() if k not in train})):
            lines += [f"{key}:"] if some else []
            for name in some.values():
                lines += [f"  - path: {json.dumps(name, ensure_ascii=False)}", "    ds_type: json", "    split: train"]
                lines += [f"    {line}" for line in _SNIPPET[record_type]]
        return {"axolotl_datasets.yaml": "\n".join(lines) + "\n"}


_SNIPPET: Mapping[RecordType, Sequence[str]] = {
    RecordType.SFT: (
        "type: chat_template",
        "field_messages: messages",
        f"message_field_training: {TRAIN[0]}",
        'roles_to_train: ["assistant"]',
    ),
    RecordType.PREFERENCE: (
        "type: chat_template.default",
        "field_messages: messages",
        "field_chosen: chosen",
        "field_rejected: rejected",
    ),
    RecordType.UNPAIRED: (
        "type:",
        "  field_prompt: prompt",
        "  field_completion: completion",
        "  field_label: label",
        '  prompt_format: "{prompt}"  # put the turns of your model\'s template around it',
        '  completion_format: "{completion}"',
    ),
}


def _conversations(frame: pl.DataFrame) -> pl.DataFrame:
    """`messages`, with parts where a row has pictures, and `tools` as JSON text."""
    told = turns.flags(frame, RecordType.SFT)
    pictures = bool(frame.select(rules.images().any()).item())
    calls = bool(frame.select(rules.tool_turns("prompt", "completion").any()).item())
    sides = []
    for side in ("prompt", "completion"):
        column = turns.parted(frame, side) if pictures else frame[side]
        sides.append(turns.with_flag(column, lambda flag: _turn(pictures, calls, flag), told[side] if told else None))
    messages = pl.DataFrame({"a": sides[0], "b": sides[1]}).select(pl.concat_list("a", "b")).to_series()
    return frame.select(messages.alias("messages"), *tagged.extra_columns(frame, ("tools",)))


def _turn(pictures: bool, calls: bool, flag: pl.Expr | None) -> pl.Expr:
    turn = pl.element().struct
    content = turn.field("content").list.eval(_part()) if pictures else turn.field("content")
    fields = [turn.field("role"), content.alias("content")]
    if calls:
        fields.append(turn.field("tool_calls").str.json_decode(TOOL_CALLS).alias("tool_calls"))
    if flag is not None:
        fields.append(flag.alias(TRAIN[0]))
    return pl.struct(fields)


def _part() -> pl.Expr:
    part = pl.element().struct
    uri = part.field("uri")
    web, data = uri.str.contains("^https?://"), uri.str.starts_with("data:")
    return pl.struct(
        part.field("type"),
        part.field("text"),
        pl.when(web).then(uri).alias("url"),
        pl.when(data).then(uri).alias("base64"),
        pl.when(~web & ~data).then(uri).alias("path"),
    )
