"""A dataset as checks see it: narrow features of all rows, whole rows of a sample, texts of any row when asked for."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from prefdata.auditing import features
from prefdata.auditing.check import Check
from prefdata.auditing.threads import in_order
from prefdata.auditing.twins import Twins
from prefdata.conversion.ahead import Ahead
from prefdata.formats.core import PLACES, Outcome, answers_of, pieces, sides_of
from prefdata.opening import Opened
from prefdata.schema import RecordType

if TYPE_CHECKING:
    from prefdata.auditing.sketches import Look, Sketches
    from prefdata.auditing.tokens import Ragged

_MIX = 2_654_435_761
"""Knuth's multiplier: 2**32 over the golden ratio."""

SAMPLE_ROWS = 20_000
"""Rows of which the whole is kept, for checks that fit something to texts."""

Progress = Callable[[str, int], None]


@dataclass(kw_only=True)
class Audited:
    """A dataset, read. `row` numbers its rows from 0 in the order of the files."""

    type: RecordType
    rows: pl.DataFrame
    """One row a row of the dataset: `row` UInt32, PLACES, `part`, `key` UInt64 (a hash of all texts, see
    `features.features`), the features and the flags of all checks; `label`, `label_confidence` and `margin` where the
    type has them, `source`, `time`, `language`."""
    sample: pl.DataFrame
    """Whole canonical rows with `row` and the texts of `features.texts`: all, or SAMPLE_ROWS spread over the set."""
    collected: Mapping[str, pl.DataFrame]
    """Check -> what its `collect` kept."""
    refused: Mapping[str, list[tuple[str, int]]]
    """Reason -> (file, line) of the records that are no rows: unreadable, or not what the format takes."""
    read: int
    """Records of the files, sound and broken."""
    columns: Mapping[str, int] = field(default_factory=dict)
    """Columns of the files -> how many records have a value there."""
    twins: Sequence[Sequence[str]] = ()
    """Groups of columns of the files that hold the same in every record."""
    sketches: Sketches | None = None
    """Sets of shingles of all texts, where a check is `near`."""
    again: Callable[[Sequence[int]], Iterator[pl.DataFrame]] = field(repr=False)
    """Reads the dataset once more for the rows of these numbers, sorted: chunks as checks see them."""

    @property
    def total(self) -> int:
        """Rows that were read."""
        return self.rows.height

    @property
    def sides(self) -> tuple[str, ...]:
        """prompt and the answers."""
        return sides_of(self.type)

    @property
    def answers(self) -> tuple[str, ...]:
        """completion; or chosen and rejected."""
        return answers_of(self.type)

    def flagged(self, name: str) -> pl.Series:
        """Numbers of the rows that the flag of the check `name` is true of."""
        return self.rows.filter(pl.col(name))["row"]

    def chosen_of(self, rows: Sequence[int]) -> pl.DataFrame:
        """Whole rows by their numbers, in order. Those that are not in the sample are read again: the files up to the
        last of them, which costs as much as reading did; so where any row will do, take one of the sample."""
        wanted = pl.Series("row", sorted(set(rows)), dtype=pl.UInt32)
        if not len(wanted):
            return self.sample.clear()
        held = self.sample.filter(pl.col("row").is_in(wanted.implode()))
        missing = wanted.filter(~wanted.is_in(held["row"].implode()))
        found = [held, *self.again(missing.to_list())] if len(missing) else [held]
        return pl.concat(found, how="diagonal_relaxed").sort("row")


def read(opening: Callable[[], Opened], checks: Sequence[Check], *, progress: Progress | None = None) -> Audited:
    """Reads a dataset once and keeps what `checks` need. `opening` opens it anew each time it is called."""
    data = opening()
    ahead = Ahead(data.chunks)
    try:
        return _read(data._replace(chunks=iter(ahead)), opening, checks, progress)
    finally:
        ahead.close()


def _read(data: Opened, opening: Callable[[], Opened], checks: Sequence[Check], progress: Progress | None) -> Audited:
    record_type = data.reading.type
    narrow: list[pl.DataFrame] = []
    collected: dict[str, list[pl.DataFrame]] = {check.name: [] for check in checks if check.collect}
    account = _Account()
    sample = _Sample(record_type)
    sketches = _sketches(sides_of(record_type)) if any(check.near for check in checks) else None
    flags = [check.flag(record_type).fill_null(False).alias(check.name) for check in checks if check.flag]

    def looked(rows: pl.DataFrame) -> _Looked:
        words: dict[str, Ragged] = {}
        chunk = features.features(features.texts(rows, record_type), record_type, found=words)
        return _Looked(
            _narrow(chunk, record_type, flags),
            sample.taken(chunk),
            sketches.look(chunk, words) if sketches is not None else None,
            {check.name: check.collect(chunk, record_type) for check in checks if check.collect},
        )

    for one in in_order(looked, _chunks(data, account)):
        narrow.append(one.narrow)
        sample.add(one.sample)
        if sketches is not None and one.look is not None:
            sketches.add(one.look)
        for name, kept in one.collected.items():
            collected[name].append(kept)
        if progress is not None:
            progress(data.reading.format.name, account.read)
    rows = pl.concat(narrow, how="diagonal_relaxed") if narrow else pl.DataFrame()

    def again(wanted: Sequence[int]) -> Iterator[pl.DataFrame]:
        if data.at is None:
            return _read_again(opening(), account.spans, wanted)
        return _again(data, rows.select("row", *PLACES, "part")[pl.Series(wanted, dtype=pl.UInt32)])

    return Audited(
        type=record_type,
        rows=rows,
        sample=sample.rows(),
        collected={name: pl.concat(found) for name, found in collected.items() if found},
        refused=account.refused,
        read=account.read,
        columns=account.columns,
        twins=account.twins.groups(),
        sketches=sketches,
        again=again,
    )


class _Looked(NamedTuple):
    """What is kept of a chunk."""

    narrow: pl.DataFrame
    sample: pl.DataFrame
    look: Look | None
    collected: Mapping[str, pl.DataFrame]


def _sketches(sides: tuple[str, ...]) -> Sketches:
    from prefdata.auditing.sketches import Sketches

    return Sketches(sides)


class _Account:
    def __init__(self) -> None:
        self.read = 0
        self.rows = 0
        self.refused: dict[str, list[tuple[str, int]]] = {}
        self.columns: dict[str, int] = {}
        self.twins = Twins()
        self.spans: list[tuple[int, int]] = []
        """First row and number of rows of every chunk of the files."""

    def count(self, frame: pl.DataFrame) -> None:
        for name in frame.columns:
            if name not in (*PLACES, "_key"):
                self.columns[name] = self.columns.get(name, 0) + frame.height - frame[name].null_count()
        self.twins.add(frame)

    def refuse(self, frame: pl.DataFrame, outcome: Outcome) -> None:
        for at, reasons in outcome.refused.iter_rows():
            for reason in reasons:
                self.refused.setdefault(reason, []).append((frame["_file"][at], frame["_line"][at]))


def _chunks(data: Opened, account: _Account) -> Iterator[pl.DataFrame]:
    """Chunks of canonical rows with `row`, PLACES and `part`."""
    for chunk in data.chunks:
        for file, line, reason in chunk.quarantine.select("file", "line", "reason").iter_rows():
            account.refused.setdefault(reason, []).append((file, line or 0))
        account.read += chunk.quarantine.height + chunk.frame.height
        account.count(chunk.frame)
        rows = _decoded(data, chunk.frame, account) if chunk.frame.height else chunk.frame.clear()
        account.spans.append((account.rows, rows.height))
        if rows.height:
            rows = _numbered(rows, account.rows)
            account.rows += rows.height
            yield rows


def _again(data: Opened, places: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Chunks of the rows that stand at `places` (`row`, PLACES and `part`), with texts and features."""
    assert data.at is not None
    lines = {str(file): some["_line"] for (file,), some in places.group_by("_file", maintain_order=True)}
    left = places.height
    for chunk in data.at(lines) if left else ():
        if not chunk.frame.height:
            continue
        found = _decoded(data, chunk.frame, _Account()).join(
            places, on=[*PLACES, "part"], nulls_equal=True, maintain_order="left"
        )
        if found.height:
            left -= found.height
            yield features.features(features.texts(found.sort("row"), data.reading.type), data.reading.type)
        if not left:
            return


def _read_again(data: Opened, spans: Sequence[tuple[int, int]], rows: Sequence[int]) -> Iterator[pl.DataFrame]:
    """As `_again`, of what knows no lines: chunks without one of the rows `rows` are not decoded."""
    wanted = pl.Series(rows, dtype=pl.UInt32)
    for (first, height), chunk in zip(spans, data.chunks, strict=False):
        here = wanted.filter((wanted >= first) & (wanted < first + height))
        if len(here):
            found = _numbered(_decoded(data, chunk.frame, _Account()), first)[(here - first).to_list()]
            yield features.features(features.texts(found, data.reading.type), data.reading.type)
        if not len(wanted) or wanted[-1] < first + height:
            return


def _decoded(data: Opened, frame: pl.DataFrame, account: _Account) -> pl.DataFrame:
    """Canonical rows with PLACES and `part`."""
    record_type = data.reading.type
    outcome = data.decoded(frame)
    account.refuse(frame, outcome)
    given = [name for name in ("id", "source", "group") if name in outcome.rows.columns]
    rows = pieces(outcome.rows, record_type).hstack(outcome.rows.select(given).get_columns())
    several = outcome.unmade is not None
    part = pl.int_range(pl.len(), dtype=pl.UInt32).over("_file", "_line") if several else pl.lit(0, pl.UInt32)
    return rows.with_columns(part.alias("part"))


def _numbered(rows: pl.DataFrame, first: int) -> pl.DataFrame:
    numbers = pl.int_range(first, first + rows.height, dtype=pl.UInt32, eager=True)
    return rows.with_columns(numbers.alias("row"))


def _narrow(chunk: pl.DataFrame, record_type: RecordType, flags: list[pl.Expr]) -> pl.DataFrame:
    own = [
        name for name in ("label", "margin", "label_confidence", "source", "time", "language") if name in chunk.columns
    ]
    shown = [features.SHOWN] if features.SHOWN in chunk.columns else []
    return chunk.select("row", *PLACES, "part", *features.kept(record_type), *shown, *own, *flags)


class _Sample:
    """Every row, until there are too many; from then on every second, fourth, ... of them. Kept are copies: what polars
    cuts out of a frame holds on to all texts of the frame."""

    def __init__(self, record_type: RecordType) -> None:
        self._type = record_type
        self._texts = [f"{side}_text" for side in sides_of(record_type)] + ["turn_text"]
        self._step = 1
        self._parts: list[pl.DataFrame] = []
        self._height = 0

    def taken(self, chunk: pl.DataFrame) -> pl.DataFrame:
        """What `add` takes of a chunk. May be called by several threads at a time."""
        return _copied(self._some(chunk.drop(self._texts)))

    def add(self, taken: pl.DataFrame) -> None:
        """Takes the chunks in their order."""
        self._keep(taken)
        while self._height > SAMPLE_ROWS:
            self._step *= 2
            parts, self._parts, self._height = self._parts, [], 0
            for part in parts:
                self._keep(part)

    def _keep(self, part: pl.DataFrame) -> None:
        some = self._some(part)
        if some.height:
            self._parts.append(_copied(some) if some.height < part.height else some)
            self._height += some.height

    def _some(self, part: pl.DataFrame) -> pl.DataFrame:
        # rows whose number, times a large odd one, falls into the first part: a step would take rows of one kind alone
        # where the kinds alternate
        mixed = pl.col("row").cast(pl.UInt64) * _MIX % 2**32
        return part.filter(mixed < 2**32 // self._step) if self._step > 1 else part

    def rows(self) -> pl.DataFrame:
        if not self._parts:
            return pl.DataFrame()
        return features.texts(pl.concat(self._parts, how="diagonal_relaxed"), self._type)


def _copied(frame: pl.DataFrame) -> pl.DataFrame:
    """The same rows, with texts of their own."""
    held = io.BytesIO()
    frame.write_ipc(held, compat_level=pl.CompatLevel.oldest())
    held.seek(0)
    return pl.read_ipc(held)


def place(row: Mapping[str, Any]) -> str:
    """Where a row of `Audited.rows` stands."""
    told = f"{row['_file']}:{row['_line']}"
    return f"{told}#{row['part'] + 1}" if row["part"] else told
