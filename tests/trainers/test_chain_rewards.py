"""A reward model and a scorer as rewards of a later stage, rows of another recipe, and stages in launched processes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from faq_log import BAD, GOOD, QUESTIONS, RECIPE, write_faq

from prefdata import runner, training_stages, training_worker
from prefdata.errors import RecipeError
from prefdata.recipe import Recipe, parse
from trainers.job import read_stage

pytestmark = [pytest.mark.train, pytest.mark.usefixtures("one_thread")]

QUICK = (
    "lora_r: 4, lora_alpha: 8, per_device_batch: 4, gradient_accumulation: 1, max_length: 256, max_steps: 2, "
    "save_steps: 0, learning_rate: 0.01, samples: 0, n_bootstrap: 50, report_to: []"
)
OTHER = """
name: pairs
sources:
  - {name: pairs, path: pairs.jsonl, format: trl}
filters: []
groupings: []
split: {evaluation: 0.2}
"""
STAGES = """
stages:
  - reward: {{model: {model}, data: {{recipe: other.yaml}}, {quick}}}
  - grpo:
      model: {model}
      rewards:
        reward_model: {{from: reward}}
        rude: {{kind: toxicity, weight: 0.5, model: lexical}}
      num_generations: 2
      max_completion_length: 8
      probe_prompts: 0
      max_evaluation_rows: 2
      {rest}
"""


def recipe_of(folder: Path, model: Path, stages: str = STAGES) -> Recipe:
    if not (folder / "faq.csv").is_file():
        write_faq(folder)
        (folder / "other.yaml").write_text(OTHER, encoding="utf-8")
        with open(folder / "pairs.jsonl", "w", encoding="utf-8") as file:
            for number, question in enumerate(QUESTIONS):
                pair = {"prompt": question, "chosen": GOOD[number % 2], "rejected": BAD[number % 2]}
                print(json.dumps(pair), file=file)
    return parse(RECIPE + stages.format(model=model, quick=QUICK, rest=QUICK.replace(", ", "\n      ")), root=folder)


def test_grpo_is_rewarded_by_a_stage_and_a_scorer_in_a_process_of_its_own(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trainers import launching

    launched: list[tuple[str, str | None, int | None]] = []

    def launch(module: str, arguments: list[str], *, config: str | None, processes: int | None) -> None:
        assert module == training_worker.MODULE
        launched.append((Path(arguments[0]).name, config, processes))
        training_worker.work(Path(arguments[0]))

    monkeypatch.setattr(launching, "launch", launch)
    recipe = recipe_of(tmp_path, tiny_model)
    run = tmp_path / "run"
    runner.run(recipe, out=run, train=False)
    trainer = training_worker.launched(run, recipe, config="ddp_cpu", processes=2)
    result = runner.train(recipe, out=run, trainer=trainer)
    assert launched == [("reward", "ddp_cpu", 2), ("grpo", "ddp_cpu", 2)]
    reward, grpo = json.loads((run / "run.json").read_text(encoding="utf-8"))["training"]
    assert reward["data"]["run"] == "data/pairs"
    assert (reward["data"]["type"], reward["data"]["as"]) == ("preference", "preference")
    assert list(reward["data"]["inputs"]["pairs"]) == ["pairs.jsonl"]
    assert (run / "data" / "pairs" / "report.html").is_file()
    assert grpo["rewards"] == {"reward_model": {"stage": "reward", "key": reward["key"]}}
    assert (grpo["parent"], grpo["data"]["as"]) == (None, "prompt")
    assert grpo["data"]["shared_prompts"] > 0  # the pairs hold the same questions, so these are not held out
    record = read_stage(result.path / "model" / "grpo").record
    assert record["settings"]["rewards"]["reward_model"] == {"model": "reward"}
    assert str(tmp_path) not in json.dumps(record["settings"])
    stamp = (run / "model/grpo/stage.json").stat().st_mtime_ns
    runner.train(recipe, out=run, stage="grpo")  # in this process: the same stages
    assert (run / "model/grpo/stage.json").stat().st_mtime_ns == stamp


FAULTS: dict[str, tuple[str, str]] = {
    "no reward": (
        "stages:\n  - grpo: {{model: {model}}}",
        "stages[0].grpo.rewards: none; name at least one",
    ),
    "scorer's setting": (
        "stages:\n  - grpo: {{model: {model}, rewards: {{toxicity: {{modell: lexical}}}}}}",
        "stages[0].grpo.rewards.toxicity: toxicity.modell: unknown setting",
    ),
    "reward model": (
        "stages:\n  - grpo: {{model: {model}, rewards: {{nice: {{kind: reward_model, model: nowhere}}}}}}",
        "stages[0].grpo.rewards: no folder of a reward model 'nowhere', seen from the recipe",
    ),
    "groups": (
        "stages:\n  - grpo: {{model: {model}, rewards: {{length: null}}, per_device_batch: 3, num_generations: 2, "
        "gradient_accumulation: 1}}",
        "stages[0].grpo",
    ),
    "unreachable": (
        "stages:\n  - dpo: {{model: {model}, data: {{recipe: prompts.yaml}}}}",
        "stages[0].dpo: dpo trains on preference rows; prompt rows cannot become preference",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_wrong_reward_or_recipe_is_told_before_the_data_is_touched(
    tiny_model: Path, tmp_path: Path, name: str
) -> None:
    stages, expected = FAULTS[name]
    (tmp_path / "prompts.yaml").write_text(OTHER.replace("name: pairs\n", "name: prompts\ntype: prompt\n", 1))

    def told() -> Any:
        runner.run(recipe_of(tmp_path, tiny_model, stages), out=tmp_path / "run")

    with pytest.raises(RecipeError) as error:
        told()
    assert expected in "\n".join(error.value.faults)
    assert not (tmp_path / "run" / "records").exists()


def test_the_folder_of_a_reward_model_is_seen_from_the_recipe(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "judge").mkdir()
    rewards = "nice: {{kind: reward_model, model: judge}}, own: {{kind: reward_model, from: reward}}, length: null"
    stages = "stages:\n  - reward: {{model: {model}}}\n  - grpo: {{model: {model}, rewards: {{" + rewards + "}}}}"
    recipe = recipe_of(tmp_path, tiny_model, stages)
    assert training_stages.reward_folders(tmp_path / "run", recipe, recipe.stages[1]) == {
        "judge": str(tmp_path / "judge"),
        "reward": str(tmp_path / "run" / "model" / "reward"),
    }
