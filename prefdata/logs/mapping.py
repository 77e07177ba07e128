"""What all layouts share: columns mapped to canonical names, roles, times and ratings read, the rest kept as meta.

Nothing is guessed in silence: a role outside the table stays null (`unknown_role` in the end), a time or a rating that
cannot be read is null and counted in the report of the reading.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

import polars as pl

from prefdata.errors import InputError, RecipeError, nearest
from prefdata.io import FileReport, Format, ReadLimits, Table, read_table
from prefdata.logs.attachments import pictured
from prefdata.logs.events import EVENTS, Role
from prefdata.logs.faults import character_faults, empty_faults, encoding_faults, header_faults, word_faults
from prefdata.logs.times import check_times, numeric_dates, parse_times, time_faults
from prefdata.logs.values import read_ratings, read_roles, read_thumbs, role_faults

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
    "attachments",
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
    """Counts: `events`, `unknown_role`, `unparsed_time`, `unparsed_rating`, `unparsed_thumb`, `times_day_first` or
    `times_month_first` where the file itself showed the order, and the layout's own."""
    unknown_roles: dict[str, int]
    """The ten commonest values of messages that have no role; what may be no role's name is told in brackets."""
    used_by_name: list[str]
    """Canonical names read from columns of that very name, which `columns` does not mention."""


class Assembled(NamedTuple):
    """EVENTS, with what was counted on the way."""

    events: pl.DataFrame
    report: dict[str, int]
    unknown_roles: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class LogSettings:
    """Settings that all layouts have."""

    known_columns: ClassVar[tuple[str, ...]] = CANONICAL
    """Names that `columns` may map."""

    columns: dict[str, str | None] = field(default_factory=dict)
    """Canonical name -> name in the file. Canonical: session customer agent event reply_to time role text rating thumb
    survey status customer_name agent_name attachments. `customer` and `agent` may be one column (an author's id): it is
    then the one or the other by the message's role. In tables a column of such a name is used unmapped, but for
    `attachments`, whose pictures are read where it is mapped; null switches it off."""
    roles: dict[str, list[str]] = field(default_factory=dict)
    """customer, agent, bot, system, note or tool -> the values that mean it, without regard to case. Values as
    `customer`, `agent`, `bot`, `user`, 客户 are known."""
    time_format: str | None = None
    """As in strptime, e.g. "%d/%m/%Y %H:%M"; without it every format that can be read in one way only, and 5/3/2024 as
    the file's other dates show."""
    timezone: str = "UTC"
    """Time zone of times without an offset."""
    rating_scope: Literal["turn", "session"] = "session"
    """What ratings, thumbs and surveys are about: the whole session, or the agent's turn they stand on or follow."""
    rating_words: dict[str, float] = field(default_factory=dict)
    """Ratings given as words -> number, without regard to case, e.g. good: 5."""
    meta: list[str] | None = None
    """Names of unmapped columns to keep as meta; by default all."""
    picture_marks: list[str] = field(default_factory=list)
    """What stands in a text where a picture stood, e.g. "[image]"; the pictures are those of the message's
    `attachments`. Else they stand at its end."""

    def __post_init__(self) -> None:
        if faults := self.faults():
            raise RecipeError(faults)

    def faults(self) -> list[str]:
        """Everything that is wrong with the values, each as `setting: fault`."""
        unknown = [one for one in self.columns if one not in self.known_columns]
        return [
            *[
                f"columns.{name}: {name!r} is no canonical name; {nearest(name, self.known_columns)}"
                for name in unknown
            ],
            *empty_faults({f"columns.{name}": column for name, column in self.columns.items()}),
            *role_faults(self.roles),
            *time_faults(self.time_format, self.timezone),
            *word_faults(self.rating_words),
            *([] if all(self.picture_marks) else ["picture_marks: a text is empty"]),
        ]

    @property
    def mapped(self) -> dict[str, str]:
        """`columns` without those that are switched off."""
        return {name: column for name, column in self.columns.items() if column is not None}


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

    def faults(self) -> list[str]:
        """Everything that is wrong with the values, each as `setting: fault`."""
        same = self.quote is not None and self.quote == self.delimiter
        return [
            *super().faults(),
            *character_faults("delimiter", self.delimiter, otherwise="auto"),
            *character_faults("quote", self.quote, otherwise="null"),
            *([f"quote: {self.quote!r} is the delimiter, too"] if same else []),
            *header_faults(self.header),
            *encoding_faults(self.encoding),
        ]

    def read_rows(self, path: str | Path | Sequence[str | Path], limits: ReadLimits | None, *, source: str) -> Table:
        """The table of `path`, every value as text. Raises InputError where `header` does not fit the lines."""

        def read(header: bool | Sequence[str]) -> Table:
            return read_table(
                path,
                format=self.format,
                delimiter=self.delimiter,
                header=header,
                quote=self.quote,
                encoding=self.encoding,
                sheet=self.sheet,
                limits=limits or ReadLimits(),
            )

        return read_headed(read, self.header, source=source)


def read_headed(read: Callable[[bool | Sequence[str]], Table], header: list[str] | None, *, source: str) -> Table:
    """The table that `read` gives with this header, or with that of the file.

    Raises InputError where no line has as many fields as it has names.
    """
    table = read(True if header is None else header)
    ragged = table.quarantine.filter(pl.col("reason") == "ragged_row")
    if table.frame.height or not ragged.height:
        return table
    file = str(ragged["file"][0])
    if header is None:
        raise InputError(
            f"source {source}: {file}: no line has as many fields as the first, which is taken as the header; remove "
            "what stands above the header, or set `delimiter`"
        )
    bare = read(False).frame
    lines = bare.filter(pl.col("_file") == file)
    fields = sum(lines[name].null_count() < lines.height for name in bare.columns if not name.startswith("_"))
    raise InputError(
        f"source {source}: {file}: header names {len(header)} columns, the file's lines have {fields} fields; name "
        "them all in their order (if that number looks wrong, set `delimiter`)"
    )


def canonical_columns(
    frame: pl.DataFrame, columns: Mapping[str, str], *, source: str, files: Sequence[FileReport]
) -> pl.DataFrame:
    """`frame` with mapped columns under `c:<canonical>` and the rest of its columns (not `_...`) as they are.

    Raises InputError for columns that the files have not.
    """
    missing = [f"{column!r} (for {name})" for name, column in columns.items() if column not in frame.columns]
    if missing:
        wanted = [column for column in columns.values() if column not in frame.columns]
        raise InputError(
            f"source {source}: {_shown_files(files)}: no column {', '.join(missing)}; {shown_columns(frame, wanted)}; "
            "map the names as they stand there under `columns`"
        )
    used = set(columns.values())
    return frame.select(
        *[name for name in frame.columns if name not in used or name.startswith("_")],
        *[pl.col(column).cast(pl.String).alias(f"c:{name}") for name, column in columns.items()],
    )


def columns_by_name(settings: LogSettings, frame: pl.DataFrame) -> list[str]:
    """Canonical names that the file itself uses for columns, and that `columns` neither maps nor switches off."""
    taken = set(settings.columns.values())
    names = [name for name in CANONICAL if name != "attachments"]
    return [name for name in names if name in frame.columns and name not in settings.columns and name not in taken]


def shown_columns(frame: pl.DataFrame, wanted: Sequence[str] = ()) -> str:
    """The file's columns, as far as they look like names, and those nearest to the ones that are `wanted`.

    The first line of a file without a header is row text, which is not shown.
    """
    names = [name for name in frame.columns if not name.startswith("_")]
    if not names:
        return "no line of it could be read"
    if not all(re.fullmatch(r"[^\W\d][\w .\-/]{0,39}", name) for name in names):
        return (
            f"it has {len(names)} columns, whose names look like data: if it has no header, give the names as `header`"
        )
    folded = {name.strip().lower(): name for name in names}
    close = [difflib.get_close_matches(name.strip().lower(), folded, n=1, cutoff=0.6) for name in wanted]
    guesses = [repr(folded[found[0]]) for found in close if found]
    more = f" and {len(names) - 40} more" if len(names) > 40 else ""
    return (
        "it has "
        + ", ".join(repr(name) for name in names[:40])
        + more
        + (f"; did you mean {' and '.join(guesses)}?" if guesses else "")
    )


def _shown_files(files: Sequence[FileReport]) -> str:
    names = [report.file for report in files]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more files" if len(names) > 3 else "")


def assemble(
    frame: pl.DataFrame, settings: LogSettings, *, source: str, names: Mapping[str, str] | None = None
) -> Assembled:
    """EVENTS and the report's counts, out of a frame with `_file`, `_line`, `_offset` and `c:` columns as text.

    Optional: `_part` (else 0), `_kind` (else "message"), `_scope` (else the settings'), `_role` (canonical already,
    where it is not null), `_ratings` (List(Float64)), `_meta` (JSON text, else of the columns without a prefix).
    `names` tells what the file calls the canonical names, by default the settings' `columns`.
    Raises InputError where more than half of the roles are mapped to nothing, or of the times cannot be read.
    """
    names = settings.mapped if names is None else names
    text = {name: _text(frame, name) for name in CANONICAL}
    kind = frame["_kind"] if "_kind" in frame.columns else pl.repeat("message", frame.height, eager=True)
    given = frame["_role"] if "_role" in frame.columns else _nulls(frame, pl.String())
    role = given.alias("role")
    unknown: dict[str, int] = {}
    if "c:role" in frame.columns:
        where = _place(source, "role", names)
        role, unknown = read_roles(text["role"], settings.roles, given=given, message=kind == "message", where=where)
    ratings, unparsed_rating = read_ratings(text["rating"], settings.rating_words)
    thumb = read_thumbs(text["thumb"])
    said = frame["c:text"] if "c:text" in frame.columns else _nulls(frame, pl.String())
    shown = pictured(said, text["attachments"], stand_ins=settings.picture_marks)
    time = parse_times(text["time"], time_format=settings.time_format, timezone=settings.timezone)
    check_times(text["time"], time, where=_place(source, "time", names), time_format=settings.time_format)
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
            "text": shown.text,
            "pictures": shown.pictures,
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
    if names.get("customer") is not None and names.get("customer") == names.get("agent"):
        base = base.with_columns(
            customer=pl.when(pl.col("role") == "customer").then("customer"),
            agent=pl.when(pl.col("role").is_in(["agent", "bot"])).then("agent"),
        )
    rated = (pl.col("ratings").list.len() > 0) | pl.col("thumb").is_not_null() | pl.col("survey").is_not_null()
    scope = pl.coalesce("scope", pl.lit(settings.rating_scope))
    persons = pl.concat_list("customer_name", "agent_name").list.drop_nulls().list.unique(maintain_order=True)
    events = base.with_columns(
        names=pl.when(persons.list.len() > 0).then(persons),
        scope=pl.when((pl.col("kind") == "feedback") | rated).then(scope),
    )
    messages = events["kind"] == "message"
    report = {
        **shown.report,
        "events": events.height,
        "unknown_role": int((messages & events["role"].is_null()).sum()),
        "unparsed_time": int((text["time"].is_not_null() & time.is_null()).sum()),
        "unparsed_rating": unparsed_rating,
        "unparsed_thumb": int((text["thumb"].is_not_null() & thumb.is_null()).sum()),
    }
    if settings.time_format is None:
        dates = numeric_dates(text["time"])
        report |= {f"times_{dates.order}": dates.times} if dates.order else {}
    return Assembled(events.select(EVENTS.names()).cast(EVENTS), report, unknown)


def _place(source: str, name: str, names: Mapping[str, str]) -> str:
    """Where an error is: the source and what its file calls a canonical column."""
    return f"source {source}: {name}" + (f" column {names[name]!r}" if name in names else "")


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
