"""A run directory: its lock, its finished stages and their hashes, its log with the only clock."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import platform
import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from prefdata.errors import InputError, LockedError, RecipeError
from prefdata.io import sha256_file, write_json


class RunDir:
    """The folder of one run. Files in it appear whole or not at all; a stage counts once its marker is written."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the directory for writing. Raises LockedError at once where another process holds it.

        The kernel frees the lock with the process, so a killed run leaves none behind.
        """
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise LockedError(
                    f"{self.path}: another process is writing this run; wait for it, or name another --out"
                ) from None
            for leftover in list(self.path.rglob(".*.tmp")):  # what a killed run was writing
                if leftover.is_dir():
                    shutil.rmtree(leftover)
                else:
                    leftover.unlink(missing_ok=True)
            yield
        finally:
            os.close(handle)

    def marker(self, stage: str) -> Path:
        """The file whose presence says that a stage is finished."""
        return self.path / "stages" / f"{stage}.json"

    def finished(self, stage: str, key: str) -> dict[str, Any] | None:
        """What the stage came to, if it was finished for this key and its files still have the hashes they had."""
        try:
            marker: dict[str, Any] = json.loads(self.marker(stage).read_text())
        except (OSError, ValueError):
            return None
        if marker.get("key") != key:
            return None
        for name, digest in marker["files"].items():
            file = self.path / name
            if not file.is_file() or sha256_file(file) != digest:
                self.log("stage_not_reused", stage=stage, file=name, reason="its hash is not the one recorded")
                return None
        result: dict[str, Any] = marker["result"]
        return result

    def finish(self, stage: str, key: str, files: Iterable[Path], result: dict[str, Any]) -> dict[str, Any]:
        """Write the stage's marker: the last thing a stage does."""
        hashes = {str(file.relative_to(self.path)): sha256_file(file) for file in sorted(files)}
        self.marker(stage).parent.mkdir(exist_ok=True)
        write_json(self.marker(stage), {"key": key, "files": hashes, "result": result})
        told: dict[str, Any] = json.loads(json.dumps(result))  # the same data as a later run will read
        return told

    def claim(self, name: str) -> None:
        """Make the directory the run of the recipe `name`. Raises RecipeError where it is another recipe's."""
        owner = self.path / "stages" / "recipe.json"
        if not owner.is_file() and (self.path / "pictures").exists():
            raise RecipeError(f"{self.path} is no run and has `pictures` in it, which a run writes; name another --out")
        found = json.loads(owner.read_text()).get("name") if owner.is_file() else name
        if found != name:
            raise RecipeError(f"{self.path} holds a run of {found!r}, this recipe is {name!r}; name another --out")
        owner.parent.mkdir(exist_ok=True)
        write_json(owner, {"name": name})

    def fresh(self, folder: str) -> Path:
        """An empty folder of this name; what an unfinished stage left there is removed."""
        path = self.path / folder
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        return path

    def log(self, event: str, **details: Any) -> None:
        """One line in run.log.jsonl: the only file with a clock and a host. Never row text."""
        line = {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "host": platform.node(), "event": event}
        with open(self.path / "run.log.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps({**line, **details}, sort_keys=True) + "\n")


def key_of(*parts: Any) -> str:
    """A hash of JSON data: what a stage's result depends on."""
    return hashlib.blake2b(json.dumps(parts, sort_keys=True, default=str).encode(), digest_size=16).hexdigest()


def existing(path: str | Path) -> RunDir:
    """The run directory at `path`. Raises InputError where there is none."""
    run = RunDir(Path(path))
    if not (run.path / "run.json").is_file():
        raise InputError(f"{path}: no run.json there; `prefdata run RECIPE --out {path}` makes one")
    return run
