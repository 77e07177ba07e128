"""What is watched while TRL trains: the first step's loss, checkpoints that can be trusted, and a bar on stderr."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from prefdata.errors import InputError, PrefdataError
from prefdata.io import sha256_file, write_json
from trainers.processes import barrier, writes

log = logging.getLogger(__name__)

TOLERANCE = 0.01
"""Largest relative distance of the first step's loss from its expected value: rounding in bfloat16 stays below it."""

CHECKPOINT_MANIFEST = "prefdata-checkpoint.json"


class CanaryError(PrefdataError):
    """The first step's loss is not what a policy that equals its reference must have."""

    exit_code = 3


class FirstLoss(TrainerCallback):
    """Stops training when the first step shows that the reference is not the start model.

    Before the first update policy and reference are one model, so the loss is known beforehand, and the implicit
    rewards that TRL logs are 0 whatever the loss. Another value means that the reference is some other model (TRL
    reloads it from the config's path) or that dropout is on: training would run and move away from the wrong place.
    """

    def __init__(self, expected: float | None, reward_tolerance: float = 0.01) -> None:
        self.expected = expected
        self.reward_tolerance = reward_tolerance
        self.found: float | None = None

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if state.global_step != 1 or not logs or "loss" not in logs:
            return
        self.found = float(logs["loss"])
        cure = (
            "the reference model is not the model that training starts from. Check that the model folder was not "
            "changed while it was in use, and that `args` sets neither a reference model nor dropout; where its "
            "log-probabilities were kept from an earlier run, try reference_store: never"
        )
        if self.expected is not None and not abs(self.found - self.expected) <= TOLERANCE * abs(self.expected):
            raise CanaryError(f"the first step's loss is {self.found:.4f}, expected {self.expected:.4f}: {cure}")
        rewards = [float(logs[name]) for name in ("rewards/chosen", "rewards/rejected") if name in logs]
        if any(not abs(one) <= self.reward_tolerance for one in rewards):
            found = ", ".join(f"{one:.4f}" for one in rewards)
            raise CanaryError(f"the first step's rewards are {found}, expected 0: {cure}")


class TrainingEndedError(Exception):
    """All updates are done."""


class End(TrainerCallback):
    """Ends a run that goes on from the checkpoint of its last update, where transformers 5 would train on.

    The last is that of max_steps, or one at which another callback stopped training, as the checkpoint tells.
    """

    def __init__(self) -> None:
        self.stopped = False

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        kept = state.stateful_callbacks.get("TrainerControl", {})
        self.stopped = bool(state.global_step and kept.get("args", {}).get("should_training_stop"))

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.stopped or state.global_step >= state.max_steps:
            raise TrainingEndedError


class TrustedCheckpoints(TrainerCallback):
    """Writes, last of all, a manifest with the hash of every file of a checkpoint; without it a checkpoint is torn."""

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        barrier()  # every process writes its own part
        if writes():
            self._sign(args, state)

    def _sign(self, args: Any, state: Any) -> None:
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        files = {
            file.relative_to(folder).as_posix(): sha256_file(file)
            for file in sorted(folder.rglob("*"))
            if file.is_file() and file.name != CHECKPOINT_MANIFEST
        }
        write_json(folder / CHECKPOINT_MANIFEST, {"step": state.global_step, "files": files})


def newest_checkpoint(folder: Path, key: str, place: Mapping[str, Any]) -> Path | None:
    """The newest whole checkpoint of the same data, model and settings; torn ones are removed.

    Checkpoints of another `key` are removed all: they cannot be continued. Every file is hashed again, so a flipped
    bit costs the steps since the checkpoint before it, not the result. `place` is where training runs: raises
    InputError where the checkpoints were made by another number of processes, or with weights spread otherwise.
    """
    marker = folder / "key.json"
    made = json.loads(marker.read_text(encoding="utf-8")) if marker.is_file() else {}
    if not isinstance(made, dict) or made.get("key") != key:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        write_json(marker, {"key": key, "place": place})
        return None
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: -int(path.name.rpartition("-")[2]))
    for checkpoint in found:
        if _whole(checkpoint):
            _require_place(folder, made["place"], place)
            return checkpoint
        shutil.rmtree(checkpoint)
    write_json(marker, {"key": key, "place": place})
    return None


def _require_place(folder: Path, made: Mapping[str, Any], place: Mapping[str, Any]) -> None:
    for name in ("processes", "spread", "bfloat16"):
        if made[name] != place[name]:
            raise InputError(
                f"{folder.parent.name}: the checkpoints there were made with {name} {made[name]}, now it is "
                f"{place[name]}. Train as before to go on from them, or remove {folder.parent.name}/{folder.name}"
            )
    for name in ("device", "threads"):
        if made[name] != place[name]:
            log.warning(
                "%s: going on with %s %s where it began with %s: the weights will not equal an unbroken run's to the "
                "last bit",
                folder.parent.name,
                name,
                place[name],
                made[name],
            )


class Bar(TrainerCallback):
    """A bar on stderr with the loss and the reward margin; nothing where stderr is no terminal."""

    def __init__(self) -> None:
        self.bar: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.bar = progress("training", state.max_steps, "step")
        self.bar.update(state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.bar.update(state.global_step - self.bar.n)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        shown = {name.rpartition("/")[2]: logs[name] for name in ("loss", "rewards/margins") if name in (logs or {})}
        if shown:
            self.bar.set_postfix({name: f"{float(value):.3f}" for name, value in shown.items()})

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.bar.close()


def progress(what: str, total: int, unit: str) -> Any:
    """A tqdm bar on stderr, drawn only on a terminal."""
    from tqdm import tqdm

    return tqdm(total=total, desc=what, unit=unit, disable=None, leave=False, dynamic_ncols=True)


def _whole(checkpoint: Path) -> bool:
    manifest = checkpoint / CHECKPOINT_MANIFEST
    if not manifest.is_file():
        return False
    files = json.loads(manifest.read_text(encoding="utf-8"))["files"]
    return all(
        (checkpoint / name).is_file() and sha256_file(checkpoint / name) == found for name, found in files.items()
    )
