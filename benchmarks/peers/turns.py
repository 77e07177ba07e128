"""Turns out of templated text, and canonical messages in the same form, so that the two can be compared.

What is set aside, and nothing else: the tokens of the ChatML template around a turn; a system prompt that the template
adds where the row has none; the description of tools that it appends; the spacing of tool calls, whose JSON is compared
by its values; the number of places that a picture takes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from prefdata.formats.messages import MARK

_PICTURE = re.compile(r"<\|vision_start\|>(?:<\|image_pad\|>)+<\|vision_end\|>")
_HEADER = re.compile(r"<\|im_start\|>(\w+)\n?")
_CALL = re.compile(r"\n?<tool_call>\n?(.*?)\n?</tool_call>", re.DOTALL)
_RESULT = re.compile(r"<tool_response>\n(.*?)\n</tool_response>", re.DOTALL)
_TOOLS = "\n\n# Tools\n\n"


class Turn(NamedTuple):
    """Who said what; `calls` are tool calls as sorted JSON."""

    role: str
    text: str
    calls: tuple[str, ...] = ()


def read(text: str, *, first: str = "assistant") -> list[Turn]:
    """The turns of templated text that begins inside a turn of `first`, or with a header; empty turns left out."""
    found = []
    for piece in re.split(r"<\|im_end\|>\n?|(?=<\|im_start\|>)", _PICTURE.sub(MARK, text)):
        header = _HEADER.match(piece)
        role = header.group(1) if header else first
        body = piece[header.end() :] if header else piece
        if header and not body:
            continue
        if role == "user" and "<tool_response>" in body:
            found += [Turn("tool", result) for result in _RESULT.findall(body)]
        elif body:
            found.append(_turn(role, body))
    return found


def context(text: str, row: Mapping[str, Any]) -> list[Turn]:
    """The turns before the answer, without what a template adds of its own; plain text is the user's."""
    found = read(text, first="user")
    found = [turn for turn in found if turn.text.strip() or turn.calls]
    if found and found[0].role == "system":
        if row["prompt"][0]["role"] != "system":
            return found[1:]
        return [Turn("system", found[0].text.split(_TOOLS)[0]), *found[1:]]
    return found


def tools_told(text: str, row: Mapping[str, Any]) -> bool:
    """Whether the names of the row's tools stand in the description that a template makes of them."""
    names = [tool["function"]["name"] for tool in json.loads(row.get("tools") or "[]")]
    _, found, described = text.partition(_TOOLS.strip("\n"))
    return all(found and f'"{name}"' in described for name in names)


def canonical(messages: Iterable[Mapping[str, Any]]) -> list[Turn]:
    """Canonical messages in the form of `read`."""
    found = []
    for message in messages:
        calls = [
            (call["function"]["name"], json.loads(call["function"]["arguments"]))
            for call in json.loads(message["tool_calls"] or "[]")
        ]
        text = message["content"] or ""
        found.append(Turn(message["role"], text, tuple(_call(name, arguments) for name, arguments in calls)))
    return found


def own(turns: Sequence[Turn]) -> list[Turn]:
    """The assistant's turns alone."""
    return [turn for turn in turns if turn.role == "assistant"]


def _turn(role: str, body: str) -> Turn:
    calls = []
    for raw in _CALL.findall(body):
        try:
            made = json.loads(raw)
            arguments = made["arguments"]
            if isinstance(arguments, str):
                arguments = json.loads(arguments)
            calls.append(_call(made["name"], arguments))
        except (ValueError, KeyError, TypeError):
            calls.append(raw)
    return Turn(role, _CALL.sub("", body), tuple(calls))


def _call(name: str, arguments: Any) -> str:
    return json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False, sort_keys=True)
