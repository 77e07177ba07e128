"""SIGKILL at every stage of a chain, from reading the log to the last step of DPO: the rerun ends in the same run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from faq_log import RECIPE, write_faq

from prefdata.io import sha256_file

pytestmark = [pytest.mark.train, pytest.mark.slow, pytest.mark.timeout(3600)]

ROOT = Path(__file__).resolve().parents[2]
QUICK = (
    "lora_r: 4, lora_alpha: 8, per_device_batch: 4, gradient_accumulation: 1, max_length: 256, epochs: 5, "
    "save_steps: 1, learning_rate: 0.01, samples: 1, sample_tokens: 4, n_bootstrap: 50, report_to: []"
)
STAGES = f"stages:\n  - sft: {{model: MODEL, {QUICK}}}\n  - dpo: {{{QUICK}}}\n"


def started(recipe: Path, out: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "prefdata.cli", "run", str(recipe), "--out", str(out), "--quiet"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)


def killed_when(reached: Callable[[], bool], recipe: Path, out: Path) -> None:
    """Runs the recipe and kills it without warning once `reached`."""
    process = started(recipe, out)
    deadline = time.monotonic() + 900
    while not reached():
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.wait()


def outcome(run: Path) -> dict[str, Any]:
    report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    facts = json.loads((run / "run.json").read_text(encoding="utf-8"))
    stages = {
        file.parent.name: {
            name: value
            for name, value in json.loads(file.read_text(encoding="utf-8")).items()
            if name not in ("versions", "memory", "monitor")
        }
        for file in sorted((run / "model").glob("*/stage.json"))
    }
    curves = {file.parent.name: sha256_file(file) for file in sorted((run / "model").glob("*/metrics.json"))}
    return {"report": report, "facts": facts, "stages": stages, "curves": curves}


def test_a_chain_killed_at_every_stage_ends_as_an_unbroken_one(tiny_model: Path, tmp_path: Path) -> None:
    write_faq(tmp_path)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE + STAGES.replace("MODEL", str(tiny_model)), encoding="utf-8")
    assert started(recipe, tmp_path / "whole").wait() == 0
    run = tmp_path / "broken"

    def there(name: str) -> Callable[[], bool]:
        return (run / name).exists

    for reached in (
        there("stages/ingest.json"),
        there("kept"),
        there("training/sft/train.parquet"),
        there("model/sft/checkpoints/checkpoint-3"),
        there("model/sft/adapter"),
        there("model/sft/rows.json"),
        there("model/dpo/checkpoints/checkpoint-4"),
        there("model/dpo/adapter"),
    ):
        if not reached():
            killed_when(reached, recipe, run)
    assert started(recipe, run).wait() == 0
    assert outcome(run) == outcome(tmp_path / "whole")
    for stage in ("sft", "dpo"):
        files = [path / "model" / stage / "adapter/adapter_model.safetensors" for path in (run, tmp_path / "whole")]
        assert sha256_file(files[0]) == sha256_file(files[1])
