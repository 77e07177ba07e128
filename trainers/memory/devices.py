"""How much memory a device has: by the name of a GPU, as a size, or of this very machine."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from typing import Literal

from prefdata.errors import RecipeError, nearest

GIB = 1 << 30
GB = 10**9


@dataclass(frozen=True, kw_only=True)
class Memory:
    """What one device offers."""

    name: str
    bytes: int
    kind: Literal["cuda", "cpu"] = "cuda"
    bfloat16: bool = True
    """Whether it multiplies bfloat16 itself; training is in float32 where it does not."""


GPUS = {
    "t4": (14.6, False),
    "v100-16": (15.8, False),
    "v100-32": (31.7, False),
    "a10": (22.1, True),
    "l4": (22.0, True),
    "rtx3090": (23.6, True),
    "rtx4090": (23.6, True),
    "rtx5090": (31.4, True),
    "a100-40": (39.4, True),
    "l40s": (44.4, True),
    "a6000": (47.4, True),
    "a100-80": (79.2, True),
    "h100": (79.1, True),
    "h200": (139.8, True),
    "b200": (178.4, True),
}
"""Name -> GiB that a process finds (rounded down; what is printed on the box is more), and bfloat16."""

SIZES = (16, 24, 32, 40, 48, 80, 141, 180)
"""GB on the boxes of GPUs; a report tells the smallest that is enough."""

SIZED = re.compile(r"(\d+(?:\.\d+)?)\s*(gib|gb|g|mib|mb|m)?")
UNITS = {"gib": GIB, "g": GIB, "gb": GB, "mib": 1 << 20, "m": 1 << 20, "mb": 10**6}


def memory_of(name: str) -> Memory:
    """The device called `name`: `h100`, `24GiB`, `80GB`, or `cpu` for this machine's own memory."""
    text = name.strip().lower()
    if text == "cpu":
        return this_machine()
    if text in GPUS:
        gib, bfloat16 = GPUS[text]
        return Memory(name=text, bytes=int(gib * GIB), bfloat16=bfloat16)
    sized = SIZED.fullmatch(text)
    if sized is None:
        raise RecipeError(
            f"--gpu {name}: neither a size (24GiB, 80GB), nor cpu, nor a known GPU; {nearest(text, GPUS)}"
        )
    return Memory(name=name, bytes=int(float(sized[1]) * UNITS[sized[2] or "gib"]))


def this_machine() -> Memory:
    """The memory that a process may use here: the machine's, or its container's limit where that is less."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            with open(file, encoding="ascii") as limit:
                text = limit.read().strip()
        except OSError:
            continue
        if text.isdigit():
            total = min(total, int(text))
    return Memory(name="this machine", bytes=total, kind="cpu", bfloat16=False)


def found_gpu() -> Memory | None:
    """The first GPU of this machine as its driver tells it, without torch; None where there is none."""
    query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits", "-i", "0"]
    try:
        told = subprocess.run(query, capture_output=True, text=True, check=True, timeout=5).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
    name, _, mebibytes = told.rpartition(",")
    return Memory(name=name.strip(), bytes=int(mebibytes) << 20) if mebibytes.strip().isdigit() else None


def smallest(needed: int) -> int | None:
    """GB of the smallest usual GPU that holds so many bytes; None where none does."""
    usable = {16: 15.8, 24: 23.6, 32: 31.4, 40: 39.4, 48: 47.4, 80: 79.1, 141: 139.8, 180: 178.4}
    return next((size for size in SIZES if needed <= usable[size] * GIB), None)
