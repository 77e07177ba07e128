"""A dataset from one format into another, chunk by chunk, with an account of every row.

Files are read strictly, decoded into canonical rows, retyped where that is asked for, and written after the target's
own acceptance rules. No row changes but in form; a row that cannot pass is refused with its reasons and its place.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import polars as pl

from prefdata.conversion.ahead import Ahead
from prefdata.conversion.place import Place
from prefdata.errors import InputError, RecipeError
from prefdata.formats import rules
from prefdata.formats.core import GIVEN, PLACES, Feature, Format, Outcome, pieces, sides_of
from prefdata.formats.export import (
    REFUSED_FILE,
    REFUSED_ROWS,
    reason_counts,
    refused_rows,
    with_dtypes,
)
from prefdata.formats.files import Chunk, FrameWriter
from prefdata.formats.messages import unread_fields
from prefdata.formats.order import interleave
from prefdata.formats.picture_export import PictureExport
from prefdata.io import ReadLimits, write_atomic, write_parquet
from prefdata.opening import Opened, open_dataset
from prefdata.recognition import format_of
from prefdata.schema import SCHEMAS, RecordType, stable_hash

ControlTokens = Literal["keep", "escape", "refuse"]
Progress = Callable[[str, int], None]

_DEFAULT_LIMITS = ReadLimits()
_FEATURES = {"margin": Feature.MARGIN, "answer": Feature.ANSWER, "tools": Feature.TOOLS}
_NOTED = ("margin", "answer", "tools", "time", "language", "evidence", "label_confidence", "label_sources", "meta")
_META_ROWS = 200

logger = logging.getLogger(__name__)


class Converted(NamedTuple):
    """What a conversion came to. read = refused_reading + quarantined + the rows that were decoded."""

    source: str
    """Format that was read."""
    type: RecordType
    reasons: tuple[str, ...]
    """Why it was taken for that."""
    same: tuple[str, ...]
    """Other formats that read the file the same way."""
    target: str
    written_as: RecordType
    read: int
    """Records of the files, sound and broken."""
    decoded: int
    """Canonical rows made of them; more than were read where a record holds several pairs."""
    retyped: int
    """Rows after --as; the same as decoded without it."""
    written: int
    refused: int
    """Records and rows that are in .refused.parquet but those that could not be read."""
    quarantined: int
    refused_reading: dict[str, int]
    """Reason -> records that the source's format did not take."""
    refused_building: dict[str, int]
    """Reason -> candidates of which --as, or the source's format, made no row."""
    refused_writing: dict[str, int]
    """Reason -> rows that the target would not take."""
    unreadable: dict[str, int]
    """Reason -> records that could not be read."""
    left_out: dict[str, int]
    """What the target does not hold -> rows that had it."""
    other_columns: tuple[str, ...]
    """Columns of the source that are no part of what the formats know; the target does not get them."""
    context: int
    """SFT rows in which the assistant speaks before the answer too: there it is context, not to be trained on."""
    files: dict[str, dict[str, Any]]
    """File -> rows and sha256, of the data files."""
    out: Path
    seconds: float


def convert(
    path: str | Path | Sequence[str | Path],
    *,
    to: str,
    out: str | Path,
    source: str = "auto",
    type: RecordType | str | None = None,
    written_as: RecordType | str | None = None,
    labels: Mapping[str, bool] | None = None,
    columns: Mapping[str, str] | None = None,
    control_tokens: ControlTokens = "keep",
    settings: Mapping[str, Any] | None = None,
    source_settings: Mapping[str, Any] | None = None,
    limits: ReadLimits = _DEFAULT_LIMITS,
    progress: Progress | None = None,
) -> Converted:
    """Writes the dataset at `path` in the format `to`: into the file `out`, or a folder with a file for every split.

    `source` "auto" recognises the format; `type` says which type the rows are where that is not clear, `written_as`
    makes them another (pairs to unpaired, SFT or prompts). `labels` says what labels other than true and false mean,
    `columns` which column of a table is what.
    `control_tokens` are a model's own (`<|im_end|>`) inside a text. Rows that do not pass are in `.refused.parquet`
    beside the output; where none passes, nothing else is written. Unpaired rows are written with both labels spread
    over each stretch of a file. Raises RecipeError where the file can be read in several ways, InputError where it
    cannot be read at all; then nothing is written.
    Example: `prefdata.convert("pairs.jsonl", to="trl", out="data")`.
    """
    started = time.monotonic()
    target = format_of(to, settings)
    if not target.writes:
        raise RecipeError(f"{to} is read only; `prefdata filters` lists what is written")
    if control_tokens not in get_args(ControlTokens):
        raise RecipeError(f"control_tokens {control_tokens!r}: expected {', '.join(get_args(ControlTokens))}")
    data = open_dataset(
        path,
        source=source,
        type=type,
        labels=labels,
        columns=columns,
        source_settings=source_settings,
        limits=limits,
    )
    reading, chunks = data.reading, data.chunks
    result_type = RecordType(written_as) if written_as is not None else reading.type
    if result_type not in target.writes:
        raise RecipeError(
            f"{target.name} does not hold {result_type}; it holds {', '.join(sorted(target.writes))}"
            + (", see --as" if written_as is None else "")
        )
    place = Place(Path(out), target, path)
    run = _Conversion(data, target, result_type, control_tokens, place)
    try:
        files = _through(run, chunks, progress)
    except _LatePictures as late:
        given = {"pictures": "files", **(settings or {})} if not late.inside else dict(settings or {})
        return convert(
            path,
            to=to,
            out=out,
            source=source,
            type=type,
            written_as=written_as,
            labels=labels,
            columns=columns,
            control_tokens=control_tokens,
            settings={**given, "images": True},
            source_settings=source_settings,
            limits=limits,
            progress=progress,
        )
    return run.result(files, time.monotonic() - started)


def _through(run: _Conversion, chunks: Iterator[Chunk], progress: Progress | None) -> dict[str, dict[str, Any]]:
    with contextlib.ExitStack() as stack:
        run.stack = stack
        ahead = stack.enter_context(contextlib.closing(Ahead(chunks)))
        for _, window in groupby(ahead, key=lambda chunk: chunk.window):
            run.add(list(window))
            if progress is not None:
                progress(run.reading.format.name, run.read)
        return run.finish()


class _Conversion:
    """The running state of one conversion."""

    stack: contextlib.ExitStack

    def __init__(
        self,
        data: Opened,
        target: Format,
        result_type: RecordType,
        control_tokens: ControlTokens,
        place: Place,
    ) -> None:
        self.data, self.reading, self.target, self.result_type = data, data.reading, target, result_type
        self.control_tokens, self.place = control_tokens, place
        self.writers: dict[str, FrameWriter] = {}
        self.pictures: dict[str, PictureExport] = {}
        self.columns: dict[str, pl.DataType] = {}
        self.gone: list[pl.DataFrame] = [pl.DataFrame(schema=REFUSED_ROWS)]
        self.left_out: Counter[str] = Counter()
        self.unmade: Counter[str] = Counter()
        self.broken: list[tuple[str, str]] = []
        self.seen: set[str] = set()
        self.read = self.taken = self.decoded = self.candidates = self.retyped = 0
        self.context = self.quarantined = self.unbuilt = self.refused_at_reading = self.refused_at_writing = 0

    def add(self, window: list[Chunk]) -> None:
        """Takes the chunks of one window, which are of one file, through to its writer."""
        parts = []
        split = self.place.split(window[0].frame["_file"][0] if window[0].frame.height else "")
        for chunk in window:
            self._quarantine(chunk.quarantine)
            if chunk.frame.height:
                split = self.place.split(chunk.frame["_file"][0])
                parts.append(self._decode(chunk.frame, split))
        if not parts:
            return
        rows = parts[0] if len(parts) == 1 else pl.concat(parts).sort(PLACES[:2], maintain_order=True)
        self._note(rows)
        if self.result_type is not self.reading.type:
            rows = self._retype(rows, split)
        self.retyped += rows.height
        if self.control_tokens != "keep":
            from prefdata.conversion.tokens import without_tokens

            outcome = without_tokens(rows, sides_of(self.result_type), refuse_them=self.control_tokens == "refuse")
            self._refuse_writing(rows, outcome, split)
            rows = outcome.rows
        self._see_pictures(rows)
        if self.result_type is RecordType.UNPAIRED:
            rows = interleave(rows)
        there = self._pictures(split)
        placed = there.placed(rows)
        self._refuse_writing(rows, placed, split)
        outcome = self.target.encode(placed.rows, self.result_type)
        self._refuse_writing(placed.rows, outcome, split)
        written = there.written(outcome.rows)
        if split not in self.writers:
            path = self.place.file(split)
            path.parent.mkdir(parents=True, exist_ok=True)
            self.writers[split] = self.stack.enter_context(FrameWriter(path, self.place.container))
        self.writers[split].write(written)
        self.columns = with_dtypes(self.columns, written.schema)

    def _pictures(self, split: str) -> PictureExport:
        """How the pictures of a split go out: those given as bytes; addresses stay as they are."""
        if split not in self.pictures:
            path, container = self.place.file(split), self.place.container
            name = "images" if self.place.folder else f"{path.stem}.images"
            self.pictures[split] = PictureExport(self.target, container, store=None, data=path.parent, name=name)
        return self.pictures[split]

    def _quarantine(self, quarantine: pl.DataFrame) -> None:
        if not quarantine.height:
            return
        self.read += quarantine.height
        self.quarantined += quarantine.height
        self.broken += quarantine.filter(pl.col("line").is_null()).select("file", "reason").rows()
        self.gone.append(
            quarantine.select(
                pl.lit(None, pl.String).alias("split"),
                pl.lit(None, pl.String).alias("id"),
                "file",
                "line",
                "offset",
                pl.lit("unreadable").alias("step"),
                pl.concat_list("reason").alias("reasons"),
            )
        )

    def _decode(self, frame: pl.DataFrame, split: str) -> pl.DataFrame:
        """Canonical pieces of a chunk, with PLACES."""
        outcome = self.data.decoded(frame)
        for name in unread_fields(frame):
            self.left_out[f"meta.{name}"] += 0
        self.read += frame.height
        self.refused_at_reading += outcome.refused.height
        self.taken += frame.height - outcome.refused.height
        self.decoded += outcome.rows.height
        self.unmade.update(outcome.unmade or {})
        if outcome.unmade is None and outcome.rows.height + outcome.refused.height != frame.height:
            raise _Unbalanced(f"{self.reading.format.name}: rows went missing in reading")
        self.gone.append(refused_rows(frame, outcome, split=split, step="reading"))
        given = [name for name in GIVEN if name in outcome.rows.columns]
        return pieces(outcome.rows, self.reading.type).hstack(outcome.rows.select(given).get_columns())

    def _retype(self, rows: pl.DataFrame, split: str) -> pl.DataFrame:
        """`rows` as the result type; their ids are hashes of their places, so that memory does not grow."""
        from prefdata.build.retype import retype

        number = pl.int_range(pl.len(), dtype=pl.Int64).over("_file", "_line")
        places = rows.select("_file", "_line", "_offset", number=number)
        ids = stable_hash([places["_file"], places["_line"], places["number"]], purpose="place")
        source = pl.lit(self.reading.format.name)
        named = rows.drop(PLACES).with_columns(id=ids, source=source, group=ids)
        built = retype(
            named.select(SCHEMAS[self.reading.type].names()), self.reading.type, self.result_type, seen=self.seen
        )
        unmade = built.unmade.select("id", "reasons").join(
            places.with_columns(id=ids), on="id", how="left", maintain_order="left"
        )
        sides = 2 if (self.reading.type, self.result_type) == (RecordType.PREFERENCE, RecordType.UNPAIRED) else 1
        if built.rows.height + built.unmade.height != sides * rows.height:
            raise _Unbalanced("rows went missing in building")
        self.candidates += sides * rows.height
        self.unbuilt += built.unmade.height
        self.gone.append(
            unmade.select(
                pl.lit(split).alias("split"),
                "id",
                pl.col("_file").alias("file"),
                pl.col("_line").alias("line"),
                pl.col("_offset").alias("offset"),
                pl.lit("building").alias("step"),
                "reasons",
            )
        )
        pair = pl.coalesce(pl.col("evidence").str.json_path_match("$.pair"), "id") if sides == 2 else pl.col("id")
        keys = built.rows.select(id=pair)
        found = keys.join(places.with_columns(id=ids), on="id", how="left", maintain_order="left")
        return found.select(PLACES).hstack(built.rows.get_columns())

    def _refuse_writing(self, rows: pl.DataFrame, outcome: Outcome, split: str) -> None:
        if outcome.rows.height + outcome.refused.height != rows.height:
            raise _Unbalanced(f"{self.target.name}: rows went missing in writing")
        self.refused_at_writing += outcome.refused.height
        self.gone.append(refused_rows(rows, outcome, split=split, step="writing"))

    def _see_pictures(self, rows: pl.DataFrame) -> None:
        """A format that writes all rows in another shape where one has pictures does so from the first row on."""
        if getattr(self.target, "images", False) is None and rows.select(rules.images().any()).item():
            if self.writers:
                uri = pl.element().struct.field("uri")
                inside = pl.col("images").list.eval(uri.str.starts_with("data:")).list.any().any()
                raise _LatePictures(inside=bool(rows.select(inside).item()))
            self.target = dataclasses.replace(self.target, images=True)  # type: ignore[type-var]

    def _note(self, rows: pl.DataFrame) -> None:
        """Counts the values that the target does not hold, and rows whose answer is not all that the assistant says."""
        if self.result_type is RecordType.SFT:
            self.context += int(rows.select(rules.has_role("prompt", "assistant").sum()).item())
        held = self.target.holds.get(self.result_type, frozenset())
        for name in _NOTED:
            if name not in rows.columns or _FEATURES.get(name) in held:
                continue
            filled = rows.height - rows[name].null_count()
            if filled:
                self.left_out[name] += filled
        if "meta" in rows.columns:
            texts = rows["meta"].drop_nulls().head(_META_ROWS).to_list()
            for key in {key: None for text in texts for key in json.loads(text)}:
                self.left_out[f"meta.{key}"] += 0

    def finish(self) -> dict[str, dict[str, Any]]:
        """Closes the files, which now appear, and writes what stands beside them."""
        if self.broken:
            faults = "; ".join(f"{file}: {reason}" for file, reason in self.broken[:5])
            raise InputError(f"{len(self.broken)} files could not be read to their end, nothing was written: {faults}")
        before = self.place.refused_before(self.writers)
        if self.retyped == self.refused_at_writing:  # no row is left: the account alone is written
            for writer in self.writers.values():
                writer.abort()
            self.writers = {}
        names = {split: self.place.name(split) for split in sorted(self.writers)}
        beside = self.target.beside(names, self.result_type, columns=self.columns) if names else {}
        beside = {name: self.place.with_entries(name, text) for name, text in beside.items()}
        files = {}
        for split, name in names.items():
            done = self.writers[split].close()
            files[name] = {"rows": done.rows, "sha256": done.sha256}
        for name, text in beside.items():
            path = self.place.beside(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, text.encode())
        refused = self.place.beside(REFUSED_FILE)
        gone = pl.concat([before, *self.gone])
        if gone.height:
            refused.parent.mkdir(parents=True, exist_ok=True)
            write_parquet(refused, gone)
        else:
            refused.unlink(missing_ok=True)
        return files

    def result(self, files: dict[str, dict[str, Any]], seconds: float) -> Converted:
        """The account. Raises where it does not add up, which would be a fault of ours."""
        written = sum(facts["rows"] for facts in files.values())
        retyping = self.result_type is not self.reading.type
        sums = (
            self.read == self.taken + self.refused_at_reading + self.quarantined,
            self.retyped == (self.candidates - self.unbuilt if retyping else self.decoded),
            self.retyped == written + self.refused_at_writing,
        )
        if not all(sums):
            raise _Unbalanced(f"the account does not add up: {sums}")
        gone = pl.concat(self.gone)
        steps = {
            step: reason_counts(gone.filter(pl.col("step") == step))
            for step in ("unreadable", "reading", "building", "writing")
        }
        building = Counter(steps["building"])
        building.update(self.unmade)
        logger.info("converted %d rows of %d, %.1f s", written, self.read, seconds)
        return Converted(
            source=self.reading.format.name,
            type=self.reading.type,
            reasons=self.reading.reasons,
            same=self.reading.same,
            target=self.target.name,
            written_as=self.result_type,
            read=self.read,
            decoded=self.decoded,
            retyped=self.retyped,
            written=written,
            refused=gone.height - self.quarantined,
            quarantined=self.quarantined,
            refused_reading=steps["reading"],
            refused_building=dict(building),
            refused_writing=steps["writing"],
            unreadable=steps["unreadable"],
            left_out={name: count for name, count in self.left_out.items() if not name.startswith("meta.")},
            other_columns=tuple(name.removeprefix("meta.") for name in self.left_out if name.startswith("meta.")),
            context=self.context,
            files=files,
            out=self.place.out,
            seconds=round(seconds, 3),
        )


class _LatePictures(Exception):
    """The first pictures, after rows that were written in the shape of rows without; `inside` are their bytes."""

    def __init__(self, *, inside: bool) -> None:
        super().__init__()
        self.inside = inside


class _Unbalanced(RuntimeError):
    """Rows that are neither written nor accounted for: a fault of ours."""
