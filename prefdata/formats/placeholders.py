"""Places of pictures: tags in a text (`<image>`), parts of a message, and the mark that canonical contents hold.

`images` of a canonical row are sorted by side (prompt first), message and part; the marks of a message's content stand
in the same order. `part` counts the parts of a message, texts and pictures alike, empty texts not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl

from prefdata.formats.messages import MARK, TOOL_CALLS
from prefdata.formats.picture_bytes import BARE, as_address, encoded
from prefdata.schema import IMAGE, MESSAGES

TAG = "<image>"


def tags_to_marks(
    frame: pl.DataFrame, uris: pl.Series, *, sides: Mapping[str, str], tag: str = TAG, lead: bool = False
) -> tuple[pl.DataFrame, pl.Series]:
    """`frame` (canonical MESSAGES in `sides`) with `images` set from `uris` (List(String)), and the rows refused.

    `sides`: column -> side that its pictures are said to stand in, in the order in which pictures are counted.
    In rows with pictures every tag becomes a mark; the n-th tag, sides and turns in order, is the n-th picture.
    Rows without pictures are left alone: there the tag is text. With `lead`, a row that has no tag at all gets its
    pictures before the text of the first user turn (TRL's rule). The second value is true where the numbers of
    pictures and tags differ, or the text holds a mark of its own.
    """
    height = frame.height
    has = uris.list.len().fill_null(0) > 0
    if not has.any():
        return (
            frame.with_columns(images=pl.lit(None, pl.List(IMAGE))),
            pl.Series([False] * height, dtype=pl.Boolean),
        )
    numbered = frame.with_row_index("_row").with_columns(_has=has, _uris=uris)
    part = numbered.filter("_has")
    if lead:
        part = _leading(part.with_columns(_tags=_count(sides, tag)), next(iter(sides)), tag).drop("_tags")
    bad = part.select("_row", bad=(_count(sides, tag) != pl.col("_uris").list.len()) | (_count(sides, MARK) > 0))
    part = part.with_columns(_swapped(side, tag, MARK) for side in sides)
    placed = places(part.select("_row", *sides), sides=sides)
    listed = (
        placed.with_columns(_at=pl.int_range(pl.len()).over("_row"))
        .join(part.select("_row", "_uris"), on="_row", how="left", maintain_order="left")
        .with_columns(uri=pl.col("_uris").list.get(pl.col("_at"), null_on_oob=True))
        .group_by("_row", maintain_order=True)
        .agg(pl.struct("uri", "side", "message", "part").cast(IMAGE).alias("images"))
    )
    part = part.drop("images", strict=False).join(listed, on="_row", how="left", maintain_order="left")
    rest = numbered.filter(~pl.col("_has")).with_columns(images=pl.lit(None, pl.List(IMAGE)))
    whole = pl.concat([rest, part.select(rest.columns)]).sort("_row")
    refused = whole.select("_row").join(bad, on="_row", how="left", maintain_order="left")["bad"].fill_null(False)
    columns = [name for name in frame.columns if name != "images"]
    return whole.select(*columns, "images"), refused


def places(frame: pl.DataFrame, *, sides: Mapping[str, str]) -> pl.DataFrame:
    """Every mark in the columns of `frame` (`_row` and MESSAGES columns): `_row`, side, message, part; in order."""
    found = []
    for number, (column, side) in enumerate(sides.items()):
        turns = (
            frame.select("_row", turn=column)
            .filter(pl.col("turn").list.len() > 0)
            .explode("turn")
            .with_columns(message=pl.int_range(pl.len(), dtype=pl.Int32).over("_row"))
            .select("_row", "message", text=pl.col("turn").struct.field("content"))
            .filter(pl.col("text").str.contains(MARK, literal=True))
            .with_columns(text=pl.col("text").str.split(MARK))
            .with_row_index("_turn")
            .explode("text")
            .with_columns(last=pl.int_range(pl.len()).over("_turn") == pl.len().over("_turn") - 1)
        )
        # before the n-th mark stand n texts, the empty ones of which are no parts, and n marks
        texts = (pl.col("text").str.len_bytes() > 0).cast(pl.Int32).cum_sum().over("_turn")
        marks = pl.int_range(pl.len(), dtype=pl.Int32).over("_turn")
        found.append(
            turns.with_columns(part=texts + marks)
            .filter(~pl.col("last"))
            .select("_row", pl.lit(side).alias("side"), "message", "part", _side=pl.lit(number))
        )
    return pl.concat(found).sort(["_row", "_side", "message", "part"]).drop("_side")


def marks_to_tags(side: str, *, tag: str = TAG) -> pl.Expr:
    """A MESSAGES column with tags for marks; for rows that have pictures."""
    return _swapped(side, MARK, tag)


def tagged(sides: Sequence[str], *, tag: str = TAG) -> list[pl.Expr]:
    """MESSAGES columns with tags for marks in the rows that have pictures; in others a mark is a character."""
    has = pl.col("images").list.len().fill_null(0) > 0
    return [pl.when(has).then(marks_to_tags(side, tag=tag)).otherwise(pl.col(side)).alias(side) for side in sides]


def uris() -> pl.Expr:
    """The addresses of a row's pictures in order, List(String); null where there are none."""
    return pl.col("images").list.eval(pl.element().struct.field("uri"))


def _swapped(side: str, old: str, new: str) -> pl.Expr:
    element = pl.element()
    return (
        pl.col(side)
        .list.eval(
            pl.struct(
                role=element.struct.field("role"),
                content=element.struct.field("content").str.replace_all(old, new, literal=True),
                tool_calls=element.struct.field("tool_calls"),
            )
        )
        .cast(MESSAGES)
        .alias(side)
    )


def _count(sides: Iterable[str], text: str) -> pl.Expr:
    return pl.sum_horizontal(
        [
            pl.col(side)
            .list.eval(pl.element().struct.field("content").str.count_matches(text, literal=True))
            .list.sum()
            .fill_null(0)
            for side in sides
        ]
    )


def _leading(part: pl.DataFrame, side: str, tag: str) -> pl.DataFrame:
    """Rows without any tag get theirs before the text of the first user turn; all of `part` in its order."""
    bare = part.filter(pl.col("_tags") == 0)
    turns = (
        bare.select("_row", turn=side, tags=pl.lit(tag).repeat_by(pl.col("_uris").list.len()).list.join(""))
        .explode("turn")
        .unnest("turn")
        .with_columns(users=(pl.col("role") == "user").cum_sum().over("_row"))
        .with_columns(
            content=pl.when((pl.col("role") == "user") & (pl.col("users") == 1))
            .then(pl.col("tags") + pl.col("content"))
            .otherwise(pl.col("content"))
        )
    )
    grown = turns.group_by("_row", maintain_order=True).agg(pl.struct("role", "content", "tool_calls").alias("_grown"))
    joined = part.join(grown, on="_row", how="left", maintain_order="left")
    return joined.with_columns(pl.coalesce("_grown", side).cast(MESSAGES).alias(side)).drop("_grown")


def fill(found: pl.Series, uris: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Pictures that stand as parts in the messages, with the addresses that a column beside them gives.

    `found` (List(IMAGE)): the parts in order, most without an address; `uris` (List(String)). The n-th part without an
    address gets the n-th address. The second value is true where their numbers differ.
    """
    frame = pl.DataFrame({"found": found, "uris": uris}).with_row_index("_row")
    parts = (
        frame.filter(pl.col("found").list.len() > 0)
        .explode("found")
        .unnest("found")
        .with_columns(open=pl.col("uri").is_null())
        .with_columns(at=(pl.col("open").cum_sum() - 1).over("_row"))
        .with_columns(
            uri=pl.when("open").then(pl.col("uris").list.get(pl.col("at"), null_on_oob=True)).otherwise(pl.col("uri"))
        )
    )
    listed = parts.group_by("_row", maintain_order=True).agg(
        pl.struct("uri", "side", "message", "part").cast(IMAGE).alias("images"), pl.col("open").sum().alias("open")
    )
    joined = frame.join(listed, on="_row", how="left", maintain_order="left")
    bad = joined.select(pl.col("open").fill_null(0) != pl.col("uris").list.len().fill_null(0)).to_series()
    return joined["images"].cast(pl.List(IMAGE)), bad


def placed(
    frame: pl.DataFrame, rows: pl.DataFrame, found: pl.Series, *, sides: Mapping[str, str]
) -> tuple[pl.DataFrame, pl.Expr]:
    """`frame` with `images`, and the rule true where pictures and places do not fit; TRL's reading.

    `rows`: the file's columns, of which `images` or `image` give addresses; `found`: the pictures that stand as parts.
    A row without such parts gets its pictures before the text of the first user turn.
    """
    uris, both = uris_beside(rows, ("images", "image"))
    parts_there = found.list.len().fill_null(0) > 0
    bare = pl.select(pl.when(~parts_there).then(uris)).to_series()
    frame, wrong = tags_to_marks(frame, bare, sides=sides, tag="\x00", lead=True)
    if parts_there.any():
        filled, odd = fill(found, pl.select(pl.when(parts_there).then(uris)).to_series())
        images = pl.select(pl.when(parts_there).then(filled).otherwise(frame["images"])).to_series()
        frame, wrong = frame.with_columns(images.alias("images")), wrong | odd
    return frame, pl.lit(wrong | both)


def uris_beside(rows: pl.DataFrame, names: Iterable[str]) -> tuple[pl.Series, pl.Series]:
    """Addresses of pictures in that one of the columns `names` that has some in a row, and whether two have others."""
    uris = pl.Series([None] * rows.height, dtype=pl.List(pl.String))
    both = pl.Series([False] * rows.height, dtype=pl.Boolean)
    for name in [one for one in names if one in rows.columns]:
        more = uris_of(rows[name])
        there, known = (one.list.len().fill_null(0) > 0 for one in (more, uris))
        both = both | (there & known & more.ne_missing(uris))
        uris = pl.select(pl.when(known).then(uris).otherwise(more)).to_series()
    return uris, both


def uris_of(values: pl.Series) -> pl.Series:
    """Addresses of pictures, List(String), of a column of addresses, of lists of them, of Hugging Face's
    `{"bytes", "path"}`, or of `{"image"}`; bytes become `data:` addresses. Null where there are none, and where a
    picture has neither address nor bytes."""
    if values.dtype == pl.Null:
        return values.cast(pl.List(pl.String))
    if values.dtype == pl.String:
        values = values.replace("", None)
    if not isinstance(values.dtype, pl.List):
        values = pl.select(pl.when(values.is_not_null()).then(pl.concat_list(values))).to_series()
    inner = values.dtype.inner  # type: ignore[attr-defined]
    if isinstance(inner, pl.Struct):
        names = [one.name for one in inner.fields]
        key = next((name for name in ("path", "url", "image") if name in names), None)
        address = pl.element().struct.field(key) if key else pl.lit(None, pl.String)
        if "bytes" in names:  # beside bytes, a path is only the name that the picture once had
            inside = encoded(pl.element().struct.field("bytes"), _dtype_of(inner, "bytes"))
            address = pl.coalesce(as_address(inside), address)
        values = values.list.eval(address)
    elif inner in (pl.String, pl.Binary):
        text = encoded(pl.element(), inner)
        bare = pl.lit(True) if inner == pl.Binary else text.str.contains(BARE)
        values = values.list.eval(pl.when(bare).then(as_address(text)).otherwise(text))
    if values.dtype not in (pl.List(pl.String), pl.List(pl.Null)):
        nothing = pl.when(pl.element().is_null()).then(pl.lit(None, pl.String))
        values = values.list.eval(nothing)  # no addresses, and yet as many pictures
    return values.cast(pl.List(pl.String))


def _dtype_of(struct: pl.Struct, name: str) -> Any:
    return next(one.dtype for one in struct.fields if one.name == name)


def without_address() -> pl.Expr:
    """A picture of the row has none."""
    uri = pl.element().struct.field("uri")
    return pl.col("images").list.eval(uri.is_null() | (uri == "")).list.any()


def parts(side: str, *, tool_calls: bool = False) -> pl.Expr:
    """A MESSAGES column as messages whose content is a list of parts, `{"type": "text"|"image", "text"}`: in rows with
    pictures they stand where their marks stood, in others a mark is a character. Empty text is no part.

    `tool_calls` writes them as TOOL_CALLS.
    """
    has = pl.col("images").list.len().fill_null(0) > 0
    return pl.when(has).then(_parts(side, MARK, tool_calls)).otherwise(_parts(side, None, tool_calls))


def _parts(side: str, mark: str | None, tool_calls: bool) -> pl.Expr:
    element = pl.element()
    content = element.struct.field("content")
    if mark is None:
        texts = pl.concat_list(content)
    else:
        pieces_ = content.str.split(mark)
        # "a<mark>b" -> ["a", null, "b"]: a null between the texts is a picture
        texts = pieces_.list.eval(pl.concat_list(pl.element(), pl.lit(None, pl.String)).explode()).list.head(
            pieces_.list.len() * 2 - 1
        )
    listed = texts.list.eval(pl.element().filter((pl.element() != "").fill_null(True)))
    blocks = listed.list.eval(
        pl.struct(
            type=pl.when(pl.element().is_null()).then(pl.lit("image")).otherwise(pl.lit("text")), text=pl.element()
        )
    )
    fields = [element.struct.field("role"), blocks.alias("content")]
    if tool_calls:
        fields.append(element.struct.field("tool_calls").str.json_decode(TOOL_CALLS))
    return pl.col(side).list.eval(pl.struct(fields))
