"""Which session an event belongs to, and where in it: ids, else customer and time gap; order repaired by time."""

from __future__ import annotations

import polars as pl

from prefdata.logs.reply_graph import lineage

SPEAKS = ("customer", "agent", "bot")
"""Roles whose messages can begin a session; a late survey or an internal note does not."""


def in_sessions(events: pl.DataFrame, *, gap_minutes: float) -> pl.DataFrame:
    """`events` in session order with `session` unique over sources, or null for an orphan.

    Adds `given` (the session id as the source has it), `at` (Int64 position in the session), `moved` (Boolean: not
    where the file has it). Sorted by session, then position; orphans last, in the order of the file.

    An event with a session id belongs to `<source>/<id>`. One without, but with a customer, belongs to
    `<source>/@<customer>#<n>`: the customer's n-th run of messages with no pause above `gap_minutes`; feedback and
    notes never begin a run (an id that itself begins with @ gets a second one, so the two kinds never meet).

    The order is that of the file where no times are given. Where they are, it is that of time, ties in the order of
    the file; a message without a time stays behind the one before it, and an answer behind what it answers. A file
    whose sessions mostly run backwards is taken as newest first.
    """
    frame = (
        events.with_row_index("_input")
        .sort("source", "file", "line", "part", "_input", nulls_last=False)
        .drop("_input")
        .with_row_index("_file_at")
        .with_columns(pl.col("_file_at").cast(pl.Int64), pl.col("session").alias("given"))
        .with_columns(_key=_key())
    )
    frame = _with_key_of_answered(frame)
    frame = _with_time_order(frame)
    frame = frame.sort("source", "_key", "_time", "_chain", "_depth", "_tie", nulls_last=True)
    frame = frame.with_columns(session=_session(gap_minutes))
    frame = frame.sort("session", "_time", "_chain", "_depth", "_tie", nulls_last=True)
    at = pl.int_range(pl.len()).over("session")
    moved = pl.col("_file_at").rank("ordinal").over("session").cast(pl.Int64) - 1 != at
    return frame.with_columns(at=at, moved=moved & pl.col("session").is_not_null()).drop(
        "_key", "_time", "_chain", "_depth", "_tie", "_file_at"
    )


def _key() -> pl.Expr:
    """What groups events before gaps are looked at: the escaped id, else `@customer`, else null."""
    session, customer = (pl.col(name).str.strip_chars() for name in ("session", "customer"))
    return (
        pl.when(session.str.starts_with("@"))
        .then("@" + session)
        .when(session != "")
        .then(session)
        .when(customer != "")
        .then("@" + customer + "#")
        .alias("_key")
    )


def _with_key_of_answered(frame: pl.DataFrame) -> pl.DataFrame:
    """An event with neither id nor customer is where the message is that it answers (a vote that names a message)."""
    lost = pl.col("_key").is_null() & pl.col("reply_to").is_not_null()
    if not frame.select(lost.any()).item():
        return frame
    homes = frame.filter(pl.col("_key").is_not_null() & pl.col("event").is_not_null())
    homes = homes.unique(["source", "event"], keep="first", maintain_order=True)
    homes = homes.select("source", pl.col("event").alias("reply_to"), pl.col("_key", "session").name.prefix("_home"))
    frame = frame.join(homes, on=["source", "reply_to"], how="left", maintain_order="left")
    return frame.with_columns(
        session=pl.when(lost).then("_homesession").otherwise("session"), _key=pl.coalesce("_key", "_home_key")
    ).drop("_home_key", "_homesession")


def _with_time_order(frame: pl.DataFrame) -> pl.DataFrame:
    """Adds the sort keys `_time` (filled in), `_chain`, `_depth` and `_tie`."""
    group = ["source", "_key"]
    step = (pl.col("time") - pl.col("time").shift(1).over([*group, "file"])).dt.total_microseconds().sign()
    frame = frame.with_columns(_step=step)
    newest_first = pl.col("_step").sum().over("source", "file") < 0
    frame = frame.with_columns(_tie=pl.when(newest_first).then(-pl.col("_file_at")).otherwise("_file_at"))
    frame = frame.sort("_tie").with_columns(_time=pl.col("time").forward_fill().backward_fill().over(group))
    if frame["reply_to"].null_count() == frame.height:
        return frame.with_columns(_chain=pl.col("_tie"), _depth=pl.lit(0, dtype=pl.Int64)).drop("_step")
    frame = frame.sort("_time", "_tie", nulls_last=True).with_row_index("_node")
    parents = frame.select(*group, pl.col("event").alias("reply_to"), pl.col("_node").alias("_parent"))
    parents = parents.filter(pl.col("reply_to").is_not_null()).unique(
        [*group, "reply_to"], keep="first", maintain_order=True
    )
    frame = frame.join(parents, on=[*group, "reply_to"], how="left", maintain_order="left")
    chain = lineage(frame["_parent"], carried=[frame["_tie"].alias("_chain"), frame["time"].alias("_latest")]).frame
    frame = frame.with_columns(chain["_chain"], chain["_latest"], chain["depth"].alias("_depth"))
    known = pl.when(pl.col("time").is_null()).then(pl.coalesce("_latest", "_time")).otherwise("_time")
    return frame.with_columns(_time=known).drop("_node", "_parent", "_latest", "_step")


def _session(gap_minutes: float) -> pl.Expr:
    """The id unique over sources; `frame` is sorted by time within (source, _key)."""
    group = ["source", "_key"]
    begins = (pl.col("kind") == "message") & pl.col("role").is_in(SPEAKS) & (pl.col("text").str.strip_chars() != "")
    begins = begins.fill_null(False)
    spoken = pl.when(begins).then("time")
    pause = spoken - spoken.forward_fill().shift(1).over(group)
    new = (begins & (pause > pl.duration(microseconds=round(gap_minutes * 60e6)))).fill_null(False)
    number = new.cast(pl.Int64).cum_sum().over(group) + 1
    by_customer = pl.col("session").str.strip_chars().fill_null("") == ""
    key = pl.when(by_customer).then(pl.col("_key") + number.cast(pl.String)).otherwise("_key")
    return pl.col("source") + "/" + key
