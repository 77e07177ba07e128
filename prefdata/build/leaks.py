"""What stands on both sides of a split: prompts, replies, exchanges, sessions, customers, near-duplicates.

Two frames of rows in, counts and ids out; no text. Near-duplicates are looked for by the grouping that is handed in.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from prefdata.errors import InputError, SchemaError
from prefdata.judging import Grouping
from prefdata.schema import stable_hash
from prefdata.text import joined_text, last_user_text

LONG_REPLY = 80
"""Characters from which on an equal reply is counted as `long_reply` too: shorter ones are mostly courtesies."""

EXAMPLES = 3
"""Pairs of ids named for each kind."""

ANSWERS = ("completion", "chosen", "rejected")

KINDS = ("customer", "session", "prompt", "exchange", "reply", "long_reply")
"""What two rows can share by an equal value; `exchange` is the last customer turn with the reply."""


class Leak(NamedTuple):
    """One kind of thing that both sides hold.

    `values` distinct ones, in `left` rows of the one side and `right` of the other;
    `examples` are pairs of ids, left and right.
    """

    kind: str
    values: int
    left: int
    right: int
    examples: list[list[str]]


def leaks(left: pl.DataFrame, right: pl.DataFrame, *, groupings: Sequence[Grouping] = ()) -> list[Leak]:
    """What `left` and `right` share, a Leak for each kind that both sides have values of, also where it is zero.

    Rows have messages or text in `prompt` and in `completion`, or `chosen` and `rejected`; `id` (else they are
    numbered from 0) and `meta` (session, customer) where there are any. Each grouping is one kind more: its clusters.
    Raises SchemaError for rows without prompt and answer.
    """
    one, other = keys(left), keys(right)
    for grouping in groupings:
        clusters = alike(left, right, grouping)
        one, other = (pl.concat([had, more]) for had, more in zip((one, other), clusters, strict=True))
    return shared(one, other, also=[grouping.name for grouping in groupings])


def shared(left: pl.DataFrame, right: pl.DataFrame, *, also: Sequence[str] = ()) -> list[Leak]:
    """`leaks` of two frames whose `keys` are known; kinds named in `also` are told whoever has values of them."""
    found = []
    for kind in (*KINDS, *also):
        pairs = [frame.filter(pl.col("kind") == kind).select("id", "value") for frame in (left, right)]
        if kind in also or (pairs[0].height and pairs[1].height):
            found.append(_shared(kind, *pairs))
    return found


def _shared(kind: str, left: pl.DataFrame, right: pl.DataFrame) -> Leak:
    in_left, in_right = left.join(right, on="value", how="semi"), right.join(left, on="value", how="semi")
    firsts = in_left.group_by("value").agg(pl.col("id").min().alias("left"))
    firsts = firsts.join(in_right.group_by("value").agg(pl.col("id").min().alias("right")), on="value")
    named = firsts.sort("left", "right").head(EXAMPLES).select("left", "right")
    return Leak(
        kind,
        firsts.height,
        in_left["id"].n_unique(),
        in_right["id"].n_unique(),
        [list(row) for row in named.iter_rows()],
    )


def keys(rows: pl.DataFrame) -> pl.DataFrame:
    """`id`, `kind`, `value` (a hash): every value by which a row can meet one of another frame."""
    rows = with_ids(rows)
    answers = [name for name in ANSWERS if name in rows.columns]
    faults = [
        f"{name}: {rows.schema.get(name, 'missing')}, expected messages or text"
        for name in ("prompt", *answers)
        if not _is_text(rows.schema.get(name))
    ]
    if not answers:
        faults.append(f"none of {', '.join(ANSWERS)}")
    if faults:
        raise SchemaError("these rows cannot be compared: " + "; ".join(faults))
    pictures = _pictures(rows)
    found = [_hashed(rows, "prompt", [_said(rows, "prompt"), pictures])]
    for name in answers:
        texts = rows.select("id", customer=_last(rows, "prompt"), reply=_joined(rows, name)).with_columns(pictures)
        texts = texts.filter(pl.col("reply").str.len_chars() > 0)
        found.append(_hashed(texts, "reply", [texts["reply"]]))
        long = texts.filter(pl.col("reply").str.len_chars() >= LONG_REPLY)
        found.append(_hashed(long, "long_reply", [long["reply"]]))
        found.append(_hashed(texts, "exchange", [texts["customer"], texts["reply"], texts[pictures.name]]))
    if "meta" in rows.columns and rows.schema["meta"] == pl.String:
        for kind in ("session", "customer"):
            values = rows.select("id", value=pl.col("meta").str.json_path_match(f"$.{kind}")).drop_nulls()
            found.append(values.select("id", pl.lit(kind).alias("kind"), "value"))
    return pl.concat(found).unique().sort("kind", "value", "id")


def read_rows(path: Path) -> pl.DataFrame:
    """The rows at `path`: a Parquet file, a folder of them, or a run (its kept rows). Raises InputError for others."""
    folder = path / "kept" if (path / "run.json").is_file() else path
    files = sorted(folder.glob("*.parquet")) if folder.is_dir() else [folder]
    if not files or not all(file.is_file() for file in files):
        raise InputError(f"{path}: no Parquet file, folder of them, or run directory; `prefdata convert` makes one")
    columns = ("id", "prompt", *ANSWERS, "images", "meta")
    try:
        frames = [pl.scan_parquet(file, glob=False) for file in files]
        found = [frame.select([name for name in columns if name in frame.collect_schema()]) for frame in frames]
        return pl.concat(found, how="diagonal").collect()
    except (pl.exceptions.ComputeError, pl.exceptions.SchemaError):
        raise InputError(f"{path}: not readable as Parquet files of one kind of rows") from None


def with_ids(rows: pl.DataFrame) -> pl.DataFrame:
    """`rows` with an `id`: their own, else their number from 0."""
    if "id" in rows.columns:
        return rows
    return rows.with_row_index("id").with_columns(pl.col("id").cast(pl.String))


def alike(left: pl.DataFrame, right: pl.DataFrame, grouping: Grouping) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Keys (`id`, `kind`, `value`) of the rows of each side that `grouping` puts into a cluster with others.

    Compared are the last customer turn and the reply; of a preference row both answers, each with the prompt.
    """
    frames = []
    for mark, rows in (("l", with_ids(left)), ("r", with_ids(right))):
        for number, name in enumerate(name for name in ANSWERS if name in rows.columns):
            named = pl.format("{}{}:{}", pl.lit(mark), pl.lit(number), "id").alias("id")
            texts = rows.select(named, customer=_last(rows, "prompt").fill_null(""), reply=_joined(rows, name))
            frames.append(texts.filter(pl.col("reply").str.len_chars() > 0))
    keyed = grouping.keys(pl.concat(frames))
    edges = grouping.edges(keyed.filter(pl.col("key").is_duplicated()))
    members = grouping.groups(edges.filter(pl.col("similarity") >= grouping.min_similarity))
    bare = pl.col("id").str.splitn(":", 2).struct.field("field_1")
    found = members.select("id", bare.alias("bare"), pl.lit(grouping.name).alias("kind"), value="cluster")
    sides = [found.filter(pl.col("id").str.starts_with(mark)) for mark in ("l", "r")]
    return sides[0].select(_KEY).unique(maintain_order=True), sides[1].select(_KEY).unique(maintain_order=True)


_KEY = (pl.col("bare").alias("id"), "kind", "value")


def _is_text(dtype: Any) -> bool:
    if dtype == pl.String:
        return True
    if not isinstance(dtype, pl.List) or not isinstance(dtype.inner, pl.Struct):
        return False
    return {"role", "content"} <= {field.name for field in dtype.inner.fields if field.dtype == pl.String}


def _said(rows: pl.DataFrame, side: str) -> pl.Series:
    """The side as one text that tells who said what."""
    if rows.schema[side] == pl.String:
        return rows.select(pl.format("user\x1e{}", side)).to_series()
    message = pl.element().struct
    said = pl.concat_str([message.field("role"), message.field("content").fill_null("")], separator="\x1e")
    return rows.select(pl.col(side).list.eval(said).list.join("\x1f")).to_series()


def _joined(rows: pl.DataFrame, side: str) -> pl.Expr:
    return pl.col(side) if rows.schema[side] == pl.String else joined_text(side)


def _last(rows: pl.DataFrame, side: str) -> pl.Expr:
    return pl.col(side) if rows.schema[side] == pl.String else last_user_text(side)


def _pictures(rows: pl.DataFrame) -> pl.Series:
    """The addresses of a row's pictures as one text; empty where it has none."""
    dtype = rows.schema.get("images")
    if isinstance(dtype, pl.List) and isinstance(dtype.inner, pl.Struct):
        addresses = pl.col("images").list.eval(pl.element().struct.field("uri")).list.join("\x1f").fill_null("")
        return rows.select(addresses.alias("_pictures")).to_series()
    return pl.repeat("", rows.height, dtype=pl.String, eager=True).alias("_pictures")


def _hashed(rows: pl.DataFrame, kind: str, parts: Sequence[pl.Series]) -> pl.DataFrame:
    value = stable_hash(parts, purpose=kind.removeprefix("long_"))
    return rows.select("id", pl.lit(kind).alias("kind")).with_columns(value=value)
