"""Conversations in and out: canonical MESSAGES from the dialects of other tools, and back.

A picture's place in a text is one character MARK (U+FFFC, the object replacement character) in the content; the row's
`images` list them in order of side, message and part. What is no picture and yet holds that character in a row with
pictures is refused: its place would be a guess.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import polars as pl

from prefdata.formats.picture_bytes import BARE, as_address, encoded
from prefdata.formats.tool_calls import FUNCTION_CALL, calls_of, disordered, tool_calls_text
from prefdata.schema import IMAGE, MESSAGE, MESSAGES

MARK = "￼"

TOOL_CALLS = pl.List(
    pl.Struct({"id": pl.String, "type": pl.String, "function": pl.Struct({"name": pl.String, "arguments": pl.String})})
)
"""A message's tool calls as OpenAI writes them; `arguments` is JSON text. Canonical `tool_calls` is JSON of this."""

ROLES: Mapping[str, str] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "customer": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "agent": "assistant",
    "tool": "tool",
    "observation": "tool",
    "observations": "tool",
    "tool_response": "tool",
    "function_response": "tool",
    "function": "tool",
}
"""Names of roles that are met, in lower case, and what they are here."""


READ = frozenset(
    {"role", "from", "content", "value", "tool_calls", "function_call", "tool_call_id"}
    | {"weight", "train", "training", "loss", "loss_weight"}
)
"""Keys of a message that one format or another reads."""


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """How a tool writes one message."""

    role: str = "role"
    content: str = "content"
    roles: Mapping[str, str] = field(default_factory=lambda: dict(ROLES))
    tool_calls: str = "tool_calls"
    call_roles: frozenset[str] = frozenset()
    """Roles of turns whose content is a tool call as JSON text: `{"name", "arguments"}`, or a list of such."""
    calls_join: bool = False
    """Such a turn is part of the assistant's turn before it: text and calls, or several calls, are one turn."""


CALL_ROLES = frozenset({"function_call", "tool_call"})
OPENAI = Dialect()
SHAREGPT = Dialect(role="from", content="value", call_roles=CALL_ROLES)


class Conversation(NamedTuple):
    """Messages of one column: `messages` (MESSAGES), `images` (List(IMAGE), side set, null where none), and for every
    row the faults that forbid to take it (List(String))."""

    messages: pl.Series
    images: pl.Series
    faults: pl.Series


def fields_of(dtype: pl.DataType | None) -> dict[str, Any]:
    """Fields of the objects in a column of lists of objects, name -> dtype; empty where it is none."""
    inner = dtype.inner if isinstance(dtype, pl.List) else None
    return {one.name: one.dtype for one in inner.fields} if isinstance(inner, pl.Struct) else {}


def unread_fields(frame: pl.DataFrame) -> list[str]:
    """What messages hold that is read by no format, `<column>.<field>`."""
    found = []
    for column, dtype in frame.schema.items():
        fields = fields_of(dtype)
        if not {"role", "from"} & set(fields):
            continue
        for name in [one for one in fields if one not in READ]:
            given = pl.col(column).list.eval(pl.element().struct.field(name).is_not_null()).list.any()
            if frame.select(given.any()).item():
                found.append(f"{column}.{name}")
    return found


def holds_text(frame: pl.DataFrame, column: str, text: str, dialect: Dialect = OPENAI) -> bool:
    """Whether a content in this column of conversations is text that has `text` in it."""
    if fields_of(frame.schema[column]).get(dialect.content) != pl.String:
        return False
    content = pl.col(column).list.eval(pl.element().struct.field(dialect.content).str.contains(text, literal=True))
    return bool(frame.select(content.list.any().any()).item())


def is_conversation(dtype: pl.DataType | None, dialect: Dialect = OPENAI) -> bool:
    """Whether a column of this dtype holds lists of messages in `dialect`."""
    names = fields_of(dtype)
    return dialect.role in names and (dialect.content in names or dialect.tool_calls in names)


def is_message(dtype: pl.DataType | None, dialect: Dialect = OPENAI) -> bool:
    """Whether a column of this dtype holds one message in `dialect`."""
    return isinstance(dtype, pl.Struct) and is_conversation(pl.List(dtype), dialect)


def conversation(values: pl.Series, *, side: str, dialect: Dialect = OPENAI, role: str | None = None) -> Conversation:
    """Canonical messages of a column of lists of messages, of single messages, or of plain text.

    Text becomes one message of `role` (default: user for the prompt, assistant elsewhere). Content is text or a list
    of parts (`{"type": "text", "text": ...}`, `{"type": "image", ...}`). Faults: unknown_role, missing_content,
    unknown_part, unreadable_tool_call, object_replacement_character, not_a_conversation. Null gives null messages and
    no fault.
    """
    if values.dtype == pl.String:
        return _plain(values, role or ("user" if side == "prompt" else "assistant"))
    if is_message(values.dtype, dialect):
        values = pl.select(pl.when(values.is_not_null()).then(pl.concat_list(values))).to_series()
    if not is_conversation(values.dtype, dialect):
        nothing = pl.Series([None] * len(values), dtype=MESSAGES)
        fault = pl.select(
            pl.when(values.is_not_null()).then(pl.lit(["not_a_conversation"])).otherwise(pl.lit([], pl.List(pl.String)))
        ).to_series()
        return Conversation(nothing, pl.Series([None] * len(values), dtype=pl.List(IMAGE)), fault)
    return _listed(values, side=side, dialect=dialect)


def _plain(values: pl.Series, role: str) -> Conversation:
    frame = values.to_frame("text")
    message = pl.struct(role=pl.lit(role), content=pl.col("text"), tool_calls=pl.lit(None, pl.String))
    messages = frame.select(pl.when(pl.col("text").is_not_null()).then(pl.concat_list(message)).cast(MESSAGES))
    empty = pl.Series([[]] * len(values), dtype=pl.List(pl.String))
    return Conversation(messages.to_series(), pl.Series([None] * len(values), dtype=pl.List(IMAGE)), empty)


def _listed(values: pl.Series, *, side: str, dialect: Dialect) -> Conversation:
    types = fields_of(values.dtype)
    height = len(values)
    whole_turns = _as_they_stand(values, types, dialect)
    if whole_turns is not None:
        none = pl.Series(dtype=pl.List(IMAGE)).clear(height)
        return Conversation(whole_turns, none, pl.Series([[]], dtype=pl.List(pl.String)).new_from_index(0, height))
    exploded = (
        values.to_frame("turn")
        .with_row_index("_row")
        .filter(pl.col("turn").list.len() > 0)
        .explode("turn")
        .with_columns(_message=pl.int_range(pl.len(), dtype=pl.Int32).over("_row"))
        .select("_row", "_message", pl.col("turn").struct.unnest())
    )
    calls, unreadable = calls_of(exploded, (dialect.tool_calls, FUNCTION_CALL))
    contents, pictures, odd = _contents(exploded, dialect.content, types.get(dialect.content))
    role = pl.col(dialect.role).cast(pl.String).str.to_lowercase()
    named = exploded.select(
        "_row",
        "_message",
        role=role.replace_strict(dict(dialect.roles), default=None, return_dtype=pl.String),
        called=role.is_in(sorted(dialect.call_roles)),
    ).with_columns(content=contents, tool_calls=calls, odd=odd, unreadable=unreadable)
    other_order = disordered(exploded, named)
    if dialect.call_roles and named["called"].any():
        named = _called(named, join=dialect.calls_join)
    named = named.with_columns(
        content=pl.when(pl.col("content").is_null() & pl.col("tool_calls").is_not_null())
        .then(pl.lit(""))
        .otherwise(pl.col("content"))
    )
    faults = named.select(
        "_row",
        fault=pl.concat_list(
            pl.when(pl.col("role").is_null()).then(pl.lit("unknown_role")),
            pl.when(pl.col("content").is_null()).then(pl.lit("missing_content")),
            pl.when(pl.col("odd").fill_null(False)).then(pl.lit("unknown_part")),
            pl.when("unreadable").then(pl.lit("unreadable_tool_call")),
        ).list.drop_nulls(),
    )
    listed = named.group_by("_row", maintain_order=True).agg(
        pl.struct("role", "content", "tool_calls").alias("messages")
    )
    if pictures is not None:
        marks = named.select("_row", "_message", marks=pl.col("content").str.count_matches(MARK, literal=True))
        counted = pictures.group_by("_row", "_message").agg(pl.len().alias("pictures"))
        clash = (
            marks.join(counted, on=["_row", "_message"], how="left")
            .filter((pl.col("marks") != pl.col("pictures").fill_null(0)).any().over("_row"))
            .filter(pl.col("pictures").is_not_null().any().over("_row"))
            .select("_row", fault=pl.lit(["object_replacement_character"]))
        )
        faults = pl.concat([faults, clash])
    faults = pl.concat([faults, other_order])
    faults = faults.explode("fault").drop_nulls("fault").group_by("_row").agg(pl.col("fault").unique().sort())
    whole = (
        pl.DataFrame({"_row": pl.int_range(height, dtype=pl.UInt32, eager=True), "there": values.is_not_null()})
        .join(listed, on="_row", how="left", maintain_order="left")
        .join(faults, on="_row", how="left", maintain_order="left")
    )
    if pictures is None:
        images = pl.Series([None] * height, dtype=pl.List(IMAGE))
    else:
        lists = pictures.group_by("_row", maintain_order=True).agg(
            pl.struct(
                uri="uri", side=pl.lit(side), message=pl.col("_message"), part=pl.col("part").cast(pl.Int32)
            ).alias("images")
        )
        joined = whole.select("_row").join(lists, on="_row", how="left", maintain_order="left")
        images = joined["images"].cast(pl.List(IMAGE))
    messages = whole.select(
        pl.when("there").then(pl.coalesce(pl.col("messages"), pl.lit([], MESSAGES))).cast(MESSAGES).alias("messages")
    ).to_series()
    return Conversation(messages, images, whole["fault"].fill_null(pl.Series([[]], dtype=pl.List(pl.String))))


def _as_they_stand(values: pl.Series, types: Mapping[str, Any], dialect: Dialect) -> pl.Series | None:
    """Turns of known roles and text alone, which need no more than other names; null where there are others."""
    if types.get(dialect.role) != pl.String or types.get(dialect.content) != pl.String:
        return None
    turns = values.filter(values.list.len() > 0).explode().struct
    called = [name for name in (dialect.tool_calls, FUNCTION_CALL) if name in types]
    if any(turns.field(name).null_count() < len(turns.field(dialect.role)) for name in called):
        return None
    roles = turns.field(dialect.role)
    if roles.null_count() or turns.field(dialect.content).null_count():
        return None
    names = {role: role.lower() for role in roles.unique().to_list()}
    if any(name not in dialect.roles or name in dialect.call_roles for name in names.values()):
        return None
    role = pl.element().struct.field(dialect.role)
    known = {given: dialect.roles[name] for given, name in names.items()}
    if any(given != meant for given, meant in known.items()):
        role = role.replace_strict(known, return_dtype=pl.String)
    content = pl.element().struct.field(dialect.content)
    turn = pl.struct(role=role, content=content, tool_calls=pl.lit(None, pl.String))
    return values.alias("turns").to_frame().select(pl.col("turns").list.eval(turn).cast(MESSAGES)).to_series()


def _called(turns: pl.DataFrame, *, join: bool) -> pl.DataFrame:
    """Turns that are tool calls written out, as turns of the assistant that have tool calls; joined where asked for."""
    texts = turns.filter("called")
    read = texts.select("_row", "_message").with_columns(_read=tool_calls_text(texts["content"]))
    turns = turns.join(read, on=["_row", "_message"], how="left", maintain_order="left").with_columns(
        role=pl.when("called").then(pl.lit("assistant")).otherwise(pl.col("role")),
        content=pl.when("called").then(pl.lit("")).otherwise(pl.col("content")),
        tool_calls=pl.when("called").then(pl.col("_read")).otherwise(pl.col("tool_calls")),
        unreadable=pl.col("unreadable") | (pl.col("called") & pl.col("_read").is_null()),
    )
    if not join:
        return turns
    before = (pl.col("role").shift(1) == "assistant").over("_row").fill_null(False)
    place = (~(pl.col("called") & before)).cast(pl.Int32).cum_sum().over("_row") - 1
    inner = pl.col("tool_calls").drop_nulls().str.strip_prefix("[").str.strip_suffix("]").str.join(",")
    return (
        turns.with_columns(_message=place)
        .group_by("_row", "_message", maintain_order=True)
        .agg(
            pl.col("role").first(),
            pl.col("content").first(),
            pl.when(pl.col("tool_calls").is_not_null().any()).then(pl.format("[{}]", inner)).alias("tool_calls"),
            pl.col("odd").any(),
            pl.col("unreadable").any(),
        )
    )


def _contents(
    turns: pl.DataFrame, name: str, dtype: pl.DataType | None
) -> tuple[pl.Series, pl.DataFrame | None, pl.Series]:
    """Text of every turn, its pictures (`_row`, `_message`, `part`, `uri`; None where there can be none), and whether
    a part was of an unknown kind."""
    sound = pl.Series([False] * turns.height, dtype=pl.Boolean)
    if dtype is None or dtype == pl.Null:
        return pl.Series([None] * turns.height, dtype=pl.String), None, sound
    if dtype == pl.String:
        return turns[name], None, sound
    if not (isinstance(dtype, pl.List) and isinstance(dtype.inner, pl.Struct)):
        return pl.Series([None] * turns.height, dtype=pl.String), None, sound
    fields = {one.name: one.dtype for one in dtype.inner.fields}
    parts = (
        turns.select("_row", "_message", part=pl.col(name))
        .with_row_index("_turn")
        .filter(pl.col("part").list.len() > 0)
        .explode("part")
        .with_columns(_part=pl.int_range(pl.len(), dtype=pl.Int32).over("_turn"))
        .select("_turn", "_row", "_message", "_part", pl.col("part").struct.unnest())
    )
    texts = [pl.col(one) for one in ("text", "value") if fields.get(one) == pl.String]
    uris = [_uri(one, fields[one]) for one in ("image", "image_url", "path", "url", "base64") if one in fields]
    parts = parts.with_columns(
        _text=pl.coalesce(texts) if texts else pl.lit(None, pl.String),
        _uri=pl.coalesce(uris) if uris else pl.lit(None, pl.String),
    )
    bare = pl.when(pl.col("_text").is_null() & pl.col("_uri").is_not_null()).then(pl.lit("image"))
    untold = bare.otherwise(pl.when(pl.col("_text").is_not_null()).then(pl.lit("text")))
    kind = pl.coalesce(pl.col("type").cast(pl.String), untold) if "type" in fields else untold
    is_image = kind.is_in(["image", "image_url", "input_image"]).fill_null(False)
    is_text = kind.is_in(["text", "input_text", "output_text"]).fill_null(False)
    parts = parts.with_columns(
        _uri=pl.when(is_image).then("_uri"),
        _image=is_image,
        _known=is_image | (is_text & pl.col("_text").is_not_null()),
    )
    text = parts.group_by("_turn", maintain_order=True).agg(
        pl.when("_image").then(pl.lit(MARK)).otherwise(pl.col("_text")).fill_null("").str.join("").alias("content"),
        (~pl.col("_known")).any().alias("odd"),
    )
    joined = (
        turns.select(empty=pl.col(name).list.len() == 0)
        .with_row_index("_turn")
        .join(text, on="_turn", how="left", maintain_order="left")
    )
    content = joined.select(pl.when("empty").then(pl.lit("")).otherwise(pl.col("content"))).to_series()
    found = parts.filter("_image").select("_row", "_message", part=pl.col("_part"), uri=pl.col("_uri"))
    return content, found if found.height else None, joined["odd"].fill_null(False)


def _uri(name: str, dtype: Any) -> pl.Expr:
    """The address of a picture: text, or `{"url": ...}`, or Hugging Face's `{"bytes", "path"}`; see `encoded`."""
    column = pl.col(name)
    if dtype == pl.String:
        return pl.when(column.str.contains(BARE)).then(as_address(column)).otherwise(column)
    if not isinstance(dtype, pl.Struct):
        return pl.lit(None, pl.String)
    fields = {one.name: one.dtype for one in dtype.fields}
    key = next((one for one in ("url", "path") if one in fields), None)
    address = column.struct.field(key).cast(pl.String) if key else pl.lit(None, pl.String)
    if "bytes" not in fields:
        return address
    # beside bytes, a path is only the name that the picture once had
    return pl.coalesce(as_address(encoded(column.struct.field("bytes"), fields["bytes"])), address)


def spoken(values: pl.Series, *, role: str, apart: bool) -> pl.Series:
    """MESSAGES with tool calls written out: the turn that calls becomes a turn of `role`, its content JSON text.

    With `apart`, one turn a call, after a turn of the assistant with the text beside them; else one turn, a call or a
    list of them, and the text is lost. A batch kernel: only turns that call tools are looped over.
    """
    turns = (
        values.to_frame("turn")
        .with_row_index("_row")
        .filter(pl.col("turn").list.len() > 0)
        .explode("turn")
        .unnest("turn")
        .with_row_index("_turn")
    )
    calling = turns.filter(pl.col("tool_calls").is_not_null())
    if not calling.height:
        return values
    said = [
        _said(content, calls, role=role, apart=apart)
        for content, calls in calling.select("content", "tool_calls").iter_rows()
    ]
    told = (
        calling.select("_turn", "_row")
        .with_columns(told=pl.Series(said, dtype=MESSAGES))
        .explode("told")
        .unnest("told")
        .select(turns.columns)
    )
    whole = pl.concat([turns.filter(pl.col("tool_calls").is_null()), told]).sort("_turn", maintain_order=True)
    lists = whole.group_by("_row", maintain_order=True).agg(pl.struct("role", "content", "tool_calls").alias("turn"))
    return (
        values.to_frame("old")
        .with_row_index("_row")
        .join(lists, on="_row", how="left", maintain_order="left")
        .select(pl.coalesce("turn", "old").cast(MESSAGES))
        .to_series()
    )


def _said(content: str, calls: str, *, role: str, apart: bool) -> list[dict[str, str | None]]:
    made = []
    for one in json.loads(calls):
        function = one["function"]
        try:
            arguments = json.loads(function["arguments"])
        except ValueError:
            arguments = function["arguments"]
        made.append({"name": function["name"], "arguments": arguments})
    texts = [json.dumps(one, ensure_ascii=False) for one in (made if apart or len(made) == 1 else [made])]
    turns: list[dict[str, str | None]] = [{"role": role, "content": text, "tool_calls": None} for text in texts]
    if apart and content:
        turns.insert(0, {"role": "assistant", "content": content, "tool_calls": None})
    return turns


def written(
    side: str,
    *,
    dialect: Dialect = OPENAI,
    names: Mapping[str, str] | None = None,
    tool_calls: bool = False,
    content: pl.Expr | None = None,
) -> pl.Expr:
    """A MESSAGES column as List(Struct) in `dialect`; `names`: canonical role -> the target's name for it.

    `tool_calls` writes them as TOOL_CALLS (null where a message has none); only for rows that may hold them.
    """
    element = pl.element()
    role = element.struct.field("role")
    fields = [
        (role.replace_strict(dict(names), return_dtype=pl.String) if names else role).alias(dialect.role),
        element.struct.field("content").alias(dialect.content),
    ]
    if tool_calls:
        fields.append(element.struct.field("tool_calls").str.json_decode(TOOL_CALLS).alias(dialect.tool_calls))
    return pl.col(side).list.eval(pl.struct(fields))


def message(role: str, content: pl.Expr) -> pl.Expr:
    """A list of one message with this text."""
    return pl.concat_list(
        pl.struct(role=pl.lit(role), content=content, tool_calls=pl.lit(None, pl.String)).cast(MESSAGE)
    ).cast(MESSAGES)
