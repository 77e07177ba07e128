from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainers.ordering import by_length, interleave


def order(labels: list[bool], *, batch: int = 4, seed: int = 0, completions: list[str] | None = None):  # type: ignore[no-untyped-def]
    ids = [f"id{at}" for at in range(len(labels))]
    return interleave(labels, [at % 7 for at in range(len(labels))], completions or ids, ids, batch=batch, seed=seed)


@given(st.integers(1, 60), st.integers(1, 60), st.integers(2, 8))
def test_every_row_has_one_place_and_labels_are_mixed(good: int, bad: int, batch: int) -> None:
    labels = [True] * good + [False] * bad
    found = order(labels, batch=batch)
    assert sorted(found.rows + found.left_out) == list(range(good + bad))
    assert len(found.rows) == (good + bad) // batch * batch
    assert len(found.left_out) == (good + bad) % batch
    batches = [found.rows[at : at + batch] for at in range(0, len(found.rows), batch)]
    singles = sum(len({labels[row] for row in rows}) == 1 for rows in batches)
    assert found.single_label_batches == singles
    if min(good, bad) * batch >= good + bad + batch:
        assert singles == 0


def test_all_good_then_all_bad_comes_out_in_the_ratio_of_the_classes() -> None:
    labels = [True] * 30 + [False] * 10
    found = order(labels)
    assert [sum(labels[row] for row in found.rows[at : at + 4]) for at in range(0, 40, 4)] == [3] * 10


def test_the_order_hangs_on_the_seed_and_on_nothing_else() -> None:
    labels = [True, False] * 10
    assert order(labels).rows == order(labels).rows
    assert order(labels).rows != order(labels, seed=1).rows


def test_equal_completions_are_moved_into_different_batches() -> None:
    labels = [True, False] * 8
    completions = ["same" if at in (0, 2, 4, 6) else f"c{at}" for at in range(16)]
    found = order(labels, completions=completions)
    for at in range(0, 16, 4):
        texts = [completions[row] for row in found.rows[at : at + 4]]
        assert len(set(texts)) == 4


def test_rows_about_one_picture_are_moved_into_different_batches() -> None:
    labels = [True, False] * 8
    ids = [f"id{at}" for at in range(16)]
    pictures = [["p", f"own{at}"] if at in (0, 1, 4, 6) else [f"own{at}"] if at % 3 else [] for at in range(16)]
    found = interleave(labels, [1] * 16, ids, ids, batch=4, seed=0, pictures=pictures)
    assert sorted(found.rows) == list(range(16))
    assert [sum("p" in pictures[row] for row in found.rows[at : at + 4]) for at in range(0, 16, 4)] == [1, 1, 1, 1]
    assert [sum(labels[row] for row in found.rows[at : at + 4]) for at in range(0, 16, 4)] == [2, 2, 2, 2]
    without = interleave(labels, [1] * 16, ids, ids, batch=4, seed=0, pictures=[[] for _ in range(16)])
    assert without.rows == interleave(labels, [1] * 16, ids, ids, batch=4, seed=0).rows


@pytest.mark.parametrize("batch", [2, 4])
def test_the_rarer_class_is_spread_when_there_is_less_than_one_a_batch(batch: int) -> None:
    labels = [True] * 38 + [False] * 2
    found = order(labels, batch=batch)
    assert found.single_label_batches == 40 // batch - 2


@given(st.lists(st.integers(1, 500), min_size=1, max_size=120), st.integers(1, 8))
def test_batches_by_length_hold_every_row_once_and_begin_with_the_longest(lengths: list[int], batch: int) -> None:
    found = by_length(lengths, [f"id{at}" for at in range(len(lengths))], batch=batch, seed=0)
    assert sorted(found.rows + found.left_out) == list(range(len(lengths)))
    assert len(found.left_out) == len(lengths) % batch
    assert found.fixed
    if found.rows:
        assert max(lengths[row] for row in found.rows) == max(lengths[row] for row in found.rows[:batch])


def test_batches_by_length_are_padded_little_and_mixed() -> None:
    lengths = [at * 7 % 400 + 1 for at in range(400)]
    found = by_length(lengths, [f"id{at}" for at in range(400)], batch=4, seed=0)
    batches = [[lengths[row] for row in found.rows[at : at + 4]] for at in range(0, 400, 4)]
    padded = sum(max(one) * 4 for one in batches)
    assert padded / sum(lengths) < 1.03
    means = [sum(one) / 4 for one in batches]
    assert abs(sum(means[:50]) / 50 - sum(means[50:]) / 50) < 40
    again = by_length(lengths, [f"id{at}" for at in range(400)], batch=4, seed=1)
    assert again.rows != found.rows


def test_rows_too_few_for_a_batch_are_all_left_out() -> None:
    assert by_length([3, 2], ["a", "b"], batch=4, seed=0).rows == []
