"""Marks stand where their numbers say, in percent of the box."""

from __future__ import annotations

import re
from typing import Any

import pytest

from prefdata.reporting import charts
from prefdata.reporting.notes import Note, notes
from prefdata.reporting.training.stages import Trained

WHOLE = {
    "edges": [-0.5, 0.5, 1.5, 2.5, 3.5],
    "desirable": [1, 0, 0, 2],
    "undesirable": [0, 0, 4, 2],
    "unlabelled": [0, 0, 0, 0],
    "whole": True,
}


def rule(**bounds: Any) -> dict[str, Any]:
    return {"min": None, "max": None, "only": None, **bounds}


def areas(chart: Any) -> list[tuple[str, str]]:
    """The colours and shapes of the rectangles of a chart."""
    return [(colour, shape) for shape, colour in re.findall(r'<path d="(M[^"]+)" fill="var\(--(\w+)\)"', str(chart))]


def test_bars_are_stacked_by_class() -> None:
    found = charts.scores(WHOLE, rule(), title="scores")
    assert (found.rows, found.single, found.off) == (9, None, [])
    assert [colour for colour, _ in areas(found.chart)] == ["good", "bad", "bad", "good"]
    assert "1.5 – 2.5: undesirable 4, desirable 0" in str(found.chart)


def test_bars_can_be_as_high_as_their_counts() -> None:
    root, plain = (charts.scores(WHOLE, rule(), title="scores", root=root).chart for root in (True, False))
    heights = [
        [float(one) for _, shape in areas(chart) for one in re.findall(r"v(-?[\d.]+)", shape)]
        for chart in (root, plain)
    ]
    assert heights[0][0] / heights[0][1] == pytest.approx(0.5, abs=0.02)
    assert heights[1][0] / heights[1][1] == pytest.approx(0.25, abs=0.02)


def test_thresholds_stand_between_passing_and_stopped_rows_and_shade_what_is_stopped() -> None:
    chart = charts.scores(WHOLE, rule(min=1, max=2), title="scores").chart
    assert [colour for colour, _ in areas(chart)].count("zone") == 2
    assert {"min 1", "max 2"} <= set(re.findall(r">([^<>]+)</text>", str(chart)))


def test_a_threshold_beyond_the_axis_is_named_with_its_side() -> None:
    found = charts.scores(WHOLE, rule(min=-40, max=2048), title="scores")
    assert found.off == ["← min -40", "max 2048 →"]
    assert "zone" not in str(found.chart)


def test_rows_that_a_rule_does_not_speak_for_are_pale() -> None:
    chart = str(charts.scores(WHOLE, rule(only="desirable"), title="scores").chart)
    assert chart.count('opacity="0.3"') == 2


def test_one_single_score_is_told_not_drawn() -> None:
    one = {"edges": [0.0, 0.0], "desirable": [5], "undesirable": [2], "unlabelled": [0], "whole": True}
    assert charts.scores(one, rule(max=0), title="scores") == charts.Scores(None, 0.0, 7, ["max 0"])


def test_values_that_do_not_pass_are_told() -> None:
    texts = {"values": ["en", "de", None], "desirable": [3, 0, 0], "undesirable": [1, 1, 0], "unlabelled": [0, 0, 2]}
    found = charts.scores({**texts, "left_off": 4}, {"values": ["en"]}, title="languages")
    assert re.findall(r'class="number">([^<]*)<', str(found.chart)) == ["4", "stopped, 1", "2"]
    assert (found.rows, found.left_off) == (7, 4)


def test_estimates_are_told_with_their_reference() -> None:
    chart = str(charts.estimates([("after", {"value": 0.75, "low": 0.5, "high": 1.0})], reference=0.0, title="t"))
    assert "0.750 (0.500 to 1.000)" in chart
    assert "var(--limit)" in chart


def test_reliability_leaves_out_empty_bins_and_shows_what_is_sure() -> None:
    points = [
        {"low": 0.0, "high": 0.5, "n": 10, "predicted": 0.4, "observed": 0.5},
        {"low": 0.5, "high": 1.0, "n": 0, "predicted": None, "observed": None},
    ]
    chart = str(charts.reliability(points, title="Reliability"))
    assert "<desc>predicted 0.40, observed 0.50 (0.24 to 0.76), 10 turns</desc>" in chart
    assert charts.reliability(points[1:], title="Reliability") is None


@pytest.mark.parametrize(("share", "rows", "expected"), [(0.0, 10, (0.0, 0.2775)), (1.0, 10, (0.7225, 1.0))])
def test_the_interval_of_a_share_stays_within_0_and_1(share: float, rows: int, expected: tuple[float, float]) -> None:
    assert tuple(round(bound, 4) for bound in charts.wilson(share, rows)) == expected


def test_signals_stand_against_and_for() -> None:
    chart = str(charts.sources([{"source": "csat", "undesirable": 4, "desirable": 2}], title="sources"))
    assert "4 : 2" in chart
    assert [colour for colour, _ in areas(chart)] == ["track", "bad", "good"]


def test_counts_are_bars_largest_first() -> None:
    chart = str(charts.counted({"a_b": 1, "c.d": 3}, title="counts"))
    assert re.findall(r"<bdi>([^<]*)</bdi>", chart) == ["c: d", "a b"]
    assert charts.counted({}, title="counts") is None


def test_notes_warn_of_a_small_sided_and_unsure_run(run: Any, fitted_card: dict[str, Any]) -> None:
    report = run(card=fitted_card).report()
    metrics = {
        "after": {"auc": {"value": 0.52, "low": 0.45, "high": 0.6}},
        "shorter_is_better_auc": {"value": 0.4, "low": 0.3, "high": 0.5},
    }
    stage = Trained("kto", {"method": "kto", "metrics": metrics}, [], [], None)
    assert notes(report, [stage]) == [
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
        Note("warn", "Training cannot be told from chance: held-out AUC 0.520 (0.450 to 0.600).", "stage-kto"),
        Note("warn", "Length alone ranks held-out rows as well (longer is better: 0.600).", "stage-kto"),
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
    assert [note.level for note in notes(report, []) if note.anchor == "funnel"] == [level]


def test_notes_tell_of_refused_pictures_and_of_the_reason_that_most_have(run: Any) -> None:
    report = run().report()
    report["pictures"] = {"pictures": 14, "refused": 6, "refused_because": {"network_off": 2, "outside_root": 4}}
    told = "6 of 14 pictures refused, most often as “outside root” (4): what needs them is no row."
    assert Note("warn", told, "pictures") in notes(report, [])
    report["pictures"] = {"pictures": 1, "refused": 1, "refused_because": {"not_there": 1}}
    assert "1 of 1 pictures refused" in next(note.text for note in notes(report, []) if note.anchor == "pictures")
    report["pictures"] = {"pictures": 100, "refused": 1, "refused_because": {"not_there": 1}}
    assert [note for note in notes(report, []) if note.anchor == "pictures"] == []
