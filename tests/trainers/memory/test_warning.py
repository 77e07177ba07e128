from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path

import pytest

from prefdata.schema import RecordType
from trainers.grpo import GRPOSettings
from trainers.job import Machine
from trainers.memory import Memory, warning
from trainers.memory.shapes import KNOWN
from trainers.rendering import Encoded
from trainers.rows import Rows
from trainers.sft import SFTSettings
from trainers.start import Start

HERE = Machine(device="cpu", bfloat16=False, threads=1)


def rows() -> Rows:
    sides = [Encoded([], [], [1] * 20, [2] * answer, 0) for answer in (5, 60, 30)]
    return Rows(type=RecordType.SFT, ids=["a", "b", "c"], groups=["a", "b", "c"], sides={"completion": sides})


def start(folder: Path, config: dict[str, object]) -> Start:
    (folder / "config.json").write_text(json.dumps(config))
    return Start(model="m", name="m", folder=folder)


def with_free(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    memory = Memory(name="here", bytes=size, kind="cpu", bfloat16=False)
    monkeypatch.setattr(warning, "free", lambda place: memory)


def test_a_stage_that_will_not_fit_is_told_before_anything_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with_free(monkeypatch, 2 << 30)
    model = start(tmp_path, dict(KNOWN["smollm2-135m"]))
    with caplog.at_level(logging.WARNING):
        told = warning.foretold("sft", SFTSettings(tuner="full"), rows(), model, HERE)
    assert told["longest"] == {"id": "b", "tokens": 80, "scored": 60, "known": "tokenised"}
    assert told["states"]["weights"] == 134_515_008 * 4
    assert told["peak"] > 2 << 30
    (line,) = [record.getMessage() for record in caplog.records]
    assert "longest row b, 80 tokens" in line
    assert "2.0 GiB are free; try tuner: lora; per_device_batch: 2 with gradient_accumulation: 8, and see" in line


def test_a_stage_that_fits_is_recorded_without_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with_free(monkeypatch, 64 << 30)
    with caplog.at_level(logging.WARNING):
        told = warning.foretold("sft", SFTSettings(), rows(), start(tmp_path, dict(KNOWN["smollm2-135m"])), HERE)
    assert caplog.records == []
    assert sorted(told) == ["assumed", "longest", "peak", "peak_of_tensors", "phase", "phases", "states"]


def test_a_model_that_the_formulas_do_not_know_stops_nothing(tmp_path: Path) -> None:
    told = warning.foretold("sft", SFTSettings(), rows(), start(tmp_path, {"model_type": "mixtral"}), HERE)
    assert list(told) == ["unknown"]
    assert "model_type mixtral" in told["unknown"]


def test_what_is_free_is_never_more_than_the_machine_has() -> None:
    from trainers.memory.devices import this_machine

    found = warning.free(HERE)
    assert 0 < found.bytes <= this_machine().bytes


def test_reward_models_are_counted_in_what_is_foretold(tmp_path: Path) -> None:
    config = dict(KNOWN["smollm2-135m"])
    judge = tmp_path / "judge"
    judge.mkdir()
    (judge / "config.json").write_text(json.dumps(config))
    settings = GRPOSettings(rewards={"reward_model": {"model": "reward"}, "length": {"max": 9}})
    told = warning.foretold("grpo", settings, rows(), start(tmp_path, config), HERE, folders={"reward": judge})
    assert told["states"]["reward models"] == 4 * (134_515_008 + 576)


@pytest.mark.parametrize(
    ("spread", "stage", "found"),
    [
        ("alone", None, "none"),
        ("ddp", None, "none"),
        ("fsdp2", None, "fsdp2"),
        ("deepspeed", None, "zero2"),
        ("deepspeed", "1", "none"),
        ("deepspeed", "3", "zero3"),
    ],
)
def test_zero_divides_what_its_stage_divides(
    spread: str, stage: str | None, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(warning.ZERO_FILE, raising=False)
    monkeypatch.delenv(warning.ZERO_STAGE, raising=False)
    if stage is not None:
        monkeypatch.setenv(warning.ZERO_STAGE, stage)
    assert warning.sharding(spread) == found


def test_the_stage_of_zero_may_stand_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "zero.json"
    file.write_text('{"zero_optimization": {"stage": 3}}')
    monkeypatch.setenv(warning.ZERO_FILE, str(file))
    assert warning.sharding("deepspeed") == "zero3"


def test_processes_on_one_cpu_share_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setattr(warning, "_available", lambda total: 8 << 30)
    monkeypatch.setattr(warning, "this_machine", lambda: Memory(name="here", bytes=16 << 30, kind="cpu"))
    assert warning.free(dataclasses.replace(HERE, processes=4)).bytes == 4 << 30
    assert warning.free(HERE).bytes == 8 << 30
