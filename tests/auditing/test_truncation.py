"""Rows longer than trainers read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl

from prefdata.auditing.dataset import read
from prefdata.auditing.finding import Severity
from prefdata.auditing.truncation import truncation
from prefdata.opening import open_dataset


def rows_of(folder: Path, sizes: list[tuple[int, int, int]]) -> Any:
    path = folder / "rows.jsonl"
    with path.open("w", encoding="utf-8") as stream:
        for sides in sizes:
            row = {
                name: [{"role": role, "content": "a" * size}]
                for name, role, size in zip(
                    ("prompt", "chosen", "rejected"), ("user", "assistant", "assistant"), sides, strict=True
                )
            }
            stream.write(json.dumps(row) + "\n")
    return lambda: open_dataset(path)


def test_rows_are_long_by_prompt_and_answer_together(tmp_path: Path) -> None:
    check = truncation(100)
    opening = rows_of(tmp_path, [(200, 200, 200), (200, 204, 200), (404, 4, 4), (0, 404, 404)] + [(4, 4, 4)] * 6)
    found = check.found(read(opening, [check]))
    assert found.rows.to_list() == [1, 2, 3]
    assert (found.measures["one_side"], found.measures["prompt_alone"]) == (1, 1)
    assert found.measures["longer_than"]["512"] == 0
    assert found.severity is Severity.MAJOR


def test_what_no_one_asked_for_is_minor_at_most(tmp_path: Path) -> None:
    check = truncation()
    found = check.found(read(rows_of(tmp_path, [(8_000, 40, 40)] * 3), [check]))
    assert (found.severity, found.measures["max_length"], found.measures["prompt_alone"]) == (Severity.MINOR, 1024, 3)


def test_a_tokenizer_counts_where_there_is_one(tmp_path: Path) -> None:
    check = truncation(100, tokens=lambda texts: texts.str.len_chars().cast(pl.Int64))
    found = check.found(read(rows_of(tmp_path, [(50, 50, 50), (50, 51, 50)]), [check]))
    assert found.rows.to_list() == [1]
    assert not found.measures["estimated"]


def test_short_rows_are_nothing_to_tell(tmp_path: Path) -> None:
    check = truncation()
    assert not check.found(read(rows_of(tmp_path, [(400, 400, 400)] * 3), [check]))
