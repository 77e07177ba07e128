from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from trainers.dpo import DPOSettings, train_dpo
from trainers.job import Stage

pytestmark = [pytest.mark.train, pytest.mark.usefixtures("one_thread")]

QUICK: dict[str, Any] = {
    "learning_rate": 1e-2,
    "lora_r": 4,
    "lora_alpha": 8,
    "per_device_batch": 4,
    "gradient_accumulation": 1,
    "epochs": 2.0,
    "max_length": 128,
    "save_steps": 3,
    "sample_tokens": 4,
    "samples": 2,
    "n_bootstrap": 100,
}


@pytest.fixture(scope="module")
def stage(
    tiny_model: Path,
    tmp_path_factory: pytest.TempPathFactory,
    support_pairs: pl.DataFrame,
    held_out_pairs: pl.DataFrame,
) -> Stage:
    return train_dpo(
        support_pairs,
        held_out_pairs,
        model=tiny_model,
        output_dir=tmp_path_factory.mktemp("dpo") / "stage",
        settings=DPOSettings(**QUICK),
    )


def test_a_stage_holds_the_adapter_and_the_proof_of_what_it_learned(stage: Stage) -> None:
    record = stage.record
    assert record["canary"] == {"expected": 0.693147, "found": 0.693147}
    assert record["reference"]["largest_change"] == 0.0
    assert record["reference"]["store"]["rows"] == 32
    assert record["settings"]["beta"] == 0.1
    assert record["defaults"]["beta"].startswith("the DPO paper")
    before, after, change = (record["metrics"][name] for name in ("before", "after", "change"))
    assert before["accuracy"] == {"value": 0.5, "low": 0.5, "high": 0.5}
    assert before["margin"]["value"] == 0.0
    assert after["accuracy"]["value"] == 1.0
    assert change["accuracy"] == {"value": 0.5, "low": 0.5, "high": 0.5}
    assert change["margin"]["low"] > 0
    history = json.loads((stage.folder / "metrics.json").read_text())
    assert [entry["step"] for entry in history] == [1, 2, 3, 4, 5, 6, 7, 8]
