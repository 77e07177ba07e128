"""Trains in processes of its own for tests: one that imports everything once, and forks for each run it is asked for.

`forge.py` reads requests as lines of JSON, as the class Forge of conftest.py writes them, and answers each with the
exit codes of its processes. Under `accelerate launch`, `-m forge FOLDER` runs the jobs of a folder.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from trainers.launching import telling


def train_jobs(folder: Path, jobs: Sequence[dict[str, Any]]) -> None:
    from prefdata import catalogue
    from trainers.training import train

    for job in jobs:
        method = catalogue.method(job["method"])
        train(
            method,
            pl.read_parquet(folder / job["rows"]),
            pl.read_parquet(folder / job["held_out"]) if job["held_out"] else None,
            model=job["model"],
            output_dir=folder / job["output"],
            settings=method.settings(**job["settings"]),
        )


def serve() -> None:
    import torch
    import transformers
    import trl

    for name in ("KTOTrainer", "DPOTrainer", "SFTTrainer", "GRPOTrainer", "RewardTrainer"):
        getattr(trl, name)
    for name in (
        "trainers.loop",
        "trainers.training",
        "peft",
        "datasets",
        "tensorboard",
        "sklearn.metrics",
        "trainers.kto",
    ):
        importlib.import_module(name)
    torch.set_num_threads(1)
    warm = False
    for line in sys.stdin:
        request = json.loads(line)
        if not warm:
            transformers.AutoModelForCausalLM.from_pretrained(request["jobs"][0]["model"])
            gc.freeze()  # the collections of every run would walk over all that was imported
            warm = True
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        children = [_fork(request, rank, port) for rank in range(request["processes"])]
        if request["kill_after"]:
            time.sleep(request["kill_after"])
            for child in children:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
        statuses = [os.waitpid(child, 0)[1] for child in children]
        print(json.dumps([os.waitstatus_to_exitcode(status) for status in statuses]), flush=True)


def _fork(request: dict[str, Any], rank: int, port: int) -> int:
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        with _output(request["output"]):
            os.environ |= request["environment"]
            if request["processes"] > 1:
                os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(request["processes"])}
                os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
            if request["kill_at"] and rank == 0:
                _arm(request["kill_at"])
            with telling():
                train_jobs(Path(request["folder"]), request["jobs"])
            code = 0
    except SystemExit as stop:
        code = int(stop.code or 0)
    finally:
        os._exit(code)


@contextlib.contextmanager
def _output(path: str) -> Iterator[None]:
    """Everything that is printed goes to a file, the traceback of what was not expected too."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    try:
        yield
    except Exception:
        import traceback

        traceback.print_exc()
        raise
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _arm(place: str) -> None:
    name, attribute, count = place.split(":")
    holder: Any = importlib.import_module(name)
    *path, last = attribute.split(".")
    for part in path:
        holder = getattr(holder, part)
    real, calls = getattr(holder, last), []

    def armed(*args: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == int(count):
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **options)

    setattr(holder, last, armed)


if __name__ == "__main__":
    if len(sys.argv) == 1:
        serve()
        os._exit(0)  # C++ bindings complain of what gc.freeze keeps from them
    else:
        with telling():
            work = Path(sys.argv[1])
            train_jobs(work, json.loads((work / "jobs.json").read_text()))
