"""The layout `replies`: a table of messages that answer each other by id, as social networks and mail export it.

What hangs together by answers is a thread; a thread with several customers is one session for each of them, so that
nobody's words stand in another's conversation:

- a customer's message belongs to its author;
- an agent's to the nearest customer above it, and without one (the agent opened) to the first customer of the thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import polars as pl

from prefdata.errors import RecipeError
from prefdata.io import ReadLimits
from prefdata.logs.mapping import (
    CANONICAL,
    LogRead,
    TableSettings,
    assemble,
    canonical_columns,
    columns_by_name,
    shown_columns,
)
from prefdata.logs.reply_graph import lineage


@dataclass(frozen=True, kw_only=True)
class Replies(TableSettings):
    """Messages linked by ids: `event` is the message's own, `reply_to` that of the one it answers.

    One more canonical column: `replies`, the ids of the answers, separated by commas. It fills in where an answer does
    not say itself what it answers. Map `customer` and `agent` both to the author.
    """

    known_columns: ClassVar[tuple[str, ...]] = (*CANONICAL, "replies")

    roles: dict[str, list[str]] = field(default_factory=lambda: {"customer": ["true"], "agent": ["false"]})
    """As in all layouts; by default the role column says whether a message is inbound: true or false."""

    def read(
        self, path: str | Path | Sequence[str | Path], *, source: str, limits: ReadLimits | None = None
    ) -> LogRead:
        """The messages of `path` as EVENTS with `session` and `customer` by thread.

        The report counts `threads`, `missing_parents` (answers to what is not in the file; those to the same missing
        message are one thread), `circular_replies` (links cut) and `threads_split`.
        """
        table = self.read_rows(path, limits, source=source)
        by_name = columns_by_name(self, table.frame)
        columns = {**{name: name for name in by_name}, **self.mapped}
        mapped = canonical_columns(table.frame, columns, source=source, files=table.files)
        missing = [name for name in ("event", "text", "role") if f"c:{name}" not in mapped.columns]
        if "c:reply_to" not in mapped.columns and "c:replies" not in mapped.columns:
            missing.append("reply_to")
        if missing:
            raise RecipeError(
                f"source {source}: columns: {', '.join(missing)} not mapped; messages that answer each other need it; "
                f"the file: {shown_columns(table.frame)}"
            )
        whole = assemble(mapped, self, source=source, names=columns)
        answers = mapped["c:replies"] if "c:replies" in mapped.columns else None
        events, counts = thread(whole.events, answers)
        report = {**whole.report, **counts}
        return LogRead(events, table.quarantine, table.files, report, whole.unknown_roles, by_name)


def thread(events: pl.DataFrame, answers: pl.Series | None = None) -> tuple[pl.DataFrame, dict[str, int]]:
    """`events` with `session`, `customer` and `reply_to` by the reply graph, and the counts of it.

    `answers` holds comma-separated ids of the answers to each event. A session id that is given stays.
    """
    frame = events.with_row_index("_input").with_columns(
        _answers=answers if answers is not None else pl.lit(None, pl.String)
    )
    frame = frame.sort("time", "_input", nulls_last=True).with_row_index("_node")
    ids = frame.filter(pl.col("event").is_not_null()).unique("event", keep="first", maintain_order=True)
    listed = ids.select(reply_to="event", event=pl.col("_answers").str.split(",")).explode("event", keep_nulls=False)
    listed = listed.with_columns(pl.col("event").str.strip_chars()).filter(pl.col("event") != "")
    listed = listed.unique("event", keep="first", maintain_order=True).rename({"reply_to": "_listed"})
    frame = frame.join(listed, on="event", how="left", maintain_order="left")
    frame = frame.with_columns(reply_to=pl.coalesce("reply_to", "_listed"))
    places = ids.select(reply_to="event", _parent="_node")
    frame = frame.join(places, on="reply_to", how="left", maintain_order="left")
    author = frame.select(pl.when(pl.col("role") == "customer").then("customer").alias("_whose"))["_whose"]
    chain = lineage(frame["_parent"], nearest=[author])
    frame = frame.with_columns(chain.frame["root"], chain.frame["_whose"])
    missing = pl.col("reply_to").is_not_null() & pl.col("_parent").is_null()
    own = pl.coalesce("event", pl.concat_str("file", pl.lit("#"), "line"))
    frame = frame.with_columns(_thread=pl.when(missing).then("reply_to").otherwise(own).gather(pl.col("root")))
    opener = pl.col("_whose").drop_nulls().first().over("_thread")
    frame = frame.with_columns(_missing=missing, _whose=pl.coalesce("_whose", opener))
    split = pl.col("_whose").drop_nulls().n_unique().over("_thread") > 1
    name = pl.when(split & pl.col("_whose").is_not_null()).then(pl.col("_thread") + ":" + pl.col("_whose"))
    frame = frame.with_columns(_split=split, session=pl.coalesce("session", name, "_thread"))
    frame = frame.with_columns(
        customer=pl.when(pl.col("role") == "customer").then(pl.coalesce("customer", "_whose")).otherwise("_whose")
    )
    counts = {
        "threads": frame["_thread"].n_unique(),
        "threads_split": frame.filter("_split")["_thread"].n_unique(),
        "missing_parents": int(frame["_missing"].sum()),
        "circular_replies": chain.cut,
    }
    return frame.sort("_input").select(events.columns), counts
