"""The settings shown in docs/splits.md are settings of a recipe, and its commands exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from prefdata.cli import app
from prefdata.recipe import from_data

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "splits.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("block", BLOCKS, ids=[block.split(":")[0] for block in BLOCKS])
def test_the_settings_of_the_page_make_a_recipe(block: str) -> None:
    shown: dict[str, Any] = yaml.safe_load(block)
    source = {"name": "chats", "path": "chats.csv", "layout": "events"}
    shown["sources"] = [{**source, **one} for one in shown.get("sources", [{}])]
    recipe = from_data(shown, root=Path())
    assert set(shown) - {"sources"} <= set(recipe.resolved())


def test_the_commands_of_the_page_exist() -> None:
    known = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    assert set(re.findall(r"`prefdata (\w+)", PAGE)) <= known
