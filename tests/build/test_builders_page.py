"""The code of docs/builders.md runs as it stands, and the page names functions that exist."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

from prefdata.build.built import REASONS
from prefdata.recipe import parse
from prefdata.schema import RecordType

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "builders.md").read_text(encoding="utf-8")


def test_the_code_of_the_page_runs() -> None:
    code = "\n".join(re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE))
    done = subprocess.run([sys.executable, "-"], input=code, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr


def test_the_recipe_of_the_page_is_sound() -> None:
    (text,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    recipe = parse(text, root=ROOT, where="docs/builders.md")
    assert recipe.type is RecordType.PREFERENCE
    assert [source.format.name for source in recipe.sources if source.format] == ["ultrafeedback", "auto", "trl"]


def test_the_functions_and_reasons_of_the_page_exist() -> None:
    rows = re.findall(r"^\| [^|]+ \| [^|]+ \| (`build\..*?) \|$", PAGE, re.MULTILINE)
    assert len(rows) == 11
    for row in rows:
        module = ""
        for name in re.findall(r"`(?:build\.(\w+)\.)?(\w+)`", row):
            module = name[0] or module
            assert hasattr(importlib.import_module(f"prefdata.build.{module}"), name[1]), name
    table = PAGE.split("| reason | why |")[1].split("```")[0]
    assert set(re.findall(r"`([a-z_]+)`", table.rsplit("|", 1)[0])) <= set(REASONS)
