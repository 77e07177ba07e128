"""The commands and the code of docs/ablation.md run as they stand, one after the other."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "ablation.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.mark.slow
def test_the_commands_and_the_code_of_the_page_run(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    commands = [one for one in blocks("sh") if "--head model" not in one]
    assert len(commands) == 2
    for command in commands:
        words = shlex.split(command)
        assert words[0] == "prefdata"
        done = subprocess.run(
            [sys.executable, "-m", "prefdata.cli", *words[1:]],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "runs" / "ablate" / "ablation" / "ablation.json").read_text(encoding="utf-8"))
    assert [one["name"] for one in result["arms"]] == ["chat_quality", "near_duplicates"]
    (code,) = blocks("python")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^near_duplicates not_shown \{'value': ", done.stdout, re.MULTILINE)


def test_every_option_that_the_page_names_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "prefdata.cli", "ablate", "--help"], capture_output=True, text=True, check=True
    )
    named = set(re.findall(r"--[a-z-]+", PAGE)) - {"--tuner", "--run"} - {"---"}
    assert {one for one in named if one.strip("-")} <= set(re.findall(r"--[a-z-]+", done.stdout))
