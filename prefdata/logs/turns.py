"""What decided events add up to: the frames of turns and of sessions, and the counts of the report."""

from __future__ import annotations

import polars as pl

from prefdata.logs.events import FATE_NAMES, SESSIONS, TURNS


def turns_of(frame: pl.DataFrame) -> pl.DataFrame:
    """TURNS out of decided events: texts of a burst joined, feedback of scope "turn" gathered, the first one's meta.

    `names` are those of the whole session, set-aside events included: a name column on one row tells of all rows.
    """
    frame = frame.with_columns(_handed=_handed_over())
    spoken = frame.filter(pl.col("turn").is_not_null())
    keys = ["session", "turn"]
    turns = spoken.group_by(keys, maintain_order=True).agg(
        pl.col("source", "role", "file", "line", "part", "meta").first(),
        pl.col("text").str.join("\n"),
        pl.col("pictures").drop_nulls().list.explode(keep_nulls=False, empty_as_null=False),
        pl.col("time").drop_nulls().first(),
        pl.col("customer", "agent").drop_nulls().first(),
        _merged=pl.len() > 1,
        _moved=pl.col("moved").any(),
        _handed=pl.col("_handed").any(),
    )
    turns = turns.with_columns(
        flags=pl.concat_list(
            pl.when(pl.col("role") == "bot").then(pl.lit("bot")),
            pl.when("_handed").then(pl.lit("handover")),
            pl.when("_merged").then(pl.lit("merged")),
            pl.when("_moved").then(pl.lit("reordered")),
            pl.when(pl.col("role") == "tool").then(pl.lit("tool")),
        ).list.drop_nulls(),
        role=pl.when(pl.col("role") == "customer").then(pl.lit("customer")).otherwise(pl.lit("agent")),
        pictures=pl.when(pl.col("pictures").list.len() > 0).then("pictures"),
    )
    about = frame.filter(pl.col("about").is_not_null()).with_columns(turn="about")
    feedback = about.group_by(keys, maintain_order=True).agg(
        pl.col("ratings").drop_nulls().list.explode(keep_nulls=False, empty_as_null=False),
        pl.col("thumb").drop_nulls().last(),
        _joined("survey"),
    )
    changed = frame.filter(pl.col("status_about").is_not_null()).with_columns(turn="status_about")
    status = changed.group_by(keys, maintain_order=True).agg(pl.col("status").last())
    people = frame.filter(pl.col("session").is_not_null()).group_by("session", maintain_order=True)
    people_of = people.agg(_all_names(), _first_customer())
    turns = (
        turns.join(feedback, on=keys, how="left", maintain_order="left")
        .join(status, on=keys, how="left", maintain_order="left")
        .join(people_of, on="session", how="left", maintain_order="left")
        .with_columns(
            customer=pl.coalesce("customer", "_customer"),
            ratings=pl.when(pl.col("ratings").list.len() > 0).then("ratings"),
        )
    )
    return turns.select(TURNS.names()).cast(TURNS).sort("session", "turn")


def sessions_of(frame: pl.DataFrame) -> pl.DataFrame:
    """SESSIONS out of decided events: those with at least one turn.

    Feedback of scope "session" repeated on the session's messages (a column of a joined export) counts once for each
    different value; on lines of its own each counts.
    """
    frame = frame.with_columns(_handed=_handed_over())
    spoken = frame.filter(pl.col("turn").is_not_null())
    turn_of = {side: pl.col("turn").filter(pl.col("side") == side).n_unique() for side in ("customer", "agent")}
    sessions = spoken.group_by("session", maintain_order=True).agg(
        pl.col("source").first(),
        pl.col("time").min().alias("started"),
        pl.col("time").max().alias("ended"),
        pl.col("turn").n_unique().alias("turns"),
        turn_of["customer"].alias("customer_turns"),
        turn_of["agent"].alias("agent_turns"),
        (pl.col("fate") == "row").any().alias("complete"),
    )
    whole = frame.filter(pl.col("session").is_not_null())
    people = whole.group_by("session", maintain_order=True).agg(
        _first_customer().alias("customer"), pl.col("_handed").any().alias("handover")
    )
    about = whole.filter(~pl.col("by_turn") & (pl.col("reason").fill_null("") != "double_delivery"))
    value = pl.col("ratings").list.eval(pl.element().cast(pl.String)).list.join(",")
    about = about.with_columns(
        _same=pl.when("signal").then(pl.concat_str(pl.lit("#"), pl.int_range(pl.len()))).otherwise(value)
    )
    once = ~pl.struct("session", "_same").is_first_distinct()
    about = about.with_columns(ratings=pl.when(~once).then("ratings"))
    feedback = about.group_by("session", maintain_order=True).agg(
        pl.col("ratings").drop_nulls().list.explode(keep_nulls=False, empty_as_null=False),
        pl.col("thumb").drop_nulls().last(),
        _joined("survey"),
    )
    status = whole.group_by("session", maintain_order=True).agg(pl.col("status").drop_nulls().last())
    sessions = sessions.join(people, on="session", how="left").join(feedback, on="session", how="left")
    sessions = sessions.join(status, on="session", how="left")
    sessions = sessions.with_columns(ratings=pl.when(pl.col("ratings").list.len() > 0).then("ratings"))
    return sessions.select(SESSIONS.names()).cast(SESSIONS).sort("session")


def report_of(frame: pl.DataFrame, turns: pl.DataFrame, sessions: pl.DataFrame) -> dict[str, int]:
    """Counts for run.json: every fate and reason, sessions found and left, what was repaired."""
    found = frame.filter(pl.col("message"))["session"].drop_nulls()
    fates = dict(frame["fate"].value_counts().iter_rows())
    reasons = dict(frame.filter(pl.col("reason").is_not_null())["reason"].value_counts().sort("reason").iter_rows())
    moved = frame.filter(pl.col("moved") & pl.col("turn").is_not_null())
    return {
        "events": frame.height,
        "sessions_found": found.n_unique(),
        "sessions": sessions.height,
        "sessions_one_sided": frame.filter(pl.col("reason") == "one_sided_session")["session"].n_unique(),
        "sessions_by_gap": frame.filter(pl.col("message") & (pl.col("given").str.strip_chars().fill_null("") == ""))[
            "session"
        ]
        .drop_nulls()
        .n_unique(),
        "sessions_reordered": moved["session"].n_unique(),
        "sessions_handover": int(sessions["handover"].sum()),
        "turns": turns.height,
        "turns_merged": turns.filter(pl.col("flags").list.contains("merged")).height,
        **{f"fate.{fate}": fates.get(fate, 0) for fate in FATE_NAMES if fate != "quarantined"},
        **{f"reason.{reason}": count for reason, count in reasons.items()},
    }


def _handed_over() -> pl.Expr:
    """Boolean: a person of the agent's side speaks first after a bot, or after a notice of it in a running session."""
    spoken = pl.col("turn").is_not_null()
    person = spoken & (pl.col("role") == "agent")
    bot = (pl.col("message") & (pl.col("role") == "bot")).fill_null(False)
    begun = ((spoken & (pl.col("role") == "customer")) | bot).fill_null(False)
    given = bot | (pl.col("notice") & begun.cum_max().over("session"))
    state = pl.when(person).then(False).when(given).then(True)
    pending = state.forward_fill().shift(1).over("session").fill_null(False)
    return person & pending


def _joined(name: str) -> pl.Expr:
    """The different non-null texts of a group, joined by line feeds; null where there is none."""
    texts = pl.col(name).drop_nulls().unique(maintain_order=True)
    return pl.when(texts.len() > 0).then(texts.str.join("\n")).otherwise(None).alias(name)


def _all_names() -> pl.Expr:
    return pl.col("names").drop_nulls().list.explode(keep_nulls=False, empty_as_null=False).unique(maintain_order=True)


def _first_customer() -> pl.Expr:
    return pl.col("customer").drop_nulls().first().alias("_customer")
