from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainers.evaluate_loss import compare_losses


def test_the_loss_is_a_mean_over_tokens_not_rows() -> None:
    found = compare_losses([-2.0, -30.0], [-1.0, -15.0], [1, 15], ["a", "b"], n_bootstrap=50, seed=0)
    assert found.before.record() == {
        "rows": 2,
        "groups": 2,
        "tokens": 16,
        "loss": {"value": 2.0, "low": 2.0, "high": 2.0},
        "perplexity": {"value": 7.3891, "low": 7.3891, "high": 7.3891},
    }
    assert found.after.loss.value == 1.0
    assert found.change == (-1.0, -1.0, -1.0)


def test_rows_of_one_group_are_drawn_together() -> None:
    before, after = [-4.0] * 4, [-2.0, -2.0, -6.0, -6.0]
    apart = compare_losses(before, after, [1] * 4, ["a", "b", "c", "d"], n_bootstrap=2000, seed=0)
    together = compare_losses(before, after, [1] * 4, ["a", "a", "b", "b"], n_bootstrap=2000, seed=0)
    assert apart.change.value == together.change.value == 0.0
    assert (together.change.low, together.change.high) == (-2.0, 2.0)
    assert together.after.groups == 2
    # of four single rows all four are alike in one of eight draws: the quarter-way points are the bounds
    assert (apart.change.low, apart.change.high) == (-2.0, 2.0)
    drawn = compare_losses(before * 8, after * 8, [1] * 32, [str(at) for at in range(32)], n_bootstrap=2000, seed=0)
    assert -1.0 < drawn.change.low < -0.5
    assert 0.5 < drawn.change.high < 1.0


def test_the_change_is_paired() -> None:
    before = [-1.0, -9.0, -2.0, -20.0]
    found = compare_losses(before, [one + 0.5 for one in before], [1] * 4, list("abcd"), n_bootstrap=500, seed=1)
    assert found.before.loss.high - found.before.loss.low > 5
    assert found.change == pytest.approx((-0.5, -0.5, -0.5))


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(-50, -0.01), st.integers(1, 40)), min_size=1, max_size=12))
def test_perplexity_is_the_exponential_of_the_loss(rows: list[tuple[float, int]]) -> None:
    logps, tokens = [one for one, _ in rows], [count for _, count in rows]
    found = compare_losses(logps, logps, tokens, [str(at) for at in range(len(rows))], n_bootstrap=20, seed=0)
    for bound in ("value", "low", "high"):
        loss, perplexity = getattr(found.after.loss, bound), getattr(found.after.perplexity, bound)
        assert perplexity == pytest.approx(math.exp(loss), rel=1e-6)
    assert found.change == (0.0, 0.0, 0.0)
