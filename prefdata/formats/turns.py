"""Turns with more in them than role and text: whether they are trained on, and pictures with their addresses."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import polars as pl

from prefdata.formats import placeholders, tagged
from prefdata.formats.messages import MARK, ROLES, fields_of, is_conversation
from prefdata.schema import RecordType

ASSISTANTS = sorted(name for name, role in ROLES.items() if role == "assistant")

PARTS = pl.List(pl.Struct({"type": pl.String, "text": pl.String, "uri": pl.String}))
"""Content as parts: `type` is text or image, one of the two others is null."""

FLAGS = frozenset({"weight", "train", "training", "loss"})
"""Keys by which one tool or another says whether a turn is trained on."""


def trained(frame: pl.DataFrame, column: str, flag: str) -> tuple[pl.DataFrame, pl.Expr, pl.Expr]:
    """Turns of the answer of a conversation, as a flag at the assistant's turns says, and the rule true where those
    that are trained on are not the last ones.

    A turn without the flag is trained on; in a conversation that has no flag at all the answer is the last turn.
    """
    dtype = fields_of(frame.schema[column]).get(flag)
    if dtype is None or not (dtype == pl.Boolean or dtype.is_numeric()):
        return frame, pl.lit(1), pl.lit(False)
    element = pl.element()
    told = element.struct.field(flag).cast(pl.Boolean)
    own = element.struct.field("role").str.to_lowercase().is_in(ASSISTANTS)
    turns = pl.col(column)
    given = turns.list.eval(told.is_not_null()).list.any()
    before = turns.list.eval((own & told.fill_null(True)).cum_sum() == 0).list.sum()
    left_out = turns.list.slice(before).list.eval(own & ~told.fill_null(True)).list.any()
    frame = frame.with_columns(
        _size=pl.when(given).then(turns.list.len() - before).otherwise(1),
        _odd=given & (left_out | (before == turns.list.len())),
    )
    return frame, pl.col("_size"), pl.col("_odd")


def flags(rows: pl.DataFrame, record_type: RecordType) -> Mapping[str, pl.Series] | None:
    """For each side of SFT rows, the flag that its assistant's turns need, a Boolean a row; None where no row needs it.

    The turns before the answer are not trained on; an answer of several turns is marked, for it to be told apart.
    """
    if record_type is not RecordType.SFT:
        return None
    roles = pl.col("prompt").list.eval(pl.element().struct.field("role"))
    before = rows.select(roles.list.contains("assistant").fill_null(False)).to_series()
    several = rows["completion"].list.len() > 1
    if not (before.any() or several.any()):
        return None
    nothing = pl.lit(None, pl.Boolean)
    frame = pl.DataFrame({"before": before, "several": several})
    return {
        "prompt": frame.select(pl.when("before").then(False).otherwise(nothing)).to_series(),
        "completion": frame.select(pl.when("several").then(True).otherwise(nothing)).to_series(),
    }


def with_flag(column: pl.Series, turn: Callable[[pl.Expr | None], pl.Expr], told: pl.Series | None) -> pl.Series:
    """A column of turns, each made anew by `turn`, with the flag of its row at the assistant's turns; see `flags`."""
    frame = column.to_frame("turns")
    if told is None:
        return frame.select(pl.col("turns").list.eval(turn(None))).to_series()
    own = pl.element().struct.field("role") == "assistant"
    some = [pl.when(own).then(pl.lit(value, pl.Boolean)) for value in (False, True, None)]
    no, yes, none = (pl.col("turns").list.eval(turn(flag)) for flag in some)
    told_ = pl.lit(told)
    return frame.select(pl.when(told_.is_null()).then(none).when(told_).then(yes).otherwise(no)).to_series()


def plain_messages(sample: pl.DataFrame, *, own: Collection[str] = ()) -> bool:
    """Whether `messages` are conversations without anything beside them that another tool would read, and without
    flags but its `own`."""
    others = {"chosen", "rejected", "rejected_response", "rejected_messages", "label", "kto_tag", "solution"}
    names = set(sample.columns)
    fields = set(fields_of(sample.schema.get("messages")))
    return (
        is_conversation(sample.schema.get("messages"))
        and not names & {*others, *tagged.IMAGE_COLUMNS}
        and not fields & (FLAGS - set(own))
    )


def in_parts(frame: pl.DataFrame, rows: pl.DataFrame, found: pl.Series) -> tuple[pl.DataFrame, pl.Expr]:
    """`frame` with `images`, all of which stand as parts in the messages, and the rule true where that is not so.

    The n-th part without an address gets the n-th of a column of addresses.
    """
    uris, both = placeholders.uris_beside(rows, tagged.IMAGE_COLUMNS)
    images, wrong = placeholders.fill(found, uris)
    return frame.with_columns(images.alias("images")), pl.lit(wrong | both)


def parted(frame: pl.DataFrame, side: str) -> pl.Series:
    """A column of turns (MESSAGES, or with more fields) with contents as PARTS: pictures of `images` where their marks
    stand; in rows without pictures a mark is a character. Empty text is no part."""
    fields = fields_of(frame.schema[side])
    dtype = pl.List(pl.Struct(fields | {"content": PARTS}))
    numbered = frame.select(side, "images").with_row_index("_row")
    turns = (
        numbered.select("_row", turn=side, has=pl.col("images").list.len().fill_null(0) > 0)
        .filter(pl.col("turn").list.len() > 0)
        .explode("turn")
        .with_columns(message=pl.int_range(pl.len(), dtype=pl.Int32).over("_row"))
        .unnest("turn")
        .with_row_index("_turn")
    )
    split = pl.when("has").then(pl.col("content").str.split(MARK)).otherwise(pl.concat_list("content"))
    texts = (
        turns.select("_turn", text=split)
        .explode("text")
        .with_columns(at=2 * pl.int_range(pl.len(), dtype=pl.Int64).over("_turn"))
        .filter(pl.col("text").str.len_bytes() > 0)
        .select("_turn", "at", "text", type=pl.lit("text"), uri=pl.lit(None, pl.String))
    )
    pictures = (
        numbered.select("_row", "images")
        .filter(pl.col("images").list.len() > 0)
        .explode("images")
        .unnest("images")
        .filter(pl.col("side") == side)
        .with_columns(at=2 * pl.int_range(pl.len(), dtype=pl.Int64).over("_row", "message") + 1)
        .join(turns.select("_row", "message", "_turn"), on=["_row", "message"], how="inner", maintain_order="left")
        .select("_turn", "at", text=pl.lit(None, pl.String), type=pl.lit("image"), uri="uri")
    )
    parts = (
        pl.concat([texts, pictures])
        .sort("_turn", "at")
        .group_by("_turn", maintain_order=True)
        .agg(pl.struct("type", "text", "uri").alias("parts"))
    )
    whole = (
        turns.join(parts, on="_turn", how="left", maintain_order="left")
        .with_columns(content=pl.coalesce(pl.col("parts").cast(PARTS), pl.lit([], PARTS)))
        .group_by("_row", maintain_order=True)
        .agg(pl.struct(list(fields)).alias("turns"))
    )
    joined = numbered.join(whole, on="_row", how="left", maintain_order="left")
    return joined.select(pl.coalesce(pl.col("turns").cast(dtype), pl.lit([], dtype)).alias(side)).to_series()
