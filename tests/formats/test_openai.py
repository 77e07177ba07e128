"""OpenAI's files: turns that are not trained on have weight 0, results name their call, and pictures are the user's."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from canonical_rows import framed, turn

from prefdata.conversion import convert
from prefdata.formats.core import json_texts
from prefdata.formats.messages import MARK
from prefdata.formats.openai import OpenAi
from prefdata.schema import RecordType

CALL = '[{"type":"function","function":{"name":"track","arguments":"{\\"n\\": 7}"}}]'
TOOLS = '[{"type": "function", "function": {"name": "track", "parameters": {"type": "object"}}}]'


def written(made: list[dict[str, Any]], record_type: RecordType) -> list[Any]:
    frame = OpenAi().encode(framed(made, record_type), record_type).rows
    return [json.loads(text) for text in json_texts(frame)]


def reasons(made: dict[str, Any], record_type: RecordType) -> list[list[str]]:
    found: list[list[str]] = OpenAi().encode(framed([made], record_type), record_type).refused["reasons"].to_list()
    return found


def read(*rows: dict[str, Any]) -> pl.DataFrame:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    return pl.read_ndjson(io.BytesIO(text.encode()), infer_schema_length=None)


def test_turns_before_the_answer_have_weight_zero() -> None:
    made = {
        "prompt": [turn("system", "Be kind."), turn("user", "a"), turn("assistant", "b"), turn("user", "c")],
        "completion": [turn("assistant", "d")],
    }
    assert written([made], RecordType.SFT) == [
        {
            "messages": [
                {"role": "system", "content": "Be kind."},
                {"role": "user", "content": "a"},
                {"role": "assistant", "content": "b", "weight": 0},
                {"role": "user", "content": "c"},
                {"role": "assistant", "content": "d"},
            ]
        }
    ]


def test_the_trained_turns_are_the_answer() -> None:
    talk = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b", "weight": 0},
        {"role": "user", "content": "c"},
        {"role": "assistant", "content": "d", "weight": 1},
        {"role": "user", "content": "e"},
        {"role": "assistant", "content": "f", "weight": 1},
    ]
    broken = [*talk[:3], talk[3] | {"weight": 1}, talk[4], talk[5] | {"weight": 0}]
    outcome = OpenAi().decode(read({"messages": talk}, {"messages": broken}), RecordType.SFT)
    assert [one["content"] for one in outcome.rows["prompt"][0]] == ["a", "b", "c"]
    assert [one["content"] for one in outcome.rows["completion"][0]] == ["d", "e", "f"]
    assert outcome.refused.to_dicts() == [{"_row": 1, "reasons": ["trained_turns"]}]


def test_a_result_names_its_call_and_tools_are_objects() -> None:
    made = {
        "prompt": [turn("user", "Where?"), turn("assistant", "", CALL), turn("tool", "Lyon")],
        "completion": [turn("assistant", "In Lyon.")],
        "tools": TOOLS,
    }
    [row] = written([made], RecordType.SFT)
    call = {"id": "prefdata_call_0", "type": "function", "function": {"name": "track", "arguments": '{"n": 7}'}}
    assert row == {
        "messages": [
            {"role": "user", "content": "Where?"},
            {"role": "assistant", "tool_calls": [call], "weight": 0},
            {"role": "tool", "content": "Lyon", "tool_call_id": "prefdata_call_0"},
            {"role": "assistant", "content": "In Lyon."},
        ],
        "tools": json.loads(TOOLS),
    }
    again = OpenAi().decode(read(row), RecordType.SFT).rows
    assert again["prompt"][0][1] == turn("assistant", "", CALL)
    assert json.loads(again["tools"][0]) == json.loads(TOOLS)


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ([turn("user", "q"), turn("assistant", "", CALL), turn("user", "and?")], ["tool_call_unanswered"]),
        ([turn("user", "q"), turn("tool", "Lyon")], ["tool_call_unanswered"]),
        ([turn("user", "q"), turn("assistant", "well")], ["prompt_ends_with_assistant"]),
    ],
)
def test_calls_and_results_have_to_fit(prompt: list[Any], expected: list[str]) -> None:
    assert reasons({"prompt": prompt, "completion": [turn("assistant", "a")]}, RecordType.SFT) == [expected]


def test_pictures_stand_in_turns_of_the_user_and_have_an_address() -> None:
    def row(role: str, uri: str, count: int = 1) -> dict[str, Any]:
        prompt = [turn(role, "see " + MARK * count)] + ([turn("user", "well?")] if role != "user" else [])
        images = [{"uri": uri, "side": "prompt", "message": 0, "part": 1 + at} for at in range(count)]
        return {"prompt": prompt, "completion": [turn("assistant", "a cat")], "images": images}

    assert written([row("user", "https://example.org/1.jpg")], RecordType.SFT) == [
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "see "},
                        {"type": "image_url", "image_url": {"url": "https://example.org/1.jpg"}},
                    ],
                },
                {"role": "assistant", "content": [{"type": "text", "text": "a cat"}]},
            ]
        }
    ]
    assert reasons(row("user", "cat.jpg"), RecordType.SFT) == [["image_address"]]
    assert reasons(row("system", "https://example.org/1.jpg"), RecordType.SFT) == [["image_outside_user_turn"]]
    assert reasons(row("user", "https://example.org/1.jpg", 11), RecordType.SFT) == [["too_many_images"]]


PAIR = {
    "input": {"messages": [{"role": "user", "content": "How cold is it?"}]},
    "preferred_output": [{"role": "assistant", "content": "12 degrees."}],
    "non_preferred_output": [{"role": "assistant", "content": "Cold."}],
}


def test_preferences_both_ways() -> None:
    source = PAIR | {"input": PAIR["input"] | {"tools": [], "parallel_tool_calls": True}}  # type: ignore[operator]
    frame = read(source)
    assert [match.type for match in OpenAi().recognise(frame)] == [RecordType.PREFERENCE]
    rows = OpenAi().decode(frame, RecordType.PREFERENCE).rows
    assert rows["chosen"][0][0]["content"] == "12 degrees."
    assert rows["meta"].to_list() == ['{"parallel_tool_calls":true}']
    again = OpenAi().encode(rows, RecordType.PREFERENCE).rows
    assert [json.loads(text) for text in json_texts(again)] == [PAIR]


def test_an_output_is_one_message_of_text() -> None:
    several = {
        "prompt": [turn("user", "q")],
        "chosen": [turn("assistant", "a"), turn("user", "b"), turn("assistant", "c")],
        "rejected": [turn("assistant", "d")],
    }
    assert reasons(several, RecordType.PREFERENCE) == [["multi_turn_answer"]]


def test_tools_that_are_no_table_are_refused() -> None:
    odd = [{"type": "function", "function": {"name": "t", "parameters": {"enum": [1, "a"]}}}]
    row = {"prompt": [turn("user", "q")], "completion": [turn("assistant", "a")], "tools": json.dumps(odd)}
    assert reasons(row, RecordType.SFT) == [["unwritable_tools"]]
    assert reasons(row | {"tools": "not json"}, RecordType.SFT) == [["unwritable_tools"]]


def test_real_pairs_go_both_ways(shared_data: Any, tmp_path: Path) -> None:
    there = convert(shared_data("hh_rlhf"), to="openai", out=tmp_path / "openai")
    assert (there.read, there.written, there.refused_reading) == (
        2312,
        2303,
        {"differing_prompts": 5, "empty_answer": 4},
    )
    back = convert(tmp_path / "openai", to="trl", out=tmp_path / "trl")
    straight = convert(shared_data("hh_rlhf"), to="trl", out=tmp_path / "straight")
    assert (back.source, back.written, straight.written) == ("openai", 2303, 2303)
    left, right = (pl.read_parquet(tmp_path / name / "test.parquet") for name in ("trl", "straight"))
    assert left.equals(right)
