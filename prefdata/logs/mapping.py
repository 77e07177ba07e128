"""What all layouts share: columns mapped to canonical names, roles, times and ratings read, the rest kept as meta.

Nothing is guessed in silence: a role outside the table stays null (`unknown_role` in the end), a time or a rating that
cannot be read is null and counted in the report of the reading.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import polars as pl

from prefdata.errors import InputError, RecipeError, nearest
from prefdata.io import FileReport, Format, ReadLimits, Table, read_table
from prefdata.logs.events import EVENTS, Role
from prefdata.logs.times import parse_times
from prefdata.logs.values import read_ratings, read_roles, read_thumbs

CANONICAL = (
    "session",
    "customer",
    "agent",
    "event",
    "reply_to",
    "time",
    "role",
    "text",
    "rating",
    "thumb",
    "survey",
    "status",
    "customer_name",
    "agent_name",
)
"""Names that a column of a log can be mapped to."""


class LogRead(NamedTuple):
    """A log as it was read."""

    events: pl.DataFrame
    """EVENTS"""
    quarantine: pl.DataFrame
    """QUARANTINE: what could not be read, by reader or layout."""
    files: list[FileReport]
    report: dict[str, int]
    """Counts: `events`, `unknown_role`, `unparsed_time`, `unparsed_rating`, `unparsed_thumb`, and the layout's own."""


@dataclass(frozen=True, kw_only=True)
class LogSettings:
    """Settings that all layouts have."""

    columns: dict[str, str] = field(default_factory=dict)
    """Canonical name -> name in the file. Canonical: session customer agent event reply_to time role text rating thumb
    survey status customer_name agent_name. `customer` and `agent` may be one column (an author's id): it is then the
    one or the other by the message's role."""
    roles: dict[str, list[str]] = field(default_factory=dict)
    """customer, agent, bot, system, note or tool -> the values that mean it, without regard to case. Values as
    `customer`, `agent`, `bot`, `user`, 客户 are known."""
    time_format: str | None = None
    """As in strptime, e.g. "%d/%m/%Y %H:%M"; without it every format that can be read in one way only."""
    timezone: str = "UTC"
    """Time zone of times without an offset."""
    rating_scope: Literal["turn", "session"] = "session"
    """What ratings, thumbs and surveys are about: the whole session, or the agent's turn they stand on or follow."""
    rating_words: dict[str, float] = field(default_factory=dict)
    """Ratings given as words -> number, without regard to case, e.g. good: 5."""
    meta: list[str] | None = None
    """Names of unmapped columns to keep as meta; by default all."""


@dataclass(frozen=True, kw_only=True)
class TableSettings(LogSettings):
    """Settings of layouts that read a table."""

    format: Format = "auto"
    """csv, tsv, jsonl, json, parquet or xlsx; auto goes by the file's name and content."""
    delimiter: str = "auto"
    """What separates the cells of a line."""
    quote: str | None = '"'
    """What stands around a cell that holds delimiters; null where quotation marks are text."""
    header: list[str] | None = None
    """Names of the columns of a file without a header line."""
    encoding: str = "auto"
    """Encoding of text files; auto is UTF-8, UTF-16 with its mark, or GB18030."""
    sheet: str | None = None
    """Sheet of an XLSX file; the first by default."""

    def read_rows(self, path: str | Path | Sequence[str | Path], limits: ReadLimits | None) -> Table:
        """The table of `path`, every value as text."""
        return read_table(
            path,
            format=self.format,
            delimiter=self.delimiter,
            header=True if self.header is None else self.header,
            quote=self.quote,
            encoding=self.encoding,
            sheet=self.sheet,
            limits=limits or ReadLimits(),
        )


def canonical_columns(frame: pl.DataFrame, columns: Mapping[str, str], *, extra: Sequence[str] = ()) -> pl.DataFrame:
    """`frame` with mapped columns under `c:<canonical>` and the rest of its columns (not `_...`) as they are.

    Raises RecipeError for a canonical name that is none, InputError for columns that the file has not.
    """
    known = (*CANONICAL, *extra)
    faults = [
        f"columns: {name!r} is no canonical name; {nearest(name, known)}" for name in columns if name not in known
    ]
    if faults:
        raise RecipeError(faults)
    there = [name for name in frame.columns if not name.startswith("_")]
    missing = [f"{name} <- {column!r}" for name, column in columns.items() if column not in frame.columns]
    if missing:
        raise InputError(f"mapped columns not in the file: {', '.join(missing)}; {_shown_columns(there)}")
    used = set(columns.values())
    return frame.select(
        *[name for name in frame.columns if name not in used or name.startswith("_")],
        *[pl.col(column).cast(pl.String).alias(f"c:{name}") for name, column in columns.items()],
    )


def _shown_columns(names: Sequence[str]) -> str:
    """The file's columns, as far as they look like names: the first line of a file without a header is row text."""
    if names and all(re.fullmatch(r"[^\W\d][\w .\-/]{0,39}", name) for name in names):
        return "it has " + ", ".join(repr(name) for name in names[:40])
    return f"it has {len(names)} columns, whose names look like data: if it has no header, give the names as `header`"


def assemble(frame: pl.DataFrame, settings: LogSettings, *, source: str) -> tuple[pl.DataFrame, dict[str, int]]:
    """EVENTS and the report's counts, out of a frame with `_file`, `_line`, `_offset` and `c:` columns as text.

    Optional: `_part` (else 0), `_kind` (else "message"), `_scope` (else the settings'), `_role` (canonical already,
    where it is not null), `_ratings` (List(Float64)), `_meta` (JSON text, else of the columns without a prefix).
    Raises InputError where more than half of the roles are mapped to nothing.
    """
    text = {name: _text(frame, name) for name in CANONICAL}
    kind = frame["_kind"] if "_kind" in frame.columns else pl.repeat("message", frame.height, eager=True)
    given = frame["_role"] if "_role" in frame.columns else _nulls(frame, pl.String())
    role = given.alias("role")
    if "c:role" in frame.columns:
        role = read_roles(text["role"], settings.roles, given=given, message=kind == "message")
    ratings, unparsed_rating = read_ratings(text["rating"], settings.rating_words)
    thumb = read_thumbs(text["thumb"])
    time = parse_times(text["time"], time_format=settings.time_format, timezone=settings.timezone)
    columns = settings.columns
    base = pl.DataFrame(
        {
            "source": pl.repeat(source, frame.height, dtype=pl.String, eager=True),
            "file": frame["_file"],
            "line": frame["_line"].cast(pl.Int64),
            "part": frame["_part"].cast(pl.Int32)
            if "_part" in frame.columns
            else _nulls(frame, pl.Int32()).fill_null(0),
            "offset": frame["_offset"].cast(pl.Int64),
            "kind": kind,
            **{name: text[name] for name in ("session", "customer", "agent", "event", "reply_to")},
            "time": time,
            "role": role,
            "text": frame["c:text"] if "c:text" in frame.columns else _nulls(frame, pl.String()),
            "ratings": frame["_ratings"] if "_ratings" in frame.columns else ratings,
            "thumb": thumb,
            "survey": text["survey"],
            "status": text["status"],
            "scope": frame["_scope"] if "_scope" in frame.columns else _nulls(frame, pl.String()),
            "meta": frame["_meta"] if "_meta" in frame.columns else meta_json(frame, settings.meta),
            "customer_name": text["customer_name"],
            "agent_name": text["agent_name"],
        }
    )
    if columns.get("customer") is not None and columns.get("customer") == columns.get("agent"):
        base = base.with_columns(
            customer=pl.when(pl.col("role") == "customer").then("customer"),
            agent=pl.when(pl.col("role").is_in(["agent", "bot"])).then("agent"),
        )
    rated = (pl.col("ratings").list.len() > 0) | pl.col("thumb").is_not_null() | pl.col("survey").is_not_null()
    scope = pl.coalesce("scope", pl.lit(settings.rating_scope))
    names = pl.concat_list("customer_name", "agent_name").list.drop_nulls().list.unique(maintain_order=True)
    events = base.with_columns(
        names=pl.when(names.list.len() > 0).then(names),
        scope=pl.when((pl.col("kind") == "feedback") | rated).then(scope),
    )
    messages = events["kind"] == "message"
    report = {
        "events": events.height,
        "unknown_role": int((messages & events["role"].is_null()).sum()),
        "unparsed_time": int((text["time"].is_not_null() & time.is_null()).sum()),
        "unparsed_rating": unparsed_rating,
        "unparsed_thumb": int((text["thumb"].is_not_null() & thumb.is_null()).sum()),
    }
    return events.select(EVENTS.names()).cast(EVENTS), report


def _nulls(frame: pl.DataFrame, dtype: pl.DataType) -> pl.Series:
    return pl.repeat(None, frame.height, dtype=dtype, eager=True)


def _text(frame: pl.DataFrame, name: str) -> pl.Series:
    """A mapped column stripped, blanks as null; nulls where it is not mapped."""
    column = f"c:{name}"
    if column not in frame.columns:
        return _nulls(frame, pl.String())
    stripped = pl.col(column).cast(pl.String).str.strip_chars()
    return frame.select(pl.when(stripped != "").then(stripped).alias(name))[name]


def meta_json(frame: pl.DataFrame, keep: Sequence[str] | None = None) -> pl.Series:
    """A JSON object of the columns that are neither mapped nor our own, nulls and blanks left out; null if none."""
    names = [name for name in frame.columns if not name.startswith(("_", "c:")) and (keep is None or name in keep)]
    if not names:
        return _nulls(frame, pl.String()).alias("meta")
    pairs = [
        pl.when(pl.col(name).cast(pl.String) != "").then(
            pl.struct(pl.col(name).cast(pl.String)).struct.json_encode().str.strip_prefix("{").str.strip_suffix("}")
        )
        for name in names
    ]
    joined = pl.concat_str(pairs, separator=",", ignore_nulls=True)
    return frame.select(pl.when(joined != "").then("{" + joined + "}").alias("meta"))["meta"]


def constant_role(frame: pl.DataFrame, role: Role | None) -> pl.DataFrame:
    """`frame` with every message's role set, where the settings say that the file has one role only."""
    return frame if role is None else frame.with_columns(_role=pl.lit(role))


def with_quarantined(files: Sequence[FileReport], bad: pl.DataFrame) -> list[FileReport]:
    """The reports of the files with what the layout itself quarantined counted in."""
    more = Counter(bad["file"].to_list())
    return [report._replace(quarantined=report.quarantined + more[report.file]) for report in files]


def session_feedback(rows: pl.DataFrame, messages: pl.DataFrame) -> pl.DataFrame:
    """Feedback that a record gives on its whole session, as a row behind the record's messages.

    `rows` holds the records in order, with `c:` columns; `messages` has `_row`, the record's place, and `_part`.
    """
    told = [f"c:{name}" for name in ("rating", "thumb", "survey", "status") if f"c:{name}" in rows.columns]
    kept = [f"c:{name}" for name in ("session", "customer", "agent", "customer_name", "agent_name")]
    kept = [name for name in kept if name in rows.columns]
    count = messages.group_by("_row").agg(_part=pl.col("_part").max() + 1)
    given = [pl.col(name).str.strip_chars() != "" for name in told]
    return (
        rows.with_row_index("_row")
        .filter(pl.any_horizontal([pl.lit(False), *given]).fill_null(False))
        .join(count, on="_row", how="left", maintain_order="left")
        .select(
            "_row",
            pl.col("_part").fill_null(0).cast(pl.Int32),
            "_file",
            "_line",
            "_offset",
            *kept,
            *told,
            _kind=pl.lit("feedback"),
            _scope=pl.lit("session"),
        )
    )
