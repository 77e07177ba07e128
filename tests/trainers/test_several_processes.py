"""Two processes on the CPU, over gloo, learn what one learns from the same rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from prefdata.errors import PrefdataError
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
OWN: dict[str, dict[str, Any]] = {"kto": {"loss_type": "apo_zero_unpaired"}, "dpo": {}, "sft": {}, "reward": {}}
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


def job(model: Path, method: str, output: str, settings: dict[str, Any]) -> dict[str, Any]:
    return {
        "method": method,
        "model": str(model),
        "output": output,
        "rows": f"{method}.parquet",
        "held_out": f"{method}_held_out.parquet",
        "settings": {**QUICK, **OWN[method], **settings},
    }


def compare(
    forge: Any, folder: Path, model: Path, cases: dict[str, tuple[str, dict[str, Any]]], **environment: str
) -> None:
    """Trains with two processes and with one over the same updates, and holds curves and weights to each other.

    One process takes two micro-batches for an update where two take one each.
    """
    from safetensors.numpy import load_file

    two = [job(model, method, f"two_{name}", settings) for name, (method, settings) in cases.items()]
    one = [
        job(model, method, f"one_{name}", {**settings, "gradient_accumulation": 2})
        for name, (method, settings) in cases.items()
    ]
    assert forge.run(folder, two, processes=2, environment=environment) == [0, 0], told(folder)
    assert forge.run(folder, one) == [0], told(folder)
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


def told(folder: Path) -> str:
    return (folder / "output.txt").read_text()[-3000:]


def losses(stage: Path) -> list[float]:
    return [entry["loss"] for entry in json.loads((stage / "metrics.json").read_text())]


def test_two_processes_learn_what_one_learns_from_the_same_rows(
    forge: Any, jobs_folder: Path, tiny_model: Path
) -> None:
    compare(forge, jobs_folder, tiny_model, {"kto": ("kto", {})})
    record = read_stage(jobs_folder / "two_kto").record
    assert record["spread"] == "ddp"
    assert record["canary"] == {"expected": 0.5, "found": 0.5}
    assert record["metrics"]["after"] == read_stage(jobs_folder / "one_kto").record["metrics"]["after"]


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("environment", [{}, FSDP2], ids=["ddp", "fsdp2"])
@pytest.mark.parametrize("method", list(OWN))
def test_every_method_learns_the_same_however_the_weights_are_spread(
    forge: Any, jobs_folder: Path, tiny_model: Path, method: str, environment: dict[str, str]
) -> None:
    compare(forge, jobs_folder, tiny_model, {"lora": (method, {}), "full": (method, FULL)}, **environment)
    assert read_stage(jobs_folder / "two_full").record["spread"] == ("fsdp2" if environment else "ddp")


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("environment", [{}, FSDP2], ids=["ddp", "fsdp2"])
def test_a_run_of_two_processes_that_was_killed_ends_in_the_same_weights(
    forge: Any, jobs_folder: Path, tiny_model: Path, environment: dict[str, str]
) -> None:
    whole, cut = (job(tiny_model, "dpo", name, FULL) for name in ("whole", "cut"))
    assert forge.run(jobs_folder, [whole], processes=2, environment=environment) == [0, 0], told(jobs_folder)
    place = "trainers.callbacks:Bar.on_step_end:3"
    codes = forge.run(jobs_folder, [cut], processes=2, environment=environment, kill_at=place)
    assert codes[0] == -9
    assert (jobs_folder / "cut" / "checkpoints" / "checkpoint-2").is_dir()
    assert forge.run(jobs_folder, [cut], processes=2, environment=environment) == [0, 0], told(jobs_folder)
    assert read_stage(jobs_folder / "cut").record["files"] == read_stage(jobs_folder / "whole").record["files"]


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("config", ["ddp_cpu", "fsdp2_cpu"])
def test_accelerate_launches_what_the_shipped_files_say(
    jobs_folder: Path, tiny_model: Path, config: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trainers.launching import launch

    monkeypatch.setenv("PYTHONPATH", str(HERE))
    (jobs_folder / "jobs.json").write_text(json.dumps([job(tiny_model, "kto", "stage", {})]))
    launch("forge", [str(jobs_folder)], config=config, processes=2)
    assert read_stage(jobs_folder / "stage").record["spread"] == config.removesuffix("_cpu")


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_what_stops_a_process_is_told_in_one_line_with_its_exit_code(
    jobs_folder: Path, tiny_model: Path, support_rows: pl.DataFrame, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    from trainers.launching import launch

    monkeypatch.setenv("PYTHONPATH", str(HERE))
    support_rows.filter("label").write_parquet(jobs_folder / "kto.parquet")
    (jobs_folder / "jobs.json").write_text(json.dumps([job(tiny_model, "kto", "stage", {})]))
    with pytest.raises(PrefdataError, match="12 desirable and 0 undesirable") as caught:
        launch("forge", [str(jobs_folder)], config="ddp_cpu")
    assert caught.value.exit_code == 3
    assert "Traceback" not in capfd.readouterr().err
