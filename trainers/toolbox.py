"""Tools that a row lists, handed to the chat template beside the messages where it draws any.

They ride on the last message of the prompt, which no cut takes away, as the JSON text of the row. What they say is
content as every other: names, descriptions and values are told apart from the words of their schema, so that a template
can be rendered with placeholders in their place, and none of them can become a control token.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jinja2

TOOLS = "tools"
"""Key of a message; JSON text as it comes, a list once it is to be drawn."""

_WORDS = """
type function name description parameters properties required enum items object string number integer boolean array null
default strict additionalProperties return returns anyOf oneOf allOf format title const nullable minimum maximum
minItems maxItems minLength maxLength pattern examples
"""
SCHEMA = frozenset(_WORDS.split())
"""Words by which tools are described: templates ask for them, so they stay as they are."""

_PROBE = "\ue000probe\ue002"


def with_tools(messages: Sequence[Mapping[str, Any]], tools: str | None) -> list[dict[str, Any]]:
    """The messages of a prompt, the last of which carries the row's tools."""
    found = [dict(message) for message in messages]
    if tools and found:
        found[-1][TOOLS] = tools
    return found


def drawn_tools(tokenizer: Any, messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The messages with their tools read, where the template draws tools; else without them.

    Tools that are no list of JSON objects are left out, as they were never more than a text.
    """
    found = []
    for message in messages:
        rest = {name: value for name, value in message.items() if name != TOOLS}
        tools = _read(message.get(TOOLS)) if message.get(TOOLS) and draws(tokenizer) else None
        found.append({**rest, TOOLS: tools} if tools else rest)
    return found


def draws(tokenizer: Any) -> bool:
    """Whether the chat template draws the tools that it is handed."""
    known: dict[str, bool] = tokenizer.__dict__.setdefault("_prefdata_draws_tools", {})
    key = str(tokenizer.chat_template)
    if key not in known:
        function = {"name": _PROBE, "description": "x", "parameters": {"type": "object", "properties": {}}}
        try:
            drawn = tokenizer.apply_chat_template(
                [{"role": "user", "content": "x"}], tools=[{"type": "function", "function": function}], tokenize=False
            )
            known[key] = _PROBE in drawn
        except (jinja2.TemplateError, TypeError, ValueError, KeyError, AttributeError, IndexError):
            known[key] = False
    return known[key]


def tool_texts(tools: Any) -> list[str]:
    """What tools say beyond the words of their schema, each text once, in order."""
    found: dict[str, None] = {}
    replaced(tools, lambda text: found.setdefault(text) or text)
    return list(found)


def replaced(value: Any, change: Callable[[str], str]) -> Any:
    """The tools with every text of `tool_texts` changed, keys too."""
    if isinstance(value, str):
        return value if value in SCHEMA or not value else change(value)
    if isinstance(value, dict):
        return {replaced(key, change): replaced(inner, change) for key, inner in value.items()}
    return [replaced(inner, change) for inner in value] if isinstance(value, list) else value


def _read(tools: Any) -> list[dict[str, Any]] | None:
    """Tools as templates know them: a bare function is put into the form of the protocol."""
    try:
        listed = json.loads(tools) if isinstance(tools, str) else tools
    except ValueError:
        return None
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        return None
    return [{"type": "function", "function": one} if "name" in one and "function" not in one else one for one in listed]
