"""OpenAI's fine-tuning files, JSONL: chats (`messages`, `tools`, `weight` 0 or 1 at turns of the assistant), and
preferences (`input`, `preferred_output`, `non_preferred_output`).

A chat without any `weight` is read with its last turn as the answer. Written, the turns of the assistant before the
answer have weight 0, since all would be trained on. Results of tools name the call they answer, in order; calls that
have no id get one on writing, which is dropped on reading. OpenAI wants at least 10 examples a file.
https://developers.openai.com/api/docs/guides/supervised-fine-tuning, direct-preference-optimization,
vision-fine-tuning; Azure's pages on the same; the validator of the OpenAI cookbook (Chat_finetuning_data_prep)
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import polars as pl

from prefdata.formats import rules, tagged, turns
from prefdata.formats.core import Container, Feature, Match, Outcome, pieces, refuse, set_aside, sides_of
from prefdata.formats.features import CALLS, TEXT
from prefdata.formats.messages import TOOL_CALLS
from prefdata.formats.shapes import common_rules, conversations, json_text, last_answer
from prefdata.formats.tool_calls import MADE_ID
from prefdata.reading.json_frames_types import merged_types
from prefdata.schema import RecordType

MOST_IMAGES = 10
"""Pictures in one example; Azure takes 64."""

CALLED = pl.List(
    pl.Struct({"role": pl.String, "content": pl.String, "tool_calls": pl.String, "tool_call_id": pl.String})
)
"""MESSAGES with the id of the call that a result of a tool answers."""

CHAT = TEXT | CALLS | {Feature.TOOLS}

PAIR = {"messages": "prompt", "preferred_output": "chosen", "non_preferred_output": "rejected"}
"""Columns of preferences, those in `input` put beside the others, and the sides they hold."""


@dataclass(frozen=True, kw_only=True)
class OpenAi:
    """What OpenAI's supervised and preference fine-tuning take."""

    name: ClassVar[str] = "openai"
    reads: ClassVar[frozenset[RecordType]] = frozenset({RecordType.SFT, RecordType.PREFERENCE})
    writes: ClassVar[frozenset[RecordType]] = reads
    container: ClassVar[Container] = "jsonl"
    holds: ClassVar[Mapping[RecordType, frozenset[Feature]]] = {
        RecordType.SFT: CHAT | {Feature.ANSWER_TURNS, Feature.IMAGES, Feature.IMAGE_PLACES},
        RecordType.PREFERENCE: CHAT,
    }

    pictures: Literal["bytes"] = "bytes"
    """Stored pictures go out as `data:` addresses: OpenAI sees no files."""
    parallel_tool_calls: bool | None = None
    """Value of `parallel_tool_calls` in rows that define tools; null leaves it out."""

    def recognise(self, sample: pl.DataFrame) -> Sequence[Match]:
        """By preferred_output and non_preferred_output; messages, with no flags of others."""
        names = set(sample.columns)
        if {"preferred_output", "non_preferred_output"} <= names and names & {"input", "messages"}:
            return [Match(RecordType.PREFERENCE, ("columns input, preferred_output, non_preferred_output",))]
        if turns.plain_messages(sample, own=("weight",)):
            return [Match(RecordType.SFT, ("column messages: lists of role and content",))]
        return []

    def decode(self, rows: pl.DataFrame, record_type: RecordType) -> Outcome:
        """Of chats with `weight`, the turns that are trained on are the answer, if they are the last ones."""
        pairs = record_type is RecordType.PREFERENCE
        sides = PAIR if pairs else {"messages": "prompt"}
        rows = _with_input(rows) if pairs else rows
        frame = set_aside(rows, [*sides, "tools", *tagged.IMAGE_COLUMNS])
        size, refusals = pl.lit(1), dict[str, pl.Expr]()
        if not pairs:
            frame, size, refusals["trained_turns"] = turns.trained(frame, "messages", "weight")
        frame, found, faults = conversations(frame, sides)
        frame, refusals["image_count"] = turns.in_parts(frame, rows, found)
        if pairs:
            frame = frame.rename(PAIR)
        else:
            frame = last_answer(frame, "messages", size=size)
        if "tools" in frame.columns:
            text = json_text(frame["tools"])
            frame = frame.with_columns(pl.select(pl.when(text != "[]").then(text)).to_series().alias("tools"))
        result = refuse(frame, common_rules(record_type, rows) | refusals, also=[faults])
        return Outcome(pieces(result.rows, record_type), result.refused)

    def encode(self, rows: pl.DataFrame, record_type: RecordType) -> Outcome:
        """Refused are tool calls without a result and results without a call; pictures outside turns of the user,
        given as files, or more than 10; in preferences all pictures and outputs of several turns."""
        sides = sides_of(record_type)
        pairs = record_type is RecordType.PREFERENCE
        refusals = rules.answers(record_type)
        refusals["prompt_ends_with_assistant"] = rules.prompt_ends_with_assistant()
        if pairs:
            refusals["images"] = rules.images()
            refusals["multi_turn_answer"] = tagged.all_of("multi_turn_answer", sides[1:])
        else:
            refusals |= _picture_rules(rows, sides)
        called, unanswered = _called(rows, sides)
        tools, unwritable = _tools(rows["tools"])
        refusals["tool_call_unanswered"] = pl.lit(unanswered)
        refusals["unwritable_tools"] = pl.lit(unwritable)
        frame = rows.with_columns(*called, tools.alias("tools"))
        result = refuse(frame, refusals)
        frame = result.rows
        extra = [] if frame["tools"].null_count() == frame.height else [pl.col("tools")]
        if extra and self.parallel_tool_calls is not None:
            told = pl.when(pl.col("tools").is_not_null()).then(pl.lit(self.parallel_tool_calls))
            extra.append(told.alias("parallel_tool_calls"))
        made = _written(frame, record_type)
        frame = frame.with_columns(one.alias(f"_{side}") for side, one in made.items())
        if pairs:
            columns = [
                pl.struct(pl.col("_prompt").alias("messages"), *extra).alias("input"),
                pl.col("_chosen").alias("preferred_output"),
                pl.col("_rejected").alias("non_preferred_output"),
            ]
        else:
            columns = [pl.concat_list("_prompt", "_completion").alias("messages"), *extra]
        return Outcome(frame.select(columns), result.refused)

    def beside(
        self, files: Mapping[str, str], record_type: RecordType, *, columns: Collection[str] = ()
    ) -> Mapping[str, str]:
        """Nothing: files are uploaded one by one."""
        return {}


def _with_input(rows: pl.DataFrame) -> pl.DataFrame:
    """`rows` with what is in `input` beside the other columns."""
    dtype = rows.schema.get("input")
    if not isinstance(dtype, pl.Struct):
        return rows
    inner = rows["input"].struct.unnest()
    return rows.drop("input", *(name for name in inner.columns if name in rows.columns)).hstack(inner)


def _picture_rules(rows: pl.DataFrame, sides: Sequence[str]) -> dict[str, pl.Expr]:
    picture = pl.element().struct
    address = picture.field("uri").str.contains(r"^(https?://|data:image/)")
    users = (
        rows.select("images", "prompt")
        .with_row_index("_row")
        .filter(pl.col("images").list.len() > 0)
        .explode("images")
        .unnest("images")
        .filter(pl.col("side") == "prompt")
        .with_columns(
            role=pl.col("prompt").list.get(pl.col("message"), null_on_oob=True).struct.field("role").fill_null("")
        )
        .filter(pl.col("role") != "user")
    )
    outside = pl.int_range(rows.height, dtype=pl.UInt32, eager=True).is_in(users["_row"].unique().implode())
    return {
        "image_count": rules.image_count(*sides),
        "answer_images": rules.answer_images(),
        "image_address": pl.col("images").list.eval(~address.fill_null(False)).list.any(),
        "image_outside_user_turn": pl.lit(outside),
        "too_many_images": pl.col("images").list.len() > MOST_IMAGES,
    }


def _written(frame: pl.DataFrame, record_type: RecordType) -> dict[str, pl.Series]:
    """The sides of `frame` (CALLED) as OpenAI's messages."""
    sides = sides_of(record_type)
    told = turns.flags(frame, record_type)
    pictures = bool(frame.select(rules.images().any()).item())
    calls = bool(frame.select(rules.tool_turns(*sides).any()).item())
    return {
        side: turns.with_flag(
            turns.parted(frame, side) if pictures else frame[side],
            lambda flag: _turn(flag, pictures=pictures, calls=calls),
            told[side] if told is not None else None,
        )
        for side in sides
    }


def _turn(flag: pl.Expr | None, *, pictures: bool, calls: bool) -> pl.Expr:
    turn = pl.element().struct
    content = turn.field("content")
    empty = content.list.len() == 0 if pictures else content == ""
    written = content.list.eval(_part()) if pictures else content
    if not calls:
        fields = [turn.field("role"), written.alias("content")]
    else:
        silent = empty & turn.field("tool_calls").is_not_null()
        fields = [
            turn.field("role"),
            pl.when(~silent).then(written).alias("content"),
            turn.field("tool_calls").str.json_decode(TOOL_CALLS).alias("tool_calls"),
            turn.field("tool_call_id"),
        ]
    if flag is not None:
        fields.append(flag.cast(pl.Int64).alias("weight"))
    return pl.struct(fields)


def _part() -> pl.Expr:
    part = pl.element().struct
    picture = part.field("type") == "image"
    return pl.struct(
        pl.when(picture).then(pl.lit("image_url")).otherwise(pl.lit("text")).alias("type"),
        part.field("text"),
        pl.when(picture).then(pl.struct(part.field("uri").alias("url"))).alias("image_url"),
    )


def _called(rows: pl.DataFrame, sides: Sequence[str]) -> tuple[list[pl.Series], pl.Series]:
    """The sides as CALLED, and whether calls and results do not fit. A batch kernel over the rows that have tools."""
    has = rows.select(rules.tool_turns(*sides)).to_series()
    turn = pl.element().struct
    none = pl.lit(None, pl.String).alias("tool_call_id")
    plain = pl.struct(turn.field("role"), turn.field("content"), turn.field("tool_calls"), none)
    frame = rows.select(pl.col(side).list.eval(plain).cast(CALLED) for side in sides)
    if not has.any():
        return frame.get_columns(), pl.Series([False] * rows.height, dtype=pl.Boolean)
    made: dict[str, list[Any]] = {side: [] for side in sides}
    bad = []
    for row in frame.filter(has).iter_rows(named=True):
        answers = [row[side] or [] for side in sides[1:]]
        bad.append(not all(_linked([*row[sides[0]], *answer]) for answer in answers))
        for side in sides:
            made[side].append(row[side])
    places = has.arg_true()
    columns = [_put(frame[side], places, made[side]) for side in sides]
    wrong = pl.Series([False] * rows.height, dtype=pl.Boolean).scatter(places, pl.Series(bad, dtype=pl.Boolean))
    return columns, wrong


def _put(column: pl.Series, places: pl.Series, values: list[Any]) -> pl.Series:
    new = pl.DataFrame({"_row": places.cast(pl.UInt32), "new": pl.Series(values, dtype=CALLED)})
    joined = column.to_frame("old").with_row_index("_row").join(new, on="_row", how="left", maintain_order="left")
    return joined.select(pl.coalesce("new", "old").alias(column.name)).to_series()


def _linked(talk: list[dict[str, Any]]) -> bool:
    """Gives calls without an id one, and results the id of their call; false where they do not fit each other."""
    open_ids: list[str] = []
    number = 0
    for turn in talk:
        if turn["role"] == "tool":
            if not open_ids:
                return False
            turn["tool_call_id"] = open_ids.pop(0)
        elif open_ids:
            return False
        elif turn["tool_calls"]:
            calls = json.loads(turn["tool_calls"])
            calls = [{"id": one.get("id") or f"{MADE_ID}{number + at}", **one} for at, one in enumerate(calls)]
            number += len(calls)
            turn["tool_calls"] = json.dumps(calls, ensure_ascii=False, separators=(",", ":"))
            open_ids = [one["id"] for one in calls]
    return not open_ids or bool(talk[-1]["tool_calls"])


def _tools(values: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Tool definitions, JSON text, as nested values, and whether they cannot be. A batch kernel over distinct texts."""
    known: dict[str, Any] = {}
    shared: dict[str, pl.DataType] = {}
    for text in values.drop_nulls().unique(maintain_order=True):
        try:
            value = json.loads(text)
            dtype = pl.Series("tools", [value], strict=True).dtype
        except (ValueError, TypeError, pl.exceptions.PolarsError):
            continue
        grown = merged_types(shared, {"tools": dtype}) if value and isinstance(value, list) else None
        if grown is not None and isinstance(dtype, pl.List) and isinstance(dtype.inner, pl.Struct):
            known[text], shared = value, grown
    if not known:
        return pl.Series([None] * len(values), dtype=pl.Null), values.is_not_null()
    made = pl.Series([known.get(text) for text in values], dtype=shared["tools"])
    told = zip(values, json_text(made), strict=True)
    same = pl.Series([one is None or json.loads(one) == _set(known.get(text)) for text, one in told], dtype=pl.Boolean)
    return made, values.is_not_null() & (made.is_null() | ~same)


def _set(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _set(one) for key, one in value.items() if one is not None}
    return [_set(one) for one in value] if isinstance(value, list) else value
