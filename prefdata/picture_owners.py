"""Whose pictures are: what is left of the table of a run's pictures when customers are forgotten.

A row with a picture may be refused, or be left out later, so that no record tells any more whose the picture was. For
those a run keeps the customer's hash beside the address, as long as it keeps the address.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import polars as pl

from prefdata.erased import CUSTOMERS
from prefdata.schema import stable_hash

OWNED = pl.Schema({"source": pl.String(), "address": pl.String(), "customer": pl.String()})
"""An address, and a customer in whose rows it stood; null where a row names none."""

NAMES = ["source", "at"]


def at() -> pl.Expr:
    """What rows call a picture of the table: its place in the store, else the address it came by."""
    return pl.coalesce("uri", "address")


def pairs(frames: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """`source` and `at` of every picture in rows with `source` and `images`, each once."""
    empty = pl.DataFrame(schema={"source": pl.String, "at": pl.String})
    listed = [
        frame.select("source", at=pl.col("images").list.eval(pl.element().struct.field("uri")))
        .filter(pl.col("at").list.len() > 0)
        .explode("at")
        for frame in frames
    ]
    return pl.concat([empty, *listed]).unique().sort("source", "at")


def owned_of(rows: pl.DataFrame, shown: pl.DataFrame, source: str, *, hashed: bool) -> pl.DataFrame:
    """OWNED of rows, whose customer is in `meta`, as it is where it is not `hashed` yet.

    `shown` has `_row`, a row's number, and `address` for each of its pictures.
    """
    own = pl.Series("customer", [None], dtype=pl.String).new_from_index(0, rows.height)
    if "meta" in rows.columns:
        own = rows.select(customer=pl.col("meta").str.json_path_match("$.customer"))["customer"]
    if not hashed and own.null_count() < own.len():
        made = stable_hash([pl.repeat(source, own.len(), eager=True, dtype=pl.String), own], purpose="customer")
        own = pl.select(customer=pl.when(own.is_not_null()).then(made)).to_series()
    named = shown.select("_row", "address").join(own.to_frame().with_row_index("_row"), on="_row")
    return named.select(pl.lit(source).alias("source"), "address", "customer").unique()


def untold(owned: pl.DataFrame, table: pl.DataFrame, records: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Those of `owned` that no record tells: none of that customer has the picture. OWNED, sorted, each once.

    `owned` and the `table` of pictures are of one source; records hold `meta` and `images`.
    """
    if owned["customer"].null_count() == owned.height:
        return OWNED.to_frame()
    told = [
        frame.select("images", "source", customer=pl.col("meta").str.json_path_match(path))
        for frame in records
        for path in CUSTOMERS
    ]
    known = [
        frame.select("customer", at=pl.col("images").list.eval(pl.element().struct.field("uri")))
        .filter(pl.col("at").list.len() > 0)
        .explode("at")
        .unique()
        for frame in told
    ]
    named = owned.unique().join(table.select("address", at=at()).unique("address"), on="address", how="left")
    left = named.join(pl.concat(known), on=["at", "customer"], how="anti", nulls_equal=True) if known else named
    return left.select(OWNED.names()).sort(OWNED.names())


def theirs(owned: pl.DataFrame, forgotten: Mapping[str, Sequence[str]]) -> pl.Series:
    """Which rows of OWNED are of the customers `forgotten`, given as source -> hashes."""
    found = pl.repeat(False, owned.height, eager=True, dtype=pl.Boolean)
    for source, hashes in sorted(forgotten.items()):
        found |= (owned["source"] == source) & owned["customer"].is_in(list(hashes)).fill_null(False)
    return found


def settled(
    table: pl.DataFrame, *, used: pl.DataFrame, gone: pl.DataFrame, gone_owned: pl.DataFrame, owned: pl.DataFrame
) -> pl.DataFrame:
    """The table, sorted, without what only forgotten customers had; `used` tells what records have, the rest is told
    of nobody's record.

    `used` and `gone`: `pairs` of the records that stay, and of those forgotten; `gone_owned` and `owned`: OWNED of the
    customers forgotten, and of the others. Equal pixels are one picture to records, so that of a picture which both
    have any address may name who is forgotten: it has one row then, named by its pixels, and its files are watched no
    more. A picture that has one address alone keeps it: the other's rows name it, too.
    """
    marks = {
        "_used": (used, NAMES),
        "_gone": (gone, NAMES),
        "_named": (gone_owned.select("source", "address").unique(), ["source", "address"]),
        "_else": (owned.select("source", "address").unique(), ["source", "address"]),
    }
    marked = table.with_columns(at=at()).sort("source", "address")
    for name, (which, by) in marks.items():
        there = which.with_columns(pl.lit(True).alias(name))
        marked = marked.join(there, on=by, how="left", maintain_order="left").with_columns(
            pl.col(name).fill_null(False)
        )
    alone = marked.filter(~pl.col("_used") & ~((pl.col("_gone") | pl.col("_named")) & ~pl.col("_else")))
    shown = marked.filter("_used")
    several = pl.col("address").n_unique().over(NAMES) > 1
    shown = shown.with_columns(_both=(pl.col("_gone") | pl.col("_named")).any().over(NAMES) & several)
    named = (
        shown.filter("_both")
        .unique(NAMES, keep="first", maintain_order=True)
        .with_columns(address=pl.format("pixels:{}", pl.col("pixels").str.slice(0, 16)))
    )
    found = pl.concat([alone, shown.filter(~pl.col("_both")).drop("_both"), named.drop("_both")])
    return found.with_columns(used="_used").drop("at", *marks).sort("source", "address")
