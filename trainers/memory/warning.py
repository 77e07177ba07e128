"""What a stage says of its memory before it loads a model: a warning where it will not fit, and a record."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefdata.errors import PrefdataError
from trainers.job import Machine
from trainers.memory.devices import Memory, this_machine
from trainers.memory.longest import longest_of
from trainers.memory.report import estimate_stage
from trainers.memory.suggest import together
from trainers.memory.terms import Sharding
from trainers.rows import Rows
from trainers.start import Start

log = logging.getLogger(__name__)

ZERO_STAGE, ZERO_FILE = "ACCELERATE_DEEPSPEED_ZERO_STAGE", "ACCELERATE_DEEPSPEED_CONFIG_FILE"
"""Environment variables in which accelerate tells the processes that it starts how DeepSpeed divides."""


def foretold(
    method: str,
    settings: Any,
    rows: Rows,
    start: Start,
    place: Machine,
    *,
    folders: Mapping[str, str | Path] | None = None,
) -> dict[str, Any]:
    """The estimate for stage.json["memory"]; logs a warning, with what to change, where less than the peak is free.

    `folders` are the places of reward models that settings call by a name. A model whose shape the closed form does not
    know is no reason to stop: the record then says why there is none.
    """
    memory = free(place)
    try:
        report = estimate_stage(
            method,
            settings,
            start.folder,
            memory=memory,
            longest=longest_of(rows),
            devices=place.processes,
            sharding=sharding(place.spread),
            scored_by=scored_by(settings, folders or {}),
        )
    except PrefdataError as error:
        return {"unknown": str(error)}
    if not report.fits:
        cure = together(report.suggestions) or "a smaller model"
        log.warning(
            "%s: about %.1f GiB are needed (%s; longest row %s, %d tokens) and %.1f GiB are free; try %s, "
            "and see `prefdata estimate`",
            method,
            report.estimate.total / (1 << 30),
            report.estimate.phase,
            report.longest.id,
            report.longest.tokens,
            memory.bytes / (1 << 30),
            cure,
        )
    told = report.record()
    return {name: told[name] for name in ("peak", "peak_of_tensors", "phase", "states", "phases", "assumed", "longest")}


def sharding(spread: str) -> Sharding:
    """What processes divide. DeepSpeed's stage is the one that accelerate was told; below 2 gradients stay whole."""
    if spread.startswith("fsdp"):
        return "fsdp2"
    if spread != "deepspeed":
        return "none"
    stage: Any = os.environ.get(ZERO_STAGE, 2)
    file = Path(os.environ.get(ZERO_FILE, ""))
    if file.is_file():
        stage = json.loads(file.read_text(encoding="utf-8")).get("zero_optimization", {}).get("stage", 0)
    if str(stage) == "3":
        return "zero3"
    return "zero2" if str(stage) == "2" else "none"


def scored_by(settings: Any, folders: Mapping[str, str | Path]) -> list[str | Path]:
    """The reward models among a stage's rewards."""
    rewards = getattr(settings, "rewards", None) or {}
    return [
        folders.get(facts["model"], facts["model"])
        for name, facts in rewards.items()
        if facts and facts.get("kind", name) == "reward_model"
    ]


def free(place: Machine) -> Memory:
    """What may still be taken on the device that a process of the stage runs on; processes on one CPU share it."""
    if place.device == "cuda":
        import torch

        return Memory(name="the GPU", bytes=torch.cuda.mem_get_info()[0], bfloat16=place.bfloat16)
    here = this_machine()
    beside = int(os.environ.get("LOCAL_WORLD_SIZE", place.processes)) if place.processes > 1 else 1
    size = min(here.bytes, _available(here.bytes)) // beside
    return Memory(name=here.name, bytes=size, kind="cpu", bfloat16=place.bfloat16)


def _available(total: int) -> int:
    """What the kernel says can be taken without swapping; all of it where it does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return total
    found = [line.split() for line in lines if line.startswith("MemAvailable:")]
    return int(found[0][1]) << 10 if found else total
