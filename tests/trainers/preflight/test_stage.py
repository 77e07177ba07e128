"""A stage of training is examined before its first step: it stops, or tells what was found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from planted import frame, pairs

from prefdata.errors import InputError
from prefdata.schema import RecordType
from trainers.dpo import train_dpo

ROWS = frame(
    RecordType.PREFERENCE, [*pairs(4), *[{**one, "chosen": "word " * 200 + str(at)} for at, one in enumerate(pairs(6))]]
)


def test_a_critical_finding_stops_the_stage_before_anything_is_written(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"dpo: preflight stops here: too_long: .*6 of 10 rows.*insist: \[too_long\]"):
        train_dpo(ROWS, model=tiny_model, output_dir=tmp_path / "dpo", max_length=128, insist=("no_sft",))
    assert not (tmp_path / "dpo").exists()


def test_insisting_trains_and_the_findings_stand_in_the_record(tiny_model: Path, tmp_path: Path) -> None:
    stage = train_dpo(
        ROWS,
        model=tiny_model,
        output_dir=tmp_path / "dpo",
        max_length=128,
        max_steps=1,
        per_device_batch=4,
        gradient_accumulation=1,
        save_steps=0,
        samples=0,
        insist=("no_sft", "too_long"),
    )
    told = json.loads((stage.folder / "stage.json").read_text(encoding="utf-8"))["preflight"]
    assert (told["rows"], told["total"], told["counts"]["critical"]) == (4, 10, 1)
    assert told["findings"][0]["check"] == "too_long"
    assert told["findings"][0]["ids"] == [f"r{at:02d}" for at in range(4, 10)]
