"""From the files of a dataset to records of the run's type: read as `convert` reads, identified, built.

What stays in memory is one source at a time. Texts are kept as they are, and those that hold a model's own control
token are flagged; only a source that asks for transforms gets them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from prefdata import building, picture_rows
from prefdata import recipe_types as types
from prefdata.build.built import with_json
from prefdata.building import UNMADE_ROWS
from prefdata.edited import edited
from prefdata.errors import InputError, RecipeError
from prefdata.formats.addresses import from_root
from prefdata.formats.core import GIVEN, PLACES, identify, pieces
from prefdata.formats.export import refused_rows
from prefdata.formats.files import Chunk, input_files, read_frames
from prefdata.gating import STEP, Looking
from prefdata.io import QUARANTINE, FileReport, ReadLimits, sha256_file
from prefdata.judging import RowFilter
from prefdata.logs.events import FATE_NAMES, REFUSED
from prefdata.opening import with_columns_of
from prefdata.picture_rows import PictureRows, Told
from prefdata.recipe import AUTO, Recipe, Source
from prefdata.recognition import Reading, described, reading_as, recognised
from prefdata.schema import SCHEMAS, RecordType, stable_hash
from prefdata.sides import prompts, sides_of
from prefdata.text import joined_text
from prefdata.transforms.control_tokens import contains_control_token

_GATE = r"[<\[\]＜［］﹤﹇﹈]"
"""What every control token holds one of."""


class Imported(NamedTuple):
    """One dataset, read and built: records sorted by id, what gave none, and the account."""

    records: pl.DataFrame
    quarantine: pl.DataFrame
    unmade: pl.DataFrame
    files: list[FileReport]
    fates: list[dict[str, Any]]
    touched: dict[str, int]
    account: dict[str, Any]


def typed(recipe: Recipe) -> Recipe:
    """The recipe with the type that it makes, which the first rows of its sources tell where it does not say.

    Raises RecipeError where they leave it open, or where something in the recipe does not go with the type.
    """
    if recipe.type is not None:
        return recipe
    found = read_as(recipe)
    record_type = types.common_type(found, logs=False)
    types.require(recipe, record_type)
    return dataclasses.replace(recipe, type=record_type)


def read_as(recipe: Recipe) -> dict[str, RecordType]:
    """The type of each source's rows: as the recipe says, else as its first rows tell."""
    return {source.name: types.known_type(source) or sounded(recipe, source).type for source in recipe.sources}


def sounded(recipe: Recipe, source: Source) -> Reading:
    """How a dataset will be read, by its first rows. Raises RecipeError where that is not clear."""
    chunks = _chunks(recipe, source)
    first = next((chunk.frame for chunk in chunks if chunk.frame.height), None)
    if first is None:
        raise InputError(f"source {source.name}: no row could be read")
    return _reading(recipe, source, first)


class Opened(NamedTuple):
    """One dataset, read and edited, not yet built."""

    reader: _Reader
    rows: pl.DataFrame
    touched: dict[str, int]
    flagged: dict[str, int]

    def told(self) -> Told:
        """Its rows, for those who ask what all sources say."""
        return Told(self.reader.type, self.rows)


def read_dataset(
    recipe: Recipe,
    source: Source,
    record_type: RecordType,
    *,
    looking: Looking | None = None,
    filters: Sequence[RowFilter] = (),
) -> Imported:
    """A dataset as records of `record_type`, their pictures looked at where something looks at them.

    `filters` are those of the run, which builders may ask. Raises RecipeError where its type cannot become the other.
    """
    found = opened(recipe, source, record_type, looking=looking)
    looked = looking.pictures() if looking is not None and recipe.image_text is not None else None
    shown = picture_rows.of(recipe, filters, looked, {source.name: found.told()})
    return made_of(found, recipe, record_type, shown.get(source.name))


def opened(recipe: Recipe, source: Source, record_type: RecordType, *, looking: Looking | None) -> Opened:
    """The rows of a dataset as they are, edited as the source asks. Raises RecipeError where their type cannot become
    `record_type`."""
    reader = _Reader(recipe, source, looking)
    rows = reader.rows()
    fault = types.unreachable(reader.type, record_type, recipe.image_text)
    if fault is not None:
        raise RecipeError(f"source {source.name}: {fault}")
    touched: dict[str, int] = {}
    if source.transforms:
        rows, touched = edited(rows, reader.type, [entry.settings.build() for entry in source.transforms])
    else:
        rows = rows.with_columns(touched=pl.lit([], dtype=pl.List(pl.String)))
    rows, flagged = _with_meta(rows, reader.type, source)
    return Opened(reader, rows, touched, flagged)


def made_of(found: Opened, recipe: Recipe, record_type: RecordType, shown: PictureRows | None) -> Imported:
    """What a dataset comes to: its rows built, with the account."""
    reader, source = found.reader, found.reader.source
    made = building.made(found.rows, reader.type, recipe, record_type, source=source.name, picture_rows=shown)
    return Imported(
        records=made.rows,
        quarantine=pl.concat(reader.quarantine).with_columns(source=pl.lit(source.name)),
        unmade=pl.concat([*reader.refused, made.unmade]),
        files=reader.files(),
        fates=reader.fates(),
        touched=found.touched,
        account={**reader.told(), "flagged": found.flagged, **building.told(made)},
    )


def _chunks(recipe: Recipe, source: Source) -> Iterator[Chunk]:
    limits = ReadLimits(
        max_line_bytes=recipe.limits.max_line_bytes,
        max_bytes=recipe.limits.max_bytes,
        max_ratio=recipe.limits.max_ratio,
    )
    return read_frames(_paths(recipe, source), limits=limits)


def _paths(recipe: Recipe, source: Source) -> Path | list[Path]:
    given = [(recipe.root / path).resolve() for path in source.path]
    return given[0] if len(given) == 1 else given


def _reading(recipe: Recipe, source: Source, first: pl.DataFrame) -> Reading:
    form, where = source.format, f"source {source.name}"
    assert form is not None
    bare = form.settings is None or form.settings == type(form.settings)()
    told = described(_paths(recipe, source), form.name, source.labels) if bare else None
    try:
        if told is not None:
            return reading_as(told, first, where=where, wanted=source.type)
        if form.name == AUTO:
            return recognised(first, where=where, wanted=source.type, labels=source.labels)
        made = form.settings if not source.labels else dataclasses.replace(form.settings, labels=dict(source.labels))
        return reading_as(made, first, where=where, wanted=source.type)
    except (RecipeError, InputError) as error:  # which speak to those who convert
        raise type(error)(str(error).replace("--from", "`format`").replace("--type", "`type`")) from None


class _Reader:
    """The running state of reading one dataset."""

    def __init__(self, recipe: Recipe, source: Source, looking: Looking | None) -> None:
        self.recipe, self.source, self.looking = recipe, source, looking
        self.reading: Reading | None = None
        self.schema: dict[str, Any] = {}
        self.seen: dict[str, int] = {}
        self.quarantine = [pl.DataFrame(schema=QUARANTINE)]
        self.refused = [UNMADE_ROWS.to_frame()]
        self.taken: dict[str, int] = {}
        self.decoded = 0
        self.unmade: dict[str, int] = {}

    @property
    def type(self) -> RecordType:
        assert self.reading is not None
        return self.reading.type

    def rows(self) -> pl.DataFrame:
        """All rows of the source, canonical but for PLACES, with ids."""
        found = []
        for _, window in groupby(_chunks(self.recipe, self.source), key=lambda chunk: chunk.window):
            parts = []
            for chunk in window:
                if chunk.quarantine.height:
                    self.quarantine.append(chunk.quarantine.select(QUARANTINE.names()))
                if chunk.frame.height:
                    parts.append(self._decoded(chunk.frame))
            if parts:
                together = parts[0] if len(parts) == 1 else pl.concat(parts).sort(PLACES[:2], maintain_order=True)
                found.append(self._identified(together))
        if not found:
            faults = pl.concat(self.quarantine).select("file", "line", "reason").rows()[:5]
            shown = "; ".join(f"{file}{f' line {line}' if line else ''}: {reason}" for file, line, reason in faults)
            raise InputError(f"source {self.source.name}: no row could be read" + (f" ({shown})" if shown else ""))
        return pl.concat(found)

    def _decoded(self, frame: pl.DataFrame) -> pl.DataFrame:
        if self.reading is None:
            self.reading = _reading(self.recipe, self.source, frame)
            self.schema = dict(frame.schema)
        outcome = self.reading.format.decode(with_columns_of(frame, self.schema), self.reading.type)
        self.decoded += outcome.rows.height
        for reason, number in (outcome.unmade or {}).items():
            self.unmade[reason] = self.unmade.get(reason, 0) + number
        if outcome.unmade is None and outcome.rows.height + outcome.refused.height != frame.height:
            raise RuntimeError(f"{self.reading.format.name}: rows went missing in reading")
        refused = refused_rows(frame, outcome, split=None, step="reading")
        for file, number in frame.group_by("_file").len().iter_rows():
            self.taken[file] = self.taken.get(file, 0) + number
        self._refuse(refused)
        given = [name for name in GIVEN if name in outcome.rows.columns]
        rows = pieces(outcome.rows, self.reading.type).hstack(outcome.rows.select(given).get_columns())
        rows = rows.with_columns(_grouped=pl.lit("group" in given and "group" not in outcome.made))
        return self._seen(rows, several=outcome.unmade is not None)

    def _refuse(self, refused: pl.DataFrame) -> None:
        """Notes the records in `refused` (`step`, `file`, `line`, `reasons`), which were taken for rows."""
        nothing = [pl.lit(None, pl.String).alias(name) for name in ("id", "other", "part")]
        whose = pl.lit(self.source.name).alias("source")
        self.refused.append(refused.with_columns(whose, *nothing).select(UNMADE_ROWS.names()).cast(UNMADE_ROWS))
        for file, number in refused.group_by("file").len().iter_rows():
            self.taken[file] -= number

    def _seen(self, rows: pl.DataFrame, *, several: bool) -> pl.DataFrame:
        """The rows all of whose pictures pass the gate; the others are refused.

        With `several` rows of one record, it is refused where none of them passes, else they are left out of it.
        """
        if self.looking is None or rows["images"].null_count() == rows.height:
            return rows
        passed, gone = self.looking.passed(self._from_root(rows), self.source)
        self.decoded -= gone.height
        part = gone.join(passed, on=PLACES, how="semi", nulls_equal=True) if several else gone.clear()
        for reason, number in building.counts(part).items():
            self.unmade[reason] = self.unmade.get(reason, 0) + number
        whole = gone.join(part, on=PLACES, how="anti", nulls_equal=True) if several else gone
        places = {name: pl.col(f"_{name}") for name in ("file", "line")}
        if several:
            reasons = pl.col("reasons").explode().unique().sort()
            whole = whole.group_by(PLACES, maintain_order=True).agg(reasons)
        self._refuse(whole.select("reasons", step=pl.lit(STEP), **places))
        return passed

    def _from_root(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows whose addresses are seen from the root of the source."""
        if self.recipe.pictures is not None and self.recipe.pictures.root is not None:
            return rows
        return from_root(rows)

    def _identified(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows with an id of their content; ids of the file's own go to `meta`, its groups are those of this source.

        `_own_group` is the group of a row with pictures that the file gave: others are told by what is asked, or shown.
        """
        name = self.source.name
        own = [pl.col("id").alias("_own_id")] if "id" in rows.columns else []
        given = rows["group"] if "group" in rows.columns else pl.Series([None] * rows.height, dtype=pl.String)
        whose = pl.repeat(name, rows.height, eager=True, dtype=pl.String)
        hashed = stable_hash([whose, given], purpose="group")
        asked = prompts(rows)  # the prompt with its pictures
        group = pl.select(pl.when(given.is_not_null()).then(hashed).otherwise(asked).alias("group")).to_series()
        shown = pl.col("_grouped") & (pl.col("images").list.len() > 0)
        kept = rows.with_columns(hashed.alias("_hashed")).select(
            *PLACES, *own, _own_group=pl.when(shown & given.is_not_null()).then("_hashed")
        )
        bare = rows.drop(*PLACES, *GIVEN, "_grouped", strict=False)
        found = identify(bare, self.type, source=name, seen=self.seen)
        return found.with_columns(group).hstack(kept.get_columns())

    def told(self) -> dict[str, Any]:
        """How the source was read, and what of it was."""
        assert self.reading is not None
        refused, quarantine = pl.concat(self.refused), pl.concat(self.quarantine)
        return {
            "source": self.source.name,
            "read_as": self.reading.format.name,
            "type": str(self.reading.type),
            "because": list(self.reading.reasons),
            "same_as": list(self.reading.same),
            "read": sum(self.taken.values()) + refused.height + quarantine.height,
            "refused": refused.height,
            "refused_because": building.counts(refused),
            "quarantined": quarantine.height,
            "decoded": self.decoded,
            "left_out": dict(sorted(self.unmade.items())),
        }

    def fates(self) -> list[dict[str, Any]]:
        """Of each file: records that were taken, refused, quarantined; together its units."""
        table: dict[str, dict[str, int]] = {}
        refused, quarantine = pl.concat(self.refused), pl.concat(self.quarantine)
        for fate, numbers in (
            ("row", self.taken.items()),
            (REFUSED, refused.group_by("file").len().iter_rows()),
            ("quarantined", quarantine.group_by("file").len().iter_rows()),
        ):
            for file, number in numbers:
                table.setdefault(file, {**dict.fromkeys(FATE_NAMES, 0), REFUSED: 0})[fate] += number
        return [
            {"source": self.source.name, "file": file, **row, "units": sum(row.values())}
            for file, row in sorted(table.items())
        ]

    def files(self) -> list[FileReport]:
        """The files behind the source."""
        fates = {row["file"]: row for row in self.fates()}
        return [
            FileReport(
                file=one.name,
                sha256=sha256_file(one.path),
                bytes=one.path.stat().st_size,
                encoding="",
                units=fates.get(one.name, {}).get("units", 0),
                blank=0,
                quarantined=fates.get(one.name, {}).get("quarantined", 0),
            )
            for one in input_files(_paths(self.recipe, self.source))
        ]


def _with_meta(rows: pl.DataFrame, record_type: RecordType, source: Source) -> tuple[pl.DataFrame, dict[str, int]]:
    """Canonical rows whose `meta` has file, line, what touched the texts and what is flagged in them; and the flags.

    `customer` and `session` of the source's own `meta` are kept as hashes; the rest of it stands under `own`, but not
    where the source asks for transforms: none has looked at it. A session is the row's group. A group that the file
    gives rows with pictures stands as a hash under `group`: the builders tell rows by their pictures.
    """
    texts = [joined_text(side) for side in sides_of(record_type)] + (
        [pl.col("answer")] if record_type is RecordType.PROMPT else []
    )
    near = rows.select(_near=pl.any_horizontal(text.str.contains(_GATE).fill_null(False) for text in texts))["_near"]
    odd = near.arg_true()
    holds = pl.any_horizontal(contains_control_token(text).fill_null(False) for text in texts)
    found = rows[odd].select(_holds=holds)["_holds"] if len(odd) else pl.Series([], dtype=pl.Boolean)
    flags = pl.repeat(False, rows.height, eager=True, dtype=pl.Boolean).scatter(odd, found)
    whose = pl.repeat(source.name, rows.height, eager=True, dtype=pl.String)
    hashed = {}
    for name in ("session", "customer"):
        own = rows.select(pl.col("meta").str.json_path_match(f"$.{name}").alias(name))[name]
        hashed[name] = pl.select(pl.when(own.is_not_null()).then(stable_hash([whose, own], purpose=name))).to_series()
    top = pl.struct(
        session=hashed["session"],
        customer=hashed["customer"],
        file=pl.col("_file"),
        line=pl.col("_line"),
        touched=pl.col("touched"),
        flagged=pl.when(flags).then(pl.lit(["control_tokens"])).otherwise(pl.lit([], dtype=pl.List(pl.String))),
    ).struct.json_encode()
    own_id = {}
    if "_own_id" in rows.columns and not source.transforms:
        text = pl.struct(v="_own_id").struct.json_encode().str.slice(5).str.strip_suffix("}")
        own_id = {"own_id": pl.when(pl.col("_own_id").is_not_null()).then(text)}
    rest = {} if source.transforms else {"own": pl.col("meta")}
    tie = {"group": pl.lit('"') + pl.col("_own_group") + pl.lit('"')}
    rows = rows.with_columns(
        meta=with_json(top, **tie, **own_id, **rest), group=pl.coalesce(hashed["session"], "group")
    )
    counted = {"control_tokens": int(flags.sum())} if flags.any() else {}
    return rows.select(SCHEMAS[record_type].names()), counted
