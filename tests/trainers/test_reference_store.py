from __future__ import annotations

import json
import logging
import multiprocessing
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from trainers.dpo import DPOSettings, train_dpo
from trainers.job import Stage
from trainers.kto import KTOSettings, kl_rows, train_kto
from trainers.reference_store import ReferenceStore, read_about, row_key
from trainers.rendering import Encoded

QUICK: dict[str, Any] = {
    "learning_rate": 1e-2,
    "lora_r": 4,
    "lora_alpha": 8,
    "per_device_batch": 4,
    "gradient_accumulation": 1,
    "max_length": 64,
    "epochs": 2.0,
    "save_steps": 0,
    "samples": 0,
    "n_bootstrap": 20,
    "report_to": (),
}
ABOUT = {"model": "tiny", "precision": "float32"}


def row(prompt: list[int], answer: list[int]) -> Encoded:
    return Encoded([], [], prompt, answer, 0)


def test_a_key_parts_prompt_from_answer() -> None:
    keys = [row_key(row(*ids)) for ids in [([1, 2], [3]), ([1], [2, 3]), ([1, 2], [3]), ([1, 2], [4]), ([], [1, 2, 3])]]
    assert keys[0] == keys[2]
    assert len(set(keys)) == 4


def test_what_was_kept_is_read_again_and_only_what_was_asked_for(tmp_path: Path) -> None:
    ReferenceStore(tmp_path, ABOUT).add({"a": -1.5, "b": -2.25})
    ReferenceStore(tmp_path, ABOUT).add({"c": -3.0})
    assert ReferenceStore(tmp_path, ABOUT).read(["a", "c", "d"]) == {"a": -1.5, "c": -3.0}
    assert ReferenceStore(tmp_path, {**ABOUT, "precision": "bfloat16"}).read(["a"]) == {}
    assert read_about(ReferenceStore(tmp_path, ABOUT).folder) == ABOUT


def test_a_damaged_file_is_removed_and_the_others_are_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = ReferenceStore(tmp_path, ABOUT)
    store.add({"a": -1.5})
    first = next(store.folder.glob("*.parquet"))
    store.add({"b": -2.5})
    data = bytearray(first.read_bytes())
    data[len(data) // 2] ^= 1
    first.write_bytes(data)
    with caplog.at_level(logging.WARNING):
        assert store.read(["a", "b"]) == {"b": -2.5}
    assert "is damaged and was removed" in caplog.text
    assert not first.exists()


def fill(folder: Path, name: str) -> None:
    store = ReferenceStore(folder, ABOUT)
    for at in range(20):
        store.add({f"{name}{at}": float(at), f"shared{at}": float(at)})


def test_two_processes_add_to_one_store_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=fill, args=(tmp_path, name)) for name in ("a", "b")]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    store = ReferenceStore(tmp_path, ABOUT)
    wanted = {f"{name}{at}": float(at) for name in ("a", "b", "shared") for at in range(20)}
    assert store.read(list(wanted)) == wanted
    assert len(list(store.folder.glob("*.parquet"))) == 40


def losses(stage: Stage, name: str = "loss") -> list[float]:
    return [entry[name] for entry in json.loads((stage.folder / "metrics.json").read_text())]


@pytest.fixture(scope="module")
def trained(
    tiny_model: Path,
    tmp_path_factory: pytest.TempPathFactory,
    support_pairs: pl.DataFrame,
    held_out_pairs: pl.DataFrame,
) -> dict[str, Stage]:
    """The same pairs four times: without a store, with a cold one, with a warm one, and with a warm one in full."""
    import torch

    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("stores")

    def one(name: str, **options: Any) -> Stage:
        settings = DPOSettings(**{**QUICK, **options})
        return train_dpo(support_pairs, held_out_pairs, model=tiny_model, output_dir=folder / name, settings=settings)

    store = str(folder / "store")
    return {
        "plain": one("plain", reference_store="never"),
        "cold": one("cold", reference_store=store),
        "warm": one("warm", reference_store=store, save_steps=3),
        "full_plain": one("full_plain", reference_store="never", tuner="full", learning_rate=1e-3),
        "full": one("full", reference_store=store, tuner="full", learning_rate=1e-3),
    }


@pytest.mark.train
@pytest.mark.parametrize(("without", "kept"), [("plain", "cold"), ("plain", "warm"), ("full_plain", "full")])
def test_a_store_changes_no_loss(trained: dict[str, Stage], without: str, kept: str) -> None:
    assert losses(trained[kept]) == pytest.approx(losses(trained[without]), abs=1e-5)
    assert losses(trained[kept], "rewards/margins") == pytest.approx(
        losses(trained[without], "rewards/margins"), abs=1e-4
    )
    assert "store" not in trained[without].record["reference"]
    assert trained[kept].record["reference"]["store"]["rows"] == 32


@pytest.mark.train
def test_a_warm_store_gives_the_weights_of_a_cold_one(trained: dict[str, Stage]) -> None:
    weights = [
        (trained[name].folder / "adapter" / "adapter_model.safetensors").read_bytes() for name in ("cold", "warm")
    ]
    assert weights[0] == weights[1]
    assert trained["cold"].record["reference"] == trained["warm"].record["reference"]


@pytest.mark.train
def test_a_warm_store_needs_no_pass_of_the_reference_and_another_beta_neither(
    trained: dict[str, Stage],
    tiny_model: Path,
    tmp_path: Path,
    support_pairs: pl.DataFrame,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from trainers import reference_store
    from trainers.start import Start

    loads: list[int] = []
    load = Start.load

    def counted(self: Start, **options: Any) -> Any:
        loads.append(1)
        return load(self, **options)

    def refused(*_: Any, **__: Any) -> Any:
        raise AssertionError("the reference was asked")

    monkeypatch.setattr(Start, "load", counted)
    monkeypatch.setattr(reference_store, "completion_logps", refused)
    options = {**QUICK, "reference_store": str(trained["cold"].folder.parent / "store"), "max_steps": 1}
    for name, more in (("beta", {"beta": 0.4, "loss_type": "ipo"}), ("full", {"tuner": "full", "learning_rate": 1e-4})):
        settings = DPOSettings(**{**options, **more})
        stage = train_dpo(support_pairs, None, model=tiny_model, output_dir=tmp_path / name, settings=settings)
        assert stage.record["canary"]["found"] == pytest.approx(stage.record["canary"]["expected"], rel=1e-5)
    assert len(loads) == 2  # the policy of each; no reference model, in full fine-tuning neither


@pytest.mark.train
def test_full_fine_tuning_asks_the_reference_that_it_was_held_to_and_loads_no_more_models_than_it_must(
    trained: dict[str, Stage],
    tiny_model: Path,
    tmp_path: Path,
    support_pairs: pl.DataFrame,
    held_out_pairs: pl.DataFrame,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from trainers import loop
    from trainers.start import Start

    asked = {name: trained[name].record["reference"]["of"] for name in ("plain", "cold", "full_plain", "full")}
    assert asked == {"plain": "reference", "cold": "reference", "full_plain": "reference", "full": "start_model"}
    loads, names = [], []
    load, build = Start.load, loop.build_trainer

    def counted(self: Start, **options: Any) -> Any:
        loads.append(1)
        return load(self, **options)

    def built(*given: Any) -> Any:
        made = build(*given)
        names.append(made[0].args.run_name)
        return made

    monkeypatch.setattr(Start, "load", counted)
    monkeypatch.setattr(loop, "build_trainer", built)
    for name, store, called in (("kept", str(tmp_path / "store"), None), ("held", "never", "mine")):
        settings = DPOSettings(
            **{**QUICK, "max_steps": 1, "samples": 0, "tuner": "full", "reference_store": store},
            args={"run_name": called} if called else {},
        )
        train_dpo(support_pairs, held_out_pairs, model=tiny_model, output_dir=tmp_path / name, settings=settings)
    # kept: the policy, the reference of the training rows, the files once more; held: the policy and its reference
    assert len(loads) == 3 + 2
    assert names == ["kept", "mine"]


@pytest.mark.train
def test_auto_leaves_to_training_what_a_short_run_would_not_read(
    tiny_model: Path, tmp_path: Path, support_pairs: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFDATA_HOME", str(tmp_path / "home"))
    settings = DPOSettings(**{**QUICK, "max_steps": 1})
    stage = train_dpo(support_pairs, None, model=tiny_model, output_dir=tmp_path / "short", settings=settings)
    assert stage.record["reference"] == {}
    assert not list((tmp_path / "home").rglob("*.parquet"))
    settings = DPOSettings(**{**QUICK, "max_steps": 1, "reference_store": "always"})
    stage = train_dpo(support_pairs, None, model=tiny_model, output_dir=tmp_path / "always", settings=settings)
    assert stage.record["reference"]["store"]["rows"] == 32
    assert len(list((tmp_path / "home" / "reference").rglob("*.parquet"))) == 1


@pytest.mark.train
def test_a_store_filled_by_another_model_stops_the_run(
    tiny_model: Path, tmp_path: Path, support_pairs: pl.DataFrame
) -> None:
    from trainers.callbacks import CanaryError

    settings = DPOSettings(**{**QUICK, "max_steps": 4, "reference_store": str(tmp_path / "store")})
    train_dpo(support_pairs, None, model=tiny_model, output_dir=tmp_path / "one", settings=settings)
    for file in (tmp_path / "store").rglob("*.parquet"):
        store = ReferenceStore(tmp_path / "store", read_about(file.parent))
        kept = dict(pl.read_parquet(file).iter_rows())
        file.unlink()
        store.add({key: logp + 2.0 for key, logp in kept.items()})
    with pytest.raises(CanaryError, match=r"rewards are -0\.2000, -0\.2000, expected 0.*reference_store: never"):
        train_dpo(support_pairs, None, model=tiny_model, output_dir=tmp_path / "two", settings=settings)


def test_kl_rows_turn_each_micro_batch_by_one_and_are_cut_to_the_length() -> None:
    class Plan:
        settings = KTOSettings(per_device_batch=2, max_length=16)

    rows = [row([1], [11]), row([2], [12] * 20), row([3], [13]), row([4] * 14, [14])]
    found = [(one.prompt_ids[0], one.completion_ids) for one in kl_rows(rows, Plan())]  # type: ignore[arg-type]
    assert found == [(1, [12] * 15), (2, [11]), (3, [14]), (4, [13])]


@pytest.mark.train
@pytest.mark.parametrize("loss_type", ["kto", "apo_zero_unpaired"])
def test_kto_over_a_store_has_the_losses_of_kto_without(
    tiny_model: Path, tmp_path: Path, support_rows: pl.DataFrame, loss_type: Any, one_thread: None
) -> None:
    found = {}
    for name in ("never", str(tmp_path / "store")):
        settings = KTOSettings(**{**QUICK, "max_length": 45}, loss_type=loss_type, reference_store=name)
        stage = train_kto(
            support_rows, None, model=tiny_model, output_dir=tmp_path / f"run{len(found)}", settings=settings
        )
        found[name] = [losses(stage, key) for key in ("loss", "kl", "rewards/margins")]
    assert stage.record["reference"]["store"]["rows"] == (48 if loss_type == "kto" else 24)
    for plain, kept in zip(*found.values(), strict=True):
        assert kept == pytest.approx(plain, abs=1e-4)
    assert found["never"][0] == pytest.approx(list(found.values())[1][0], abs=1e-5)
