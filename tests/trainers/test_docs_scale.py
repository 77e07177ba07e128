"""The commands of docs/scale.md are commands, its config files ship, and what a CPU can run of it runs."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from prefdata.cli import app

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^(prefdata [^#\n]*)", PAGE, re.MULTILINE)


def test_the_config_files_of_the_page_are_those_that_ship() -> None:
    table = re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE)
    named = sorted(name for cell in table for name in re.findall(r"`(\w+)`", cell))
    assert named == sorted([*(file.stem for file in (ROOT / "recipes" / "accelerate").glob("*.yaml"))])


@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_of_the_page_name_recipes_and_options_that_exist(command: str) -> None:
    _, verb, recipe, *options = shlex.split(command)
    assert (ROOT / recipe).is_file()
    shown = CliRunner().invoke(app, [verb, "--help"], env={"COLUMNS": "200"}).stdout
    assert [option for option in options if option.startswith("--") and option not in shown] == []


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.train
def test_two_processes_on_the_cpu_train_as_the_page_says(tmp_path: Path, tiny_model: Path) -> None:
    recipe: dict[str, Any] = yaml.safe_load((ROOT / "recipes" / "train" / "dpo_smollm2.yaml").read_text())
    recipe["stages"][0]["dpo"] |= {"model": str(tiny_model), "max_steps": 2, "lora_layers": None, "samples": 0}
    recipe["stages"][0]["dpo"] |= {
        "per_device_batch": 2,
        "max_evaluation_rows": 4,
        "insist": ["no_sft", "too_long"],
        "max_length": 512,
    }
    recipe["sources"][0]["path"] = str(ROOT / "recipes" / "data" / "questions.csv")
    file = tmp_path / "dpo_smollm2.yaml"
    file.write_text(yaml.safe_dump(recipe))
    launched = next(command for command in COMMANDS if "ddp_cpu" in command)
    for command in (f"prefdata build {file}", launched):
        words = [str(file) if word.endswith("dpo_smollm2.yaml") else word for word in shlex.split(command)[1:]]
        done = subprocess.run(
            [sys.executable, "-c", "from prefdata.cli import main; main()", *words],
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr[-3000:]
    record = json.loads((tmp_path / "runs" / "dpo_smollm2" / "model" / "dpo" / "stage.json").read_text())
    assert (record["processes"], record["spread"]) == (2, "ddp")
