from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from prefdata.errors import RecipeError
from trainers import launching
from trainers.arguments import check_reporters
from trainers.kto import KTOSettings
from trainers.launching import command, configs, open_config

pytestmark = pytest.mark.train

GPUS = {"ddp": 8, "fsdp2": 8, "fsdp2_two_machines": 16, "zero2": 8, "zero3": 8}
SPREAD = {
    "ddp": "MULTI_GPU",
    "ddp_cpu": "MULTI_GPU",
    "fsdp2": "FSDP",
    "fsdp2_cpu": "FSDP",
    "fsdp2_two_machines": "FSDP",
    "zero2": "DEEPSPEED",
    "zero3": "DEEPSPEED",
}


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Any:
    def are(count: int, *, deepspeed: bool = True) -> None:
        monkeypatch.setattr(launching, "_gpus", lambda: count)
        monkeypatch.setattr(launching.importlib.util, "find_spec", lambda name: deepspeed or None)

    return are


def test_the_shipped_files_are_those_that_are_told_of() -> None:
    assert sorted(configs()) == sorted(SPREAD)


@pytest.mark.parametrize("name", list(SPREAD))
def test_accelerate_takes_every_shipped_file(name: str) -> None:
    from accelerate.commands.config.config_args import load_config_from_file
    from accelerate.utils import DistributedType

    file = configs()[name]
    config = load_config_from_file(str(file))
    assert config.distributed_type == DistributedType(SPREAD[name])
    assert config.num_processes == GPUS.get(name, 2)
    assert config.use_cpu is name.endswith("_cpu")
    assert config.mixed_precision == ("no" if config.use_cpu else "bf16")
    assert file.read_text(encoding="utf-8").startswith("# ")
    if SPREAD[name] == "FSDP":
        assert config.fsdp_config["fsdp_version"] == 2
        assert config.fsdp_config["fsdp_cpu_ram_efficient_loading"] is False
    if SPREAD[name] == "DEEPSPEED":
        assert config.deepspeed_config["zero_stage"] == int(name[-1])


@pytest.mark.parametrize(
    ("name", "settings", "environment"),
    [
        (
            "fsdp2",
            "use_fsdp",
            {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "FSDP_RESHARD_AFTER_FORWARD": "true"},
        ),
        ("ddp_cpu", "multi_gpu", {"ACCELERATE_MIXED_PRECISION": "no"}),
    ],
)
def test_accelerate_makes_of_a_file_what_it_says(name: str, settings: str, environment: dict[str, str]) -> None:
    """Through accelerate's own parser and launcher, up to the environment of the processes."""
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser
    from accelerate.utils.launch import prepare_multi_gpu_env

    arguments = [
        "--config_file",
        str(configs()[name]),
        "--num_processes",
        "2",
        "--main_process_port",
        "0",
        "-m",
        "module",
    ]
    parsed, _, _ = _validate_launch_command(launch_command_parser().parse_args(arguments))
    assert getattr(parsed, settings) is True
    made = prepare_multi_gpu_env(parsed)
    assert {key: made[key] for key in environment} == environment


def test_the_command_names_the_file_the_processes_and_the_module(gpus: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(4)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert command("some.module", ["folder"], config="fsdp2") == [
        *("--config_file", str(configs()["fsdp2"]), "--num_processes", "4", "--num_cpu_threads_per_process", "3"),
        *("--main_process_port", "0", "-m", "some.module", "folder"),
    ]
    gpus(8)
    two = command("some.module", [], config="fsdp2_two_machines")
    assert two[2:4] == ["--num_processes", "16"]
    assert "--main_process_port" not in two
    gpus(0)
    assert command("some.module", [])[1:4] == [str(configs()["ddp_cpu"]), "--num_processes", "2"]


@pytest.mark.parametrize(
    ("config", "processes", "count", "message"),
    [
        ("fsdp", None, 8, r"no file fsdp; did you mean 'fsdp2'\?"),
        ("my/own.yaml", None, 8, r"no file my/own\.yaml; shipped are ddp, "),
        ("fsdp2", None, 0, "is for GPUs and this machine has none; ddp_cpu and fsdp2_cpu are not"),
        ("ddp", 8, 2, "8; there are 2 GPUs, one a process"),
        ("fsdp2_two_machines", 5, 8, "5 cannot be spread evenly over 2 machines"),
        ("ddp_cpu", 0, 0, "0; expected at least 1"),
    ],
)
def test_what_cannot_be_launched_is_told_with_its_cure(
    gpus: Any, config: str, processes: int | None, count: int, message: str
) -> None:
    gpus(count)
    with pytest.raises(RecipeError, match=message):
        command("some.module", [], config=config, processes=processes)


def test_a_missing_deepspeed_is_named(gpus: Any) -> None:
    gpus(8, deepspeed=False)
    with pytest.raises(
        RecipeError, match=r"zero3\.yaml needs the package deepspeed: pip install deepspeed; fsdp2 shares"
    ):
        open_config("zero3")
    gpus(8)
    assert open_config("zero3")[1]["deepspeed_config"]["zero3_save_16bit_model"] is True


def test_a_file_that_is_none_of_accelerate_is_told(gpus: Any, tmp_path: Path) -> None:
    gpus(8)
    file = tmp_path / "own.yaml"
    file.write_text("distributed_type: FSDP\nfsdp_confg: {}\n")
    with pytest.raises(RecipeError, match=r"own\.yaml is no config file of accelerate: .*fsdp_confg"):
        open_config(file)


def test_reporters_are_checked_by_name_and_by_package() -> None:
    with pytest.raises(RecipeError, match="unknown reporter 'wandbb'; did you mean 'wandb'"):
        KTOSettings(report_to=("wandbb",))
    check_reporters(["tensorboard"])
    with pytest.raises(RecipeError, match="clearml needs the package clearml: pip install clearml"):
        check_reporters(["tensorboard", "clearml"])
