"""What the tests of several processes run: jobs of a folder, each a method of training with its rows and settings.

`-m launched_worker FOLDER` under `accelerate launch` is one process of several. `launched_worker.py FOLDER forked` is
a launcher of its own: it imports everything once, then forks into two processes, and then runs `alone.json` itself.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path

import polars as pl

from trainers.launching import telling


def run(folder: Path, jobs: str) -> None:
    import torch

    from prefdata import catalogue
    from trainers.training import train

    torch.set_num_threads(1)
    for job in json.loads((folder / jobs).read_text()):
        method = catalogue.method(job["method"])
        train(
            method,
            pl.read_parquet(folder / job["rows"]),
            pl.read_parquet(folder / job["held_out"]),
            model=job["model"],
            output_dir=folder / job["output"],
            settings=method.settings(**job["settings"]),
        )


def forked(folder: Path, processes: int = 2) -> int:
    import torch
    import trl  # noqa: F401

    torch.set_num_threads(1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = []
    for rank in range(processes):
        child = os.fork()
        if not child:
            os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes)}
            os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
            run(folder, "jobs.json")
            os._exit(0)
        children.append(child)
    for child in children:
        _, status = os.waitpid(child, 0)
        if status:
            return 1
    run(folder, "alone.json")
    return 0


if __name__ == "__main__":
    if len(sys.argv) > 2:
        sys.exit(forked(Path(sys.argv[1])))
    with telling():
        run(Path(sys.argv[1]), "jobs.json")
