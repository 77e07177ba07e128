from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from prefdata.schema import RecordType, conform
from trainers.dpo import BETAS, DPO, LEARNING_RATES, DPOSettings, train_dpo
from trainers.evaluate_rewards import completion_logps
from trainers.job import Stage, quiet
from trainers.kto import KTOSettings, train_kto
from trainers.models import load_model, load_tokenizer
from trainers.rows import encode_rows
from trainers.sft import SFTSettings, train_sft
from trainers.start import Start, open_start

pytestmark = [pytest.mark.train, pytest.mark.usefixtures("one_thread")]

QUICK: dict[str, Any] = {
    "learning_rate": 1e-2,
    "lora_r": 4,
    "lora_alpha": 8,
    "per_device_batch": 4,
    "gradient_accumulation": 1,
    "epochs": 2.0,
    "max_length": 128,
    "save_steps": 3,
    "sample_tokens": 4,
    "samples": 2,
    "n_bootstrap": 100,
}


@pytest.fixture(scope="module")
def stage(
    tiny_model: Path,
    tmp_path_factory: pytest.TempPathFactory,
    support_pairs: pl.DataFrame,
    held_out_pairs: pl.DataFrame,
) -> Stage:
    return train_dpo(
        support_pairs,
        held_out_pairs,
        model=tiny_model,
        output_dir=tmp_path_factory.mktemp("dpo") / "stage",
        settings=DPOSettings(**QUICK),
    )


def test_a_stage_holds_the_adapter_and_the_proof_of_what_it_learned(stage: Stage) -> None:
    record = stage.record
    assert record["canary"] == {"expected": 0.693147, "found": 0.693147}
    assert record["reference"]["largest_change"] == 0.0
    assert record["reference"]["store"]["rows"] == 32
    assert record["settings"]["beta"] == 0.1
    assert record["defaults"]["beta"].startswith("the DPO paper")
    before, after, change = (record["metrics"][name] for name in ("before", "after", "change"))
    assert before["accuracy"] == {"value": 0.5, "low": 0.5, "high": 0.5}
    assert before["margin"]["value"] == 0.0
    assert after["accuracy"]["value"] == 1.0
    assert change["accuracy"] == {"value": 0.5, "low": 0.5, "high": 0.5}
    assert change["margin"]["low"] > 0
    history = json.loads((stage.folder / "metrics.json").read_text())
    assert [entry["step"] for entry in history] == [1, 2, 3, 4, 5, 6, 7, 8]


def test_held_out_pairs_are_told_side_by_side(stage: Stage, held_out_pairs: pl.DataFrame) -> None:
    frame = pl.read_parquet(stage.folder / "eval_rewards.parquet")
    sides = ("chosen", "rejected")
    assert frame.columns == [
        "id",
        "group",
        *[f"{side}_reward" for side in sides],
        *[f"{side}_logp_before" for side in sides],
        *[f"{side}_logp_after" for side in sides],
        *[f"{side}_tokens" for side in sides],
    ]
    assert frame["id"].to_list() == held_out_pairs["id"].to_list()
    for side in sides:
        rewards = 0.1 * (frame[f"{side}_logp_after"] - frame[f"{side}_logp_before"])
        assert rewards.to_list() == pytest.approx(frame[f"{side}_reward"].to_list(), abs=1e-3)
    after = stage.record["metrics"]["after"]
    assert after["mean_chosen"]["value"] == pytest.approx(frame["chosen_reward"].mean(), abs=1e-3)
    assert after["margin"]["value"] == pytest.approx(
        after["mean_chosen"]["value"] - after["mean_rejected"]["value"], abs=2e-4
    )
    assert stage.record["metrics"]["longer_is_better_accuracy"]["value"] == 0.0
    card = (stage.folder / "README.md").read_text()
    assert "share of pairs whose better answer has the higher reward | 0.500 | 1.000" in card


def test_a_run_that_was_cut_off_ends_in_the_weights_of_an_unbroken_one(
    stage: Stage,
    tiny_model: Path,
    tmp_path: Path,
    support_pairs: pl.DataFrame,
    held_out_pairs: pl.DataFrame,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from trainers import callbacks

    real = callbacks.Bar.on_step_end

    def cut(self: Any, args: Any, state: Any, control: Any, **rest: Any) -> None:
        real(self, args, state, control, **rest)
        if state.global_step == 7:
            raise KeyboardInterrupt

    def run() -> Stage:
        settings = DPOSettings(**QUICK)
        return train_dpo(support_pairs, held_out_pairs, model=tiny_model, output_dir=tmp_path, settings=settings)

    monkeypatch.setattr(callbacks.Bar, "on_step_end", cut)
    with pytest.raises(KeyboardInterrupt):
        run()
    monkeypatch.setattr(callbacks.Bar, "on_step_end", real)
    assert (tmp_path / "checkpoints" / "checkpoint-6").is_dir()
    again = run()
    for name in ("adapter/adapter_model.safetensors", "metrics.json", "eval_rewards.parquet"):
        assert (tmp_path / name).read_bytes() == (stage.folder / name).read_bytes()
    assert again.record["reference"] == stage.record["reference"]
    assert again.record["canary"] == stage.record["canary"]


def one_sided(frame: pl.DataFrame, kind: RecordType, **columns: Any) -> pl.DataFrame:
    return conform(frame.select("id", "source", "group", "prompt", completion="chosen").with_columns(**columns), kind)


@pytest.fixture(scope="module")
def parents(
    tiny_model: Path, tmp_path_factory: pytest.TempPathFactory, support_pairs: pl.DataFrame
) -> dict[str, Stage]:
    """An SFT stage, and a KTO stage that goes on from it; both as adapters."""
    folder = tmp_path_factory.mktemp("parents")
    options = {**QUICK, "epochs": 1.0, "save_steps": 0, "samples": 0, "report_to": ()}
    rows = one_sided(support_pairs, RecordType.SFT)
    sft = train_sft(rows, None, model=tiny_model, output_dir=folder / "sft", settings=SFTSettings(**options))
    labelled = one_sided(support_pairs, RecordType.UNPAIRED, label=pl.int_range(pl.len()) % 2 == 0)
    kto = train_kto(labelled, None, model=sft.folder, output_dir=folder / "kto", settings=KTOSettings(**options))
    return {"sft": sft, "kto": kto}


@pytest.mark.parametrize(("parent", "tuner"), [("sft", "lora"), ("kto", "lora"), ("kto", "full")])
def test_the_reference_of_a_stage_is_exactly_its_parent(
    parents: dict[str, Stage],
    tiny_model: Path,
    tmp_path: Path,
    support_pairs: pl.DataFrame,
    held_out_pairs: pl.DataFrame,
    parent: str,
    tuner: Any,
) -> None:
    """C10: not the base model under its adapters, which is what reloading from the config's path gives."""
    options = {**QUICK, "epochs": 1.0, "save_steps": 0, "samples": 0, "report_to": (), "learning_rate": 1e-3}
    settings = DPOSettings(**options, tuner=tuner)
    start = parents[parent].folder
    stage = train_dpo(support_pairs, held_out_pairs, model=start, output_dir=tmp_path, settings=settings)
    assert stage.record["canary"]["found"] == pytest.approx(0.693147, abs=1e-5)
    assert [one["method"] for one in stage.record["lineage"]] == (["sft"] if parent == "sft" else ["sft", "kto"])
    frame = pl.read_parquet(stage.folder / "eval_rewards.parquet")
    tokenizer = load_tokenizer(tiny_model)
    rows = encode_rows(held_out_pairs, tokenizer, DPO.type, max_length=128, system=None, name="rows")
    with quiet():
        merged = open_start(start).load()
    for model, same in ((merged, True), (load_model(tiny_model), False)):
        logps = completion_logps(model, rows.sides["chosen"], pad_id=tokenizer.pad_token_id)
        moved = max(abs(one - two) for one, two in zip(logps, frame["chosen_logp_before"], strict=True))
        assert (moved < 1e-3) is same


@pytest.mark.parametrize(
    ("values", "size", "expected"),
    [
        ({}, 135_000_000, (5e-6, 0.1)),
        ({"tuner": "full"}, 135_000_000, (1e-6, 0.5)),
        ({"tuner": "full"}, 8_000_000_000, (5e-7, 0.1)),
        ({"tuner": "qlora"}, 8_000_000_000, (5e-6, 0.1)),
        ({"loss_type": "sigmoid_norm"}, 8_000_000_000, (5e-6, 5.0)),
        ({"loss_type": ("bco_pair", "sft")}, 8_000_000_000, (5e-6, 0.01)),
    ],
)
def test_what_a_recipe_leaves_open_depends_on_size_tuner_and_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: dict[str, Any], size: int, expected: tuple[float, float]
) -> None:
    monkeypatch.setattr("trainers.dpo.parameters", lambda folder: size)
    start = Start(model="m", name="m", folder=tmp_path)
    found = DPO().defaults(DPOSettings(**values), start)
    assert (found["learning_rate"].value, found["beta"].value) == expected
    assert all(one.source for one in found.values())
    assert DPO().defaults(DPOSettings(**values, beta=0.3, learning_rate=1e-5), start) == {}
    assert {len(BETAS), len(LEARNING_RATES)} == {4}


def test_parameters_are_counted_from_the_heads_of_the_files(tiny_model: Path) -> None:
    from trainers.models import parameters

    assert parameters(tiny_model) == sum(weight.numel() for weight in load_model(tiny_model).parameters())
