"""Two processes on the CPU, over gloo, learn what one learns from the same rows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from prefdata.errors import PrefdataError
from prefdata.schema import RecordType, conform
from trainers.job import read_stage

pytestmark = pytest.mark.train

HERE = Path(__file__).parent
QUICK: dict[str, Any] = {
    "learning_rate": 1e-2,
    "lora_r": 4,
    "lora_alpha": 8,
    "per_device_batch": 2,
    "gradient_accumulation": 1,
    "max_steps": 4,
    "max_length": 128,
    "save_steps": 2,
    "sample_tokens": 4,
    "samples": 1,
    "n_bootstrap": 100,
}
FULL = {"tuner": "full", "learning_rate": 1e-3}
OWN: dict[str, dict[str, Any]] = {"kto": {"loss_type": "apo_zero_unpaired"}, "dpo": {}, "sft": {}}
"""KTO's own loss estimates its KL term over all processes at once, so the other loss shows what is equal."""
FSDP2 = {
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
    "FSDP_RESHARD_AFTER_FORWARD": "true",
    "FSDP_STATE_DICT_TYPE": "SHARDED_STATE_DICT",
    "FSDP_CPU_RAM_EFFICIENT_LOADING": "false",
}
"""What `accelerate launch` makes of recipes/accelerate/fsdp2_cpu.yaml."""


@pytest.fixture
def folder(
    tmp_path: Path,
    support_rows: pl.DataFrame,
    held_out_rows: pl.DataFrame,
    support_pairs: pl.DataFrame,
    held_out_pairs: pl.DataFrame,
) -> Path:
    """Rows for every method."""
    made = {"kto": (support_rows, held_out_rows), "dpo": (support_pairs, held_out_pairs)}
    made["sft"] = (answered(support_pairs), answered(held_out_pairs))
    for method, (rows, held_out) in made.items():
        rows.write_parquet(tmp_path / f"{method}.parquet")
        held_out.write_parquet(tmp_path / f"{method}_held_out.parquet")
    return tmp_path


def answered(frame: pl.DataFrame) -> pl.DataFrame:
    return conform(frame.drop("rejected", "margin").rename({"chosen": "completion"}), RecordType.SFT)


def job(model: Path, method: str, output: str, settings: dict[str, Any]) -> dict[str, Any]:
    return {
        "method": method,
        "model": str(model),
        "output": output,
        "rows": f"{method}.parquet",
        "held_out": f"{method}_held_out.parquet",
        "settings": {**QUICK, **OWN[method], **settings},
    }


def compare(folder: Path, model: Path, cases: dict[str, tuple[str, dict[str, Any]]], **environment: str) -> None:
    """Trains with two processes and with one over the same updates, and holds curves and weights to each other.

    One process takes two micro-batches for an update where two take one each.
    """
    from safetensors.numpy import load_file

    two = [job(model, method, f"two_{name}", settings) for name, (method, settings) in cases.items()]
    one = [
        job(model, method, f"one_{name}", {**settings, "gradient_accumulation": 2})
        for name, (method, settings) in cases.items()
    ]
    (folder / "jobs.json").write_text(json.dumps(two))
    (folder / "alone.json").write_text(json.dumps(one))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FSDP_", "ACCELERATE_"))}
    done = subprocess.run(
        [sys.executable, str(HERE / "launched_worker.py"), str(folder), "forked"],
        env={**kept, "OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for name in cases:
        alone, both = read_stage(folder / f"one_{name}"), read_stage(folder / f"two_{name}")
        assert losses(both.folder) == pytest.approx(losses(alone.folder), abs=1e-5), name
        assert (alone.record["processes"], both.record["processes"]) == (1, 2)
        assert sorted(both.record["files"]) == sorted(alone.record["files"])
        assert not (both.folder / "checkpoints").exists()
        for file in sorted(alone.trained.glob("*.safetensors")):
            weights = load_file(both.trained / file.name)
            for part, weight in load_file(file).items():
                assert weights[part] == pytest.approx(weight, abs=2e-4), (name, part)


def losses(stage: Path) -> list[float]:
    return [entry["loss"] for entry in json.loads((stage / "metrics.json").read_text())]


def test_two_processes_learn_what_one_learns_from_the_same_rows(folder: Path, tiny_model: Path) -> None:
    compare(folder, tiny_model, {"kto": ("kto", {}), "dpo": ("dpo", {}), "sft": ("sft", {})})
    record = read_stage(folder / "two_kto").record
    assert record["spread"] == "ddp"
    assert record["canary"] == {"expected": 0.5, "found": 0.5}
    assert record["metrics"]["after"] == read_stage(folder / "one_kto").record["metrics"]["after"]


@pytest.mark.slow
@pytest.mark.parametrize("environment", [{}, FSDP2], ids=["ddp", "fsdp2"])
def test_every_method_learns_the_same_however_the_weights_are_spread(
    folder: Path, tiny_model: Path, environment: dict[str, str]
) -> None:
    cases = {f"{method}_lora": (method, {}) for method in OWN} | {f"{method}_full": (method, FULL) for method in OWN}
    compare(folder, tiny_model, cases, **environment)
    assert read_stage(folder / "two_sft_full").record["spread"] == ("fsdp2" if environment else "ddp")


@pytest.mark.slow
@pytest.mark.parametrize("config", ["ddp_cpu", "fsdp2_cpu"])
def test_accelerate_launches_what_the_shipped_files_say(
    folder: Path, tiny_model: Path, config: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trainers.launching import launch

    monkeypatch.setenv("PYTHONPATH", str(HERE))
    (folder / "jobs.json").write_text(json.dumps([job(tiny_model, "kto", "stage", {})]))
    launch("launched_worker", [str(folder)], config=config, processes=2)
    assert read_stage(folder / "stage").record["spread"] == config.removesuffix("_cpu")


@pytest.mark.slow
def test_what_stops_a_process_is_told_in_one_line_with_its_exit_code(
    folder: Path, tiny_model: Path, support_rows: pl.DataFrame, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    from trainers.launching import launch

    monkeypatch.setenv("PYTHONPATH", str(HERE))
    support_rows.filter("label").write_parquet(folder / "kto.parquet")
    (folder / "jobs.json").write_text(json.dumps([job(tiny_model, "kto", "stage", {})]))
    with pytest.raises(PrefdataError, match="12 desirable and 0 undesirable") as caught:
        launch("launched_worker", [str(folder)], config="ddp_cpu")
    assert caught.value.exit_code == 3
    assert "Traceback" not in capfd.readouterr().err
