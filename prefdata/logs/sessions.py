"""Sessions and their turns out of a flat frame of events, with one fate for every unit of input.

Who wrote something that is no reply of a person is recognised and left out by a named rule; what is left becomes turns
that alternate between `customer` and `agent`:

- a burst of one side is one turn, its messages joined by a line feed;
- a bot's turns are context (flag `bot`) and never a completion. Where a person of the agent's side speaks in the same
  burst, the turn is the person's alone (`bot_beside_agent`): else a completion would hold a bot's words;
- tool rows are left out, or with `tools="context"` treated like a bot's turns (flag `tool`);
- automatic replies, platform notices and internal notes never become turns, so `auto_reply` is no flag of a turn.

`REASONS` names every reason for which an event is set aside.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import polars as pl

from prefdata.errors import RecipeError, SchemaError
from prefdata.logs.events import EVENTS, FATES, ROLES
from prefdata.logs.notices import mentions
from prefdata.logs.order import in_sessions
from prefdata.logs.turns import report_of, sessions_of, turns_of

REASONS = {
    "orphan": "no session id and no customer, or feedback on a session without any message",
    "empty_text": "no text and no feedback",
    "unknown_role": "the role column's value is mapped to no role",
    "internal_note": "written for colleagues",
    "tool_row": "output of a tool or an action",
    "system_notice": "written by the platform",
    "bot_message": "written by a bot, and the settings leave bots out",
    "bot_beside_agent": "written by a bot in one burst with a person of the agent's side",
    "auto_reply": "an automatic reply",
    "double_delivery": "the same message delivered again",
    "one_sided_session": "nobody of the other side spoke in the session",
    "feedback_without_turn": "feedback on a turn, with no turn before it",
}
"""Reason of `set_aside` -> what it means."""


@dataclass(frozen=True, kw_only=True)
class SessionSettings:
    """How events become sessions and turns."""

    gap_minutes: float = 1440.0
    """Without session ids, a pause longer than this begins a customer's next session. A day: a customer who writes
    in the evening and is answered next morning has one session."""
    double_delivery_seconds: float = 5.0
    """The same role and text again within this many seconds is a second delivery, whatever its id."""
    bots: Literal["context", "set_aside"] = "context"
    """A bot's messages stand in prompts as the agent's side, or are left out. They are never a completion."""
    tools: Literal["set_aside", "context"] = "set_aside"
    """Tool rows are left out, or stand in prompts as the agent's side."""

    def __post_init__(self) -> None:
        faults = [
            f"{name}: {getattr(self, name)}, expected a number from 0 to 1e9"
            for name in ("gap_minutes", "double_delivery_seconds")
            if not 0 <= getattr(self, name) <= 1e9
        ]
        if faults:
            raise RecipeError(faults)


class Sessions(NamedTuple):
    """What the events of a log became."""

    turns: pl.DataFrame
    """TURNS"""
    sessions: pl.DataFrame
    """SESSIONS"""
    fates: pl.DataFrame
    """FATES: one row an event."""
    report: dict[str, int]
    """Counts: events, sessions, turns, `fate.<fate>`, `reason.<reason>`, ..."""


def build_sessions(events: pl.DataFrame, *, settings: SessionSettings | None = None) -> Sessions:
    """Turns, sessions, and a fate for every event. `row` is the fate of what a completion of `rows()` is made of.

    The order of the rows of `events` does not matter: (file, line, part) is the order of the file.
    """
    settings = settings or SessionSettings()
    _require_events(events)
    frame = in_sessions(events.select(EVENTS.names()), gap_minutes=settings.gap_minutes)
    frame = _recognise(frame, settings)
    frame = _set_double_deliveries_aside(frame, settings.double_delivery_seconds)
    frame = _set_first_auto_replies_aside(frame)
    frame = _number_turns(frame)
    frame = _place_feedback(frame)
    frame = _decide_fates(frame)
    turns, sessions = turns_of(frame), sessions_of(frame)
    fates = frame.sort("source", "file", "line", "part", "at").select(FATES.names())
    return Sessions(turns, sessions, fates, report_of(frame, turns, sessions))


def _require_events(events: pl.DataFrame) -> None:
    faults = [
        f"{name}: {events.schema.get(name, 'missing')}, expected {dtype}"
        for name, dtype in EVENTS.items()
        if events.schema.get(name) != dtype
    ]
    if faults:
        raise SchemaError("not a frame of events:\n" + "\n".join(f"  - {fault}" for fault in faults))


def _present(name: str) -> pl.Expr:
    return (pl.col(name).str.strip_chars() != "").fill_null(False)


def _recognise(frame: pl.DataFrame, settings: SessionSettings) -> pl.DataFrame:
    """Adds `signal` and `message` (Boolean) and the first `reason` to set an event aside that it shows by itself."""
    role = pl.col("role")
    rated = (pl.col("ratings").list.len() > 0).fill_null(False) | pl.col("thumb").is_not_null()
    rated = rated | _present("survey") | _present("status")
    message = pl.col("kind") == "message"
    frame = frame.with_columns(
        signal=((pl.col("kind") == "feedback") | (message & ~_present("text") & rated)).fill_null(False),
        separator=(pl.col("kind") == "separator").fill_null(False),
    )
    text = pl.col("text")
    automatic = (
        pl.when(role == "customer")
        .then(mentions(text, "auto_reply", "customer"))
        .when(role.is_in(["agent", "bot"]))
        .then(mentions(text, "auto_reply", "agent"))
        .otherwise(False)
    )
    reason = (
        pl.when("separator")
        .then(None)
        .when(pl.col("session").is_null())
        .then(pl.lit("orphan"))
        .when("signal")
        .then(None)
        .when(~_present("text"))
        .then(pl.lit("empty_text"))
        .when(~role.is_in(ROLES).fill_null(False))
        .then(pl.lit("unknown_role"))
        .when(role == "note")
        .then(pl.lit("internal_note"))
        .when(role == "system")
        .then(pl.lit("system_notice"))
        .when((role == "tool") & pl.lit(settings.tools == "set_aside"))
        .then(pl.lit("tool_row"))
        .when(automatic)
        .then(pl.lit("auto_reply"))
        .when((role == "bot") & pl.lit(settings.bots == "set_aside"))
        .then(pl.lit("bot_message"))
        .otherwise(None)
    )
    return frame.with_columns(
        reason=reason.cast(pl.String),
        message=~pl.col("signal") & ~pl.col("separator"),
        side=pl.when(role == "customer").then(pl.lit("customer")).otherwise(pl.lit("agent")),
        notice=role.is_in(["system", "bot"]).fill_null(False) & mentions(pl.col("text"), "handover", "always"),
    )


def _set_double_deliveries_aside(frame: pl.DataFrame, seconds: float) -> pl.DataFrame:
    """The later of two equal events: of one id, or of one role and text within `seconds` and in one burst.

    Where times are given to the minute, two equal messages seem to be sent at once; with an answer between them they
    are two.
    """
    live = pl.col("message") & pl.col("reason").is_null()
    before = pl.when(live).then("side").forward_fill().shift(1).over("session")
    turned = (live & pl.col("side").ne_missing(before)).cast(pl.Int32)
    frame = frame.with_columns(_burst=turned.cum_sum().over("session"))
    shown = pl.col("pictures").list.join("\n").fill_null("")
    frame = frame.with_columns(_shown=shown)
    content = ["session", "kind", "role", "text", "_shown"]
    rated = pl.col("ratings").list.eval(pl.element().cast(pl.String)).list.join(",", ignore_nulls=True)
    again = ~pl.struct(*content, "event", "thumb", "survey", "status", rated).is_first_distinct()
    again = again & pl.col("event").is_not_null()
    since = pl.col("time") - pl.col("time").shift(1).over(*content, "_burst")
    soon = pl.col("message") & (since <= pl.duration(microseconds=round(seconds * 1e6))).fill_null(False)
    frame = _set_aside(frame, ~pl.col("separator") & (again | soon), "double_delivery")
    return frame.drop("_burst", "_shown")


def _set_first_auto_replies_aside(frame: pl.DataFrame) -> pl.DataFrame:
    """`We have received your request` is a machine's where it is the first that the agent's side says."""
    speaks = pl.col("message") & pl.col("reason").is_null() & (pl.col("side") == "agent")
    first = speaks & (speaks.cast(pl.Int32).cum_sum().over("session") == 1)
    return _set_aside(frame, first & mentions(pl.col("text"), "auto_reply", "first_reply"), "auto_reply")


def _set_aside(frame: pl.DataFrame, which: pl.Expr, reason: str) -> pl.DataFrame:
    """`frame` with `reason` where `which` holds and no reason was given before."""
    return frame.with_columns(
        reason=pl.when(pl.col("reason").is_null() & which).then(pl.lit(reason)).otherwise("reason")
    )


def _number_turns(frame: pl.DataFrame) -> pl.DataFrame:
    """Adds `turn` (null for what is in none) and sets one-sided sessions and bots beside agents aside."""
    kept = pl.col("message") & pl.col("reason").is_null()
    spoken = kept & pl.col("role").is_in(["agent", "bot"])
    customer = (kept & (pl.col("role") == "customer")).any().over("session")
    frame = frame.with_columns(_met=(customer & spoken.any().over("session")).fill_null(False))
    frame = _set_aside(frame, pl.col("message") & ~pl.col("_met"), "one_sided_session")
    side = pl.when(kept).then("side")
    before = side.forward_fill().shift(1).over("session")
    frame = frame.with_columns(_new=(kept & (side.ne_missing(before))).cast(pl.Int32))
    frame = frame.with_columns(turn=pl.when(kept).then(pl.col("_new").cum_sum().over("session") - 1))
    person = (kept & (pl.col("role") == "agent")).any().over("session", "turn")
    frame = frame.with_columns(_beside=kept & person & pl.col("role").is_in(["bot", "tool"]))
    frame = _set_aside(frame, pl.col("_beside") & (pl.col("role") == "tool"), "tool_row")
    frame = _set_aside(frame, pl.col("_beside"), "bot_beside_agent")
    turn = pl.when(pl.col("reason").is_null() & pl.col("message")).then("turn").cast(pl.Int32)
    return frame.with_columns(turn=turn).drop("_met", "_new", "_beside")


def _place_feedback(frame: pl.DataFrame) -> pl.DataFrame:
    """Adds `about` (Int32): the turn that feedback of scope "turn" stands on; sets aside what finds none.

    Adds `status_about`: the turn that a change of status follows or stands on. A status that stands on all lines of a
    session (a column of a joined export) is no change and tells of no turn.
    """
    in_turn = pl.col("turn").is_not_null()
    holds = in_turn.any().over("session").fill_null(False)
    talked = pl.col("message").any().over("session").fill_null(False)
    frame = _set_aside(frame, pl.col("signal") & ~talked, "orphan")
    frame = _set_aside(frame, pl.col("signal") & ~holds, "one_sided_session")
    by_turn = (pl.col("scope") == "turn").fill_null(pl.col("message"))
    last = pl.col("turn").forward_fill().over("session")
    if frame["reply_to"].null_count() < frame.height:
        answered = (
            frame.filter(in_turn & pl.col("event").is_not_null())
            .select("session", pl.col("event").alias("reply_to"), pl.col("turn").alias("_answered"))
            .unique(["session", "reply_to"], keep="first", maintain_order=True)
        )
        frame = frame.join(answered, on=["session", "reply_to"], how="left", maintain_order="left")
        last = pl.when(pl.col("signal")).then(pl.coalesce("_answered", last)).otherwise(last)
    live = pl.col("reason").is_null() & (in_turn | pl.col("signal"))
    frame = frame.with_columns(by_turn=by_turn, about=pl.when(live & by_turn).then(last).cast(pl.Int32))
    without = pl.col("signal") & pl.col("by_turn") & pl.col("about").is_null()
    frame = _set_aside(frame, without, "feedback_without_turn")
    stood = pl.col("status").forward_fill().shift(1).over("session")
    changed = pl.col("status").is_not_null() & pl.col("status").ne_missing(stood)
    begun = pl.col("message").cast(pl.Int32).cum_sum().over("session") > 1
    placed = live & changed & begun & (pl.col("scope") != "session").fill_null(True)
    frame = frame.with_columns(status_about=pl.when(placed & pl.col("reason").is_null()).then(last).cast(pl.Int32))
    return frame.drop("_answered", strict=False)


def _decide_fates(frame: pl.DataFrame) -> pl.DataFrame:
    answer = (pl.col("role") == "agent") & (pl.col("turn") > 0)
    fate = (
        pl.when("separator")
        .then(pl.lit("separator"))
        .when(pl.col("reason").is_not_null())
        .then(pl.lit("set_aside"))
        .when("signal")
        .then(pl.lit("signal"))
        .when(answer)
        .then(pl.lit("row"))
        .otherwise(pl.lit("context"))
    )
    return frame.with_columns(fate=fate)
