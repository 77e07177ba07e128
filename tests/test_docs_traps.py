"""Each test that docs/traps.md names exists, and no trap or check is without one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

PAGE = (ROOT / "docs" / "traps.md").read_text(encoding="utf-8")

PICTURES = {"T13", "T14", "C14"}

ROWS = dict(re.findall(r"^\| ([TC]\d+) \|(.*)\|$", PAGE, flags=re.MULTILINE))


def test_every_trap_of_text_has_its_row() -> None:
    asked = {f"T{at}" for at in range(1, 19)} | {f"C{at}" for at in range(1, 24)}
    assert set(ROWS) == asked - PICTURES


@pytest.mark.parametrize("name", sorted(ROWS))
def test_a_trap_names_tests_that_exist(name: str) -> None:
    named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", ROWS[name])
    assert named
    for file, test in named:
        assert any(f"def {test}(" in path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob(file)), test
