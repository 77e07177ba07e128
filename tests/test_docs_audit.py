"""The commands and the code of docs/audit.md run as they stand, one after the other."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from trainers.models import home

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "audit.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "recipes" / "datasets", tmp_path / "recipes" / "datasets")
    return tmp_path


def with_model(command: str) -> bool:
    return " --model " in command


def test_the_commands_of_the_page_run(folder: Path) -> None:
    for command in (one for one in blocks("sh") if not with_model(one)):
        words = shlex.split(command)
        assert words[0] == "prefdata"
        done = subprocess.run(
            [sys.executable, "-m", "prefdata.cli", *words[1:]], capture_output=True, text=True, cwd=folder, check=False
        )
        assert done.returncode == 0, done.stderr
    report = json.loads((folder / "runs" / "audit" / "report.json").read_text(encoding="utf-8"))
    assert report["type"] == "preference"
    assert (folder / "runs" / "audit" / "report.html").stat().st_size > 10_000


@pytest.mark.slow
@pytest.mark.train
def test_the_commands_with_a_model_run(folder: Path) -> None:
    pytest.importorskip("torch", reason="needs the extra `train`")
    root = next((one for one in (home(), ROOT / ".prefdata") if (one / "models" / "smollm2-135m").is_dir()), None)
    if root is None:
        pytest.skip("smollm2-135m is not pulled: prefdata model pull smollm2-135m")
    commands = [one for one in blocks("sh") if with_model(one)]
    assert commands
    for command in commands:
        done = subprocess.run(
            [sys.executable, "-m", "prefdata.cli", *shlex.split(command)[1:]],
            capture_output=True,
            text=True,
            cwd=folder,
            check=False,
            env={**os.environ, "PREFDATA_HOME": str(root)},
        )
        assert done.returncode == 0, done.stderr


def test_the_code_of_the_page_runs(folder: Path) -> None:
    code = "\n".join(blocks("python"))
    done = subprocess.run([sys.executable, "-"], input=code, capture_output=True, text=True, cwd=folder, check=False)
    assert done.returncode == 0, done.stderr


def test_every_family_of_the_checks_is_on_the_page() -> None:
    from prefdata.auditor import all_checks

    listed = set(re.findall(r"(?m)^\| ([a-z]+) \|", PAGE))
    assert {check.family for check in all_checks()} | {"reading"} <= listed


def test_one_planted_contradiction_fails_the_gate_and_is_named(folder: Path) -> None:
    data = folder / "recipes" / "datasets" / "pairs.jsonl"
    audit = [sys.executable, "-m", "prefdata.cli", "audit", str(data), "--quiet"]
    subprocess.run([*audit, "--out", str(folder / "audit")], check=True, capture_output=True)
    gate = [*audit, "--fail-on", "minor", "--baseline", str(folder / "audit" / "report.json")]
    clean = subprocess.run(gate, capture_output=True, text=True, check=False)
    assert clean.returncode == 0, clean.stderr
    lines = data.read_text(encoding="utf-8").splitlines()
    first = json.loads(lines[0])
    first["chosen"], first["rejected"] = first["rejected"], first["chosen"]
    data.write_text("\n".join([*lines, json.dumps(first)]) + "\n", encoding="utf-8")
    planted = subprocess.run(gate, capture_output=True, text=True, check=False)
    assert planted.returncode == 1
    assert re.search(rf"reversed_pair.*pairs\.jsonl:{len(lines) + 1}", planted.stderr)
