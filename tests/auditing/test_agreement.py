"""Agreement: alpha as in Krippendorff's example, CROWDLAB as cleanlab gives it, careless annotators named."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prefdata.auditing.agreement import pseudonyms
from prefdata.auditing.crowds import alpha, crowdlab, pairwise
from prefdata.auditing.finding import Finding, Severity
from prefdata.auditor import audit

KRIPPENDORFF = (
    "1 2 3 3 2 1 4 1 2 . . .",
    "1 2 3 3 2 2 4 1 2 5 . 3",
    ". 3 3 3 2 3 4 2 2 5 1 .",
    "1 2 3 3 2 4 4 1 2 5 1 .",
)
"""Computing Krippendorff's Alpha-Reliability (2011), section C: four observers, twelve units, nominal data."""


def turn(role: str, text: str) -> list[dict[str, str]]:
    return [{"role": role, "content": text}]


def pair(number: int, **votes: Any) -> dict[str, Any]:
    return {
        "prompt": turn("user", f"Question number {number}?"),
        "chosen": turn("assistant", f"Yes, {number}."),
        "rejected": turn("assistant", f"No, {number}."),
        "votes": votes,
    }


def by_name(folder: Path, rows: Sequence[dict[str, Any]]) -> dict[str, Finding]:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8")
    return {finding.check: finding for finding in audit(path, only=["labels"]).findings}


def test_alpha_is_that_of_krippendorffs_example() -> None:
    units = list(zip(*(line.split() for line in KRIPPENDORFF), strict=True))
    counts = np.array([[unit.count(str(value)) for value in range(1, 6)] for unit in units])
    found = alpha(counts)
    assert round(found.value, 3) == 0.743
    assert found.low < 0.743 < found.high <= 1


def test_alpha_of_verdicts_by_lot_is_about_zero_and_of_one_voice_is_one() -> None:
    draws = np.random.default_rng(0)
    first = draws.binomial(3, 0.5, 4000)
    by_lot = alpha(np.column_stack([first, 3 - first]))
    assert by_lot.holds(0.0)
    assert abs(by_lot.value) < 0.05
    assert alpha(np.tile([3, 0, 0], (30, 1)), alike=(0, 1)).value == 1.0


def test_alpha_of_sorted_sides_is_that_of_the_same_votes_unsorted() -> None:
    draws = np.random.default_rng(1)
    first = draws.binomial(3, np.where(draws.random(3000) < 0.5, 0.9, 0.1))
    unsorted = np.column_stack([first, 3 - first])
    ordered = np.sort(unsorted, axis=1)[:, ::-1]
    assert alpha(ordered, alike=(0, 1)).value == pytest.approx(alpha(unsorted).value, abs=0.01)


def test_crowdlab_tells_the_quality_of_each_annotator() -> None:
    verdicts = np.array(
        [
            [0, 0, 1],
            [1, 1, 1],
            [0, -1, 0],
            [1, 0, 1],
            [0, 0, -1],
            [-1, 1, 1],
            [0, 0, 1],
            [1, 1, -1],
            [0, -1, 1],
            [1, 1, 0],
        ]
    )
    right = np.array([0.9, 0.2, 0.7, 0.4, 0.8, 0.1, 0.6, 0.3, 0.7, 0.2])
    found = crowdlab(verdicts, np.column_stack([right, 1 - right]))
    assert found == pytest.approx([0.798535, 0.77474, 0.494127], abs=1e-6)


def test_annotators_who_never_agree_are_no_fault() -> None:
    verdicts = np.array([[0, 1], [1, 0]] * 10)
    assert crowdlab(verdicts, np.tile([0.6, 0.4], (20, 1))).shape == (2,)


def test_names_of_people_are_not_told() -> None:
    told = pseudonyms(["maria@example.com", "7", "annotator2", "worker-0031", "Ann", "4915112345678"])
    assert told[1:4] == ["7", "annotator2", "worker-0031"]
    hashed = [told[0], *told[4:]]
    assert len(set(hashed)) == 3
    assert all(re.fullmatch(r"annotator-[0-9a-f]{8}", one) for one in hashed)
    assert pseudonyms(["Ann"]) == [told[4]]


def test_pairwise_agreement_counts_comparisons() -> None:
    same, compared = pairwise(np.array([[0, 0, 1], [1, -1, -1], [1, 1, -1]]))
    assert same.tolist() == pytest.approx([2 / 3, 2 / 3, 0.0])
    assert compared.tolist() == [3, 3, 2]


def test_counted_votes_give_alpha_and_name_the_split_rows(tmp_path: Path) -> None:
    rows = [pair(n, chosen=2, rejected=1, tie=0) if n % 5 == 0 else pair(n, chosen=3, rejected=0) for n in range(40)]
    found = by_name(tmp_path, rows)["annotator_agreement"]
    assert found.rows.to_list() == list(range(0, 40, 5))
    assert found.examples[0].note == "votes 2:1:0"
    # 8 of 40 items with 2 of 3 pairs of annotators apart; first and second answer by lot
    assert found.measures["krippendorff_alpha"] == pytest.approx(
        1 - (8 * 4 / 2 / 120) / (60 * 60 * 2 / (120 * 119)), abs=1e-4
    )
    assert (found.measures["items"], found.measures["votes"]) == (40, 120)
    assert found.severity is Severity.NOTE


def test_votes_by_lot_are_major(tmp_path: Path) -> None:
    rows = [pair(n, chosen=2, rejected=1) for n in range(40)]
    assert by_name(tmp_path, rows)["annotator_agreement"].severity is Severity.MAJOR


def test_rows_with_a_single_vote_say_nothing(tmp_path: Path) -> None:
    assert by_name(tmp_path, [pair(n, chosen=1, rejected=0) for n in range(40)]) == {}


def test_a_careless_annotator_is_told_with_the_rows(tmp_path: Path) -> None:
    draws = np.random.default_rng(3)
    rows = []
    for n in range(200):
        votes = {"ann": "chosen", "bob": "chosen" if draws.random() < 0.9 else "rejected", "cy": "chosen"}
        if n >= 100:
            votes["dan"] = "chosen" if draws.random() < 0.3 else "rejected"
        rows.append(pair(n, **votes))
    found = by_name(tmp_path, rows)["annotator_quality"]
    assert found.severity is Severity.MAJOR
    assert found.rows.to_list() == list(range(100, 200))
    dan, ann = pseudonyms(["dan", "ann"])
    quality = found.measures["quality"]
    assert next(iter(quality)) == dan
    assert (quality[dan]["compared"], quality[dan]["first_row"]) == (300, "rows.jsonl:101")
    assert quality[dan]["crowdlab"] < 0.5 < quality[ann]["crowdlab"]
    assert all(one.note in (f"{dan}: chosen", f"{dan}: rejected") for one in found.examples)
    assert "dan" not in json.dumps(found.measures)


def test_labelled_rows_that_are_one_vote_each_are_put_together(tmp_path: Path) -> None:
    rows = [
        {
            "prompt": turn("user", f"Question {n}?"),
            "completion": turn("assistant", f"Answer {n}."),
            "label": n % 2 == 0 if who != "cy" else n % 4 == 0,
            "annotator": who,
        }
        for n in range(60)
        for who in ("ann", "bob", "cy")
    ]
    found = by_name(tmp_path, rows)
    agreement = found["annotator_agreement"].measures
    assert (agreement["items"], agreement["votes"]) == (60, 180)
    # cy differs from both others on every fourth item
    assert agreement["agreement"] == pytest.approx(1 - 15 * 2 / (60 * 3), abs=1e-4)
    assert found["annotator_agreement"].rows.to_list() == [3 * n for n in range(60) if n % 4 == 2]
    assert found["annotator_quality"].measures["annotators"] == 3


def test_pairs_built_of_named_verdicts_tell_agreement_and_annotators(tmp_path: Path) -> None:
    draws = np.random.default_rng(5)
    rows = []
    for n in range(60):
        said = {"annotator1": 1, "annotator2": 1, "annotator3": 1 if draws.random() < 0.3 else 2}
        rows.append({"instruction": f"Question {n}?", "input": "", "response1": f"Yes {n}", "response2": "No", **said})
    found = by_name(tmp_path, rows)
    assert found["annotator_agreement"].measures["votes"] == 180
    quality = found["annotator_quality"]
    assert quality.measures["annotators"] == 3
    assert next(iter(quality.measures["quality"])) == "annotator3"
    assert quality.severity is Severity.MAJOR
