"""Templated text read back into turns, and what is set aside when it is held against canonical messages."""

from __future__ import annotations

import json

import pytest
import turns
from turns import Turn

CALL = '<tool_call>\n{"name": "look", "arguments": {"b": 1, "a": "上海"}}\n</tool_call>'
SORTED = '{"arguments": {"a": "上海", "b": 1}, "name": "look"}'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Yes.<|im_end|>\n", [Turn("assistant", "Yes.")]),
        ("  Yes\n\n<|im_end|>", [Turn("assistant", "  Yes\n\n")]),
        ("", []),
        (
            "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n",
            [Turn("system", "S"), Turn("user", "Q")],
        ),
        ("one<|im_end|>\ntwo<|im_end|>\n", [Turn("assistant", "one"), Turn("assistant", "two")]),
        (f"{CALL}<|im_end|>\n", [Turn("assistant", "", (SORTED,))]),
        (f"I look.\n{CALL}<|im_end|>\n", [Turn("assistant", "I look.", (SORTED,))]),
        (
            "<|im_start|>user\n<tool_response>\n17\n</tool_response>\n<tool_response>\n18\n</tool_response><|im_end|>\n",
            [Turn("tool", "17"), Turn("tool", "18")],
        ),
        (
            "<|im_start|>user\na <|vision_start|><|image_pad|><|image_pad|><|vision_end|> b<|im_end|>\n",
            [Turn("user", "a \ufffc b")],
        ),
    ],
    ids=["answer", "space", "nothing", "prompt", "two answers", "call", "text and call", "results", "picture"],
)
def test_read_gives_the_turns_of_templated_text(text, expected):
    assert turns.read(text) == expected


def test_context_sets_aside_the_system_prompt_that_a_template_adds():
    row = {"prompt": [{"role": "user", "content": "Q", "tool_calls": None}]}
    text = "<|im_start|>system\nYou are a model.<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n"
    assert turns.context(text, row) == [Turn("user", "Q")]


def test_context_keeps_the_row_s_own_system_prompt_without_the_tools_after_it():
    row = {"prompt": [{"role": "system", "content": "Be kind.", "tool_calls": None}]}
    text = "<|im_start|>system\nBe kind.\n\n# Tools\n\nYou may call ...<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n"
    assert turns.context(text, row) == [Turn("system", "Be kind."), Turn("user", "Q")]


def test_canonical_messages_have_the_form_of_read_ones():
    call = [{"id": "c", "type": "function", "function": {"name": "look", "arguments": '{"b":1,"a":"上海"}'}}]
    messages = [
        {"role": "user", "content": "Q", "tool_calls": None},
        {"role": "assistant", "content": "", "tool_calls": json.dumps(call)},
    ]
    assert turns.canonical(messages) == [Turn("user", "Q"), Turn("assistant", "", (SORTED,))]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('S\n\n# Tools\n\n{"name": "look"}', True),
        ('# Tools\n\n{"name": "look"}', True),
        ('# Tools\n\n{"name": "other"}', False),
        ('{"name": "look"}', False),
    ],
)
def test_tools_are_told_where_their_names_stand_in_the_description(text, told):
    assert turns.tools_told(text, {"tools": '[{"function": {"name": "look"}}]'}) is told


def test_a_row_without_tools_needs_no_description():
    assert turns.tools_told("Hello", {"tools": None}) is True
