"""Which filters and groupings an audit tries on a dataset: all of the catalogue, or those of a recipe."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from prefdata.auditing.dataset import Audited
from prefdata.auditing.what_if import of_catalogue, what_if
from prefdata.auditing.what_if.effects import WhatIf
from prefdata.auditing.what_if.scores import Progress
from prefdata.auditing.what_if.settings import Asked
from prefdata.judging import rooted
from prefdata.recipe import Recipe, load

Trial = Callable[[Audited, Progress | None], WhatIf]


def trial(wanted: bool | str | Path | Recipe) -> Trial:
    """What tries them on a dataset that was read. `wanted`: true for the catalogue with its defaults, or a recipe.

    A recipe is loaded here, before the dataset is read. Raises RecipeError with its faults.
    """
    if isinstance(wanted, bool):
        return lambda data, progress: what_if(data, of_catalogue(data.type), progress=progress)
    recipe = wanted if isinstance(wanted, Recipe) else load(wanted)
    asked = of_recipe(recipe)
    return lambda data, progress: what_if(data, asked, recipe=recipe.name, unjudged=recipe.unjudged, progress=progress)


def of_recipe(recipe: Recipe) -> list[Asked]:
    """The filters and groupings of a recipe with its thresholds."""
    filters = [Asked("filter", one.name, one.settings, rooted(one.settings, recipe.root)) for one in recipe.filters]
    groupings = [
        Asked("grouping", one.name, one.settings, rooted(one.settings, recipe.root)) for one in recipe.groupings
    ]
    return [*filters, *groupings]
