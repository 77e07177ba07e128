"""Steps that decoders share: whole conversations cut into prompt and answer, labels, faults of several columns."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import polars as pl

from prefdata.errors import InputError
from prefdata.formats.core import REFUSED, ROW, answers_of
from prefdata.formats.messages import OPENAI, Conversation, Dialect, conversation, message
from prefdata.formats.tool_calls import plain
from prefdata.schema import IMAGE, MESSAGES, RecordType


def conversations(
    frame: pl.DataFrame, sides: Mapping[str, str], *, dialect: Dialect = OPENAI
) -> tuple[pl.DataFrame, pl.Series, pl.DataFrame]:
    """`frame` with canonical MESSAGES in place of its columns, the pictures found in them, and the rows refused.

    `sides`: column -> side whose name the pictures carry, in the order in which pictures are counted. The pictures
    (List(IMAGE)) of a row stand in that order; the third value is a REFUSED frame.
    """
    if not sides:
        raise InputError(f"no column holds messages that this format knows; found {', '.join(frame.columns)}")
    found: dict[str, Conversation] = {
        column: conversation(frame[column], side=side, dialect=dialect) for column, side in sides.items()
    }
    images = concatenated([one.images for one in found.values()])
    faults = concatenated([one.faults for one in found.values()])
    faulty = pl.DataFrame({"reasons": faults}).with_row_index(ROW).filter(pl.col("reasons").list.len() > 0)
    refused = faulty.with_columns(pl.col("reasons").list.unique().list.sort()).cast(REFUSED)
    return frame.with_columns(one.messages.alias(column) for column, one in found.items()), images, refused


def concatenated(lists: Sequence[pl.Series]) -> pl.Series:
    """Lists of the same rows, one after the other; null counts as empty."""
    filled = [one for one in lists if (one.list.len() > 0).any()]  # joining empty lists row by row is not cheap
    if len(filled) <= 1:
        return filled[0] if filled else lists[0]
    frame = pl.DataFrame({str(at): one for at, one in enumerate(filled)})
    empty = pl.lit([], dtype=lists[0].dtype)
    return frame.select(pl.concat_list([pl.col(name).fill_null(empty) for name in frame.columns])).to_series()


def last_answer(
    frame: pl.DataFrame, column: str, *, answer: str = "completion", size: pl.Expr | None = None
) -> pl.DataFrame:
    """`column` cut into `prompt` and `answer`: the last turn, if it is the assistant's; else `answer` is null.

    `size`: turns of the answer, where it is not one. Pictures of `images` that stand in the answer become its own.
    """
    turns = pl.col(column)
    size = pl.lit(1, pl.UInt32) if size is None else size.cast(pl.UInt32)
    ends = turns.list.last().struct.field("role") == "assistant"
    at = pl.when(ends).then(turns.list.len() - size).otherwise(turns.list.len())
    cut = frame.with_columns(
        _prompt=turns.list.head(at).cast(MESSAGES), _answer=pl.when(ends).then(turns.list.slice(at)).cast(MESSAGES)
    )
    cut = moved(cut, pl.col("_prompt").list.len(), {"prompt": answer})
    return cut.drop("prompt", answer, strict=False).rename({"_prompt": "prompt", "_answer": answer})


def shared_prompt(frame: pl.DataFrame) -> pl.DataFrame:
    """`chosen` and `rejected`, whole conversations, cut into the turns that both begin with (`prompt`) and the rest.

    The prompt never takes the last turn of either side: each keeps an answer. Pictures of the shared turns count once.
    """
    both = (
        frame.select("chosen", "rejected")
        .with_row_index("_row")
        .with_columns(most=pl.min_horizontal(pl.col("chosen").list.len(), pl.col("rejected").list.len()))
        .filter((pl.col("most") > 1) & pl.col("chosen").is_not_null() & pl.col("rejected").is_not_null())
    )
    turns = both.select(
        "_row",
        left=pl.col("chosen").list.head(pl.col("most") - 1),
        right=pl.col("rejected").list.head(pl.col("most") - 1),
    ).explode("left", "right")
    same = turns.with_columns(same=pl.col("left") == pl.col("right")).with_columns(
        run=pl.col("same").cast(pl.UInt8).cum_min().over("_row")
    )
    counted = same.group_by("_row").agg(pl.col("run").cast(pl.UInt32).sum().alias("_shared"))
    whole = frame.with_row_index("_row").join(counted, on="_row", how="left", maintain_order="left").drop("_row")
    shared = pl.col("_shared").fill_null(0)
    whole = moved(whole, shared, {"chosen": "prompt", "rejected": ""}, below=True)
    return whole.with_columns(
        prompt=pl.col("chosen").list.head(shared).cast(MESSAGES),
        chosen=pl.col("chosen").list.slice(shared).cast(MESSAGES),
        rejected=pl.col("rejected").list.slice(shared).cast(MESSAGES),
    ).drop("_shared")


def other_pictures(images: pl.Series, prompt: pl.Series) -> pl.Series:
    """Whether the shared turns have other pictures on one side than on the other."""
    both = pl.DataFrame({"_row": pl.int_range(len(prompt), dtype=pl.UInt32, eager=True)})
    pictures = (
        pl.DataFrame({"images": images, "turns": prompt.list.len().cast(pl.Int32)})
        .with_row_index("_row")
        .filter(pl.col("images").list.len() > 0)
        .explode("images")
        .unnest("images")
        .filter(pl.col("message") < pl.col("turns"))
    )
    for side in ("chosen", "rejected"):
        seen = (
            pictures.filter(pl.col("side") == side).group_by("_row", maintain_order=True).agg(pl.col("uri").alias(side))
        )
        both = both.join(seen, on="_row", how="left", maintain_order="left")
    return both.select(pl.col("chosen").ne_missing(pl.col("rejected"))).to_series()


def moved(frame: pl.DataFrame, cut: pl.Expr, sides: Mapping[str, str], *, below: bool = False) -> pl.DataFrame:
    """`images` after a conversation was cut before message number `cut`, sorted by side, message and part.

    `sides`: old side -> new side of the pictures from the cut on, which are counted from there; with `below`, of those
    before the cut, the others being counted from it. A new side "" drops the picture.
    """
    if "images" not in frame.columns or not frame.select((pl.col("images").list.len() > 0).any()).item():
        return frame
    order = {"prompt": 0, "completion": 1, "chosen": 1, "rejected": 2}
    pictures = (
        frame.select("images", cut=cut.cast(pl.Int32))
        .with_row_index("_row")
        .filter(pl.col("images").list.len() > 0)
        .explode("images")
        .unnest("images")
    )
    late = pl.col("message") >= pl.col("cut")
    renamed = pl.col("side").replace(dict(sides))
    known = pl.col("side").is_in(list(sides))
    pictures = (
        pictures.with_columns(
            side=pl.when(known & (~late if below else late)).then(renamed).otherwise(pl.col("side")),
            message=pl.when(known & late).then(pl.col("message") - pl.col("cut")).otherwise(pl.col("message")),
        )
        .filter(pl.col("side") != "")
        .with_columns(_at=pl.col("side").replace_strict(order, return_dtype=pl.Int8))
        .sort(["_row", "_at", "message", "part"])
    )
    listed = pictures.group_by("_row", maintain_order=True).agg(
        pl.struct("uri", "side", "message", "part").cast(IMAGE).alias("images")
    )
    indexed = frame.drop("images").with_row_index("_row")
    return indexed.join(listed, on="_row", how="left", maintain_order="left").drop("_row")


def with_system(
    frame: pl.DataFrame, column: str, system: pl.Series, *, side: str = "prompt"
) -> tuple[pl.DataFrame, pl.Expr]:
    """`column` with the text of a column of system prompts as its first turn, and the rule true where the conversation
    begins with another one. No text, no turn. `images` of `side` move with their turns.
    """
    if system.dtype != pl.String:
        return frame, pl.lit(False)
    frame = frame.with_columns(_system=system)
    there = pl.col("_system").str.len_bytes() > 0
    first = pl.col(column).list.first()
    has = (first.struct.field("role") == "system").fill_null(False)
    grown = pl.concat_list(message("system", pl.col("_system")), pl.col(column))
    both = (there & has & (first.struct.field("content") != pl.col("_system"))).fill_null(False)
    changed = [pl.when(there & ~has).then(grown).otherwise(pl.col(column)).cast(MESSAGES).alias(column)]
    if frame.schema.get("images") == pl.List(IMAGE):
        one = pl.element().struct
        later = one.with_fields(message=one.field("message") + (one.field("side") == side).cast(pl.Int32))
        moved_ = pl.col("images").list.eval(later)
        changed.append(pl.when(there & ~has).then(moved_).otherwise(pl.col("images")).alias("images"))
    frame = frame.with_columns(*changed, _two=both).drop("_system")
    return frame, pl.lit(frame["_two"])


SCORES = ("score_chosen", "score_rejected")
"""Columns in which sets of pairs keep how their sides were rated (UltraFeedback's binarised sets, TRL's)."""


def common_rules(record_type: RecordType, rows: pl.DataFrame) -> dict[str, pl.Expr]:
    """Rules of every decoder: a row without a prompt or without an answer is none of its type, and none a pair of
    which the file says, in SCORES as numbers, that both sides are as good or the rejected one is better."""
    found = {"empty_prompt": pl.col("prompt").is_null()}
    answers = answers_of(record_type)
    if answers:
        found["no_answer"] = pl.any_horizontal(pl.col(side).is_null() for side in answers)
    if record_type is RecordType.PREFERENCE and all(
        name in rows.columns and rows.schema[name].is_numeric() for name in SCORES
    ):
        chosen, rejected = (rows[name].cast(pl.Float64).fill_nan(None) for name in SCORES)
        found |= {"tie": pl.lit(chosen == rejected), "worse_chosen": pl.lit(chosen < rejected)}
    return found


def boolean_label(
    frame: pl.DataFrame, column: str, *, labels: Mapping[str, bool] | None = None, binary: bool = False
) -> tuple[pl.DataFrame, pl.Expr]:
    """`label` (Boolean, null where there is none), and the rule true for values that are no label.

    Booleans only; `labels` maps other values by their text, which is "1" for the number 1.0 too; `binary`: the format
    itself writes 1 and 0.
    """
    dtype = frame.schema[column]
    value = pl.col(column)
    if dtype in (pl.Boolean, pl.Null):
        return frame.with_columns(label=value.cast(pl.Boolean)), pl.lit(False)
    if labels:
        text, meant = _as_text(value, dtype), dict(labels)
        if dtype.is_numeric():
            meant = {_whole(name): label for name, label in labels.items()}
        label = text.replace_strict(meant, default=None, return_dtype=pl.Boolean)
    elif binary and dtype.is_numeric():
        label = pl.when(value == 1).then(True).when(value == 0).then(False)
    else:
        label = pl.lit(None, pl.Boolean)
    frame = frame.with_columns(_label=value, label=label)
    return frame, pl.col("_label").is_not_null() & pl.col("label").is_null()


def _as_text(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """The text of a value, of a whole number without a point."""
    if not (dtype.is_float() or dtype.is_decimal()):
        return value.cast(pl.String)
    whole = value.cast(pl.Int64, strict=False)
    return (
        pl.when(whole.cast(pl.Float64) == value.cast(pl.Float64))
        .then(whole.cast(pl.String))
        .otherwise(value.cast(pl.String))
    )


def _whole(name: str) -> str:
    """`name` as `_as_text` writes it, where it is a whole number."""
    try:
        number_ = float(name)
    except ValueError:
        return name
    return str(int(number_)) if number_.is_integer() else name


def number(frame: pl.DataFrame, column: str) -> tuple[pl.DataFrame, pl.Expr]:
    """`frame` with `column` as a number, null where it is none, and the rule true there."""
    if column not in frame.columns or frame.schema[column] == pl.Null or frame.schema[column].is_numeric():
        return frame, pl.lit(False)
    given = frame[column].is_not_null()
    return frame.with_columns(pl.lit(None, pl.Float32).alias(column)), pl.lit(given)


def json_text(values: pl.Series) -> pl.Series:
    """A column of nested values (or of JSON text) as JSON text without what Arrow fills in; null stays. See `plain`.

    A batch kernel: only values that are there are looped over.
    """
    if values.dtype in (pl.String, pl.Null):
        return values.cast(pl.String)
    if not values.null_count() < len(values):
        return pl.Series([None] * len(values), dtype=pl.String)
    return pl.Series(
        [None if one is None else json.dumps(plain(one), ensure_ascii=False) for one in values.to_list()],
        dtype=pl.String,
    )
