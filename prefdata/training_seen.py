"""Which held-out rows a stage's start has been trained on already: in this run, or in another one that made it.

Of a stage of another run its rows are asked, where they lie beside it and are those that it was trained on. Where they
are not, nothing can be said, and that is told.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from prefdata.build.retype import prompt_keys
from prefdata.io import sha256_file

if TYPE_CHECKING:
    from prefdata.training_stages import Given

log = logging.getLogger(__name__)

ROWS = "training"
"""Folder of a run with the rows that stages are given, as their methods read them."""


class Seen(NamedTuple):
    """What is known of the rows of stages."""

    prompts: list[pl.Series]
    """Keys of the prompts that were trained on."""
    unknown: list[str]
    """Stages whose rows are not to be had."""


def seen_by(model: str | Path) -> Seen:
    """What the stage in the folder `model` was trained on, and those that it goes on from; of other models nothing."""
    found = Seen([], [])
    folder = Path(model)
    while (folder / "stage.json").is_file():
        record = json.loads((folder / "stage.json").read_text(encoding="utf-8"))
        rows = _rows(folder.resolve(), record["key"])
        if rows is None:
            found.unknown.append(folder.resolve().name)
        else:
            found.prompts.append(prompt_keys(rows))
        if record.get("parent") is None:
            return found
        folder = folder / record["parent"]["path"]
        if not (folder / "stage.json").is_file():
            found.unknown.append(folder.name)
    return found


def unseen(given: Given, before: Sequence[pl.Series], unknown: Sequence[str], *, stage: str) -> Given:
    """Held-out rows whose prompt no earlier stage was trained on; how many were left out is in the account."""
    if not given.evaluation.height:
        return given
    account = given.account
    if unknown:
        account = {**account, "shared_prompts_unknown": list(unknown)}
        log.warning(
            "stage %s: %s trained in another run, whose rows are not there or not those; whether held-out rows were "
            "among them cannot be known",
            stage,
            f"{', '.join(unknown)} {'were' if len(unknown) > 1 else 'was'}",
        )
    if not before:
        return given._replace(account=account)
    shared = prompt_keys(given.evaluation).is_in(pl.concat(before).unique().to_list())
    account = {**account, "shared_prompts": int(shared.sum())}
    return given._replace(evaluation=given.evaluation.filter(~shared), account=account)


def _rows(folder: Path, key: str) -> pl.DataFrame | None:
    """The rows that the stage in `folder` was trained on, as its run keeps them; None where that cannot be proven."""
    run = folder.parent.parent
    file, facts = run / ROWS / folder.name / "train.parquet", run / "run.json"
    if not file.is_file() or not facts.is_file():
        return None
    told: list[dict[str, Any]] = json.loads(facts.read_text(encoding="utf-8")).get("training", [])
    hashes = [one["data"]["train"]["sha256"] for one in told if (one["stage"], one["key"]) == (folder.name, key)]
    return pl.read_parquet(file, glob=False) if sha256_file(file) in hashes else None
