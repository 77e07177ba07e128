"""Recipes: strict, all faults at once, each with its line; YAML's surprises are none."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from prefdata.errors import RecipeError
from prefdata.recipe import load, parse
from prefdata.recipe_schema import json_schema

GOOD = """
name: demo
seed: 3
sources:
  - name: chats
    path: chats.csv
    layout:
      events:
        columns: {session: ticket, role: who, text: body}
        roles: {customer: [user], agent: [staff]}
    ratings: {scale: [1, 5]}
filters:
  - chat_quality
  - toxicity: {max_toxicity: 0.7}
"""


def faults(text: str) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        parse(text, root=Path())
    return caught.value.faults


def test_a_recipe_resolves_with_every_default() -> None:
    recipe = parse(GOOD, root=Path())
    resolved = recipe.resolved()
    assert resolved["seed"] == 3
    assert [entry["name"] for entry in resolved["filters"]] == ["chat_quality", "toxicity"]
    assert resolved["filters"][1]["settings"]["max_toxicity"] == 0.7
    assert [entry["name"] for entry in resolved["groupings"]] == ["exact_duplicates", "near_duplicates"]
    assert resolved["unjudged"] == "keep"
    assert json.loads(json.dumps(resolved)) == resolved


def test_all_faults_come_at_once_with_line_and_nearest_name() -> None:
    text = GOOD + "unjudjed: keep\nshard_rows: 0\ngroupings:\n  - near_duplicate\nsplit: {evaluation: 1.5}\n"
    found = faults(text.replace("max_toxicity", "max_toxcity"))
    assert len(found) == 5
    assert any(fault.startswith("line 15: unjudjed: unknown key; did you mean 'unjudged'?") for fault in found)
    assert any(
        "line 14: filters[1].toxicity.max_toxcity: unknown setting; did you mean 'max_toxicity'?" in f for f in found
    )
    assert any(fault.startswith("line 16: shard_rows: expected a whole number of at least 1") for fault in found)
    assert any("unknown grouping 'near_duplicate'; did you mean 'near_duplicates'?" in fault for fault in found)
    assert any("split.evaluation: 1.5, expected a fraction" in fault for fault in found)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "the file is empty"),
        ("- a\n- b\n", "a recipe is a mapping"),
        ("name: a\nname: b\n", "line 2: name: the key stands there twice"),
        ("sources: &x []\nfilters: *x\n", "aliases are not allowed"),
        ("seed: .nan\n", "expected a whole number"),
        ("name: !!python/object/apply:os.system [ls]\n", "a tag; a recipe holds plain values only"),
        ("name: [\n", "line"),
        (GOOD.replace("chats.csv", "https://example.com/a.csv"), "an address, not a file"),
        (GOOD.replace("seed: 3", "seed: -1"), "seed: expected a whole number of at least 0"),
        (GOOD.replace("max_toxicity: 0.7", "max_toxicity: high"), "filters[1].toxicity.max_toxicity"),
    ],
)
def test_bad_recipes_are_refused(text: str, fault: str) -> None:
    assert fault in "\n".join(faults(text))


def test_yaml_scalars_are_what_they_look_like() -> None:
    recipe = parse(GOOD.replace("[user]", '[no, 010, 12:30, "1e-5"]').replace("0.7", "7e-1"), root=Path())
    assert recipe.sources[0].layout.settings.roles["customer"] == ["no", "010", "12:30", "1e-5"] or recipe.sources[
        0
    ].layout.settings.roles["customer"] == ("no", "010", "12:30", "1e-5")
    assert recipe.filters[1].settings.max_toxicity == 0.7


def test_a_missing_file_is_a_recipe_error(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="No such file"):
        load(tmp_path / "none.yaml")


def test_the_json_schema_accepts_the_sample_recipes_and_refuses_unknown_keys() -> None:
    import yaml

    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for file in sorted((Path(__file__).resolve().parents[1] / "recipes").glob("*.yaml")):
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
        assert list(validator.iter_errors(data)) == [], file.name
        assert not validator.is_valid({**data, "sauces": []})
