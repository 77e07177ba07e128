"""report.json: every number of the small run, written out."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest

from prefdata.reporting import numbers


def test_counts_add_up(run: Any) -> None:
    assert run().report()["counts"] == {
        "units": 25,
        "quarantined": 1,
        "rows": 10,
        "kept": 2,
        "dropped": 8,
        "unjudged": 1,
        "kept_unjudged": 0,
        "rows_desirable": 4,
        "rows_undesirable": 4,
        "kept_desirable": 1,
        "kept_undesirable": 1,
    }


def test_reasons_count_all_rows_and_those_without_another_reason(run: Any) -> None:
    def reason(name: str, rows: int, unique: int, classes: tuple[int, int], *examples: str) -> dict[str, Any]:
        names = {"reason": name, "rows": rows, "unique": unique, "examples": list(examples)}
        return {**names, "desirable": classes[0], "undesirable": classes[1]}

    assert run().report()["reasons"] == [
        reason("reply_too_short", 3, 1, (1, 1), "b", "c", "j"),
        reason("conflicting_labels", 2, 2, (1, 1), "g", "h"),
        reason("label_abstained", 2, 1, (0, 0), "e", "j"),
        reason("language_not_allowed", 2, 1, (0, 2), "d", "c"),
        reason("near_duplicates", 1, 1, (1, 0), "f"),
    ]


def test_overlap_counts_pairs_of_reasons_in_order_of_frequency(run: Any) -> None:
    assert run().report()["overlap"] == {
        "reasons": [
            "reply_too_short",
            "conflicting_labels",
            "label_abstained",
            "language_not_allowed",
            "near_duplicates",
        ],
        "matrix": [
            [3, 0, 1, 1, 0],
            [0, 2, 0, 0, 0],
            [1, 0, 2, 0, 0],
            [1, 0, 0, 2, 0],
            [0, 0, 0, 0, 1],
        ],
    }


def test_rules_tell_what_they_stop(run: Any) -> None:
    rules = {rule["reason"]: rule for rule in run().report()["rules"]}
    told = ("filter", "column", "min", "max", "only", "failed", "unique", "unjudged")
    assert {name: tuple(rule[key] for key in told) for name, rule in rules.items()} == {
        "reply_too_short": ("known", "known_completion", 1, None, None, 3, 1, 0),
        "reply_too_long": ("known", "known_completion", None, 100, None, 0, 0, 0),
        "language_not_allowed": ("known", "known_completion_code", None, None, None, 2, 1, 1),
    }
    assert rules["language_not_allowed"]["histogram"] == {
        "values": ["en", "de", None],
        "desirable": [4, 0, 0],
        "undesirable": [2, 2, 0],
        "unlabelled": [1, 0, 1],
        "left_off": 0,
    }
    assert rules["language_not_allowed"]["borderline"] == []
    assert rules["reply_too_short"]["borderline"] == [
        {"id": "b", "score": 0.0, "passes": False},
        {"id": "c", "score": 0.0, "passes": False},
        {"id": "j", "score": 0.0, "passes": False},
        {"id": "e", "score": 4.0, "passes": True},
        {"id": "a", "score": 5.0, "passes": True},
        {"id": "f", "score": 6.0, "passes": True},
    ]


def test_unjudged_counts_only_rows_that_the_rule_speaks_for(run: Any) -> None:
    from prefdata.judging import Rule

    small = run(rules={"language_not_allowed": Rule(column="code", values=("en",), only="desirable")})
    assert [rule["unjudged"] for rule in small.report()["rules"]] == [0]


def test_clusters_name_opposite_labels_first_and_the_kept_row_of_each(run: Any) -> None:
    def mate(name: str, similarity: float, *, kept: bool) -> dict[str, Any]:
        return {"id": name, "similarity": similarity, "kept": kept}

    assert run().report()["clusters"] == [
        {
            "grouping": "near_duplicates",
            "clusters": 2,
            "rows": 4,
            "largest": 2,
            "conflicting": 1,
            "sizes": {"2": 2},
            "examples": [
                {
                    "cluster": "g",
                    "size": 2,
                    "conflict": True,
                    "similarity": 0.85,
                    "rows": [mate("g", 0.85, kept=False), mate("h", 0.85, kept=False)],
                },
                {
                    "cluster": "a",
                    "size": 2,
                    "conflict": False,
                    "similarity": 0.9,
                    "rows": [mate("a", 0.9, kept=True), mate("f", 0.9, kept=False)],
                },
            ],
        }
    ]


def test_label_sources_count_rows_by_class(run: Any) -> None:
    assert run().report()["labels"] == {
        "desirable": 4,
        "undesirable": 4,
        "abstained": 2,
        "sources": [
            {"source": "csat", "desirable": 4, "undesirable": 4},
            {"source": "thanks", "desirable": 4, "undesirable": 0},
        ],
    }


def test_splits_count_rows_classes_and_units(run: Any) -> None:
    assert run().report()["split"] == {
        "train": {"rows": 1, "units": 1, "desirable": 1, "undesirable": 0},
        "evaluation": {"rows": 1, "units": 1, "desirable": 0, "undesirable": 1},
        "largest_unit": 1,
    }


def test_an_empty_split_counts_nothing() -> None:
    split = pl.DataFrame(schema={"id": pl.String, "group": pl.String, "split": pl.String})
    scored = pl.DataFrame(schema={"id": pl.String, "label": pl.Boolean})
    nothing = {"rows": 0, "units": 0, "desirable": 0, "undesirable": 0}
    assert numbers.splits(split, scored) == {"train": nothing, "evaluation": nothing, "largest_unit": 0}


def test_the_card_is_rounded(run: Any, fitted_card: dict[str, Any]) -> None:
    assert run(card=fitted_card).report()["card"]["ece"] == 0.1235


@pytest.mark.parametrize("order", [1, 2, 3])
def test_the_order_of_rows_has_no_influence(run: Any, order: int) -> None:
    small = run()
    assert json.dumps(small.report(order=order)) == json.dumps(small.report())


def test_no_row_text_stands_in_the_report(run: Any) -> None:
    written = json.dumps(run().report(), ensure_ascii=False)
    for *_, customer, reply in run().rows:
        assert len(customer) < 6 or customer not in written
        assert not reply or reply not in written
