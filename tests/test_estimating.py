"""What an estimate of a recipe takes from its run and from its folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from prefdata.estimating import of_recipe
from prefdata.recipe import Recipe, parse
from prefdata.schema import MESSAGES, RecordType, conform
from trainers.memory.shapes import KNOWN

SOURCES = "sources:\n  - {name: a, path: a.csv, layout: events}\n  - {name: b, path: b.csv, layout: events}\n"
STAGES = """stages:
  - sft: {model: smollm2-135m, data: {sources: [b]}, system: "Be brief."}
  - dpo
  - kto
  - grpo: {rewards: {length: {max: 9}}, max_completion_length: 16}
"""


def turns(text: str, role: str = "user") -> list[dict[str, str | None]]:
    return [{"role": role, "content": text, "tool_calls": None}]


def built(run: Path) -> Path:
    rows = [
        {"id": "1", "source": "a", "group": "1", "prompt": turns("x" * 30), "chosen": turns("x" * 9)},
        {"id": "2", "source": "b", "group": "2", "prompt": turns("x" * 3), "chosen": turns("x" * 6)},
    ]
    frame = pl.DataFrame(
        [{**row, "rejected": turns(text)} for row, text in zip(rows, ("x" * 30, "xxx"), strict=True)],
        schema_overrides={"prompt": MESSAGES, "chosen": MESSAGES, "rejected": MESSAGES},
    )
    (run / "kept").mkdir(parents=True)
    conform(frame, RecordType.PREFERENCE).with_columns(split=pl.lit("train")).write_parquet(run / "kept" / "0.parquet")
    (run / "run.json").write_text(json.dumps({"recipe": {"type": "preference"}}))
    return run


def recipe(stages: str, root: Path) -> Recipe:
    return parse(SOURCES + stages, root=root)


def test_every_stage_of_a_chain_knows_its_longest_row_once_the_data_is_built(tmp_path: Path) -> None:
    chain = recipe(STAGES, tmp_path)
    found = {one.name: one.report.longest for one in of_recipe(chain, run=built(tmp_path / "run"))}
    seen = {name: (one.id, one.tokens, one.scored, one.known) for name, one in found.items()}
    assert seen == {
        # of source b alone, its chosen answer, and three tokens and the markers of the system turn
        "sft": ("2", (1 + 6) + (2 + 6) + (3 + 6), 2 + 6, "estimated"),
        "dpo": ("1", (10 + 6) + (10 + 6), 10 + 6, "estimated"),
        "kto": ("1", (10 + 6) + (10 + 6), 10 + 6, "estimated"),
        "grpo": ("1", 10 + 6, 0, "estimated"),
    }
    assert {one.report.longest.known for one in of_recipe(chain, run=tmp_path / "none")} == {"settings"}


def test_a_reward_model_is_looked_for_from_the_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config: dict[str, Any] = {**KNOWN["smollm2-135m"]}
    (tmp_path / "judge").mkdir()
    (tmp_path / "judge" / "config.json").write_text(json.dumps(config))
    stages = "train: {method: grpo, model: smollm2-135m, rewards: {reward_model: {model: judge}}}\n"
    monkeypatch.chdir("/")
    (found,) = of_recipe(recipe(stages, tmp_path), run=tmp_path / "none")
    assert found.report.estimate.states["reward models"] > 4 * 100_000_000
