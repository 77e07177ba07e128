"""`stages:` of a recipe: what each is given and starts from, and every fault with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from prefdata.errors import RecipeError
from prefdata.plan import plan
from prefdata.recipe import Recipe, from_resolved, parse
from prefdata.recipe_schema import json_schema

LOG = "sources:\n  - {name: log, path: log.csv, layout: events}\n  - {name: more, path: more.csv, layout: events}\n"
CHAIN = """stages:
  - sft: {model: smollm2-135m, data: {sources: [log]}}
  - reward
  - grpo:
      rewards:
        reward_model: {from: reward, weight: 2}
        length: {max: 200}
  - dpo: {from: sft}
  - kto: {name: last}
"""


def made(stages: str, root: Path = Path(".")) -> Recipe:
    return parse(LOG + stages, root=root)


def test_a_stage_starts_from_the_newest_one_before_it_that_is_no_reward_model() -> None:
    stages = made(CHAIN).stages
    assert [(stage.name, stage.method, stage.model, stage.start) for stage in stages] == [
        ("sft", "sft", "smollm2-135m", None),
        ("reward", "reward", None, "sft"),
        ("grpo", "grpo", None, "sft"),
        ("dpo", "dpo", None, "sft"),
        ("last", "kto", None, "dpo"),
    ]
    assert stages[0].data.sources == ("log",)
    assert stages[1].data.sources is None


def test_a_reward_may_be_the_model_of_an_earlier_stage() -> None:
    stage = made(CHAIN).stages[2]
    assert stage.scored_by == {"reward_model": "reward"}
    assert stage.settings.rewards == {"reward_model": {"weight": 2, "model": "reward"}, "length": {"max": 200}}
    assert stage.resolved()["settings"]["rewards"]["reward_model"] == {"weight": 2, "from": "reward"}


def test_a_resolved_chain_reads_as_the_chain_it_came_from() -> None:
    recipe = made(CHAIN)
    assert from_resolved(recipe.resolved(), root=Path(".")) == recipe
    assert recipe.resolved()["train"] is None


def test_one_method_under_train_is_one_stage() -> None:
    recipe = made("train: {method: kto, model: m, beta: 0.2}\n")
    (stage,) = recipe.stages
    assert (stage.name, stage.method, stage.model, stage.settings.beta) == ("kto", "kto", "m", 0.2)
    assert "stages" not in recipe.resolved()
    assert recipe.resolved()["train"]["model"] == "m"
    assert from_resolved(recipe.resolved(), root=Path(".")) == recipe


def test_the_plan_says_what_each_stage_is_trained_from_and_on(tmp_path: Path) -> None:
    for name in ("log.csv", "more.csv"):
        (tmp_path / name).write_text("x")
    steps = [step for step in plan(made(CHAIN, tmp_path), train=True) if step.startswith("train")]
    assert steps == [
        "train: sft from smollm2-135m on sft rows built of unpaired rows of log",
        "train: reward from stage sft on preference rows built of unpaired rows",
        "train: grpo from stage sft on prompt rows built of unpaired rows",
        "train: dpo from stage sft on preference rows built of unpaired rows",
        "train: last (kto) from stage dpo on unpaired rows",
    ]


FAULTS = {
    "both": ("train: {method: kto, model: m}\nstages: [sft]", "stages: `train` is there too"),
    "none": ("stages: []", "stages: expected a list of stages"),
    "no model": ("stages:\n  - sft", "stages[0].sft: expected `model`: the name of a model, or its folder"),
    "unknown method": ("stages:\n  - dop: {model: m}", "stages[0]: unknown trainer 'dop'; did you mean 'dpo'?"),
    "unknown setting": ("stages:\n  - dpo: {model: m, bta: 1}", "stages[0].dpo.bta: unknown setting; did you mean"),
    "later stage": (
        "stages:\n  - sft: {model: m}\n  - dpo: {from: kto}\n  - kto",
        "stages[1].dpo.from: no earlier stage 'kto'; known: sft. A model is named with `model`",
    ),
    "model and start": (
        "stages:\n  - sft: {model: m}\n  - dpo: {from: sft, model: m}",
        "stages[1].dpo.from: `model` is there too",
    ),
    "twice": (
        "stages:\n  - sft: {model: m}\n  - sft",
        "stages[1].sft: 'sft' is the name of an earlier stage; give this one a `name:` of its own",
    ),
    "from a reward model": (
        "stages:\n  - reward: {model: m}\n  - dpo: {from: reward}",
        "stages[1].dpo.from: reward is a reward model; it scores answers and cannot be trained on",
    ),
    "reward of no stage": (
        "stages:\n  - sft: {model: m}\n  - grpo: {rewards: {reward_model: {from: sft}}}",
        "stages[1].grpo.rewards.reward_model.from: no earlier reward stage 'sft'; none stands before it",
    ),
    "unknown source": (
        "stages:\n  - kto: {model: m, data: {sources: [logs]}}",
        "stages[0].kto.data.sources: no such source 'logs'; did you mean 'log'?",
    ),
    "no such recipe": (
        "stages:\n  - kto: {model: m, data: {recipe: other.yaml}}",
        "stages[0].kto.data.recipe: other.yaml: no such file",
    ),
    "unreachable": (
        "type: sft\nstages:\n  - dpo: {model: m}",
        "stages[0].dpo: dpo trains on preference rows; sft rows cannot become preference; they can be: sft, prompt",
    ),
    "template": (
        "stages:\n  - sft: {model: m, chat_template: chatlm}",
        "stages[0].sft.chat_template: chatlm; expected chatml, llama3, plain, or null",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_wrong_stage_says_what_to_write(name: str) -> None:
    stages, expected = FAULTS[name]
    with pytest.raises(RecipeError) as error:
        made(stages)
    assert expected in "\n".join(error.value.faults)


def test_all_faults_are_told_at_once_each_with_its_line() -> None:
    text = "stages:\n  - sft:\n      modell: m\n      max_steps: 0\n  - dpo:\n      from: stf\n      beta: x\n"
    with pytest.raises(RecipeError) as error:
        made(text)
    told = [fault.split(": ")[:2] for fault in error.value.faults]
    assert told == [
        ["line 5", "stages[0].sft"],
        ["line 6", "stages[0].sft.modell"],
        ["line 7", "stages[0].sft.max_steps"],
        ["line 9", "stages[1].dpo.from"],
        ["line 10", "stages[1].dpo.beta"],
    ]


def test_faults_of_the_recipe_that_a_stage_takes_rows_from_are_told_too(tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text("name: other\nsources: []\nsplt: {}\n")
    with pytest.raises(RecipeError) as error:
        made("stages:\n  - kto: {model: m, data: {recipe: other.yaml}}", tmp_path)
    told = "\n".join(error.value.faults)
    assert "stages[0].kto.data.recipe: other.yaml: line 3: splt: unknown key; did you mean 'split'?" in told
    assert "other.yaml: line 2: sources: expected a list" in told


def test_the_schema_knows_every_method_as_a_stage() -> None:
    items = json_schema()["properties"]["stages"]["anyOf"][0]["items"]["anyOf"]
    assert items[0]["enum"] == ["dpo", "grpo", "kto", "reward", "rloo", "sft"]
    named = {name: one["properties"][name]["anyOf"][0]["properties"] for one in items[1:] for name in one["required"]}
    assert sorted(named) == items[0]["enum"]
    assert {"from", "data", "model", "name", "beta"} <= set(named["dpo"])
