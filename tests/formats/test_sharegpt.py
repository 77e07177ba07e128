"""ShareGPT: names of roles, the system prompt's two places, pairs, pictures, what is refused."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from canonical_rows import framed, rows, turn
from hypothesis import given, settings
from hypothesis import strategies as st

from prefdata.formats.core import sides_of
from prefdata.formats.messages import MARK
from prefdata.formats.sharegpt import ShareGpt
from prefdata.schema import RecordType

Row = dict[str, Any]


def said(*turns: tuple[str, str | None]) -> list[Row]:
    return [{"from": role, "value": value} for role, value in turns]


def read(row: Row, kind: RecordType = RecordType.SFT) -> Any:
    """The turns that are read from one row of a file, a list a side, or the reasons why it is not."""
    decoded = ShareGpt().decode(pl.DataFrame([row]), kind)
    if not decoded.rows.height:
        return decoded.refused["reasons"][0].to_list()
    return [[(one["role"], one["content"]) for one in decoded.rows[side][0].to_list()] for side in sides_of(kind)]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"conversations": said(("human", "q"), ("gpt", "a"))}, [[("user", "q")], [("assistant", "a")]]),
        ({"conversation": said(("user", "q"), ("chatgpt", "a"))}, [[("user", "q")], [("assistant", "a")]]),
        (
            {"conversations": said(("system", "s"), ("human", "q"), ("tool", "r"), ("gpt", "a"))},
            [[("system", "s"), ("user", "q"), ("tool", "r")], [("assistant", "a")]],
        ),
        (
            {"conversations": said(("human", "q"), ("gpt", "a")), "system": "s"},
            [[("system", "s"), ("user", "q")], [("assistant", "a")]],
        ),
        ({"conversations": said(("human", "q"), ("gpt", "a")), "system": ""}, [[("user", "q")], [("assistant", "a")]]),
        (
            {"conversations": said(("system", "t"), ("human", "q"), ("gpt", "a")), "system": "s"},
            ["second_system_prompt"],
        ),
        ({"conversations": said(("human", "q"))}, ["no_answer"]),
        ({"conversations": said(("human", "q"), ("bing", "a"))}, ["no_answer", "unknown_role"]),
        ({"conversations": said(("human", None), ("gpt", "a"))}, ["missing_content"]),
        ({"conversations": said(("human", "q"), ("gpt", "a")), "image": "1.jpg"}, ["image_count"]),
    ],
)
def test_a_conversation_is_read_or_refused(row: Row, expected: Any) -> None:
    assert read(row) == expected


def test_a_picture_of_one_column_is_found_at_its_tag() -> None:
    row = {"conversations": said(("human", "look:\n<image>"), ("gpt", "a")), "image": "1.jpg", "id": "7"}
    decoded = ShareGpt().decode(pl.DataFrame([row]), RecordType.SFT).rows.row(0, named=True)
    assert decoded["prompt"] == [turn("user", f"look:\n{MARK}")]
    assert decoded["images"] == [{"uri": "1.jpg", "side": "prompt", "message": 0, "part": 1}]
    assert decoded["meta"] == '{"id":"7"}'


def test_pairs_are_read_beside_a_conversation_or_as_two() -> None:
    expected = [[("user", "q")], [("assistant", "a")], [("assistant", "b")]]
    beside = {"conversations": said(("human", "q")), "chosen": said(("gpt", "a"))[0], "rejected": said(("gpt", "b"))[0]}
    assert read(beside, RecordType.PREFERENCE) == expected
    two = {"chosen": said(("human", "q"), ("gpt", "a")), "rejected": said(("human", "q"), ("gpt", "b"))}
    assert read(two, RecordType.PREFERENCE) == expected


def test_a_pair_has_one_message_an_answer() -> None:
    row = {"prompt": [turn("user", "q")], "chosen": [turn("assistant", "a")], "rejected": [turn("assistant", "b")]}
    written = ShareGpt().encode(framed([row], RecordType.PREFERENCE), RecordType.PREFERENCE)
    assert written.rows.to_dicts() == [
        {"conversations": said(("human", "q")), "chosen": said(("gpt", "a"))[0], "rejected": said(("gpt", "b"))[0]}
    ]
    long = row | {"chosen": [turn("assistant", "a"), turn("user", "q"), turn("assistant", "a")]}
    written = ShareGpt().encode(framed([long], RecordType.PREFERENCE), RecordType.PREFERENCE)
    assert written.refused["reasons"].to_list() == [["multi_turn_answer"]]


@given(st.data())
@settings(max_examples=8)
def test_the_system_prompt_may_have_a_column(data: st.DataObject) -> None:
    fmt = ShareGpt(system_column=True)
    whole = data.draw(rows(RecordType.SFT, ShareGpt.holds[RecordType.SFT]))
    written = fmt.encode(whole, RecordType.SFT)
    assert written.refused.height == 0
    roles = written.rows["conversations"].list.eval(pl.element().struct.field("from"))
    assert not roles.list.contains("system").any()
    got = fmt.decode(written.rows, RecordType.SFT).rows
    assert got.select("prompt", "completion", "images").equals(whole.select("prompt", "completion", "images"))


def test_pairs_and_labels_are_left_to_their_own_formats() -> None:
    talk = said(("human", "q"), ("gpt", "a"))
    assert [one.type for one in ShareGpt().recognise(pl.DataFrame([{"conversations": talk}]))] == [RecordType.SFT]
    assert ShareGpt().recognise(pl.DataFrame([{"conversations": talk, "kto_tag": True}])) == []
    assert ShareGpt().recognise(pl.DataFrame([{"conversations": [{"role": "user", "content": "q"}]}])) == []
