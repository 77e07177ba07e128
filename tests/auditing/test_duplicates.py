"""Duplicates and leaks: planted ones are named, row by row, and rows that only look alike are not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from prefdata.auditing.finding import Finding, Severity
from prefdata.auditor import audit

LONG = (
    "We open at nine in the morning and close at six in the evening, on Sundays at noon, and never on public holidays."
)


def user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def agent(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def pair(prompt: str, chosen: str, rejected: str) -> dict[str, Any]:
    return {"prompt": user(prompt), "chosen": agent(chosen), "rejected": agent(rejected)}


def labelled(prompt: str, completion: str, label: bool) -> dict[str, Any]:
    return {"prompt": user(prompt), "completion": agent(completion), "label": label}


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def by_name(path: Path) -> dict[str, Finding]:
    return {finding.check: finding for finding in audit(path, only=["duplicates"]).findings}


def test_held_out_rows_that_stand_in_training_are_named_with_the_training_row(tmp_path: Path) -> None:
    written(
        tmp_path / "test.jsonl",
        [
            pair("When do you open?", "At nine.", "Soon."),
            pair("Tell me your hours", LONG, "No."),
            pair("Are you open now?", "Thank you!", "No."),
        ],
    )
    written(
        tmp_path / "train-00000-of-00001.jsonl",
        [
            pair("Where are you?", "In the old town.", "Here."),
            pair("when do you OPEN", "At ten.", "Later."),
            pair("What about Sundays?", "Thank you!", LONG),
        ],
    )
    found = by_name(tmp_path)["split_leak"]
    assert found.places == ("test.jsonl:1", "test.jsonl:2")
    assert [example.note for example in found.examples] == [
        "train-00000-of-00001.jsonl:2",
        "train-00000-of-00001.jsonl:3",
    ]
    assert found.severity is Severity.CRITICAL
    assert found.measures == {
        "held_out_rows": 3,
        "prompts_seen": 1,
        "long_answers_seen": 1,
        "share_of_held_out": 0.6667,
    }


@pytest.mark.parametrize(
    ("one", "other"),
    [("train.jsonl", "more.jsonl"), ("part-1.jsonl", "part-2.jsonl"), ("constraints.jsonl", "contest.jsonl")],
)
def test_files_that_are_no_splits_cannot_leak(tmp_path: Path, one: str, other: str) -> None:
    for name in (one, other):
        written(tmp_path / name, [pair("When do you open?", "At nine.", "Soon.")])
    assert "split_leak" not in by_name(tmp_path)


def test_splits_may_be_folders(tmp_path: Path) -> None:
    for name in ("train", "validation"):
        written(tmp_path / name / "rows.jsonl", [pair("When do you open?", "At nine.", "Soon.")])
    assert by_name(tmp_path)["split_leak"].places == ("validation/rows.jsonl:1",)
