"""A stage that is killed, wherever that happens, ends as one that was left alone: every file of it, bit for bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from prefdata.errors import InputError
from trainers.job import read_stage
from trainers.training import clear

pytestmark = pytest.mark.train

QUICK: dict[str, Any] = {
    "learning_rate": 1e-2,
    "lora_r": 4,
    "lora_alpha": 8,
    "per_device_batch": 4,
    "gradient_accumulation": 1,
    "max_steps": 6,
    "max_length": 128,
    "save_steps": 2,
    "sample_tokens": 4,
    "samples": 2,
    "n_bootstrap": 100,
}
FULL = {"tuner": "full", "learning_rate": 1e-3}
SAMPLED = {
    "rewards": {"length": {"max": 4}},
    "num_generations": 4,
    "max_completion_length": 8,
    "probe_prompts": 2,
    "evaluation_generations": 1,
    "max_evaluation_rows": 4,
}
OWN: dict[str, dict[str, Any]] = {
    "kto": {"loss_type": "kto"},
    "dpo": {"max_steps": None, "epochs": 2.0},
    "sft": {"lora_dropout": 0.1, "epochs": 2.0, "max_steps": None},
    "reward": {},
    "grpo": SAMPLED,
    "rloo": SAMPLED,
}
PLACES = [
    "trainers.measuring:write_json:1",  # the start model was scored, but this not yet written
    "trainers.callbacks:Bar.on_step_end:1",  # before the first checkpoint
    "transformers.trainer:Trainer._save_optimizer_and_scheduler:2",  # within the second: torn
    "trainers.callbacks:Bar.on_step_end:2",  # having gone on from the first
    "trainers.callbacks:TrustedCheckpoints.on_save:2",  # all of a checkpoint is there but its manifest
    "trainers.loop:save:1",  # trained, but not saved
    "trainers.measuring:write_parquet:1",  # saved, but not scored
    "trainers.training:write_record:1",  # everything but stage.json
    "trainers.training:_tidy:1",  # finished, but not tidied up
]


def job(model: Path, method: str, output: str, settings: dict[str, Any]) -> dict[str, Any]:
    return {
        "method": method,
        "model": str(model),
        "output": output,
        "rows": f"{method}.parquet",
        "held_out": f"{method}_held_out.parquet",
        "settings": {**QUICK, **OWN[method], **settings},
    }


def curve(stage: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

    found: dict[str, list[tuple[int, float]]] = {}
    for file in sorted((stage / "tensorboard").glob("events.out.tfevents.*")):
        for event in LegacyEventFileLoader(str(file)).Load():
            for value in event.summary.value:
                if value.WhichOneof("value") == "simple_value" and not any(
                    part in value.tag for part in ("runtime", "per_second", "total_flos", "num_tokens", "step_time")
                ):
                    found.setdefault(value.tag, []).append((event.step, value.simple_value))
    return {tag: sorted(points) for tag, points in found.items()}


def kill_everywhere(
    forge: Any, folder: Path, model: Path, method: str, settings: dict[str, Any], places: list[str]
) -> None:
    whole, cut = (job(model, method, name, settings) for name in ("whole", "cut"))
    assert forge.run(folder, [whole]) == [0], told(folder)
    for place in places:
        assert forge.run(folder, [cut], kill_at=place) == [-9], (place, told(folder))
    assert forge.run(folder, [cut]) == [0], told(folder)
    same(folder)


def same(folder: Path) -> None:
    one, other = read_stage(folder / "whole"), read_stage(folder / "cut")
    assert other.record["files"] == one.record["files"]  # hashes: weights, losses, samples, held-out scores
    assert other.record == one.record
    points = curve(folder / "whole")
    assert curve(folder / "cut") == points
    assert [step for step, _ in points["train/loss"]] == list(range(1, one.record["metrics"]["steps"] + 1))
    assert not (folder / "cut" / "checkpoints").exists()
    assert not (folder / "cut" / "before.json").exists()


def told(folder: Path) -> str:
    return (folder / "output.txt").read_text()[-3000:]


@pytest.mark.parametrize("left", [None, "yesterday"])
def test_weights_of_another_stage_never_stay_beside_new_ones(tmp_path: Path, left: str | None) -> None:
    for name in ("adapter", "model", "tensorboard", "checkpoints"):
        (tmp_path / name).mkdir()
    for name in ("metrics.json", "samples.json", "eval_rewards.parquet", "before.json"):
        (tmp_path / name).write_text("[]")
    if left is not None:  # finished; else killed after its weights were saved
        (tmp_path / "stage.json").write_text(json.dumps({"key": left}))
    clear(tmp_path, "today")
    stay = {"checkpoints", "before.json"} | ({"tensorboard"} if left is None else set())
    assert {one.name for one in tmp_path.iterdir()} == stay


def test_a_run_killed_again_and_again_ends_as_one_left_alone(forge: Any, jobs_folder: Path, tiny_model: Path) -> None:
    kill_everywhere(forge, jobs_folder, tiny_model, "kto", {}, [PLACES[2], PLACES[6]])


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("tuner", ["lora", "full"])
@pytest.mark.parametrize("method", list(OWN))
def test_every_method_can_be_killed_anywhere(
    forge: Any, jobs_folder: Path, tiny_model: Path, method: str, tuner: str
) -> None:
    kill_everywhere(forge, jobs_folder, tiny_model, method, FULL if tuner == "full" else {}, PLACES)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", range(3))
def test_kills_at_any_moment_cost_no_result(forge: Any, jobs_folder: Path, tiny_model: Path, seed: int) -> None:
    import random

    settings = {"max_steps": 30, "epochs": 10.0, "save_steps": 3}
    whole, cut = (job(tiny_model, "dpo", name, settings) for name in ("whole", "cut"))
    assert forge.run(jobs_folder, [whole]) == [0], told(jobs_folder)
    moments = random.Random(seed)
    for _ in range(12):
        if forge.run(jobs_folder, [cut], kill_after=moments.uniform(0.5, 5.0)) == [0]:
            break
    assert forge.run(jobs_folder, [cut]) == [0], told(jobs_folder)
    same(jobs_folder)


def test_curves_are_cut_to_the_step_that_training_goes_on_from(tmp_path: Path) -> None:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.record_writer import RecordWriter

    from trainers.curves import keep_curves

    folder = tmp_path / "tensorboard"
    folder.mkdir()
    for at, steps in enumerate([range(1, 4), range(3, 6)]):
        with (folder / f"events.out.tfevents.000000000{at + 1}.host").open("wb") as out:
            writer = RecordWriter(out)
            for step in steps:
                event = Event(wall_time=100.0 + step, step=step)
                event.summary.value.add(tag="train/loss", simple_value=step / 2 + at)
                writer.write(event.SerializeToString())
            writer.flush()
    torn = folder / "events.out.tfevents.0000000002.host"
    torn.write_bytes(torn.read_bytes()[:-3])
    keep_curves(folder, 4)
    assert [file.name for file in folder.iterdir()] == ["events.out.tfevents.0000000000.kept"]
    assert curve(tmp_path) == {"train/loss": [(1, 0.5), (2, 1.0), (3, 2.5), (4, 3.0)]}
    keep_curves(folder, 0)
    assert list(folder.iterdir()) == []


def test_checkpoints_of_other_rows_are_never_gone_on_from(tmp_path: Path) -> None:
    from prefdata.io import sha256_file, write_json
    from trainers.callbacks import newest_checkpoint

    folder = tmp_path / "checkpoints"
    place = {"processes": 1, "spread": "alone", "bfloat16": False, "device": "cpu", "threads": 1}
    assert newest_checkpoint(folder, "key", place) is None
    for step in (2, 10):
        (folder / f"checkpoint-{step}").mkdir()
        weights = folder / f"checkpoint-{step}" / "weights"
        weights.write_bytes(b"weights")
        manifest = {"step": step, "files": {"weights": sha256_file(weights)}}
        write_json(folder / f"checkpoint-{step}" / "prefdata-checkpoint.json", manifest)
    assert newest_checkpoint(folder, "key", {**place, "threads": 2}) == folder / "checkpoint-10"
    with pytest.raises(InputError, match=r"made with processes 1, now it is 8\. Train as before"):
        newest_checkpoint(folder, "key", {**place, "processes": 8})
    (folder / "checkpoint-10" / "weights").write_bytes(b"weightz")
    assert newest_checkpoint(folder, "key", place) == folder / "checkpoint-2"
    assert not (folder / "checkpoint-10").exists()
    assert newest_checkpoint(folder, "other key", place) is None
    assert json.loads((folder / "key.json").read_text()) == {"key": "other key", "place": place}
    assert not (folder / "checkpoint-2").exists()
