"""Marks stand where their numbers say, in percent of the box."""

from __future__ import annotations

import math
from typing import Any

import pytest

from prefdata.reporting import charts
from prefdata.reporting.notes import Note, notes

WHOLE = {
    "edges": [-0.5, 0.5, 1.5, 2.5, 3.5],
    "desirable": [1, 0, 0, 2],
    "undesirable": [0, 0, 4, 2],
    "unlabelled": [0, 0, 0, 0],
    "whole": True,
}


def rule(**bounds: Any) -> dict[str, Any]:
    return {"min": None, "max": None, "only": None, **bounds}


def test_bars_are_square_roots_high_and_stacked_by_class() -> None:
    found = charts.bars(WHOLE, rule())["rects"]
    assert [(bar["kind"], bar["x"], bar["y"], bar["height"]) for bar in found] == [
        ("desirable", 1.25, 50.0, 50.0),
        ("undesirable", 51.25, 0.0, 100.0),
        ("undesirable", 76.25, 50.0, 50.0),
        ("desirable", 76.25, 0.0, 50.0),
    ]
    assert [bar["title"] for bar in found] == [
        "0: 1 desirable",
        "2: 4 undesirable",
        "3: 2 undesirable",
        "3: 2 desirable",
    ]


def test_bars_can_be_as_high_as_their_counts() -> None:
    assert charts.bars(WHOLE, rule(), root=False)["rects"][0]["height"] == 25.0


def test_thresholds_of_whole_numbers_stand_between_passing_and_stopped_ones() -> None:
    found = charts.bars(WHOLE, rule(min=1, max=2))
    assert found["lines"] == [
        {"x": 25.0, "label": "min 1", "left": False},
        {"x": 75.0, "label": "max 2", "left": True},
    ]
    assert found["zones"] == [{"x": 0.0, "width": 25.0}, {"x": 75.0, "width": 25.0}]


def test_a_threshold_beyond_the_axis_is_named_with_its_side() -> None:
    found = charts.bars(WHOLE, rule(min=-40, max=2048))
    assert (found["lines"], found["off"]) == ([], ["← min -40", "max 2048 →"])


def test_rows_that_a_rule_does_not_speak_for_are_muted() -> None:
    found = charts.bars(WHOLE, rule(only="desirable"))["rects"]
    assert {bar["kind"] for bar in found if bar["muted"]} == {"undesirable"}


def test_one_single_score_is_told_not_drawn() -> None:
    one = {"edges": [0.0, 0.0], "desirable": [5], "undesirable": [2], "unlabelled": [0], "whole": True}
    found = charts.bars(one, rule(max=0))
    assert (found["single"], found["rows"], found["rects"], found["off"]) == (0.0, 7, [], ["max 0"])


@pytest.mark.parametrize(
    ("low", "high", "whole", "expected"),
    [
        (0.0, 1.0, False, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (-0.5, 3.5, True, [0.0, 1.0, 2.0, 3.0]),
        (-1.3, 1.3, False, [-1.0, 0.0, 1.0]),
        (-4.5, 115.5, True, [0.0, 25.0, 50.0, 75.0, 100.0]),
    ],
)
def test_ticks_are_round_numbers(low: float, high: float, whole: bool, expected: list[float]) -> None:
    assert charts.ticks(low, high, whole) == expected


def test_values_that_do_not_pass_are_marked() -> None:
    texts = {"values": ["en", "de", None], "desirable": [3, 0, 0], "undesirable": [1, 1, 0], "unlabelled": [0, 0, 2]}
    found = charts.shares(texts, {"values": ["en"]})
    assert [(one["value"], one["n"], one["passes"]) for one in found] == [
        ("en", 4, True),
        ("de", 1, False),
        (None, 2, True),
    ]
    assert [part["width"] for part in found[0]["parts"]] == [75.0, 25.0, 0.0]


def test_a_curve_leaves_out_what_is_no_number() -> None:
    history = [
        {"step": 1, "loss": 0.5},
        {"step": 2, "loss": math.nan},
        {"step": 3},
        {"step": 4, "loss": None},
        {"step": 5, "loss": -0.5},
    ]
    found = charts.curve(history, "loss")
    assert found is not None
    assert found["logged"] == "0.0,4.0 100.0,96.0"
    assert (found["first"], found["last"], found["zero"], found["steps"]) == (0.5, -0.5, 50.0, [1, 5])
    assert charts.curve(history[:2], "loss") is None


def test_intervals_share_an_axis_with_their_reference() -> None:
    found = charts.intervals([("after", {"value": 0.75, "low": 0.5, "high": 1.0})], reference=0.0)
    assert found["reference"] == {"x": 5.36, "label": "0"}
    assert found["rows"] == [
        {"name": "after", "x": 72.32, "low": 50.0, "width": 44.64, "label": "0.750 (0.500 to 1.000)", "clear": True}
    ]


def test_reliability_leaves_out_empty_bins_and_shows_what_is_sure() -> None:
    points = [
        {"low": 0.0, "high": 0.5, "n": 10, "predicted": 0.4, "observed": 0.5},
        {"low": 0.5, "high": 1.0, "n": 0, "predicted": None, "observed": None},
    ]
    assert charts.reliability(points) == [
        {
            "x": 40.0,
            "y": 50.0,
            "low": 76.34,
            "high": 23.66,
            "radius": 3.8,
            "title": "predicted 0.40, observed 0.50 (0.24 to 0.76), 10 turns",
        }
    ]


@pytest.mark.parametrize(("share", "rows", "expected"), [(0.0, 10, (0.0, 0.2775)), (1.0, 10, (0.7225, 1.0))])
def test_the_interval_of_a_share_stays_within_0_and_1(share: float, rows: int, expected: tuple[float, float]) -> None:
    assert tuple(round(bound, 4) for bound in charts.wilson(share, rows)) == expected


def test_diverging_bars_are_relative_to_the_largest() -> None:
    assert charts.diverging([(4, 0), (1, 2)]) == [{"left": 100.0, "right": 0.0}, {"left": 25.0, "right": 50.0}]


def test_notes_warn_of_a_small_sided_and_unsure_run(run: Any, fitted_card: dict[str, Any]) -> None:
    report = run(card=fitted_card).report()
    stage = {
        "record": {
            "metrics": {
                "after": {"auc": {"value": 0.52, "low": 0.45, "high": 0.6}},
                "shorter_is_better_auc": {"value": 0.4, "low": 0.3, "high": 0.5},
            }
        }
    }
    assert notes(report, stage) == [
        Note("warn", "5 of 60 messages of chats have a time that could not be read: set time_format.", "input"),
        Note("warn", "6 of 60 messages of chats have a role that is mapped to nothing: see Input.", "input"),
        Note("warn", "1 units (4.0 %) could not be read.", "input"),
        Note(
            "warn", "One rule, “reply too short”, stops 3 rows (30.0 %): look at its samples.", "reason-reply_too_short"
        ),
        Note("warn", "2 rows are duplicates with opposite labels; all of them were dropped.", "duplicates"),
        Note(
            "warn",
            "The confidence of labels is off: calibration error 0.123, AUC 0.910 on 40 clear ratings.",
            "labels",
        ),
        Note("warn", "The held-out rows are of one class: rewards cannot be compared.", "training"),
        Note("warn", "Training cannot be told from chance: held-out AUC 0.520 (0.450 to 0.600).", "training"),
        Note("warn", "Length alone ranks held-out rows as well (longer is better: 0.600).", "training"),
        Note(
            "fine",
            "The filters leave the classes as they were: from 50.0 % to 50.0 % desirable among labelled rows.",
            "funnel",
        ),
    ]


@pytest.mark.parametrize(("kept", "level"), [(55, "fine"), (60, "warn")])
def test_notes_tell_a_shift_of_the_classes(run: Any, kept: int, level: str) -> None:
    report = run().report()
    report["counts"] |= {
        "rows_desirable": 54,
        "rows_undesirable": 46,
        "kept_desirable": kept,
        "kept_undesirable": 100 - kept,
    }
    assert [note.level for note in notes(report, None) if note.anchor == "funnel"] == [level]
