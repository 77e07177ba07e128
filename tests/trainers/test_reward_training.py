from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from prefdata.schema import MESSAGES, RecordType, conform
from trainers.job import Stage
from trainers.reward import RewardSettings, load_reward, train_reward

pytestmark = [pytest.mark.train, pytest.mark.usefixtures("one_thread")]

QUICK: dict[str, Any] = {
    "learning_rate": 1e-2,
    "lora_r": 4,
    "lora_alpha": 8,
    "per_device_batch": 4,
    "gradient_accumulation": 1,
    "max_steps": 8,
    "epochs": 5.0,
    "max_length": 128,
    "save_steps": 3,
    "n_bootstrap": 100,
}


def pairs(numbers: range, *, prefix: str = "p", margin: float | None = None) -> pl.DataFrame:
    """Kind replies beside rude ones, to questions about orders of these numbers; two rows a group."""

    def turn(role: str, text: str) -> dict[str, Any]:
        return {"role": role, "content": text, "tool_calls": None}

    frame = pl.DataFrame(
        [
            {
                "id": f"{prefix}{n:03d}",
                "source": "test",
                "group": f"{prefix}{n // 2:03d}",
                "prompt": [turn("user", f"Where is order {n}?")],
                "chosen": [turn("assistant", f"It will arrive tomorrow, thank you. {n}")],
                "rejected": [turn("assistant", f"Not my problem, stop asking. {n}")],
                "margin": margin,
            }
            for n in numbers
        ],
        schema_overrides={"prompt": MESSAGES, "chosen": MESSAGES, "rejected": MESSAGES, "margin": pl.Float32},
    )
    return conform(frame, RecordType.PREFERENCE)


TRAIN, HELD_OUT = pairs(range(12)), pairs(range(50, 58), prefix="e")


@pytest.fixture(scope="module")
def stage(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    folder = tmp_path_factory.mktemp("reward") / "stage"
    return train_reward(TRAIN, HELD_OUT, model=tiny_model, output_dir=folder, settings=RewardSettings(**QUICK))


def weights(folder: Path) -> bytes:
    return (folder / "adapter" / "adapter_model.safetensors").read_bytes()


def test_a_reward_stage_holds_the_head_and_the_proof_of_what_it_learned(stage: Stage) -> None:
    before, after, change = (stage.metrics[name] for name in ("before", "after", "change"))
    assert before["accuracy"] == {"value": 0.5, "low": 0.5, "high": 0.5}
    assert before["margin"]["value"] == 0.0
    assert (after["rows"], after["groups"]) == (8, 4)
    assert after["accuracy"]["value"] == 1.0
    assert change["accuracy"] == {"value": 0.5, "low": 0.5, "high": 0.5}
    assert change["over_half"]["low"] == 0.5
    assert change["margin"]["low"] > 0
    assert stage.metrics["longer_is_better_accuracy"]["value"] in (0.0, 1.0)
    assert stage.metrics["first"]["loss"] == pytest.approx(0.6931, abs=1e-4)
    frame = pl.read_parquet(stage.folder / "eval_rewards.parquet")
    assert frame.columns == ["id", "group", "chosen", "rejected", "chosen_tokens", "rejected_tokens"]
    assert frame["id"].to_list() == HELD_OUT["id"].to_list()
    card = (stage.folder / "README.md").read_text()
    assert "pipeline_tag: text-classification" in card
    assert "share of pairs ranked right" in card
    config = json.loads((stage.folder / "adapter" / "adapter_config.json").read_text())
    assert config["modules_to_save"] == ["classifier", "score"]
    assert stage.record["arguments"]["max_length"] == 128


def test_the_stage_reloads_and_scores_the_same(stage: Stage) -> None:
    scorer = load_reward(stage.folder)
    frame = pl.read_parquet(stage.folder / "eval_rewards.parquet")
    for side in ("chosen", "rejected"):
        found = scorer.score(HELD_OUT["prompt"].to_list(), HELD_OUT[side].to_list())
        assert found == pytest.approx(frame[side].to_list(), abs=2e-4)
    assert scorer.score(["Where is order 50?"], ["It will arrive tomorrow, thank you. 50"]) == [
        pytest.approx(frame["chosen"][0], abs=2e-4)
    ]
    assert scorer.score(["Where?"], ["long " * 500]) == [None]


@pytest.mark.parametrize("order", ["random", "by_length"])
def test_a_run_that_was_cut_off_ends_in_the_weights_of_an_unbroken_one(
    tiny_model: Path, stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    from trainers import callbacks

    real = callbacks.Bar.on_step_end

    def cut(self: Any, args: Any, state: Any, control: Any, **rest: Any) -> None:
        real(self, args, state, control, **rest)
        if state.global_step == 5:
            raise KeyboardInterrupt

    settings = RewardSettings(**QUICK, order=order)
    unbroken = stage
    if order == "by_length":
        unbroken = train_reward(TRAIN, HELD_OUT, model=tiny_model, output_dir=tmp_path / "u", settings=settings)
    monkeypatch.setattr(callbacks.Bar, "on_step_end", cut)
    with pytest.raises(KeyboardInterrupt):
        train_reward(TRAIN, HELD_OUT, model=tiny_model, output_dir=tmp_path / "s", settings=settings)
    monkeypatch.setattr(callbacks.Bar, "on_step_end", real)
    assert (tmp_path / "s" / "checkpoints" / "checkpoint-3").is_dir()
    again = train_reward(TRAIN, HELD_OUT, model=tiny_model, output_dir=tmp_path / "s", settings=settings)
    assert weights(again.folder) == weights(unbroken.folder)
    assert again.metrics == unbroken.metrics
