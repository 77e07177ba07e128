"""Where each policy puts a session's outcome."""

from __future__ import annotations

import polars as pl
import pytest

from prefdata.errors import RecipeError
from prefdata.logs.credit import credit

SIGNALS = pl.DataFrame(
    {
        "session": ["a", "a", "a", "b"],
        "turn": pl.Series([1, 3, 5, 1], dtype=pl.Int32),
        "thanks": pl.Series([0.6, 0.0, 0.0, 0.6], dtype=pl.Float32),
        "session_csat": pl.Series([1.0, 1.0, 1.0, None], dtype=pl.Float32),
    }
)


@pytest.mark.parametrize(
    ("policy", "thanks", "outcome", "weights"),
    [
        ("direct", [0.6, 0.0, 0.0, 0.6], [None, None, 1.0, None], [0.0, 0.0, 1.0, 1.0]),
        ("last_turn", [None, None, 0.0, 0.6], [None, None, 1.0, None], [0.0, 0.0, 1.0, 1.0]),
        ("decay", [0.6, 0.0, 0.0, 0.6], [1.0, 1.0, 1.0, None], [0.25, 0.5, 1.0, 1.0]),
    ],
)
def test_policy(policy: str, thanks: list, outcome: list, weights: list) -> None:
    found = credit(SIGNALS, policy=policy, factor=0.5)
    assert found["thanks"].to_list() == pl.Series(thanks, dtype=pl.Float32).to_list()
    assert found["session_csat"].to_list() == outcome
    assert found["credit_weight"].to_list() == weights
    assert found["credit_weight"].dtype == pl.Float32
    assert found["credit_policy"].to_list() == [policy] * 4


def test_the_order_of_rows_stays_and_changes_nothing() -> None:
    turned = credit(SIGNALS.reverse(), policy="decay")
    assert turned.equals(credit(SIGNALS, policy="decay").reverse())


def test_unknown_policy_and_factor_are_refused() -> None:
    with pytest.raises(RecipeError, match="expected one of direct, last_turn, decay"):
        credit(SIGNALS, policy="first_turn")
    with pytest.raises(RecipeError, match="at most 1"):
        credit(SIGNALS, policy="decay", factor=1.5)
