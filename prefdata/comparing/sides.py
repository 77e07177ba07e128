"""The two sides of a diff: a dataset in any format, or the kept rows of a run; each is read once, and of its rows only
hashes and numbers stay. Texts are read again for the rows that are shown.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import polars as pl

from prefdata import rundir
from prefdata.auditing.dataset import Audited
from prefdata.auditor import Audit, chosen, examined
from prefdata.errors import InputError
from prefdata.formats.core import Container, Feature, Match, Outcome, nothing_refused, sides_of
from prefdata.formats.files import read_frames
from prefdata.opening import Opened, open_dataset
from prefdata.recognition import Reading
from prefdata.schema import RecordType

LANGUAGE_ROWS = 1_000
"""Rows of a side whose language is detected where the rows do not tell it; a text takes 0.1 ms."""

Progress = Callable[[str, int], None]

_NUMBERED = ("row", "_file", "_line", "part", "key")
_TOLD = ("label", "label_confidence", "margin", "source", "time")


class Side(NamedTuple):
    """One side of a comparison, as all parts of it see the rows."""

    name: str
    """Of the file, the folder or the run."""
    kind: Literal["dataset", "run"]
    audit: Audit
    """Without findings where nobody asked for them."""
    rows: pl.DataFrame
    """`row` UInt32, `_file`, `_line`, `part`, `key`; `<side>_hash`, `_norm`, `_chars` and `_turns`; `label`,
    `label_confidence` and `margin` where the type has them, `source`, `time`."""
    languages: pl.Series
    """Of the answer to be learnt (of a prompt, where there is none): as the rows tell it, else as it is detected in
    LANGUAGE_ROWS of them; null where it is not known."""
    again: Callable[[Sequence[int]], Iterator[pl.DataFrame]]
    """Whole rows, with their texts, by their numbers."""

    @property
    def type(self) -> RecordType:
        """What the rows are."""
        return self.audit.type


def read_side(
    path: Path,
    *,
    source: str = "auto",
    type: RecordType | str | None = None,
    labels: Mapping[str, bool] | None = None,
    audit: bool = True,
    only: Collection[str] = (),
    skip: Collection[str] = (),
    progress: Progress | None = None,
) -> Side:
    """The kept rows of the run at `path`, or the rows of the dataset there, and what an audit finds in them.

    Raises what `prefdata.audit` raises; InputError where no row can be compared.
    """
    run = is_run(path)
    name = path.resolve().name or str(path)

    def opening() -> Opened:
        return open_run(path) if run else open_dataset(path, source=source, type=type, labels=labels)

    folder = path if path.is_dir() else path.parent
    checks = chosen(only, skip) if audit else []
    result, data = examined(opening, checks, {"folders": (folder, Path())}, progress=progress)
    if not data.total:
        refused = ", ".join(f"{count:,} {reason}" for reason, count in list(result.refused.items())[:3])
        raise InputError(f"{name}: no row could be read as {result.format}, {result.type} ({refused})")
    sides = [f"{side}_{what}" for side in sides_of(result.type) for what in ("hash", "norm", "chars", "turns")]
    told = [column for column in _TOLD if column in data.rows.columns]
    return Side(
        name=name,
        kind="run" if run else "dataset",
        audit=result._replace(name=name),
        rows=data.rows.select(*_NUMBERED, *sides, *told),
        languages=_languages(data),
        again=data.again,
    )


def is_run(path: Path) -> bool:
    """Whether a run stands at `path`, rather than a dataset."""
    return (path / "run.json").is_file()


def whole(side: Side, rows: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Whole rows by their numbers; the files are read up to the last of them."""
    wanted = sorted(set(rows))
    if not wanted:
        return {}
    return {row["row"]: row for chunk in side.again(wanted) for row in chunk.iter_rows(named=True)}


def open_run(path: Path) -> Opened:
    """The kept rows of a run as they stand. Raises InputError where the run is not whole."""
    folder = rundir.existing(path).path / "kept"
    chunks = read_frames(folder)
    files = sorted(folder.glob("*.parquet"))
    if not files:
        raise InputError(f"{path}: no kept rows there; the run did not end")
    schema = pl.read_parquet_schema(files[0])
    kind = next(found for column, found in _TELLING if column in schema)
    form: Any = _Kept()
    return Opened(Reading(form, kind, ("run.json",)), chunks, schema, path.resolve().name)


_TELLING = (
    ("chosen", RecordType.PREFERENCE),
    ("label", RecordType.UNPAIRED),
    ("completion", RecordType.SFT),
    ("prompt", RecordType.PROMPT),
)
"""Columns by which the type of a run's rows is told, the first that is there."""


@dataclass(frozen=True, kw_only=True)
class _Kept:
    """Rows of a run: canonical already."""

    name: ClassVar[str] = "run"
    reads: ClassVar[frozenset[RecordType]] = frozenset(RecordType)
    writes: ClassVar[frozenset[RecordType]] = frozenset()
    container: ClassVar[Container] = "parquet"
    holds: ClassVar[Mapping[RecordType, frozenset[Feature]]] = {}

    def recognise(self, sample: pl.DataFrame) -> Sequence[Match]:
        return []

    def decode(self, rows: pl.DataFrame, record_type: RecordType) -> Outcome:
        return Outcome(rows, nothing_refused())

    def encode(self, rows: pl.DataFrame, record_type: RecordType) -> Outcome:
        return Outcome(rows, nothing_refused())

    def beside(
        self, files: Mapping[str, str], record_type: RecordType, *, columns: Collection[str] = ()
    ) -> Mapping[str, str]:
        return {}


def _languages(data: Audited) -> pl.Series:
    own = data.rows["language"] if "language" in data.rows.columns else pl.Series([], dtype=pl.String)
    if len(own) and own.null_count() < len(own) / 2:
        return own.alias("language")
    from prefdata.auditing.languages import HEAD_CHARS, detected

    side = f"{data.answers[0]}_text" if data.answers else "turn_text"
    some = data.sample.gather_every(max(1, -(-data.sample.height // LANGUAGE_ROWS)))
    return detected(some[side].str.slice(0, HEAD_CHARS)).alias("language")
