"""Values of a kind that a column should not have: the row is refused with its reason, the other rows are read."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from prefdata.catalogue import load
from prefdata.schema import RecordType

Row = dict[str, Any]
Q, A, B = ({"role": role, "content": text} for role, text in (("user", "q"), ("assistant", "a"), ("assistant", "b")))
PAIR = {"prompt": [Q], "chosen": [A], "rejected": [B]}
TALK = {"messages": [Q, A]}
INSTRUCTION = {"instruction": "q", "input": "", "output": "a"}


@pytest.mark.parametrize(
    ("name", "kind", "row", "expected"),
    [
        ("trl", RecordType.PREFERENCE, PAIR | {"margin": "large"}, ["margin_not_a_number"]),
        ("trl", RecordType.PREFERENCE, PAIR | {"chosen": 3}, ["no_answer", "not_a_conversation"]),
        ("trl", RecordType.PREFERENCE, PAIR | {"chosen": None}, ["no_answer"]),
        ("trl", RecordType.SFT, TALK | {"images": [{"bytes": None, "path": None}]}, ["picture_without_address"]),
        ("swift", RecordType.SFT, TALK | {"images": [["1.jpg"]]}, ["image_count"]),
        ("swift", RecordType.SFT, {"messages": [Q, A | {"loss": "yes"}]}, ["trained_turns"]),
        (
            "swift",
            RecordType.SFT,
            {"messages": [{"role": 1, "content": 2}]},
            ["missing_content", "no_answer", "unknown_role"],
        ),
        ("swift", RecordType.SFT, {"messages": "q"}, ["no_answer"]),
        ("llamafactory", RecordType.SFT, {"conversations": [Q, A | {"loss_weight": "1"}]}, []),
        ("llamafactory", RecordType.SFT, {"conversations": [Q, A | {"loss_weight": "x"}]}, ["trained_turns"]),
        ("llamafactory", RecordType.SFT, INSTRUCTION | {"history": 3}, ["not_a_conversation"]),
        ("alpaca", RecordType.SFT, INSTRUCTION | {"output": 3}, ["no_answer"]),
        ("sharegpt", RecordType.SFT, {"conversations": ["q"]}, ["empty_prompt", "no_answer", "not_a_conversation"]),
    ],
)
def test_a_value_of_a_wrong_kind_is_refused(name: str, kind: RecordType, row: Row, expected: list[str]) -> None:
    decoded = load("format", name)().decode(pl.DataFrame([row]), kind)
    assert decoded.rows.height + decoded.refused.height == 1
    assert [one for reasons in decoded.refused["reasons"].to_list() for one in reasons] == expected
