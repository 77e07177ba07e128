"""What "the same start model" means: the bytes of its weights, and what its config says beside them.

The same weights compute something else under other rotary positions, another scale, or a head that is tied or not.
What a config says of its own origin is left out, and the type that weights were saved in, which a stage sets anew.
"""

from __future__ import annotations

import functools
import hashlib
import json
from pathlib import Path
from typing import Any

from prefdata.io import sha256_file
from trainers.models import weight_files

CONFIG = "config.json"

OF_NO_ACCOUNT = frozenset(["transformers_version", "_name_or_path", "dtype", "torch_dtype"])
"""Keys of a config, on any level, that change nothing of what is computed."""


def identity(folder: Path) -> str:
    """SHA-256 of weights and config together."""
    return hashlib.sha256(f"{weights_hash(folder)} {config_hash(folder)}".encode()).hexdigest()


def weights_hash(folder: Path) -> str:
    """SHA-256 over the names and hashes of all weight files."""
    digest = hashlib.sha256()
    for file in weight_files(folder):
        state = file.stat()
        digest.update(f"{file.name} {_hashed(file.resolve(), state.st_mtime_ns, state.st_size)}\n".encode())
    return digest.hexdigest()


def config_hash(folder: Path) -> str | None:
    """SHA-256 of config.json as data, whatever the order of its keys; None for a folder without one."""
    file = folder / CONFIG
    if not file.is_file():
        return None
    said = _telling(json.loads(file.read_text(encoding="utf-8")))
    return hashlib.sha256(json.dumps(said, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _telling(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _telling(inner) for key, inner in value.items() if key not in OF_NO_ACCOUNT}
    return [_telling(inner) for inner in value] if isinstance(value, list) else value


@functools.lru_cache(maxsize=256)
def _hashed(file: Path, changed: int, size: int) -> str:
    """A stage asks for the hash of its start model several times; a gigabyte takes a second each."""
    return sha256_file(file)
