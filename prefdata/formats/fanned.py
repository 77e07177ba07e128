"""Rows of a file that hold several answers each: pieces for the builders of pairs, and their result as an Outcome."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import polars as pl

from prefdata.build.built import Built
from prefdata.formats.core import PLACES, REFUSED, ROW, Outcome, pieces
from prefdata.formats.shapes import json_text
from prefdata.schema import SCHEMAS, RecordType

SOURCE = "file"

SEPARATOR = ":"


def keyed(rows: pl.DataFrame, *, spare: Sequence[str]) -> pl.DataFrame:
    """`rows` with `_key`, a text that names the row (its line where it has one), and `meta`, JSON text of `spare`."""
    number = pl.col("_line").cast(pl.Int64) if "_line" in rows.columns else pl.int_range(pl.len(), dtype=pl.Int64)
    meta = json_text(rows.select(pl.struct(spare)).to_series()) if spare else pl.lit(None, pl.String)
    return rows.with_columns(_key=pl.format("{}", number).str.zfill(10), meta=meta)


def numbered(answers: pl.DataFrame) -> pl.DataFrame:
    """One row an answer, with `_key` of its row: `id`, `key` and `source` as builders want them."""
    at = pl.int_range(pl.len(), dtype=pl.Int64).over("_key")
    return answers.with_columns(
        id=pl.format("{}" + SEPARATOR + "{}", "_key", at.cast(pl.String).str.zfill(4)),
        key=pl.col("_key"),
        source=pl.lit(SOURCE),
    )


def outcome(rows: pl.DataFrame, built: Built, *, path: str, also: Iterable[pl.DataFrame] = ()) -> Outcome:
    """What builders made of the rows of a file (`keyed`), as an Outcome.

    `path`: where the evidence of a made row names an answer of it, as a JSON path. A row of the file that gave no pair
    is refused with all reasons of its candidates. `also`: (`_key`, `reasons`) of rows that no candidate came from.
    """
    names = [name for name in SCHEMAS[RecordType.PREFERENCE] if name in built.rows.columns]
    made = built.rows.select(names).with_columns(
        _key=pl.col("evidence").str.json_path_match(path).str.split(SEPARATOR).list.first()
    )
    origin = rows.select("_key", *[name for name in PLACES if name in rows.columns]).with_row_index("_origin")
    made = made.join(origin, on="_key", how="left").sort("_origin", "id")
    unmade = built.unmade.with_columns(_key=pl.col("id").str.split(SEPARATOR).list.first()).select("_key", "reasons")
    without = pl.concat([unmade, *[one.select("_key", "reasons") for one in also]])
    partly = without.join(made, on="_key", how="semi")
    counts = partly.explode("reasons").group_by("reasons").len().sort("reasons")
    reasons = without.explode("reasons").group_by("_key").agg(pl.col("reasons").unique().sort())
    refused = (
        rows.select("_key")
        .with_row_index(ROW)
        .join(made, on="_key", how="anti")
        .join(reasons, on="_key", how="left", maintain_order="left")
        .select(ROW, pl.col("reasons").fill_null(pl.lit(["no_pair"], pl.List(pl.String))))
        .sort(ROW)
        .cast(REFUSED)
    )
    return Outcome(pieces(made, RecordType.PREFERENCE), refused, dict(counts.iter_rows()))
