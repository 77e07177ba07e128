"""KTO's class weights: the weighted ratio is always between 1:1 and 4:3, and only the rarer class is raised."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefdata.balance import HIGH, LOW, kto_weights


@pytest.mark.parametrize(
    ("desirable", "undesirable", "weights"),
    [
        (100, 100, (1.0, 1.0, 1.0)),
        (400, 300, (1.0, 1.0, 1.3333)),
        (700, 100, (1.0, 6.0, 1.1667)),
        (100, 200, (2.3333, 1.0, 1.1666)),
        (135, 100, (1.0, 1.1571, 1.1667)),
        (99, 100, (1.1785, 1.0, 1.1667)),
    ],
)
def test_weights_from_counts(desirable: int, undesirable: int, weights: tuple[float, float, float]) -> None:
    assert kto_weights(desirable, undesirable) == weights


def test_one_class_has_no_weights() -> None:
    assert kto_weights(10, 0) is None
    assert kto_weights(0, 10) is None


@given(st.integers(1, 10_000), st.integers(1, 10_000))
def test_the_weighted_ratio_is_in_range(desirable: int, undesirable: int) -> None:
    found = kto_weights(desirable, undesirable)
    assert found is not None
    assert LOW - 1e-3 <= found.desirable * desirable / (found.undesirable * undesirable) <= HIGH + 1e-3
    assert min(found.desirable, found.undesirable) == 1.0
    assert (found.desirable > 1) <= (desirable < undesirable)
