"""What filters, groupings and transforms see of rows of each type."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from prefdata.edited import edited
from prefdata.errors import RecipeError
from prefdata.judging import Side
from prefdata.schema import IMAGE, MESSAGES, RecordType, conform
from prefdata.sides import by_sides, orientation, sides_for, texts
from prefdata.transforms.personal_data import PersonalData
from prefdata.transforms.unicode import Unicode

LONG = " ".join(f"Step {n}: turn part {n} to the left." for n in range(40))


def said(*turns: tuple[str, str | None]) -> list[dict[str, Any]]:
    return [{"role": role, "content": content, "tool_calls": None} for role, content in turns]


def pairs(*rows: tuple[str, str, str]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "id": [str(n) for n in range(len(rows))],
            "prompt": [said(("user", prompt)) for prompt, _, _ in rows],
            "chosen": [said(("assistant", chosen)) for _, chosen, _ in rows],
            "rejected": [said(("assistant", rejected)) for _, _, rejected in rows],
        },
        schema={"id": pl.String, "prompt": MESSAGES, "chosen": MESSAGES, "rejected": MESSAGES},
    ).with_columns(images=pl.lit(None, pl.List(IMAGE)))


@pytest.mark.parametrize(
    ("name", "sides", "record_type", "expected"),
    [
        ("chat_quality", ("completion",), RecordType.SFT, ("completion",)),
        ("chat_quality", ("completion",), RecordType.PREFERENCE, ("chosen",)),
        ("chat_quality", ("completion", "chosen"), RecordType.PREFERENCE, ("chosen",)),
        ("language", ("prompt", "completion"), RecordType.PREFERENCE, ("prompt", "chosen")),
        ("language", ("completion",), RecordType.PROMPT, ("prompt",)),
        ("image_quality", ("completion",), RecordType.PROMPT, ("prompt",)),
    ],
)
def test_a_filter_judges_what_is_to_be_learnt(
    name: str, sides: tuple[Side, ...], record_type: RecordType, expected: tuple[Side, ...]
) -> None:
    assert sides_for(name, sides, record_type) == expected


@pytest.mark.parametrize(
    ("name", "sides", "record_type"),
    [
        ("toxicity", ("completion",), RecordType.PROMPT),
        ("clip", ("completion",), RecordType.PROMPT),
        ("language", ("rejected",), RecordType.UNPAIRED),
    ],
)
def test_a_side_that_the_rows_do_not_have_is_an_error(
    name: str, sides: tuple[Side, ...], record_type: RecordType
) -> None:
    with pytest.raises(RecipeError, match=f"{name} judges the side {sides[0]}"):
        sides_for(name, sides, record_type)


def test_a_pair_and_its_opposite_are_compared_as_the_same_texts() -> None:
    rows = pairs(("Open?", "At nine.", "No idea."), ("Open?", "No idea.", "At nine."))
    assert texts(rows, RecordType.PREFERENCE, exactly=False)["reply"].n_unique() == 1


def test_a_prompt_is_its_last_turn_and_what_stands_before_it_without_the_system() -> None:
    prompt = said(("system", "Be kind."), ("user", "Open?"), ("assistant", "At nine."), ("user", "On Sundays?"))
    rows = pl.DataFrame(
        {"id": ["a", "b"], "prompt": [prompt, said(("user", "Open?"))]}, schema={"id": pl.String, "prompt": MESSAGES}
    )
    rows = conform(rows.with_columns(source=pl.lit("s"), group=pl.lit("g")), RecordType.PROMPT)
    assert texts(rows, RecordType.PROMPT, exactly=False).rows() == [
        ("a", "On Sundays?", "Open?\nAt nine."),
        ("b", "Open?", ""),
    ]


def test_pairs_are_as_alike_as_the_less_alike_of_their_sides() -> None:
    rows = pairs(("Q", LONG, "No idea."), ("Q", LONG, "Read page nine of it."), ("Q", "No idea.", LONG))
    edges = pl.DataFrame(
        {"left": ["0", "0"], "right": ["1", "2"], "similarity": [0.97, 1.0]},
        schema_overrides={"similarity": pl.Float32},
    )
    assert by_sides(edges, rows).rows() == [("0", "1", 0.0), ("0", "2", 1.0)]
    clusters = pl.DataFrame({"id": ["0", "2"], "cluster": ["0", "0"]})
    assert orientation(rows, clusters).rows() == [("0", True), ("2", False)]


def test_pairs_of_two_ways_to_write_one_text_have_only_equal_duplicates() -> None:
    rows = pairs(("Q", LONG, f"Sure! {LONG}"), ("Q", f"Here: {LONG}", LONG), ("Q", LONG, f"Sure! {LONG}"))
    edges = pl.DataFrame(
        {"left": ["0", "0"], "right": ["1", "2"], "similarity": [0.99, 1.0]},
        schema_overrides={"similarity": pl.Float32},
    )
    assert by_sides(edges, rows).rows() == [("0", "1", 0.0), ("0", "2", 1.0)]


def test_an_edit_keeps_what_is_not_text_and_names_a_value_once_in_a_row() -> None:
    call = '[{"function":{"name":"find","arguments":{}}}]'
    answer = [{"role": "assistant", "content": None, "tool_calls": call}, *said(("tool", "ok"), ("assistant", ""))]
    rows = pl.DataFrame(
        {
            "id": ["a", "b"],
            "source": "s",
            "group": "g",
            "prompt": [said(("user", "I am a@example.com \ufffc")), said(("user", "I am b@example.com"))],
            "chosen": [answer, said(("assistant", "Hello b@example.com"))],
            "rejected": [said(("assistant", "Who is a@example.com?")), said(("assistant", "Hello"))],
        },
        schema_overrides=dict.fromkeys(("prompt", "chosen", "rejected"), MESSAGES),
    )
    rows = conform(rows, RecordType.PREFERENCE)
    found, touched = edited(rows, RecordType.PREFERENCE, [Unicode().build(), PersonalData().build()])
    assert found["prompt"].list.first().struct.field("content").to_list() == ["I am <EMAIL_1> \ufffc", "I am <EMAIL_1>"]
    assert found["chosen"][0].to_list() == answer
    assert found["rejected"].list.first().struct.field("content").to_list() == ["Who is <EMAIL_1>?", "Hello"]
    assert found["touched"].to_list() == [["personal_data.email:2"], ["personal_data.email:2"]]
    assert touched == {"personal_data.email": 4}
