"""Datasets in any format, as the check for leaks compares them: hashes of what rows hold, and texts where
near-duplicates are looked for. Of a chunk no more than that stays in memory.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from prefdata.build.leaks import ANSWERS, alike, keys, read_rows, shared, with_ids
from prefdata.errors import InputError, MissingExtraError
from prefdata.formats.core import PLACES
from prefdata.judging import Grouping
from prefdata.opening import open_dataset, root_of
from prefdata.pictures_of_data import let_in
from prefdata.schema import RecordType
from prefdata.text import joined_text, last_user_text

_COLUMNS = ("prompt", *ANSWERS, "images", "meta")


class Compared(NamedTuple):
    """One side of a comparison."""

    keys: pl.DataFrame
    """`id`, `kind`, `value`, see `build.leaks.keys`."""
    texts: pl.DataFrame | None
    """`id`, the last turn of the customer in `prompt`, answers as text; null where nobody asks for them."""
    rows: int
    read_as: tuple[str, RecordType] | None = None
    """Format and type; null for rows of a run."""
    left_out: Mapping[str, int] = {}
    """Reason -> records that could not be read as that."""


def compared(rows: pl.DataFrame, *, texts: bool) -> Compared:
    """Rows that are there already, as `build.leaks.leaks` takes them."""
    return Compared(keys(rows), _texts(rows) if texts else None, rows.height)


def read(
    path: Path,
    *,
    texts: bool,
    source: str = "auto",
    wanted: RecordType | None = None,
    labels: Mapping[str, bool] | None = None,
) -> Compared:
    """The kept rows of a run, or the rows of a dataset in any format that `prefdata convert` reads.

    Ids are the rows' own `id`, else file and line. Pictures are opened, and known by their pixels as those of a run
    are; one that is refused by its address, and so are all where no package is there that opens them. Raises
    InputError and RecipeError as `prefdata.convert` does.
    """
    if (path / "run.json").is_file():
        return compared(read_rows(path), texts=texts)
    opened = open_dataset(path, source=source, type=wanted, labels=labels)
    form, kind = opened.reading.format, opened.reading.type
    parts: list[Compared] = []
    left_out: Counter[str] = Counter()
    for chunk in opened.chunks:
        if (broken := chunk.quarantine.filter(pl.col("line").is_null())).height:
            faults = "; ".join(f"{file}: {reason}" for file, reason in broken.select("file", "reason").rows()[:5])
            raise InputError(f"not read to the end: {faults}")
        left_out.update(chunk.quarantine["reason"].to_list())
        if chunk.frame.height:
            outcome = opened.decoded(chunk.frame)
            left_out.update(outcome.refused["reasons"].explode().drop_nulls().to_list())
            left_out.update(outcome.unmade or {})
            if outcome.rows.height:
                parts.append(compared(_shown(_named(outcome.rows), root_of(path)), texts=texts))
    if not parts:
        reasons = ", ".join(f"{count} {reason}" for reason, count in left_out.most_common(3))
        raise InputError(f"{opened.name}: no row could be read as {form.name}, {kind} ({reasons})")
    return Compared(
        pl.concat([part.keys for part in parts]),
        pl.concat([part.texts for part in parts if part.texts is not None], how="diagonal") if texts else None,
        sum(part.rows for part in parts),
        (form.name, kind),
        dict(left_out.most_common()),
    )


def found(sides: Mapping[str, Compared], *, groupings: tuple[Grouping, ...] = ()) -> list[dict[str, Any]]:
    """What each two of `sides` share, a Leak for every kind, with the names of both."""
    told = []
    for one, other in combinations(sides, 2):
        ours, theirs = sides[one].keys, sides[other].keys
        for grouping in groupings:
            left, right = sides[one].texts, sides[other].texts
            if left is None or right is None:
                raise ValueError("groupings compare texts")
            clusters = alike(left, right, grouping)
            ours, theirs = (pl.concat([had, more]) for had, more in zip((ours, theirs), clusters, strict=True))
        also = [grouping.name for grouping in groupings]
        told += [{"sides": [one, other], **leak._asdict()} for leak in shared(ours, theirs, also=also)]
    return told


def _shown(rows: pl.DataFrame, root: Path) -> pl.DataFrame:
    """Rows that name their pictures by a hash of the pixels, wherever the files are and whatever they are called."""
    if "images" not in rows.columns or rows["images"].null_count() == rows.height:
        return rows
    with contextlib.suppress(MissingExtraError), let_in([(rows, root)]) as taken:
        return taken.frames[0]
    return rows


def _texts(rows: pl.DataFrame) -> pl.DataFrame:
    """`id`, the last turn of the customer and the answers as text."""
    rows = with_ids(rows)
    sides = {"prompt": last_user_text("prompt")} | {name: joined_text(name) for name in ANSWERS if name in rows.columns}
    return rows.select(
        "id", *[pl.col(name) if rows.schema[name] == pl.String else text.alias(name) for name, text in sides.items()]
    )


def _named(rows: pl.DataFrame) -> pl.DataFrame:
    """Decoded rows with an id, and as `meta` the source's own where it has one: session and customer stand there."""
    meta = pl.col("meta").str.json_path_match
    place = pl.format("{}:{}", PLACES[0], PLACES[1])
    own = pl.coalesce("id", meta("$.id"), place) if "id" in rows.columns else pl.coalesce(meta("$.id"), place)
    inner = pl.when(meta("$.meta").str.starts_with("{")).then(meta("$.meta"))
    number = pl.int_range(pl.len()).over("id")
    rows = rows.with_columns(own.alias("id"), pl.coalesce(inner, "meta").alias("meta"))
    if not any(name in rows.columns for name in ANSWERS):
        rows = rows.with_columns(completion=pl.lit(None, pl.String))  # prompts alone
    several = pl.when(number > 0).then(pl.format("{}#{}", "id", number + 1)).otherwise("id").alias("id")
    return rows.with_columns(several).select("id", *[name for name in _COLUMNS if name in rows.columns])
