"""The commands: help that teaches, listings, exit codes; nothing of a traceback for a user."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def cli(*arguments: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "prefdata.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=dict(os.environ), check=False)


@pytest.mark.parametrize(
    "command", ["run", "build", "explain", "export", "train", "report", "model pull", "leaks", "erase", "diff"]
)
def test_help_of_a_command_gives_an_example(command: str) -> None:
    done = cli(*command.split(), "--help")
    assert done.returncode == 0
    assert f"Example: prefdata {command}" in " ".join(done.stdout.split())


def test_the_list_of_filters_names_settings_thresholds_and_notes() -> None:
    found = json.loads(cli("filters", "--json").stdout)
    assert set(found) == {"layout", "transform", "filter", "grouping", "format", "trainer", "section"}
    toxicity = found["filter"]["toxicity"]["settings"]
    assert toxicity["max_toxicity"]["default"] == 0.8
    assert toxicity["max_toxicity"]["threshold"] is True
    assert toxicity["weights"]["threshold"] is False
    missing = [
        f"{kind}.{name}.{setting}"
        for kind, names in found.items()
        for name, facts in names.items()
        for setting, note in facts["settings"].items()
        if not note["about"]
    ]
    assert missing == []


def test_the_schema_is_json() -> None:
    assert json.loads(cli("schema").stdout)["title"] == "prefdata recipe"


def test_models_are_listed_with_their_licence() -> None:
    assert json.loads(cli("model", "list", "--json").stdout)["smollm2-135m"]["licence"] == "Apache-2.0"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("run",), 2, "Missing argument"),
        (("run", "none.yaml"), 2, "No such file"),
        (("explain", ".", "x"), 3, "no run.json there"),
        (("leaks", "none.parquet", "none.parquet"), 3, "none.parquet: no such file or folder"),
        (("leaks", "."), 3, "no run.json there"),
        (("report", "."), 3, "no run.json there"),
        (("model", "pull", "smollm2-135mm"), 2, "did you mean 'smollm2-135m'?"),
        (("frobnicate",), 2, "No such command"),
    ],
)
def test_wrong_usage_ends_with_its_code(arguments: tuple[str, ...], code: int, message: str, tmp_path: Path) -> None:
    done = cli(*arguments, cwd=tmp_path)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_says_so(number: int, code: int, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "prefdata.cli",
        "build",
        "recipes/support_kto.yaml",
        "--out",
        str(tmp_path / "run"),
    ]
    started = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "run/run.log.jsonl").exists():
        assert started.poll() is None
        time.sleep(0.02)
    started.send_signal(number)
    with started:
        out, err = started.communicate(timeout=60)
    assert started.returncode == code
    assert "Traceback" not in err
    assert out == ""
