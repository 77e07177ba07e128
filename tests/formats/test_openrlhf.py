"""OpenRLHF's files: input and output, pairs with or without their prompt, prompts with label, pictures and source."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from canonical_rows import framed, turn

from prefdata.conversion import convert
from prefdata.formats.core import json_texts
from prefdata.formats.messages import MARK
from prefdata.formats.openrlhf import OpenRlhf
from prefdata.schema import RecordType

ASK = {"role": "user", "content": "q"}
GOOD = {"role": "assistant", "content": "good"}
BAD = {"role": "assistant", "content": "bad"}
PAIR = {
    "prompt": [turn("user", "q")],
    "chosen": [turn("assistant", "good")],
    "rejected": [turn("assistant", "bad")],
    "margin": 2.0,
}


def written(made: dict[str, Any], record_type: RecordType, form: OpenRlhf | None = None) -> Any:
    frame = framed([made], record_type, source="shop")
    [text] = json_texts((form or OpenRlhf()).encode(frame, record_type).rows)
    return json.loads(text)


def test_sft_has_messages_on_both_keys() -> None:
    made = {"prompt": [turn("user", "q")], "completion": [turn("assistant", "good")]}
    assert written(made, RecordType.SFT) == {"input": [ASK], "output": [GOOD]}


def test_pairs_have_their_prompt_or_are_whole_conversations() -> None:
    assert written(PAIR, RecordType.PREFERENCE) == {
        "prompt": [ASK],
        "chosen": [GOOD],
        "rejected": [BAD],
        "margin": 2.0,
    }
    row = written(PAIR, RecordType.PREFERENCE, OpenRlhf(whole=True))
    assert row == {"chosen": [ASK, GOOD], "rejected": [ASK, BAD], "margin": 2.0}
    rows = OpenRlhf().decode(pl.DataFrame([row]), RecordType.PREFERENCE).rows
    assert rows.select("prompt", "chosen", "rejected", "margin").to_dicts() == [PAIR]


def test_prompts_have_tags_for_pictures_and_say_their_source() -> None:
    image = {"uri": "cat.jpg", "side": "prompt", "message": 0, "part": 0}
    made = {"prompt": [turn("user", f"{MARK}what?")], "answer": "a cat", "images": [image]}
    row = written(made, RecordType.PROMPT)
    assert row == {
        "input": [{"role": "user", "content": "<image>what?"}],
        "label": "a cat",
        "images": ["cat.jpg"],
        "datasource": "shop",
    }
    rows = OpenRlhf().decode(pl.DataFrame([row]), RecordType.PROMPT).rows
    assert rows.select("prompt", "answer", "images", "meta").to_dicts() == [made | {"meta": '{"datasource":"shop"}'}]


def test_a_literal_tag_in_a_prompt_is_refused() -> None:
    frame = framed([{"prompt": [turn("user", "what is <image>?")]}], RecordType.PROMPT)
    assert OpenRlhf().encode(frame, RecordType.PROMPT).refused["reasons"].to_list() == [["literal_image_tag"]]


@pytest.mark.parametrize(
    ("row", "record_type"),
    [
        ({"input": "q", "output": "a"}, RecordType.SFT),
        ({"input": [ASK], "output": [GOOD]}, RecordType.SFT),
        ({"input": "q", "output": "a", "label": True}, RecordType.UNPAIRED),
        ({"input": [ASK], "label": "42"}, RecordType.PROMPT),
        ({"prompt": [ASK], "chosen": [GOOD], "rejected": [BAD]}, RecordType.PREFERENCE),
    ],
)
def test_files_are_known_by_their_keys(row: dict[str, Any], record_type: RecordType) -> None:
    frame = pl.DataFrame([row])
    assert [match.type for match in OpenRlhf().recognise(frame)] == [record_type]
    assert OpenRlhf().decode(frame, record_type).rows.height == 1
    assert OpenRlhf().recognise(frame.with_columns(instruction=pl.lit("i"))) == [] or "input" not in row


def test_kto_is_read_but_not_written() -> None:
    assert RecordType.UNPAIRED not in OpenRlhf.writes
    frame = pl.DataFrame([{"input": "q", "output": "a", "label": "false"}])
    assert OpenRlhf().decode(frame, RecordType.UNPAIRED).refused["reasons"].to_list() == [["ambiguous_label"]]


def test_real_pairs_go_both_ways(shared_data: Any, tmp_path: Path) -> None:
    there = convert(shared_data("hh_rlhf"), to="openrlhf", out=tmp_path / "a", settings={"whole": True})
    back = convert(tmp_path / "a", to="trl", out=tmp_path / "b", source="openrlhf")
    assert (there.written, back.written) == (2303, 2303)
