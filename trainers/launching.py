"""`accelerate launch` from within: the command for a config file, and what is told when a process of it fails.

Run as a module it is accelerate's own launcher with the same arguments, only that the failure of a training process is
told by that process, in a line, and not by a page of the launcher's stack.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from prefdata.errors import PrefdataError, RecipeError, ResourceError, nearest

log = logging.getLogger(__name__)

FAILURE = "PREFDATA_FAILURE"
"""Environment variable: the file in which the first process that fails leaves its message and exit code."""

SHIPPED = (Path(__file__).parents[1] / "recipes" / "accelerate", Path(__file__).parent / "accelerate")
"""Where accelerate's config files lie in a checkout, and in an installed package."""

KILLED = 128 + 9


def configs() -> dict[str, Path]:
    """The shipped config files by name: ddp, fsdp2, zero3, ..."""
    return {file.stem: file for folder in SHIPPED for file in sorted(folder.glob("*.yaml"))}


def open_config(config: str | Path) -> tuple[Path, dict[str, Any]]:
    """A config file of accelerate, by its path or its shipped name, and what it says.

    Raises RecipeError where there is none, where accelerate would not take it, or where this machine lacks what it
    asks for: GPUs, or the package deepspeed.
    """
    path = Path(config)
    if not path.is_file():
        if path.suffix or len(path.parts) > 1:
            raise RecipeError(f"--config: no file {path}; shipped are {', '.join(configs())}")
        if str(config) not in configs():
            raise RecipeError(f"--config: no file {config}; {nearest(str(config), configs())}")
        path = configs()[str(config)]
    from accelerate.commands.config.config_args import load_config_from_file

    try:
        load_config_from_file(str(path))
        said = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (ValueError, TypeError, AttributeError, KeyError, yaml.YAMLError) as error:
        raise RecipeError(f"--config: {path.name} is no config file of accelerate: {error}") from error
    if said["distributed_type"] == "DEEPSPEED" and importlib.util.find_spec("deepspeed") is None:
        raise RecipeError(
            f"--config: {path.name} needs the package deepspeed: pip install deepspeed; "
            "fsdp2 shares out weights, gradients and optimizer states too and needs nothing more"
        )
    if not said.get("use_cpu") and not _gpus():
        raise RecipeError(f"--config: {path.name} is for GPUs and this machine has none; ddp_cpu and fsdp2_cpu are not")
    return path, said


def command(
    module: str, arguments: Sequence[str], *, config: str | Path | None = None, processes: int | None = None
) -> list[str]:
    """What `accelerate launch` is told to run `python -m module arguments` in every process.

    `config` is a file or a shipped name; by default ddp, or ddp_cpu where there is no GPU. `processes` are by default
    the GPUs of the machine (times machines), or on a CPU what the file says.
    """
    path, said = open_config(config or ("ddp" if _gpus() else "ddp_cpu"))
    machines = said.get("num_machines", 1)
    if processes is not None and processes < 1:
        raise RecipeError(f"--processes: {processes}; expected at least 1")
    wanted = processes or (said.get("num_processes", 2) if said.get("use_cpu") else _gpus() * machines)
    if not said.get("use_cpu") and wanted > _gpus() * machines:
        raise RecipeError(f"--processes: {wanted}; there are {_gpus() * machines} GPUs, one a process")
    if wanted % machines:
        raise RecipeError(f"--processes: {wanted} cannot be spread evenly over {machines} machines")
    threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, (os.cpu_count() or 1) * machines // wanted))
    return [
        *("--config_file", str(path)),
        *("--num_processes", str(wanted)),
        *("--num_cpu_threads_per_process", threads),
        *(("--main_process_port", "0") if machines == 1 else ()),
        *("-m", module),
        *arguments,
    ]


def launch(
    module: str, arguments: Sequence[str], *, config: str | Path | None = None, processes: int | None = None
) -> None:
    """Runs `python -m module arguments` in several processes and waits for them.

    Raises what the first process that failed said (see `telling`), with its exit code; ResourceError where one was
    killed. The output of all goes where that of this process goes.
    """
    told = command(module, arguments, config=config, processes=processes)
    log.info("launch: accelerate launch %s", shlex.join(told))
    with tempfile.TemporaryDirectory() as folder:
        failure = Path(folder) / "failure.json"
        process = subprocess.Popen(
            [sys.executable, "-m", "trainers.launching", *told], env={**os.environ, FAILURE: str(failure)}
        )
        try:
            code = process.wait()
        except BaseException:  # an interrupt too ends what was launched, and goes on
            process.terminate()
            process.wait()
            raise
        if not code:
            return
        if failure.is_file():
            said = json.loads(failure.read_text(encoding="utf-8"))
            error = PrefdataError(said["message"])
            error.exit_code = said["exit_code"]
            raise error
    if code == KILLED:
        raise ResourceError(
            "a training process was killed (SIGKILL), most often because memory ran out: `prefdata estimate` shows "
            "what the stage needs and how it would fit. All is kept up to the last checkpoint; run it again"
        )
    raise PrefdataError(f"a training process ended with exit code {code}; what it said stands above")


@contextlib.contextmanager
def telling() -> Iterator[None]:
    """In a launched process: leaves the message of a PrefdataError for the one that launched, and ends with its code.

    What other processes say then, of a connection that broke, is not told.
    """
    try:
        yield
    except PrefdataError as error:
        if FAILURE in os.environ:
            with contextlib.suppress(FileExistsError), open(os.environ[FAILURE], "x", encoding="utf-8") as file:
                json.dump({"message": str(error), "exit_code": error.exit_code}, file)
        else:
            print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except Exception:  # the process that failed first has told why; what others say of it is not told again
        if FAILURE in os.environ and Path(os.environ[FAILURE]).is_file():
            sys.exit(1)
        raise


def _gpus() -> int:
    import torch

    return int(torch.cuda.device_count())


def _main() -> int:
    from accelerate.commands.launch import main
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    logging.disable()  # torchrun logs each failure with the stack it has, which is its own
    try:
        main()
    except ChildFailedError as error:
        code: int = min(error.failures.values(), key=lambda one: one.timestamp).exitcode
        return code if code > 0 else 128 - code
    except subprocess.CalledProcessError as error:
        return error.returncode if error.returncode > 0 else 128 - error.returncode
    return 0


if __name__ == "__main__":
    sys.exit(_main())
