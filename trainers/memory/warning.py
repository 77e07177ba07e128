"""What a stage says of its memory before it loads a model: a warning where it will not fit, and a record."""

from __future__ import annotations

import logging
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

SPREADS: dict[str, Sharding] = {"fsdp2": "fsdp2", "deepspeed": "zero2"}
"""How processes share weights -> what is divided at least; ZeRO's stage 3 divides more."""


def foretold(method: str, settings: Any, rows: Rows, start: Start, place: Machine) -> dict[str, Any]:
    """The estimate for stage.json["memory"]; logs a warning, with what to change, where less than the peak is free.

    A model whose shape the closed form does not know is no reason to stop: the record then says why there is none.
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
            sharding=SPREADS.get(place.spread, "none"),
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


def free(place: Machine) -> Memory:
    """What may still be taken on the device that the stage runs on."""
    if place.device == "cuda":
        import torch

        return Memory(name="the GPU", bytes=torch.cuda.mem_get_info()[0], bfloat16=place.bfloat16)
    here = this_machine()
    return Memory(name=here.name, bytes=min(here.bytes, _available(here.bytes)), kind="cpu", bfloat16=place.bfloat16)


def _available(total: int) -> int:
    """What the kernel says can be taken without swapping; all of it where it does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return total
    found = [line.split() for line in lines if line.startswith("MemAvailable:")]
    return int(found[0][1]) << 10 if found else total
