from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from prefdata.errors import InputError, RecipeError
from trainers.job import read_stage
from trainers.kto import KTOSettings, train_kto

pytestmark = [pytest.mark.train, pytest.mark.usefixtures("one_thread")]

QUICK: dict[str, Any] = {
    "learning_rate": 1e-2,
    "lora_r": 4,
    "lora_alpha": 8,
    "per_device_batch": 4,
    "gradient_accumulation": 1,
    "max_steps": 6,
    "max_length": 128,
    "save_steps": 2,
    "sample_tokens": 4,
    "samples": 2,
    "n_bootstrap": 100,
}


@pytest.fixture(scope="module")
def stage_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kto") / "stage"


def weights(folder: Path) -> bytes:
    return (folder / "adapter" / "adapter_model.safetensors").read_bytes()


def test_a_stage_holds_the_adapter_and_the_proof_of_what_it_learned(
    tiny_model: Path, stage_folder: Path, support_rows: pl.DataFrame, held_out_rows: pl.DataFrame
) -> None:
    stage = train_kto(
        support_rows, held_out_rows, model=tiny_model, output_dir=stage_folder, settings=KTOSettings(**QUICK)
    )
    record = stage.record
    assert record["canary"] == {"expected": 0.5, "found": 0.5}
    assert (record["reference"]["probes"], record["reference"]["largest_change"]) == (4, 0.0)
    assert record["reference"]["store"]["rows"] == 48  # 24 rows and as many KL pairs
    assert record["weights"] == {"desirable": 1.0, "undesirable": 1.0, "ratio": 1.0}
    assert record["data"]["good"] == 12
    assert record["data"]["used"] == 24
    assert record["evaluation"]["rows"] == 10
    assert record["learning_rate_source"] == "recipe"
    before, after = record["metrics"]["before"], record["metrics"]["after"]
    assert before["auc"] == {"value": 0.5, "low": 0.5, "high": 0.5}
    assert before["margin"]["value"] == 0.0
    assert after["auc"]["value"] == 1.0
    assert after["margin"]["low"] > 0
    history = json.loads((stage_folder / "metrics.json").read_text())
    assert [entry["step"] for entry in history] == [1, 2, 3, 4, 5, 6]
    assert history[0]["kl"] == 0.0
    assert history[-1]["rewards/margins"] > 0
    assert not any("runtime" in name for entry in history for name in entry)
    rewards = pl.read_parquet(stage_folder / "eval_rewards.parquet")
    assert rewards.columns == ["id", "group", "label", "reward", "tokens"]
    assert rewards["id"].to_list() == held_out_rows["id"].to_list()
    samples = json.loads((stage_folder / "samples.json").read_text())
    assert [sorted(sample) for sample in samples] == [["after", "before", "id", "prompt"]] * 2
    assert "share of good/bad pairs" in (stage_folder / "README.md").read_text()
    assert not (stage_folder / "checkpoints").exists()
    assert not (stage_folder / "before.json").exists()
    config = json.loads((stage_folder / "adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == tiny_model.name
    assert str(tiny_model.parent) not in json.dumps(config)
    assert config["target_modules"] == sorted(config["target_modules"]), "equal weights are equal files"


def test_the_curves_hold_loss_kl_and_margins(stage_folder: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(stage_folder / "tensorboard"))
    events.Reload()
    assert {"train/loss", "train/kl", "train/rewards/margins"} <= set(events.Tags()["scalars"])
    assert [event.step for event in events.Scalars("train/loss")] == [1, 2, 3, 4, 5, 6]


def test_a_finished_stage_is_given_back_and_a_changed_file_is_noticed(
    tiny_model: Path, stage_folder: Path, support_rows: pl.DataFrame, held_out_rows: pl.DataFrame
) -> None:
    stamp = (stage_folder / "stage.json").stat().st_mtime_ns
    train_kto(support_rows, held_out_rows, model=tiny_model, output_dir=stage_folder, settings=KTOSettings(**QUICK))
    assert (stage_folder / "stage.json").stat().st_mtime_ns == stamp
    metrics = stage_folder / "metrics.json"
    kept = metrics.read_bytes()
    metrics.write_bytes(kept + b" ")
    with pytest.raises(InputError, match=r"metrics\.json is missing or changed"):
        read_stage(stage_folder)
    metrics.write_bytes(kept)


def test_the_adapter_reloads_and_answers_as_it_did(stage_folder: Path) -> None:
    from trainers.answering import reload

    answerer = reload(stage_folder)
    for sample in json.loads((stage_folder / "samples.json").read_text()):
        assert answerer.answer(sample["prompt"], max_new_tokens=4) == sample["after"]


def test_a_run_that_was_cut_off_ends_in_the_weights_of_an_unbroken_one(
    tiny_model: Path,
    stage_folder: Path,
    tmp_path: Path,
    support_rows: pl.DataFrame,
    held_out_rows: pl.DataFrame,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from trainers import callbacks

    real = callbacks.Bar.on_step_end

    def cut(self: Any, args: Any, state: Any, control: Any, **rest: Any) -> None:
        real(self, args, state, control, **rest)
        if state.global_step == 5:
            raise KeyboardInterrupt

    settings = KTOSettings(**QUICK)
    monkeypatch.setattr(callbacks.Bar, "on_step_end", cut)
    with pytest.raises(KeyboardInterrupt):
        train_kto(support_rows, held_out_rows, model=tiny_model, output_dir=tmp_path / "s", settings=settings)
    monkeypatch.setattr(callbacks.Bar, "on_step_end", real)
    newest = tmp_path / "s" / "checkpoints" / "checkpoint-4"
    assert newest.is_dir()
    torn = newest / "adapter_model.safetensors"
    torn.write_bytes(torn.read_bytes()[:-1])  # so the run goes on from checkpoint-2
    stage = train_kto(support_rows, held_out_rows, model=tiny_model, output_dir=tmp_path / "s", settings=settings)
    assert weights(tmp_path / "s") == weights(stage_folder)
    unbroken = read_stage(stage_folder)
    assert stage.record["metrics"] == unbroken.record["metrics"]
    assert (tmp_path / "s" / "metrics.json").read_bytes() == (stage_folder / "metrics.json").read_bytes()


def test_an_adapter_on_the_last_layer_trains_the_same_with_a_shared_trunk(
    tiny_model: Path, tmp_path: Path, support_rows: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trainers import measuring

    settings = KTOSettings(**{**QUICK, "lora_layers": 1, "save_steps": 0})
    train_kto(support_rows, None, model=tiny_model, output_dir=tmp_path / "shared", settings=settings)
    monkeypatch.setattr(measuring, "SharedTrunk", lambda model, frozen: None)
    train_kto(support_rows, None, model=tiny_model, output_dir=tmp_path / "plain", settings=settings)
    assert weights(tmp_path / "shared") == weights(tmp_path / "plain")


def test_a_reference_that_is_not_the_start_model_stops_training(
    tiny_model: Path, tmp_path: Path, support_rows: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trainers.callbacks import CanaryError
    from trainers.kto import KTO

    real = KTO.load

    def moved(self: KTO, plan: Any, dtype: Any) -> Any:
        model = real(self, plan, dtype)
        for weight in model.parameters():
            weight.data.mul_(2.0)
        return model

    monkeypatch.setattr(KTO, "load", moved)
    settings = KTOSettings(**{**QUICK, "tuner": "full", "save_steps": 0})
    with pytest.raises(CanaryError, match=r"expected 0\.5000: the reference model is not"):
        train_kto(support_rows, None, model=tiny_model, output_dir=tmp_path / "s", settings=settings)


def test_full_fine_tuning_saves_a_model_that_answers(
    tiny_model: Path, tmp_path: Path, support_rows: pl.DataFrame, held_out_rows: pl.DataFrame
) -> None:
    from trainers.answering import reload

    settings = KTOSettings(**{**QUICK, "tuner": "full", "learning_rate": 1e-3, "max_steps": 2, "save_steps": 0})
    stage = train_kto(support_rows, held_out_rows, model=tiny_model, output_dir=tmp_path / "s", settings=settings)
    assert stage.trained.name == "model"
    assert stage.record["reference"]["largest_change"] == 0.0
    sample = json.loads((tmp_path / "s" / "samples.json").read_text())[0]
    assert reload(tmp_path / "s").answer(sample["prompt"], max_new_tokens=4) == sample["after"]


def test_one_class_is_refused_before_a_model_is_loaded(
    tiny_model: Path, tmp_path: Path, support_rows: pl.DataFrame
) -> None:
    with pytest.raises(InputError, match="12 desirable and 0 undesirable"):
        train_kto(support_rows.filter("label"), None, model=tiny_model, output_dir=tmp_path / "s")
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"lerning_rate": 1.0}, "unknown key 'lerning_rate'; did you mean 'learning_rate'?"),
        ({"trust_remote_code": True}, "trust_remote_code is not passed through"),
        ({"model_init_kwargs": {"dtype": "float16"}}, "model_init_kwargs is not passed through"),
        ({"weight_decay": "1e-2"}, "args.weight_decay: '1e-2'; expected a number; YAML reads this as text, so write 0"),
        ({"torch_compile": "no"}, "args.torch_compile: 'no'; expected true or false"),
    ],
)
def test_wrong_trainer_arguments_are_named(
    tiny_model: Path, tmp_path: Path, support_rows: pl.DataFrame, args: dict[str, Any], message: str
) -> None:
    with pytest.raises(RecipeError, match=message.replace("?", r"\?")):
        train_kto(support_rows, None, model=tiny_model, output_dir=tmp_path, settings=KTOSettings(args=args))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"optim": "adam"}, "args: KTOConfig refuses the stage with optim set: adam is not a valid OptimizerNames"),
        ({"optim_args": "x"}, "args: KTOTrainer refuses the stage with optim_args set: not enough values"),
    ],
)
def test_what_trl_says_of_arguments_names_them(
    tiny_model: Path, tmp_path: Path, support_rows: pl.DataFrame, args: dict[str, Any], message: str
) -> None:
    settings = KTOSettings(**{**QUICK, "save_steps": 0}, args=args)
    with pytest.raises(RecipeError, match=message):
        train_kto(support_rows, None, model=tiny_model, output_dir=tmp_path, settings=settings)


@pytest.mark.parametrize(("trained", "warned"), [({"processes": 1}, 0), ({}, 0), ({"processes": 4}, 1)])
def test_a_stage_that_other_processes_trained_is_taken_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, trained: dict[str, int], warned: int
) -> None:
    from trainers.job import Machine, Stage
    from trainers.training import tell_of_processes

    place = Machine(device="cpu", bfloat16=False, threads=1)
    tell_of_processes(Stage(folder=tmp_path / "s", record=trained), place, KTOSettings())
    told = "s: trained with processes 4, updates of 64 rows; now it is 1, updates of 16"
    assert [told in record.getMessage() for record in caplog.records] == [True] * warned


def test_versions_of_packages_that_are_installed_are_told_and_decide_where_they_are_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from importlib import metadata

    from trainers.job import decisive, versions

    real = metadata.version
    some = {"bitsandbytes": "9.9", "deepspeed": "8.8"}
    monkeypatch.setattr(metadata, "version", lambda name: some.get(name) or real(name))
    found = versions()
    assert {name: found[name] for name in some} == some
    assert set(found) - set(decisive(KTOSettings())) == set(some)
    for settings in (KTOSettings(tuner="qlora"), KTOSettings(args={"optim": "adamw_8bit"})):
        assert set(found) - set(decisive(settings)) == {"deepspeed"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"per_device_batch": 1}, "per_device_batch: 1; expected at least 2"),
        ({"beta": 0.0}, "beta: 0.0; expected more than 0"),
        ({"desirable_weight": 1.0}, "set both or neither"),
    ],
)
def test_settings_outside_their_bounds_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        KTOSettings(**values)


KILLED = """
import json, sys
from pathlib import Path
import polars as pl, torch
from trainers.kto import KTOSettings, train_kto
torch.set_num_threads(1)
folder = Path(sys.argv[1])
train, held_out = pl.read_parquet(folder / "train.parquet"), pl.read_parquet(folder / "held_out.parquet")
settings = KTOSettings(**json.loads(sys.argv[3]))
train_kto(train, held_out, model=Path(sys.argv[2]), output_dir=folder / "s", settings=settings)
"""


@pytest.mark.slow
def test_sigkill_at_a_checkpoint_costs_no_result(
    tiny_model: Path, tmp_path: Path, support_rows: pl.DataFrame, held_out_rows: pl.DataFrame
) -> None:
    import signal
    import subprocess
    import sys
    import time

    support_rows.write_parquet(tmp_path / "train.parquet")
    held_out_rows.write_parquet(tmp_path / "held_out.parquet")
    values = {**QUICK, "max_steps": 60, "epochs": 10.0}
    command = [sys.executable, "-c", KILLED, str(tmp_path), str(tiny_model), json.dumps(values)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    checkpoints = tmp_path / "s" / "checkpoints"
    while process.poll() is None and not list(checkpoints.glob("checkpoint-[1-9]*/prefdata-checkpoint.json")):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "s" / "stage.json").exists()
    assert subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0
    settings = KTOSettings(**values)
    train_kto(support_rows, held_out_rows, model=tiny_model, output_dir=tmp_path / "whole", settings=settings)
    assert weights(tmp_path / "s") == weights(tmp_path / "whole")
    assert (tmp_path / "s" / "metrics.json").read_bytes() == (tmp_path / "whole" / "metrics.json").read_bytes()
