"""What a recipe would do, and what recipes can name: read from the recipe and the catalogue, nothing is run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from prefdata import catalogue
from prefdata.ingest import paths_of, shown
from prefdata.recipe import SECTIONS, UNSAID, Balance, Limits, Mix, Recipe, Split, field_notes, imported, plain
from prefdata.recipe_parts import TrainingStage
from prefdata.recipe_types import NAMES, known_type, told
from prefdata.schema import RecordType

TYPES = ("sft", "preference", "unpaired", "prompt")
"""The types as recipes call them."""


def plan(recipe: Recipe, *, train: bool, read_as: Mapping[str, RecordType] | None = None) -> list[str]:
    """The steps of a run, one line each, in order. `read_as`: the types of sources whose files have to tell."""
    read_as = read_as or {}
    steps = []
    for source in recipe.sources:
        files = [shown(path, recipe.root) for path in paths_of(source, recipe.root)]
        kind = source.layout or source.format
        assert kind is not None
        steps.append(f"read {source.name}: {', '.join(files)} as {kind.name}")
        steps += [f"transform {source.name}: {entry.name}" for entry in source.transforms]
    if recipe.pictures is not None:
        stored = {"encode": "written again", "original": "kept as they are", "none": "measured only"}
        steps.append(f"pictures: checked, {stored[recipe.pictures.store]}")
    logs = any(source.layout is not None for source in recipe.sources)
    if logs:
        steps.append("sessions: by id, else by customer and time gap")
        steps += [f"transform: {entry.name}" for entry in recipe.transforms]
    label = f"label: {recipe.labels.method}, credit {recipe.credit.policy}"
    record_type = recipe.type
    if not recipe.of_logs() and record_type is not None:
        if logs and record_type is not RecordType.UNPAIRED:
            steps.append(f"{label}, each log by itself")
        types = {source.name: read_as.get(source.name) or known_type(source) for source in recipe.sources}
        steps += [
            f"build {name}: {told(one)} rows into {told(record_type)} rows"
            for name, one in types.items()
            if one is not None and one is not record_type
        ]
    if recipe.image_text is not None:
        steps += _image_text(recipe.image_text)
    steps += [f"score: {entry.name}" for entry in recipe.filters]
    if logs and record_type is RecordType.UNPAIRED:
        steps.append(label)
    steps += [f"group: {entry.name}" for entry in recipe.groupings]
    steps.append(f"decide: unjudged rows are {'kept' if recipe.unjudged == 'keep' else 'dropped'}")
    if recipe.mix is not None:
        said = {name: value for name, value in plain(recipe.mix).items() if value is not None}
        steps.append("mix: " + ", ".join(f"{name} {value}" for name, value in said.items()))
    test = f", {recipe.split.test:.0%} for test" if recipe.split.test else ""
    steps.append(f"split by {recipe.split.by}: {recipe.split.evaluation:.0%} held out{test}")
    caps = ("max_chars", "per_prompt", "per_customer", "per_source", "max_ratio")
    asked = [f"{name} {getattr(recipe.balance, name)}" for name in caps if getattr(recipe.balance, name) is not None]
    if asked:
        steps.append(f"balance training: {', '.join(asked)}")
    uses = recipe.use
    steps += [f"export: {entry.name}, for {', '.join(uses[entry.name]) or 'no stated use'}" for entry in recipe.export]
    if train:
        steps += [_trained(recipe, stage) for stage in recipe.stages]
    steps.append("report: report.html, report.json")
    return steps


def _image_text(settings: Any) -> list[str]:
    """What is made of texts about pictures."""
    asked = {name: f"{getattr(settings, name):g}" for name in settings.banded()}
    bounds = [
        f"{what} {asked[name]}" + (" percent" if name.endswith("percentile") else "")
        for name, what in (
            ("relevant_min", "relevant from"),
            ("relevant_min_percentile", "relevant above the lowest"),
            ("irrelevant_max", "irrelevant up to"),
            ("irrelevant_max_percentile", "irrelevant in the lowest"),
        )
        if name in asked
    ]
    by = [] if settings.relevance is None else [f"relevance by {settings.relevance}", *bounds]
    by += [] if settings.relevance is None else [f"least margin {settings.min_margin:g}"]
    steps = ["texts about pictures: " + (", ".join(by) or "as they are")]
    if settings.negatives:
        kinds, each = ", ".join(settings.negatives), settings.negatives_each
        steps.append(f"wrong answers: {kinds}; {each} of each true text, never what a source says of the picture")
    return steps


def _trained(recipe: Recipe, stage: TrainingStage) -> str:
    """What a stage is trained from and on."""
    record_type = catalogue.method(stage.method).type
    of = f" of {', '.join(stage.data.sources)}" if stage.data.sources else ""
    where = f" of the recipe {stage.data.path}" if stage.data.path else ""
    given = stage.given(recipe.type)
    made = f" built of {told(given)} rows" if given is not None and given is not record_type else ""
    called = stage.method if stage.name == stage.method else f"{stage.name} ({stage.method})"
    begins = stage.model if stage.start is None else f"stage {stage.start}"
    return f"train: {called} from {begins} on {told(record_type)} rows{made}{of}{where}"


def listing() -> dict[str, dict[str, Any]]:
    """Kind -> name -> what it is about, its settings, their defaults and notes."""
    found: dict[str, dict[str, Any]] = {}
    for kind, table in catalogue.KINDS.items():
        found[kind] = {name: _described(catalogue.load(kind, name)) for name in sorted(table)}
    for name, facts in found["format"].items():
        form = catalogue.load("format", name)
        for what in ("reads", "writes"):
            facts[what] = [one for one in TYPES if NAMES[one] in getattr(form, what)]
    sections = {name: imported(target) for name, target in {**SECTIONS, **UNSAID}.items()}
    sections |= {"mix": Mix, "split": Split, "balance": Balance, "limits": Limits}
    found["section"] = {name: _described(sections[name]) for name in sorted(sections)}
    return found


def _described(settings_type: Any) -> dict[str, Any]:
    """What settings are about, and each of them with its default and note."""
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
    return {"about": about, "settings": settings}


def _default(entry: Any) -> Any:
    if entry.default is not dataclasses.MISSING:
        return plain(entry.default)
    if entry.default_factory is not dataclasses.MISSING:
        return plain(entry.default_factory())
    return "required"
