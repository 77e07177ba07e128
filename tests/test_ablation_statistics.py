"""Figures of held-out rows, and the interval of a difference: against written-out values and simulated truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefdata.ablation.statistics import (
    accuracy,
    auc,
    bootstrap,
    difference,
    estimate,
    holm,
    log_loss,
    variances,
)

ONCE = np.ones((1, 4))


@pytest.mark.parametrize(
    ("scores", "label", "expected"),
    [
        ([1.0, 2.0, 3.0, 4.0], [False, False, True, True], 1.0),
        ([4.0, 3.0, 2.0, 1.0], [False, False, True, True], 0.0),
        ([1.0, 1.0, 1.0, 1.0], [False, False, True, True], 0.5),
        ([1.0, 2.0, 2.0, 3.0], [False, True, False, True], 0.875),  # of four pairs three right and one tied
    ],
)
def test_auc_counts_pairs_and_half_of_ties(scores: list[float], label: list[bool], expected: float) -> None:
    assert auc(np.array(scores), np.array(label), ONCE)[0] == expected


def test_auc_takes_weights_as_that_many_rows() -> None:
    scores, label = np.array([1.0, 2.0, 3.0]), np.array([True, False, True])
    # the row at 1.0 stands twice: of three pairs one is right
    assert auc(scores, label, np.array([[2.0, 1.0, 1.0]]))[0] == pytest.approx(1 / 3)


def test_auc_of_one_class_is_not_a_number() -> None:
    assert math.isnan(auc(np.array([1.0, 2.0]), np.array([True, True]), np.ones((1, 2)))[0])


@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=30))
def test_auc_is_that_of_sklearn(rows: list[tuple[int, bool]]) -> None:
    from sklearn.metrics import roc_auc_score

    scores, label = np.array([float(one) for one, _ in rows]), np.array([good for _, good in rows])
    if label.all() or not label.any():
        return
    assert auc(scores, label, np.ones((1, len(rows))))[0] == pytest.approx(roc_auc_score(label, scores))


def test_accuracy_counts_half_for_a_tie() -> None:
    assert accuracy(np.array([1.0, -1.0, 0.0, 2.0]), ONCE)[0] == 0.625


def test_log_loss_of_no_knowledge_is_ln_2() -> None:
    label = np.array([True, False, True, False])
    assert log_loss(np.zeros(4), label, ONCE)[0] == pytest.approx(math.log(2))
    assert log_loss(np.array([2.0, -2.0, 2.0, -2.0]), label, ONCE)[0] == pytest.approx(math.log(1 + math.exp(-2)))


def test_resamples_draw_whole_units() -> None:
    weights = bootstrap(np.array([0, 0, 1, 2, 2]), resamples=50, seed=3)
    assert weights.shape == (51, 5)
    assert weights[0].tolist() == [1, 1, 1, 1, 1]
    assert (weights[:, 0] == weights[:, 1]).all()
    assert (weights[:, 3] == weights[:, 4]).all()
    assert (weights[1:, [0, 2, 3]].sum(1) == 3).all()
    assert (bootstrap(np.array([0, 0, 1, 2, 2]), resamples=50, seed=3) == weights).all()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),
        ([0.5, 0.6], [1.0, 1.0]),
        ([0.02], [0.02]),
        ([], []),
    ],
)
def test_holm_multiplies_the_smallest_most(values: list[float], expected: list[float]) -> None:
    assert holm(values) == pytest.approx(expected)


def test_a_difference_of_nothing_is_certain() -> None:
    table = np.full((4, 2, 2, 11), 0.7)
    found = difference(table, table)
    assert found == (0.0, 0.0, 0.0, 1.0, 0.0)
    assert estimate(table) == (pytest.approx(0.7), pytest.approx(0.7), pytest.approx(0.7))


def linear(rng: np.random.Generator, *, rows: int, draws: int, orders: int, budget: float, effect: float) -> np.ndarray:
    """A table for a statistic that is a mean over training rows plus noise of orders: its law is known."""
    values = rng.normal(effect, 1.0, rows)
    table = np.zeros((draws, 2, orders, 1 + 60))
    held = rng.normal(0, 0.02, 61)
    held[0] = 0.0
    for draw in range(draws):
        order = rng.permutation(rows)
        for half, part in enumerate((order[: rows // 2], order[rows // 2 :])):
            for at in range(orders):
                taken = rng.permutation(part)[: int(budget * len(part))]
                table[draw, half, at] = values[taken].mean() + held
    return table


def test_the_spread_of_orders_is_taken_off_the_spread_of_rows() -> None:
    found = [
        variances(linear(np.random.default_rng(seed), rows=400, draws=40, orders=2, budget=0.5, effect=0.0))
        for seed in range(30)
    ]
    over_rows, over_held_out, over_draws, apart, of_orders = np.mean(found, axis=0)
    assert apart == pytest.approx(over_rows + of_orders, rel=0.1)
    assert over_rows == pytest.approx(1 / 400, rel=0.15)  # the variance of a mean of 400 rows
    assert over_held_out == pytest.approx(0.02**2, rel=0.2)
    assert over_draws < over_rows / 10


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    found = [
        difference(
            linear(np.random.default_rng(seed), rows=200, draws=12, orders=2, budget=0.5, effect=0.3),
            np.zeros((12, 2, 2, 61)),
        )
        for seed in range(200)
    ]
    holds = sum(one.low <= 0.3 <= one.high for one in found)
    assert 184 <= holds <= 200  # 95 % of 200 is 190
    # 2.8 standard errors, had their size been known
    assert np.mean([one.detectable for one in found]) == pytest.approx(3.5 / 200**0.5, rel=0.1)
