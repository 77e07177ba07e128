"""From the files of a recipe to records: read, sessionise, transform, mine. The first step of a run.

What stays in memory is one source at a time; raw text is never written, only what the transforms made of it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from prefdata.build.unpaired import from_log
from prefdata.building import UNMADE_ROWS
from prefdata.erased import moved
from prefdata.errors import InputError
from prefdata.formats.placeholders import places
from prefdata.gating import STEP, Looking, seen_from_root
from prefdata.io import QUARANTINE, FileReport, ReadLimits, sha256_file
from prefdata.logs.events import FATE_NAMES, REFUSED
from prefdata.reading.sources import RUN_LOG
from prefdata.recipe import Recipe, Source
from prefdata.schema import IMAGE, RecordType
from prefdata.sides import revisions

ALIGNED = ("id", "rev", "session", "turn")
"""Columns that stand before the signals in the frame beside the records."""


class Mined(NamedTuple):
    """One source, read: canonical records without labels, the signals beside them row for row, and the account."""

    records: pl.DataFrame
    signals: pl.DataFrame
    quarantine: pl.DataFrame
    files: list[FileReport]
    fates: list[dict[str, Any]]
    set_aside: dict[str, int]
    touched: dict[str, int]
    sessions: dict[str, Any]
    reading: dict[str, Any]
    unmade: pl.DataFrame = UNMADE_ROWS.to_frame()
    """What became no row although it was read: in building, or since a picture was refused."""
    account: dict[str, Any] | None = None
    """How many records were read, became candidates, and rows; of such a run."""


def paths_of(source: Source, root: Path) -> list[Path]:
    """The files of a source, in a fixed order; of a folder all, of which the reader takes the data files.

    Raises InputError for a path that is not there.
    """
    found: list[Path] = []
    for given in source.path:
        path = (root / given).resolve()
        if path.is_dir():
            inside = _data_files(path)
            if not inside:
                raise InputError(f"source {source.name}: {given} is a folder without files")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise InputError(f"source {source.name}: {given} is not there (looked in the recipe's folder)")
    return found


def _data_files(folder: Path) -> list[Path]:
    """The files of a folder that are input: hidden ones, recipes and run directories are not."""
    runs = {log.parent for log in folder.rglob(RUN_LOG)}
    return sorted(
        file
        for file in folder.rglob("*")
        if file.is_file()
        and not file.name.startswith(".")
        and file.suffix not in (".yaml", ".yml")
        and not runs.intersection(file.parents)
    )


def input_hashes(recipe: Recipe) -> dict[str, dict[str, str]]:
    """Source -> file (as the recipe's folder sees it) -> SHA-256."""
    hashes: dict[str, dict[str, str]] = {}
    for source in recipe.sources:
        named: dict[str, str] = {}
        for file in paths_of(source, recipe.root):
            name, again = shown(file, recipe.root), 2
            while name in named:  # two folders outside the recipe's may hold files of one name
                name, again = f"{shown(file, recipe.root)}#{again}", again + 1
            named[name] = sha256_file(file)
        hashes[source.name] = named
    return hashes


def shown(file: Path, root: Path) -> str:
    """A file's path as the run records it: relative to the recipe's folder, or its bare name outside of it."""
    return str(file.relative_to(root)) if file.is_relative_to(root) else file.name


def ingest(
    recipe: Recipe,
    source: Source,
    transforms: list[Callable[[pl.DataFrame], pl.DataFrame]],
    *,
    looking: Looking | None = None,
) -> Mined:
    """One source of a recipe, mined. Rows are sorted by session and turn; ids are given before any transform.

    Rows leave of which a picture is refused, where something looks at them.
    """
    from prefdata.logs.rows import rows as rows_of
    from prefdata.logs.sessions import build_sessions
    from prefdata.logs.signals import mine

    assert source.layout is not None
    limits = ReadLimits(
        max_line_bytes=recipe.limits.max_line_bytes,
        max_bytes=recipe.limits.max_bytes,
        max_ratio=recipe.limits.max_ratio,
    )
    given = [(recipe.root / path).resolve() for path in source.path]
    read = source.layout.settings.read(given, source=source.name, limits=limits)
    built = build_sessions(_from_root(read.events, recipe), settings=recipe.sessions)
    turns = built.turns.sort(["session", "turn"]).with_columns(touched=pl.lit([], dtype=pl.List(pl.String)))
    for transform in transforms:
        turns = transform(turns)
    sessions = _clean_surveys(built.sessions, transforms)
    settings = dataclasses.replace(
        recipe.signals,
        rating_scale=source.ratings.scale,
        **{
            name: value
            for name in ("satisfied", "dissatisfied")
            if (value := getattr(source.ratings, name)) is not None
        },
    )
    rows = rows_of(turns, max_context_turns=recipe.max_context_turns)
    rows = rows.join(_touched_by_row(turns, rows), on=["session", "turn"], how="left", maintain_order="left")
    records = from_log(_with_images(rows), source=source.name)
    aligned = rows.sort(["session", "turn"]).select("session", "turn")
    signals = aligned.join(
        mine(turns, sessions, settings=settings), on=["session", "turn"], how="left", maintain_order="left"
    )
    signals = signals.with_columns(id=records["id"], session=records["group"])
    records, signals, unmade = _seen(records, signals, source, looking)
    signals = signals.with_columns(rev=revisions(records, RecordType.UNPAIRED)).select(*ALIGNED, pl.exclude(ALIGNED))
    fates = _fates(built.fates, read.quarantine, read.files, source.name)
    return Mined(
        records=records,
        signals=signals,
        quarantine=read.quarantine.select(QUARANTINE.names()).with_columns(source=pl.lit(source.name)),
        files=read.files,
        fates=moved(fates, unmade.select("source", "file"), to=REFUSED) if unmade.height else fates,
        set_aside=_counts(built.fates.filter(pl.col("fate") == "set_aside"), "reason"),
        touched=_touched(turns),
        sessions=built.report,
        reading={
            "counts": {name: number for name, number in read.report.items() if number},
            "unknown_roles": read.unknown_roles,
            "used_by_name": read.used_by_name,
        },
        unmade=unmade,
    )


def _from_root(events: pl.DataFrame, recipe: Recipe) -> pl.DataFrame:
    """Events whose pictures have addresses seen from the root of their source."""
    shown = events.select("file", "pictures").with_row_index("_row").filter(pl.col("pictures").is_not_null())
    if shown.is_empty():
        return events
    listed = (
        shown.explode("pictures")
        .with_columns(_pictures=seen_from_root(pl.col("pictures"), pl.col("file"), recipe))
        .group_by("_row", maintain_order=True)
        .agg("_pictures")
    )
    joined = events.with_row_index("_row").join(listed, on="_row", how="left", maintain_order="left")
    return joined.with_columns(pictures="_pictures").select(events.columns)


def _with_images(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows of a log with `images`: the n-th address of `pictures` at the n-th mark of prompt and completion."""
    shown = rows.with_row_index("_row").filter(pl.col("pictures").is_not_null())
    if shown.is_empty():
        return rows
    sides = {side: side for side in ("prompt", "completion")}
    listed = (
        places(shown.select("_row", *sides), sides=sides)
        .with_columns(_at=pl.int_range(pl.len()).over("_row"))
        .join(shown.select("_row", "pictures"), on="_row", how="left", maintain_order="left")
        .with_columns(uri=pl.col("pictures").list.get(pl.col("_at"), null_on_oob=True))
        .group_by("_row", maintain_order=True)
        .agg(pl.struct("uri", "side", "message", "part").cast(IMAGE).alias("images"))
    )
    return rows.with_row_index("_row").join(listed, on="_row", how="left", maintain_order="left").drop("_row")


def _seen(
    records: pl.DataFrame, signals: pl.DataFrame, source: Source, looking: Looking | None
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """The records whose pictures pass the gate, the signals beside them, and UNMADE_ROWS of the others.

    Where the last reply of a session leaves, what the customer made of the session is no other reply's.
    """
    if looking is None or records["images"].null_count() == records.height:
        return records, signals, UNMADE_ROWS.to_frame()
    passed, gone = looking.passed(records, source)
    if gone.is_empty():
        return passed, signals, UNMADE_ROWS.to_frame()
    from prefdata.logs.signals import SIGNALS

    stays = pl.col("id").is_in(passed["id"].implode())
    last = pl.col("turn") == pl.col("turn").max().over("session")
    cut = (last & ~stays).any().over("session")
    outcomes = [one.name for one in SIGNALS if one.scope == "session" and one.name in signals.columns]
    signals = signals.with_columns(pl.when(~cut).then(name).alias(name) for name in outcomes).filter(stays)
    nothing = [pl.lit(None, pl.String).alias(name) for name in ("other", "part")]
    file, line = (pl.col("meta").str.json_path_match(f"$.{name}") for name in ("file", "line"))
    unmade = gone.with_columns(*nothing, step=pl.lit(STEP), file=file, line=line.cast(pl.Int64))
    return passed, signals, unmade.select(UNMADE_ROWS.names()).cast(UNMADE_ROWS)


def _touched_by_row(turns: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """`session`, `turn`, `touched`: what the transforms did to any turn of a row, as `name:count`, sorted by name."""
    spans = rows.select("session", "turn", before=pl.col("turn") - pl.col("prompt").list.len().cast(pl.Int32) - 1)
    entries = (
        turns.select("session", "turn", entry="touched")
        .explode("entry", empty_as_null=True)
        .drop_nulls("entry")
        .with_columns(pl.col("entry").str.splitn(":", 2))
        .unnest("entry")
        .select("session", "turn", name="field_0", n=pl.col("field_1").cast(pl.Int64))
        .sort("session", "name", "turn")
        .with_columns(total=pl.col("n").cum_sum().over("session", "name"))
        .sort("turn")
    )
    wanted = spans.join(entries.select("session", "name").unique(), on="session").sort("turn")
    if wanted.is_empty():
        return spans.select("session", "turn", touched=pl.lit([], dtype=pl.List(pl.String)))
    totals = entries.select("session", "name", "turn", "total")
    until = wanted.join_asof(totals, on="turn", by=["session", "name"], check_sortedness=False)
    start = wanted.sort("before").join_asof(
        totals.rename({"turn": "before", "total": "earlier"}),
        on="before",
        by=["session", "name"],
        check_sortedness=False,
    )
    counted = (
        until.join(start.select("session", "turn", "name", "earlier"), on=["session", "turn", "name"], how="left")
        .with_columns(n=pl.col("total").fill_null(0) - pl.col("earlier").fill_null(0))
        .filter(pl.col("n") > 0)
        .sort("session", "turn", "name")
        .group_by("session", "turn", maintain_order=True)
        .agg(touched=pl.format("{}:{}", "name", "n"))
    )
    found = spans.select("session", "turn").join(counted, on=["session", "turn"], how="left", maintain_order="left")
    return found.with_columns(pl.col("touched").fill_null([]))


def _clean_surveys(sessions: pl.DataFrame, transforms: list[Callable[[pl.DataFrame], pl.DataFrame]]) -> pl.DataFrame:
    """Sessions with their survey texts through the same transforms as the turns."""
    frame = sessions.with_columns(
        turn=pl.lit(0, dtype=pl.Int32),
        text=pl.col("survey"),
        names=pl.lit([], dtype=pl.List(pl.String)),
        touched=pl.lit([], dtype=pl.List(pl.String)),
    )
    for transform in transforms:
        frame = transform(frame)
    return frame.with_columns(survey=pl.col("text")).select(sessions.columns)


def _fates(fates: pl.DataFrame, quarantine: pl.DataFrame, files: list[FileReport], source: str) -> list[dict[str, Any]]:
    """Counts of each fate, a file; `units` is what the reader saw, and the fates add up to it."""
    counted = fates.group_by("file", "fate").agg(pl.len().alias("n")).sort("file", "fate")
    bad = quarantine.group_by("file").agg(pl.len().alias("n")).sort("file")
    table: dict[str, dict[str, int]] = {report.file: dict.fromkeys(FATE_NAMES, 0) for report in files}
    for file, fate, number in counted.iter_rows():
        table.setdefault(file, dict.fromkeys(FATE_NAMES, 0))[fate] += number
    for file, number in bad.iter_rows():
        table.setdefault(file, dict.fromkeys(FATE_NAMES, 0))["quarantined"] += number
    return [{"source": source, "file": file, **row, "units": sum(row.values())} for file, row in sorted(table.items())]


def _counts(frame: pl.DataFrame, column: str) -> dict[str, int]:
    counted = frame.group_by(column).agg(pl.len().alias("n")).sort(column)
    return dict(counted.select(pl.col(column).fill_null("unknown"), "n").iter_rows())


def _touched(turns: pl.DataFrame) -> dict[str, int]:
    """What the transforms touched -> how often, summed over the turns."""
    parts = turns.select(pl.col("touched").explode(empty_as_null=True).drop_nulls().str.splitn(":", 2).alias("entry"))
    counted = (
        parts.unnest("entry").group_by("field_0").agg(pl.col("field_1").cast(pl.Int64).sum().alias("n")).sort("field_0")
    )
    return dict(counted.iter_rows())
