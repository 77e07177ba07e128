"""Pictures of a dataset as a trainer will look for them: named in every row or in none, and there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from prefdata.auditing.check import Check
from prefdata.auditing.dataset import Audited
from prefdata.auditing.finding import Found, Levels
from prefdata.formats.screens import has_pictures
from prefdata.schema import RecordType

ELSEWHERE = r"^(?i)(https?|data|s3|gs|hf|file|az|oss):"
"""Addresses that are no paths of files here."""


def _beside(check: Check, options: Mapping[str, Any]) -> Check:
    """The check with the folders in which relative paths are looked for: those of the data, and the present one."""
    return replace(check, collect=_looking(tuple(options.get("folders", ())) or (Path(),)))


def _looking(folders: Sequence[Path]) -> Any:
    known: dict[str, bool] = {}

    def there(path: str) -> bool:
        if path not in known:
            known[path] = any(_is_file(folder, path) for folder in folders)
        return known[path]

    def collect(chunk: pl.DataFrame, record_type: RecordType) -> pl.DataFrame:
        """`row` and how many of its pictures are local and not there; rows without such pictures are left out."""
        if not has_pictures(chunk):
            return pl.DataFrame(schema={"row": pl.UInt32, "missing": pl.UInt32})
        named = (
            chunk.lazy()
            .select("row", uri=pl.col("images").list.eval(pl.element().struct.field("uri")))
            .explode("uri", empty_as_null=True)
            .filter(pl.col("uri").is_not_null() & ~pl.col("uri").str.contains(ELSEWHERE))
            .collect()
        )
        paths = named["uri"].unique()
        gone = paths.filter(pl.Series([not there(path) for path in paths], dtype=pl.Boolean))
        return (
            named.filter(pl.col("uri").is_in(gone.implode()))
            .group_by("row", maintain_order=True)
            .agg(missing=pl.len().cast(pl.UInt32))
        )

    return collect


def _is_file(folder: Path, path: str) -> bool:
    try:
        return (folder / path).is_file()
    except (OSError, ValueError):  # a name too long, a NUL in it
        return False


def _missing(data: Audited) -> Found:
    rows = data.collected["missing_pictures"]
    return Found(rows=rows["row"], measures={"pictures": int(rows["missing"].sum())} if rows.height else {})


def _some(data: Audited) -> Found:
    """Rows without a picture, where others have some."""
    counts = data.collected["pictures_in_some_rows"]
    bare = counts.filter(pl.col("pictures") == 0)["row"]
    with_pictures = counts.height - len(bare)
    if not with_pictures or not len(bare):
        return Found()
    return Found(
        rows=bare, measures={"with_pictures": with_pictures, "most_in_a_row": int(counts["pictures"].to_numpy().max())}
    )


def _counted(chunk: pl.DataFrame, record_type: RecordType) -> pl.DataFrame:
    return chunk.select("row", pictures=pl.col("images").list.len().fill_null(0).cast(pl.UInt32))


MISSING_PICTURES = Check(
    name="missing_pictures",
    family="form",
    title="A picture that a row names is not there",
    why="The trainer stops at the first such row, often hours into the run.",
    cure="Put the pictures beside the data, or leave the rows out.",
    levels=Levels(critical=0.01, major=0),
    collect=_looking((Path(),)),
    find=_missing,
    prepare=_beside,
)

PICTURES_IN_SOME_ROWS = Check(
    name="pictures_in_some_rows",
    family="form",
    title="The row has no picture where others have some",
    why="TRL takes the whole set for one of pictures by its column; a micro-batch without a picture fails in several "
    "processors.",
    cure="Train the rows with and without pictures as two sets.",
    source="TRL data collators: `images` in the columns makes a vision set",
    levels=Levels(),
    collect=_counted,
    find=_some,
)
