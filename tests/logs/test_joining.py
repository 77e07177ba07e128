"""How scores are joined: the shares that foretell best, and the curve to a probability."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefdata.logs.joining import join, mixtures, platt


def scored(noise: tuple[float, ...], rows: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Scores of one model for every `noise`, and what they foretell."""
    random = np.random.default_rng(0)
    truth = random.random(rows) < 0.6
    scores = [np.where(truth, 1.0, -1.0) + level * random.normal(size=rows) for level in noise]
    return np.column_stack(scores), truth


def test_mixtures_are_every_split_in_tenths_the_evenest_first() -> None:
    pairs = mixtures(2)
    assert [tuple(pair) for pair in pairs[:3]] == [(0.5, 0.5), (0.4, 0.6), (0.6, 0.4)]
    assert len(pairs) == 11
    assert len(mixtures(3)) == 66
    assert all(sum(split) == pytest.approx(1.0) for split in mixtures(3))


def test_a_model_that_knows_nothing_gets_no_share() -> None:
    scores, truth = scored((0.7, 1000.0))
    assert join(scores, truth).shares.tolist() == [1.0, 0.0]


def test_the_better_model_gets_the_larger_share() -> None:
    scores, truth = scored((0.8, 1.6))
    better, worse = join(scores, truth).shares
    assert better > worse > 0.0


def test_of_equal_models_each_gets_as_much() -> None:
    scores, truth = scored((1.0,))
    assert join(np.hstack([scores, scores]), truth).shares.tolist() == [0.5, 0.5]


def test_given_shares_are_taken() -> None:
    scores, truth = scored((0.7, 1000.0))
    assert join(scores, truth, shares=np.array([0.3, 0.7])).shares.tolist() == [0.3, 0.7]


def test_models_on_any_scale_are_joined_alike() -> None:
    scores, truth = scored((0.8, 1.2))
    plain, stretched = join(scores, truth), join(scores * np.array([50.0, 0.01]) + 7.0, truth)
    assert plain.shares.tolist() == stretched.shares.tolist()
    np.testing.assert_allclose(
        plain.probability(scores), stretched.probability(scores * np.array([50.0, 0.01]) + 7.0), atol=1e-8
    )


def test_the_curve_is_that_of_a_penalised_logistic_regression() -> None:
    from sklearn.linear_model import LogisticRegression

    scores, truth = scored((1.5,))
    found = platt(scores[:, 0], truth)
    known = LogisticRegression(C=1.0, tol=1e-10).fit(scores, truth)
    assert found.slope == pytest.approx(known.coef_[0, 0], abs=1e-3)
    assert found.bias == pytest.approx(known.intercept_[0], abs=1e-3)


def test_a_score_that_says_nothing_gives_the_share_of_the_satisfied() -> None:
    found = platt(np.zeros(10), np.arange(10) < 8)
    assert found.slope == 0.0
    # log(.8 / .2), and the entropy of .8
    assert found.bias == pytest.approx(1.3863, abs=1e-3)
    assert found.loss == pytest.approx(0.5004, abs=1e-3)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(-1e3, 1e3), st.booleans()), min_size=2, max_size=20))
def test_the_curve_ends_for_any_scores(rows: list[tuple[float, bool]]) -> None:
    score = np.array([row[0] for row in rows])
    truth = np.array([row[1] for row in rows])
    truth[0], truth[1] = True, False
    found = platt(score, truth)
    assert np.isfinite([found.slope, found.bias, found.loss]).all()
    # never worse than the curve that says one half to all, but for the prior on the slope
    assert found.loss <= np.log(2.0) + 1e-6
