"""The recipes of docs/logs.md are whole: each reads the file that is shown above it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from prefdata.logs.values import KNOWN_ROLES
from prefdata.recipe import parse

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "logs.md").read_text(encoding="utf-8")
SHOWN = re.findall(r"^```(?:csv|json|text)\n(.*?)^```\n```yaml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)

TALK = [("customer", "Where is my parcel?"), ("agent", "It arrives tomorrow.")]
MORE = [("customer", "Is the shop open?"), ("agent", "Until eight.")]

EXPECTED: dict[str, tuple[str, list[tuple[str, str]], list[list[float]], int]] = {
    "tickets": ("events", [*TALK, ("customer", "Thank you!")], [[5.0]], 3),
    "bare": ("events", TALK, [], 2),
    "chats": ("conversations", TALK, [[5.0]], 2),
    "pairs": ("conversations", [*TALK, *MORE], [], 0),
    "tweets": ("replies", TALK, [], 2),
    "lines": ("transcript", [*TALK, *MORE], [[4.0, 5.0, 4.0]], 0),
    "spoken": ("transcript", [*TALK, ("agent", "It is on the van already.")], [], 2),
    "cells": ("transcript", TALK, [[5.0]], 1),
}
"""Name of the recipe -> its layout, the messages, the ratings, and how many messages have a time."""


def test_every_recipe_of_the_page_stands_under_a_file() -> None:
    assert len(re.findall(r"^```yaml$", PAGE, re.MULTILINE)) == len(SHOWN) == len(EXPECTED)


@pytest.mark.parametrize(("file", "text"), SHOWN, ids=[re.findall(r"name: (\w+)", text)[0] for _, text in SHOWN])
def test_a_recipe_of_the_page_reads_the_file_above_it(file: str, text: str, tmp_path: Path) -> None:
    recipe = parse(text, root=tmp_path, where="docs/logs.md")
    (source,) = recipe.sources
    layout, messages, ratings, timed = EXPECTED[recipe.name]
    assert source.layout.name == layout
    path = tmp_path / source.path[0]
    path.write_text(file, encoding="utf-8")
    read = source.layout.settings.read(path, source=source.name)
    spoken = read.events.filter(read.events["kind"] == "message").sort("line", "part")
    assert spoken.select("role", "text").rows() == messages
    assert read.events["ratings"].drop_nulls().to_list() == ratings
    assert spoken["time"].count() == timed
    assert read.quarantine.height == 0
    assert read.report["unparsed_time"] == read.report["unknown_role"] == 0


def test_the_page_names_every_role_value_that_is_known() -> None:
    for role, values in KNOWN_ROLES.items():
        assert f"| {role} | {', '.join(values)} |" in PAGE
