"""Rows in a peer's own form that it refuses, changes or trips over, written out: see refusals.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

Row = dict[str, Any]


class Case(NamedTuple):
    """What is tried on a peer, what the second row should have become, and our rule for it."""

    peer: str
    type: str
    title: str
    rows: Sequence[Row]
    expected: Mapping[str, str]
    """Trained text of the second row, side by side, if it were taken as it is meant."""
    rule: str
    """Why our writer cannot make such a row, in words; one word is the reason that is expected."""
    label: bool | None = None
    columns: Mapping[str, Any] | None = None
    """LLaMA-Factory's entry in dataset_info.json."""
    vision: bool = False


def turn(role: str, content: Any) -> Row:
    """A message with `role` and `content`."""
    return {"role": role, "content": content}


def said(who: str, value: Any) -> Row:
    """A message with `from` and `value`."""
    return {"from": who, "value": value}


Q = [turn("user", "What is it?")]
A = [turn("assistant", "A square.")]
B = [turn("assistant", "No idea.")]
HQ = [said("human", "What is it?")]
HA, HB = said("gpt", "A square."), said("gpt", "No idea.")

PAIR = {"prompt": Q, "chosen": A, "rejected": B}
UNARY = {"prompt": Q, "completion": A, "label": True}
SWIFT_PAIR = {"messages": Q + A, "rejected_response": "No idea."}
SWIFT_UNARY = {"messages": Q + A, "label": True}
LF_SFT = {"conversations": [*HQ, HA]}
LF_PAIR = {"conversations": HQ, "chosen": HA, "rejected": HB}
LF_UNARY = {"conversations": [*HQ, HA], "kto_tag": True}
AX_PAIR = {"messages": Q, "chosen": A[0], "rejected": B[0]}
AX_UNARY = {"prompt": "What is it?", "completion": "A square.", "label": True}

LF_COLUMNS = {"columns": {"messages": "conversations"}}
LF_RANKING = {
    "ranking": True,
    "columns": {"messages": "conversations", "chosen": "chosen", "rejected": "rejected"},
}
LF_TAG = {"columns": {"messages": "conversations", "kto_tag": "kto_tag"}}

WANTED = {"chosen": "A square.", "rejected": "No idea."}
ONE = {"completion": "A square."}

CASES: tuple[Case, ...] = (
    Case("trl", "unpaired", 'label "true" as text', [UNARY | {"label": "true"}] * 2, ONE, "ambiguous_label", True),
    Case(
        "trl",
        "preference",
        "prompt as text beside answers as messages",
        [PAIR | {"prompt": "What is it?"}] * 2,
        WANTED,
        "never written: all sides have one form",
    ),
    Case(
        "trl",
        "preference",
        "prompt repeated inside the answers",
        [PAIR, {"prompt": Q, "chosen": Q + A, "rejected": Q + B}],
        WANTED,
        "prompt_in_answer",
    ),
    Case("trl", "preference", "chosen and rejected are the same", [PAIR, PAIR | {"rejected": A}], {}, "equal_sides"),
    Case(
        "trl",
        "unpaired",
        "empty answer",
        [UNARY, UNARY | {"completion": [turn("assistant", "")]}],
        {},
        "empty_answer",
    ),
    Case(
        "trl",
        "preference",
        "message without content",
        [PAIR, PAIR | {"chosen": [{"role": "assistant"}]}],
        {},
        "missing_content",
    ),
    Case(
        "trl",
        "preference",
        "roles human and gpt",
        [PAIR, PAIR | {"chosen": [turn("gpt", "A square.")]}],
        WANTED,
        "never written: roles are mapped",
    ),
    Case(
        "trl",
        "preference",
        "column images, null in all rows",
        [PAIR | {"images": None}] * 2,
        WANTED,
        "never written: no column without a value",
    ),
    Case(
        "swift",
        "preference",
        "chosen and rejected are the same",
        [SWIFT_PAIR, SWIFT_PAIR | {"rejected_response": "A square."}],
        {},
        "equal_sides",
    ),
    Case(
        "swift",
        "preference",
        "the same twice, as rejected_messages",
        [{"messages": Q + A, "rejected_messages": Q + B}, {"messages": Q + A, "rejected_messages": Q + A}],
        {},
        "equal_sides",
    ),
    Case(
        "swift",
        "unpaired",
        'label "false" as text',
        [SWIFT_UNARY | {"label": "true"}, SWIFT_UNARY | {"label": "false"}],
        ONE,
        "ambiguous_label",
        False,
    ),
    Case(
        "swift",
        "sft",
        "unknown role",
        [{"messages": Q + A}, {"messages": [turn("moderator", "Hm."), *Q, *A]}],
        ONE,
        "unknown_role",
    ),
    Case(
        "swift",
        "sft",
        "message whose content is null",
        [{"messages": Q + A}, {"messages": [turn("user", None), *A]}],
        ONE,
        "missing_content",
    ),
    Case(
        "swift",
        "sft",
        "two turns of the customer in a row",
        [{"messages": Q + A}, {"messages": [turn("user", "Hello?"), *Q, *A]}],
        ONE | {"prompt": "Hello?\nWhat is it?"},
        "repeated_role",
    ),
    Case(
        "swift",
        "sft",
        "empty answer",
        [{"messages": Q + A}, {"messages": [*Q, turn("assistant", "")]}],
        {},
        "empty_answer",
    ),
    Case(
        "swift",
        "unpaired",
        "conversation that ends with the customer",
        [SWIFT_UNARY, {"messages": [*Q, *A, *Q], "label": True}],
        ONE,
        "no_answer",
        True,
    ),
    Case(
        "swift",
        "unpaired",
        "tool call as the answer",
        [
            SWIFT_UNARY,
            {"messages": [*Q, turn("tool_call", '{"name": "look", "arguments": {}}')], "label": True},
        ],
        {},
        "answer_ends_with_call",
        True,
    ),
    Case(
        "swift",
        "sft",
        "literal <image> in a row without pictures",
        [{"messages": Q + A}, {"messages": [turn("user", "What is <image> in HTML?"), *A]}],
        ONE,
        "literal_image_tag",
        vision=True,
    ),
    Case(
        "llamafactory",
        "sft",
        "two turns of the customer in a row",
        [LF_SFT, {"conversations": [said("human", "Hello?"), *HQ, HA]}],
        ONE,
        "not_alternating",
        columns=LF_COLUMNS,
    ),
    Case(
        "llamafactory",
        "sft",
        "assistant speaks first",
        [LF_SFT, {"conversations": [said("gpt", "Welcome!"), *HQ, HA]}],
        ONE,
        "not_alternating",
        columns=LF_COLUMNS,
    ),
    Case(
        "llamafactory",
        "preference",
        "prompt that ends with the assistant",
        [LF_PAIR, LF_PAIR | {"conversations": [*HQ, HA]}],
        WANTED,
        "prompt_ends_with_assistant",
        columns=LF_RANKING,
    ),
    Case(
        "llamafactory",
        "unpaired",
        'kto_tag "true" as text',
        [LF_UNARY | {"kto_tag": "true"}] * 2,
        ONE,
        "ambiguous_label",
        True,
        LF_TAG,
    ),
    Case(
        "llamafactory",
        "unpaired",
        "empty desirable answer",
        [LF_UNARY, {"conversations": [*HQ, said("gpt", "")], "kto_tag": True}],
        {"completion": ""},
        "empty_answer",
        True,
        LF_TAG,
    ),
    Case(
        "llamafactory",
        "preference",
        "chosen and rejected are the same",
        [LF_PAIR, LF_PAIR | {"rejected": HA}],
        {},
        "equal_sides",
        columns=LF_RANKING,
    ),
    Case(
        "llamafactory",
        "sft",
        "more tags than pictures",
        [
            {"conversations": [said("human", "<image>What is it?"), HA], "images": ["PICTURE"]},
            {"conversations": [said("human", "<image><image>What is it?"), HA], "images": ["PICTURE"]},
        ],
        ONE,
        "image_count",
        columns={"columns": {"messages": "conversations", "images": "images"}},
        vision=True,
    ),
    Case(
        "llamafactory",
        "sft",
        "literal <image> in a row without pictures",
        [LF_SFT, {"conversations": [said("human", "What is <image> in HTML?"), HA]}],
        ONE,
        "literal_image_tag",
        columns=LF_COLUMNS,
        vision=True,
    ),
    Case(
        "llamafactory",
        "sft",
        "dataset_info.json names one tag of six",
        [LF_SFT, LF_SFT],
        ONE,
        "never written: all tags or none",
        columns=LF_COLUMNS | {"tags": {"system_tag": "system"}},
    ),
    Case(
        "axolotl",
        "preference",
        "answer that occurs in the template (the letter s)",
        [AX_PAIR, AX_PAIR | {"chosen": turn("assistant", "s")}],
        {"chosen": "s", "rejected": "No idea."},
        "answer_in_template",
    ),
    Case(
        "axolotl",
        "preference",
        "empty answer",
        [AX_PAIR, AX_PAIR | {"rejected": turn("assistant", "")}],
        {"chosen": "A square.", "rejected": ""},
        "empty_answer",
    ),
    Case(
        "axolotl",
        "preference",
        "answers of several turns",
        [
            {"messages": Q, "chosen": A, "rejected": B},
            {"messages": Q, "chosen": [turn("assistant", "Wait."), *Q, *A], "rejected": B},
        ],
        {"chosen": "Wait.", "rejected": "No idea."},
        "multi_turn_answer",
    ),
    Case(
        "axolotl",
        "preference",
        "chosen and rejected are the same",
        [AX_PAIR, AX_PAIR | {"rejected": A[0]}],
        {},
        "equal_sides",
    ),
    Case(
        "axolotl",
        "preference",
        "unknown role",
        [AX_PAIR, AX_PAIR | {"messages": [turn("human", "What is it?")]}],
        WANTED,
        "never written: roles are mapped",
    ),
    Case(
        "axolotl",
        "unpaired",
        'label "false" as text',
        [AX_UNARY | {"label": "true"}, AX_UNARY | {"label": "false"}],
        ONE,
        "ambiguous_label",
        False,
    ),
    Case(
        "verl",
        "sft",
        "assistant speaks first",
        [{"messages": Q + A}, {"messages": [turn("assistant", "Welcome!"), *Q, *A]}],
        ONE,
        "first_by_assistant",
    ),
    Case(
        "verl",
        "sft",
        "answers before the last one",
        [{"messages": Q + A}, {"messages": [*Q, *B, *Q, *A]}],
        ONE,
        "not held: verl has no switch for it",
    ),
    Case(
        "verl",
        "sft",
        "pictures as plain addresses",
        [{"messages": [turn("user", "<image>What is it?"), *A], "images": ["PICTURE"]}] * 2,
        ONE,
        "never written: objects with image",
        vision=True,
    ),
)
