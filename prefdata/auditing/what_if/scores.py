"""What filters and groupings measure in a dataset: scores of every row, edges between rows. No text is kept.

Rows are scored on the sides that a run would score, each text of a chunk once. Texts that groupings and borderline
rows need later wait in a folder that is deleted at the end, so that the dataset is read once and memory stays flat.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl

from prefdata.auditing.dataset import Audited
from prefdata.auditing.what_if.settings import Asked
from prefdata.engine import LocalEngine
from prefdata.errors import PrefdataError
from prefdata.judging import Grouping, RowFilter, Side, judge
from prefdata.schema import RecordType
from prefdata.sides import COMPARED, TAUGHT, by_sides, compared, fitted, orientation, texts

CHUNK_ROWS = 10_000
"""Rows scored at a time where they are in memory already."""

LANGUAGE = "what_if_language"
"""The column with the language of what is to be learnt, by which losses are told."""

Progress = Callable[[str, int], None]


class Shelf:
    """Texts of all rows, in files of a folder."""

    def __init__(self, folder: Path, record_type: RecordType) -> None:
        self._folder = folder
        self._type = record_type
        self._files: list[Path] = []

    def add(self, chunk: pl.DataFrame) -> None:
        """Puts the rows of a chunk (with `id`) there."""
        file = self._folder / f"{len(self._files):05d}.parquet"
        chunk.select(compared(self._type)).write_parquet(file, compression="lz4")
        self._files.append(file)

    def chunks(self) -> Iterator[pl.DataFrame]:
        """The rows, chunk by chunk: `id`, the sides, `images`."""
        return (pl.read_parquet(file, glob=False) for file in self._files)

    def rows(self, ids: pl.Series) -> pl.DataFrame:
        """The rows of these ids, in order, each once."""
        wanted = ids.alias("id").unique().to_frame()
        found = [pl.scan_parquet(file, glob=False).join(wanted.lazy(), on="id", how="semi") for file in self._files]
        return pl.concat([one.collect() for one in found]).sort("id")


class Scored(NamedTuple):
    """All that decisions hang on."""

    frame: pl.DataFrame
    """`id`, `label`, `label_confidence`, LANGUAGE and the score columns, a row a row of the dataset, in its order."""
    filters: dict[str, RowFilter]
    """By name; those that could run."""
    groupings: dict[str, tuple[Grouping, pl.DataFrame]]
    """By name, with their edges, also those below the threshold as far as the grouping keeps them."""
    failed: dict[str, str]
    """Name -> why it could not run."""
    oriented: Callable[[pl.DataFrame], pl.DataFrame] | None
    """What tells pairs of one cluster from their opposites; see `judging.decide`."""


def id_of(row: pl.Expr | str = "row") -> pl.Expr:
    """The id of a row in decisions: its number, so that of equal rows the first one survives."""
    column = pl.col(row) if isinstance(row, str) else row
    return column.cast(pl.String).str.zfill(10)


def scored(data: Audited, asked: Sequence[Asked], shelf: Shelf, *, progress: Progress | None = None) -> Scored:
    """Scores of all rows and edges between them. What cannot run (an extra is missing) is named in `failed`."""
    failed: dict[str, str] = {}
    filters, groupings = _built(data.type, asked, failed)
    language = _language(filters, data.type)
    sides: dict[tuple[str, Side], RowFilter] = {}
    for row_filter in [*filters.values(), *([language] if language else [])]:
        for side in row_filter.sides:
            sides.setdefault((row_filter.scorer.name, side), row_filter)
    parts: list[pl.DataFrame] = []
    broken: set[str] = set()
    rows = 0
    for chunk in _chunks(data):
        chunk = chunk.with_columns(id=id_of())
        shelf.add(chunk)
        frame = chunk.select("id")
        for (scorer, side), row_filter in sides.items():
            if scorer in broken:
                continue
            try:
                frame = frame.hstack(judge(chunk, row_filter, side))
            except (PrefdataError, ImportError) as error:
                broken.add(scorer)
                if row_filter.name in filters:
                    failed[row_filter.name] = str(error)
        parts.append(frame)
        rows += chunk.height
        if progress is not None:
            progress("what if: scores", rows)
    scores = pl.concat(parts, how="diagonal_relaxed")
    filters = {name: one for name, one in filters.items() if one.scorer.name not in broken}
    label, confidence = (
        data.rows[name] if name in data.rows.columns else pl.repeat(None, data.total, eager=True)
        for name in ("label", "label_confidence")
    )
    code = f"language_{TAUGHT[data.type]}_code"
    told = scores[code] if code in scores.columns else pl.repeat(None, data.total, eager=True, dtype=pl.String)
    own = data.rows["language"] if "language" in data.rows.columns else told
    frame = scores.with_columns(
        label.cast(pl.Boolean).alias("label"),
        confidence.cast(pl.Float32).alias("label_confidence"),
        pl.select(pl.coalesce(own.cast(pl.String), told)).to_series().alias(LANGUAGE),
    )
    edges: dict[str, tuple[Grouping, pl.DataFrame]] = {}
    for name, grouping in groupings.items():
        if progress is not None:
            progress(f"what if: {name}", rows)
        try:
            edges[name] = (grouping, _edges(grouping, data.type, shelf))
        except (PrefdataError, ImportError) as error:
            failed[name] = str(error)
    return Scored(frame, filters, edges, failed, _oriented(data.type, edges, shelf))


def _built(
    record_type: RecordType, asked: Sequence[Asked], failed: dict[str, str]
) -> tuple[dict[str, RowFilter], dict[str, Grouping]]:
    filters: dict[str, RowFilter] = {}
    groupings: dict[str, Grouping] = {}
    for one in asked:
        try:
            built = one.built.build()
            if "images" in getattr(built.scorer if one.kind == "filter" else built, "reads", ()):
                failed[one.name] = "looks at pictures, which an audit does not open: a run does"
            elif one.kind == "filter":
                filters[one.name] = fitted(built, record_type)
            else:
                groupings[one.name] = built
        except (PrefdataError, ImportError) as error:
            failed[one.name] = str(error)
    return filters, groupings


def _language(filters: dict[str, RowFilter], record_type: RecordType) -> RowFilter | None:
    """What tells the language of what is to be learnt, where it can: rows are told apart by it."""
    from prefdata import catalogue

    if "language" in filters and TAUGHT[record_type] in filters["language"].sides:
        return None
    try:
        found: RowFilter = fitted(catalogue.load("filter", "language")().build(), record_type)
    except (PrefdataError, ImportError):
        return None
    return found


def _chunks(data: Audited) -> Iterator[pl.DataFrame]:
    """Whole rows, from memory where all are there."""
    if data.sample.height == data.total:
        yield from data.sample.sort("row").iter_slices(CHUNK_ROWS)
    else:
        yield from data.again(range(data.total))


def _edges(grouping: Grouping, record_type: RecordType, shelf: Shelf) -> pl.DataFrame:
    """Verified pairs of rows, as a run finds them."""
    exactly = grouping.min_similarity >= 1
    keys = (grouping.keys(texts(chunk, record_type, exactly=exactly)) for chunk in shelf.chunks())
    buckets = list(LocalEngine().shuffle(keys, "key", grouping.edges))
    edges = pl.concat(buckets).unique().sort(["left", "right"])
    if record_type is RecordType.PREFERENCE and edges.height:
        edges = by_sides(edges, shelf.rows(_ends(edges)).select("id", "chosen", "rejected"))
    return edges


def _ends(edges: pl.DataFrame) -> pl.Series:
    return pl.concat([edges["left"], edges["right"].alias("left")])


def _oriented(
    record_type: RecordType, groupings: dict[str, tuple[Grouping, pl.DataFrame]], shelf: Shelf
) -> Callable[[pl.DataFrame], pl.DataFrame] | None:
    if record_type is not RecordType.PREFERENCE:
        return None
    ends = [_ends(edges) for _, edges in groupings.values()]
    members = shelf.rows(pl.concat(ends)).select("id", "chosen", "rejected") if ends else pl.DataFrame()
    known = pl.DataFrame(schema={"id": pl.String, "cluster": pl.String, "oriented": pl.Boolean})

    def told(clusters: pl.DataFrame) -> pl.DataFrame:
        """As `orientation`; at another similarity most rows are in the cluster in which they were before."""
        nonlocal known
        missing = clusters.join(known, on=["id", "cluster"], how="anti")
        named = pl.concat([missing["id"], missing["cluster"].alias("id")]).unique().to_frame()
        parts = [known]
        for part in missing.iter_slices(COMPARED):
            found = orientation(members.join(named, on="id", how="semi"), part)
            parts.append(part.join(found, on="id", how="left", maintain_order="left").select(known.columns))
        known = pl.concat(parts)
        return clusters.join(known, on=["id", "cluster"], how="left").select("id", "oriented").sort("id")

    return told
