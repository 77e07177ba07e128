from __future__ import annotations

import pytest

from trainers.evaluate_pairs import changed, moved_from, summarise_pairs, wins
from trainers.evaluate_rewards import summarise

OPTIONS = {"n_bootstrap": 200, "seed": 0}


@pytest.mark.parametrize(
    ("chosen", "rejected", "accuracy", "margin"),
    [
        ([1.0, 2.0], [0.0, 1.0], 1.0, 1.0),
        ([0.0, 0.0], [0.0, 0.0], 0.5, 0.0),  # ties, as before training
        ([1.0, 0.0, 2.0, 0.0], [0.0, 1.0, 2.0, 4.0], 0.375, -1.0),  # right, wrong, tie, wrong
    ],
)
def test_accuracy_counts_a_tie_half_and_margin_is_the_mean_difference(
    chosen: list[float], rejected: list[float], accuracy: float, margin: float
) -> None:
    found = summarise_pairs(chosen, rejected, [str(at) for at in range(len(chosen))], **OPTIONS)
    assert found["accuracy"]["value"] == accuracy
    assert found["margin"]["value"] == margin
    assert found["accuracy"]["low"] <= accuracy <= found["accuracy"]["high"]
    assert found["mean_chosen"]["value"] - found["mean_rejected"]["value"] == margin


def test_groups_are_drawn_whole() -> None:
    chosen, rejected = [1.0, 0.0] * 6, [0.0] * 12
    one = summarise_pairs(chosen, rejected, ["a"] * 12, **OPTIONS)
    many = summarise_pairs(chosen, rejected, [str(at) for at in range(12)], **OPTIONS)
    assert one["margin"] == {"value": 0.5, "low": 0.5, "high": 0.5}
    assert many["margin"]["low"] < 0.5 < many["margin"]["high"]
    assert (one["rows"], one["groups"], many["groups"]) == (12, 1, 12)


def test_a_change_is_taken_row_by_row() -> None:
    before, groups = [0.0, 10.0, -10.0, 5.0], list("abcd")
    found = changed(before, [one + 1.0 for one in before], groups, **OPTIONS)
    assert found == {"value": 1.0, "low": 1.0, "high": 1.0}  # the rows differ much, their change not at all
    assert moved_from(0.5, {"value": 0.75, "low": 0.6, "high": 0.9}) == {"value": 0.25, "low": 0.1, "high": 0.4}


def test_wins_are_one_half_or_none() -> None:
    assert wins([2, 1, 1], [1, 1, 2]) == [1.0, 0.5, 0.0]


def test_accuracy_by_label_weighs_both_labels_alike() -> None:
    labels = [True, True, True, True, False, False]
    rewards = [1.0, 0.5, 0.0, -1.0, -1.0, 2.0]
    found = summarise(labels, rewards, [str(at) for at in range(6)], n_bootstrap=50, seed=0)
    assert found.accuracy_good.value == 2.5 / 4
    assert found.accuracy_bad.value == 0.5
    assert found.accuracy.value == (2.5 / 4 + 0.5) / 2
    assert set(found.record()) >= {"rows", "groups", "auc", "margin", "accuracy", "accuracy_good", "accuracy_bad"}
