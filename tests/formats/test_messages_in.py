"""Messages of other tools: what cannot be taken as it is said is refused, never left out in silence."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest

from prefdata.catalogue import load
from prefdata.formats.openai import OpenAi
from prefdata.formats.sharegpt import ShareGpt
from prefdata.formats.trl import Trl
from prefdata.schema import RecordType

USER = {"role": "user", "content": "q"}
DONE = {"role": "assistant", "content": "done"}


def call(*names: str | None) -> dict[str, Any]:
    calls = [{"id": one, "type": "function", "function": {"name": "look", "arguments": "{}"}} for one in names]
    return {"role": "assistant", "content": "", "tool_calls": calls}


def result(answered: str | None, text: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": answered, "content": text}


def taken(*turns: dict[str, Any], fmt: Any = None) -> tuple[list[Any], list[str]]:
    outcome = (fmt or Trl()).decode(pl.DataFrame({"messages": [list(turns)]}, strict=False), RecordType.SFT)
    reasons = [one for reasons in outcome.refused["reasons"].to_list() for one in reasons]
    return [[*row["prompt"], *row["completion"]] for row in outcome.rows.to_dicts()], reasons


@pytest.mark.parametrize("fmt", [Trl(), OpenAi()])
def test_results_in_another_order_than_their_calls_are_refused(fmt: Any) -> None:
    assert taken(USER, call("a", "b"), result("b", "2"), result("a", "1"), DONE, fmt=fmt) == (
        [],
        ["tool_results_order"],
    )
    assert taken(USER, call("a", "b"), result("b", "2"), DONE, fmt=fmt) == ([], ["tool_results_order"])


@pytest.mark.parametrize(
    "turns",
    [
        (call("a", "b"), result("a", "1"), result("b", "2")),
        (call("a"), result("a", "1"), call("b"), result("b", "2")),
        (call("a"), result("a", "1"), result("x", "no call")),
        (call(None, None), result("x", "1"), result("y", "2")),
    ],
)
def test_results_in_the_order_of_their_calls_are_taken(turns: tuple[dict[str, Any], ...]) -> None:
    rows, reasons = taken(USER, *turns, DONE)
    assert (len(rows), reasons) == (1, [])


@pytest.mark.parametrize("calls", ["look it up", [{"id": "a", "function": {"arguments": "{}"}}], '{"name": 3}'])
def test_tool_calls_that_cannot_be_read_are_refused(calls: Any) -> None:
    turn = {"role": "assistant", "content": "let me look", "tool_calls": calls}
    assert taken(USER, turn, DONE) == ([], ["unreadable_tool_call"])


@pytest.mark.parametrize("calls", ["", "[]", "null", []])
def test_no_tool_calls_are_none(calls: Any) -> None:
    rows, reasons = taken(USER, {"role": "assistant", "content": "hm", "tool_calls": calls}, USER, DONE)
    assert reasons == []
    assert rows[0][1] == {"role": "assistant", "content": "hm", "tool_calls": None}


@pytest.mark.parametrize("content", ["let me look", None])
def test_a_function_call_of_old_is_a_tool_call(content: str | None) -> None:
    turn = {"role": "assistant", "content": content, "function_call": {"name": "look", "arguments": '{"a":1}'}}
    rows, reasons = taken(USER, turn, {"role": "function", "content": "r"}, DONE)
    assert reasons == []
    assert rows[0][1] == {
        "role": "assistant",
        "content": content or "",
        "tool_calls": '[{"type":"function","function":{"name":"look","arguments":"{\\"a\\":1}"}}]',
    }


def test_arguments_have_no_traces_of_other_rows() -> None:
    arguments = [{"n": 42, "at": [{"x": 1}]}, {"n": 1.5, "at": [{"y": 2}], "more": True}]
    rows = pl.DataFrame(
        {
            "messages": [
                [USER, {"role": "assistant", "tool_calls": [{"name": "f", "arguments": one}]}, DONE]
                for one in arguments
            ]
        },
        strict=False,
    )
    decoded = Trl().decode(rows, RecordType.SFT).rows
    calls = [json.loads(row["prompt"][1]["tool_calls"])[0]["function"]["arguments"] for row in decoded.to_dicts()]
    assert calls == ['{"n": 42, "at": [{"x": 1}]}', '{"n": 1.5, "at": [{"y": 2}], "more": true}']


def test_arguments_in_json_text_are_taken_as_they_are() -> None:
    turns = [
        {"from": "human", "value": "q"},
        {"from": "function_call", "value": '{"name": "f", "arguments": {"a": 1.0, "b": null}}'},
        {"from": "observation", "value": "r"},
        {"from": "gpt", "value": "done"},
    ]
    row = ShareGpt().decode(pl.DataFrame({"conversations": [turns]}), RecordType.SFT).rows.to_dicts()[0]
    assert json.loads(row["prompt"][1]["tool_calls"])[0]["function"]["arguments"] == '{"a": 1.0, "b": null}'


@pytest.mark.parametrize("other", ["b.png", None])
@pytest.mark.parametrize("name", ["trl", "openrlhf", "axolotl"])
def test_prompts_that_differ_in_their_pictures_are_no_shared_prompt(name: str, other: str | None) -> None:
    def talk(picture: str | None, answer: str) -> list[dict[str, Any]]:
        parts = [{"type": "image", "image": picture}] if picture else []
        asked = {"role": "user", "content": [*parts, {"type": "text", "text": "q" if picture else "\ufffcq"}]}
        return [asked, {"role": "assistant", "content": [{"type": "text", "text": answer}]}]

    rows = pl.DataFrame(
        {"chosen": [talk("a.png", "x")] * 2, "rejected": [talk("a.png", "y"), talk(other, "y")]}, strict=False
    )
    outcome = load("format", name)().decode(rows, RecordType.PREFERENCE)
    assert outcome.rows["images"].to_list() == [[{"uri": "a.png", "side": "prompt", "message": 0, "part": 0}]]
    assert outcome.refused.height == 1


def test_a_reference_answer_is_the_same_whatever_stands_in_other_rows() -> None:
    prompts = [[USER]] * 3
    for answers, expected in ([[42, 7, None], ["42", "7", None]], [[42.0, 3.5, None], ["42", "3.5", None]]):
        for name, columns in (
            ("trl", {"prompt": prompts, "answer": answers}),
            ("openrlhf", {"input": prompts, "label": answers}),
            ("verl", {"prompt": prompts, "reward_model": [{"ground_truth": one} for one in answers]}),
        ):
            rows = load("format", name)().decode(pl.DataFrame(columns), RecordType.PROMPT).rows
            assert rows["answer"].to_list() == expected


@pytest.mark.parametrize("part", [{"type": "text", "content": "lost"}, {"type": "text"}, {"audio": "a.wav"}])
def test_a_part_without_text_or_picture_is_refused(part: dict[str, str]) -> None:
    sound = {"role": "assistant", "content": [{"type": "text", "text": "a"}]}
    assert taken({"role": "user", "content": [part, {"type": "text", "text": "q"}]}, sound)[1] == ["unknown_part"]


def test_parts_without_a_type_are_told_by_their_keys() -> None:
    turns = [
        {"role": "user", "content": [{"image": "a.png"}, {"text": "q"}]},
        {"role": "assistant", "content": [{"text": "a"}]},
    ]
    row = Trl().decode(pl.DataFrame({"messages": [turns]}, strict=False), RecordType.SFT).rows.to_dicts()[0]
    assert row["prompt"] == [{"role": "user", "content": "\ufffcq", "tool_calls": None}]
    assert row["images"] == [{"uri": "a.png", "side": "prompt", "message": 0, "part": 0}]
