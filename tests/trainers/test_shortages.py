"""Memory or disk that runs out ends in one line with its cure, exit code 7, and nothing torn."""

from __future__ import annotations

import errno
import os
import re
import subprocess
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from prefdata.errors import InputError, ResourceError
from trainers.job import read_stage
from trainers.kto import KTOSettings, train_kto
from trainers.shortages import require_room, shortages

pytestmark = [pytest.mark.train, pytest.mark.usefixtures("one_thread")]

QUICK: dict[str, Any] = {
    "learning_rate": 1e-2,
    "lora_r": 4,
    "per_device_batch": 4,
    "gradient_accumulation": 1,
    "max_steps": 4,
    "max_length": 128,
    "save_steps": 2,
    "samples": 0,
    "n_bootstrap": 10,
}


@pytest.fixture
def plan(tmp_path: Path) -> Any:
    return SimpleNamespace(
        method=SimpleNamespace(name="kto"),
        settings=KTOSettings(per_device_batch=8, gradient_accumulation=2, tuner="full"),
        machine=SimpleNamespace(device="cuda"),
        rows=SimpleNamespace(lengths=lambda: [10, 900]),
        output_dir=tmp_path,
    )


def allocate() -> None:
    import torch

    torch.empty(1 << 58)


def out_of_gpu() -> None:
    import torch

    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def fail(error: Exception) -> Callable[[], None]:
    def raised() -> None:
        raise error

    return raised


@pytest.mark.parametrize("cause", [allocate, out_of_gpu, fail(MemoryError()), fail(OSError(errno.ENOMEM, "mmap"))])
def test_full_memory_is_told_with_what_would_fit(plan: Any, cause: Callable[[], None]) -> None:
    with pytest.raises(ResourceError) as caught, shortages(plan):
        cause()
    assert caught.value.exit_code == 7
    assert str(caught.value) == (
        "kto: the memory of the GPU ran out, with 8 rows of up to 900 tokens. `prefdata estimate` shows what every "
        "part needs and what would fit; try per_device_batch: 4 with gradient_accumulation: 4; "
        "gradient_checkpointing: true; tuner: lora, or more GPUs with --config fsdp2; a smaller max_length"
    )


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        RuntimeError("[enforce fail at inline_container.cc:671] . unexpected pos 576 vs 534"),
        pl.exceptions.ComputeError("No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_told(plan: Any, error: Exception) -> None:
    with pytest.raises(ResourceError) as caught, shortages(plan):
        raise error
    assert caught.value.exit_code == 7
    assert "kto: the disk ran full while" in str(caught.value)


@pytest.mark.parametrize("error", [RuntimeError("mat1 and mat2 shapes"), InputError("no rows"), KeyError("label")])
def test_other_errors_stay_what_they_are(plan: Any, error: Exception) -> None:
    with pytest.raises(type(error)) as caught, shortages(plan):
        raise error
    assert caught.value is error


def test_a_disk_that_cannot_hold_the_checkpoints_is_refused_beforehand(
    plan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    usage = namedtuple("usage", "free")
    trainer = SimpleNamespace(model=torch.nn.Linear(1024, 1024, bias=False))  # 4 MiB: 4 + 3 * (4 + 8) with checkpoints
    monkeypatch.setattr("trainers.shortages.shutil.disk_usage", lambda _: usage(39 << 20))
    with pytest.raises(ResourceError, match=r"39\.0 MiB are free .* and the trained weights take 40\.0 MiB"):
        require_room(plan, trainer)
    monkeypatch.setattr("trainers.shortages.shutil.disk_usage", lambda _: usage(40 << 20))
    require_room(plan, trainer)


def test_a_disk_that_runs_full_in_a_checkpoint_costs_no_step_before_it(
    tiny_model: Path, tmp_path: Path, support_rows: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import Trainer

    real, saves = Trainer._save_optimizer_and_scheduler, []

    def full(self: Any, folder: str) -> None:
        saves.append(folder)
        if len(saves) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(self, folder)

    monkeypatch.setattr(Trainer, "_save_optimizer_and_scheduler", full)
    settings = KTOSettings(**QUICK)
    with pytest.raises(ResourceError, match="kto: the disk ran full"):
        train_kto(support_rows, None, model=tiny_model, output_dir=tmp_path / "s", settings=settings)
    assert sorted(path.name for path in (tmp_path / "s").iterdir()) == ["checkpoints", "tensorboard"]
    stage = train_kto(support_rows, None, model=tiny_model, output_dir=tmp_path / "s", settings=settings)
    assert [Path(folder).name for folder in saves] == ["checkpoint-2", "checkpoint-4", "checkpoint-4"]
    assert stage.record["metrics"]["steps"] == 4


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 300 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("needs the right to mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_disk_that_is_really_full_leaves_nothing_torn(
    forge: Any, jobs_folder: Path, tiny_model: Path, small_disk: Path
) -> None:
    job = {
        "method": "kto",
        "model": str(tiny_model),
        "rows": "kto.parquet",
        "held_out": "kto_held_out.parquet",
        "settings": {**QUICK, "lora_r": 1},
    }
    os.environ.pop("PREFDATA_FAILURE", None)
    assert forge.run(jobs_folder, [{**job, "output": str(small_disk / "stage")}]) == [7]
    told = (jobs_folder / "output.txt").read_text()
    assert re.fullmatch(r"(?s).*error: .*(the disk ran full|no room left on the disk).*", told), told
    assert "Traceback" not in told
    assert not (small_disk / "stage" / "stage.json").exists()
    subprocess.run(["mount", "-o", "remount,size=50m", str(small_disk)], check=True)
    assert forge.run(jobs_folder, [{**job, "output": str(small_disk / "stage")}, {**job, "output": "whole"}]) == [0]
    assert read_stage(small_disk / "stage").record["files"] == read_stage(jobs_folder / "whole").record["files"]
