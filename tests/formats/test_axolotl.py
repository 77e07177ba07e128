"""Axolotl's files: whether a turn is trained on, pictures as parts with their address, text alone for KTO, its YAML."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from canonical_rows import framed, turn

from prefdata.conversion import convert
from prefdata.formats.axolotl import Axolotl
from prefdata.formats.core import json_texts
from prefdata.formats.messages import MARK
from prefdata.schema import RecordType


def written(made: dict[str, Any], record_type: RecordType) -> Any:
    [text] = json_texts(Axolotl().encode(framed([made], record_type), record_type).rows)
    return json.loads(text)


def reasons(made: dict[str, Any], record_type: RecordType) -> list[list[str]]:
    found: list[list[str]] = Axolotl().encode(framed([made], record_type), record_type).refused["reasons"].to_list()
    return found


def test_turns_before_the_answer_are_not_trained_on() -> None:
    made = {
        "prompt": [turn("user", "a"), turn("assistant", "b"), turn("user", "c")],
        "completion": [turn("assistant", "d")],
    }
    assert written(made, RecordType.SFT) == {
        "messages": [
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": "b", "train": False},
            {"role": "user", "content": "c"},
            {"role": "assistant", "content": "d"},
        ]
    }


def test_pictures_are_parts_under_the_key_of_their_address() -> None:
    uris = ["cat.jpg", "https://example.org/1.jpg", "data:image/png;base64,iVBORw0KGgo="]
    made = {
        "prompt": [turn("user", f"{MARK}and{MARK}{MARK}?")],
        "completion": [turn("assistant", "cats")],
        "images": [
            {"uri": uri, "side": "prompt", "message": 0, "part": part}
            for uri, part in zip(uris, (0, 2, 3), strict=True)
        ],
    }
    row = written(made, RecordType.SFT)
    assert row["messages"][0]["content"] == [
        {"type": "image", "path": "cat.jpg"},
        {"type": "text", "text": "and"},
        {"type": "image", "url": "https://example.org/1.jpg"},
        {"type": "image", "base64": "data:image/png;base64,iVBORw0KGgo="},
        {"type": "text", "text": "?"},
    ]
    assert reasons(made | {"label": True}, RecordType.UNPAIRED) == [["images"]]


def test_pairs_have_one_message_a_side() -> None:
    made = {
        "prompt": [turn("system", "s"), turn("user", "q")],
        "chosen": [turn("assistant", "good")],
        "rejected": [turn("assistant", "bad")],
    }
    row = written(made, RecordType.PREFERENCE)
    assert row == {
        "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}],
        "chosen": {"role": "assistant", "content": "good"},
        "rejected": {"role": "assistant", "content": "bad"},
    }
    rows = Axolotl().decode(pl.DataFrame([row]), RecordType.PREFERENCE).rows
    assert rows["prompt"].to_list() == [made["prompt"]]
    assert rows["rejected"].to_list() == [made["rejected"]]


def test_answers_of_pairs_may_be_plain_text_or_whole_conversations() -> None:
    talk = [{"role": "user", "content": "q"}]
    text = pl.DataFrame([{"messages": talk, "chosen": "good", "rejected": "bad"}])
    sides = {"chosen": [*talk, {"role": "assistant", "content": "good"}]}
    sides |= {"rejected": [*talk, {"role": "assistant", "content": "bad"}]}
    for frame in (text, pl.DataFrame([sides])):
        rows = Axolotl().decode(frame, RecordType.PREFERENCE).rows
        assert rows["prompt"].to_list() == [[turn("user", "q")]]
        assert rows["chosen"].to_list() == [[turn("assistant", "good")]]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ([turn("user", "a"), turn("assistant", "b"), turn("user", "c")], ["multi_turn_prompt"]),
        ([turn("system", "s"), turn("user", "q")], ["system_prompt"]),
        ([turn("assistant", "hello")], ["prompt_not_by_user"]),
    ],
)
def test_kto_takes_one_turn_of_text(prompt: list[Any], expected: list[str]) -> None:
    row = {"prompt": prompt, "completion": [turn("assistant", "yes")], "label": False}
    assert reasons(row, RecordType.UNPAIRED) == [expected]
    row = row | {"prompt": [turn("user", "q")]}
    assert written(row, RecordType.UNPAIRED) == {"prompt": "q", "completion": "yes", "label": False}


def test_a_label_in_words_is_refused_unless_it_is_told() -> None:
    frame = pl.DataFrame([{"prompt": "q", "completion": "a", "label": "false"}])
    assert Axolotl().decode(frame, RecordType.UNPAIRED).refused["reasons"].to_list() == [["ambiguous_label"]]
    told = Axolotl(labels={"false": False}).decode(frame, RecordType.UNPAIRED)
    assert told.rows["label"].to_list() == [False]


def test_the_yaml_names_the_files() -> None:
    text = Axolotl().beside({"train": "train.jsonl", "test": "test.jsonl"}, RecordType.PREFERENCE)
    entry = {
        "ds_type": "json",
        "split": "train",
        "type": "chat_template.default",
        "field_messages": "messages",
        "field_chosen": "chosen",
        "field_rejected": "rejected",
    }
    assert yaml.safe_load(text["axolotl_datasets.yaml"]) == {
        "rl": "dpo",
        "datasets": [{"path": "train.jsonl", **entry}],
        "test_datasets": [{"path": "test.jsonl", **entry}],
    }
    for record_type in (RecordType.SFT, RecordType.UNPAIRED):
        found = yaml.safe_load(Axolotl().beside({"test": "a.jsonl"}, record_type)["axolotl_datasets.yaml"])
        assert [one["path"] for one in found["datasets"]] == ["a.jsonl"]


def test_real_pairs_go_both_ways(shared_data: Any, tmp_path: Path) -> None:
    there = convert(shared_data("hh_rlhf"), to="axolotl", out=tmp_path / "axolotl")
    assert (there.read, there.written, there.refused_writing) == (2312, 2303, {})
    back = convert(tmp_path / "axolotl", to="trl", out=tmp_path / "trl", source="axolotl")
    straight = convert(shared_data("hh_rlhf"), to="trl", out=tmp_path / "straight")
    assert (back.written, straight.written) == (2303, 2303)
    left, right = (pl.read_parquet(tmp_path / name / "test.parquet") for name in ("trl", "straight"))
    assert left.equals(right)
