"""verl's datasets, Parquet: `messages` for SFT; `prompt`, `chosen`, `rejected` as plain text for pairs; prompts for RL
with `data_source`, `ability`, `reward_model` and `extra_info`.

Pictures stand as `<image>` in the text, their addresses in `images` as `{"image": ...}`. verl's SFT trains on every
turn of the assistant, those before the answer too: there is no way to tell it otherwise.
https://github.com/volcengine/verl, verl/utils/dataset: multiturn_sft_dataset.py, dpo_dataset.py, rl_dataset.py
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import polars as pl

from prefdata.formats import placeholders, rules, tagged, turns
from prefdata.formats.core import Container, Feature, Match, Outcome, answers_of, pieces, refuse, set_aside, sides_of
from prefdata.formats.features import PICTURES, TURNS
from prefdata.formats.messages import holds_text, is_conversation, written
from prefdata.formats.shapes import common_rules, conversations, json_text, last_answer
from prefdata.schema import RecordType

IMAGE = pl.List(pl.Struct({"image": pl.String}))
REWARD = ("reward_model", "data_source")
"""Columns of which one tells prompts for RL."""


@dataclass(frozen=True, kw_only=True)
class Verl:
    """What verl's SFT, DPO and RL trainers read."""

    name: ClassVar[str] = "verl"
    reads: ClassVar[frozenset[RecordType]] = frozenset({RecordType.SFT, RecordType.PREFERENCE, RecordType.PROMPT})
    writes: ClassVar[frozenset[RecordType]] = reads
    container: ClassVar[Container] = "parquet"
    holds: ClassVar[Mapping[RecordType, frozenset[Feature]]] = {
        RecordType.SFT: TURNS | PICTURES | {Feature.ANSWER_IMAGES},
        RecordType.PREFERENCE: frozenset({Feature.IMAGE_TAG}),
        RecordType.PROMPT: TURNS | PICTURES | {Feature.ANSWER},
    }

    ability: str = "chat"
    """Value of `ability` of every prompt."""
    data_source: str | None = None
    """Value of `data_source`, by which verl chooses the reward function; null: the row's source."""
    split: str = "train"
    """Value of `split` in `extra_info`."""
    pictures: Literal["files", "bytes"] = "bytes"
    """Stored pictures: bytes inside, as `data:` addresses, or files in `images/` beside the data."""
    images: bool | None = None
    """Write `images`; null: if a row has one. verl wants the column in all rows of a file or in none."""

    def recognise(self, sample: pl.DataFrame) -> Sequence[Match]:
        """By prompt with reward_model or data_source; messages; prompt, chosen and rejected as plain text."""
        names = set(sample.columns)
        told = [name for name in REWARD if name in names]
        if told and is_conversation(sample.schema.get("prompt")) and not names & {"chosen", "completion"}:
            return [Match(RecordType.PROMPT, (f"columns prompt, {', '.join(told)}",))]
        tags = {"images", "messages"} <= names and holds_text(sample, "messages", placeholders.TAG)
        if turns.plain_messages(sample.drop("images") if tags else sample):
            where = "column messages" + (": <image> in the text, column images" if tags else "")
            return [Match(RecordType.SFT, (where,))]
        others = {"margin", *tagged.IMAGE_COLUMNS} & set(sample.columns)  # which pairs do not have here
        if not others and all(sample.schema.get(name) == pl.String for name in ("prompt", "chosen", "rejected")):
            return [Match(RecordType.PREFERENCE, ("columns prompt, chosen, rejected: plain text",))]
        return []

    def decode(self, rows: pl.DataFrame, record_type: RecordType) -> Outcome:
        """The last turn of `messages` is the answer; `ground_truth` the reference answer of a prompt."""
        sides = {"messages": "prompt"} if record_type is RecordType.SFT else {one: one for one in sides_of(record_type)}
        prompts = record_type is RecordType.PROMPT
        taken = [*sides, *tagged.IMAGE_COLUMNS, *tagged.MEDIA, *(["tools"] if "tools" in rows.columns else [])]
        frame = set_aside(rows, [*taken, "reward_model"] if prompts else taken)
        frame, found, faults = conversations(frame, sides)
        frame, refusals = tagged.incoming(frame, rows, sides=sides, found=found)
        if record_type is RecordType.SFT:
            frame = last_answer(frame, "messages")
        elif prompts and "reward_model" in frame.columns:
            frame = _with_truth(frame)
        if "tools" in frame.columns:
            frame = frame.with_columns(json_text(frame["tools"]).alias("tools"))
        result = refuse(frame, common_rules(record_type, rows) | refusals, also=[faults])
        return Outcome(pieces(result.rows, record_type), result.refused)

    def encode(self, rows: pl.DataFrame, record_type: RecordType) -> Outcome:
        """Refused are tools, which Parquet would fill with nulls; answers of several turns; the tags `<image>` and
        `<video>` in a text; in pairs all that is not one turn and one answer of plain text."""
        sides = sides_of(record_type)
        refusals = rules.answers(record_type) | {
            "tool_turns": rules.tool_turns(*sides),
            "tool_definitions": rules.tool_definitions(),
        }
        if record_type is RecordType.PREFERENCE:
            return _pairs(rows, refusals)
        refusals |= tagged.tag_rules(sides)
        refusals["literal_media_tag"] = rules.literal_image_tag(*sides, tag="<video>") & rules.images()
        refusals["prompt_ends_with_assistant"] = rules.prompt_ends_with_assistant()
        if record_type is RecordType.SFT:
            refusals["multi_turn_answer"] = rules.multi_turn_answer("completion")
            # the default system prompt before it would be trained on
            refusals["first_by_assistant"] = rules.first_by_assistant()
        result = refuse(rows, refusals)
        frame = result.rows.with_columns(placeholders.tagged(sides))
        columns = self._prompts(frame) if record_type is RecordType.PROMPT else [_whole()]
        if self.images if self.images is not None else bool(frame.select(rules.images().any()).item()):
            listed = placeholders.uris().list.eval(pl.struct(image=pl.element())).fill_null(pl.lit([], IMAGE))
            columns.append(listed.cast(IMAGE).alias("images"))
        return Outcome(frame.select(columns), result.refused)

    def _prompts(self, frame: pl.DataFrame) -> list[pl.Expr]:
        source = pl.col("source") if "source" in frame.columns else pl.lit("unknown")
        index = pl.col("id") if "id" in frame.columns else pl.int_range(pl.len()).cast(pl.String)
        style = pl.when(pl.col("answer").is_null()).then(pl.lit("model")).otherwise(pl.lit("rule"))
        return [
            (source if self.data_source is None else pl.lit(self.data_source)).alias("data_source"),
            written("prompt"),
            pl.lit(self.ability).alias("ability"),
            pl.struct(style=style, ground_truth=pl.col("answer")).alias("reward_model"),
            pl.struct(split=pl.lit(self.split), index=index).alias("extra_info"),
        ]

    def beside(
        self, files: Mapping[str, str], record_type: RecordType, *, columns: Collection[str] = ()
    ) -> Mapping[str, str]:
        """Nothing: verl takes files by name."""
        return {}


def _whole() -> pl.Expr:
    return pl.concat_list(written("prompt"), written("completion")).alias("messages")


def _pairs(rows: pl.DataFrame, refusals: dict[str, pl.Expr]) -> Outcome:
    answers = answers_of(RecordType.PREFERENCE)
    refusals |= {
        "multi_turn_prompt": rules.multi_turn_prompt(),
        "prompt_not_by_user": ~rules.ends_with_user(),
        "system_prompt": rules.system_prompt(),
        "multi_turn_answer": tagged.all_of("multi_turn_answer", answers),
        "equal_sides": rules.equal_sides() | rules.equal_texts(),
        "empty_turn": rules.empty_turn(),
        "images": rules.images(),
    }
    result = refuse(rows, refusals)
    sides = ("prompt", *answers)
    return Outcome(
        result.rows.select(pl.col(side).list.last().struct.field("content").alias(side) for side in sides),
        result.refused,
    )


def _with_truth(frame: pl.DataFrame) -> pl.DataFrame:
    dtype = frame.schema["reward_model"]
    names = [one.name for one in dtype.fields] if isinstance(dtype, pl.Struct) else []
    if "ground_truth" not in names:
        return frame
    truth = frame["reward_model"].struct.field("ground_truth")
    return frame.with_columns(json_text(truth).alias("answer"))
