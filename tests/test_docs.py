"""The code in docs/ runs as it stands, and the README names no command that does not exist."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from prefdata.cli import app

ROOT = Path(__file__).resolve().parents[1]


def blocks(file: Path, language: str) -> str:
    return "\n".join(
        re.findall(rf"^```{language}\n(.*?)^```", file.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    )


@pytest.mark.parametrize("page", ["python.md"])
def test_the_code_of_a_page_runs(page: str, tmp_path: Path, sample_run: Path) -> None:
    shutil.copytree(sample_run / "run", tmp_path / "run")  # the recipe of the page was run there, and is taken as it is
    code = f"out_dir = {str(tmp_path / 'run')!r}\n" + blocks(ROOT / "docs" / page, "python")
    done = subprocess.run([sys.executable, "-"], input=code, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr


def test_every_command_of_the_readme_exists() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    known = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    unknown = set(re.findall(r"(?m)(?:^\s*|`)prefdata ([a-z]+)", text)) - known
    assert unknown == set()
    for target in set(re.findall(r"(?m)^make ([a-z-]+)", text)):
        assert re.search(rf"(?m)^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8")), target
