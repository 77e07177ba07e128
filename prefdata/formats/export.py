"""A dataset written in a format: a data file for every split, what the target wants beside it, and what it refused."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from prefdata.formats.core import PLACES, ROW, Container, Format, Outcome, data_file
from prefdata.formats.order import interleave
from prefdata.formats.picture_export import PictureExport
from prefdata.formats.screens import has_pictures
from prefdata.formats.writer import FrameWriter
from prefdata.io import write_atomic, write_parquet
from prefdata.reading.json_frames_types import merged
from prefdata.schema import RecordType

REFUSED_ROWS = pl.Schema(
    {
        "split": pl.String(),
        "id": pl.String(),
        "file": pl.String(),
        "line": pl.Int64(),
        "offset": pl.Int64(),
        "step": pl.String(),  # reading, building or writing
        "reasons": pl.List(pl.String),
    }
)
"""Rows that went nowhere: by id or place, with all reasons, never their text."""

REFUSED_FILE = ".refused.parquet"
"""Hidden, since `datasets` takes every other Parquet file in a folder for data, whatever it is called."""


def refused_file(out: Path, *, folder: bool) -> Path:
    """Where the refused rows of the data at `out` stand: in the folder, or beside the file under its name."""
    return out / REFUSED_FILE if folder else out.with_name(f".{out.stem}{REFUSED_FILE}")


SUFFIX: Mapping[Container, str] = {"jsonl": ".jsonl", "json": ".json", "parquet": ".parquet", "tar": ".tar"}


def write_export(
    fmt: Format,
    splits: Mapping[str, pl.DataFrame | Iterable[pl.DataFrame]],
    record_type: RecordType,
    folder: Path,
    *,
    pictures: Path | None = None,
) -> dict[str, Any]:
    """Writes `<split>.<suffix>`, the target's files beside them and REFUSED_FILE into `folder`.

    `files`: file name -> rows, sha256, refused, and desirable and undesirable for unpaired rows; `refused`: reason ->
    rows; `pictures`: files and bytes of pictures, beside the data or inside. Unpaired rows that come as one frame are
    interleaved by label, since trainers read them in file order. `pictures` is the run directory whose stored pictures
    the rows name; without it addresses stay as they are. Of a format whose columns depend on whether any row has a
    picture, frames that come one by one are all read before the first is written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if getattr(fmt, "images", False) is None:
        splits = {name: _known(given) for name, given in splits.items()}
        if any(_any_pictures(given) for given in splits.values()):
            fmt = dataclasses.replace(fmt, images=True)  # type: ignore[type-var]
    attached = {"files": 0, "bytes": 0}
    files: dict[str, dict[str, Any]] = {}
    names: dict[str, str] = {}
    columns: dict[str, pl.DataType] = {}
    refused = [pl.DataFrame(schema=REFUSED_ROWS)]
    for split, given in splits.items():
        names[split] = data_file(fmt, split, SUFFIX[fmt.container])
        (folder / names[split]).parent.mkdir(parents=True, exist_ok=True)
        there = PictureExport(fmt, fmt.container, store=pictures, data=(folder / names[split]).parent)
        with contextlib.ExitStack() as stack:
            written = [_File(folder, names[split], fmt.container, stack)]
            for frame in _frames(given, record_type):
                for part in there.batches(frame):
                    if written[-1].writer.size >= getattr(fmt, "shard_bytes", float("inf")):
                        name = fmt.file_name(split, len(written))  # type: ignore[attr-defined]
                        written.append(_File(folder, name, fmt.container, stack))
                    placed = there.placed(part)
                    outcome = fmt.encode(placed.rows, record_type)
                    rows = there.written(outcome.rows)
                    columns = with_dtypes(columns, rows.schema)
                    gone = [
                        refused_rows(part, placed, split=split, step="writing"),
                        refused_rows(placed.rows, outcome, split=split, step="writing"),
                    ]
                    refused += gone
                    labels = placed.rows["label"] if record_type is RecordType.UNPAIRED else None
                    written[-1].add(rows, labels, passed_rows(placed.rows.height, outcome), sum(map(len, gone)))
            files |= {one.name: one.facts(record_type) for one in written}
        attached = {name: number + attached[name] for name, number in there.told().items()}
    for name, text in fmt.beside(names, record_type, columns=columns).items():
        write_atomic(folder / name, text.encode())
    every = pl.concat(refused)
    write_parquet(folder / REFUSED_FILE, every)
    return {"files": files, "refused": reason_counts(every), "pictures": attached}


class _File:
    """One data file that is being written, and what is told of it."""

    def __init__(self, folder: Path, name: str, container: Container, stack: contextlib.ExitStack) -> None:
        self.name = name
        self.writer = stack.enter_context(FrameWriter(folder / name, container))
        self.refused = 0
        self.classes = {True: 0, False: 0}

    def add(self, rows: pl.DataFrame, labels: pl.Series | None, passed: pl.Series, refused: int) -> None:
        """Writes the rows; `labels` are those of all rows, `passed` the places of the ones that were not refused."""
        self.writer.write(rows)
        self.refused += refused
        if labels is not None:
            for label in self.classes:
                self.classes[label] += int((labels.gather(passed) == label).sum())

    def facts(self, record_type: RecordType) -> dict[str, Any]:
        """Closes the file; rows, sha256, refused, and both classes of unpaired rows."""
        done = self.writer.close()
        facts: dict[str, Any] = {"rows": done.rows, "sha256": done.sha256, "refused": self.refused}
        if record_type is RecordType.UNPAIRED:
            facts |= {"desirable": self.classes[True], "undesirable": self.classes[False]}
        return facts


def with_dtypes(columns: Mapping[str, pl.DataType], more: Mapping[str, pl.DataType]) -> dict[str, pl.DataType]:
    """The columns of both with the dtypes that they have in one file; Unknown where there is none for both."""
    found = dict(columns)
    for name, dtype in more.items():
        shared = merged(found[name], dtype) if name in found else dtype
        found[name] = pl.Unknown() if shared is None else shared
    return found


def _frames(given: pl.DataFrame | Iterable[pl.DataFrame], record_type: RecordType) -> Iterable[pl.DataFrame]:
    if not isinstance(given, pl.DataFrame):
        return given
    return [interleave(given.sort("id")) if record_type is RecordType.UNPAIRED and "id" in given.columns else given]


def _known(given: pl.DataFrame | Iterable[pl.DataFrame]) -> pl.DataFrame | Sequence[pl.DataFrame]:
    """What can be gone through twice."""
    return given if isinstance(given, (pl.DataFrame, Sequence)) else list(given)


def _any_pictures(given: pl.DataFrame | Iterable[pl.DataFrame]) -> bool:
    return any(has_pictures(frame) for frame in ([given] if isinstance(given, pl.DataFrame) else given))


def passed_rows(height: int, outcome: Outcome) -> pl.Series:
    """Positions of the rows that were not refused."""
    every = pl.int_range(height, dtype=pl.UInt32, eager=True)
    return every.filter(~every.is_in(outcome.refused[ROW].implode())) if outcome.refused.height else every


def refused_rows(frame: pl.DataFrame, outcome: Outcome, *, split: str | None, step: str) -> pl.DataFrame:
    """The refused rows of `frame` as REFUSED_ROWS."""
    if not outcome.refused.height:
        return pl.DataFrame(schema=REFUSED_ROWS)
    known = frame.select(name for name in ("id", *PLACES) if name in frame.columns)
    found = known[outcome.refused[ROW]] if known.width else pl.DataFrame()
    found = found.rename({name: name[1:] for name in PLACES if name in found.columns})
    found = outcome.refused.select("reasons").hstack(found.get_columns())
    return found.with_columns(pl.lit(split, pl.String).alias("split"), pl.lit(step).alias("step")).select(
        pl.col(name).cast(dtype) if name in (*found.columns, "split", "step") else pl.lit(None, dtype).alias(name)
        for name, dtype in REFUSED_ROWS.items()
    )


def reason_counts(refused: pl.DataFrame) -> dict[str, int]:
    """Reason -> rows, most frequent first; a row counts for each of its reasons."""
    counts = refused.explode("reasons").group_by("reasons").len().sort(["len", "reasons"], descending=[True, False])
    return {reason: count for reason, count in counts.iter_rows() if reason is not None}
