"""The layout `conversations`: nested JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from prefdata.errors import InputError, RecipeError
from prefdata.logs.layout_conversations import Conversations
from prefdata.logs.mapping import LogRead
from prefdata.logs.rows import rows
from prefdata.logs.sessions import build_sessions


def read(tmp_path: Path, value: Any, layout: Conversations) -> LogRead:
    (tmp_path / "log.json").write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    return layout.read(tmp_path / "log.json", source="desk")


def turns(got: LogRead) -> list[tuple[str, str]]:
    return [(role[0], text) for role, text in build_sessions(got.events).turns.select("role", "text").iter_rows()]


MESSAGES = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello", "act": ["greet", 1]}]


def test_an_object_is_a_session_and_its_messages_are_its_parts(tmp_path: Path) -> None:
    value = [{"id": 7, "messages": MESSAGES, "goal": "talk"}, {"id": 8, "messages": MESSAGES}]
    got = read(tmp_path, value, Conversations(columns={"session": "id"}))
    assert got.events.select("session", "line", "part", "role", "text").rows() == [
        ("7", 1, 0, "customer", "hi"),
        ("7", 1, 1, "agent", "hello"),
        ("8", 2, 0, "customer", "hi"),
        ("8", 2, 1, "agent", "hello"),
    ]
    assert [one and json.loads(one) for one in got.events["meta"][:2]] == [
        {"conversation": {"goal": "talk"}},
        {"act": ["greet", "1"]},
    ]


def test_an_object_of_objects_gives_its_keys_as_sessions(tmp_path: Path) -> None:
    got = read(tmp_path, {"x1": {"messages": MESSAGES}, "x2": {"messages": MESSAGES}}, Conversations())
    assert got.events["session"].unique(maintain_order=True).to_list() == ["x1", "x2"]


def test_without_an_id_the_place_in_the_file_is_one(tmp_path: Path) -> None:
    got = read(tmp_path, [{"messages": MESSAGES}, {"messages": MESSAGES}], Conversations())
    assert got.events["session"].unique(maintain_order=True).to_list() == ["log.json#1", "log.json#2"]


def test_messages_can_be_pairs_at_a_dotted_path(tmp_path: Path) -> None:
    value = [{"chat": {"original": [["customer", "hi"], ["agent", "hello"], ["action", "found"]]}}]
    got = read(tmp_path, value, Conversations(messages="chat.original", message={"role": "0", "text": "1"}))
    assert got.events["role"].to_list() == ["customer", "agent", "tool"]
    assert turns(got) == [("c", "hi"), ("a", "hello")]


def test_messages_that_are_texts_alternate(tmp_path: Path) -> None:
    layout = Conversations(message={"text": "text"}, alternating=["customer", "agent"])
    assert turns(read(tmp_path, [{"messages": ["hi", "hello", "bye"]}], layout)) == [
        ("c", "hi"),
        ("a", "hello"),
        ("c", "bye"),
    ]


def test_content_in_parts_gives_its_texts(tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "see"}, {"type": "image", "url": "u"}, {"type": "text", "text": "this"}]
    got = read(tmp_path, [{"messages": [{"role": "user", "content": parts}, MESSAGES[1]]}], Conversations())
    assert turns(got) == [("c", "see\nthis"), ("a", "hello")]


def test_feedback_on_the_conversation_is_a_signal_behind_its_messages(tmp_path: Path) -> None:
    value = {
        "id": "7",
        "who": {"id": "c9", "name": "Ann Lee"},
        "opened": "2024-03-05T10:20:00Z",
        "score": [4, 5],
        "note": "fine",
        "state": "solved",
        "messages": MESSAGES,
    }
    columns = {
        "session": "id",
        "customer": "who.id",
        "customer_name": "who.name",
        "time": "opened",
        "rating": "score",
        "survey": "note",
        "status": "state",
    }
    got = read(tmp_path, [value], Conversations(columns=columns))
    assert got.events.select("kind", "part", "scope", "ratings", "names").rows() == [
        ("message", 0, None, None, ["Ann Lee"]),
        ("message", 1, None, None, ["Ann Lee"]),
        ("feedback", 2, "session", [4.0, 5.0], ["Ann Lee"]),
    ]
    built = build_sessions(got.events)
    assert built.fates["fate"].to_list() == ["context", "row", "signal"]
    assert built.sessions.select("customer", "started", "ratings", "survey", "status").row(0) == (
        "c9",
        datetime(2024, 3, 5, 10, 20, tzinfo=UTC),
        [4.0, 5.0],
        "fine",
        "solved",
    )
    assert built.turns["status"].to_list() == [None, None]


def test_a_rating_on_a_message_is_about_a_turn(tmp_path: Path) -> None:
    messages = [MESSAGES[0], {**MESSAGES[1], "stars": 2, "vote": "down"}]
    layout = Conversations(message={"role": "role", "text": "content", "rating": "stars", "thumb": "vote"})
    built = build_sessions(read(tmp_path, [{"messages": messages}], layout).events)
    assert built.turns.select("ratings", "thumb").rows() == [(None, None), ([2.0], -1)]
    assert built.sessions["ratings"].to_list() == [None]


@pytest.mark.parametrize("broken", [{"messages": "none"}, {}, {"messages": None}])
def test_an_object_without_a_list_of_messages_is_quarantined(tmp_path: Path, broken: dict[str, Any]) -> None:
    got = read(tmp_path, [{"messages": MESSAGES}, broken, {"messages": MESSAGES}], Conversations())
    assert got.quarantine.select("file", "line", "reason").rows() == [("log.json", 2, "no_message_list")]
    assert got.events["line"].unique(maintain_order=True).to_list() == [1, 3]


def test_a_conversation_without_messages_has_a_fate(tmp_path: Path) -> None:
    got = read(tmp_path, [{"messages": []}, {"messages": MESSAGES}, {"messages": [None]}], Conversations())
    assert (got.quarantine.height, got.report["conversations"], got.report["unknown_role"]) == (0, 3, 1)
    fates = build_sessions(got.events).fates.select("line", "fate", "reason").rows()
    assert fates == [
        (1, "set_aside", "empty_text"),
        (2, "context", None),
        (2, "row", None),
        (3, "set_aside", "empty_text"),
    ]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"columns": {"text": "a"}}, "'text' is no canonical name"),
        ({"message": {"role": "r"}}, "`text` is not mapped"),
        ({"message": {"text": "t", "sender": "s"}}, "'sender' is no canonical name"),
    ],
)
def test_a_mapping_that_cannot_work_is_refused_before_anything_is_read(more: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Conversations(**more)


def test_crosswoz_goes_through_whole(shared_data: Callable[[str], Path]) -> None:
    layout = Conversations(
        columns={"customer": "sys-usr.1"}, roles={"customer": ["usr"], "agent": ["sys"]}, meta=["type"]
    )
    got = layout.read(shared_data("crosswoz/val.json.zip"), source="crosswoz")
    assert (got.events.height, got.quarantine.height, got.report["conversations"]) == (8458, 0, 500)
    built = build_sessions(got.events)
    assert built.sessions["complete"].all()
    assert built.sessions.height == 500
    assert built.report["fate.row"] + built.report["fate.context"] == built.fates.height == 8458
    assert rows(built.turns).height == built.report["fate.row"] == 4229


def test_abcd_goes_through_whole(shared_data: Callable[[str], Path]) -> None:
    columns = {"session": "convo_id", "customer_name": "scenario.personal.customer_name"}
    pairs = Conversations(columns=columns, messages="original", message={"role": "0", "text": "1"}, meta=[])
    objects = Conversations(columns=columns, messages="delexed", message={"role": "speaker", "text": "text"}, meta=[])
    for layout in (pairs, objects):
        got = layout.read(shared_data("abcd/abcd_sample.json"), source="abcd")
        built = build_sessions(got.events)
        counts = {name: count for name, count in built.report.items() if name.startswith(("fate", "reason")) and count}
        assert counts == {"fate.row": 29, "fate.context": 34, "fate.set_aside": 9, "reason.tool_row": 9}
        assert rows(built.turns).height == 21
        assert built.sessions.height == 3
        assert got.events["names"][0].to_list() == ["crystal minh"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"messages": "message"}, "no conversation has a list at 'message' (`messages`); it has 'id', 'messages'; did"),
        (
            {"columns": {"session": "idd"}},
            "no conversation has 'idd' (for session, under `columns`); it has 'id', 'messages'; did you mean 'id'?",
        ),
        (
            {"message": {"role": "from", "text": "text"}},
            "no message has 'from' (for role, under `message`); it has 'who', 'text'",
        ),
        (
            {"message": {"role": "who", "text": "text.body"}},
            "no message has 'text.body' (for text, under `message`); it has 'who', 'text'",
        ),
    ],
)
def test_a_path_that_stands_nowhere_is_told_with_the_names_that_do(
    tmp_path: Path, more: dict[str, Any], message: str
) -> None:
    record = {"id": "1", "messages": [{"who": "user", "text": "CANARY"}]}
    layout = Conversations(**{"message": {"role": "who", "text": "text"}, **more})
    with pytest.raises(InputError) as raised:
        read(tmp_path, [record], layout)
    assert str(raised.value).startswith(f"source desk: {message}")
    assert "CANARY" not in str(raised.value)


def test_a_path_that_stands_in_one_conversation_or_is_null_is_enough(tmp_path: Path) -> None:
    records = [{"id": None, "messages": [{"who": "user", "text": "a"}]}, {"messages": [{"who": "user", "text": None}]}]
    layout = Conversations(columns={"session": "id"}, message={"role": "who", "text": "text"})
    assert read(tmp_path, records, layout).events["text"].to_list() == ["a", None]


def test_unreadable_times_are_told_with_the_path_they_stand_at(tmp_path: Path) -> None:
    record = {"messages": [{"role": "user", "content": "a", "at": "3/4/2024"}]}
    layout = Conversations(message={"role": "role", "text": "content", "time": "at"})
    with pytest.raises(InputError, match="source desk: time column 'at': 1 of 1 times"):
        read(tmp_path, [record], layout)
