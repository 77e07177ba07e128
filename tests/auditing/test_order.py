"""Order: what place, source and agent tell of labels and content, and silence where they tell nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from prefdata.auditing import neighbours
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


def pair(number: int, longer: bool, **more: Any) -> dict[str, Any]:
    words = " ".join(np.random.default_rng(number).choice(WORDS, 12))
    sides = f"Answer {number}: {words}", f"Answer {number}"
    return {
        "prompt": [{"role": "user", "content": f"Question {number} about {words}"}],
        "chosen": [{"role": "assistant", "content": sides[not longer]}],
        "rejected": [{"role": "assistant", "content": sides[longer]}],
        **more,
    }


def test_of_pairs_the_longer_answer_is_what_place_source_and_agent_tell(tmp_path: Path) -> None:
    rows = [
        pair(n, n < 150, source="ab"[n >= 150], agent=("ann", "bob")[n >= 150], id=str(n), group=str(n))
        for n in range(300)
    ]
    found = by_name(tmp_path, rows)
    assert found["label_by_position"].measures["auc"] == 0.0
    assert found["label_by_position"].measures["later_rows_are"] == "shorter chosen"
    assert found["label_by_source"].severity is Severity.MAJOR
    assert found["label_by_source"].measures["longer_is_chosen"] == {"a": 1.0, "b": 0.0}
    assert found["label_by_agent"].severity is Severity.MAJOR
    assert "ann" not in json.dumps(found["label_by_agent"].measures)


def test_of_pairs_in_no_order_nothing_is_told(tmp_path: Path) -> None:
    drew = drawn(300, 0.5, seed=5)
    rows = [pair(n, longer, source="ab"[n % 2], agent=("ann", "bob")[n % 2]) for n, longer in enumerate(drew)]
    assert by_name(tmp_path, rows) == {}


def test_topics_that_change_in_time_are_told_where_the_file_is_in_another_order(tmp_path: Path) -> None:
    topics = ("parcel delivery courier street", "password account login reset")
    times = [f"2024-0{1 + n % 2}-{1 + n // 2 % 28:02}T00:00:00Z" for n in range(300)]
    canonical = [{"id": str(n), "source": "log", "group": str(n), "time": times[n]} for n in range(300)]
    rows = [row(n, label, topics[n % 2], **canonical[n]) for n, label in enumerate(drawn(300, 0.5))]
    found = by_name(tmp_path, rows)
    assert set(found) == {"content_by_time"}
    assert found["content_by_time"].measures["later_from"] == "2024-02-01"
    assert found["content_by_time"].measures["auc"] > 0.95
    # where the file is in that order, it is the place in the file that is told
    assert set(by_name(tmp_path, sorted(rows, key=lambda one: one["time"]))) == {
        "content_by_position",
        "similar_rows_together",
    }


def test_runs_of_one_topic_are_told_and_the_same_rows_shuffled_are_not(tmp_path: Path) -> None:
    # 20 topics of 3 words, two runs of 10 rows each: both halves of the file have the same topics
    draws = np.random.default_rng(2)
    topics = [" ".join(f"{first}{second}" for second in draws.choice(WORDS, 3)) for first in "abcdefghijklmnopqrst"]
    rows = [row(n, label, topics[n // 10 % 20]) for n, label in enumerate(drawn(400, 0.5))]
    found = by_name(tmp_path, rows)
    assert set(found) == {"similar_rows_together"}
    told = found["similar_rows_together"]
    assert told.severity is Severity.MINOR
    assert told.measures["kolmogorov_smirnov"] > 0.1
    assert told.measures["p_value"] == 0.01
    assert told.measures["near_share"] > 4 * told.measures["near_share_expected"]
    shuffled = [rows[at] for at in draws.permutation(400)]
    assert by_name(tmp_path, shuffled) == {}


def test_rows_of_one_prompt_that_stand_together_are_no_fault(tmp_path: Path) -> None:
    rows = [row(n // 4, label, f"Answer {n % 4}") for n, label in enumerate(drawn(800, 0.5))]
    assert "similar_rows_together" not in by_name(tmp_path, rows)


def test_the_statistic_of_neighbours_is_that_of_cleanlab() -> None:
    from cleanlab.datalab.internal.issue_manager.noniid import NonIIDIssueManager

    draws = np.random.default_rng(0)
    for rows in (60, 61, 200):
        near = neighbours.nearest(neighbours.vectors(pl.Series([
            " ".join(draws.choice(WORDS, 4)) + f" {WORDS[n // 20]}" for n in range(rows)])), 10)  # fmt: skip
        theirs = NonIIDIssueManager.__new__(NonIIDIssueManager)
        theirs.N, theirs.background_distribution = rows, None
        apart = neighbours.distances(near, np.arange(rows))
        ours = neighbours.statistic(apart, rows)
        # cleanlab adds one distance more, the largest there is: a share of 1 / (neighbours + 1)
        assert theirs._get_statistics(apart)["ks"] == pytest.approx(ours, abs=2 / len(apart))


def test_nearest_are_those_with_most_words_in_common() -> None:
    texts = pl.Series(["red apple pie", "red apple tart", "blue sky over", "blue sky under", "red blue"])
    assert neighbours.nearest(neighbours.vectors(texts), 1).reshape(-1).tolist()[:4] == [1, 0, 3, 2]


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
