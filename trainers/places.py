"""Folders as a stage's record tells them: seen from the stage, so that a run that is moved or copied still finds them.

No record holds the place of a folder on one machine, and no key depends on it: what lies there is told by hashes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

KINDS_OF_STORE = ("auto", "always", "never")
"""What `reference_store` may say instead of a folder."""


def seen_from(folder: Path, place: str | Path) -> str:
    """The way from `folder` to `place`; it begins with a dot, as no name of a model does."""
    way = Path(os.path.relpath(Path(place).expanduser().resolve(), folder.resolve())).as_posix()
    return way if way == "." or way.startswith(("./", "../")) or way == ".." else f"./{way}"


def is_seen(named: str) -> bool:
    """Whether something is told as `seen_from` tells it."""
    return named in (".", "..") or named.startswith(("./", "../"))


def recorded(settings: Mapping[str, Any], folder: Path, named: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as the stage in `folder` records them: stores and reward models seen from there.

    `named` are the reward models that a recipe calls by a name or by their place seen from the recipe: these stay.
    """
    found = dict(settings)
    store = found.get("reference_store")
    if store is not None and store not in KINDS_OF_STORE:
        found["reference_store"] = seen_from(folder, store)
    if found.get("rewards"):
        found["rewards"] = {
            name: {**values, "model": _told(values["model"], folder, named)}
            if _is_model(name, values) and "model" in values
            else values
            for name, values in found["rewards"].items()
        }
    return found


def keyed(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as far as they decide weights: a folder is a store like every other, a reward model what it holds,
    and what reporters call the run is nothing.

    What that is joins the key by itself, see `Method.given`.
    """
    found = dict(settings)
    if found.get("args"):
        found["args"] = {name: value for name, value in found["args"].items() if name != "run_name"}
    if found.get("reference_store", "auto") not in KINDS_OF_STORE:
        found["reference_store"] = "always"
    if found.get("rewards"):
        found["rewards"] = {
            name: {key: value for key, value in values.items() if key != "model"} if _is_model(name, values) else values
            for name, values in found["rewards"].items()
        }
    return found


def _is_model(name: str, values: Mapping[str, Any] | None) -> bool:
    return values is not None and values.get("kind", name) == "reward_model"


def _told(model: str, folder: Path, named: Mapping[str, Any]) -> str:
    place = Path(model).expanduser()
    return seen_from(folder, place) if place.is_absolute() or (model not in named and place.is_dir()) else model
