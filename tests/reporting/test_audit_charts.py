"""What a measure is drawn as follows from its form."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefdata.reporting.audit.charts import baselines, drawn, picture
from prefdata.reporting.audit.estimates import Estimate, axis, taken
from prefdata.reporting.audit.values import cut, shown
from prefdata.reporting.drawing import Bar, Interval, Line, Stack


def kinds(measures: dict[str, Any]) -> list[str]:
    return [one["kind"] for one in drawn(measures)]


def test_an_interval_belongs_to_the_number_before_it() -> None:
    found = taken({"rows": 3, "auc": 0.7, "interval": [0.6, 0.8], "d": 0.2, "d_interval": (0.1, 0.3), "seed": 4})
    assert found == [Estimate("auc", 0.7, 0.6, 0.8), Estimate("d", 0.2, 0.1, 0.3)]


@pytest.mark.parametrize(
    "measures",
    [
        {"interval": [0.1, 0.2]},
        {"auc": None, "interval": [0.1, 0.2]},
        {"auc": 0.5, "interval": [0.1, math.nan]},
        {"auc": 0.5, "interval": [0.1]},
        {"auc": 0.5, "interval": "0.1 to 0.2"},
        {"note": "text", "interval": [0.1, 0.2]},
    ],
)
def test_what_is_no_estimate_is_told_as_it_is(measures: dict[str, Any]) -> None:
    assert taken(measures) == []
    assert kinds(measures) == ["facts"]
    assert len(drawn(measures)[0]["rows"]) == len(measures)


@pytest.mark.parametrize(
    ("name", "values", "low", "high", "reference"),
    [
        ("auc", [0.7], 0.0, 1.0, 0.5),
        ("longer_wins_accuracy", [0.4, 0.6], 0.0, 1.0, 0.5),
        ("chosen_share_of_onesided", [0.4], 0.0, 1.0, 0.5),
        ("desirable_share", [0.4], 0.0, 1.0, None),
        ("difference", [0.1, -0.2], -0.22, 0.22, 0.0),
        ("cohen_d", [0.5, 0.7], -0.77, 0.77, 0.0),
        ("alpha", [-0.1, 0.2], -0.22, 0.22, 0.0),
        ("anything", [0.3], 0.0, 1.0, None),
        ("anything", [3.0], -3.3, 3.3, 0.0),
    ],
)
def test_an_estimate_is_compared_with_what_says_nothing(
    name: str, values: list[float], low: float, high: float, reference: float | None
) -> None:
    found = axis(name, values)
    assert (round(found.low, 4), round(found.high, 4), found.reference) == (low, high, reference)


def test_estimates_are_told_with_their_interval_on_the_axis_of_their_name() -> None:
    (found,) = drawn({"auc": 0.7, "interval": [0.6, 0.8]})
    assert found["rows"] == [Interval("AUC", 0.7, 0.6, 0.8, "0.700 (0.600 to 0.800)")]
    assert (found["span"], found["reference"], found["meaning"]) == ((0.0, 1.0), 0.5, "0.5: chance")
    assert found["percent"] is False


def test_every_drawing_but_tables_and_facts_is_a_picture() -> None:
    measures = {
        "auc": 0.7,
        "interval": [0.6, 0.8],
        "chosen": 3,
        "rejected": 1,
        "words": {"a": [1, 2], "b": [3, 4]},
        "curve": [{"rows": at, "loss": 0.1 * at, "loss_interval": [0.0, 0.2 * at]} for at in (1, 2, 3)],
        "by": {"a": {"rows": 1}},
        "note": "x",
    }
    found = [(one["kind"], picture(one, "title") is not None) for one in drawn(measures)]
    assert sorted(found) == [
        ("bars", True),
        ("curve", True),
        ("facts", False),
        ("intervals", True),
        ("split", True),
        ("table", False),
    ]


def test_two_sides_are_bars_in_one_scale() -> None:
    (bars,) = drawn({"chosen": 20, "rejected": 10, "chosen_only": 5, "rejected_only": 0})
    assert bars["kind"] == "bars"
    assert bars["top"] == 20
    assert bars["rows"] == [
        Bar("chosen", 20, "20", "good"),
        Bar("rejected", 10, "10", "bad"),
        Bar("chosen only", 5, "5", "good"),
        Bar("rejected only", 0, "0", "bad"),
    ]


def test_classes_are_bars_with_the_rows_without_a_label_and_shares_of_their_own_scale() -> None:
    counts, shares = drawn(
        {"desirable": 3, "undesirable": 1, "without_label": 4, "desirable_share": 0.5, "undesirable_share": 0.25}
    )
    assert [(one.text, one.kind) for one in counts["rows"]] == [("3", "good"), ("1", "bad"), ("4", "none")]
    assert [one.text for one in shares["rows"]] == ["50.0 %", "25.0 %"]
    assert (counts["top"], shares["top"]) == (4, 1.0)


def test_a_mapping_of_numbers_is_bars_and_one_of_mappings_a_table() -> None:
    shares, counts, table = drawn(
        {
            "languages": {"en": 0.75, "zh": 0.25},
            "models": {"gpt": 3, "llama": 1},
            "by_source": {"a": {"rows": 3, "share": 0.5}, "b": {"rows": 1, "months": ["2024-01", "2024-02"]}},
        }
    )
    assert [one.text for one in shares["rows"]] == ["75.0 %", "25.0 %"]
    assert [(one.name, one.value) for one in counts["rows"]] == [("gpt", 3), ("llama", 1)]
    assert table["kind"] == "table"
    assert table["columns"] == ["", "rows", "share", "months"]
    assert table["rows"] == [
        ["a", "3", "50.0 %", "–"],
        ["b", "1", "–", "2024-01, 2024-02"],
    ]


def test_a_mapping_of_estimates_is_dots_with_a_table_of_the_rest() -> None:
    measures = {
        "features": {
            "length": {"auc": 0.7, "interval": [0.6, 0.8], "rows": 10},
            "emoji": {"auc": 0.5, "interval": [0.4, 0.6], "rows": 20},
        }
    }
    dots, table = drawn(measures)
    assert dots["title"] == "AUC: features"
    assert [(one.name, one.value) for one in dots["rows"]] == [("length", 0.7), ("emoji", 0.5)]
    assert table["columns"] == ["", "rows"]


def test_baselines_that_most_have_are_dots_and_what_the_others_have_is_told() -> None:
    measures = {
        "baselines": {
            "length": {"auc": 0.7, "interval": [0.6, 0.8], "accuracy": 0.6, "accuracy_interval": [0.5, 0.7]},
            "emoji": {"marked": 3},
            "first_words": {"auc": 0.5, "interval": [0.4, 0.6]},
        }
    }
    dots, table = drawn(measures)
    assert [(one.name, one.value) for one in dots["rows"]] == [("length", 0.7), ("first words", 0.5)]
    assert table["columns"] == ["", "accuracy", "accuracy, 95 % interval", "rows that carry it"]
    assert table["rows"] == [["length", "0.6", "0.5 to 0.7", "–"], ["emoji", "–", "–", "3"]]
    assert baselines({"auc": 0.4, "interval": [0.3, 0.5], **measures}, "the probe") == [
        ("the probe", Estimate("auc", 0.4, 0.3, 0.5)),
        ("length", Estimate("auc", 0.7, 0.6, 0.8)),
        ("first words", Estimate("auc", 0.5, 0.4, 0.6)),
    ]


def test_estimates_over_a_growing_number_are_curves() -> None:
    steps = [
        {"fitted_rows": 10, "auc": 0.5, "auc_interval": [0.4, 0.6], "loss": 0.7, "loss_interval": [0.6, 0.8]},
        {"fitted_rows": 20, "auc": 0.6, "auc_interval": [0.5, 0.7], "loss": 0.6, "loss_interval": [0.5, 0.7]},
        {"fitted_rows": 30, "auc": 0.7, "auc_interval": [0.65, 0.75], "loss": 0.5, "loss_interval": [0.4, 0.6]},
    ]
    auc, loss, facts = drawn({"loss_at_chance": 0.6931, "curve": steps})
    assert [one["kind"] for one in (auc, loss, facts)] == ["curve", "curve", "facts"]
    assert auc["rows"] == [Line("", [(10, 0.5), (20, 0.6), (30, 0.7)], [(0.4, 0.6), (0.5, 0.7), (0.65, 0.75)])]
    assert auc["across"] == "fitted rows"
    assert (auc["meaning"], loss["meaning"]) == ("0.5: chance", "0.693: chance")
    assert drawn({"curve": steps[:2]})[0]["kind"] == "table"
    assert drawn({"curve": steps[::-1]})[0]["kind"] == "table"


def test_an_estimate_is_compared_with_its_own_chance_where_that_is_measured() -> None:
    (loss,) = drawn({"loss": 0.5, "interval": [0.4, 0.6], "loss_at_chance": 0.6931})
    assert loss["meaning"] == "0.693: chance"
    assert (loss["reference"], loss["rows"][0].high) == (0.6931, 0.6)


def test_pairs_of_counts_are_bars_that_are_split() -> None:
    (split,) = drawn({"words_of_chosen": {"当然": [30, 10], "<b>": [0, 0]}})
    assert split["kind"] == "split"
    assert split["rows"] == [
        Stack("当然", (("good", 30), ("bad", 10)), "30 : 10"),
        Stack("<b>", (("good", 0), ("bad", 0)), "0 : 0"),
    ]


def test_a_mapping_of_all_kinds_is_drawn_as_measures_of_its_own() -> None:
    found = drawn({"gender": {"rows": 7, "share": 0.5, "interval": [0.4, 0.6], "words": {"she": {"rows": 3}}}})
    assert [(one["kind"], one["title"]) for one in found] == [
        ("intervals", "gender"),
        ("table", "gender: words"),
        ("facts", "gender"),
    ]


def test_counts_by_side_are_one_table() -> None:
    (table,) = drawn({"prompt": {"email": 3}, "chosen": {}, "rejected": {"email": 1, "phone": 2}})
    assert table["columns"] == ["", "prompt", "chosen", "rejected"]
    assert table["rows"] == [["e-mail", "3", "0", "1"], ["telephone", "0", "0", "2"]]


def test_figures_by_side_are_told_as_what_they_are() -> None:
    (table,) = drawn({"rejected": {"templates": 3, "coverage": 0.5}, "chosen": {"templates": 4}})
    assert table["columns"] == ["", "chosen", "rejected"]
    assert table["rows"] == [["templates", "4", "3"], ["coverage", "–", "50.0 %"]]
    (nested,) = drawn({"scripts": {"chosen": {"Latin": 5}, "rejected": {"Latin": 4, "Han": 1}}})
    assert nested["title"] == "scripts"
    assert nested["rows"] == [["Latin", "5", "4"], ["Han", "0", "1"]]


def test_a_list_of_mappings_is_a_table() -> None:
    (table,) = drawn({"largest": [{"rows": 3, "share": 0.1}, {"rows": 2, "share": 0.05}]})
    assert table["columns"] == ["rows", "share"]
    assert table["rows"] == [["3", "10.0 %"], ["2", "5.0 %"]]


def test_long_tables_and_bars_are_cut_and_say_so() -> None:
    table = drawn({"by": {str(at): {"rows": at} for at in range(50)}})[0]
    bars = drawn({"by": {str(at): at for at in range(50)}})[0]
    assert [(len(one["rows"]), one["more"]) for one in (table, bars)] == [(40, 10), (40, 10)]


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("rows", 1234567, "1,234,567"),
        ("share", 0.1234, "12.3 %"),
        ("refusal_rate", 1.0, "100.0 %"),
        ("ratio", 1.25, "1.25"),
        ("loss", math.nan, "–"),
        ("loss", None, "–"),
        ("label", True, "yes"),
        ("interval", [0.1, 0.25], "0.1 to 0.25"),
        ("months", ["a\nb", "c\u202e"], "a b, c⟨U+202E⟩"),
        ("more", {"a": 1, "b": 0.5}, "a: 1, b: 0.5"),
        ("text", "x" * 130, "x" * 120 + "… (130)"),
    ],
)
def test_values_are_told_in_few_characters(name: str, value: Any, text: str) -> None:
    assert shown(name, value) == text


def test_figures_are_told_in_chinese() -> None:
    assert shown("label", False, "zh") == "否"
    assert drawn({"auc": 0.7, "interval": [0.6, 0.8]}, "zh")[0]["rows"][0].text == "0.700 (0.600 至 0.800)"


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["auc", "interval", "chosen", "rejected", "share", "x"]), values, max_size=6))
def test_any_measures_are_drawn_within_their_boxes(measures: dict[str, Any]) -> None:
    for one in drawn(measures):
        for row in one["rows"]:
            if one["kind"] == "bars":
                assert 0 <= row.value <= one["top"]
            if one["kind"] == "intervals":
                low, high = one["span"]
                assert low <= min(row[1:4])
                assert max(row[1:4]) <= high


def test_counts_and_shares_in_one_mapping_are_told_not_compared() -> None:
    (facts,) = drawn({"completion": {"templates": 3, "coverage": 0.07}})
    assert (facts["kind"], facts["rows"]) == ("facts", [("templates", "3"), ("coverage", "7.0 %")])


def test_cut_tells_the_length() -> None:
    assert cut("abc", 2) == "ab… (3)"
    assert cut(" a \t b ") == "a b"
