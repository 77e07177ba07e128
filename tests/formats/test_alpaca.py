"""Alpaca: how instruction, input and history make a prompt, and what of a conversation they can say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from canonical_rows import framed, turn

from prefdata.formats.alpaca import Alpaca
from prefdata.schema import RecordType

Row = dict[str, Any]
SFT = RecordType.SFT


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, [turn("user", "translate")]),
        ({"input": "bonjour"}, [turn("user", "translate\nbonjour")]),
        ({"instruction": "", "input": "bonjour"}, [turn("user", "bonjour")]),
        ({"system": "s"}, [turn("system", "s"), turn("user", "translate")]),
        ({"system": ""}, [turn("user", "translate")]),
        (
            {"system": "s", "history": [["a", "b"], ["c", "d"]]},
            [
                turn("system", "s"),
                *(turn(role, text) for role, text in zip(("user", "assistant") * 2, "abcd", strict=True)),
                turn("user", "translate"),
            ],
        ),
        ({"history": []}, [turn("user", "translate")]),
    ],
)
def test_the_prompt_is_made_of_its_columns(change: Row, expected: list[Row]) -> None:
    row = {"instruction": "translate", "input": "", "output": "hello"} | change
    decoded = Alpaca().decode(pl.DataFrame([row]), SFT)
    assert decoded.rows["prompt"].to_list() == [expected]
    assert decoded.rows["completion"].to_list() == [[turn("assistant", "hello")]]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"instruction": ""}, ["empty_prompt"]),
        ({"instruction": ["a"]}, ["empty_prompt", "not_a_conversation"]),
        ({"output": ["hello"]}, ["no_answer"]),
        ({"history": "[['a', 'b']]"}, ["not_a_conversation"]),
        ({"history": [["a", "b", "c"]]}, ["not_a_conversation"]),
    ],
)
def test_what_is_no_instruction_is_refused(change: Row, expected: list[str]) -> None:
    row = {"instruction": "translate", "input": "", "output": "hello"} | change
    assert Alpaca().decode(pl.DataFrame([row]), SFT).refused["reasons"].to_list() == [expected]


def test_the_last_turn_is_the_instruction_and_earlier_ones_are_history() -> None:
    prompt = [turn("system", "s"), turn("user", "a"), turn("assistant", "b"), turn("user", "c")]
    short = [turn("user", "d")]
    made = [{"prompt": one, "completion": [turn("assistant", "e")]} for one in (prompt, short)]
    assert Alpaca().encode(framed(made, SFT), SFT).rows.to_dicts() == [
        {"instruction": "c", "input": "", "system": "s", "history": [["a", "b"]], "output": "e"},
        {"instruction": "d", "input": "", "system": None, "history": None, "output": "e"},
    ]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"prompt": [turn("user", "a"), turn("user", "b")]}, ["not_alternating"]),
        ({"prompt": [turn("user", ""), turn("assistant", "b"), turn("user", "c")]}, ["empty_turn"]),
        ({"completion": [turn("assistant", "a"), turn("assistant", "b")]}, ["multi_turn_answer"]),
        ({"tools": "[]"}, ["tool_definitions"]),
        (
            {"prompt": [turn("user", "a"), turn("assistant", "", "[]"), turn("tool", "c")]},
            ["not_alternating", "tool_turns"],
        ),
    ],
)
def test_what_alpaca_cannot_say_is_refused(change: Row, expected: list[str]) -> None:
    row = {"prompt": [turn("user", "a")], "completion": [turn("assistant", "b")]} | change
    assert Alpaca().encode(framed([row], SFT), SFT).refused["reasons"].to_list() == [expected]


def test_an_input_of_the_demo_file_joins_its_instruction(shared_data: Callable[[str], Path]) -> None:
    frame = pl.read_json(shared_data("llamafactory/alpaca_zh_demo.json"))
    decoded = Alpaca().decode(frame, SFT)
    assert (frame.height, decoded.rows.height, (frame["input"] != "").sum()) == (1000, 1000, 139)
    texts = decoded.rows["prompt"].list.first().struct.field("content")
    joined = frame.select(
        pl.when(pl.col("input") == "").then("instruction").otherwise(pl.format("{}\n{}", "instruction", "input"))
    )
    assert texts.to_list() == joined.to_series().to_list()
