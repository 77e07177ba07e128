"""LLaMA-Factory's datasets, alpaca and sharegpt, with their entries in `dataset_info.json`.

An answer is one message; turns alternate, and an odd number of them stands before the answer; `kto_tag` is a boolean;
there are as many tags `<image>` as pictures. What breaks one of these rules is dropped or stops the run there, so that
it is refused here. An empty answer is never written: LLaMA-Factory tells a desirable row by its answer not being empty.
Messages with OpenAI's keys go out as `sharegpt` with tags, since its formatting `openai` adds words to system prompts.
Also read: pairs of whole conversations as of its version 1 (`chosen_messages`, `rejected_messages`, `loss_weight`).
https://github.com/hiyouga/LLaMA-Factory/blob/main/data/README.md
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import polars as pl

from prefdata.errors import InputError
from prefdata.formats import instructions, rules, tagged
from prefdata.formats.core import (
    Container,
    Feature,
    Match,
    Outcome,
    answers_of,
    nothing_refused,
    pieces,
    refuse,
    set_aside,
    sides_of,
)
from prefdata.formats.features import PICTURES
from prefdata.formats.messages import CALL_ROLES, ROLES, Dialect, fields_of, is_conversation, is_message, written
from prefdata.formats.shapes import (
    boolean_label,
    common_rules,
    conversations,
    json_text,
    last_answer,
    shared_prompt,
    with_system,
)
from prefdata.schema import RecordType

CHAT = PICTURES | {Feature.SYSTEM, Feature.TURNS, Feature.TOOL_CALLS, Feature.TOOLS}

TAGS: Mapping[str, Mapping[str, str]] = {
    "sharegpt": {
        "role_tag": "from",
        "content_tag": "value",
        "user_tag": "human",
        "assistant_tag": "gpt",
        "observation_tag": "observation",
        "function_tag": "function_call",
        "system_tag": "system",
    },
    "openai": {
        "role_tag": "role",
        "content_tag": "content",
        "user_tag": "user",
        "assistant_tag": "assistant",
        "observation_tag": "tool",
        "function_tag": "function_call",
        "system_tag": "system",
    },
}
"""Keys and roles of a message, in the words of dataset_info.json; those of sharegpt are its defaults."""

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "messages": ("conversations", "messages"),
    "prompt": ("instruction",),
    "query": ("input",),
    "response": ("output",),
    "history": ("history",),
    "system": ("system",),
    "tools": ("tools",),
    "images": ("images",),
    "chosen": ("chosen", "chosen_messages"),
    "rejected": ("rejected", "rejected_messages"),
    "kto_tag": ("kto_tag", "label"),
}
"""Columns that are looked for where no dataset_info.json names them."""

DEFAULT_COLUMNS: Mapping[str, Mapping[str, str]] = {
    "alpaca": {"prompt": "instruction", "query": "input", "response": "output"},
    "sharegpt": {"messages": "conversations"},
    "openai": {"messages": "conversations"},
}
"""What an entry of dataset_info.json without `columns` means."""


@dataclass(frozen=True, kw_only=True)
class LlamaFactory:
    """What LLaMA-Factory's stages sft, rm, dpo and kto read."""

    name: ClassVar[str] = "llamafactory"
    reads: ClassVar[frozenset[RecordType]] = frozenset({RecordType.SFT, RecordType.PREFERENCE, RecordType.UNPAIRED})
    writes: ClassVar[frozenset[RecordType]] = reads
    container: ClassVar[Container] = "jsonl"
    holds: ClassVar[Mapping[RecordType, frozenset[Feature]]] = {
        RecordType.SFT: CHAT | {Feature.ANSWER_IMAGES},
        RecordType.PREFERENCE: CHAT,
        RecordType.UNPAIRED: CHAT,
    }

    style: Literal["sharegpt", "openai", "alpaca"] = "sharegpt"
    """`conversations` of from and value, `messages` of role and content, or instruction and output."""
    columns: Mapping[str, str] | None = None
    """dataset_info.json's `columns`, for reading; null: the usual names are looked for."""
    tags: Mapping[str, str] | None = None
    """dataset_info.json's `tags`, for reading; null: told by the keys of the messages."""
    pictures: Literal["files"] = "files"
    """Stored pictures: files in `images/` beside the data; LLaMA-Factory reads no others."""
    labels: Mapping[str, bool] | None = None
    """What values of `kto_tag` other than true and false mean; null: they are refused."""

    @classmethod
    def described(cls, text: str, file: str, *, labels: Mapping[str, bool] | None = None) -> LlamaFactory | None:
        """The settings that dataset_info.json (`text`) gives for a file of this name; None where it has no entry.

        Raises InputError where it is no JSON object.
        """
        entry = next((one for one in entries(text).values() if one.get("file_name") == file), None)
        if entry is None:
            return None
        tags = entry.get("tags")
        style: Literal["sharegpt", "openai", "alpaca"] = "sharegpt"
        if entry.get("formatting", "alpaca") == "alpaca":
            style = "alpaca"
        elif tags and tags.get("role_tag") == "role":
            style = "openai"
        return cls(style=style, columns=entry.get("columns") or DEFAULT_COLUMNS[style], tags=tags, labels=labels)

    def recognise(self, sample: pl.DataFrame) -> Sequence[Match]:
        """By what is its own: kto_tag; single messages as chosen and rejected; instructions with either;
        chosen_messages of version 1. Other files are told by dataset_info.json alone."""
        names = {key: self._column(sample, key) for key in COLUMNS}
        talk = any(is_conversation(sample.schema.get(names["messages"]), one) for one in self._dialects())
        asked = sample.schema.get(names["prompt"]) == pl.String
        answers = [names["chosen"], names["rejected"]]
        if all(answers) and self._whole(sample):
            parts = fields_of(fields_of(sample.schema[answers[0]]).get("content"))
            if "value" in parts:
                return [Match(RecordType.PREFERENCE, (f"columns {', '.join(answers)}: parts with value",))]
        pairs = all(answers) and (
            (asked and all(sample.schema[one] == pl.String for one in answers))
            or (talk and all(any(is_message(sample.schema[one], two) for two in self._dialects()) for one in answers))
        )
        where = names["messages"] if talk else names["prompt"]
        if not (talk or asked):
            return []
        if pairs:
            return [Match(RecordType.PREFERENCE, (f"columns {where}, {', '.join(answers)}: one message an answer",))]
        if names["kto_tag"] and (self.columns is not None or names["kto_tag"] == "kto_tag"):
            return [Match(RecordType.UNPAIRED, (f"columns {where}, {names['kto_tag']}",))]
        if self.columns is not None:
            return [Match(RecordType.SFT, (f"column {where}, as dataset_info.json says",))]
        return []

    def decode(self, rows: pl.DataFrame, record_type: RecordType) -> Outcome:
        """Alpaca where there are instructions, else conversations; as dataset_info.json says where it was given."""
        names = {key: self._column(rows, key) for key in COLUMNS}
        used = dict(names)
        for key in ("chosen", "rejected"):
            used[key] = names[key] if record_type is RecordType.PREFERENCE else ""
        used["kto_tag"] = names["kto_tag"] if record_type is RecordType.UNPAIRED else ""
        frame = set_aside(rows, [*filter(None, used.values()), *tagged.MEDIA])
        if used["messages"] or (used["chosen"] and self._whole(rows)):
            frame, refusals, faults, found = self._talk(frame, used, record_type)
        else:
            frame, refusals = _instructions(frame, used, record_type)
            faults, found = nothing_refused(), None
        sides = {side: side for side in sides_of(record_type) if side in frame.columns}
        if record_type is not RecordType.PREFERENCE:
            sides = {"_talk": "prompt"}
        elif "prompt" not in sides:
            del sides["rejected"]
        frame, wrong = tagged.incoming(frame, rows, sides=sides, found=found, column=used["images"] or "-")
        if used["messages"] and used["system"]:
            frame, refusals["second_system_prompt"] = with_system(frame, next(iter(sides)), rows[used["system"]])
        if record_type is not RecordType.PREFERENCE:
            frame = last_answer(frame, "_talk")
        elif "prompt" not in sides:
            refusals["images"] = rules.images()
            frame = shared_prompt(frame)
        if record_type is RecordType.UNPAIRED:
            if used["kto_tag"]:
                frame, refusals["ambiguous_label"] = boolean_label(frame, used["kto_tag"], labels=self.labels)
            else:
                refusals["label_missing"] = pl.lit(True)
        if used["tools"]:
            text = json_text(frame[used["tools"]]).replace("", None)
            frame = frame.with_columns(text.alias("tools"))
        result = refuse(frame, common_rules(record_type, rows) | refusals | wrong, also=[faults])
        return Outcome(pieces(result.rows, record_type), result.refused)

    def _talk(
        self, frame: pl.DataFrame, used: Mapping[str, str], record_type: RecordType
    ) -> tuple[pl.DataFrame, dict[str, pl.Expr], pl.DataFrame, pl.Series]:
        """Conversations under canonical names: `_talk` where the answer is in them, else prompt, chosen, rejected; and
        the pictures that stand in them as parts."""
        pairs = record_type is RecordType.PREFERENCE
        whole = pairs and not used["messages"]
        sides = {} if whole else {used["messages"]: "prompt"}
        if pairs:
            sides |= {used["chosen"]: "chosen", used["rejected"]: "rejected"}
        first = frame.schema[next(iter(sides))]
        dialect = next((one for one in self._dialects() if is_conversation(first, one)), self._dialects()[0])
        refusals = {"trained_turns": pl.lit(False)}
        for name in [one for one in sides if "loss_weight" in fields_of(frame.schema[one])]:
            refusals["trained_turns"] |= pl.lit(_weights(frame[name], dialect))
        frame, found, faults = conversations(frame, sides, dialect=dialect)
        names = {column: side if pairs else "_talk" for column, side in sides.items()}
        return frame.rename(names), refusals, faults, found

    def encode(self, rows: pl.DataFrame, record_type: RecordType) -> Outcome:
        """The acceptance rules above, and one system prompt at most; alpaca takes no tools but their definitions."""
        sides, answers = sides_of(record_type), answers_of(record_type)
        refusals = rules.answers(record_type) | tagged.tag_rules(sides)
        refusals |= {
            "literal_media_tag": rules.literal_image_tag(*sides, tag="<video>")
            | rules.literal_image_tag(*sides, tag="<audio>"),
            "multi_turn_answer": tagged.all_of("multi_turn_answer", answers),
            "not_alternating": rules.not_alternating(tools=self.style != "alpaca"),
            "system_not_first": rules.system_not_first(),
            "text_beside_call": rules.text_beside_call(*sides),
        }
        if self.style == "alpaca":
            refusals |= {"empty_turn": rules.empty_turn(), "tool_turns": rules.tool_turns(*sides)}
        if record_type is not RecordType.SFT:
            refusals["answer_images"] = rules.answer_images()
        result = refuse(rows, refusals)
        frame = tagged.outgoing(result.rows, sides, call_role="function_call")
        columns = self._written(frame, record_type)
        if record_type is RecordType.UNPAIRED:
            columns.append(pl.col("label").alias("kto_tag"))
        return Outcome(frame.select(*columns, *tagged.extra_columns(frame, ("images", "tools"))), result.refused)

    def _written(self, frame: pl.DataFrame, record_type: RecordType) -> list[pl.Expr]:
        answers = answers_of(record_type)
        if self.style == "alpaca":
            names = answers if record_type is RecordType.PREFERENCE else ("output",)
            texts = [
                pl.col(side).list.first().struct.field("content").alias(name)
                for side, name in zip(answers, names, strict=True)
            ]
            return [*instructions.columns(frame), *texts]
        tags = TAGS[self.style]
        dialect = Dialect(role=tags["role_tag"], content=tags["content_tag"])
        names_of = {
            "system": tags["system_tag"],
            "user": tags["user_tag"],
            "assistant": tags["assistant_tag"],
            "tool": tags["observation_tag"],
            "function_call": tags["function_tag"],
        }
        column = COLUMNS["messages"][self.style == "openai"]
        written_ = {side: written(side, dialect=dialect, names=names_of) for side in sides_of(record_type)}
        if record_type is RecordType.PREFERENCE:
            return [
                written_["prompt"].alias(column),
                *[written_[side].list.first().alias(side) for side in answers],
            ]
        return [pl.concat_list(written_["prompt"], written_["completion"]).alias(column)]

    def beside(
        self, files: Mapping[str, str], record_type: RecordType, *, columns: Collection[str] = ()
    ) -> Mapping[str, str]:
        """dataset_info.json with an entry for each file, under the split's name; `columns` are those of the files."""
        own = {"chosen": "chosen", "rejected": "rejected"} if record_type is RecordType.PREFERENCE else {}
        if record_type is RecordType.UNPAIRED:
            own["kto_tag"] = "kto_tag"
        if self.style == "alpaca":
            own |= {"prompt": "instruction", "query": "input"}
            if record_type is not RecordType.PREFERENCE:
                own["response"] = "output"
        else:
            own["messages"] = COLUMNS["messages"][self.style == "openai"]
        own |= {name: name for name in ("system", "history", "images", "tools") if name in columns}
        entry: dict[str, Any] = {"formatting": "alpaca" if self.style == "alpaca" else "sharegpt", "columns": own}
        if record_type is RecordType.PREFERENCE:
            entry["ranking"] = True
        if self.style == "openai":
            entry["tags"] = dict(TAGS["openai"])
        info = {split: {"file_name": file, **entry} for split, file in files.items()}
        return {"dataset_info.json": json.dumps(info, indent=2, ensure_ascii=False, sort_keys=True) + "\n"}

    def _column(self, rows: pl.DataFrame, key: str) -> str:
        """The file's column for a word of dataset_info.json, "" where there is none."""
        known = COLUMNS[key] if self.columns is None else (self.columns.get(key, ""),)
        return next((name for name in known if name in rows.columns), "")

    def _dialects(self) -> list[Dialect]:
        """How messages may be written: as `tags` says, else with either pair of keys."""
        given = self.tags or {}
        found = []
        for tags in TAGS.values():
            tags = {**tags, **given}
            roles = {
                **ROLES,
                tags["user_tag"].lower(): "user",
                tags["assistant_tag"].lower(): "assistant",
                tags["observation_tag"].lower(): "tool",
                tags["system_tag"].lower(): "system",
            }
            calls = CALL_ROLES | {tags["function_tag"].lower()}
            found.append(Dialect(role=tags["role_tag"], content=tags["content_tag"], roles=roles, call_roles=calls))
        return found

    def _whole(self, rows: pl.DataFrame) -> bool:
        """Whether chosen and rejected are whole conversations, and there is none beside them."""
        names = [self._column(rows, key) for key in ("chosen", "rejected")]
        return all(any(is_conversation(rows.schema.get(one), two) for two in self._dialects()) for one in names)


def entries(text: str) -> dict[str, dict[str, Any]]:
    """The entries of a dataset_info.json by name; what else such a file may hold (that of Hugging Face does) is left
    out. Raises InputError where it is no JSON object."""
    try:
        return {name: one for name, one in json.loads(text).items() if isinstance(one, dict)}
    except (ValueError, AttributeError) as error:
        raise InputError("dataset_info.json: expected a JSON object of entries") from error


def _instructions(
    frame: pl.DataFrame, used: Mapping[str, str], record_type: RecordType
) -> tuple[pl.DataFrame, dict[str, pl.Expr]]:
    """Alpaca's columns: `prompt` and answers of pairs, else both in `_talk`."""
    names = instructions.Names(used["prompt"], used["query"], used["system"], used["history"])
    frame, refusals = instructions.prompt(frame, names)
    if record_type is RecordType.PREFERENCE:
        sides = {used[side]: side for side in ("chosen", "rejected") if used[side]}
        frame, _, faults = conversations(frame, sides)
        bad = frame.select(pl.int_range(pl.len()).is_in(faults["_row"].to_list())).to_series()
        refusals["not_a_conversation"] |= pl.lit(bad)
        missing = [pl.lit(None, dtype=frame.schema["prompt"]).alias(one) for one in ("chosen", "rejected")]
        there = set(sides.values())
        return frame.rename(sides).with_columns(one for one in missing if one.meta.output_name() not in there), refusals
    return instructions.with_answer(frame, used["response"]), refusals


def _weights(values: pl.Series, dialect: Dialect) -> pl.Series:
    """Whether `loss_weight` says other than: the assistant's turns are trained on or not, the last one is."""
    element = pl.element()
    given = element.struct.field("loss_weight")
    weight = given.cast(pl.Float64, strict=False)
    assistant = element.struct.field(dialect.role).is_in(["assistant", "gpt", "function_call"])
    odd = (given.is_not_null() & weight.is_null()) | ~weight.is_in([0.0, 1.0]) | ((weight != 0) & ~assistant)
    frame = values.to_frame("turns")
    return frame.select(
        pl.col("turns").list.eval(odd.fill_null(False)).list.any()
        | (pl.col("turns").list.last().struct.field("loss_weight").cast(pl.Float64, strict=False) == 0)
    ).to_series()
