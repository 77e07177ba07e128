"""Intervals, folds and areas: figures worked out by hand, and laws."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefdata.auditing import statistics


def test_a_share_of_independent_rows_is_wilsons() -> None:
    found = statistics.wilson(8, 10)
    assert [round(value, 4) for value in found] == [0.8, 0.4902, 0.9433]
    assert [round(value, 4) for value in statistics.wilson(0, 10)] == [0.0, 0.0, 0.2775]
    assert statistics.wilson(0, 0) == (0.0, 0.0, 1.0)


def test_rows_that_repeat_inside_a_group_count_once() -> None:
    alone = statistics.share([1, 1, 1, 0, 1, 0, 1, 1, 1, 0])
    assert [round(value, 4) for value in alone] == [round(value, 4) for value in statistics.wilson(7, 10)]
    repeated = statistics.share(np.repeat([1, 1, 1, 0, 1, 0, 1, 1, 1, 0], 50), np.repeat(np.arange(10), 50))
    assert repeated.value == alone.value
    assert alone.low - 0.06 < repeated.low < alone.low  # Student's t at 9 degrees of freedom instead of 499
    same = statistics.share(np.ones(300), np.repeat(np.arange(3), 100))
    assert same == pytest.approx(statistics.wilson(3, 3))


def test_the_mean_has_students_interval() -> None:
    found = statistics.mean([2.0, 4.0, 6.0, 8.0])
    assert found.value == 5.0
    assert found.high - found.value == pytest.approx(3.1824 * 2.58199 / 2, rel=1e-4)


def test_area_of_a_few_scores() -> None:
    assert statistics.auc([1, 2, 3, 4], [False, True, False, True]).value == 0.75
    assert statistics.auc([1, 1, 1], [False, True, True]).value == 0.5
    assert statistics.auc([1, 2], [True, True]) == (0.5, 0.0, 1.0)


def test_a_perfect_area_is_as_sure_as_there_are_groups() -> None:
    good = np.arange(40) % 2 == 0
    assert statistics.auc(good, good) == pytest.approx((1.0, 0.025 ** (1 / 20), 1.0))
    assert statistics.auc(~good, good) == pytest.approx((0.0, 0.0, 1 - 0.025 ** (1 / 20)))
    assert statistics.auc(good, good, np.arange(40) // 20) == pytest.approx((1.0, 0.025**0.5, 1.0))


def test_folds_are_compared_inside_only() -> None:
    scores, good = [1, 2, 11, 12], [False, True, False, True]
    assert statistics.auc(scores, good).value == 0.75
    assert statistics.auc(scores, good, fold=np.array([0, 0, 1, 1])).value == 1.0


@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=4, max_size=60))
def test_area_is_the_share_of_comparisons_won(rows: list[tuple[int, bool]]) -> None:
    scores, good = [score for score, _ in rows], [one for _, one in rows]
    found = statistics.auc(scores, good)
    if len(set(good)) == 2:
        wins = [(a > b) + (a == b) / 2 for a, one in rows if one for b, other in rows if not other]
        assert found.value == pytest.approx(sum(wins) / len(wins))
        flipped = statistics.auc([-score for score in scores], good)
        assert flipped == pytest.approx((1 - found.value, 1 - found.high, 1 - found.low))
    assert 0 <= found.low <= found.value <= found.high <= 1


@given(st.lists(st.integers(0, 30), min_size=1, max_size=300), st.integers(2, 7))
def test_a_group_lies_in_one_fold_and_folds_are_even(groups: list[int], count: int) -> None:
    found = statistics.folds(np.array(groups), count)
    assert len({(group, fold) for group, fold in zip(groups, found.tolist(), strict=True)}) == len(set(groups))
    sizes = np.bincount(found, minlength=count)
    assert sizes.max() - sizes.min() <= max(groups.count(group) for group in groups)


def test_intervals_hold_the_truth_about_nineteen_times_in_twenty() -> None:
    rng = np.random.default_rng(7)
    missed = {"auc": 0, "share": 0, "cohen_d": 0}
    for _ in range(400):
        groups = np.repeat(np.arange(60), 4)
        shared = rng.normal(size=60)[groups]
        good = rng.random(240) < 0.5
        scores = shared + rng.normal(size=240) + good * 1.0
        missed["auc"] += not statistics.auc(scores, good, groups).holds(0.69146)
        missed["cohen_d"] += not statistics.cohen_d(scores, good, groups).holds(1 / 2**0.5)
        missed["share"] += not statistics.share(shared + rng.normal(size=240) > 0, groups).holds(0.5)
    # 20 of 400 expected; more than 36 or fewer than 7 has a chance below 1 in 1000
    assert all(7 <= count <= 36 for count in missed.values()), missed


def test_effect_size_by_hand() -> None:
    found = statistics.cohen_d([1.0, 2.0, 3.0, 3.0, 4.0, 5.0], [False] * 3 + [True] * 3)
    assert found.value == 2.0
    assert found.low < 2.0 < found.high
    assert statistics.cohen_d([1.0, 1.0, 1.0, 1.0], [True, True, False, False]).value == 0.0


def test_codes_number_values_in_order() -> None:
    assert statistics.codes(pl.Series(["b", None, "a", "b", None])).tolist() == [0, 1, 2, 0, 1]


def test_a_resample_holds_whole_groups() -> None:
    groups = np.array([0, 1, 1, 2, 2, 2])
    rows = statistics.bootstrap(groups, seed=3)
    drawn = np.bincount(rows, minlength=6)
    assert len({*drawn[1:3].tolist()}) == 1
    assert len({*drawn[3:].tolist()}) == 1
    assert drawn[[0, 1, 3]].sum() == 3
    assert (statistics.bootstrap(groups, seed=3) == rows).all()


def test_measures_are_rounded() -> None:
    assert statistics.Estimate(0.123456, -0.00001, 1.0).measures("auc") == {"auc": 0.1235, "interval": [0.0, 1.0]}
