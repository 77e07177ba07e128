"""Addresses of pictures: a data file means paths from its own folder; here they are seen from the root of all files.

Of two files `train/metadata.jsonl` and `test/metadata.jsonl` that both name `x.png` the pictures are two.
"""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from prefdata.schema import IMAGE

ELSEWHERE = r"^(?:[A-Za-z][A-Za-z0-9+.-]*:|[/\\])"
"""How an address begins that is no path seen from the data: with a scheme, a drive, a root."""

INSIDE = r"(?i)^(.*?\.zip)!.*$"
"""A file within an archive, as it is named: behind the archive's name."""


def seen_from_root(uri: pl.Expr, file: pl.Expr) -> pl.Expr:
    """An address of the data file `file`, which is named from the root, as seen from there.

    Files in an archive mean the folder that the archive lies in.
    """
    folder = file.str.replace(INSIDE, "$1").str.replace(r"[^/]*$", "").fill_null("")
    return pl.when(uri.str.contains(ELSEWHERE)).then(uri).otherwise(folder + uri)


def from_root(rows: pl.DataFrame, *, only: Callable[[str], bool] | None = None) -> pl.DataFrame:
    """`rows` (`_file`, `images`) with all addresses seen from the root; with `only`, those that it is true of then."""
    if "images" not in rows.columns or rows["images"].null_count() == rows.height:
        return rows
    inner = (pl.col("images").list.len() > 0) & pl.col("_file").str.contains("/", literal=True)
    shown = rows.with_row_index("_row").filter(inner).select("_row", "_file", "images")
    if shown.is_empty():
        return rows
    parts = shown.explode("images").unnest("images")
    parts = parts.with_columns(_seen=seen_from_root(pl.col("uri"), pl.col("_file")))
    if only is not None:
        known = {one: only(one) for one in parts["_seen"].drop_nulls().unique(maintain_order=True)}
        taken = pl.Series([one is not None and known[one] for one in parts["_seen"]], dtype=pl.Boolean)
        parts = parts.with_columns(_seen=pl.when(taken).then("_seen").otherwise("uri"))
    lists = parts.group_by("_row", maintain_order=True).agg(
        pl.struct(uri="_seen", side="side", message="message", part="part").cast(IMAGE).alias("_images")
    )
    whole = rows.with_row_index("_row").join(lists, on="_row", how="left", maintain_order="left")
    return whole.with_columns(images=pl.coalesce("_images", "images")).select(rows.columns)
