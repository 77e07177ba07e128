"""Real pairs and a real log in every format that holds their type, through files, and back again."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

import prefdata
from prefdata import catalogue
from prefdata.formats.core import identify
from prefdata.formats.export import write_export
from prefdata.formats.files import read_frames
from prefdata.formats.hh_rlhf import HhRlhf
from prefdata.schema import SCHEMAS, RecordType, conform

WRITERS = {
    kind: [name for name in catalogue.FORMATS if kind in catalogue.load("format", name).writes] for kind in RecordType
}

REFUSED_PAIRS = {
    "verl": {"multi_turn_prompt": 1645},
    "llamafactory": {"not_alternating": 4},
    "swift": {"repeated_role": 4},
}
"""What a target does not take of the 2,303 pairs: verl holds one turn, and four conversations have two
turns of one side in a row."""


REFUSED_TURNS: dict[str, dict[str, int]] = {}
"""Nothing: bursts are one turn, so that the turns of a log alternate."""


@pytest.fixture(scope="module")
def pairs(shared_data: Callable[[str], Path]) -> pl.DataFrame:
    with gzip.open(shared_data("hh_rlhf") / "test.jsonl.gz", "rt", encoding="utf-8") as file:
        frame = pl.DataFrame([json.loads(line) for line in file])
    read = HhRlhf().decode(frame, RecordType.PREFERENCE).rows
    return identify(read, RecordType.PREFERENCE, source="hh_rlhf")


@pytest.fixture(scope="module")
def turns(shared_data: Callable[[str], Path]) -> pl.DataFrame:
    log = prefdata.read_log(
        shared_data("abcd") / "abcd_sample.json",
        layout="conversations",
        columns={"session": "convo_id"},
        messages="original",
        message={"role": "0", "text": "1"},
        roles={"tool": ["action"]},
        labels={"method": "rules"},
    )
    return conform(
        log.rows.select(name for name in SCHEMAS[RecordType.SFT] if name in log.rows.columns), RecordType.SFT
    )


def back(name: str, rows: pl.DataFrame, kind: RecordType, folder: Path) -> tuple[pl.DataFrame, dict[str, int]]:
    fmt = catalogue.load("format", name)()
    told = write_export(fmt, {"train": rows}, kind, folder)
    chunks = read_frames(folder / next(iter(told["files"])))
    read = [fmt.decode(chunk.frame, kind) for chunk in chunks]
    assert sum(one.refused.height for one in read) == 0
    return pl.concat([one.rows for one in read]), told["refused"]


@pytest.mark.parametrize("name", WRITERS[RecordType.PREFERENCE])
def test_pairs_come_back_as_they_went(name: str, pairs: pl.DataFrame, tmp_path: Path) -> None:
    read, refused = back(name, pairs, RecordType.PREFERENCE, tmp_path)
    assert refused == REFUSED_PAIRS.get(name, {})
    assert read.height + sum(refused.values()) == pairs.height
    sides = ["prompt", "chosen", "rejected"]
    if refused:
        assert read.select(sides).join(pairs.select(sides), on=sides, how="anti", nulls_equal=True).height == 0
    else:
        assert read.select(sides).equals(pairs.select(sides))


@pytest.mark.parametrize("name", WRITERS[RecordType.SFT])
def test_turns_of_a_real_log_come_back_as_they_went(name: str, turns: pl.DataFrame, tmp_path: Path) -> None:
    assert turns.height == 21
    read, refused = back(name, turns, RecordType.SFT, tmp_path)
    sides = ["prompt", "completion"]
    assert read.height + sum(refused.values()) == turns.height
    assert read.select(sides).join(turns.select(sides), on=sides, how="anti", nulls_equal=True).height == 0
    assert refused == REFUSED_TURNS.get(name, {})


def test_the_pairs_that_a_format_refuses_are_those_that_a_count_finds(pairs: pl.DataFrame) -> None:
    roles = [[turn["role"] for turn in prompt] for prompt in pairs["prompt"].to_list()]
    assert sum(len(one) > 1 for one in roles) == 1645
    assert sum(one != (["user", "assistant"] * len(one))[: len(one)] or len(one) % 2 == 0 for one in roles) == 4
