"""The layout `transcript`: conversations as lines of text, in a file or in a cell."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefdata.errors import InputError, RecipeError
from prefdata.logs.layout_transcript import Transcript
from prefdata.logs.mapping import LogRead
from prefdata.logs.rows import rows
from prefdata.logs.sessions import build_sessions

SGD = Transcript(roles={"customer": ["USER"], "agent": ["SYSTEM"]})


def read(tmp_path: Path, text: str, layout: Transcript, name: str = "a.txt") -> LogRead:
    (tmp_path / name).write_text(text, encoding="utf-8")
    return layout.read(tmp_path / name, source="desk")


def fates(got: LogRead) -> list[str]:
    return [reason or fate for fate, reason in build_sessions(got.events).fates.select("fate", "reason").iter_rows()]


# Lines of fields


def test_blocks_are_sessions_and_the_overall_line_is_their_rating(tmp_path: Path) -> None:
    got = read(
        tmp_path,
        "\nUSER\thi\tGREET\t3,4\nSYSTEM\thello\tGREET\t\nUSER\tOVERALL\t\t4,3,4\n\n\nUSER\tyes\t\t\nSYSTEM\tno\t\t\n",
        SGD,
    )
    assert got.events.select("line", "session", "kind", "role", "text", "ratings", "scope", "meta").rows() == [
        (2, "a.txt#1", "message", "customer", "hi", [3.0, 4.0], "turn", '{"action":"GREET"}'),
        (3, "a.txt#1", "message", "agent", "hello", None, None, '{"action":"GREET"}'),
        (4, "a.txt#1", "feedback", "customer", None, [4.0, 3.0, 4.0], "session", None),
        (7, "a.txt#2", "message", "customer", "yes", None, None, None),
        (8, "a.txt#2", "message", "agent", "no", None, None, None),
    ]
    assert fates(got) == ["context", "row", "signal", "context", "row"]
    built = build_sessions(got.events)
    assert built.turns["ratings"].to_list() == [[3.0, 4.0], None, None, None]
    assert built.sessions["ratings"].to_list() == [[4.0, 3.0, 4.0], None]


def test_a_line_of_dashes_separates_and_is_counted(tmp_path: Path) -> None:
    got = read(tmp_path, "USER\ta\t\t\nSYSTEM\tb\t\t\n-----\nUSER\tc\t\t\nSYSTEM\td\t\t\n", SGD)
    assert fates(got) == ["context", "row", "separator", "context", "row"]
    assert build_sessions(got.events).sessions.height == 2


def test_a_line_with_too_few_or_too_many_fields_is_quarantined(tmp_path: Path) -> None:
    bad = "SYSTEM\tb\tc\td\te"
    got = read(tmp_path, f"USER\ta\nSYSTEM\n{bad}\nSYSTEM\tb\n", SGD)
    assert got.events["line"].to_list() == [1, 4]
    assert got.quarantine.select("line", "reason", "bytes", "sha256").rows()[1] == (
        3,
        "wrong_field_count",
        len(bad),
        hashlib.sha256(bad.encode()).hexdigest(),
    )
    assert got.quarantine["line"].to_list() == [2, 3]


def test_fields_stand_where_the_settings_say(tmp_path: Path) -> None:
    layout = Transcript(fields=["time", "session", "text", "role"], delimiter="|")
    got = read(tmp_path, "2024-03-05 10:20|7|hi|user\n2024-03-05 10:21|7|yes|agent\n", layout)
    assert got.events.select("session", "role", "text", "time").row(0) == (
        "7",
        "customer",
        "hi",
        datetime(2024, 3, 5, 10, 20, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fields": ["role", "action"]}, "`role` and `text` among them"),
        ({"fields": ["role", "text", "text"]}, "expected different names"),
        ({"fields": ["role", "text", "_file"]}, "do not begin with `_`"),
        ({"columns": {"session": "a"}}, "lines of fields have no columns"),
        ({"columns": {"session": "a"}, "lines": "speakers"}, "have no columns"),
        ({"separator": "("}, "is no pattern"),
        ({"delimiter": ""}, "delimiter: is empty"),
        ({"line_break": ""}, "line_break: is empty"),
        ({"table_delimiter": "::"}, "table_delimiter: '::', expected one character"),
        ({"cell": "a", "columns": {"role": "b"}}, "'role' cannot be a column"),
        ({"roles": {"agent": [" "]}}, "roles.agent: a value is empty"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Transcript(**settings)


def test_roles_that_are_not_mapped_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"source desk: role: 3 of 3 .* found 'A' \(2\), 'B' \(1\)"):
        read(tmp_path, "A\thi\nB\tyes\nA\tno\n", Transcript())


# Lines that begin with their speaker


def test_speakers_and_continuations(tmp_path: Path) -> None:
    got = read(
        tmp_path,
        "Customer: hi\n  second line\n[10:32] Agent: hello\nNote: not a speaker\n\n客户：你好\n客服（小王）：您好\n",
        Transcript(lines="speakers"),
    )
    assert got.events.select("line", "session", "role", "text").rows() == [
        (1, "a.txt#1", "customer", "hi"),
        (2, "a.txt#1", "customer", "  second line"),
        (3, "a.txt#1", "agent", "hello"),
        (4, "a.txt#1", "agent", "Note: not a speaker"),
        (6, "a.txt#2", "customer", "你好"),
        (7, "a.txt#2", "agent", "您好"),
    ]
    assert got.report["speaker_like_continuations"] == 1
    assert got.events["names"].to_list()[-1] == ["小王"]
    built = build_sessions(got.events)
    assert built.turns["text"].to_list() == ["hi\n  second line", "hello\nNote: not a speaker", "你好", "您好"]


def test_notices_and_notes_between_the_messages_are_nobodys_words(tmp_path: Path) -> None:
    chinese = "客户: 人工\n系统: 已转接至人工客服小王\n备注: 客户生气\n客服: 您好\n"
    got = read(tmp_path, chinese + "Customer: ok\nInternal note: x\nAgent: yes\n", Transcript(lines="speakers"))
    assert fates(got) == ["context", "system_notice", "internal_note", "row", "context", "internal_note", "row"]
    assert build_sessions(got.events).sessions["handover"].to_list() == [True]


def test_text_before_the_first_speaker_has_no_role(tmp_path: Path) -> None:
    got = read(tmp_path, "Chat of Tuesday\nAgent: hello\nCustomer: hi\nAgent: so\n", Transcript(lines="speakers"))
    assert fates(got) == ["unknown_role", "context", "context", "row"]


@pytest.mark.parametrize(
    ("line", "time", "text"),
    [
        ("[2024-03-05 10:32] Agent: hi", datetime(2024, 3, 5, 10, 32, tzinfo=UTC), "hi"),
        ("2024/3/5 10:32:10 - Agent: hi", datetime(2024, 3, 5, 10, 32, 10, tzinfo=UTC), "hi"),
        ("Agent (2024-03-05 10:32): hi", datetime(2024, 3, 5, 10, 32, tzinfo=UTC), "hi"),
        ("Agent [2024-03-05 10:32]: 10:40: bus", datetime(2024, 3, 5, 10, 32, tzinfo=UTC), "10:40: bus"),
        ("(10:32 am) Agent: hi", None, "hi"),
        ("AGENT : hi", None, "hi"),
        ("[Agent]: hi", None, "hi"),
    ],
)
def test_times_beside_speakers(tmp_path: Path, line: str, time: datetime | None, text: str) -> None:
    got = read(tmp_path, f"{line}\n", Transcript(lines="speakers"))
    assert got.events.select("role", "time", "text").rows() == [("agent", time, text)]
    assert got.events["names"].to_list() == [None]


def test_configured_speakers_replace_the_usual_ones(tmp_path: Path) -> None:
    layout = Transcript(lines="speakers", roles={"agent": ["Ann", "Ann Lee"], "customer": ["me"]})
    got = read(tmp_path, "me: hi\nAnn Lee: hello\nAgent: is not a speaker\n", layout)
    assert got.events.select("role", "text").rows() == [
        ("customer", "hi"),
        ("agent", "hello"),
        ("agent", "Agent: is not a speaker"),
    ]


# Conversations in cells


def cells(tmp_path: Path, layout: Transcript, *records: dict[str, str]) -> LogRead:
    pl.DataFrame(list(records)).write_csv(tmp_path / "a.csv")
    return layout.read(tmp_path / "a.csv", source="desk")


def test_a_cell_is_a_session_and_its_row_says_who_and_how_good(tmp_path: Path) -> None:
    layout = Transcript(
        cell="chat", columns={"session": "id", "customer": "who", "rating": "csat", "agent_name": "by", "time": "day"}
    )
    got = cells(
        tmp_path,
        layout,
        {
            "id": "7",
            "who": "c1",
            "by": "Ann Lee",
            "csat": "5",
            "day": "2024-03-05",
            "tag": "bill",
            "chat": "[10:32] Agent: hello\n[10:33] Customer: hi\nmy bill\n\nis wrong\n[10:35] Agent: fixed",
        },
        {"id": "8", "who": "c2", "by": "", "csat": "", "day": "", "tag": "", "chat": "Customer: hi\nAgent: yes"},
    )
    assert got.events.select("line", "part", "session", "kind", "role", "text").rows() == [
        (2, 0, "7", "message", "agent", "hello"),
        (2, 1, "7", "message", "customer", "hi\nmy bill\n\nis wrong"),
        (2, 2, "7", "message", "agent", "fixed"),
        (2, 3, "7", "feedback", None, None),
        (got.events["line"][4], 0, "8", "message", "customer", "hi"),
        (got.events["line"][5], 1, "8", "message", "agent", "yes"),
    ]
    assert got.events["time"].to_list()[:3] == [datetime(2024, 3, 5, 10, minute, tzinfo=UTC) for minute in (32, 33, 35)]
    assert got.events["meta"].to_list() == ['{"tag":"bill"}', None, None, None, None, None]
    built = build_sessions(got.events)
    assert built.sessions.select("session", "customer", "ratings").rows() == [
        ("desk/7", "c1", [5.0]),
        ("desk/8", "c2", None),
    ]
    assert fates(got) == ["context", "context", "row", "signal", "context", "row"]


def test_days_and_clocks_of_cells_can_be_day_first(tmp_path: Path) -> None:
    got = cells(
        tmp_path,
        Transcript(cell="chat", columns={"session": "id", "time": "day"}),
        {"id": "7", "day": "13/03/2024", "chat": "[10:32] Agent: hello\nCustomer: hi"},
        {"id": "8", "day": "05/03/2024", "chat": "[10:32] Agent: hello\n[06/03/2024 10:33] Customer: hi"},
        {"id": "9", "day": "", "chat": "[10:32] Agent: hello\nCustomer: hi"},
    )
    days = got.events["time"].dt.strftime("%m-%d %H:%M").to_list()
    assert days == ["03-13 10:32", None, "03-05 10:32", "03-06 10:33", None, None]
    assert (got.report["unparsed_time"], got.report["times_day_first"]) == (0, 3)


def test_a_header_of_the_table_that_does_not_fit_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="header names 2 columns, the file's lines have 3 fields"):
        read(tmp_path, "7,c1,Agent: hello\n", Transcript(cell="chat", header=["id", "chat"]), "a.csv")


def test_a_cell_column_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"source desk: a\.csv: no column 'chat' \(for text\); it has 'Chat'; did you"):
        cells(tmp_path, Transcript(cell="chat"), {"Chat": "Agent: hello"})


def test_a_cell_without_line_feeds_is_cut_at_its_speakers(tmp_path: Path) -> None:
    got = cells(
        tmp_path,
        Transcript(cell="chat", one_line=True),
        {"chat": "Customer: my agent: who is it? [10:32] Agent: me. Customer: ok"},
    )
    assert got.events.select("role", "text").rows() == [
        ("customer", "my"),
        ("agent", "who is it?"),
        ("agent", "me."),
        ("customer", "ok"),
    ]


def test_lines_of_a_cell_can_be_separated_by_something_else(tmp_path: Path) -> None:
    got = cells(tmp_path, Transcript(cell="chat", line_break="<br>"), {"chat": "Customer: a<br>b<br>Agent: c"})
    assert got.events["text"].to_list() == ["a\nb", "c"]


def test_equal_messages_of_a_cell_are_no_double_deliveries(tmp_path: Path) -> None:
    layout = Transcript(cell="chat", columns={"time": "day"})
    got = cells(tmp_path, layout, {"day": "2024-03-05", "chat": "Customer: yes\nCustomer: yes\nAgent: ok"})
    assert fates(got) == ["context", "context", "row"]


def test_an_empty_cell_is_a_unit_with_a_fate(tmp_path: Path) -> None:
    got = cells(
        tmp_path, Transcript(cell="chat"), {"id": "1", "chat": ""}, {"id": "2", "chat": "Customer: a\nAgent: b"}
    )
    assert fates(got) == ["empty_text", "context", "row"]


# Laws

PIECES = st.sampled_from(
    [
        "USER",
        "SYSTEM",
        "Agent",
        "Customer:",
        "Agent :",
        "\t",
        "\t",
        ": ",
        "：",
        "hi",
        "OVERALL",
        " ",
        "3,4",
        "\u3000",
        "\x1c",
        "----",
        "[10:32] ",
        "\u2028",
        "客服",
        "\r",
    ]
)
TEXT = st.lists(st.lists(PIECES, max_size=7).map("".join), max_size=10).map("\n".join)


@settings(max_examples=60)
@given(text=TEXT)
@pytest.mark.parametrize(
    ("layout", "head"),
    [
        (Transcript(roles={"customer": ["USER"], "agent": ["SYSTEM"]}), "USER\thi\nSYSTEM\tyes\n"),
        (Transcript(lines="speakers"), "Agent: hi\nCustomer: yes\n"),
    ],
    ids=["fields", "speakers"],
)
def test_every_line_that_is_not_blank_has_one_fate(
    tmp_path_factory: pytest.TempPathFactory, layout: Transcript, head: str, text: str
) -> None:
    file = tmp_path_factory.mktemp("fuzz") / "a.txt"
    file.write_bytes((head * 6 + text).encode())  # enough lines with roles for the file to be taken
    got = layout.read(file, source="desk")
    assert sum(report.units for report in got.files) == got.events.height + got.quarantine.height
    assert sum(report.quarantined for report in got.files) == got.quarantine.height
    fated = build_sessions(got.events).fates
    assert fated["line"].to_list() == got.events["line"].to_list()
    assert fated["line"].is_duplicated().sum() == 0


# Real


def test_sgd_goes_through_whole(shared_data: Callable[[str], Path]) -> None:
    got = SGD.read(shared_data("uss/SGD.txt"), source="sgd")
    assert (got.events.height, got.quarantine.height) == (26_666, 0)
    assert {name: count for name, count in got.report.items() if count} == {"events": 26_666}
    built = build_sessions(got.events)
    assert built.fates.height == built.fates.select("file", "line").n_unique() == 26_666
    assert {name: count for name, count in built.report.items() if name.startswith(("fate", "reason")) and count} == {
        "fate.row": 12_833,
        "fate.context": 12_833,
        "fate.signal": 1_000,
    }
    assert built.sessions.height == 1_000
    assert built.sessions["ratings"].null_count() == 0
    assert rows(built.turns).height == 12_833
    customers = built.turns.filter(role="customer")
    assert customers["ratings"].null_count() == 0
    assert customers.filter(session="sgd/SGD.txt#1")["ratings"].to_list()[1] == [4.0, 3.0, 3.0]
    assert built.turns.filter(role="agent")["ratings"].null_count() == 12_833
