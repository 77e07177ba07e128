"""Columns that say nothing, and columns that say the same as another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl

from prefdata.auditing.finding import Finding, Severity
from prefdata.auditing.twins import Twins
from prefdata.auditor import audit


def found(folder: Path, rows: list[dict[str, Any]], **settings: Any) -> dict[str, Finding]:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return {finding.check: finding for finding in audit(path, only=["form"], **settings).findings}


def pair(at: int, **more: Any) -> dict[str, Any]:
    return {"prompt": f"Question {at}?", "chosen": f"Answer {at}.", "rejected": f"No answer {at}.", **more}


def test_columns_that_hold_the_same_are_named_together(tmp_path: Path) -> None:
    rows = [pair(at, score=at % 7, rating=at % 7, other=at % 5, mark=at % 7) for at in range(30)]
    finding = found(tmp_path, rows)["identical_columns"]
    assert finding.severity is Severity.MINOR
    assert finding.measures == {"columns": ["score = rating = mark"]}


def test_columns_of_one_value_and_few_rows_are_not_called_the_same(tmp_path: Path) -> None:
    assert "identical_columns" not in found(tmp_path, [pair(at, split="train", kind="train") for at in range(30)])
    assert "identical_columns" not in found(tmp_path, [pair(at, score=at, rating=at) for at in range(19)])


def test_one_difference_in_a_later_chunk_tells_columns_apart() -> None:
    twins = Twins()
    twins.add(pl.DataFrame({"a": range(100), "b": range(100), "c": range(100)}))
    twins.add(pl.DataFrame({"a": [1, 2], "b": [1, 3], "c": [1, 2]}))
    assert twins.groups() == [["a", "c"]]


def test_a_column_that_later_chunks_lack_is_not_the_same() -> None:
    twins = Twins()
    twins.add(pl.DataFrame({"a": range(100), "b": range(100)}))
    twins.add(pl.DataFrame({"a": [1, 2]}))
    assert twins.groups() == []


def test_no_rows_have_no_twins() -> None:
    twins = Twins()
    twins.add(pl.DataFrame({"a": [], "b": []}))
    assert twins.groups() == []
