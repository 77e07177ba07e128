"""The layout `replies`: threads out of who answers whom."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from prefdata.errors import RecipeError
from prefdata.logs.layout_replies import Replies
from prefdata.logs.mapping import LogRead
from prefdata.logs.rows import rows
from prefdata.logs.sessions import build_sessions

LAYOUT = Replies(
    columns={
        "event": "tweet_id",
        "customer": "author_id",
        "agent": "author_id",
        "role": "inbound",
        "time": "created_at",
        "text": "text",
        "replies": "response_tweet_id",
        "reply_to": "in_response_to_tweet_id",
    }
)
HEAD = "tweet_id,author_id,inbound,created_at,text,response_tweet_id,in_response_to_tweet_id"


def read(tmp_path: Path, *lines: str) -> LogRead:
    """Lines `id,author,True|False,minute,replies,reply_to`; the text is the id."""
    full = []
    for line in lines:
        one, author, inbound, minute, replies, parent = line.split(",")
        when = f"Wed Oct 11 06:{int(minute):02}:00 +0000 2017" if minute else ""
        full.append(f'{one},{author},{inbound},{when},t{one},"{replies.replace(" ", ",")}",{parent}')
    (tmp_path / "sample.csv").write_text("\n".join([HEAD, *full]) + "\n", encoding="utf-8")
    return LAYOUT.read(tmp_path / "sample.csv", source="x")


def sessions(got: LogRead) -> dict[str, str]:
    """Session -> its texts in order, agents' in capitals."""
    turns = build_sessions(got.events).turns
    shown: dict[str, list[str]] = {}
    for session, role, text in turns.select("session", "role", "text").iter_rows():
        shown.setdefault(session, []).append(text.upper() if role == "agent" else text)
    return {session: " ".join(texts) for session, texts in shown.items()}


def test_a_thread_is_a_session_in_the_order_of_time(tmp_path: Path) -> None:
    got = read(tmp_path, "3,ann,True,3,,2", "2,Brand,False,2,3,1", "1,ann,True,1,2,")
    assert sessions(got) == {"x/1": "t1 T2 t3"}
    assert got.events.select("customer", "agent").rows() == [("ann", None), ("ann", "Brand"), ("ann", None)]


def test_a_link_that_only_the_answered_side_gives_is_enough(tmp_path: Path) -> None:
    assert sessions(read(tmp_path, "1,ann,True,1,2 4,", "2,Brand,False,2,,", "4,Brand,False,4,,")) == {
        "x/1": "t1 T2\nT4"
    }


def test_several_customers_in_a_thread_have_a_session_each(tmp_path: Path) -> None:
    got = read(
        tmp_path,
        "1,ann,True,1,2 3,",
        "2,bob,True,2,4,1",
        "3,Brand,False,3,,1",
        "4,Brand,False,4,5,2",
        "5,bob,True,5,,4",
    )
    assert sessions(got) == {"x/1:ann": "t1 T3", "x/1:bob": "t2 T4 t5"}
    assert got.report["threads_split"] == 1


def test_an_agents_opening_goes_to_the_first_customer(tmp_path: Path) -> None:
    got = read(tmp_path, "1,Brand,False,1,2,", "2,ann,True,2,3,1", "3,Brand,False,3,,2")
    assert sessions(got) == {"x/1": "T1 t2 T3"}
    assert got.events["customer"].to_list() == ["ann", "ann", "ann"]


def test_answers_to_the_same_missing_message_are_one_thread(tmp_path: Path) -> None:
    got = read(tmp_path, "2,ann,True,2,,1", "3,Brand,False,3,,1", "8,Brand,False,8,,7")
    assert sessions(got) == {"x/1": "t2 T3"}
    assert got.report["missing_parents"] == 3
    assert build_sessions(got.events).fates["reason"].to_list() == [None, None, "one_sided_session"]


@pytest.mark.parametrize(
    "lines",
    [
        ("1,ann,True,1,2,2", "2,Brand,False,2,1,1"),
        ("1,ann,True,1,,1", "2,Brand,False,2,,1"),
        ("1,ann,True,,,2", "2,Brand,False,,,1"),
    ],
)
def test_messages_that_answer_each_other_in_a_circle_are_one_thread(tmp_path: Path, lines: tuple[str, ...]) -> None:
    got = read(tmp_path, *lines)
    assert sessions(got) == {"x/1": "t1 T2"}
    assert got.report["circular_replies"] == 1


def test_without_times_answers_follow_what_they_answer(tmp_path: Path) -> None:
    assert sessions(read(tmp_path, "3,ann,True,,,2", "2,Brand,False,,,1", "1,ann,True,,,")) == {"x/1": "t1 T2 t3"}


def test_ids_that_stand_twice_do_not_multiply_messages(tmp_path: Path) -> None:
    got = read(tmp_path, "1,ann,True,1,2,", "1,ann,True,1,2,", "2,Brand,False,2,,1")
    assert got.events.height == 3
    assert build_sessions(got.events).fates["reason"].to_list() == [None, "double_delivery", None]


def test_a_mapping_without_links_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("event,role,text\n1,true,hi\n", encoding="utf-8")
    with pytest.raises(RecipeError, match="reply_to not mapped"):
        Replies().read(tmp_path / "a.csv", source="x")


def test_the_twitter_sample_goes_through_whole(shared_data: Callable[[str], Path]) -> None:
    got = LAYOUT.read(shared_data("twcs_sample/sample.csv"), source="twcs")
    assert (got.events.height, got.quarantine.height) == (93, 0)
    assert got.report["unparsed_time"] == 0
    assert got.report["unknown_role"] == 0
    assert got.report["missing_parents"] == 2
    built = build_sessions(got.events)
    assert built.fates.height == 93
    assert {name: built.report[name] for name in ("fate.row", "fate.context", "fate.set_aside", "sessions")} == {
        "fate.row": 42,
        "fate.context": 48,
        "fate.set_aside": 3,
        "sessions": 26,
    }
    assert rows(built.turns).height == 41
    thread = built.turns.filter(session="twcs/119256")
    assert thread["role"].to_list() == ["customer", "agent"] * 4
    assert built.turns.filter(session="twcs/119250:105837")["customer"].to_list() == ["105837", "105837"]
    assert "twcs/119250:105838" not in built.sessions["session"].to_list()  # nobody answered in this sample


def test_what_is_used_by_name_is_told(tmp_path: Path) -> None:
    got = read(tmp_path, "1,a,True,1,,", "2,b,False,2,,1")
    assert (got.used_by_name, got.unknown_roles) == ([], {})
    (tmp_path / "b.csv").write_text("event,reply_to,role,text,status\n1,,True,hi,open\n", encoding="utf-8")
    got = Replies(columns={"status": None}).read(tmp_path / "b.csv", source="x")
    assert got.used_by_name == ["event", "reply_to", "role", "text"]


def test_what_is_missing_is_told_with_the_columns_there_are(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text("event,body\n1,hi\n", encoding="utf-8")
    with pytest.raises(
        RecipeError, match=r"source x: columns: text, role, reply_to not mapped; .* it has 'event', 'body'"
    ):
        Replies().read(tmp_path / "b.csv", source="x")
