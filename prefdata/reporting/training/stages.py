"""Trained stages as a report reads them: records, logged steps, sampled answers and held-out rows, oldest first."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl


class Trained(NamedTuple):
    """One finished stage."""

    name: str
    record: Mapping[str, Any]
    """stage.json."""
    history: Sequence[Mapping[str, Any]]
    """metrics.json: one entry a logged step."""
    samples: Sequence[Mapping[str, Any]]
    """samples.json: held-out prompts with the answers before and after."""
    held: pl.DataFrame | None
    """eval_rewards.parquet."""

    @property
    def method(self) -> str:
        return str(self.record["method"])

    @property
    def metrics(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.record["metrics"]
        return found


def of_run(path: Path, report: Mapping[str, Any]) -> list[Trained]:
    """The stages trained on the rows of this run, in the order in which they were trained.

    One whose rows.json names other training rows than the report is left out: it is of an earlier run.
    """
    listed = [(one["stage"], path / one["path"]) for one in report.get("training") or []]
    entry = report["recipe"].get("train")
    if not listed and entry:
        listed = [(entry["name"], path / "model" / entry["name"])]
    found = []
    for name, folder in listed:
        rows = _json(folder / "rows.json", None)
        stage = read(folder, name=name)
        if stage is not None and rows is not None and rows["training_rows"] == report.get("training_rows"):
            found.append(stage)
    return found


def read(folder: Path, *, name: str | None = None) -> Trained | None:
    """The stage in a folder, called `name` or like the folder; None where there is none."""
    record = _json(folder / "stage.json", None)
    if record is None:
        return None
    held = folder / "eval_rewards.parquet"
    return Trained(
        name=name or folder.resolve().name,
        record=record,
        history=_json(folder / "metrics.json", []),
        samples=_json(folder / "samples.json", []),
        held=pl.read_parquet(held, glob=False) if held.is_file() else None,
    )


def chains(stages: Sequence[Trained]) -> list[list[str]]:
    """Lines from a start model to each stage that no other one goes on from: its name, then those of the stages.

    A stage that goes on from one that is not among `stages` is led up to by the methods of its lineage.
    """
    by_key = {stage.record["key"]: at for at, stage in enumerate(stages) if "key" in stage.record}
    parents = [by_key.get((stage.record.get("parent") or {}).get("key")) for stage in stages]
    found = []
    for last in range(len(stages)):
        if last in parents:
            continue
        line = [last]
        while (parent := parents[line[0]]) is not None and parent not in line:
            line.insert(0, parent)
        first = stages[line[0]].record
        before = [one["method"] for one in first.get("lineage") or []]
        found.append([first["base"]["name"], *before, *(stages[at].name for at in line)])
    return found


def _json(file: Path, missing: Any) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except OSError:
        return missing
