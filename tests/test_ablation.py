"""Which filters pay: planted noise is seen, a filter by chance is not; what is held out stays out."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from prefdata.ablation import Settings, ablate
from prefdata.ablation.sets import HELD_OUT, SET_ASIDE, TRAIN, sets
from prefdata.ablation.settings import chosen_head
from prefdata.engine import LocalEngine
from prefdata.errors import InputError, RecipeError
from prefdata.importing import typed
from prefdata.recipe import load
from prefdata.rundir import RunDir
from prefdata.runner import run
from prefdata.stages import State, state_of

_file = Path(__file__).parents[1] / "benchmarks" / "ablation.py"
_spec = importlib.util.spec_from_file_location("benchmark_ablation", _file)
assert _spec is not None
assert _spec.loader is not None
planted: Any = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(planted)

QUICK = Settings(head="words", draws=12, resamples=100)


def state(recipe: Path, out: Path) -> State:
    """The state of a run of `recipe` in `out`, built."""
    run(recipe, out=out, train=False)
    return state_of(typed(load(recipe)), RunDir(out), LocalEngine(), lambda step, done, total: None)


def arms(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in result["arms"]}


@pytest.fixture(scope="module", params=["unpaired", "pairs"])
def found(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, dict[str, Any]]:
    """Type, recipe and the result of an ablation of planted rows."""
    folder = tmp_path_factory.mktemp(request.param)
    recipe = planted.write(folder, pairs=request.param == "pairs")
    done = ablate(recipe, out=folder / "run", settings=QUICK)
    return request.param, recipe, done.result


def test_a_filter_that_catches_noise_pays(found: tuple[str, Path, dict[str, Any]]) -> None:
    one = arms(found[2])[planted.NOISE]
    assert one["verdict"] == "pays"
    assert one["difference"]["low"] > 0.02
    assert one["difference"]["p_holm"] < 0.05
    assert one["log_loss_difference"]["high"] < 0
    assert one["restored"] > 80


def test_a_filter_that_drops_by_chance_is_not_said_to_pay(found: tuple[str, Path, dict[str, Any]]) -> None:
    one = arms(found[2])[planted.CHANCE]
    assert one["verdict"] == "not_shown"
    assert one["difference"]["low"] < 0 < one["difference"]["high"]
    assert 0 < one["difference"]["detectable"] < 0.1
    assert one["restored"] > 80


def test_what_drops_no_training_row_is_not_trained(found: tuple[str, Path, dict[str, Any]]) -> None:
    one = arms(found[2])["chat_quality.reply_too_long"]
    assert {key: one[key] for key in ("verdict", "dropped", "alone", "restored", "lost", "same_as")} == {
        "verdict": "no_rows",
        "dropped": 0,
        "alone": 0,
        "restored": 0,
        "lost": 0,
        "same_as": "full recipe",
    }
    assert "difference" not in one


def test_sets_that_are_the_same_are_compared_once(found: tuple[str, Path, dict[str, Any]]) -> None:
    named = arms(found[2])
    assert (named["chat_quality"]["same_as"], named["chat_quality"]["kind"]) == (None, "filter")
    assert found[2]["compared"] == len({one["training_rows"] for one in named.values() if one["restored"]}) == 3


def test_the_metric_is_that_of_the_type(found: tuple[str, Path, dict[str, Any]]) -> None:
    assert found[2]["metric"] == {"unpaired": "auc", "pairs": "accuracy"}[found[0]]
    figure = found[2]["full"]["clean"][found[2]["metric"]]
    assert 0.6 < figure["low"] < figure["value"] < figure["high"] < 1
    assert found[2]["full"]["clean"]["log_loss"]["value"] < 0.69


def test_noise_held_out_is_told_beside(found: tuple[str, Path, dict[str, Any]]) -> None:
    metric = found[2]["metric"]
    assert found[2]["full"]["unfiltered"][metric]["value"] < found[2]["full"]["clean"][metric]["value"] - 0.05


def test_all_arms_train_on_equally_many_rows(found: tuple[str, Path, dict[str, Any]]) -> None:
    budget = found[2]["training"]["budget"]
    assert 0 < budget["least"] <= budget["most"] <= found[2]["training"]["rows"] / 2


def test_the_same_settings_give_the_same_result_and_train_nothing_again(
    found: tuple[str, Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefdata.ablation import heads as ablation_heads

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a head was trained again")

    monkeypatch.setattr(ablation_heads, "train", refuse)
    again = ablate(found[1], run=found[1].parent / "run", settings=QUICK)
    assert again.result == found[2]
    assert json.loads((again.path / "ablation.json").read_text()) == found[2]


def test_a_set_whose_file_was_cut_short_is_trained_anew(found: tuple[str, Path, dict[str, Any]]) -> None:
    kept = sorted((found[1].parent / "run" / "ablation" / "sets").glob("*.parquet"))
    assert len(kept) == 4
    kept[0].write_bytes(kept[0].read_bytes()[:100])
    assert ablate(found[1], run=found[1].parent / "run", settings=QUICK).result == found[2]


def test_only_names_what_is_left_out(found: tuple[str, Path, dict[str, Any]]) -> None:
    settings = Settings(head="words", draws=3, resamples=20, only=(planted.CHANCE,))
    done = ablate(found[1], run=found[1].parent / "run", settings=settings)
    assert list(arms(done.result)) == [planted.CHANCE]


def test_a_name_that_is_not_there_is_told_with_the_nearest(found: tuple[str, Path, dict[str, Any]]) -> None:
    settings = Settings(head="words", only=("chat_qality",))
    with pytest.raises(RecipeError, match="chat_qality: not in this recipe; did you mean 'chat_quality'"):
        ablate(found[1], run=found[1].parent / "run", settings=settings)


def test_a_threshold_may_differ_from_the_run_and_nothing_is_scored(
    found: tuple[str, Path, dict[str, Any]], tmp_path: Path
) -> None:
    if found[0] == "unpaired":
        pytest.skip("once is enough")
    text = found[1].read_text(encoding="utf-8").replace("min_prompt_words: 4", "min_prompt_words: 2")
    other = found[1].with_name("other.yaml")
    other.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="its rows are not this recipe's"):  # a dataset's rows depend on its filters
        ablate(other, run=found[1].parent / "run", settings=QUICK)


def test_the_run_itself_is_left_as_it_was(tmp_path: Path) -> None:
    recipe = planted.write(tmp_path, rows=300)
    run(recipe, out=tmp_path / "run", train=False)

    def files() -> dict[str, bytes]:
        parts = [path for path in sorted((tmp_path / "run").rglob("*")) if path.is_file()]
        left_out = ("ablation", "edges")  # edges: near-duplicates are looked for even where no recipe asks for them
        return {
            str(path): path.read_bytes()
            for path in parts
            if not set(path.relative_to(tmp_path / "run").parts) & {*left_out, "run.log.jsonl", ".lock"}
        }

    before = files()
    ablate(recipe, run=tmp_path / "run", settings=Settings(head="words", draws=2, resamples=10, only=(planted.NOISE,)))
    assert files() == before


def test_no_copy_of_a_held_out_row_is_trained_on_whatever_is_left_out(tmp_path: Path) -> None:
    recipe = planted.write(tmp_path, rows=400, copies=True)
    lines = (tmp_path / "planted.jsonl").read_text().splitlines()
    # short courtesies, too short to tie units: the same answer below many prompts
    lines += [
        json.dumps({"prompt": f"Thanks {'abcdefghij'[number % 10]}!", "completion": "You are welcome.", "label": True})
        for number in range(60)
    ]
    (tmp_path / "planted.jsonl").write_text("\n".join(lines) + "\n")
    text = recipe.read_text().replace("groupings: [near_duplicates]", "groupings: [exact_duplicates, near_duplicates]")
    recipe.write_text(text)
    made = sets(state(recipe, tmp_path / "run"), share=0.4)
    rows = made.rows
    held = set(rows.filter(pl.col("side") == HELD_OUT)["id"])
    assert held
    for arm in made.arms:
        assert not held & set(arm.training)
    assert not set(rows.filter(pl.col("side") == TRAIN)["unit"]) & set(rows.filter(pl.col("side") == HELD_OUT)["unit"])
    records = pl.concat([pl.read_parquet(path) for path in sorted((tmp_path / "run" / "records").glob("*.parquet"))])
    said = records.join(rows, on="id").select(
        "side",
        asked=pl.col("prompt").list.first().struct.field("content"),
        answer=pl.col("completion").list.first().struct.field("content"),
    )
    sides = said.filter(pl.col("side") != SET_ASIDE).group_by("asked", "answer").agg(pl.col("side").n_unique())
    assert sides["side"].max() == 1
    named = {arm.name: arm for arm in made.arms}
    assert named["near_duplicates"].training.len() == named["full recipe"].training.len()  # exact ones see them too
    assert named["everything"].training.len() > named["full recipe"].training.len() + 20


def test_held_out_rows_of_the_run_are_held_out_here_too(tmp_path: Path) -> None:
    recipe = planted.write(tmp_path, rows=300)
    made = sets(state(recipe, tmp_path / "run"), share=0.4)
    there = pl.read_parquet(tmp_path / "run" / "splits.parquet").filter(pl.col("split") == "evaluation")
    assert there.height > 20
    assert set(there["id"]) <= set(made.rows.filter(pl.col("side") == HELD_OUT)["id"])


def test_too_few_rows_are_refused(tmp_path: Path) -> None:
    recipe = planted.write(tmp_path, rows=40)
    with pytest.raises(InputError, match=r"rows to train on in \d+ units; expected at least 40|clean rows held out"):
        ablate(recipe, out=tmp_path / "run", settings=QUICK)


def test_rows_without_a_preference_are_refused(tmp_path: Path) -> None:
    recipe = planted.write(tmp_path, rows=60)
    recipe.write_text(recipe.read_text().replace("type: unpaired", "type: sft"))
    with pytest.raises(RecipeError, match="pairs and from labelled answers; this recipe makes prompt_completion"):
        ablate(recipe, out=tmp_path / "run", settings=QUICK)


def test_rows_are_capped_by_whole_units(tmp_path: Path) -> None:
    recipe = planted.write(tmp_path, rows=500)
    settings = Settings(head="words", draws=2, resamples=10, rows=300, only=(planted.NOISE,))
    told = ablate(recipe, out=tmp_path / "run", settings=settings).result
    assert 290 <= arms(told)[planted.NOISE]["training_rows"] + told["held_out"]["rows"] <= 300


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ({"head": "lora"}, "head: lora; expected auto, words or model"),
        ({"draws": 1}, "draws: 1; expected 2 to 1000"),
        ({"held_out": 1.0}, "held_out: 1.0; expected a fraction between 0 and 1"),
        ({"budget": 3}, "budget: 3; expected at least 20"),
    ],
)
def test_settings_out_of_bounds_are_refused(values: dict[str, Any], fault: str) -> None:
    with pytest.raises(RecipeError, match=fault):
        Settings(**values)


def test_a_model_is_read_only_where_it_is_at_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = load(planted.write(tmp_path, rows=20))
    monkeypatch.setenv("PREFDATA_HOME", str(tmp_path / "home"))
    assert chosen_head(Settings(), recipe) == ("words", "smollm2-135m")
    assert chosen_head(Settings(head="model"), recipe) == ("model", "smollm2-135m")
    assert chosen_head(Settings(model="own/model"), recipe) == ("model", "own/model")
