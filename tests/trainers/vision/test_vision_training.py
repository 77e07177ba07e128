"""SFT, KTO and DPO on a vision-language model, start to end: what a stage holds, proves, and does when it is killed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from prefdata.errors import InputError, RecipeError
from prefdata.schema import RecordType
from trainers.dpo import train_dpo
from trainers.job import Stage, read_stage
from trainers.kto import KTOSettings, train_kto
from trainers.sft import SFTSettings, train_sft

pytestmark = [pytest.mark.train, pytest.mark.usefixtures("one_thread")]

QUICK: dict[str, Any] = {
    "learning_rate": 1e-2,
    "lora_r": 4,
    "lora_alpha": 8,
    "per_device_batch": 4,
    "gradient_accumulation": 1,
    "max_steps": 3,
    "max_length": 64,
    "save_steps": 0,
    "sample_tokens": 2,
    "samples": 2,
    "n_bootstrap": 50,
    "report_to": (),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("seeing")


@pytest.fixture(scope="module")
def sft(folder: Path, tiny_vlm: Path, coloured: Path, made: SimpleNamespace) -> Stage:
    held_out = made.answered([3], prefix="e")
    return train_sft(
        made.answered(range(3)), held_out, model=tiny_vlm, output_dir=folder / "sft", pictures=coloured, **QUICK
    )


@pytest.fixture(scope="module")
def kto(folder: Path, sft: Stage, coloured: Path, made: SimpleNamespace) -> Stage:
    """On the model of the SFT stage, whose adapter is merged; killed after two steps, and gone on with."""
    from trainers import callbacks

    real = callbacks.Bar.on_step_end

    def cut(self: Any, args: Any, state: Any, control: Any, **rest: Any) -> None:
        real(self, args, state, control, **rest)
        if state.global_step == 2:
            raise KeyboardInterrupt

    rows, held_out = made.labelled(range(3)), made.labelled([3], prefix="e")
    options: dict[str, Any] = {**QUICK, "save_steps": 1, "model": sft.folder, "pictures": coloured}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(callbacks.Bar, "on_step_end", cut)
        with pytest.raises(KeyboardInterrupt):
            train_kto(rows, held_out, output_dir=folder / "kto", **options)
    return train_kto(rows, held_out, output_dir=folder / "kto", **options)


def weights(folder: Path) -> bytes:
    return (folder / "adapter" / "adapter_model.safetensors").read_bytes()


def test_a_stage_tells_what_it_saw_and_how_its_loss_fell(sft: Stage, tiny_vlm: Path) -> None:
    record = sft.record
    assert record["pictures"]["processor"]["class"] == "LlavaProcessor"
    assert {name: record["pictures"][name] for name in ("rows_with", "rows_without", "shown", "different")} == {
        "rows_with": 6,
        "rows_without": 0,
        "shown": 6,
        "different": 6,
    }
    assert record["pictures"]["tokens_each"] == {"least": 4, "most": 4, "mean": 4.0}
    assert record["metrics"]["change"]["loss"]["value"] < 0
    assert record["evaluation"]["rows"] == 2
    samples = json.loads((sft.folder / "samples.json").read_text())
    shown = [sample["prompt"][0]["content"][0] for sample in samples]
    assert {block["type"] for block in shown} == {"image"}
    assert sorted(block["image"] for block in shown) == ["pictures/blue3.png", "pictures/red3.png"]


def test_the_adapter_sits_on_the_language_side_alone(sft: Stage) -> None:
    from safetensors.torch import load_file

    names = list(load_file(sft.folder / "adapter" / "adapter_model.safetensors"))
    assert len(names) == 2 * 2 * 7  # two matrices on seven linear layers of two blocks
    assert all(".language_model.layers." in name for name in names)


def test_kto_goes_on_from_sft_and_proves_its_reference(kto: Stage, sft: Stage) -> None:
    record = kto.record
    assert [one["method"] for one in record["lineage"]] == ["sft"]
    assert record["canary"] == {"expected": 0.5, "found": 0.5}
    assert (record["reference"]["probes"], record["reference"]["largest_change"]) == (4, 0.0)
    assert record["reference"]["store"]["rows"] == 24  # 12 rows and as many KL pairs
    assert record["metrics"]["before"]["auc"]["value"] == 0.5
    assert sorted(record["metrics"]["after"]["auc"]) == ["high", "low", "value"]
    assert record["pictures"] == {**sft.record["pictures"], "rows_with": 12, "shown": 12}
    history = json.loads((kto.folder / "metrics.json").read_text())
    assert [entry["step"] for entry in history] == [1, 2, 3]
    assert history[0]["kl"] == 0.0
    assert pl.read_parquet(kto.folder / "eval_rewards.parquet").height == 4


def test_a_stage_reloads_with_its_processor_and_answers_about_pictures(kto: Stage, coloured: Path) -> None:
    from trainers.answering import reload

    sample = json.loads((kto.folder / "samples.json").read_text())[0]
    assert reload(kto.folder, pictures=coloured).answer(sample["prompt"], max_new_tokens=2) == sample["after"]


def test_a_run_that_moved_is_known_again_and_one_with_other_pictures_is_not(
    sft: Stage, tiny_vlm: Path, coloured: Path, made: SimpleNamespace, tmp_path: Path
) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(coloured / "pictures", moved / "pictures")
    options: dict[str, Any] = {"model": tiny_vlm, "output_dir": sft.folder, **QUICK, "pictures": moved}
    stamp = (sft.folder / "stage.json").stat().st_mtime_ns
    held_out = made.answered([3], prefix="e")
    again = train_sft(made.answered(range(3)), held_out, **options)
    assert again.record["key"] == sft.record["key"]
    assert (sft.folder / "stage.json").stat().st_mtime_ns == stamp
    shutil.copy(moved / "pictures" / "blue3.png", moved / "pictures" / "red0.png")
    frame = made.answered(range(3))
    from trainers.rows import encode_rows
    from trainers.vision.processor import load_looks

    digests = [
        encode_rows(
            frame,
            load_looks(tiny_vlm, root).tokenizer,
            RecordType.SFT,
            max_length=64,
            system=None,
            name="rows",
        ).digest()
        for root in (coloured, moved)
    ]
    assert digests[0] == sft.record["data"]["sha256"] != digests[1]


def test_dpo_with_all_weights_and_without_a_store(
    tiny_vlm: Path, coloured: Path, made: SimpleNamespace, tmp_path: Path
) -> None:
    bare = {"asked": "Which colours are there?", "pictures": [], "chosen": "red", "rejected": "no"}
    rows = pl.concat([made.compared(range(2)), made.shown([bare, bare], RecordType.PREFERENCE, prefix="b")])
    options: dict[str, Any] = {**QUICK, "tuner": "full", "learning_rate": 1e-3, "max_steps": 1, "samples": 0}
    stage = train_dpo(
        rows,
        made.compared([3], prefix="e"),
        model=tiny_vlm,
        output_dir=tmp_path / "dpo",
        pictures=coloured,
        reference_store="never",
        beta=0.5,
        **options,
    )
    assert stage.record["canary"]["found"] == pytest.approx(0.6931, abs=1e-4)
    assert stage.record["reference"]["largest_change"] == 0.0
    assert stage.record["pictures"]["rows_without"] == 2
    assert stage.record["metrics"]["after"]["accuracy"]["value"] in (0.0, 0.5, 1.0)
    assert (stage.trained / "processor_config.json").is_file()
    assert stage.trained.name == "model"


def test_what_has_no_place_beside_pictures_is_refused_before_a_model_is_loaded(
    tiny_vlm: Path, tiny_model: Path, coloured: Path, made: SimpleNamespace, tmp_path: Path
) -> None:
    rows = made.answered(range(3))

    def refused(error: type[Exception], message: str, **options: Any) -> None:
        with pytest.raises(error, match=message):
            train_sft(rows, None, output_dir=tmp_path / "s", **{"model": tiny_vlm, "pictures": coloured, **options})

    refused(RecipeError, "packing: rows that may have pictures are not packed", packing=True)
    refused(RecipeError, "lora_layers: what the layers below give", lora_layers=1)
    refused(RecipeError, "lora_vision: .* reads text alone", model=tiny_model, lora_vision=True)
    refused(InputError, "reads text alone; start from a vision-language model", model=tiny_model)
    refused(InputError, "name the folder that they are in", pictures=None)
    refused(RecipeError, "no linear module 'out_proj' on its language side", lora_targets=("out_proj",))


@pytest.mark.slow
def test_a_killed_stage_ends_in_the_weights_of_an_unbroken_one(
    kto: Stage, sft: Stage, coloured: Path, made: SimpleNamespace, tmp_path: Path
) -> None:
    settings = KTOSettings(**QUICK, reference_store=str(tmp_path / "reference"))  # computed anew, and kept alike
    stage = train_kto(
        made.labelled(range(3)),
        made.labelled([3], prefix="e"),
        model=sft.folder,
        output_dir=tmp_path / "whole",
        pictures=coloured,
        settings=settings,
    )
    again = read_stage(kto.folder)
    for name in ("before", "after", "change"):
        assert stage.record["metrics"][name] == again.record["metrics"][name]
    assert weights(stage.folder) == weights(kto.folder)


@pytest.mark.slow
def test_the_vision_tower_is_tuned_where_that_is_asked_for(
    tiny_vlm: Path, coloured: Path, made: SimpleNamespace, tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    settings = SFTSettings(**{**QUICK, "max_steps": 1}, lora_vision=True)
    stage = train_sft(
        made.answered(range(3)),
        None,
        model=tiny_vlm,
        output_dir=tmp_path / "s",
        pictures=coloured,
        settings=settings,
    )
    names = list(load_file(stage.folder / "adapter" / "adapter_model.safetensors"))
    assert any(".vision_tower." in name for name in names)
    assert any(".multi_modal_projector." in name for name in names)
    assert not any("lm_head" in name for name in names)
