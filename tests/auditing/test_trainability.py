"""The linear probe: noise is called noise, what is trivial is called that, and the rest gets its figures."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from trl_rows import findings, labelled, pair

from prefdata.auditing import probing, trainability
from prefdata.auditing.finding import Finding, Severity
from prefdata.auditor import audit

WORDS = [
    f"{first}{last}" for first in ("ba", "ko", "mi", "ru", "te", "lo") for last in ("ran", "sel", "tim", "vop", "nug")
]


def sentence(rng: random.Random, words: int) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(words)) + "."


def found_in(folder: Path, rows: list[dict[str, Any]]) -> dict[str, Finding]:
    return findings(folder, rows, ["trainability"])


def test_random_preferences_look_like_noise(tmp_path: Path) -> None:
    rng = random.Random(1)
    rows = [pair(sentence(rng, 5), sentence(rng, 12), sentence(rng, 12)) for _ in range(1500)]
    found = found_in(tmp_path, rows)
    noise = found["looks_like_noise"]
    assert noise.severity is Severity.MINOR
    low, high = noise.measures["accuracy_interval"]
    assert low <= 0.5 <= high < 0.6
    assert noise.measures["loss"] == pytest.approx(0.6931, abs=0.02)
    assert "trivial_preference" not in found


def test_few_random_rows_are_too_few_to_say(tmp_path: Path) -> None:
    rng = random.Random(1)
    rows = [pair(sentence(rng, 5), sentence(rng, 12), sentence(rng, 12)) for _ in range(60)]
    found = found_in(tmp_path, rows)
    assert set(found) == {"linear_probe"}
    low, high = found["linear_probe"].measures["accuracy_interval"]
    assert low < 0.5 < high


def test_a_preference_that_one_word_tells_is_trivial(tmp_path: Path) -> None:
    rng = random.Random(2)
    rows = [pair(sentence(rng, 5), sentence(rng, 12), sentence(rng, 12) + " Cheers!") for _ in range(300)]
    found = found_in(tmp_path, rows)
    trivial = found["trivial_preference"]
    assert trivial.severity is Severity.MAJOR
    assert trivial.measures["accuracy"] == 1.0
    assert trivial.measures["loss"] < 0.1
    assert "looks_like_noise" not in found


def test_an_answer_that_takes_up_the_prompt_is_learnt(tmp_path: Path) -> None:
    rng = random.Random(3)
    rows = []
    for _ in range(300):
        asked = rng.sample(WORDS, 6)
        rows.append(pair(" ".join(asked), " ".join(rng.sample(asked, 4)), " ".join(rng.sample(WORDS, 4))))
    assert found_in(tmp_path, rows)["linear_probe"].measures["accuracy"] > 0.9


def test_more_rows_help_where_much_is_to_be_learnt(tmp_path: Path) -> None:
    rng = random.Random(4)
    weight = {word: rng.gauss(0, 1) for word in WORDS}
    rows = []
    for _ in range(600):
        one, two = sorted(
            (sentence(rng, 12) for _ in range(2)),
            key=lambda text: -sum(weight[word] for word in text.rstrip(".").split()),
        )
        rows.append(pair(sentence(rng, 5), one, two))
    measures = found_in(tmp_path, rows)["linear_probe"].measures
    curve = measures["curve"]
    assert [step["fitted_rows"] for step in curve] == [120, 240, 480]
    assert curve[0]["accuracy"] < curve[2]["accuracy"]
    assert curve[0]["loss"] > curve[2]["loss"]
    assert measures["loss_at_chance"] == 0.6931


def test_labelled_rows_are_judged_by_both_classes(tmp_path: Path) -> None:
    rng = random.Random(5)
    rows = [labelled(sentence(rng, 5), sentence(rng, 12), rng.random() < 0.97) for _ in range(800)]
    found = found_in(tmp_path, rows)
    assert "trivial_preference" not in found  # though 97 of 100 are told by saying "desirable" to all
    assert found["linear_probe"].measures["accuracy"] < 0.6
    assert found["linear_probe"].measures["loss_at_chance"] < 0.2


def test_noise_is_called_noise_in_most_sets() -> None:
    """12 sets: one in twenty may miss 0.5; four misses have a chance below 1 in 400."""
    missed = 0
    for seed in range(12):
        rng = random.Random(seed)
        texts = {side: [sentence(rng, 12) for _ in range(240)] for side in ("chosen_text", "rejected_text")}
        rows = pl.DataFrame({"turn_text": [sentence(rng, 5) for _ in range(240)], **texts})
        probe = probing.of_rows(rows, np.arange(240), paired=True)
        assert probe is not None
        missed += not probe.accuracy(trainability.curve(probe)[-1].scores).holds(0.5)
    assert missed <= 3


def test_real_pairs_can_be_learnt(shared_data: Callable[[str], Path]) -> None:
    found = {f.check: f for f in audit(shared_data("hh_rlhf/test.jsonl.gz"), only=["trainability"]).findings}
    assert not {"looks_like_noise", "trivial_preference"} & set(found)
    assert found["linear_probe"].measures["accuracy"] == pytest.approx(0.615, abs=0.01)
    assert found["linear_probe"].measures["loss"] < 0.6931
