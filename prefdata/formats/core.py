"""What every foreign format is made of: recognise, decode, encode, and an account of every row that does not pass.

A format works on frames, never on files: `decode` turns the rows of a file, whose nested values have their own polars
types, into canonical pieces; `encode` turns canonical rows into the rows of the target, after the target's own
acceptance rules. Files are read and written in `prefdata.formats.files`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Literal, NamedTuple, Protocol

import polars as pl

from prefdata.schema import MESSAGES, SCHEMAS, RecordType, stable_hash

ROW = "_row"
"""Position of a row in the frame that was handed in."""

REFUSED = pl.Schema({ROW: pl.UInt32(), "reasons": pl.List(pl.String)})

PLACES = ("_file", "_line", "_offset")
"""Columns that a reader puts before the file's own: where a row stands."""

GIVEN = ("id", "source", "group")
"""Canonical columns that `identify` fills, not a decoder."""


class Feature(StrEnum):
    """What a row may have and a format may be unable to hold."""

    SYSTEM = "system prompt"
    TURNS = "several turns before the answer"
    REPEATED_ROLE = "two turns of one role in a row"
    ANSWER_TURNS = "an answer of several turns"
    TOOL_CALLS = "tool calls and tool results"
    CALL_IDS = "ids of tool calls"
    TEXT_WITH_CALL = "text beside a tool call"
    TOOLS = "tool definitions"
    IMAGES = "pictures"
    IMAGE_FILES = "pictures given as files"
    IMAGE_PLACES = "pictures at any place of the text"
    ANSWER_IMAGES = "pictures in an answer"
    IMAGE_TAG = "the literal text `<image>`"
    MARGIN = "margin"
    ANSWER = "reference answer of a prompt"
    ID = "row id"


Container = Literal["jsonl", "json", "parquet", "tar"]


class Outcome(NamedTuple):
    """Rows that passed, in their order, and those that did not (REFUSED): together all that were handed in.

    Formats that make several rows of one (pairs of a ranked list) name the row in PLACES, and count in `unmade` what
    they made no row of although the row that it stands in gave others: reason -> candidates. `made` are those of GIVEN
    that the format filled itself, where the file says nothing.
    """

    rows: pl.DataFrame
    refused: pl.DataFrame
    unmade: Mapping[str, int] | None = None
    made: frozenset[str] = frozenset()


class Match(NamedTuple):
    """A format's claim on a file: the type it would read it as, and why."""

    type: RecordType
    reasons: tuple[str, ...]


class Format(Protocol):
    """A foreign format. Settings are fields of the dataclass; `name` is the catalogue's."""

    name: str
    reads: frozenset[RecordType]
    writes: frozenset[RecordType]
    container: Container
    holds: Mapping[RecordType, frozenset[Feature]]

    def recognise(self, sample: pl.DataFrame) -> Sequence[Match]:
        """What `sample`, the first rows of a file, may be in this format; empty where it is not."""
        ...

    def decode(self, rows: pl.DataFrame, record_type: RecordType) -> Outcome:
        """Canonical columns of `record_type` but those of GIVEN; `rows` keep their order. See `pieces`."""
        ...

    def encode(self, rows: pl.DataFrame, record_type: RecordType) -> Outcome:
        """The target's rows, after its own acceptance rules."""
        ...

    def beside(
        self, files: Mapping[str, str], record_type: RecordType, *, columns: Collection[str] = ()
    ) -> Mapping[str, str]:
        """Text files that the target wants beside the data, by name.

        `files`: split -> file name; `columns`: names of the columns that were written, a mapping where it says their
        dtypes.
        """
        ...


def data_file(fmt: Format, split: str, suffix: str) -> str:
    """Name of a split's data file in a folder of this format: `<split><suffix>`, or as its `file_name` says."""
    named = getattr(fmt, "file_name", None)
    return str(named(split)) if named is not None and suffix == f".{fmt.container}" else split + suffix


def refuse(frame: pl.DataFrame, rules: Mapping[str, pl.Expr], *, also: Iterable[pl.DataFrame] = ()) -> Outcome:
    """`frame` without the rows of which any rule is true; each of them with all its reasons, sorted by name.

    A rule that is null for a row does not refuse it. `also`: REFUSED frames of earlier steps over the same rows.
    """
    names = sorted(rules)
    flags = frame.select(rules[name].fill_null(False).alias(name) for name in names)
    if flags.height != frame.height:  # rules of literals alone
        flags = pl.concat([flags] * frame.height) if frame.height and names else flags.clear()
    earlier = [one for one in also if one.height]
    hit = [name for name in names if flags[name].any()]
    if not hit and not earlier:
        return Outcome(frame, nothing_refused())
    parts = [flags.with_row_index(ROW).filter(name).select(ROW, reasons=pl.lit(name)) for name in hit]
    parts += [one.explode("reasons").select(pl.col(ROW).cast(pl.UInt32), "reasons") for one in earlier]
    found = pl.concat(parts).group_by(ROW).agg(pl.col("reasons").unique().sort()).sort(ROW).cast(REFUSED)
    kept = ~pl.int_range(frame.height, dtype=pl.UInt32, eager=True).is_in(found[ROW].implode())
    return Outcome(frame.filter(kept), found)


def nothing_refused() -> pl.DataFrame:
    """An empty REFUSED frame."""
    return pl.DataFrame(schema=REFUSED)


def after(first: pl.DataFrame, second: pl.DataFrame, height: int) -> pl.DataFrame:
    """Refusals of two steps as one, in positions of the first step's input of `height` rows.

    `second` counts positions among the rows that `first` let pass.
    """
    passed = pl.DataFrame({ROW: pl.int_range(height, dtype=pl.UInt32, eager=True)}).join(first, on=ROW, how="anti")
    passed = passed.sort(ROW).with_row_index("_second")
    moved = second.rename({ROW: "_second"}).join(passed, on="_second", how="left").select(ROW, "reasons")
    return pl.concat([first, moved]).sort(ROW).cast(REFUSED)


def pieces(frame: pl.DataFrame, record_type: RecordType, *, spare: Sequence[str] = ()) -> pl.DataFrame:
    """`frame` with all canonical columns of `record_type` but those of GIVEN, nulls where it has none, exact dtypes.

    Columns of PLACES stay in front. `spare`: columns of the source that no canonical column took; they become `meta`,
    a JSON object, without nulls (where it is not there yet, see `set_aside`).
    """
    schema = {name: dtype for name, dtype in SCHEMAS[record_type].items() if name not in GIVEN}
    if "images" in frame.columns:
        frame = frame.with_columns(pl.when(pl.col("images").list.len() > 0).then("images").alias("images"))
    if spare:
        frame = frame.with_columns(meta=_json_object(frame, spare))
    columns = [
        pl.col(name).cast(dtype) if name in frame.columns else pl.lit(None, dtype=dtype).alias(name)
        for name, dtype in schema.items()
    ]
    places = [name for name in PLACES if name in frame.columns]
    return frame.select(*places, *columns)


def set_aside(rows: pl.DataFrame, taken: Iterable[str]) -> pl.DataFrame:
    """`rows` with only the columns `taken` and PLACES, and with `meta`: all others as a JSON object, without nulls.

    For decoders that make a column whose name the source has for something else.
    """
    spare = spare_columns(rows, taken)
    meta = _json_object(rows, spare) if spare else pl.Series([None] * rows.height, dtype=pl.String)
    return rows.drop(spare).with_columns(meta.alias("meta"))


def _json_object(frame: pl.DataFrame, names: Sequence[str]) -> pl.Series:
    text = frame.select(pl.struct(names).struct.json_encode()).to_series()
    return without_nulls(text).replace("{}", None)


def without_nulls(text: pl.Series) -> pl.Series:
    """JSON objects without the keys whose value is null, at every level.

    A quote inside a JSON string is written `\\"`, so that neither pattern can match there.
    """
    text = text.str.replace_all(r',"[A-Za-z0-9_ .-]+":null', "")
    while text.str.contains(r'\{"[A-Za-z0-9_ .-]+":null').any():
        text = text.str.replace_all(r'\{"[A-Za-z0-9_ .-]+":null,', "{")
        text = text.str.replace_all(r'\{"[A-Za-z0-9_ .-]+":null\}', "{}")
    return text


def json_texts(frame: pl.DataFrame) -> pl.Series:
    """Every row as a compact JSON object without its nulls, at every level."""
    filled = [column.name for column in frame.get_columns() if column.null_count() < frame.height]
    if not filled:
        return pl.Series(["{}"] * frame.height, dtype=pl.String)
    texts = frame.select(pl.struct(filled).struct.json_encode()).to_series()
    return without_nulls(texts) if texts.str.contains('":null', literal=True).any() else texts


def spare_columns(frame: pl.DataFrame, taken: Iterable[str]) -> list[str]:
    """The columns of a file that no canonical column takes."""
    known = {*taken, *PLACES}
    return [name for name in frame.columns if name not in known]


def identify(
    rows: pl.DataFrame, record_type: RecordType, *, source: str, seen: dict[str, int] | None = None
) -> pl.DataFrame:
    """Decoded pieces with `id`, `source` and `group`: canonical rows, without PLACES.

    What the pieces bring of these is kept, but for an id that was there before. Else `id` is a hash of (source,
    content, occurrence number of that content), `group` a hash of the prompt. `seen` counts occurrences over several
    calls.
    """
    sides = [name for name in ("prompt", "completion", "chosen", "rejected", "label", "answer") if name in rows.columns]
    content = rows.select(pl.struct([*sides, "images"]).struct.json_encode()).to_series()
    digest = stable_hash([pl.repeat(source, rows.height, eager=True, dtype=pl.String), content], purpose="content")
    numbers = digest.to_frame("digest").select(pl.int_range(pl.len()).over("digest")).to_series().to_list()
    if seen is not None and rows.height:
        keys = digest.to_list()
        numbers = [seen.get(key, 0) + at for key, at in zip(keys, numbers, strict=True)]
        for key, at in zip(keys, numbers, strict=True):
            seen[key] = max(seen.get(key, 0), at + 1)
    ids = stable_hash([digest, pl.Series(numbers, dtype=pl.Int64)], purpose="row")
    prompt = stable_hash([rows.select(pl.struct("prompt").struct.json_encode()).to_series()], purpose="prompt")
    made = {"id": ids, "source": pl.repeat(source, rows.height, eager=True, dtype=pl.String), "group": prompt}
    if "id" in rows.columns:
        rows = rows.with_columns(id=_first_seen(rows["id"], seen))
    given = [pl.coalesce(name, pl.lit(made[name])).alias(name) for name in GIVEN if name in rows.columns]
    rows = rows.with_columns(made[name].alias(name) for name in GIVEN if name not in rows.columns)
    return rows.with_columns(given).select(SCHEMAS[record_type].names())


def _first_seen(ids: pl.Series, seen: dict[str, int] | None) -> pl.Series:
    """Ids that stand for the first time; null for others."""
    ids = ids.to_frame("id").select(pl.when(pl.col("id").is_first_distinct()).then("id")).to_series()
    if seen is None:
        return ids
    kept = [one if one is not None and f"id {one}" not in seen else None for one in ids]
    seen.update({f"id {one}": 1 for one in kept if one is not None})
    return pl.Series("id", kept, dtype=pl.String)


def sides_of(record_type: RecordType) -> tuple[str, ...]:
    """The MESSAGES columns of a type: prompt first, then its answers."""
    return tuple(name for name, dtype in SCHEMAS[record_type].items() if dtype == MESSAGES)


def answers_of(record_type: RecordType) -> tuple[str, ...]:
    """The MESSAGES columns of a type that hold answers."""
    return sides_of(record_type)[1:]
