"""A stage is measured anew where only that was asked anew: its weights stay, and so does what is built on them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest

pytest.importorskip("trl", reason="needs the extra `train`")
from trainers import loop, measuring
from trainers.job import Stage, read_stage, trained_hash
from trainers.kto import train_kto
from trainers.reward import train_reward
from trainers.start import open_start

pytestmark = [pytest.mark.train, pytest.mark.usefixtures("one_thread")]

QUICK: dict[str, Any] = {
    "learning_rate": 1e-2,
    "lora_r": 4,
    "lora_alpha": 8,
    "per_device_batch": 4,
    "gradient_accumulation": 1,
    "max_steps": 2,
    "max_length": 128,
    "save_steps": 0,
    "samples": 2,
    "sample_tokens": 4,
    "n_bootstrap": 20,
    "report_to": (),
}


def kto(folder: Path, rows: dict[str, pl.DataFrame], model: Path, **options: Any) -> Stage:
    return train_kto(rows["rows"], rows["held_out"], model=model, output_dir=folder, **{**QUICK, **options})


def reward(folder: Path, rows: dict[str, pl.DataFrame], model: Path, **options: Any) -> Stage:
    given = {**QUICK, "tuner": "full", **options}
    return train_reward(rows["pairs"], rows["held_out_pairs"], model=model, output_dir=folder, **given)


@pytest.fixture
def rows(
    support_rows: pl.DataFrame,
    held_out_rows: pl.DataFrame,
    support_pairs: pl.DataFrame,
    held_out_pairs: pl.DataFrame,
) -> dict[str, pl.DataFrame]:
    return {
        "rows": support_rows,
        "held_out": held_out_rows,
        "pairs": support_pairs,
        "held_out_pairs": held_out_pairs,
    }


@pytest.mark.parametrize("trained", [kto, reward])
def test_another_measuring_trains_nothing_and_the_first_one_finds_what_it_found(
    tiny_model: Path, tmp_path: Path, rows: dict[str, pl.DataFrame], monkeypatch: pytest.MonkeyPatch, trained: Any
) -> None:
    first = trained(tmp_path / "s", rows, tiny_model)
    monkeypatch.setattr(loop, "run", None)  # trained anew, it would be called
    other = trained(tmp_path / "s", rows, tiny_model, n_bootstrap=5, samples=1, max_evaluation_rows=6)
    assert (other.record["key"], trained_hash(other.record)) == (first.record["key"], trained_hash(first.record))
    assert (first.metrics["after"]["rows"], other.metrics["after"]["rows"]) == (10, 6)
    assert (other.record["settings"]["n_bootstrap"], other.record["evaluation"]["rows"]) == (5, 6)
    assert pl.read_parquet(tmp_path / "s" / "eval_rewards.parquet").height == 6
    assert read_stage(tmp_path / "s").record == other.record
    assert trained(tmp_path / "s", rows, tiny_model).record == first.record


def test_held_out_rows_come_and_go_and_a_later_stage_still_stands_on_its_start(
    tiny_model: Path, tmp_path: Path, rows: dict[str, pl.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    none = {**rows, "held_out": rows["held_out"].clear()}
    first = kto(tmp_path / "one", none, tiny_model)
    kto(tmp_path / "two", none, tmp_path / "one")
    monkeypatch.setattr(loop, "run", None)
    real = measuring.measured_after
    monkeypatch.setattr(loop, "measured_after", lambda *_: 1 / 0)  # as if it was killed
    with pytest.raises(ZeroDivisionError):
        kto(tmp_path / "one", rows, tiny_model)
    monkeypatch.setattr(loop, "measured_after", real)
    measured = kto(tmp_path / "one", rows, tiny_model)
    assert measured.metrics["after"]["rows"] == 10
    assert len(open_start(tmp_path / "two").parents) == 2
    assert kto(tmp_path / "one", none, tiny_model).record == first.record
    assert not (tmp_path / "one" / "eval_rewards.parquet").exists()
    shutil.rmtree(tmp_path / "one" / "adapter")
    with pytest.raises(TypeError):
        kto(tmp_path / "one", none, tiny_model)  # without its weights it is trained
