"""What ShareGPT, ms-swift and LLaMA-Factory share: pictures as tags in the text, tool calls as turns of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from prefdata.formats import placeholders, rules, screens
from prefdata.formats.messages import spoken
from prefdata.schema import RecordType

IMAGE_COLUMNS = ("images", "image")
MEDIA = ("videos", "video", "audios", "audio", "objects")
"""Columns of media that no canonical column takes."""


def incoming(
    frame: pl.DataFrame,
    rows: pl.DataFrame,
    *,
    sides: Mapping[str, str],
    found: pl.Series | None = None,
    column: str = "",
) -> tuple[pl.DataFrame, dict[str, pl.Expr]]:
    """`frame` with marks for tags and with `images`, and the rules true where they do not fit.

    `rows`: the file's columns; the addresses are in `column`, or in one of IMAGE_COLUMNS. `found`: pictures that stand
    as parts in the messages; in a row that has them, a tag is text.
    """
    uris, both = placeholders.uris_beside(rows, (column,) if column else IMAGE_COLUMNS)
    if found is None or not (found.list.len() > 0).any():
        frame, wrong = placeholders.tags_to_marks(frame, uris, sides=sides)
    else:
        parts = found.list.len().fill_null(0) > 0
        frame, wrong = placeholders.tags_to_marks(frame, pl.select(pl.when(~parts).then(uris)).to_series(), sides=sides)
        filled, odd = placeholders.fill(found, pl.select(pl.when(parts).then(uris)).to_series())
        images = pl.select(pl.when(parts).then(filled).otherwise(frame["images"])).to_series()
        frame, wrong = frame.with_columns(images.alias("images")), wrong | odd
    nowhere = frame.select(placeholders.without_address()).to_series()
    return frame, {
        "image_count": pl.lit(wrong | both),
        "other_media": _other_media(rows),
        "picture_without_address": pl.lit(nowhere & ~wrong),
    }


def _other_media(rows: pl.DataFrame) -> pl.Expr:
    found = pl.repeat(False, rows.height, eager=True, dtype=pl.Boolean)
    for name in MEDIA:
        if name in rows.columns and rows.schema[name] != pl.Null:
            column = rows[name]
            there = column.list.len() > 0 if isinstance(column.dtype, pl.List) else column.is_not_null()
            found = found | there.fill_null(False)
    return pl.lit(found)


def outgoing(frame: pl.DataFrame, sides: Sequence[str], *, call_role: str, apart: bool = False) -> pl.DataFrame:
    """`frame` with tags for marks, and tool calls as turns of `call_role`. See `messages.spoken`."""
    if screens.has_pictures(frame):
        frame = frame.with_columns(placeholders.tagged(sides))
    calling = [side for side in sides if screens.calls_tools(frame, side)]
    return frame.with_columns(spoken(frame[side], role=call_role, apart=apart).alias(side) for side in calling)


def tag_rules(sides: Sequence[str]) -> dict[str, pl.Expr]:
    """What no target with tags takes."""
    return {"image_count": rules.image_count(*sides), "literal_image_tag": rules.literal_image_tag(*sides)}


def extra_columns(frame: pl.DataFrame, names: Sequence[str]) -> list[pl.Expr]:
    """Columns beside the conversation: `images` as addresses, others as they are; none that is null in all rows."""
    columns = []
    for name in names:
        if name == "images":
            if screens.has_pictures(frame):
                columns.append(pl.when(rules.images()).then(placeholders.uris()).alias("images"))
        elif name in frame.columns and (name == "label" or frame[name].null_count() < frame.height):
            columns.append(pl.col(name))
    return columns


def all_of(rule: str, sides: Sequence[str]) -> pl.Expr:
    """A rule of `rules` for a side, over several sides."""
    return pl.any_horizontal([getattr(rules, rule)(side) for side in sides])


def answer_of(record_type: RecordType) -> str | None:
    """The one answer of a type that has one."""
    return "completion" if record_type in (RecordType.SFT, RecordType.UNPAIRED) else None
