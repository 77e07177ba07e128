"""The JSON schema of a recipe, for editors that complete and check YAML."""

from __future__ import annotations

from typing import Any

from prefdata import catalogue
from prefdata.licences import USES
from prefdata.recipe import (
    AUTO,
    LISTS,
    SECTIONS,
    UNSAID,
    Balance,
    Limits,
    Mix,
    Ratings,
    Split,
    imported,
    settings_model,
)
from prefdata.recipe_types import NAMES

OF_STAGES: dict[str, Any] = {
    "name": {"type": "string", "description": "What later stages and the folder call it; left out, its method."},
    "model": {"type": "string", "description": "The model that it starts from."},
    "from": {"type": "string", "description": "The earlier stage that it starts from; left out, the one before it."},
    "data": {
        "type": ["object", "null"],
        "properties": {
            "sources": {"type": ["array", "null"], "items": {"type": "string"}},
            "recipe": {"type": ["string", "null"], "description": "Another recipe, whose rows are taken instead."},
        },
        "additionalProperties": False,
        "description": "Which of the kept rows it is given; left out, all, built into the type that it reads.",
    },
}
"""What a stage says beside its method's settings."""


def json_schema() -> dict[str, Any]:
    """A JSON schema of the recipe, for editors."""
    definitions: dict[str, Any] = {}

    def settings_schema(settings_type: Any) -> dict[str, Any]:
        schema = settings_model(settings_type, described=True).model_json_schema(ref_template="#/$defs/{model}")
        definitions.update(schema.pop("$defs", {}))
        schema["description"] = " ".join((settings_type.__doc__ or "").split())
        return schema

    def entry_schema(kind: str) -> dict[str, Any]:
        names = sorted(catalogue.KINDS[kind])
        choices: list[dict[str, Any]] = [{"enum": names}]
        for name in names:
            schema = settings_schema(catalogue.load(kind, name))
            choices.append(
                {
                    "type": "object",
                    "properties": {name: {"anyOf": [schema, {"type": "null"}]}},
                    "required": [name],
                    "additionalProperties": False,
                }
            )
        return {"anyOf": choices}

    uses: dict[str, Any] = {"type": "array", "items": {"enum": list(USES)}}
    types = {"enum": list(NAMES)}
    form = entry_schema("format")
    form["anyOf"].append({"const": AUTO, "description": "Recognised, and the report says why."})
    source = {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "path": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
            "layout": {**entry_schema("layout"), "description": "A log: how it is laid out."},
            "ratings": settings_schema(Ratings),
            "format": {**form, "description": "A dataset: the format that it is in."},
            "type": {**types, "description": "What the rows of a dataset are, where that is not clear."},
            "labels": {
                "type": "object",
                "additionalProperties": {"type": "boolean"},
                "description": "What labels of a dataset other than true and false mean.",
            },
            "transforms": {
                "type": "array",
                "items": entry_schema("transform"),
                "description": "What edits the texts of a dataset, which are left as they are without it.",
            },
            "licence": {"type": ["string", "null"], "description": "SPDX identifier, or words."},
            "permits": {"anyOf": [uses, {"type": "null"}], "description": "Uses that the source allows."},
        },
        "required": ["name", "path"],
        "oneOf": [{"required": ["layout"]}, {"required": ["format"]}],
        "additionalProperties": False,
    }
    properties: dict[str, Any] = {
        "name": {"type": "string"},
        "seed": {"type": "integer", "minimum": 0},
        "sources": {"type": "array", "items": source, "minItems": 1},
        "type": {**types, "description": "What the run makes; left out, what its sources are, of logs unpaired."},
        "mix": {"anyOf": [settings_schema(Mix), {"type": "null"}]},
        "max_context_turns": {"type": ["integer", "null"], "minimum": 1},
        "unjudged": {"enum": ["keep", "drop"]},
        "split": settings_schema(Split),
        "balance": settings_schema(Balance),
        "use": {
            "anyOf": [uses, {"type": "object", "additionalProperties": uses}],
            "description": "What the exports are for: all of them, or each by its name.",
        },
        "limits": settings_schema(Limits),
        "shard_rows": {"type": "integer", "minimum": 1},
    }
    properties.update({name: settings_schema(imported(target)) for name, target in {**SECTIONS, **UNSAID}.items()})
    properties.update({name: {"type": "array", "items": entry_schema(kind)} for name, (kind, _) in LISTS.items()})
    trainers = []
    stages: list[dict[str, Any]] = [{"enum": sorted(catalogue.TRAINERS)}]
    for name in sorted(catalogue.TRAINERS):
        schema = settings_schema(catalogue.load("trainer", name))
        own = schema.get("properties", {})
        trainers.append({**schema, "properties": {"method": {"const": name}, "model": {"type": "string"}, **own}})
        stage = {"anyOf": [{**schema, "properties": {**OF_STAGES, **own}}, {"type": "null"}]}
        stages.append(
            {"type": "object", "properties": {name: stage}, "required": [name], "additionalProperties": False}
        )
    properties["train"] = {"anyOf": [*trainers, {"type": "null"}], "description": "One method alone."}
    properties["stages"] = {
        "anyOf": [{"type": "array", "items": {"anyOf": stages}, "minItems": 1}, {"type": "null"}],
        "description": "What is trained, in order, each from an earlier stage or a model.",
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "prefdata recipe",
        "type": "object",
        "properties": properties,
        "required": ["sources"],
        "additionalProperties": False,
        "$defs": definitions,
    }
