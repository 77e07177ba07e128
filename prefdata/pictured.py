"""The column `pictures` that scorers and groupings are given: what is known of each picture of a row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from prefdata.pictures import Pictures


MEASURES = ("width", "height", "blur", "entropy", "brightness", "contrast")
"""What is measured in a picture, and may decide what is said of it."""


def pictures_of(frame: pl.DataFrame, sides: Sequence[str], pictures: Pictures | None) -> pl.Series:
    """The pictures of every row that stand in `sides`, a list of prefdata.pictures.SEEN; null where there are none."""
    from prefdata.pictures import SEEN

    if "pictures" in frame.columns:
        here = pl.element().struct.field("side").is_in(list(sides))
        listed = frame.select(pl.col("pictures").list.eval(pl.element().filter(here)))["pictures"]
    elif pictures is not None and "images" in frame.columns:
        sources = frame["source"].cast(pl.String) if "source" in frame.columns else None
        listed = pictures.seen(frame["images"], tuple(dict.fromkeys(sides)), sources=sources)
    else:
        return pl.Series("pictures", [None], dtype=pl.List(SEEN)).new_from_index(0, frame.height)
    return listed.to_frame("p").select(pl.when(pl.col("p").list.len() > 0).then("p").alias("pictures")).to_series()


def identity(pictures: pl.Series) -> pl.Series:
    """What tells lists of pictures apart: their pixels and places, as one text."""
    names = ("pixels", "side", "message", "part")
    element = pl.element()
    one = pl.concat_str([element.struct.field(name).cast(pl.String).fill_null("") for name in names], separator="\x1f")
    return pictures.to_frame("p").select(pl.col("p").list.eval(one).list.join("\x1e")).to_series()


def contents(images: pl.Series, table: pl.DataFrame) -> pl.Series:
    """Of every row what may be seen in its pictures, as one text, empty where it has none; what caches key on."""
    height = len(images)
    shown = pl.DataFrame({"images": images}).with_row_index("_row").filter(pl.col("images").list.len() > 0)
    named = shown.select("images").explode("images").unnest("images").select("uri").unique()
    file = pl.col("uri").min().over("pixels").alias("file")
    columns = table.select("pixels", "uri", *MEASURES, at=pl.coalesce("uri", "address"))
    alike = columns.join(named, left_on="at", right_on="uri", how="semi").select("pixels").drop_nulls().unique()
    measured = (
        columns.join(alike, on="pixels", how="semi", maintain_order="left")
        .select(uri="at", said=pl.struct("pixels", file, *MEASURES).struct.json_encode())
        .group_by("uri", maintain_order=True)
        .agg(pl.col("said").unique().sort().str.join("\x1e"))
    )
    told = (
        shown.explode("images")
        .unnest("images")
        .join(measured, on="uri", how="left", maintain_order="left")
        .group_by("_row", maintain_order=True)
        .agg(pl.format("{}:{}", "side", pl.col("said").fill_null("")).str.join("\x1f").alias("said"))
    )
    every = pl.DataFrame({"_row": pl.int_range(height, dtype=pl.UInt32, eager=True)})
    return every.join(told, on="_row", how="left", maintain_order="left")["said"].fill_null("")
