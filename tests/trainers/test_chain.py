"""Stages of one recipe, from a raw log to a trained model: what they are given, what they go on from, what stands."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from faq_log import RECIPE, write_faq

from prefdata import runner, training_stages
from prefdata.errors import InputError, RecipeError
from prefdata.io import sha256_file
from prefdata.recipe import Recipe, parse
from prefdata.rundir import RunDir
from prefdata.runner import RunResult
from prefdata.training_seen import seen_by
from prefdata.training_stages import rows_for
from trainers import loop
from trainers.job import read_stage
from trainers.start import open_start

pytestmark = [pytest.mark.train, pytest.mark.usefixtures("one_thread")]

QUICK = (
    "lora_r: 4, lora_alpha: 8, per_device_batch: 4, gradient_accumulation: 1, max_length: 256, max_steps: 3, "
    "save_steps: 1, learning_rate: 0.01, samples: 1, sample_tokens: 4, n_bootstrap: 50, report_to: []"
)
STAGES = """
stages:
  - sft: {{model: {model}, {quick}{more}}}
  - dpo: {{{quick}}}
"""


def recipe_of(folder: Path, stages: str, **values: Any) -> Recipe:
    if not (folder / "faq.csv").is_file():
        write_faq(folder)
    return parse(RECIPE + stages.format(**{"quick": QUICK, "more": "", **values}), root=folder)


def trained(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((path / "run.json").read_text(encoding="utf-8"))["training"]
    return found


def weights(path: Path, stage: str) -> bytes:
    return (path / "model" / stage / "adapter" / "adapter_model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> RunResult:
    """A raw log, an SFT stage on its good replies, a DPO stage on pairs of replies to the same question."""
    import torch

    folder = tmp_path_factory.mktemp("chain")
    recipe = recipe_of(folder, STAGES, model=tiny_model)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the tests, whose fixture comes too late for this one
    result = runner.run(recipe, out=folder / "run")
    torch.set_num_threads(threads)
    return result


def test_stages_are_given_the_rows_that_their_method_reads(chain: RunResult) -> None:
    sft, dpo = trained(chain.path)
    assert (sft["data"]["type"], sft["data"]["as"]) == ("unpaired", "sft")
    assert sft["data"]["train"]["rows"] == 24
    assert sft["data"]["train"]["unmade"] == {"undesirable": 24}
    assert sft["data"]["evaluation"]["rows"] == 8
    assert (dpo["data"]["type"], dpo["data"]["as"]) == ("unpaired", "preference")
    assert dpo["data"]["train"]["rows"] == 48
    assert dpo["data"]["evaluation"]["rows"] == 16
    for one in (sft, dpo):
        folder = chain.path / "training" / one["stage"]
        assert one["data"]["train"]["sha256"] == sha256_file(folder / "train.parquet")


def test_no_prompt_of_a_stage_stands_on_two_sides_of_the_split(chain: RunResult) -> None:
    prompts = {
        (stage, side): set(
            pl.read_parquet(chain.path / "training" / stage / f"{side}.parquet")["prompt"].map_elements(
                lambda turns: turns[0]["content"], return_dtype=pl.String
            )
        )
        for stage in ("sft", "dpo")
        for side in ("train", "evaluation")
    }
    assert prompts["sft", "train"] == prompts["dpo", "train"]
    assert len(prompts["sft", "evaluation"]) == 4
    assert prompts["sft", "train"] & prompts["dpo", "evaluation"] == set()


def test_run_json_tells_the_lineage_back_to_the_hashes_of_the_input(chain: RunResult) -> None:
    sft, dpo = trained(chain.path)
    facts = json.loads((chain.path / "run.json").read_text(encoding="utf-8"))
    assert (sft["parent"], sft["lineage"]) == (None, ["sft"])
    assert (dpo["parent"], dpo["lineage"]) == ({"stage": "sft", "key": sft["key"]}, ["sft", "dpo"])
    for one in (sft, dpo):
        assert one["data"]["inputs"] == facts["inputs"]
        assert one["data"]["inputs"]["chats"]["faq.csv"] == sha256_file(chain.path.parent / "faq.csv")
        record = read_stage(chain.path / one["path"]).record
        assert (record["key"], record["data"]["sha256"]) == (one["key"], one["data"]["tokens_sha256"])
    assert read_stage(chain.path / "model/dpo").record["lineage"][0]["key"] == sft["key"]
    assert json.loads((chain.path / "report.json").read_text(encoding="utf-8"))["training"] == [sft, dpo]
    assert chain.model == chain.path / "model" / "dpo"


def test_rows_that_are_kept_tell_of_the_files_that_they_come_from_now(
    chain: RunResult, tiny_model: Path, tmp_path: Path
) -> None:
    shutil.copytree(chain.path, tmp_path / "run", ignore=shutil.ignore_patterns("model"))
    facts = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))
    facts["inputs"]["chats"]["faq.csv"] = "0" * 64  # such as after an edit of a row that is dropped
    (tmp_path / "run" / "run.json").write_text(json.dumps(facts), encoding="utf-8")
    recipe = recipe_of(chain.path.parent, STAGES, model=tiny_model)
    given = rows_for(RunDir(tmp_path / "run"), recipe, recipe.stages[0])
    assert given.account["inputs"] == {"chats": {"faq.csv": "0" * 64}}


def test_a_finished_chain_is_taken_as_it_is(chain: RunResult, tiny_model: Path) -> None:
    stamps = [(chain.path / "model" / stage / "stage.json").stat().st_mtime_ns for stage in ("sft", "dpo")]
    before = trained(chain.path)
    runner.run(recipe_of(chain.path.parent, STAGES, model=tiny_model), out=chain.path)
    assert [(chain.path / "model" / one / "stage.json").stat().st_mtime_ns for one in ("sft", "dpo")] == stamps
    assert trained(chain.path) == before


def test_a_run_holds_no_place_of_this_machine_and_may_be_moved(
    chain: RunResult, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for part in ("model", "training"):
        for file in (chain.path / part).rglob("*"):
            assert not file.is_file() or str(tiny_model.parent.parent).encode() not in file.read_bytes(), file.name
    shutil.copytree(chain.path.parent, tmp_path / "moved")
    shutil.copytree(tiny_model, tmp_path / "elsewhere" / tiny_model.name)
    run, model = tmp_path / "moved" / "run", tmp_path / "elsewhere" / tiny_model.name
    with pytest.raises(InputError, match=r"sft: its start model is not there, at \.\..*run the recipe once more"):
        open_start(run / "model" / "dpo")
    monkeypatch.setattr(loop, "run", None)  # trained anew, it would be called
    runner.train(recipe_of(tmp_path / "moved", STAGES, model=model), out=run)
    assert [one["key"] for one in trained(run)] == [one["key"] for one in trained(chain.path)]
    start = open_start(run / "model" / "dpo")
    assert (start.folder.resolve(), len(start.parents)) == (model, 2)
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    (model / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": False}))
    with pytest.raises(InputError, match=rf"model {tiny_model.name}: its config\.json is not that which the stage"):
        open_start(run / "model" / "dpo")


def test_held_out_rows_are_none_that_the_start_was_trained_on_in_another_run(
    chain: RunResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    known = seen_by(chain.path / "model" / "dpo")
    assert ([len(one) for one in known.prompts], known.unknown) == ([48, 24], [])
    shutil.copytree(chain.path, tmp_path / "bare", ignore=shutil.ignore_patterns("training"))
    (tmp_path / "other" / "training").mkdir(parents=True)
    shutil.copytree(chain.path / "kept", tmp_path / "other" / "kept")
    shutil.copyfile(chain.path / "run.json", tmp_path / "other" / "run.json")
    monkeypatch.setattr(
        training_stages, "rows_for", lambda *of: (given := rows_for(*of))._replace(evaluation=given.train)
    )
    for start, shared, unknown, left in ((chain.path, 24, None, 0), (tmp_path / "bare", 0, ["sft"], 24)):
        stages = "stages: [{{sft: {{model: {model}}}}}]"
        recipe = recipe_of(chain.path.parent, stages, model=start / "model" / "sft")
        asked: list[training_stages.Given] = []

        def stopped(stage: Any, start: str, given: training_stages.Given, asked: Any = asked) -> Any:
            asked.append(given)
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            training_stages.train(
                RunDir(tmp_path / "other"),
                recipe,
                {"sft": str(start / "model" / "sft")},
                training_rows="",
                trainer=stopped,
                progress=lambda *_: None,
            )
        (given,) = asked
        assert given.account.get("shared_prompts", 0) == shared
        assert given.account.get("shared_prompts_unknown") == unknown
        assert given.evaluation.height == left
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        "stage sft: sft was trained in another run, whose rows are not there or not those; whether held-out rows were "
        "among them cannot be known"
    ]


def test_a_chain_cut_off_within_a_stage_ends_in_the_same_weights(
    chain: RunResult, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trainers import callbacks

    real = callbacks.Bar.on_step_end
    steps = iter(range(100))

    def cut(self: Any, *arguments: Any, **rest: Any) -> None:
        real(self, *arguments, **rest)
        if next(steps) == 4:  # the second step of DPO
            raise KeyboardInterrupt

    recipe = recipe_of(tmp_path, STAGES, model=tiny_model)
    monkeypatch.setattr(callbacks.Bar, "on_step_end", cut)
    with pytest.raises(KeyboardInterrupt):
        runner.run(recipe, out=tmp_path / "run")
    monkeypatch.setattr(callbacks.Bar, "on_step_end", real)
    assert [one["stage"] for one in trained(tmp_path / "run")] == ["sft"]
    (tmp_path / "run/model/dpo/.adapter.tmp").mkdir()  # what a kill while saving leaves
    stamp = (tmp_path / "run/model/sft/stage.json").stat().st_mtime_ns
    runner.run(recipe, out=tmp_path / "run")
    assert (tmp_path / "run/model/sft/stage.json").stat().st_mtime_ns == stamp
    assert trained(tmp_path / "run") == trained(chain.path)
    for stage in ("sft", "dpo"):
        assert weights(tmp_path / "run", stage) == weights(chain.path, stage)
        metrics = [read_stage(path / "model" / stage).record["metrics"] for path in (tmp_path / "run", chain.path)]
        assert metrics[0] == metrics[1]


def test_a_stage_whose_start_was_trained_anew_is_trained_anew(
    chain: RunResult, tiny_model: Path, tmp_path: Path
) -> None:
    shutil.copytree(chain.path.parent, tmp_path / "copy")
    run = tmp_path / "copy" / "run"
    (old_sft, old_dpo) = trained(run)
    recipe = recipe_of(tmp_path / "copy", STAGES, model=tiny_model, more=", seed: 5")
    runner.train(recipe, out=run, stage="sft")
    (only,) = trained(run)  # DPO stands for the other SFT model, so it is no longer told of
    assert only["stage"] == "sft"
    assert only["key"] != old_sft["key"]
    runner.train(recipe, out=run)
    sft, dpo = trained(run)
    assert sft == only
    assert (dpo["parent"]["key"], dpo["key"] != old_dpo["key"]) == (sft["key"], True)
    assert weights(run, "dpo") != weights(chain.path, "dpo")


def test_training_alone_needs_the_rows_of_the_recipe(chain: RunResult, tiny_model: Path) -> None:
    folder = chain.path.parent
    other = parse(
        RECIPE.replace("evaluation: 0.25", "evaluation: 0.5") + STAGES.format(model=tiny_model, quick=QUICK, more=""),
        root=folder,
    )
    with pytest.raises(RecipeError, match="was made with other split than the recipe has now"):
        runner.train(other, out=chain.path)
    with pytest.raises(RecipeError, match="unknown stage 'dpo2'; did you mean 'dpo'"):
        runner.train(recipe_of(folder, STAGES, model=tiny_model), out=chain.path, stage="dpo2")
    with pytest.raises(InputError, match=r"no run\.json there"):
        runner.train(recipe_of(folder, STAGES, model=tiny_model), out=folder / "nowhere")


def test_every_fault_of_the_stages_is_told_before_the_data_is_touched(tmp_path: Path, tiny_model: Path) -> None:
    stages = """
stages:
  - sft:
      model: {model}
      args: {{packin: true}}
  - dpo:
      model: no-such-model
      args:
        beta: 0.5
  - kto: {{from: sft, chat_template: chatml}}
  - grpo: {{from: sft, rewards: {{toxicty: {{}}}}}}
"""
    recipe = recipe_of(tmp_path, stages, model=tiny_model)
    with pytest.raises(RecipeError) as error:
        runner.run(recipe, out=tmp_path / "run")
    told = "\n".join(error.value.faults)
    first = RECIPE.count("\n") + 2
    assert f"line {first + 3}: stages[0].sft.args.packin: unknown key 'packin'; did you mean 'packing'?" in told
    assert f"line {first + 7}: stages[1].dpo.args.beta: beta is not passed through" in told
    assert f"line {first + 5}: stages[1].dpo.model: unknown model 'no-such-model'" in told
    assert "stages[3].grpo.rewards" in told
    assert "did you mean 'toxicity'" in told
    assert not (tmp_path / "run" / "records").exists()


def test_a_stage_without_rows_stops_the_run_before_any_is_trained(tmp_path: Path, tiny_model: Path) -> None:
    recipe = recipe_of(tmp_path, "match: {{max_reply_similarity: 0}}\n" + STAGES, model=tiny_model)
    with pytest.raises(
        InputError, match=r"stage dpo: no preference rows made of unpaired rows to train on \(.*near_equal"
    ):
        runner.run(recipe, out=tmp_path / "run")
    assert not (tmp_path / "run" / "model").exists()
