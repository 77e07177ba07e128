"""Labelled rows: labels that contradict each other, of one class, in order, or missing."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from trl_rows import findings, labelled, written

from prefdata.auditing.dataset import read
from prefdata.auditing.finding import Finding, Severity
from prefdata.auditing.unary import CLASS_BALANCE
from prefdata.opening import open_dataset


def numbered(at: int, label: bool | None, **more: Any) -> dict[str, Any]:
    return labelled(f"Question {at}?", f"Answer {at}.", label, **more)


def found(folder: Path, rows: list[dict[str, Any]]) -> dict[str, Finding]:
    return findings(folder, rows, ["unary"])


@pytest.mark.parametrize(
    ("good", "bad", "severity"),
    [
        (50, 50, Severity.NOTE),
        (80, 20, Severity.NOTE),
        (85, 15, Severity.MINOR),
        (12, 88, Severity.MINOR),
        (95, 5, Severity.MAJOR),
        (100, 0, Severity.CRITICAL),
        (0, 100, Severity.CRITICAL),
    ],
)
def test_classes_are_as_bad_as_their_ratio(good: int, bad: int, severity: Severity, tmp_path: Path) -> None:
    rows = [numbered(at, at < good) for at in range(good + bad)]
    balance = found(tmp_path, rows)["class_balance"]
    assert (balance.severity, balance.measures["desirable"], balance.measures["undesirable"]) == (severity, good, bad)


def test_classes_are_counted_by_source_language_and_month(tmp_path: Path) -> None:
    data = read(lambda: open_dataset(written(tmp_path, [numbered(at, at % 3 > 0) for at in range(12)])), [])
    months = pl.datetime_range(pl.datetime(2026, 1, 15), pl.datetime(2026, 12, 15), "1mo", eager=True)
    data.rows = data.rows.with_columns(
        pl.Series("source", ["web", "mail"] * 6), pl.Series("language", ["en"] * 12), time=months.dt.truncate("6mo")
    )
    measures = CLASS_BALANCE.found(data).measures
    assert measures["by_source"] == {
        "mail": {"desirable": 4, "undesirable": 2},
        "web": {"desirable": 4, "undesirable": 2},
    }
    assert measures["by_month"] == {
        "2026-01": {"desirable": 4, "undesirable": 2},
        "2026-07": {"desirable": 4, "undesirable": 2},
    }
    assert "by_language" not in measures


def test_rows_without_a_label_are_named(tmp_path: Path) -> None:
    named = found(tmp_path, [numbered(at, [True, False, None][at % 3]) for at in range(9)])
    assert (named["missing_label"].rows.to_list(), named["missing_label"].severity) == ([2, 5, 8], Severity.MAJOR)
    assert named["class_balance"].measures["without_label"] == 3


def test_both_rows_of_a_contradiction_are_named_and_repeated_labels_are_not(tmp_path: Path) -> None:
    rows = [numbered(1, True), numbered(2, True), numbered(2, True), numbered(1, False), numbered(3, None)]
    rows.append(numbered(3, True))
    contradiction = found(tmp_path, rows)["contradictory_labels"]
    assert contradiction.rows.to_list() == [0, 3]
    assert [example.note for example in contradiction.examples] == ["rows.jsonl:4", "rows.jsonl:1"]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_shuffled_labels_are_no_run(seed: int, share: float, tmp_path: Path) -> None:
    rng = random.Random(seed)
    rows = [numbered(at, rng.random() < share) for at in range(400)]
    assert "label_runs" not in found(tmp_path, rows)


def test_the_run_is_named_row_by_row(tmp_path: Path) -> None:
    rows = [numbered(at, True if 50 <= at < 90 else at % 2 == 0) for at in range(200)]
    run = found(tmp_path, rows)["label_runs"]
    assert run.rows.to_list() == list(range(50, 91))
    assert run.severity is Severity.MINOR
    assert (run.measures["longest_run"], run.measures["label"]) == (41, True)
