"""Sessions out of events: what belongs together, in which order, what is left out and why."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import hypothesis.strategies as st
import polars as pl
import pytest
from hypothesis import given, settings
from polars.testing import assert_frame_equal

from prefdata.errors import RecipeError, SchemaError
from prefdata.logs.events import EVENTS, FATE_NAMES, FATES, SESSIONS, TURNS
from prefdata.logs.rows import rows
from prefdata.logs.sessions import REASONS, Sessions, SessionSettings, build_sessions

START = datetime(2024, 3, 5, 10, 0, tzinfo=UTC)


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def log(*lines: dict[str, Any]) -> pl.DataFrame:
    """EVENTS: customer and agent in session s unless a line says otherwise, numbered by line."""
    fixed = {"source": "desk", "file": "a.csv", "part": 0, "kind": "message", "session": "s"}
    full = [{**dict.fromkeys(EVENTS), **fixed, "line": number, **line} for number, line in enumerate(lines, 1)]
    return pl.DataFrame(full, schema=EVENTS)


def say(role: str | None, text: str | None, **more: Any) -> dict[str, Any]:
    return {"role": role, "text": text, **more}


def customer(text: str | None, **more: Any) -> dict[str, Any]:
    return say("customer", text, **more)


def agent(text: str | None, **more: Any) -> dict[str, Any]:
    return say("agent", text, **more)


def talk(built: Sessions) -> list[tuple[str, str]]:
    return [(role[0], text) for role, text in built.turns.select("role", "text").iter_rows()]


def fates(built: Sessions) -> list[str]:
    """By line: the fate, or the reason of what is set aside."""
    return [reason or fate for fate, reason in built.fates.select("fate", "reason").iter_rows()]


def test_a_question_and_an_answer_are_two_turns_and_one_row() -> None:
    built = build_sessions(log(customer("where is my parcel"), agent("on its way")))
    assert talk(built) == [("c", "where is my parcel"), ("a", "on its way")]
    assert fates(built) == ["context", "row"]
    assert built.turns["session"].to_list() == ["desk/s", "desk/s"]
    assert built.turns["turn"].to_list() == [0, 1]
    assert built.turns.schema == TURNS
    assert built.sessions.schema == SESSIONS
    assert built.fates.schema == FATES
    assert built.sessions.select("turns", "customer_turns", "agent_turns", "complete").row(0) == (2, 1, 1, True)


def test_sessions_of_two_sources_with_one_id_stay_apart() -> None:
    built = build_sessions(log(customer("a"), agent("b"), customer("c", source="mail"), agent("d", source="mail")))
    assert built.sessions["session"].to_list() == ["desk/s", "mail/s"]


def test_bursts_of_one_side_are_one_turn() -> None:
    built = build_sessions(log(customer("hi"), customer("my order"), agent("yes?"), agent("tell me"), customer("late")))
    assert talk(built) == [("c", "hi\nmy order"), ("a", "yes?\ntell me"), ("c", "late")]
    assert built.turns["flags"].to_list() == [["merged"], ["merged"], []]
    assert fates(built) == ["context", "context", "row", "row", "context"]


def test_an_agents_opening_is_context() -> None:
    built = build_sessions(log(agent("welcome"), customer("hi"), agent("how can I help")))
    assert fates(built) == ["context", "context", "row"]


def test_a_session_where_nobody_answers_after_the_customer_is_not_complete() -> None:
    built = build_sessions(log(agent("welcome"), customer("hi")))
    assert built.sessions["complete"].to_list() == [False]
    assert fates(built) == ["context", "context"]


# Sessions without ids


def test_without_an_id_a_customers_pause_above_the_gap_begins_a_session() -> None:
    who = {"session": None, "customer": "ann"}
    lines = [
        customer("one", time=at(0), **who),
        agent("two", time=at(1), **who),
        customer("three", time=at(1 + 60), **who),
        agent("four", time=at(2 + 60), **who),
        customer("five", time=at(2 + 120.1), **who),
        agent("six", time=at(123), **who),
    ]
    built = build_sessions(log(*lines), settings=SessionSettings(gap_minutes=60))
    assert built.sessions.select("session", "turns").rows() == [("desk/@ann#1", 4), ("desk/@ann#2", 2)]
    assert built.report["sessions_by_gap"] == 2


def test_a_late_survey_does_not_begin_a_session() -> None:
    who = {"session": None, "customer": "ann"}
    built = build_sessions(
        log(
            customer("one", time=at(0), **who),
            agent("two", time=at(1), **who),
            {"kind": "feedback", "ratings": [5.0], "scope": "session", "time": at(5000), **who},
        )
    )
    assert built.sessions.select("session", "ratings").rows() == [("desk/@ann#1", [5.0])]


def test_an_id_that_looks_like_a_customer_does_not_meet_one() -> None:
    built = build_sessions(
        log(
            customer("a", session="@ann#1"),
            agent("b", session="@ann#1"),
            customer("c", session=None, customer="ann"),
            agent("d", session=None, customer="ann"),
        )
    )
    assert built.sessions["session"].to_list() == ["desk/@@ann#1", "desk/@ann#1"]


def test_a_message_without_session_and_customer_is_an_orphan() -> None:
    built = build_sessions(log(customer("lost", session=None), customer("hi"), agent("hello")))
    assert fates(built) == ["orphan", "context", "row"]


def test_a_vote_without_session_goes_where_the_message_is_that_it_names() -> None:
    built = build_sessions(
        log(
            customer("hi"),
            agent("hello", event="m2"),
            customer("and?"),
            agent("done"),
            {"kind": "feedback", "session": None, "reply_to": "m2", "thumb": 1, "scope": "turn"},
        )
    )
    assert built.turns["thumb"].to_list() == [None, 1, None, None]
    assert fates(built)[-1] == "signal"


# Order


def test_messages_out_of_order_are_put_in_the_order_of_time() -> None:
    built = build_sessions(
        log(
            customer("one", time=at(0)),
            customer("three", time=at(2)),
            agent("two", time=at(1)),
            agent("four", time=at(3)),
            agent("five", time=at(4)),
        )
    )
    assert talk(built) == [("c", "one"), ("a", "two"), ("c", "three"), ("a", "four\nfive")]
    assert ["reordered" in flags for flags in built.turns["flags"]] == [False, True, True, False]
    assert built.report["sessions_reordered"] == 1


def test_ties_of_time_keep_the_order_of_the_file() -> None:
    built = build_sessions(log(customer("one", time=at(0)), agent("two", time=at(0)), customer("three", time=at(0))))
    assert talk(built) == [("c", "one"), ("a", "two"), ("c", "three")]


def test_in_a_file_with_the_newest_first_ties_are_turned_round() -> None:
    built = build_sessions(
        log(
            agent("four", time=at(2)),
            customer("three", time=at(1)),
            agent("two", time=at(0)),
            customer("one", time=at(0)),
        )
    )
    assert talk(built) == [("c", "one"), ("a", "two"), ("c", "three"), ("a", "four")]


def test_a_message_without_a_time_stays_behind_the_one_before_it() -> None:
    built = build_sessions(
        log(
            customer("three", time=at(5)),
            agent("four"),
            customer("one", time=at(0)),
            agent("two", time=at(1)),
        )
    )
    assert talk(built) == [("c", "one"), ("a", "two"), ("c", "three"), ("a", "four")]


def test_without_times_an_answer_stands_behind_what_it_answers() -> None:
    built = build_sessions(
        log(
            agent("two", event="2", reply_to="1"),
            customer("one", event="1"),
            customer("three", event="3", reply_to="2"),
        )
    )
    assert talk(built) == [("c", "one"), ("a", "two"), ("c", "three")]


def test_without_times_a_message_that_answers_nothing_keeps_its_place() -> None:
    built = build_sessions(
        log(customer("one", event="1"), agent("two", event="2", reply_to="1"), customer("three"), agent("four"))
    )
    assert talk(built) == [("c", "one"), ("a", "two"), ("c", "three"), ("a", "four")]
    assert built.turns["flags"].to_list() == [[], [], [], []]


# What is left out


@pytest.mark.parametrize(
    ("line", "fate"),
    [
        (say("note", "ask the boss"), "internal_note"),
        (say("tool", "{}"), "tool_row"),
        (say("system", "chat started"), "system_notice"),
        (say(None, "who am I"), "unknown_role"),
        (agent(""), "empty_text"),
        (agent(" \n\t"), "empty_text"),
        (agent(None), "empty_text"),
        (agent("This is an automated response. We are on it."), "auto_reply"),
        (customer("I’m out of the office until Monday"), "auto_reply"),
        (agent("【自动回复】您好，我们已收到"), "auto_reply"),
        (agent("Out of office: back on Monday"), "auto_reply"),
        (customer("all I get is: this is an automated response"), "context"),
        (agent("sorry that you got an automated response"), "row"),
        (agent("刚才那条是自动回复，不好意思"), "row"),
        (agent(None, ratings=[4.0]), "signal"),
        (say("system", None, status="resolved"), "signal"),
        ({"kind": "separator", "session": None}, "separator"),
        (agent("fine"), "row"),
        (say("bot", "fine"), "context"),
    ],
)
def test_each_kind_of_line_has_its_fate(line: dict[str, Any], fate: str) -> None:
    built = build_sessions(log(customer("hi"), agent("yes"), customer("well"), line, customer("bye"), agent("bye bye")))
    assert fates(built)[3] == fate
    assert fates(built)[5] == "row"


def test_words_of_a_receipt_are_an_auto_reply_only_as_the_first_answer() -> None:
    receipt = "We have received your request."
    built = build_sessions(
        log(customer("hi"), agent(receipt), agent("so"), customer("did you?"), agent("Yes. " + receipt))
    )
    assert fates(built) == ["context", "auto_reply", "row", "context", "row"]


def test_a_session_with_an_automatic_answer_only_is_one_sided() -> None:
    built = build_sessions(log(customer("hi"), agent("this is an automated message")))
    assert fates(built) == ["one_sided_session", "auto_reply"]
    assert built.turns.height == 0
    assert built.sessions.height == 0
    assert built.report["sessions_one_sided"] == 1


def test_feedback_of_a_one_sided_session_goes_with_it() -> None:
    built = build_sessions(log(agent("hi"), {"kind": "feedback", "ratings": [1.0], "scope": "session"}))
    assert fates(built) == ["one_sided_session", "one_sided_session"]


def test_feedback_on_a_session_without_messages_is_an_orphan() -> None:
    built = build_sessions(log({"kind": "feedback", "ratings": [1.0], "scope": "session"}))
    assert fates(built) == ["orphan"]


# Double deliveries


@pytest.mark.parametrize(
    ("second", "fate"),
    [
        (customer("hello", event="m1", time=at(900)), "double_delivery"),
        (customer("hello", event="m9", time=at(5 / 60)), "double_delivery"),
        (customer("hello", event="m9", time=at(5.1 / 60)), "context"),
        (customer("hello", event="m9"), "context"),
        (customer("Hello", event="m1", time=at(0)), "context"),
        (agent("hello", event="m1", time=at(0)), "row"),
    ],
)
def test_a_second_delivery_has_the_same_text_and_the_same_id_or_a_close_time(second: dict[str, Any], fate: str) -> None:
    built = build_sessions(log(customer("hello", event="m1", time=at(0)), second, agent("yes", time=at(1000))))
    assert fates(built)[1] == fate


def test_equal_messages_of_one_minute_with_an_answer_between_are_two() -> None:
    built = build_sessions(
        log(
            customer("yes", time=at(0)),
            agent("sure?", time=at(0)),
            customer("yes", time=at(0)),
            agent("ok", time=at(1)),
        )
    )
    assert fates(built) == ["context", "row", "context", "row"]


def test_without_ids_and_times_equal_messages_are_no_double_deliveries() -> None:
    built = build_sessions(log(customer("yes"), customer("yes"), agent("ok")))
    assert talk(built) == [("c", "yes\nyes"), ("a", "ok")]


# Bots, tools, handover


def test_a_bots_turn_is_context_and_a_person_takes_over() -> None:
    built = build_sessions(
        log(
            customer("hi"),
            say("bot", "pick a topic"),
            customer("a person"),
            agent("Ann here"),
            customer("ok"),
            agent("so"),
        )
    )
    assert fates(built) == ["context", "context", "context", "row", "context", "row"]
    assert built.turns["role"].to_list() == ["customer", "agent"] * 3
    assert built.turns["flags"].to_list() == [[], ["bot"], [], ["handover"], [], []]
    assert built.sessions["handover"].to_list() == [True]


def test_a_bot_in_one_burst_with_a_person_is_set_aside() -> None:
    built = build_sessions(
        log(customer("hi"), say("bot", "connecting you to Ann"), agent("Ann here"), say("bot", "rate us"))
    )
    assert fates(built) == ["context", "bot_beside_agent", "row", "bot_beside_agent"]
    assert talk(built) == [("c", "hi"), ("a", "Ann here")]
    assert built.turns["flags"].to_list() == [[], ["handover"]]


def test_bots_can_be_left_out() -> None:
    built = build_sessions(
        log(customer("hi"), say("bot", "topic?"), customer("a person"), agent("Ann here")),
        settings=SessionSettings(bots="set_aside"),
    )
    assert fates(built) == ["context", "bot_message", "context", "row"]
    assert talk(built) == [("c", "hi\na person"), ("a", "Ann here")]


def test_a_session_of_customer_and_bot_has_context_only() -> None:
    built = build_sessions(log(customer("hi"), say("bot", "topic?"), customer("none")))
    assert fates(built) == ["context", "context", "context"]
    assert built.sessions["complete"].to_list() == [False]
    assert built.sessions["handover"].to_list() == [False]


@pytest.mark.parametrize(
    "notice", ["You are now connected with Ann", "正在为您转接人工客服", "Ann has joined the chat"]
)
def test_a_notice_of_the_platform_in_a_running_session_is_a_handover(notice: str) -> None:
    built = build_sessions(log(customer("hi"), say("system", notice), agent("Ann here")))
    assert built.sessions["handover"].to_list() == [True]
    assert fates(built) == ["context", "system_notice", "row"]


def test_a_notice_before_anyone_spoke_is_no_handover() -> None:
    built = build_sessions(log(say("system", "You are now connected with Ann"), customer("hi"), agent("Ann here")))
    assert built.sessions["handover"].to_list() == [False]


def test_tool_rows_can_stand_in_prompts_but_not_in_completions() -> None:
    lines = log(customer("hi"), say("tool", "order 7: sent"), customer("so?"), say("tool", "x"), agent("it was sent"))
    built = build_sessions(lines, settings=SessionSettings(tools="context"))
    assert fates(built) == ["context", "context", "context", "tool_row", "row"]
    assert built.turns["flags"].to_list() == [[], ["tool"], [], []]


# Feedback


def test_turn_feedback_stays_on_the_customers_turn_it_stands_on() -> None:
    built = build_sessions(
        log(
            customer("hi", ratings=[3.0, 4.0], scope="turn"),
            agent("hello"),
            customer("bad", ratings=[1.0], scope="turn"),
            customer("very", ratings=[2.0], scope="turn"),
            agent("sorry"),
            {"kind": "feedback", "ratings": [1.0, 2.0], "scope": "session", "role": "customer"},
        )
    )
    assert built.turns["ratings"].to_list() == [[3.0, 4.0], None, [1.0, 2.0], None]
    assert built.sessions["ratings"].to_list() == [[1.0, 2.0]]
    assert fates(built)[-1] == "signal"


def test_a_line_of_turn_feedback_goes_to_the_turn_before_it_or_to_the_one_it_names() -> None:
    built = build_sessions(
        log(
            customer("hi"),
            agent("hello", event="m2"),
            customer("more"),
            agent("done"),
            {"kind": "feedback", "thumb": 1, "scope": "turn"},
            {"kind": "feedback", "thumb": -1, "reply_to": "m2", "scope": "turn"},
        )
    )
    assert built.turns["thumb"].to_list() == [None, -1, None, 1]


def test_turn_feedback_before_any_turn_is_set_aside() -> None:
    built = build_sessions(log({"kind": "feedback", "thumb": 1, "scope": "turn"}, customer("hi"), agent("hello")))
    assert fates(built) == ["feedback_without_turn", "context", "row"]


def test_a_session_rating_repeated_on_every_row_counts_once_and_lines_of_their_own_each() -> None:
    rated = {"ratings": [4.0], "scope": "session"}
    feedback = {"kind": "feedback", "ratings": [4.0], "scope": "session"}
    built = build_sessions(log(customer("hi", **rated), agent("hello", **rated), feedback, feedback))
    assert built.sessions["ratings"].to_list() == [[4.0, 4.0, 4.0]]
    assert built.turns["ratings"].to_list() == [None, None]


def test_a_status_that_changes_stands_on_the_turn_before_it_and_the_last_is_the_sessions() -> None:
    built = build_sessions(
        log(
            customer("hi", status="open"),
            agent("done"),
            say("system", None, status="resolved"),
            customer("not at all"),
            say("system", None, status="reopened"),
            agent("oh", status="reopened"),
        )
    )
    assert built.turns["status"].to_list() == [None, "resolved", "reopened", None]
    assert built.sessions["status"].to_list() == ["reopened"]


def test_a_status_repeated_on_every_row_is_the_sessions_only() -> None:
    built = build_sessions(log(customer("hi", status="solved"), agent("done", status="solved")))
    assert built.turns["status"].to_list() == [None, None]
    assert built.sessions["status"].to_list() == ["solved"]


def test_names_of_any_row_are_known_to_all_turns_of_the_session() -> None:
    built = build_sessions(
        log(customer("hi", names=["Ann Lee"]), agent("hello", names=["Bob", "Ann Lee"]), say("note", "x", names=["Cy"]))
    )
    assert built.turns["names"].to_list() == [["Ann Lee", "Bob", "Cy"]] * 2


# Laws


def test_a_frame_that_is_not_events_is_refused() -> None:
    with pytest.raises(SchemaError, match="text: missing, expected String"):
        build_sessions(log(customer("hi")).drop("text"))


@pytest.mark.parametrize("wrong", [-1.0, float("nan"), float("inf")])
def test_a_gap_that_is_no_length_of_time_is_refused(wrong: float) -> None:
    with pytest.raises(RecipeError, match=r"gap_minutes: .*, expected a number from 0"):
        build_sessions(log(customer("hi")), settings=SessionSettings(gap_minutes=wrong))


def test_no_events_give_no_turns() -> None:
    built = build_sessions(pl.DataFrame(schema=EVENTS))
    assert (built.turns.height, built.sessions.height, built.fates.height) == (0, 0, 0)
    assert built.turns.schema == TURNS
    assert built.sessions.schema == SESSIONS


TEXTS = st.sampled_from(
    [None, "", " ", "yes", "no", "hello", "This is an automated reply", "转人工", "you are in the queue"]
)
LINES = st.fixed_dictionaries(
    {
        "source": st.sampled_from(["a", "b"]),
        "file": st.sampled_from(["x", "y"]),
        "kind": st.sampled_from(["message"] * 6 + ["feedback", "separator"]),
        "session": st.sampled_from([None, "1", "2", "@k#1", ""]),
        "customer": st.sampled_from([None, "k", "l"]),
        "event": st.sampled_from([None, "m1", "m2", "m3"]),
        "reply_to": st.sampled_from([None, None, "m1", "m2", "m3"]),
        "time": st.sampled_from([None, at(0), at(0.05), at(1), at(2000), at(5000)]),
        "role": st.sampled_from(
            [None, "customer", "customer", "agent", "agent", "bot", "tool", "note", "system", "odd"]
        ),
        "text": TEXTS,
        "ratings": st.sampled_from([None, None, [1.0], [2.0, 3.0], []]),
        "thumb": st.sampled_from([None, None, 1, -1]),
        "survey": st.sampled_from([None, None, "good"]),
        "status": st.sampled_from([None, None, "open", "resolved"]),
        "scope": st.sampled_from([None, "turn", "session"]),
        "names": st.sampled_from([None, [], ["Ann"]]),
    }
)
SETTINGS = st.builds(
    SessionSettings, bots=st.sampled_from(["context", "set_aside"]), tools=st.sampled_from(["context", "set_aside"])
)


@settings(max_examples=50)
@given(lines=st.lists(LINES, max_size=14), chosen=SETTINGS, order=st.randoms(use_true_random=False))
def test_every_event_has_one_fate_and_the_order_of_the_frame_does_not_matter(
    lines: list[dict[str, Any]], chosen: SessionSettings, order: Any
) -> None:
    events = log(*lines)
    built = build_sessions(events, settings=chosen)
    unit = ["source", "file", "line", "part"]
    assert_frame_equal(built.fates.select(unit), events.select(unit).sort(unit), check_row_order=True)
    assert set(built.fates["fate"]) <= set(FATE_NAMES)
    assert set(built.fates["reason"].drop_nulls()) <= set(REASONS)
    assert (built.fates["reason"].is_not_null() == (built.fates["fate"] == "set_aside")).all()
    separators = events.filter(pl.col("kind") == "separator").height
    assert built.fates.filter(pl.col("fate") == "separator").height == separators

    positions = built.turns.group_by("session", maintain_order=True).agg("turn", "role")
    for session, turns, roles in positions.iter_rows():
        assert turns == list(range(len(turns))), session
        assert all(left != right for left, right in itertools.pairwise(roles)), session
    assert set(built.sessions["session"]) == set(built.turns["session"])
    assert built.turns.filter(pl.col("text").str.strip_chars() == "").height == 0

    made = rows(built.turns)
    first = built.fates.filter(pl.col("fate") == "row").select("file", "line", "part")
    assert made.join(first, on=["file", "line", "part"], how="anti").height == 0
    assert (made.height == 0) == (first.height == 0)

    places = list(range(events.height))
    order.shuffle(places)
    again = build_sessions(events[places], settings=chosen)
    for left, right in zip(built[:3], again[:3], strict=True):
        assert_frame_equal(left, right)
    assert built.report == again.report
