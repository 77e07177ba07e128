from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import polars as pl
import pytest

from prefdata.schema import MESSAGES, RecordType, conform
from trainers.grpo import GRPOSettings, train_grpo
from trainers.job import Stage

pytestmark = [pytest.mark.train, pytest.mark.usefixtures("one_thread")]


class Letters:
    """A scorer of texts: the share of characters that are no ASCII letters; less is better."""

    name = "no_letters"
    version = 1
    reads = frozenset({"text"})
    better = "lower"
    asked: ClassVar[list[str]] = []

    def parameters(self) -> Mapping[str, Any]:
        return {}

    def score(self, items: pl.DataFrame) -> pl.DataFrame:
        self.asked.extend(items["text"])
        letters = pl.col("text").str.count_matches("[A-Za-z]") / pl.col("text").str.len_chars()
        return items.select(no_letters=(1 - letters).fill_nan(None).cast(pl.Float32))


QUICK: dict[str, Any] = {
    "tuner": "full",
    "learning_rate": 1e-2,
    "per_device_batch": 32,
    "gradient_accumulation": 1,
    "num_generations": 8,
    "max_steps": 8,
    "epochs": 10.0,
    "max_length": 96,
    "max_completion_length": 12,
    "save_steps": 2,
    "samples": 0,
    "n_bootstrap": 100,
    "probe_prompts": 2,
    "report_to": (),
    "rewards": {"no_letters": {"weight": 2.0}, "length": {"min": 10}},
}


def prompts(numbers: range, *, prefix: str = "q", answer: str | None = None) -> pl.DataFrame:
    """Questions about orders of these numbers; two rows a group."""
    frame = pl.DataFrame(
        [
            {
                "id": f"{prefix}{n:03d}",
                "source": "test",
                "group": f"{prefix}{n // 2:03d}",
                "prompt": [{"role": "user", "content": f"Where is order {n}?<|im_end|>", "tool_calls": None}],
                "answer": answer,
            }
            for n in numbers
        ],
        schema_overrides={"prompt": MESSAGES, "answer": pl.String},
    )
    return conform(frame, RecordType.PROMPT)


TRAIN, HELD_OUT = prompts(range(10)), prompts(range(50, 58), prefix="e")


def run(model: Path, folder: Path, **values: Any) -> Stage:
    settings = GRPOSettings(**{**QUICK, **values})
    return train_grpo(
        TRAIN, HELD_OUT, model=model, output_dir=folder, settings=settings, scorers={"no_letters": Letters()}
    )


@pytest.fixture(scope="module")
def stage(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    return run(tiny_model, tmp_path_factory.mktemp("grpo") / "stage")


def weights(folder: Path) -> bytes:
    return (folder / "model" / "model.safetensors").read_bytes()


def test_a_stage_raises_the_reward_of_a_scorer_by_its_sign(stage: Stage) -> None:
    metrics = stage.metrics
    assert metrics["change"]["reward"]["low"] > 0
    assert metrics["change"]["rewards/no_letters"]["low"] > 0
    before, after = metrics["before"], metrics["after"]
    assert (before["rows"], before["groups"]) == (8, 4)
    assert -1 < before["rewards/no_letters"]["value"] < after["rewards/no_letters"]["value"] < 0
    assert before["reward"]["value"] == pytest.approx(
        2 * before["rewards/no_letters"]["value"] + before["rewards/length"]["value"], abs=1e-3
    )
    print(json.dumps(metrics, indent=1))


def test_a_run_that_was_cut_off_ends_in_the_weights_of_an_unbroken_one(
    tiny_model: Path, stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trainers import callbacks

    real = callbacks.Bar.on_step_end

    def cut(self: Any, args: Any, state: Any, control: Any, **rest: Any) -> None:
        real(self, args, state, control, **rest)
        if state.global_step == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(callbacks.Bar, "on_step_end", cut)
    with pytest.raises(KeyboardInterrupt):
        run(tiny_model, tmp_path / "s")
    monkeypatch.setattr(callbacks.Bar, "on_step_end", real)
    assert (tmp_path / "s" / "checkpoints" / "checkpoint-4").is_dir()
    again = run(tiny_model, tmp_path / "s")
    assert weights(again.folder) == weights(stage.folder)
    assert (again.folder / "metrics.json").read_bytes() == (stage.folder / "metrics.json").read_bytes()
    assert again.metrics == stage.metrics
