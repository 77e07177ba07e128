"""ms-swift's datasets: `messages` with the answer in them, `rejected_messages` or `rejected_response`, boolean `label`.

Pictures stand as `<image>` in the text, their addresses in `images` (and `rejected_images`); tool calls are turns
`tool_call`, results `tool_response`. `loss` says of a turn whether it is trained on: false at the assistant's turns
before the answer, which SFT would train on otherwise, and true at the turns of an answer that has several, of which
the last alone would be. Also read: `query`, `response`, `history`, `system`; ShareGPT's keys; rounds as one object.
https://swift.readthedocs.io/en/latest/Customization/Custom-dataset.html
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import polars as pl

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
from prefdata.formats.messages import CALL_ROLES, OPENAI, SHAREGPT, Dialect, fields_of, holds_text, is_conversation
from prefdata.formats.shapes import (
    boolean_label,
    common_rules,
    concatenated,
    conversations,
    json_text,
    last_answer,
    number,
    other_pictures,
    shared_prompt,
    with_system,
)
from prefdata.schema import MESSAGES, RecordType

CHAT = PICTURES | {
    Feature.SYSTEM,
    Feature.TURNS,
    Feature.ANSWER_TURNS,
    Feature.TOOL_CALLS,
    Feature.TEXT_WITH_CALL,
    Feature.TOOLS,
    Feature.ANSWER_IMAGES,
}

DIALECTS = tuple(replace(one, call_roles=CALL_ROLES, calls_join=True) for one in (OPENAI, SHAREGPT))
COLUMNS = ("messages", "conversations", "conversation")
NAMES = instructions.Names(instruction="query", input="", system="", history="history")
TRAINED = ["assistant", "gpt", "bot", *sorted(CALL_ROLES)]
"""Roles of turns that are trained on."""
PAIRS = (("human", "user"), ("assistant", "gpt", "bot"))
"""Keys of a round that is one object, `{"human": ..., "assistant": ...}`."""


@dataclass(frozen=True, kw_only=True)
class Swift:
    """What `swift sft` and `swift rlhf` read."""

    name: ClassVar[str] = "swift"
    reads: ClassVar[frozenset[RecordType]] = frozenset(RecordType)
    writes: ClassVar[frozenset[RecordType]] = frozenset(RecordType)
    container: ClassVar[Container] = "jsonl"
    holds: ClassVar[Mapping[RecordType, frozenset[Feature]]] = {
        RecordType.SFT: CHAT,
        RecordType.PREFERENCE: CHAT | {Feature.MARGIN},
        RecordType.UNPAIRED: CHAT,
        RecordType.PROMPT: CHAT - {Feature.ANSWER_TURNS, Feature.ANSWER_IMAGES} | {Feature.ANSWER},
    }

    picture_columns: ClassVar[tuple[str, ...]] = ("images", "rejected_images")

    rejected: Literal["messages", "response"] = "messages"
    """`rejected_messages`, the whole conversation again, or `rejected_response`, one answer in plain text."""
    answer_column: str = "solution"
    """Column of a prompt's reference answer, as the reward function names it."""
    pictures: Literal["files", "bytes"] = "files"
    """Stored pictures: files in `images/` beside the data (ms-swift: ROOT_IMAGE_DIR), or bytes inside."""
    labels: Mapping[str, bool] | None = None
    """What values of `label` other than true and false mean; null: they are refused."""

    def recognise(self, sample: pl.DataFrame) -> Sequence[Match]:
        """By what is its own: rejected_response, rejected_messages, messages with a label, a solution, `<image>` tags
        with images, or turns of tool_call; query with response."""
        names = set(sample.columns)
        column = next((name for name in COLUMNS if _dialect(sample.schema.get(name))), None)
        plain = sample.schema.get("query") == pl.String and sample.schema.get("response") == pl.String
        if not (column or plain) or names & {"chosen", "kto_tag"}:
            return []
        where = f"column {column}" if column else "columns query, response"
        for name in ("rejected_messages", "rejected_response"):
            if name in names:
                return [Match(RecordType.PREFERENCE, (f"{where}, column {name}",))]
        if "label" in names and sample.schema["label"] in (pl.Boolean, pl.String):
            return [Match(RecordType.UNPAIRED, (f"{where}, column label",))]
        if not column:
            return [Match(RecordType.SFT, (where,))]
        dialect = _dialect(sample.schema[column]) or OPENAI
        roles = pl.col(column).list.eval(pl.element().struct.field(dialect.role).cast(pl.String))
        asked = bool(sample.select((~roles.list.last().is_in(TRAINED)).all()).item())
        kind = RecordType.PROMPT if asked else RecordType.SFT
        if asked and self.answer_column in names:
            return [Match(kind, (f"{where} not ending with an answer, column {self.answer_column}",))]
        if sample.select(roles.list.eval(pl.element().is_in(sorted(CALL_ROLES))).list.any().any()).item():
            return [Match(kind, (f"{where}: turns of tool_call",))]
        if names & set(tagged.IMAGE_COLUMNS) and holds_text(sample, column, "<image>", dialect):
            return [Match(kind, (f"{where}: <image> in the text, column images",))]
        return []

    def decode(self, rows: pl.DataFrame, record_type: RecordType) -> Outcome:
        """The last turn as the answer, or the turns marked with `loss`; of pairs, what follows the shared turns."""
        column = next((name for name in COLUMNS if name in rows.columns), "")
        pairs = record_type is RecordType.PREFERENCE
        other = "rejected_messages" if pairs and "rejected_messages" in rows.columns else ""
        taken = [*([column] if column else ["query", "response", "history"]), *tagged.IMAGE_COLUMNS, *tagged.MEDIA]
        taken += ["system", "tools", other]
        taken += ["rejected_response", "rejected_images", "rejected_tools", "margin"] if pairs else []
        taken += ["label"] if record_type is RecordType.UNPAIRED else []
        taken += [self.answer_column] if record_type is RecordType.PROMPT else []
        frame, refusals = set_aside(rows, taken), dict[str, pl.Expr]()
        size, found = pl.lit(1), None
        if column:
            dialect = _dialect(rows.schema[column])
            if dialect is None:
                frame = frame.with_columns(_rounds(frame[column]))
            elif record_type in (RecordType.SFT, RecordType.UNPAIRED):
                frame, size, refusals["trained_turns"] = _marked(frame, column, dialect)
            sides = {column: "chosen", other: "rejected"} if other else {column: "prompt"}
            frame, found, faults = conversations(frame, sides, dialect=dialect or DIALECTS[0])
        else:
            frame, refusals = instructions.prompt(frame, NAMES)
            frame, faults, column = instructions.with_answer(frame, "response"), nothing_refused(), "_talk"
            if other:
                frame, _, faults = conversations(frame, {other: "rejected"}, dialect=DIALECTS[0])
        if other:
            frame = frame.rename({column: "chosen", other: "rejected"})
            frame, wrong = _with_rejected_messages(frame, rows, found)
        elif pairs:
            frame, wrong = _with_rejected_response(frame, rows, column, found)
        else:
            frame, wrong = tagged.incoming(frame, rows, sides={column: "prompt"}, found=found)
            frame, wrong["second_system_prompt"] = _system(frame, rows, {column: "prompt"})
        if record_type is RecordType.PROMPT:
            frame = frame.with_columns(pl.col(column).alias("prompt"))
            refusals["prompt_ends_with_assistant"] = rules.prompt_ends_with_assistant()
            if self.answer_column in frame.columns:
                frame = frame.with_columns(json_text(frame[self.answer_column]).alias("answer"))
        elif not pairs:
            frame = last_answer(frame, column, size=size)
        if record_type is RecordType.UNPAIRED:
            frame, refusals["ambiguous_label"] = boolean_label(frame, "label", labels=self.labels)
        if pairs:
            frame, refusals["margin_not_a_number"] = number(frame, "margin")
        if "tools" in frame.columns:
            frame = frame.with_columns(json_text(frame["tools"]).alias("tools"))
        result = refuse(frame, common_rules(record_type, rows) | refusals | wrong, also=[faults])
        return Outcome(pieces(result.rows, record_type), result.refused)

    def encode(self, rows: pl.DataFrame, record_type: RecordType) -> Outcome:
        """Refused are system turns after the first place, prompts that end with the assistant's own turn, two turns of
        one side in a row, in KTO answers that end with a tool call, and the tag `<image>` in a text; with
        `rejected_response` also answers that are not one turn of plain text."""
        sides = sides_of(record_type)
        refusals = rules.answers(record_type) | tagged.tag_rules(sides)
        refusals["system_not_first"] = rules.system_not_first()
        refusals["prompt_ends_with_assistant"] = rules.prompt_ends_with_assistant()
        refusals["repeated_role"] = rules.repeated_role()
        if record_type is RecordType.UNPAIRED:
            refusals["answer_ends_with_call"] = rules.answer_ends_with_call("completion")
        plain = record_type is RecordType.PREFERENCE and self.rejected == "response"
        if plain:
            refusals["multi_turn_answer"] = tagged.all_of("multi_turn_answer", answers_of(record_type))
            refusals["tool_turns"] = rules.tool_turns(*answers_of(record_type)) | ~rules.ends_with_user()
            refusals["answer_images"] = rules.answer_images()
        result = refuse(rows, refusals)
        frame = tagged.outgoing(result.rows, sides, call_role="tool_call", apart=True)
        columns = _conversations(frame, result.rows, record_type)
        if plain:
            text = pl.col("rejected").list.first().struct.field("content")
            columns[-1] = text.alias("rejected_response")
        if result.rows.select(rules.images().any()).item():
            columns += _pictures(record_type, plain=plain)
        columns += tagged.extra_columns(frame, ("label", "margin", "tools"))
        if record_type is RecordType.PREFERENCE and not plain and frame["tools"].null_count() < frame.height:
            columns.append(pl.col("tools").alias("rejected_tools"))
        if record_type is RecordType.PROMPT and frame["answer"].null_count() < frame.height:
            columns.append(pl.col("answer").alias(self.answer_column))
        return Outcome(frame.select(columns), result.refused)

    def beside(
        self, files: Mapping[str, str], record_type: RecordType, *, columns: Collection[str] = ()
    ) -> Mapping[str, str]:
        """Nothing: ms-swift takes files by name."""
        return {}


def _dialect(dtype: pl.DataType | None) -> Dialect | None:
    return next((one for one in DIALECTS if is_conversation(dtype, one)), None)


def _rounds(values: pl.Series) -> pl.Series:
    """Rounds of one object each as messages; what is none stays as it is, for `conversation` to refuse."""
    names = fields_of(values.dtype)
    keys = [next((key for key in either if key in names), None) for either in PAIRS]
    if None in keys:
        return values
    turns = [
        pl.struct(role=pl.lit(role), content=pl.element().struct.field(str(key)))
        for role, key in zip(("user", "assistant"), keys, strict=True)
    ]
    return values.list.eval(pl.concat_list(turns).explode())


def _marked(frame: pl.DataFrame, column: str, dialect: Dialect) -> tuple[pl.DataFrame, pl.Expr, pl.Expr]:
    """Turns of the answer as `loss` marks them (1 where it does not), and the rule true where they are not the last."""
    if "loss" not in fields_of(frame.schema[column]):
        return frame, pl.lit(1), pl.lit(False)
    element = pl.element()
    dtype = fields_of(frame.schema[column])["loss"]
    if not (dtype in (pl.Boolean, pl.Null) or dtype.is_numeric()):
        given = pl.col(column).list.eval(element.struct.field("loss").is_not_null()).list.any()
        return frame, pl.lit(1), pl.lit(frame.select(given).to_series())
    loss = element.struct.field("loss").cast(pl.Boolean)
    role = element.struct.field(dialect.role).cast(pl.String)
    marked = pl.col(column).list.eval(loss.fill_null(False)).list.any()
    tail = pl.col(column).list.slice(pl.col(column).list.eval(loss.fill_null(False).cum_sum() == 0).list.sum())
    joins = role.is_in(sorted(CALL_ROLES)) & role.shift(1).is_in(TRAINED).fill_null(False)
    turns = tail.list.eval(~joins).list.sum()
    left_out = tail.list.eval(loss.not_().fill_null(False)).list.any()
    last = ~pl.col(column).list.last().struct.field("loss").cast(pl.Boolean)
    frame = frame.with_columns(
        _size=pl.when(marked).then(turns).otherwise(1),
        _odd=pl.when(marked).then(left_out).otherwise(last.fill_null(False)),
    )
    return frame, pl.col("_size"), pl.col("_odd")


def _system(frame: pl.DataFrame, rows: pl.DataFrame, sides: Mapping[str, str]) -> tuple[pl.DataFrame, pl.Expr]:
    """`with_system` for several columns of conversations."""
    second = pl.lit(False)
    if "system" in rows.columns:
        for column, side in sides.items():
            frame, other = with_system(frame, column, rows["system"], side=side)
            second = second | other
    return frame, second


def _with_rejected_messages(
    frame: pl.DataFrame, rows: pl.DataFrame, found: pl.Series | None
) -> tuple[pl.DataFrame, dict[str, pl.Expr]]:
    """Pairs of two whole conversations, each with its own pictures (`rejected_images`, or the same)."""
    parts = {
        side: None if found is None else found.list.eval(pl.element().filter(pl.element().struct.field("side") == side))
        for side in ("chosen", "rejected")
    }
    second = rows
    if "rejected_images" in rows.columns:
        second = rows.select("rejected_images").rename({"rejected_images": "images"})
    left, wrong = tagged.incoming(frame, rows, sides={"chosen": "chosen"}, found=parts["chosen"])
    right, also = tagged.incoming(frame, second, sides={"rejected": "rejected"}, found=parts["rejected"])
    wrong["image_count"] = wrong["image_count"] | also["image_count"]
    whole = left.with_columns(right["rejected"], concatenated([left["images"], right["images"]]).alias("images"))
    whole, wrong["second_system_prompt"] = _system(whole, rows, {"chosen": "chosen", "rejected": "rejected"})
    cut = shared_prompt(whole)
    wrong["differing_prompts"] = pl.lit(other_pictures(whole["images"], cut["prompt"]))
    return cut, wrong


def _with_rejected_response(
    frame: pl.DataFrame, rows: pl.DataFrame, column: str, found: pl.Series | None
) -> tuple[pl.DataFrame, dict[str, pl.Expr]]:
    """ms-swift's rule: the rejected answer stands in place of all that follows the user's last turn."""
    frame, _, faults = conversations(
        frame.rename({"rejected_response": "rejected"}), {"rejected": "rejected"}, dialect=DIALECTS[0]
    )
    sides = {column: "prompt", "rejected": "rejected"}
    frame, wrong = tagged.incoming(frame, rows, sides=sides, found=found)
    frame, wrong["second_system_prompt"] = _system(frame, rows, {column: "prompt"})
    roles = pl.col(column).list.eval(pl.element().struct.field("role"))
    size = roles.list.eval((pl.element() == "user").reverse().cum_sum() == 0).list.sum()
    bad = frame.select(pl.int_range(pl.len()).is_in(faults["_row"].to_list())).to_series()
    return last_answer(frame, column, answer="chosen", size=size), wrong | {"not_a_conversation": pl.lit(bad)}


def _conversations(frame: pl.DataFrame, canonical: pl.DataFrame, record_type: RecordType) -> list[pl.Expr]:
    """`messages`, and `rejected_messages` for pairs; `loss` at the turns that need it, where any does."""
    before = record_type is RecordType.SFT and canonical.select(rules.has_role("prompt", "assistant").any()).item()
    answers = answers_of(record_type)
    several = {side: canonical[side].list.len() > 1 for side in answers}
    with_loss = bool(before) or any(one.any() for one in several.values())
    prompt = _turns("prompt", False if before else None, with_loss)
    if not answers:
        return [prompt.alias("messages")]
    found = []
    for side, name in zip(answers, ("messages", "rejected_messages"), strict=False):
        answer = (
            pl.when(pl.lit(several[side])).then(_turns(side, True, True)).otherwise(_turns(side, None, True))
            if with_loss
            else _turns(side, None, False)
        )
        found.append(pl.concat_list(prompt, answer).alias(name))
    return found


def _turns(side: str, loss: bool | None, with_loss: bool) -> pl.Expr:
    element = pl.element()
    role = element.struct.field("role").replace("tool", "tool_response")
    fields = [role.alias("role"), element.struct.field("content")]
    if with_loss:
        mark = pl.when(role.is_in(["assistant", "tool_call"])).then(pl.lit(loss, pl.Boolean))
        fields.append(mark.alias("loss"))
    return pl.col(side).cast(MESSAGES).list.eval(pl.struct(fields))


def _pictures(record_type: RecordType, *, plain: bool) -> list[pl.Expr]:
    """`images` of the messages, and for pairs `rejected_images` of the others."""
    element = pl.element()
    found = []
    sides = {"images": [one for one in sides_of(record_type) if one != "rejected"]}
    if record_type is RecordType.PREFERENCE and not plain:
        sides["rejected_images"] = ["prompt", "rejected"]
    for name, among in sides.items():
        uris = pl.col("images").list.eval(element.filter(element.struct.field("side").is_in(among)).struct.field("uri"))
        found.append(pl.when(uris.list.len() > 0).then(uris).alias(name))
    return found
