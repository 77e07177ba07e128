"""Order: what place, source and agent tell of labels and content, and silence where they tell nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from prefdata.auditing.association import association
from prefdata.auditing.finding import Finding, Severity
from prefdata.auditor import audit

WORDS = [f"{first}{second}" for first in "bdfgklmn" for second in ("al", "en", "is", "or", "um")]


def row(number: int, label: bool, text: str = "", **more: Any) -> dict[str, Any]:
    words = " ".join(np.random.default_rng(number).choice(WORDS, 12))
    return {
        "prompt": [{"role": "user", "content": f"Question {number} about {words}"}],
        "completion": [{"role": "assistant", "content": f"{text or 'Answer'} {number}: {words}"}],
        "label": label,
        **more,
    }


def drawn(count: int, share: float, seed: int = 0) -> list[bool]:
    return [bool(value) for value in np.random.default_rng(seed).random(count) < share]


def by_name(folder: Path, rows: Sequence[dict[str, Any]]) -> dict[str, Finding]:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8")
    return {finding.check: finding for finding in audit(path, only=["order"]).findings}


def test_labels_that_stand_in_order_are_major(tmp_path: Path) -> None:
    found = by_name(tmp_path, [row(n, n < 150) for n in range(300)])["label_by_position"]
    assert found.severity is Severity.MAJOR
    assert (found.measures["auc"], found.measures["later_rows_are"]) == (0.0, "undesirable")


def test_labels_that_drift_along_the_file_are_told_by_their_size(tmp_path: Path) -> None:
    labels = [*drawn(300, 0.35), *drawn(300, 0.65, seed=1)]
    found = by_name(tmp_path, [row(n, label) for n, label in enumerate(labels)])["label_by_position"]
    assert found.severity is Severity.MINOR
    assert 0.6 < found.measures["auc"] < 0.7
    assert found.measures["interval"][0] > 0.5
    assert found.measures["later_rows_are"] == "desirable"


def test_shuffled_labels_say_nothing(tmp_path: Path) -> None:
    labels = drawn(400, 0.5, seed=3)
    assert by_name(tmp_path, [row(n, label, source="ab"[n % 2]) for n, label in enumerate(labels)]) == {}


def test_a_few_prompts_in_order_prove_nothing(tmp_path: Path) -> None:
    # 200 rows, but of 8 prompts: as good as 8 rows
    rows = [row(n // 25, drawn(8, 0.5, seed=2)[n // 25]) for n in range(200)]
    assert "label_by_position" not in by_name(tmp_path, rows)


def test_files_that_change_their_topic_are_told(tmp_path: Path) -> None:
    topics = ("parcel delivery courier street", "password account login reset")
    rows = [row(n, label, topics[n >= 150]) for n, label in enumerate(drawn(300, 0.5))]
    found = by_name(tmp_path, rows)["content_by_position"]
    assert (found.severity, found.measures["sample_rows"], found.measures["files"]) == (Severity.MINOR, 300, 1)
    assert found.measures["auc"] > 0.95
    alternating = [row(n, label, topics[n % 2]) for n, label in enumerate(drawn(300, 0.5))]
    assert "content_by_position" not in by_name(tmp_path, alternating)


def test_association_of_a_table_is_that_of_the_books() -> None:
    # 2 x 2 table 30/10 and 10/30: chi-square 20, uncorrected V 0.5
    rows = pl.DataFrame(
        {
            "source": ["a"] * 40 + ["b"] * 40,
            "label": [True] * 30 + [False] * 10 + [True] * 10 + [False] * 30,
            "prompt_norm": list(range(80)),
        }
    )
    found = association(rows, by="source")
    assert found is not None
    assert found.chi_square == pytest.approx(20.0)
    assert found.p_value == pytest.approx(7.7442e-06, rel=1e-3)
    # Bergsma: phi2 = 0.25 - 1/79, and 2 - 1/79 rows and columns
    assert found.cramers_v == pytest.approx(((0.25 - 1 / 79) / (1 - 1 / 79)) ** 0.5)
    assert found.table["share"].to_list() == [0.75, 0.25]


def test_association_counts_a_prompt_that_comes_ten_times_as_one() -> None:
    rows = pl.DataFrame(
        {
            "source": ["a"] * 40 + ["b"] * 40,
            "label": [True] * 30 + [False] * 10 + [True] * 10 + [False] * 30,
            "prompt_norm": [number // 10 for number in range(80)],
        }
    )
    found = association(rows, by="source")
    assert found is not None
    assert found.p_value == pytest.approx(0.1573, abs=1e-3)  # chi-square 2 of one degree of freedom
    assert not found.holds


@pytest.mark.parametrize("labels", [[True] * 6, [False] * 6])
def test_one_class_hangs_on_nothing(labels: list[bool]) -> None:
    rows = pl.DataFrame({"source": list("aabbcc"), "label": labels, "prompt_norm": range(6)})
    assert association(rows, by="source") is None
