"""The layout `transcript`: whole conversations as text, a line a message.

Three shapes:

- lines of fields, `ROLE<TAB>text<TAB>action<TAB>ratings`, sessions separated by blank lines (`lines="fields"`);
- lines that begin with a speaker, `[10:32] Agent: ...`, sessions separated by blank lines (`lines="speakers"`);
- such lines inside one cell of a table, a row a session (`cell="transcript"`).

A line without a speaker continues the message before it. A clock time without a date counts only where the table gives
the session a date; else the order of the lines is the order of time.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import polars as pl

from prefdata.io import QUARANTINE, Format, ReadLimits, Table, read_lines, read_table
from prefdata.logs.faults import character_faults, empty_faults, encoding_faults, header_faults, pattern_faults
from prefdata.logs.mapping import (
    CANONICAL,
    LogRead,
    LogSettings,
    assemble,
    canonical_columns,
    meta_json,
    read_headed,
    session_feedback,
    with_quarantined,
)
from prefdata.logs.values import KNOWN_ROLES, role_table

SPEAKERS: dict[str, tuple[str, ...]] = {
    **{role: KNOWN_ROLES[role] for role in ("customer", "agent", "bot", "system")},
    "note": ("internal note", "internal_note", "private note", "private_note", "备注", "内部备注"),
}
"""Who is known to speak where `roles` is not set. No bare `Note:`: an agent's message may hold such a line."""

_CLOCK = r"\d{1,2}:\d{2}(?::\d{2})?(?:\s*[AaPp]\.?[Mm]\.?)?"
_DATE = r"(?:\d{4}[-/.年]\d{1,2}[-/.月]\d{1,2}日?|\d{1,2}[-/.]\d{1,2}[-/.]\d{4})"
_STAMP = rf"(?:{_DATE},?[T ]*)?{_CLOCK}"
_SPEAKER_LIKE = r"^\s*(?:\[[^\]]{1,25}\]\s*)?\p{L}[\p{L}\p{N} _.-]{0,19}\s?[:：]\s"


@dataclass(frozen=True, kw_only=True)
class Transcript(LogSettings):
    """Conversations as text."""

    lines: Literal["fields", "speakers"] = "fields"
    """Each line holds delimited fields, or begins with its speaker and a colon."""
    fields: list[str] = field(default_factory=lambda: ["role", "text", "action", "rating"])
    """What stands at each place of a line of fields: canonical names, or names of your own, which become meta."""
    delimiter: str = "\t"
    """What separates the fields of a line."""
    feedback_texts: list[str] = field(default_factory=lambda: ["OVERALL"])
    """A line whose text is one of these is no message: its rating is about the whole session."""
    separator: str = r"^\s*[-=*_#~]{3,}\s*$"
    """Pattern of lines that separate sessions, beside blank ones."""
    cell: str | None = None
    """Column of a table whose cells hold whole conversations in lines that begin with their speakers."""
    line_break: str = "\n"
    """What separates the lines of a cell: a line feed, or what an export has put in its place, e.g. <br>."""
    one_line: bool = False
    """The cells hold no line feeds: a new message begins wherever a speaker and a colon stand behind a blank."""
    format: Format = "auto"
    """Format of the table: csv, tsv, jsonl, json, parquet or xlsx."""
    table_delimiter: str = "auto"
    """What separates the cells of the table."""
    header: list[str] | None = None
    """Names of the columns of a table without a header line."""
    encoding: str = "auto"
    """Encoding of text files."""
    rating_scope: Literal["turn", "session"] = "turn"
    """What ratings on message lines are about: the agent's turn before (or the line itself, if an agent's)."""

    def faults(self) -> list[str]:
        """Everything that is wrong with the values, each as `setting: fault`."""
        found = [
            *super().faults(),
            *character_faults("table_delimiter", self.table_delimiter, otherwise="auto"),
            *header_faults(self.header),
            *encoding_faults(self.encoding),
            *pattern_faults("separator", self.separator),
            *empty_faults({"cell": self.cell}),
            *[f"{name}: is empty" for name in ("delimiter", "line_break", "separator") if not getattr(self, name)],
        ]
        if not {"role", "text"} <= set(self.fields) or len(set(self.fields)) < len(self.fields):
            found.append(f"fields: {self.fields}, expected different names, `role` and `text` among them")
        if any(not name or name.startswith(("_", "c:")) for name in self.fields):
            found.append(f"fields: {self.fields}, expected names that do not begin with `_` or `c:`")
        if self.cell is not None:
            taken = [name for name in ("text", "role", "event", "reply_to") if name in self.columns]
            found += [f"columns.{name}: {name!r} cannot be a column where a cell is a conversation" for name in taken]
        elif self.columns and self.lines == "fields":
            found.append("columns: lines of fields have no columns; name them by place under `fields`")
        elif self.columns:
            found.append("columns: lines that begin with their speakers have no columns")
        return found

    def read(
        self, path: str | Path | Sequence[str | Path], *, source: str, limits: ReadLimits | None = None
    ) -> LogRead:
        """The lines of `path` as EVENTS; in cells, `part` counts the messages of a cell."""
        limits = limits or ReadLimits()
        if self.cell is not None:
            return self._read_cells(path, source, limits)
        table = read_lines(path, encoding=self.encoding, limits=limits)
        frame = table.frame.with_columns(_blank=_blank(pl.col("text")))
        frame = frame.with_columns(_rule=~pl.col("_blank") & pl.col("text").str.contains(self.separator))
        border = pl.col("_blank") | pl.col("_rule")
        begins = ~border & border.shift(1, fill_value=True).over("_file")
        block = begins.cast(pl.Int64).cum_sum().over("_file")
        frame = frame.with_columns(
            pl.when(border).then(None).otherwise(pl.col("_file") + "#" + block.cast(pl.String)).alias("_block")
        ).filter(~pl.col("_blank"))
        bad = pl.DataFrame(schema=QUARANTINE)
        if self.lines == "fields":
            frame, bad = self._fields(frame)
            report: dict[str, int] = {}
        else:
            frame, report = self._speakers(frame)
        whole = assemble(frame, self, source=source)
        files = with_quarantined(table.files, bad)
        quarantine = pl.concat([table.quarantine, bad])
        return LogRead(whole.events, quarantine, files, {**whole.report, **report}, whole.unknown_roles, [])

    def _fields(self, frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """The lines taken apart, and those with too few or too many fields."""
        needed = max(self.fields.index("role"), self.fields.index("text")) + 1
        frame = frame.with_columns(_cells=pl.col("text").str.split(self.delimiter)).rename({"text": "_raw"})
        size = pl.col("_cells").list.len()
        bad = frame.filter(~pl.col("_rule") & ~size.is_between(needed, len(self.fields)))
        frame = frame.filter(pl.col("_rule") | size.is_between(needed, len(self.fields)))
        prefix = {name: f"c:{name}" if name in CANONICAL else name for name in self.fields}
        cell = {
            target: pl.when(~pl.col("_rule")).then(pl.col("_cells").list.get(place, null_on_oob=True))
            for place, target in enumerate(prefix.values())
        }
        frame = frame.with_columns(**cell)
        about = pl.col("c:text").str.strip_chars().is_in(self.feedback_texts).fill_null(False)
        frame = frame.with_columns(
            _kind=pl.when("_rule")
            .then(pl.lit("separator"))
            .when(about)
            .then(pl.lit("feedback"))
            .otherwise(pl.lit("message")),
            _scope=pl.when(about).then(pl.lit("session")),
        ).with_columns(pl.when(pl.col("_kind") == "message").then("c:text").alias("c:text"))
        if "c:session" not in frame.columns:
            frame = frame.with_columns(pl.col("_block").alias("c:session"))
        return frame, _quarantine(bad, "wrong_field_count")

    def _speakers(self, frame: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, int]]:
        """The lines with their speakers, a line without one with that of the line before it."""
        frame = self._take_speakers(frame.rename({"text": "_raw"}))
        silent = pl.col("c:role").is_null() & ~pl.col("_rule")
        like = int(frame.select((silent & pl.col("_raw").str.contains(_SPEAKER_LIKE)).sum()).item())
        frame = frame.with_columns(
            pl.col("c:role", "c:agent_name").forward_fill().over("_block"),
            _kind=pl.when("_rule").then(pl.lit("separator")).otherwise(pl.lit("message")),
            **{"c:session": pl.col("_block")},
        )
        frame = frame.with_columns(pl.when("_rule").then(None).otherwise(pl.col("c:role")).alias("c:role"))
        dated = pl.when(~pl.col("c:time").str.contains(rf"^{_CLOCK}$")).then("c:time")  # no file gives lines a date
        frame = frame.with_columns(dated.alias("c:time"), _meta=pl.lit(None, dtype=pl.String))
        return frame, {"speaker_like_continuations": like}

    def _take_speakers(self, frame: pl.DataFrame) -> pl.DataFrame:
        """`_raw` into `c:role` (null without a speaker), `c:time`, `c:agent_name` and `c:text`."""
        words = "|".join(re.escape(word) for word in self._speaker_words())
        stamp = rf"(?:[\[(]?\s*({_STAMP})\s*[\])]?[\s|,-]*)?"
        stamp_behind = rf"(?:\s*[\[(]?\s*({_STAMP})\s*[\])]?)?"
        pattern = (
            rf"^\s*{stamp}\[?((?i:{words}))\]?(?:\s*[(（]([^)）:：]{{1,40}})[)）])?{stamp_behind}\s*[:：]\s*((?s:.*))$"
        )
        groups = pl.col("_raw").str.extract_groups(pattern)
        frame = frame.with_columns(_groups=groups)
        group = {place: pl.col("_groups").struct.field(str(place)) for place in range(1, 6)}
        named = group[3]
        return frame.with_columns(
            **{
                "c:role": group[2],
                "c:time": pl.coalesce(group[1], group[4]),
                "c:agent_name": pl.when(~named.str.contains(rf"^{_STAMP}$")).then(named),
                "c:text": pl.when(group[2].is_null()).then("_raw").otherwise(group[5]),
            }
        ).drop("_groups")

    def _speaker_words(self) -> list[str]:
        """Longest first, so that `Agent Smith` is not taken for `Agent`; configured ones, else those of SPEAKERS."""
        return sorted(role_table(self.roles, {} if self.roles else SPEAKERS), key=lambda word: (-len(word), word))

    def _read_cells(self, path: str | Path | Sequence[str | Path], source: str, limits: ReadLimits) -> LogRead:

        def read(header: bool | Sequence[str]) -> Table:
            return read_table(
                path,
                format=self.format,
                delimiter=self.table_delimiter,
                header=header,
                encoding=self.encoding,
                limits=limits,
            )

        table = read_headed(read, self.header, source=source)
        columns = {**self.mapped, "text": str(self.cell)}
        rows = canonical_columns(table.frame, columns, source=source, files=table.files)
        number = pl.col("_file") + "#" + pl.col("_line").cast(pl.String)
        given = pl.col("c:session") if "c:session" in rows.columns else pl.lit(None, dtype=pl.String)
        given = pl.when(given.str.strip_chars() != "").then(given)
        rows = rows.with_columns(given.fill_null(number).alias("c:session"), _meta=meta_json(rows, self.meta))
        messages, report = self._messages(rows)
        frame = pl.concat([messages, session_feedback(rows, messages)], how="diagonal")
        frame = frame.sort("_row", "_part").drop("_row")
        whole = assemble(frame, self, source=source)
        report = {**whole.report, **report}
        return LogRead(whole.events, table.quarantine, table.files, report, whole.unknown_roles, [])

    def _messages(self, rows: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, int]]:
        """One row a message of a cell, lines without a speaker joined to the message before them."""
        kept = [
            f"c:{name}"
            for name in ("session", "customer", "agent", "customer_name", "agent_name")
            if f"c:{name}" in rows.columns
        ]
        rows = rows.with_row_index("_row")
        day = pl.col("c:time").str.strip_chars() if "c:time" in rows.columns else pl.lit(None, dtype=pl.String)
        rows = rows.with_columns(_given=day)
        raw = (
            pl.col("c:text")
            .fill_null("")
            .str.replace_all("\r\n", "\n", literal=True)
            .str.replace_all("\r", "\n", literal=True)
        )
        if self.line_break != "\n":
            raw = raw.str.replace_all(self.line_break, "\n", literal=True)
        if self.one_line:
            words = "|".join(re.escape(word) for word in self._speaker_words())
            raw = raw.str.replace_all(rf"(?i)\s+((?:[\[(]{_STAMP}[\])]\s*)?(?:{words})\s*[:：])", "\n$1")
        lines = rows.select("_row", _raw=raw.str.strip_chars().str.split("\n")).explode("_raw")
        lines = self._take_speakers(lines).rename({"c:agent_name": "_name"})
        silent = pl.col("c:role").is_null()
        like = int(lines.select((silent & pl.col("_raw").str.contains(_SPEAKER_LIKE)).sum()).item())
        first = ~pl.int_range(pl.len()).over("_row").cast(pl.Boolean)
        lines = lines.with_columns(_part=(~silent | first).cast(pl.Int32).cum_sum().over("_row") - 1)
        messages = lines.group_by("_row", "_part", maintain_order=True).agg(
            pl.col("c:role", "c:time", "_name").first(), pl.col("c:text").str.join("\n").str.strip_chars_end()
        )
        messages = messages.join(
            rows.select("_row", "_file", "_line", "_offset", "_given", "_meta", *kept),
            on="_row",
            how="left",
            maintain_order="left",
        )
        date = pl.col("_given").str.extract(rf"^({_DATE})", 1)
        clock_only = pl.col("c:time").str.contains(rf"^{_CLOCK}$")
        name = pl.coalesce("_name", "c:agent_name") if "c:agent_name" in kept else pl.col("_name")
        messages = messages.with_columns(
            pl.when(clock_only).then(date + " " + pl.col("c:time")).otherwise("c:time").alias("c:time"),
            pl.when(pl.col("_part") == 0).then("_meta").alias("_meta"),
            name.alias("c:agent_name"),
        )
        opens = pl.when(pl.col("_part") == 0).then("_given")
        messages = messages.with_columns(pl.coalesce("c:time", opens).alias("c:time"), _kind=pl.lit("message"))
        messages = messages.drop("_given", "_name")
        return messages, {"speaker_like_continuations": like}


def _blank(text: pl.Expr) -> pl.Expr:
    """What the reader of lines counts as blank: Python's white space, which has four control characters more."""
    return text.str.strip_chars().str.strip_chars("\x1c\x1d\x1e\x1f \t\v\f\r") == ""


def _quarantine(lines: pl.DataFrame, reason: str) -> pl.DataFrame:
    """QUARANTINE rows for lines that the layout cannot take; the few bad ones are hashed one by one."""
    raw = [text.encode() for text in lines["_raw"]]
    return pl.DataFrame(
        {
            "file": lines["_file"],
            "line": lines["_line"],
            "offset": lines["_offset"],
            "reason": [reason] * len(raw),
            "sha256": [hashlib.sha256(text).hexdigest() for text in raw],
            "bytes": [len(text) for text in raw],
        },
        schema=QUARANTINE,
    )
