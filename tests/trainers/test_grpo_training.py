from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from prefdata.schema import MESSAGES, RecordType, conform
from trainers.grpo import GRPOSettings, train_grpo
from trainers.job import Stage

pytestmark = [pytest.mark.train, pytest.mark.usefixtures("one_thread")]

QUICK: dict[str, Any] = {
    "learning_rate": 3e-2,
    "lora_r": 4,
    "lora_alpha": 8,
    "per_device_batch": 8,
    "gradient_accumulation": 1,
    "num_generations": 4,
    "max_steps": 8,
    "epochs": 10.0,
    "max_length": 96,
    "max_completion_length": 16,
    "save_steps": 3,
    "sample_tokens": 4,
    "samples": 2,
    "n_bootstrap": 100,
    "probe_prompts": 4,
    "rewards": {"length": {"min": 60}},
}


def prompts(numbers: range, *, prefix: str = "q", answer: str | None = None) -> pl.DataFrame:
    """Questions about orders of these numbers; two rows a group."""
    frame = pl.DataFrame(
        [
            {
                "id": f"{prefix}{n:03d}",
                "source": "test",
                "group": f"{prefix}{n // 2:03d}",
                "prompt": [{"role": "user", "content": f"Where is order {n}?", "tool_calls": None}],
                "answer": answer,
            }
            for n in numbers
        ],
        schema_overrides={"prompt": MESSAGES, "answer": pl.String},
    )
    return conform(frame, RecordType.PROMPT)


TRAIN, HELD_OUT = prompts(range(10)), prompts(range(50, 58), prefix="e")


@pytest.fixture(scope="module")
def stage(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    folder = tmp_path_factory.mktemp("grpo") / "stage"
    return train_grpo(TRAIN, HELD_OUT, model=tiny_model, output_dir=folder, settings=GRPOSettings(**QUICK))


def test_a_stage_raises_its_reward(stage: Stage) -> None:
    import json

    print(json.dumps(stage.record, indent=1))
    print(json.loads((stage.folder / "metrics.json").read_text())[:2])
    print(pl.read_parquet(stage.folder / "eval_rewards.parquet"))
    print((stage.folder / "README.md").read_text())
