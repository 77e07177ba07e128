"""docs/audits tells of the real sets what an audit finds in them."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from prefdata import recipe

ROOT = Path(__file__).resolve().parents[1]
AUDITS = ROOT / "docs" / "audits"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("audits_script", ROOT / "scripts" / "audits.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # which its dataclass looks itself up in
    spec.loader.exec_module(module)
    return module


def table() -> dict[str, list[str]]:
    """Set -> its row of the index."""
    lines = re.findall(r"^\| \[(\w+)\]\(\w+\.md\) \|(.*)\|$", (AUDITS / "README.md").read_text("utf-8"), re.M)
    return {name: [cell.strip() for cell in rest.split("|")] for name, rest in lines}


def test_every_set_has_a_page_with_a_command_and_three_findings(script: ModuleType) -> None:
    assert list(table()) == list(script.SETS)
    for name in script.SETS:
        page = (AUDITS / f"{name}.md").read_text("utf-8")
        assert "    prefdata audit " in page
        assert len(re.findall(r"^## (?!Not to be trusted here)", page, re.M)) == 3


def test_the_recipe_of_the_log_is_sound() -> None:
    assert recipe.load(AUDITS / "sgd_kto.yaml").name == "sgd_kto"


@pytest.mark.parametrize("name", ["dpo_en", "kto_en", "oasst"])
def test_the_index_counts_what_an_audit_finds(
    script: ModuleType, name: str, shared_data: Callable[[str], Path], tmp_path: Path
) -> None:
    result = script.audited(name, shared_data("hh_rlhf").parent, tmp_path)
    rows, *counts = [cell.strip() for cell in script.line(name, result).split("|")[2:7]]
    assert table()[name][0].split()[0] == rows.split()[0]
    assert table()[name][1:5] == counts
    assert (tmp_path / name / "report.html").is_file()
