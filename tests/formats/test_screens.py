"""Rules behind a screen say of every row what they say without one."""

from __future__ import annotations

from typing import Any

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from prefdata.formats import rules
from prefdata.formats.messages import MARK
from prefdata.formats.screens import calls_tools, has_pictures, holds_text, screened
from prefdata.schema import IMAGE, MESSAGES

TURN = st.fixed_dictionaries(
    {
        "role": st.sampled_from(["user", "assistant"]),
        "content": st.sampled_from(["", "a", "b", "<image>", MARK, f"{MARK}a{MARK}"]),
        "tool_calls": st.sampled_from([None, None, "[]", '[{"a":"<image>"}]']),
    }
)
PICTURE = st.fixed_dictionaries(
    {"uri": st.just("a.png"), "side": st.just("prompt"), "message": st.just(0), "part": st.just(0)}
)
ROW = st.fixed_dictionaries(
    {
        "prompt": st.lists(TURN, max_size=3),
        "chosen": st.lists(TURN, max_size=2),
        "rejected": st.lists(TURN, max_size=2),
        "images": st.none() | st.lists(PICTURE, max_size=2),
    }
)
SIDES = ("prompt", "chosen", "rejected")
SCHEMA = {"prompt": MESSAGES, "chosen": MESSAGES, "rejected": MESSAGES, "images": pl.List(IMAGE)}


def told(rows: list[dict[str, Any]], rule: pl.Expr) -> list[bool]:
    found: list[bool] = pl.DataFrame(rows, schema=SCHEMA).select(rule.fill_null(False).alias("rule"))["rule"].to_list()
    return found


def turns(row: dict[str, Any]) -> list[dict[str, Any]]:
    return [turn for side in SIDES for turn in row[side]]


@given(st.lists(ROW, max_size=6))
def test_screened_rules_say_what_python_says(rows: list[dict[str, Any]]) -> None:
    assert told(rows, rules.equal_sides()) == [row["chosen"] == row["rejected"] for row in rows]
    assert told(rows, rules.tool_calls("chosen")) == [
        any(turn["tool_calls"] is not None for turn in row["chosen"]) for row in rows
    ]
    assert told(rows, rules.text_beside_call(*SIDES)) == [
        any(turn["tool_calls"] is not None and turn["content"] != "" for turn in turns(row)) for row in rows
    ]
    assert told(rows, rules.literal_image_tag(*SIDES)) == [
        any("<image>" in turn["content"] or "<image>" in (turn["tool_calls"] or "") for turn in turns(row))
        for row in rows
    ]
    assert told(rows, rules.image_count(*SIDES)) == [
        bool(row["images"]) and len(row["images"]) != sum(turn["content"].count(MARK) for turn in turns(row))
        for row in rows
    ]
    assert told(rows, rules.prompt_in_answer(text=False)) == [
        bool(row["prompt"]) and row["chosen"][: len(row["prompt"])] == row["prompt"] for row in rows
    ]


def test_a_screen_keeps_the_rule_from_rows_that_it_rules_out() -> None:
    frame = pl.DataFrame({"text": ["1", "x", "2", None]})
    dear = pl.col("text").cast(pl.Int64) > 1  # fails on "x": it must never be asked
    only = screened(dear, ("text",), lambda rows: rows["text"].str.contains("[0-9]"))
    assert frame.select(rule=only)["rule"].to_list() == [False, False, True, False]
    none = screened(dear, ("text",), lambda rows: False)
    assert frame.select(rule=none)["rule"].to_list() == [False] * 4
    every = screened(pl.col("text") == "x", ("text",), lambda rows: True)
    assert frame.select(rule=every)["rule"].to_list() == [False, True, False, False]


def test_looks_at_a_frame_pass_over_nulls_and_empty_lists() -> None:
    turn = {"role": "user", "content": "see <image>", "tool_calls": None}
    rows = [
        {"prompt": None, "chosen": [], "rejected": [turn], "images": None},
        {"prompt": [turn], "chosen": [turn | {"tool_calls": "[]"}], "rejected": [], "images": []},
    ]
    frame = pl.DataFrame(rows, schema=SCHEMA)
    assert [calls_tools(frame, side) for side in SIDES] == [False, True, False]
    assert holds_text(frame, "<image>", "rejected")
    assert not holds_text(frame, "<video>", *SIDES)
    assert not has_pictures(frame)
    assert has_pictures(frame.with_columns(images=pl.lit([{}], pl.List(IMAGE))))
