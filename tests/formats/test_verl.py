"""verl's Parquet: text alone for pairs, tags for pictures, and prompts with the reward that is to be asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from canonical_rows import framed, turn

from prefdata.conversion import convert
from prefdata.formats.messages import MARK
from prefdata.formats.verl import Verl
from prefdata.schema import RecordType

IMAGE = {"uri": "cat.jpg", "side": "prompt", "message": 0, "part": 0}


def encoded(made: list[dict[str, Any]], record_type: RecordType, form: Verl | None = None) -> Any:
    return (form or Verl()).encode(framed(made, record_type, source="shop"), record_type)


def test_prompts_name_the_source_the_reward_and_the_row() -> None:
    frame = framed([{"prompt": [turn("user", "6 x 7?")], "answer": "42"}], RecordType.PROMPT, source="shop")
    rows = Verl(ability="math", split="test").encode(frame, RecordType.PROMPT).rows
    assert rows.to_dicts() == [
        {
            "data_source": "shop",
            "prompt": [{"role": "user", "content": "6 x 7?"}],
            "ability": "math",
            "reward_model": {"style": "rule", "ground_truth": "42"},
            "extra_info": {"split": "test", "index": frame["id"][0]},
        }
    ]
    assert [match.type for match in Verl().recognise(rows)] == [RecordType.PROMPT]
    back = Verl().decode(rows, RecordType.PROMPT).rows
    assert back["answer"].to_list() == ["42"]


def test_a_prompt_without_an_answer_asks_a_reward_model() -> None:
    rows = encoded([{"prompt": [turn("user", "q")]}], RecordType.PROMPT).rows
    assert rows["reward_model"].to_list() == [{"style": "model", "ground_truth": None}]


def test_pictures_are_tags_and_every_row_has_the_column() -> None:
    made = [
        {"prompt": [turn("user", f"{MARK}what?")], "completion": [turn("assistant", "a cat")], "images": [IMAGE]},
        {"prompt": [turn("user", "what?")], "completion": [turn("assistant", "who knows")]},
    ]
    rows = encoded(made, RecordType.SFT).rows
    assert rows["images"].to_list() == [[{"image": "cat.jpg"}], []]
    assert rows["messages"].to_list()[0] == [
        {"role": "user", "content": "<image>what?"},
        {"role": "assistant", "content": "a cat"},
    ]
    assert Verl().decode(rows, RecordType.SFT).rows["images"].to_list() == [[IMAGE], None]


def test_pairs_are_text() -> None:
    made = {
        "prompt": [turn("user", "q")],
        "chosen": [turn("assistant", "good")],
        "rejected": [turn("assistant", "bad")],
    }
    assert encoded([made], RecordType.PREFERENCE).rows.to_dicts() == [
        {"prompt": "q", "chosen": "good", "rejected": "bad"}
    ]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"prompt": [turn("system", "s"), turn("user", "q")]}, ["system_prompt"]),
        ({"prompt": [turn("user", "a"), turn("assistant", "b"), turn("user", "c")]}, ["multi_turn_prompt"]),
        ({"rejected": [turn("assistant", " good\n")]}, ["equal_sides"]),
        ({"tools": "[]"}, ["tool_definitions"]),
        ({"prompt": [turn("user", MARK)], "images": [IMAGE]}, ["images"]),
    ],
)
def test_pairs_are_one_turn_and_differ(change: dict[str, Any], expected: list[str]) -> None:
    made = {
        "prompt": [turn("user", "q")],
        "chosen": [turn("assistant", "good")],
        "rejected": [turn("assistant", "bad")],
    }
    assert encoded([made | change], RecordType.PREFERENCE).refused["reasons"].to_list() == [expected]


@pytest.mark.parametrize(
    ("text", "images", "expected"),
    [("a <image> tag", None, "literal_image_tag"), (f"{MARK} and a <video>", [IMAGE], "literal_media_tag")],
)
def test_literal_tags_are_refused(text: str, images: list[Any] | None, expected: str) -> None:
    made = {"prompt": [turn("user", text)], "completion": [turn("assistant", "a")], "images": images}
    assert encoded([made], RecordType.SFT).refused["reasons"].to_list() == [[expected]]


def test_real_pairs_of_one_turn_go_both_ways(shared_data: Any, tmp_path: Path) -> None:
    there = convert(shared_data("hh_rlhf"), to="verl", out=tmp_path / "a")
    assert (there.written, there.refused_writing) == (658, {"multi_turn_prompt": 1645})
    back = convert(tmp_path / "a", to="trl", out=tmp_path / "b")
    assert (back.source, back.same, back.written) == ("trl", ("verl",), 658)
    assert pl.read_parquet(tmp_path / "b" / "test.parquet").columns == ["prompt", "chosen", "rejected"]
