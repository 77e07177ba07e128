"""Which rows speak of the same picture: what ties them into one group, and what tells a picture's own captions."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from prefdata.build.built import moved_images
from prefdata.build.pairs import joined_groups
from prefdata.schema import stable_hash
from prefdata.text import contents, joined_text

MARK = "￼"
"""Where a picture stands in a text, as in prefdata.formats.messages."""

CLUSTERS = pl.Schema({"uri": pl.String(), "cluster": pl.String()})
"""Pictures that are duplicates of each other, by the name of their cluster; a picture that is not there is alone."""

SAYINGS = pl.Schema({"text": pl.String(), "pictures": pl.List(pl.String())})
"""What is said of pictures, each of them by its name."""


def prompt_pictures(images: str = "images") -> pl.Expr:
    """The addresses of the pictures of a row's prompt, List(String), in order; null where there is none."""
    return moved_images(images, {"prompt": "prompt"}).list.eval(pl.element().struct.field("uri"))


def has_picture() -> pl.Expr:
    """Whether the prompt of a row has a picture."""
    return prompt_pictures().list.len().fill_null(0) > 0


def picture_keys(rows: pl.DataFrame, clusters: pl.DataFrame | None = None) -> pl.Series:
    """What the pictures of each row's prompt are, as one text: equal where they are the same or duplicates; null where
    there is none."""
    named = _pictures(rows, clusters).group_by("_row", maintain_order=True).agg(pl.col("picture").str.join("\x1f"))
    numbered = rows.select("id").with_row_index("_row")
    return numbered.join(named, on="_row", how="left", maintain_order="left")["picture"].alias("picture")


def picture_lists(rows: pl.DataFrame, clusters: pl.DataFrame | None = None) -> pl.Series:
    """The pictures of each row's prompt, List(String), each once and sorted: rows are about one picture where the lists
    of two share a name. Empty where there is none."""
    named = _pictures(rows, clusters).group_by("_row", maintain_order=True).agg(pl.col("picture").unique().sort())
    numbered = rows.select("id").with_row_index("_row").join(named, on="_row", how="left", maintain_order="left")
    return numbered.select(pictures=pl.col("picture").fill_null([])).to_series()


def sayings(rows: pl.DataFrame, answers: Sequence[str], clusters: pl.DataFrame | None = None) -> pl.DataFrame:
    """SAYINGS: what the `answers` of rows say of the pictures of their prompts, named as `picture_lists` does."""
    shown = picture_lists(rows, clusters)
    parts = [rows.select(shown, text=joined_text(side)).select(SAYINGS.names()).cast(SAYINGS) for side in answers]
    every = pl.concat([SAYINGS.to_frame(), *parts])
    return every.filter(pl.col("pictures").list.len() > 0, pl.col("text").str.strip_chars() != "").unique().sort("text")


def picture_groups(rows: pl.DataFrame, clusters: pl.DataFrame | None = None) -> pl.Series:
    """The group of each row: one for all rows that a picture, a duplicate of it, or a `group` of theirs connects.

    A row of one picture alone is named after the content of that picture, whatever other rows there are.
    """
    pictures = _pictures(rows, clusters)
    names = stable_hash([pictures["picture"]], purpose="picture")
    own = rows["group"] if "group" in rows.columns else pl.Series([None] * rows.height, dtype=pl.String)
    numbered = pl.DataFrame({"_row": pl.int_range(rows.height, dtype=pl.UInt32, eager=True), "group": own})
    parts = [pictures.select("_row", names.alias("name")), numbered.select("_row", name="group").drop_nulls()]
    tied = pl.concat(parts).sort("_row", "name")
    tied = tied.with_columns(first=pl.col("name").first().over("_row"))
    tied = tied.with_columns(joined_groups(tied["first"], tied["name"]))
    found = tied.group_by("_row", maintain_order=True).agg(pl.col("group").min())
    return numbered.select("_row").join(found, on="_row", how="left", maintain_order="left")["group"]


def asked(side: str = "prompt") -> pl.Expr:
    """All that is said in a prompt, without the places of pictures and outer white space: "" for a picture alone."""
    return contents(side).list.join("\n").str.replace_all(MARK, " ", literal=True).str.strip_chars()


def _pictures(rows: pl.DataFrame, clusters: pl.DataFrame | None) -> pl.DataFrame:
    """`_row` and `picture` of every picture of every prompt: its cluster's name, else its address."""
    found = (
        rows.select(picture=prompt_pictures())
        .with_row_index("_row")
        .filter(pl.col("picture").list.len() > 0)
        .explode("picture")
    )
    if clusters is not None:
        found = found.join(clusters, left_on="picture", right_on="uri", how="left", maintain_order="left")
        found = found.select("_row", picture=pl.coalesce("cluster", "picture"))
    return found.drop_nulls("picture")
