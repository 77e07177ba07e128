"""The pictures of scored items, one a line, as the scorers that open them need them."""

from __future__ import annotations

import polars as pl


def pictures_of(items: pl.DataFrame) -> pl.DataFrame:
    """`row`, `place`, `picture` (by its content), `path`: a line for each stored picture of the items.

    A picture that was not stored has no path and is passed over.
    """
    rows = items.select(row=pl.int_range(pl.len(), dtype=pl.UInt32))
    if "pictures" not in items.columns or items.schema["pictures"] == pl.Null:
        return pl.DataFrame(schema={"row": pl.UInt32, "place": pl.UInt32, "picture": pl.String, "path": pl.String})
    element = pl.element().struct
    narrow = items.select(
        pl.col("pictures").list.eval(
            pl.struct(pixels=element.field("pixels").cast(pl.String), path=element.field("path"))
        )
    )
    listed = rows.hstack(narrow).filter(pl.col("pictures").list.len() > 0).explode("pictures").unnest("pictures")
    placed = listed.with_columns(place=pl.int_range(pl.len(), dtype=pl.UInt32).over("row"))
    return placed.filter(pl.col("path").is_not_null()).select(
        "row", "place", pl.coalesce("pixels", "path").alias("picture"), "path"
    )
