"""What a recipe would do, and what recipes can name: read from the recipe and the catalogue, nothing is run."""

from __future__ import annotations

import dataclasses
from typing import Any

from prefdata import catalogue
from prefdata.ingest import paths_of, shown
from prefdata.recipe import Recipe, field_notes, plain


def plan(recipe: Recipe, *, train: bool) -> list[str]:
    """The steps of a run, one line each, in order."""
    steps = []
    for source in recipe.sources:
        files = [shown(path, recipe.root) for path in paths_of(source, recipe.root)]
        steps.append(f"read {source.name}: {', '.join(files)} as {source.layout.name}")
    steps.append("sessions: by id, else by customer and time gap")
    steps += [f"transform: {entry.name}" for entry in recipe.transforms]
    steps += [f"score: {entry.name}" for entry in recipe.filters]
    steps.append(f"label: {recipe.labels.method}, credit {recipe.credit.policy}")
    steps += [f"group: {entry.name}" for entry in recipe.groupings]
    steps.append(f"decide: unjudged rows are {'kept' if recipe.unjudged == 'keep' else 'dropped'}")
    test = f", {recipe.split.test:.0%} for test" if recipe.split.test else ""
    steps.append(f"split by {recipe.split.by}: {recipe.split.evaluation:.0%} held out{test}")
    caps = ("max_chars", "per_prompt", "per_customer", "per_source", "max_ratio")
    asked = [f"{name} {getattr(recipe.balance, name)}" for name in caps if getattr(recipe.balance, name) is not None]
    if asked:
        steps.append(f"balance training: {', '.join(asked)}")
    uses = recipe.use
    steps += [f"export: {entry.name}, for {', '.join(uses[entry.name]) or 'no stated use'}" for entry in recipe.export]
    if train and recipe.train is not None:
        steps.append(f"train: {recipe.train.name} from {recipe.model}")
    steps.append("report: report.html, report.json")
    return steps


def listing() -> dict[str, dict[str, Any]]:
    """Kind -> name -> what it is about, its settings, their defaults and notes."""
    found: dict[str, dict[str, Any]] = {}
    for kind, table in catalogue.KINDS.items():
        found[kind] = {}
        for name in sorted(table):
            settings_type = catalogue.load(kind, name)
            notes = field_notes(settings_type)
            settings = {
                entry.name: {
                    "default": _default(entry),
                    "threshold": bool(entry.metadata.get("threshold")),
                    "about": notes.get(entry.name, ""),
                }
                for entry in dataclasses.fields(settings_type)
                if entry.init
            }
            about = " ".join((settings_type.__doc__ or "").strip().split("\n\n")[0].split())
            found[kind][name] = {"about": about, "settings": settings}
    return found


def _default(entry: Any) -> Any:
    if entry.default is not dataclasses.MISSING:
        return plain(entry.default)
    if entry.default_factory is not dataclasses.MISSING:
        return plain(entry.default_factory())
    return "required"
