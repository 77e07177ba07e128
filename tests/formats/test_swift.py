"""ms-swift: what stands in its files, the shapes that it reads, what is refused and why."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from canonical_rows import framed, turn

from prefdata.formats.core import identify
from prefdata.formats.messages import MARK
from prefdata.formats.swift import Swift
from prefdata.schema import RecordType, check

Row = dict[str, Any]
Q, A, B = turn("user", "q"), turn("assistant", "a"), turn("assistant", "b")


def kept(value: Any) -> Any:
    """Without the keys whose value is null, as a writer of JSON Lines leaves it."""
    if isinstance(value, dict):
        return {key: kept(one) for key, one in value.items() if one is not None}
    return [kept(one) for one in value] if isinstance(value, list) else value


def out(row: Row, kind: RecordType, fmt: Swift | None = None) -> Any:
    """What is written for one canonical row, or the reasons why it is not."""
    written = (fmt or Swift()).encode(framed([row], kind), kind)
    return kept(written.rows.to_dicts()[0]) if written.rows.height else written.refused["reasons"][0].to_list()


def read(row: Row, kind: RecordType, fmt: Swift | None = None) -> Any:
    """What is read from one row of a file, without nulls, or the reasons why it is not."""
    decoded = (fmt or Swift()).decode(pl.DataFrame([row], strict=False), kind)
    if not decoded.rows.height:
        return decoded.refused["reasons"][0].to_list()
    got = check(identify(decoded.rows, kind, source="file"), kind).row(0, named=True)
    return kept({name: one for name, one in got.items() if name not in ("id", "source", "group")})


def say(role: str, content: str, **more: Any) -> Row:
    return {"role": role, "content": content, **more}


def test_a_label_goes_beside_the_conversation() -> None:
    row = {"prompt": [turn("system", "s"), Q], "completion": [A], "label": False}
    messages = [say("system", "s"), say("user", "q"), say("assistant", "a")]
    assert out(row, RecordType.UNPAIRED) == {"messages": messages, "label": False}


def test_a_pair_is_two_conversations_with_their_pictures() -> None:
    picture = {"uri": "1.jpg", "side": "prompt", "message": 0, "part": 1}
    row = {"prompt": [turn("user", f"q{MARK}")], "chosen": [A], "rejected": [B], "images": [picture], "margin": 0.5}
    assert out(row, RecordType.PREFERENCE) == {
        "messages": [say("user", "q<image>"), say("assistant", "a")],
        "rejected_messages": [say("user", "q<image>"), say("assistant", "b")],
        "images": ["1.jpg"],
        "rejected_images": ["1.jpg"],
        "margin": 0.5,
    }
    assert out(row, RecordType.PREFERENCE, Swift(rejected="response")) == {
        "messages": [say("user", "q<image>"), say("assistant", "a")],
        "rejected_response": "b",
        "images": ["1.jpg"],
        "margin": 0.5,
    }


def test_sft_trains_on_the_answer_and_not_on_turns_before_it() -> None:
    row = {"prompt": [Q, A, Q], "completion": [B]}
    turns = [say("user", "q"), say("assistant", "a", loss=False), say("user", "q"), say("assistant", "b")]
    assert out(row, RecordType.SFT) == {"messages": turns}


def test_every_turn_of_an_answer_is_marked_as_trained_on() -> None:
    call = '[{"type":"function","function":{"name":"f","arguments":"{}"}}]'
    row = {"prompt": [Q], "completion": [turn("assistant", "wait", call), turn("tool", "r"), A]}
    text = '{"name": "f", "arguments": {}}'
    turns = [
        say("user", "q"),
        say("assistant", "wait", loss=True),
        say("tool_call", text, loss=True),
        say("tool_response", "r"),
        say("assistant", "a", loss=True),
    ]
    assert out(row, RecordType.SFT) == {"messages": turns}
    assert read({"messages": turns}, RecordType.SFT) == kept(row)


def test_a_prompt_keeps_its_solution() -> None:
    assert out({"prompt": [Q], "answer": "42"}, RecordType.PROMPT) == {"messages": [say("user", "q")], "solution": "42"}


@pytest.mark.parametrize(
    ("row", "kind", "expected"),
    [
        ({"prompt": [Q, A], "completion": [B]}, RecordType.SFT, ["prompt_ends_with_assistant"]),
        ({"prompt": [Q, turn("system", "s")], "completion": [B]}, RecordType.SFT, ["system_not_first"]),
        ({"prompt": [turn("user", "<image>")], "completion": [B]}, RecordType.SFT, ["literal_image_tag"]),
        ({"prompt": [Q], "completion": [turn("assistant", "\n")]}, RecordType.SFT, ["empty_answer"]),
        ({"prompt": [Q], "completion": [B], "label": None}, RecordType.UNPAIRED, ["label_missing"]),
        ({"prompt": [Q], "chosen": [A], "rejected": [A]}, RecordType.PREFERENCE, ["equal_sides"]),
    ],
)
def test_what_swift_would_drop_or_misread_is_refused(row: Row, kind: RecordType, expected: list[str]) -> None:
    assert out(row, kind) == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"rejected": [B, Q, B]}, ["multi_turn_answer"]),
        ({"prompt": [Q, turn("assistant", "", "[]"), turn("tool", "r")]}, ["tool_turns"]),
    ],
)
def test_a_rejected_response_is_one_turn_after_the_user(change: Row, expected: list[str]) -> None:
    row = {"prompt": [Q], "chosen": [A], "rejected": [B]} | change
    assert out(row, RecordType.PREFERENCE, Swift(rejected="response")) == expected


TALK = [say("user", "q"), say("assistant", "a")]
PAIR = {"prompt": [kept(Q)], "chosen": [kept(A)], "rejected": [kept(B)]}


@pytest.mark.parametrize(
    ("row", "kind", "expected"),
    [
        ({"messages": TALK, "rejected_response": "b"}, RecordType.PREFERENCE, PAIR),
        ({"messages": TALK, "rejected_response": [say("assistant", "b")]}, RecordType.PREFERENCE, PAIR),
        ({"messages": TALK, "rejected_messages": [TALK[0], say("assistant", "b")]}, RecordType.PREFERENCE, PAIR),
        ({"query": "q", "response": "a", "rejected_response": "b"}, RecordType.PREFERENCE, PAIR),
        ({"messages": TALK[:1], "rejected_response": "b"}, RecordType.PREFERENCE, ["no_answer"]),
        (
            {"query": "q", "response": "a", "history": [["x", "y"]], "system": "s"},
            RecordType.SFT,
            {
                "prompt": [say("system", "s"), say("user", "x"), say("assistant", "y"), say("user", "q")],
                "completion": [say("assistant", "a")],
            },
        ),
        (
            {"conversation": [{"human": "q", "assistant": "a"}, {"human": "r", "assistant": "b"}]},
            RecordType.SFT,
            {"prompt": [*TALK, say("user", "r")], "completion": [say("assistant", "b")]},
        ),
        (
            {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}], "system": "s"},
            RecordType.SFT,
            {"prompt": [say("system", "s"), say("user", "q")], "completion": [say("assistant", "a")]},
        ),
        ({"messages": TALK, "label": "false"}, RecordType.UNPAIRED, ["ambiguous_label"]),
        ({"messages": TALK, "label": 1}, RecordType.UNPAIRED, ["ambiguous_label"]),
        ({"messages": TALK, "solution": "1"}, RecordType.PROMPT, ["prompt_ends_with_assistant"]),
        ({"messages": [say("user", None)]}, RecordType.PROMPT, ["missing_content"]),
        ({"messages": [say("critic", "x"), *TALK]}, RecordType.SFT, ["unknown_role"]),
        ({"messages": TALK, "images": ["1.jpg"]}, RecordType.SFT, ["image_count"]),
        ({"messages": TALK, "audios": ["1.wav"]}, RecordType.SFT, ["other_media"]),
        ({"messages": [TALK[0], say("assistant", "a", loss=False)]}, RecordType.SFT, ["trained_turns"]),
        (
            {
                "messages": [
                    say("user", "q"),
                    say("assistant", "a", loss=True),
                    *TALK[:1],
                    say("assistant", "b", loss=False),
                ]
            },
            RecordType.SFT,
            ["trained_turns"],
        ),
        (
            {"messages": [say("system", "s"), *TALK], "system": "t"},
            RecordType.SFT,
            ["second_system_prompt"],
        ),
    ],
)
def test_shapes_that_swift_reads(row: Row, kind: RecordType, expected: Any) -> None:
    assert read(row, kind) == expected


def test_pictures_as_parts_take_their_addresses_from_beside() -> None:
    parts = [{"type": "text", "text": "q"}, {"type": "image", "text": None}]
    messages = [{"role": "user", "content": parts}, {"role": "assistant", "content": [{"type": "text", "text": "a"}]}]
    got = read({"messages": messages, "images": ["1.jpg"], "system": "s"}, RecordType.SFT)
    assert got["prompt"] == [say("system", "s"), say("user", f"q{MARK}")]
    assert got["images"] == [{"uri": "1.jpg", "side": "prompt", "message": 1, "part": 1}]


def test_pictures_that_differ_in_the_shared_turns_make_no_pair() -> None:
    asked = say("user", "<image>q")
    row = {
        "messages": [asked, say("assistant", "a")],
        "rejected_messages": [asked, say("assistant", "b")],
        "images": ["1.jpg"],
        "rejected_images": ["2.jpg"],
    }
    assert read(row, RecordType.PREFERENCE) == ["differing_prompts"]
    assert read(row | {"rejected_images": ["1.jpg"]}, RecordType.PREFERENCE)["images"] == [
        {"uri": "1.jpg", "side": "prompt", "message": 0, "part": 0}
    ]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"messages": TALK}, []),  # any tool's: nothing says that it is ms-swift's
        ({"messages": TALK, "label": True}, [RecordType.UNPAIRED]),
        ({"messages": TALK, "rejected_response": "b"}, [RecordType.PREFERENCE]),
        ({"messages": TALK[:1], "solution": "1"}, [RecordType.PROMPT]),
        ({"query": "q", "response": "a"}, [RecordType.SFT]),
        ({"messages": [say("user", "<image>"), TALK[1]], "images": ["1.jpg"]}, [RecordType.SFT]),
        ({"messages": TALK, "images": ["1.jpg"]}, []),
    ],
)
def test_its_own_names_tell_a_file(row: Row, expected: list[RecordType]) -> None:
    assert [one.type for one in Swift().recognise(pl.DataFrame([row]))] == expected
