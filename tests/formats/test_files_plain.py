"""Rows that say the same in two ways in one list, as OpenAI's chats may, are read and not quarantined."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from prefdata.formats.files import read_frames

TEXT = [{"type": "text", "text": "what"}]
ANSWER = {"role": "assistant", "content": "a cat"}


def read(tmp_path: Path, *rows: dict[str, Any]) -> tuple[list[dict[str, Any]], list[str]]:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    chunks = list(read_frames(path))
    found = [row for chunk in chunks for row in chunk.frame.drop("_file", "_line", "_offset").to_dicts()]
    return found, [reason for chunk in chunks for reason in chunk.quarantine["reason"]]


@pytest.mark.parametrize("key", ["messages", "input"])
def test_texts_beside_parts_are_parts(tmp_path: Path, key: str) -> None:
    turns = [{"role": "system", "content": "s"}, {"role": "user", "content": TEXT}, ANSWER]
    row: dict[str, Any] = {"messages": turns} if key == "messages" else {"input": {"messages": turns}}
    found, reasons = read(tmp_path, row, row)
    assert reasons == []
    contents = [one["content"] for one in (found[1] if key == "messages" else found[1]["input"])["messages"]]
    assert contents == [[{"type": "text", "text": "s"}], TEXT, [{"type": "text", "text": "a cat"}]]


def test_texts_alone_stay_texts(tmp_path: Path) -> None:
    assert read(tmp_path, {"messages": [ANSWER]}) == ([{"messages": [ANSWER]}], [])


def test_definitions_of_several_types_are_json_text(tmp_path: Path) -> None:
    tools = [{"name": "f", "parameters": {"properties": {"a": {"enum": ["x", 1]}}}}]
    found, reasons = read(tmp_path, {"messages": [ANSWER], "tools": tools})
    assert (json.loads(found[0]["tools"]), reasons) == (tools, [])


def test_arguments_of_several_types_are_json_text(tmp_path: Path) -> None:
    calls = [{"function": {"name": "f", "arguments": {"a": one}}} for one in (1, "x")]
    found, reasons = read(tmp_path, {"messages": [ANSWER | {"tool_calls": calls}]})
    told = [one["function"]["arguments"] for one in found[0]["messages"][0]["tool_calls"]]
    assert (told, reasons) == (['{"a": 1}', '{"a": "x"}'], [])


def test_other_lists_of_several_types_are_still_quarantined(tmp_path: Path) -> None:
    odd = [{"scores": [1, "x"]}, {"messages": [{"role": "user", "content": 3}, ANSWER]}, {"messages": [ANSWER, "x"]}]
    assert read(tmp_path, *odd) == ([], ["mixed_list"] * 3)
