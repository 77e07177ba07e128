"""docs/formats.md says what the code does, and the counts of the real sets are those that come out."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("formats_page", ROOT / "scripts" / "formats_page.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_the_code_makes_of_it(maker: ModuleType) -> None:
    old = maker.PAGE.read_text(encoding="utf-8")
    assert maker.page(old, data=None) == old, "run `make docs`"


def test_the_real_sets_go_there_and_back_as_the_page_says(
    maker: ModuleType, shared_data: Callable[[str], Path]
) -> None:
    data = shared_data("hh_rlhf").parent
    start, end = maker.section("real sets")
    found = re.search(re.escape(start) + r"\n(.*?)\n" + re.escape(end), maker.PAGE.read_text(encoding="utf-8"), re.S)
    assert found is not None
    assert maker.sets_table(data) == found.group(1)
