"""What `make peers` showed the targets to trip over, refused before it gets there; each beside a sound row."""

from __future__ import annotations

from typing import Any

import polars as pl

from prefdata.formats.axolotl import Axolotl
from prefdata.formats.core import identify
from prefdata.formats.swift import Swift
from prefdata.formats.trl import Trl
from prefdata.formats.verl import Verl
from prefdata.schema import RecordType

CALL = '[{"type":"function","function":{"name":"look_up","arguments":"{}"}}]'


def turns(*said: tuple[str, str]) -> list[dict[str, Any]]:
    return [{"role": role, "content": content} for role, content in said]


def canonical(kind: RecordType, **columns: Any) -> pl.DataFrame:
    return identify(Trl().decode(pl.DataFrame(columns), kind).rows, kind, source="test")


def reasons(fmt: Any, rows: pl.DataFrame, kind: RecordType) -> dict[int, list[str]]:
    return dict(fmt.encode(rows, kind).refused.iter_rows())


def test_swift_gets_no_two_turns_of_one_side_in_a_row_since_it_joins_them_without_a_space() -> None:
    prompts = [turns(("user", "Hello?"), ("user", "Anyone?")), turns(("user", "Hello?"))]
    rows = canonical(RecordType.SFT, prompt=prompts, completion=[turns(("assistant", "Yes."))] * 2)
    assert reasons(Swift(), rows, RecordType.SFT) == {0: ["repeated_role"]}


def test_swift_gets_no_unpaired_answer_that_ends_with_a_call_since_the_run_would_stop() -> None:
    answers = [[{"role": "assistant", "content": "", "tool_calls": CALL}], turns(("assistant", "Yes."))]
    frame = pl.DataFrame(
        {"prompt": [turns(("user", "q"))] * 2, "completion": answers, "label": [True, False]},
        schema_overrides={
            "completion": pl.List(pl.Struct({"role": pl.String, "content": pl.String, "tool_calls": pl.String}))
        },
    )
    rows = identify(Trl().decode(frame, RecordType.UNPAIRED).rows, RecordType.UNPAIRED, source="test")
    assert reasons(Swift(), rows, RecordType.UNPAIRED) == {0: ["answer_ends_with_call"]}


def test_swift_gets_the_tools_for_the_rejected_side_too() -> None:
    tools = '[{"type":"function","function":{"name":"look_up"}}]'
    rows = canonical(RecordType.PREFERENCE, prompt=["q"], chosen=["a"], rejected=["b"], tools=[tools])
    assert Swift().encode(rows, RecordType.PREFERENCE).rows.select("tools", "rejected_tools").row(0) == (tools, tools)


def test_axolotl_gets_no_answer_that_it_would_find_in_the_template_first() -> None:
    rows = canonical(
        RecordType.PREFERENCE, prompt=["q"] * 3, chosen=["s", "No, never.", "assistant"], rejected=["Two.", "Yes.", "b"]
    )
    assert sorted(reasons(Axolotl(), rows, RecordType.PREFERENCE).items()) == [
        (0, ["answer_in_template"]),
        (2, ["answer_in_template"]),
    ]


def test_axolotl_gets_pictures_in_conversations_of_one_answer_only() -> None:
    picture = {"type": "image", "text": None}
    asked = {"role": "user", "content": [picture, {"type": "text", "text": "Who?"}]}
    said = {"role": "assistant", "content": [{"type": "text", "text": "Me."}]}
    again = {"role": "user", "content": [{"type": "text", "text": "Really?"}]}
    rows = canonical(
        RecordType.SFT, messages=[[asked, said, again, said], [asked, said]], images=[["a.jpg"], ["a.jpg"]]
    )
    assert reasons(Axolotl(), rows, RecordType.SFT) == {0: ["earlier_answers"]}


def test_verl_gets_no_conversation_that_the_assistant_begins() -> None:
    prompts = [turns(("assistant", "Hi!"), ("user", "q")), turns(("user", "q"))]
    rows = canonical(RecordType.SFT, prompt=prompts, completion=[turns(("assistant", "a"))] * 2)
    assert reasons(Verl(), rows, RecordType.SFT) == {0: ["first_by_assistant"]}
