"""The layout `events`: mapping, roles, times, ratings, meta, and an export of one side."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from prefdata.errors import InputError, RecipeError
from prefdata.logs.events import EVENTS
from prefdata.logs.layout_events import Events
from prefdata.logs.mapping import LogRead
from prefdata.logs.sessions import build_sessions

COLUMNS = {"session": "ticket", "role": "who", "text": "body"}


def read(tmp_path: Path, text: str, layout: Events, name: str = "log.csv") -> LogRead:
    (tmp_path / name).write_text(text, encoding="utf-8")
    return layout.read(tmp_path / name, source="desk")


def one(tmp_path: Path, value: str, column: str, **more: Any) -> LogRead:
    """A log of one message with one more column."""
    columns = {**COLUMNS, column: "x"}
    return read(tmp_path, f'ticket,who,body,x\n1,agent,hi,"{value}"\n', Events(columns=columns, **more))


def test_mapped_columns_become_events_and_the_rest_is_meta(tmp_path: Path) -> None:
    got = read(
        tmp_path,
        "ticket,who,body,at,id,re,client,name,channel,empty\n"
        '7,Customer,"hi, there",2024-03-05 10:20,m1,,c9,Ann Lee,"web ""chat""",\n'
        "007,AGENT,hello,,m2,m1,c9,Ann Lee,,\n",
        Events(
            columns={
                **COLUMNS,
                "time": "at",
                "event": "id",
                "reply_to": "re",
                "customer": "client",
                "customer_name": "name",
            }
        ),
    )
    assert got.events.schema == EVENTS
    first, second = got.events.to_dicts()
    assert first == {
        **dict.fromkeys(EVENTS),
        "source": "desk",
        "file": "log.csv",
        "line": 2,
        "part": 0,
        "offset": first["offset"],
        "kind": "message",
        "session": "7",
        "customer": "c9",
        "event": "m1",
        "time": datetime(2024, 3, 5, 10, 20, tzinfo=UTC),
        "role": "customer",
        "text": "hi, there",
        "names": ["Ann Lee"],
        "meta": '{"channel":"web \\"chat\\""}',
    }
    assert (second["session"], second["role"], second["reply_to"], second["meta"]) == ("007", "agent", "m1", None)
    assert got.report == {
        "events": 2,
        "unknown_role": 0,
        "unparsed_time": 0,
        "unparsed_rating": 0,
        "unparsed_thumb": 0,
    }


def test_columns_that_are_named_canonically_need_no_mapping(tmp_path: Path) -> None:
    got = read(tmp_path, "session,role,text\n1,user,hi\n", Events())
    assert got.events.select("session", "role", "text", "meta").row(0) == ("1", "customer", "hi", None)


def test_a_file_without_a_header_takes_its_names_from_the_settings(tmp_path: Path) -> None:
    got = read(tmp_path, "1\tuser\thi\n1\tagent\tyes\n", Events(header=["session", "role", "text"]), "log.tsv")
    assert got.events["text"].to_list() == ["hi", "yes"]
    assert got.events["line"].to_list() == [1, 2]


def test_a_first_line_taken_for_a_header_is_not_shown(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="names look like data") as raised:
        read(tmp_path, '1,user,"CANARY, my card 4111"\n1,agent,yes\n', Events(columns=COLUMNS))
    assert "CANARY" not in str(raised.value)


def test_json_lines_and_chinese_go_the_same_way(tmp_path: Path) -> None:
    lines = [
        {"会话": "1", "角色": "客户", "内容": "你好", "渠道": {"app": 1}},
        {"会话": "1", "角色": "客服", "内容": "您好"},
    ]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    got = read(tmp_path, text, Events(columns={"session": "会话", "role": "角色", "text": "内容"}), "log.jsonl")
    assert got.events["role"].to_list() == ["customer", "agent"]
    assert json.loads(json.loads(got.events["meta"][0])["渠道"]) == {"app": 1}


def test_only_named_columns_are_kept_as_meta(tmp_path: Path) -> None:
    text = "session,role,text,a,b\n1,user,hi,x,y\n"
    assert read(tmp_path, text, Events(meta=["b"])).events["meta"].to_list() == ['{"b":"y"}']
    assert read(tmp_path, text, Events(meta=[])).events["meta"].to_list() == [None]


# Roles


def test_roles_of_the_settings_go_before_the_known_ones(tmp_path: Path) -> None:
    text = "session,role,text\n1,SYSTEM,a\n1,user,b\n1,Bot ,c\n"
    got = read(tmp_path, text, Events(roles={"agent": ["system"]}))
    assert got.events["role"].to_list() == ["agent", "customer", "bot"]


def test_an_unknown_role_is_null_and_counted(tmp_path: Path) -> None:
    got = read(tmp_path, "session,role,text\n1,user,a\n1,agent,b\n1,ghost,c\n1,,d\n", Events())
    assert got.events["role"].to_list() == ["customer", "agent", None, None]
    assert got.report["unknown_role"] == 2
    assert build_sessions(got.events).fates["reason"].to_list() == [None, None, "unknown_role", "unknown_role"]


def test_more_than_half_of_unknown_roles_is_an_error_that_shows_short_values(tmp_path: Path) -> None:
    text = "session,who,text\n1,user,a\n1,xx,b\n1,xx,c\n1,a value that is too long to be a role,d\n1,,e\n"
    with pytest.raises(InputError) as raised:
        read(tmp_path, text, Events(columns={"role": "who"}))
    assert str(raised.value) == (
        "source desk: role column 'who': 4 of 5 messages have a role that is mapped to none of customer, agent, bot, "
        "system, note, tool; found 'xx' (2), (empty) (1), (longer than 20 characters) (1); map them under `roles`"
    )


def test_unknown_roles_are_told_with_their_counts_and_never_more_than_a_name(tmp_path: Path) -> None:
    strange = [
        "Ghost",
        "Ghost",
        "x" * 20,
        "x" * 21,
        "ann@example.com",
        "+49 170 1234567",
        "a\u200bb",
        "",
        "Q2",
        "Q2",
        "Q2",
    ]
    lines = [f"1,user,m{number}" for number in range(len(strange))] + [f"1,{value},t" for value in strange]
    got = read(tmp_path, "session,role,text\n" + "\n".join(lines) + "\n", Events())
    assert got.unknown_roles == {
        "Q2": 3,
        "(an address or a number)": 2,
        "Ghost": 2,
        "(empty)": 1,
        "(longer than 20 characters)": 1,
        "(unprintable)": 1,
        "x" * 20: 1,
    }
    assert got.report["unknown_role"] == len(strange)


def test_of_unknown_roles_the_ten_commonest_are_kept(tmp_path: Path) -> None:
    values = ["user"] * 13 + ["role l"] + [f"role {letter}" for letter in "abcdefghijkl"]
    got = read(tmp_path, "session,role,text\n" + "".join(f"1,{value},t\n" for value in values), Events())
    assert list(got.unknown_roles) == ["role l", *(f"role {letter}" for letter in "abcdefghi")]


@pytest.mark.parametrize(
    ("roles", "message"),
    [
        ({"custmer": ["a"]}, "'custmer' is no role; did you mean 'customer'"),
        ({"agent": ["a"], "bot": ["A"]}, "'A' stands under agent and bot"),
    ],
)
def test_roles_that_mean_nothing_or_two_things_are_refused_before_anything_is_read(
    roles: dict[str, list[str]], message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        Events(roles=roles)


def test_columns_that_are_no_canonical_names_are_refused_with_all_other_faults() -> None:
    with pytest.raises(RecipeError) as raised:
        Events(columns={"sesion": "s", "text": "t"}, roles={"custmer": ["a"]})
    assert len(raised.value.faults) == 2
    assert raised.value.faults[0].startswith("columns.sesion: 'sesion' is no canonical name; did you mean 'session'?")
    assert raised.value.faults[1].startswith("roles.custmer: 'custmer' is no role; did you mean 'customer'?")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"session": "s", "role": "r"}, "`text` is not mapped"),
        ({"session": "s", "text": "t"}, "`role` is not mapped"),
        ({"role": "r", "text": "t"}, "neither `session` nor `customer`"),
    ],
)
def test_a_mapping_that_cannot_work_is_refused(tmp_path: Path, columns: dict[str, str], message: str) -> None:
    with pytest.raises(RecipeError, match=message) as raised:
        read(tmp_path, "s,r,t\n1,user,a\n", Events(columns=columns))
    assert "it has 's', 'r', 't'" in str(raised.value)


def test_a_mapped_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError) as raised:
        read(tmp_path, "s,r,Body\n1,user,a\n", Events(columns={"session": "s", "text": "body", "role": "xyz"}))
    assert str(raised.value) == (
        "source desk: log.csv: no column 'body' (for text), 'xyz' (for role); it has 's', 'r', 'Body'; did you mean "
        "'Body'?; map the names as they stand there under `columns`"
    )


@pytest.mark.parametrize("header", [["session", "role", "text", "rating"], ["session", "role", "text", *"abc"]])
def test_a_header_that_does_not_fit_the_lines_is_told_with_both_numbers(tmp_path: Path, header: list[str]) -> None:
    with pytest.raises(InputError) as raised:
        read(tmp_path, "1,user,hi,5,x\n1,agent,yes,5,x\n", Events(header=header))
    assert str(raised.value) == (
        f"source desk: log.csv: header names {len(header)} columns, the file's lines have 5 fields; name them all in "
        "their order (if that number looks wrong, set `delimiter`)"
    )


def test_a_title_above_the_header_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"source desk: log\.csv: no line has as many fields as the first, which is"):
        read(tmp_path, "Export of Monday\nsession,role,text\n1,user,hi\n", Events())


def test_a_header_that_fits_most_lines_leaves_the_others_to_quarantine(tmp_path: Path) -> None:
    got = read(tmp_path, "1,user,hi\n1,agent\n", Events(header=["session", "role", "text"]))
    assert (got.events.height, got.quarantine["reason"].to_list()) == (1, ["ragged_row"])


def test_columns_used_by_name_are_told_and_can_be_switched_off(tmp_path: Path) -> None:
    text = "session,who,text,status,agent\n1,user,hi,open,\n1,agent,yes,open,a1\n"
    got = read(tmp_path, text, Events(columns={"role": "who"}))
    assert got.used_by_name == ["session", "agent", "text", "status"]
    assert got.events["status"].to_list() == ["open", "open"]
    got = read(tmp_path, text, Events(columns={"role": "who", "status": None, "agent": None}))
    assert got.used_by_name == ["session", "text"]
    assert got.events.select("status", "agent", "meta").rows() == [
        (None, None, '{"status":"open"}'),
        (None, None, '{"status":"open","agent":"a1"}'),
    ]


def test_what_is_switched_off_is_missed_where_it_is_needed(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="`text` is not mapped"):
        read(tmp_path, "session,role,text\n1,user,a\n", Events(columns={"text": None}))


def test_one_author_column_is_customer_or_agent_by_the_role(tmp_path: Path) -> None:
    text = "who,author,body\ncustomer,c1,hi\nagent,a1,yes\n"
    got = read(tmp_path, text, Events(columns={"role": "who", "text": "body", "customer": "author", "agent": "author"}))
    assert got.events.select("customer", "agent").rows() == [("c1", None), (None, "a1")]


# Values


@pytest.mark.parametrize(
    ("value", "ratings", "unparsed"),
    [
        ("4", [4.0], 0),
        ("4.5", [4.5], 0),
        ("3,4,5", [3.0, 4.0, 5.0], 0),
        ("3; 4|5", [3.0, 4.0, 5.0], 0),
        ("4/5", [4.0], 0),
        ("4 / 5", [4.0], 0),
        ("4 stars", [4.0], 0),
        ("5星", [5.0], 0),
        ("80%", [80.0], 0),
        ("-1", [-1.0], 0),
        ("Good", [5.0], 0),
        ("bad,good", [1.0, 5.0], 0),
        ("n/a", None, 1),
        ("3,?", [3.0], 1),
        ("2024-03-05", None, 1),
        ("", None, 0),
    ],
)
def test_ratings_are_numbers_as_given(tmp_path: Path, value: str, ratings: list[float] | None, unparsed: int) -> None:
    got = one(tmp_path, value, "rating", rating_words={"good": 5, "BAD": 1})
    assert got.events["ratings"].to_list() == [ratings]
    assert got.report["unparsed_rating"] == unparsed
    assert got.events["scope"].to_list() == ["session" if ratings else None]


@pytest.mark.parametrize(
    ("value", "thumb", "unparsed"),
    [
        ("up", 1, 0),
        ("👎", -1, 0),
        ("Good", 1, 0),
        ("false", -1, 0),
        ("不满意", -1, 0),
        ("0", None, 1),
        ("meh", None, 1),
        ("", None, 0),
    ],
)
def test_thumbs_are_up_or_down(tmp_path: Path, value: str, thumb: int | None, unparsed: int) -> None:
    got = one(tmp_path, value, "thumb", rating_scope="turn")
    assert got.events["thumb"].to_list() == [thumb]
    assert got.report["unparsed_thumb"] == unparsed
    assert got.events["scope"].to_list() == ["turn" if thumb else None]


def test_a_time_that_cannot_be_told_is_null_and_counted(tmp_path: Path) -> None:
    text = "session,role,text,time\n1,user,a,2024-03-05\n1,agent,b,soon\n1,user,c,\n"
    got = read(tmp_path, text, Events())
    assert got.events["time"].to_list() == [datetime(2024, 3, 5, tzinfo=UTC), None, None]
    assert got.report["unparsed_time"] == 1
    got = one(tmp_path, "3/4/2024", "time", time_format="%d/%m/%Y")
    assert got.events["time"].to_list() == [datetime(2024, 4, 3, tzinfo=UTC)]


def test_times_that_mostly_cannot_be_told_are_an_error_without_any_value(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"source desk: time column 'x': 1 of 1 times .* '99/99/9999 99:99'") as raised:
        one(tmp_path, "06/01/2025 12:23", "time")
    assert "2025" not in str(raised.value)
    with pytest.raises(InputError, match="with time_format '%Y-%m-%d'"):
        one(tmp_path, "06/01/2025 12:23", "time", time_format="%Y-%m-%d")


def test_a_file_shows_itself_whether_the_day_comes_first(tmp_path: Path) -> None:
    text = "session,role,text,time\n1,user,a,06/01/2025 12:23\n1,agent,b,13/01/2025 12:24\n1,user,c,2025-01-14\n"
    got = read(tmp_path, text, Events())
    assert got.events["time"].dt.strftime("%m-%d").to_list() == ["01-06", "01-13", "01-14"]
    assert (got.report["unparsed_time"], got.report["times_day_first"]) == (0, 2)


def test_a_row_without_text_that_rates_is_feedback(tmp_path: Path) -> None:
    text = "session,role,text,csat\n1,user,hi,\n1,agent,yes,\n1,user,,5\n"
    built = build_sessions(read(tmp_path, text, Events(columns={"rating": "csat"})).events)
    assert built.fates["fate"].to_list() == ["context", "row", "signal"]
    assert built.sessions["ratings"].to_list() == [[5.0]]


def test_a_broken_line_is_quarantined_and_the_others_are_read(tmp_path: Path) -> None:
    got = read(tmp_path, "session,role,text\n1,user,hi\n1,agent\n1,agent,yes\n", Events())
    assert got.events["line"].to_list() == [2, 4]
    assert got.quarantine["line"].to_list() == [3]


@pytest.mark.parametrize(("name", "messages", "sessions"), [("dev.tsv", 1847, 236), ("test.tsv", 3641, 473)])
def test_an_export_of_customers_only_is_read_whole_and_reported_one_sided(
    shared_data: Callable[[str], Path], name: str, messages: int, sessions: int
) -> None:
    layout = Events(
        columns={"session": "conversationId", "event": "utteranceId", "text": "utterance"}, every_role="customer"
    )
    got = layout.read(shared_data(f"multidogo_software/{name}"), source="software")
    assert got.events.height + got.quarantine.height == messages
    built = build_sessions(got.events)
    assert built.fates.height == got.events.height
    assert built.report["sessions_one_sided"] == sessions
    assert built.report["fate.set_aside"] == messages
    assert built.turns.height == 0
