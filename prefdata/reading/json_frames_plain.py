"""Records that no dtype holds as they stand, written in the other way that their readers take as well."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from prefdata.reading.json_frames_types import NoDtype, dtype_of

_CONTENTS = ("content", "value")


def plainer(record: Mapping[str, Any]) -> dict[str, Any]:
    """`record` with one type a list, where it says the same in two ways, as OpenAI's chats may: texts that stand beside
    contents in parts are parts; tool definitions, and arguments of tool calls, of several types are JSON text."""
    return {key: _plainer(key, value) for key, value in record.items()}


def _plainer(key: str, value: Any) -> Any:
    if has_dtype(value):
        return value
    if key == "tools":
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, dict):
        return plainer(value)
    if not (isinstance(value, list) and all(isinstance(one, dict) for one in value)):
        return value
    turns = value
    for name in _CONTENTS:
        if any(isinstance(turn.get(name), list) for turn in turns):
            turns = [turn | {name: _part(turn[name])} if isinstance(turn.get(name), str) else turn for turn in turns]
    return turns if has_dtype(turns) else [_called(turn) for turn in turns]


def _part(text: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": text}]


def _called(turn: dict[str, Any]) -> dict[str, Any]:
    calls = turn.get("tool_calls")
    if not isinstance(calls, list):
        return turn
    return turn | {"tool_calls": [_written(call) if isinstance(call, dict) else call for call in calls]}


def _written(call: dict[str, Any]) -> dict[str, Any]:
    inner = call.get("function")
    if isinstance(inner, dict):
        return call | {"function": _written(inner)}
    arguments = call.get("arguments")
    return call | {"arguments": json.dumps(arguments, ensure_ascii=False)} if isinstance(arguments, dict) else call


def has_dtype(value: Any) -> bool:
    """Whether a column can hold the value as it is."""
    try:
        dtype_of(value)
    except NoDtype:
        return False
    return True
