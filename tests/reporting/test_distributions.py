"""Histograms end their bars at thresholds; the rows nearest to a threshold are named on either side."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import polars as pl

from prefdata.reporting.distributions import borderline, histogram, values

FREE: dict[str, Any] = {"min": None, "max": None, "only": None}


def frame(*scores: float | None, labels: list[bool | None] | None = None) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "id": [f"{at:03}" for at in range(len(scores))],
            "label": pl.Series(labels or [True] * len(scores), dtype=pl.Boolean),
            "score": pl.Series(scores, dtype=pl.Float32),
        }
    )


def bars(found: dict[str, Any]) -> dict[tuple[float, float], int]:
    """(low, high) -> desirable rows, without the empty bars."""
    pairs = pairwise(found["edges"])
    return {pair: number for pair, number in zip(pairs, found["desirable"], strict=True) if number}


def test_whole_numbers_have_edges_halfway_between_them() -> None:
    found = histogram(frame(0, 1, 1, 3), "score", {**FREE, "min": 1})
    assert found["whole"] is True
    assert found["edges"] == [-0.5, 0.5, 1.5, 2.5, 3.5]
    assert found["desirable"] == [1, 2, 0, 1]


def test_bars_of_many_whole_numbers_hold_equally_many_of_them() -> None:
    found = histogram(frame(*range(114)), "score", {**FREE, "min": 1})
    assert found["edges"][:3] == [-4.5, 0.5, 5.5]
    assert found["desirable"] == [1, *[5] * 22, 3]


def test_a_score_at_a_maximum_stands_before_the_line() -> None:
    found = histogram(frame(0.1, 0.3, 0.3001, 0.9), "score", {**FREE, "max": 0.3})
    assert found["whole"] is False
    assert bars(found) == {(0.1, 0.15): 1, (0.25, 0.3): 1, (0.3, 0.35): 1, (0.85, 0.9): 1}


def test_a_score_at_a_minimum_stands_after_the_line() -> None:
    found = histogram(frame(0.1, 0.2999, 0.3, 0.9), "score", {**FREE, "min": 0.3})
    assert bars(found) == {(0.1, 0.15): 1, (0.25, 0.3): 1, (0.3, 0.35): 1, (0.85, 0.9): 1}


def test_a_threshold_near_the_scores_is_on_the_axis_and_a_far_one_is_not() -> None:
    assert histogram(frame(1, 2, 3), "score", {**FREE, "max": 4})["edges"] == [0.5, 1.5, 2.5, 3.5, 4.5]
    assert histogram(frame(1, 2, 3), "score", {**FREE, "max": 2048})["edges"] == [0.5, 1.5, 2.5, 3.5]


def test_scores_of_one_value_give_one_bar() -> None:
    found = histogram(frame(0, 0, None, labels=[True, False, True]), "score", {**FREE, "max": 0})
    assert found == {"edges": [0, 0], "desirable": [1], "undesirable": [1], "unlabelled": [0], "whole": True}


def test_no_score_gives_no_bar() -> None:
    empty = {"edges": [], "desirable": [], "undesirable": [], "unlabelled": [], "whole": False}
    assert histogram(frame(None, None), "score", FREE) == empty


def test_classes_are_counted_apart() -> None:
    found = histogram(frame(1, 1, 1, 2, labels=[True, False, None, None]), "score", FREE)
    assert (found["desirable"], found["undesirable"], found["unlabelled"]) == ([1, 0], [1, 0], [1, 1])


def test_negative_scores_and_tiny_ranges_keep_every_row() -> None:
    for scores in ((-3.5, -0.25, 2.75), (0.5, 0.5001), (-1e6, 1e6)):
        assert sum(histogram(frame(*scores), "score", FREE)["desirable"]) == len(scores)


def test_rare_values_beyond_the_bars_are_counted() -> None:
    texts = pl.DataFrame({"label": [True] * 31, "code": [*[f"v{at:02}" for at in range(30)], "v29"]})
    found = values(texts, "code")
    assert found["values"][:2] == ["v29", "v00"]
    assert (len(found["values"]), found["left_off"]) == (24, 6)


def test_borderline_takes_the_nearest_three_of_each_side_by_id_on_ties() -> None:
    found = borderline(frame(0.5, 0.4, 0.3, 0.2, 0.1, 0.6, 0.7, 0.6, None), "score", {**FREE, "max": 0.4})
    assert [(one["id"], one["score"], one["passes"]) for one in found] == [
        ("000", 0.5, False),
        ("005", 0.6, False),
        ("007", 0.6, False),
        ("001", 0.4, True),
        ("002", 0.3, True),
        ("003", 0.2, True),
    ]


def test_borderline_between_two_bounds_looks_at_the_nearer_one() -> None:
    found = borderline(frame(1, 2, 5, 8, 9), "score", {**FREE, "min": 2, "max": 8})
    assert [(one["score"], one["passes"]) for one in found] == [(1, False), (9, False), (2, True), (8, True), (5, True)]


def test_borderline_leaves_out_rows_that_the_rule_does_not_speak_for() -> None:
    scores = frame(0.5, 0.6, 0.7, labels=[True, False, None])
    assert [one["id"] for one in borderline(scores, "score", {**FREE, "max": 0.4, "only": "desirable"})] == ["000"]


def test_rules_for_desirable_rows_speak_for_examples_and_for_one_side_of_pairs() -> None:
    scores = frame(0.5, 0.6, labels=[None, None])
    for column, only, ids in [
        ("clip_completion", "desirable", ["001", "000"]),
        ("clip_completion", "undesirable", []),
        ("clip_chosen_worst", "desirable", ["001", "000"]),
        ("clip_rejected", "desirable", []),
    ]:
        found = borderline(scores.rename({"score": column}), column, {**FREE, "min": 1, "only": only})
        assert [one["id"] for one in found] == ids, (column, only)
