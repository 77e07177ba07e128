"""Labels: planted flips are suspected, sound and hopeless sets are not; confidence and drift in figures."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from prefdata.auditing.finding import Finding, Severity
from prefdata.auditor import audit

WORDS = [f"{first}{second}" for first in "bdfgklmnprst" for second in ("al", "en", "is", "or", "um")]
GOOD = "certainly happily gladly welcome pleasure thanks"
BAD = "whatever nonsense bother rubbish stupid never"


def row(number: int, good: bool, label: bool, **more: Any) -> dict[str, Any]:
    draw = np.random.default_rng(number)
    said = " ".join(draw.permutation((GOOD if good else BAD).split())[: 3 + number % 3])
    return {
        "prompt": [{"role": "user", "content": f"Question {number}: {' '.join(draw.choice(WORDS, 8))}"}],
        "completion": [{"role": "assistant", "content": f"{said} {' '.join(draw.choice(WORDS, 8))}"}],
        "label": label,
        **({"id": str(number), "source": "log", "group": str(number)} if more else {}),
        **more,
    }


def by_name(folder: Path, rows: Sequence[dict[str, Any]]) -> dict[str, Finding]:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8")
    return {finding.check: finding for finding in audit(path, only=["labels"]).findings}


def test_planted_flips_are_suspected_with_their_probability(tmp_path: Path) -> None:
    flipped = set(range(7, 600, 31))
    found = by_name(tmp_path, [row(n, n % 2 == 0, (n % 2 == 0) != (n in flipped)) for n in range(600)])
    suspected = found["suspected_flips"]
    assert set(suspected.rows.to_list()) <= flipped
    assert suspected.count >= len(flipped) / 3
    assert suspected.examples[0].note.startswith("held-out probability 0.")
    assert suspected.severity is Severity.NOTE
    assert suspected.measures["looked_at"] == 600


def test_flipped_pairs_are_suspected(tmp_path: Path) -> None:
    flipped = set(range(20, 400, 40))
    rows = []
    for n in range(400):
        good, bad = row(n, True, True)["completion"], row(n, False, False)["completion"]
        sides = (bad, good) if n in flipped else (good, bad)
        rows.append({"prompt": row(n, True, True)["prompt"], "chosen": sides[0], "rejected": sides[1]})
    found = set(by_name(tmp_path, rows)["suspected_flips"].rows.to_list())
    assert found
    assert found <= flipped


def test_labels_that_no_model_can_tell_are_not_suspected(tmp_path: Path) -> None:
    labels = np.random.default_rng(5).random(600) < 0.5
    assert by_name(tmp_path, [row(n, n % 2 == 0, bool(labels[n])) for n in range(600)]) == {}


def test_labels_of_little_confidence_are_told_with_their_spread(tmp_path: Path) -> None:
    rows = [row(n, n % 2 == 0, n % 2 == 0, label_confidence=0.5 + 0.005 * n) for n in range(100)]
    found = by_name(tmp_path, rows)["low_label_confidence"]
    assert found.rows.to_list() == list(range(20))
    assert found.severity is Severity.MINOR
    assert found.measures["median"] == 0.75
    assert found.examples[0].note == "confidence 0.50"


def test_labels_that_move_from_month_to_month_are_told(tmp_path: Path) -> None:
    draw = np.random.default_rng(8)
    rows = []
    for month, share in ((1, 0.8), (2, 0.5), (3, 0.2)):
        for day in range(1, 29):
            for hour in range(5):
                label = bool(draw.random() < share)
                rows.append(row(len(rows), True, label, time=f"2024-0{month}-{day:02}T{hour:02}:00:00Z"))
    found = by_name(tmp_path, rows)["label_drift"]
    assert found.severity is Severity.MAJOR
    assert list(found.measures["desirable_share"]) == ["2024-01", "2024-02", "2024-03"]
    assert 0.4 < found.measures["cramers_v"] < 0.6
    even = [{**one, "label": n % 2 == 0} for n, one in enumerate(rows)]
    assert "label_drift" not in by_name(tmp_path, even)


def test_pairs_whose_longer_answer_is_chosen_less_every_month_are_told(tmp_path: Path) -> None:
    draw = np.random.default_rng(9)
    rows = []
    for month, share in ((1, 0.9), (2, 0.5), (3, 0.1)):
        for day in range(1, 29):
            for hour in range(5):
                one = row(len(rows), True, True, time=f"2024-0{month}-{day:02}T{hour:02}:00:00Z")
                sides = [one.pop("completion"), [{"role": "assistant", "content": f"No {len(rows)}."}]]
                one.pop("label")
                long_first = draw.random() < share
                rows.append(one | {"chosen": sides[not long_first], "rejected": sides[long_first]})
    found = by_name(tmp_path, rows)["label_drift"]
    assert found.severity is Severity.MAJOR
    assert list(found.measures["longer_is_chosen"]) == ["2024-01", "2024-02", "2024-03"]
    even = [one if n % 2 else one | {"chosen": one["rejected"], "rejected": one["chosen"]}
            for n, one in enumerate(draw.permutation(np.array(rows, dtype=object)))]  # fmt: skip
    times = [one["time"] for one in rows]
    shuffled = [one | {"time": time} for one, time in zip(even, times, strict=True)]
    assert "label_drift" not in by_name(tmp_path, shuffled)


def test_flips_planted_into_real_tweets_are_found_with_few_others(
    tmp_path: Path, shared_data: Callable[[str], Path]
) -> None:
    with gzip.open(shared_data("davidson/labeled_data.csv.gz"), "rt", encoding="utf-8") as stream:
        tweets = [one for _, one in zip(range(5000), csv.DictReader(stream), strict=False)]
    flips = np.random.default_rng(0).random(len(tweets)) < 0.05
    rows = [
        {
            "prompt": [{"role": "user", "content": f"Write tweet {number}."}],
            "completion": [{"role": "assistant", "content": tweet["tweet"]}],
            "label": (tweet["class"] == "2") != bool(flips[number]),
        }
        for number, tweet in enumerate(tweets)
    ]
    found = by_name(tmp_path, rows)["suspected_flips"]
    right = sum(bool(flips[number]) for number in found.rows)
    assert right / found.count > 0.75
    assert right / flips.sum() > 0.6
