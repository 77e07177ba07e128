"""What a source allows, and whether an export keeps to it.

A source says `licence` (an SPDX identifier, or words) and `permits`, a list of uses; an export says its `use`. What no
source has spoken about is not refused, and the dataset card says that it was not stated.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from prefdata.errors import RecipeError, nearest

USES = ("training", "research", "commercial", "redistribution")
"""`training`: a model is trained on it. `research`, `commercial`: what for. `redistribution`: it is handed on."""

DEFAULT_USE = ("training",)
"""What an export is for that says nothing."""


class Terms(NamedTuple):
    """What a source of a finished run said, by its run.json."""

    name: str
    licence: str | None
    permits: Sequence[str] | None


def terms_of(recipe: Mapping[str, Any]) -> list[Terms]:
    """The terms of every source of a resolved recipe."""
    return [Terms(source["name"], source.get("licence"), source.get("permits")) for source in recipe["sources"]]


def checked(recipe: Mapping[str, Any], target: str, uses: Sequence[str] | None = None) -> tuple[str, ...]:
    """What an export of a finished run for `target` is for: `uses`, else what its recipe says, else training.

    Raises RecipeError for an unknown use, and where a source does not permit one.
    """
    wanted = tuple(uses) if uses else tuple(recipe.get("use", {}).get(target, DEFAULT_USE))
    faults = [f"unknown use {use!r}; {nearest(use, USES)}" for use in wanted if use not in USES]
    faults = faults or [f"export {target}: {fault}" for fault in broken(terms_of(recipe), wanted)]
    if faults:
        raise RecipeError(faults)
    return wanted


class Licensed(Protocol):
    """A source of a recipe."""

    @property
    def name(self) -> str:
        """Its name in the recipe."""
        ...

    @property
    def licence(self) -> str | None:
        """SPDX identifier, or words."""
        ...

    @property
    def permits(self) -> Sequence[str] | None:
        """Uses that it allows; None is not stated."""
        ...


def forbidden(source: Licensed) -> frozenset[str]:
    """The uses that a source does not allow: all that `permits` leaves out; else what its licence is known to forbid.

    Known are the Creative Commons licences: NC forbids commercial use, ND handing on what was changed.
    """
    if source.permits is not None:
        return frozenset(USES) - set(source.permits)
    parts = re.split(r"[-_ ]+", (source.licence or "").upper())
    marks = {"NC": "commercial", "ND": "redistribution"} if parts[0] == "CC" else {}
    return frozenset(use for mark, use in marks.items() if mark in parts)


def broken(sources: Sequence[Licensed], uses: Sequence[str]) -> list[str]:
    """One sentence for each source and use that do not go together; empty where all is permitted."""
    return [
        f"{use} use, which source {source.name} ({source.licence or 'no licence stated'}) does not permit"
        + (f"; it permits {', '.join(source.permits) or 'nothing'}" if source.permits is not None else "")
        for use in uses
        for source in sources
        if use in forbidden(source)
    ]
