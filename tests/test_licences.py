"""What sources permit, and exports that would break it: refused by name before anything is read or written."""

from __future__ import annotations

from pathlib import Path

import pytest

from prefdata.errors import RecipeError
from prefdata.licences import broken, forbidden
from prefdata.recipe import parse
from prefdata.recipe_parts import Entry, Ratings, Recipe, Source

BASE = """\
sources:
  - name: chats
    path: chats.csv
    layout: events
{terms}
export: [trl]
{use}
"""


def recipe(terms: str = "", use: str = "") -> Recipe:
    return parse(BASE.format(terms=terms, use=use), root=Path())


def source(licence: str | None, permits: tuple[str, ...] | None) -> Source:
    layout = Entry(name="events", settings=None)
    return Source(name="chats", path=("a",), layout=layout, ratings=Ratings(), licence=licence, permits=permits)


@pytest.mark.parametrize(
    ("licence", "permits", "expected"),
    [
        (None, None, set()),
        ("MIT", None, set()),
        ("CC-BY-4.0", None, set()),
        ("CC-BY-NC-4.0", None, {"commercial"}),
        ("cc-by-nc-nd-4.0", None, {"commercial", "redistribution"}),
        ("CC-BY-NC-4.0", ("commercial", "training"), {"research", "redistribution"}),
        ("NC internal", None, set()),
        ("MIT", (), {"training", "research", "commercial", "redistribution"}),
    ],
)
def test_what_a_source_forbids(licence: str | None, permits: tuple[str, ...] | None, expected: set[str]) -> None:
    assert forbidden(source(licence, permits)) == expected


def test_an_export_that_breaks_a_licence_is_named_with_source_licence_and_use() -> None:
    with pytest.raises(RecipeError) as caught:
        recipe("    licence: CC-BY-NC-4.0\n    permits: [training, research]", "use: [training, commercial]")
    assert caught.value.faults == [
        "line 8: use: export trl: commercial use, which source chats (CC-BY-NC-4.0) does not permit; it permits "
        "training, research"
    ]


def test_an_export_that_says_nothing_is_for_training() -> None:
    assert recipe("    permits: [training]").use == {"trl": ("training",)}
    with pytest.raises(
        RecipeError, match=r"export trl: training use, which source chats \(no licence stated\) does not"
    ):
        recipe("    permits: [research]")


def test_each_export_may_have_its_own_use() -> None:
    assert recipe("    licence: CC-BY-NC-4.0", "use: {trl: [research]}").use == {"trl": ("research",)}
    with pytest.raises(RecipeError, match=r"use\.trl2: no such export; did you mean 'trl'"):
        recipe("", "use: {trl2: [research]}")


@pytest.mark.parametrize(
    ("terms", "use", "fault"),
    [
        ("    permits: [comercial]", "", "unknown use 'comercial'; did you mean 'commercial'"),
        ("    permits: training", "", "permits: expected a list of uses"),
        ("    licence: []", "", "licence: expected an SPDX identifier"),
        ("", "use: 3", "use: expected a list of uses"),
    ],
)
def test_terms_that_cannot_be_read_are_told(terms: str, use: str, fault: str) -> None:
    with pytest.raises(RecipeError) as caught:
        recipe(terms, use)
    assert fault in str(caught.value)


def test_the_terms_stand_in_the_resolved_recipe() -> None:
    resolved = recipe("    licence: CC0-1.0\n    permits: [training, commercial]").resolved()
    assert resolved["sources"][0]["licence"] == "CC0-1.0"
    assert resolved["sources"][0]["permits"] == ["training", "commercial"]
    assert resolved["use"] == {"trl": ["training"]}


def test_every_source_that_objects_is_named() -> None:
    both = [source("CC-BY-NC-4.0", None), source("MIT", None), source(None, ("research",))]
    assert [fault.split(",")[1] for fault in broken(both, ["commercial"])] == [
        " which source chats (CC-BY-NC-4.0) does not permit",
        " which source chats (no licence stated) does not permit; it permits research",
    ]
