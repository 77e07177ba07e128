"""Unpaired rows from pairs and from ratings, and the order in which they are written."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from prefdata.build.unpaired import from_pairs, from_ratings
from prefdata.errors import InputError
from prefdata.schema import SCHEMAS, RecordType


def text(side: str) -> pl.Expr:
    return pl.col(side).list.eval(pl.element().struct.field("content")).list.join(" | ")


def message(role: str, content: str) -> list[dict[str, str | None]]:
    return [{"role": role, "content": content, "tool_calls": None}]


def pairs(*rows: tuple[str, str, str]) -> pl.DataFrame:
    full = [
        {
            "id": name,
            "source": "s",
            "group": "g",
            "prompt": message("user", "q"),
            "chosen": message("assistant", chosen),
            "rejected": message("assistant", rejected),
        }
        for name, chosen, rejected in rows
    ]
    return pl.DataFrame(full, schema=SCHEMAS[RecordType.PREFERENCE])


def rated(*rows: tuple[str, str, str, float | None]) -> pl.DataFrame:
    """id, prompt, answer, rating."""
    return pl.DataFrame(rows, schema=["id", "prompt", "answer", "rating"], orient="row").with_columns(
        source=pl.lit("s"), rating=pl.col("rating").cast(pl.Float64)
    )


def labels(frame: pl.DataFrame) -> dict[str, Any]:
    return dict(frame.select(text("completion"), "label").rows())


def test_the_middle_of_a_ranking_gets_no_label() -> None:
    built = from_pairs(pairs(("ab", "A", "B"), ("ac", "A", "C"), ("bc", "B", "C")))
    assert labels(built.rows) == {"A": True, "C": False}
    assert built.counts() == {"both_chosen_and_rejected": 2, "repeated": 2}
    assert built.rows.height + built.unmade.height == 6


def test_the_middle_of_a_ranking_gets_both_labels_where_conflicts_are_kept() -> None:
    built = from_pairs(pairs(("ab", "A", "B"), ("ac", "A", "C"), ("bc", "B", "C")), conflicts="keep")
    assert sorted(built.rows.select(text("completion"), "label").rows()) == [
        ("A", True),
        ("B", False),
        ("B", True),
        ("C", False),
    ]
    assert built.counts() == {"repeated": 2}


def test_both_rows_of_a_pair_share_its_group() -> None:
    built = from_pairs(pairs(("ab", "A", "B")))
    assert built.rows["group"].to_list() == ["g", "g"]


def test_equal_and_empty_sides_of_pairs_are_accounted_for() -> None:
    built = from_pairs(pairs(("same", "A", "A"), ("void", "A", "")))
    assert labels(built.rows) == {"A": True}
    assert built.unmade.rows() == [
        ("same", None, "chosen", ["equal_sides"]),
        ("same", None, "rejected", ["equal_sides"]),
        ("void", None, "rejected", ["empty_completion"]),
    ]


def test_ratings_against_the_mean_of_their_prompt() -> None:
    rows = rated(
        ("1", "q", "A", 9.0), ("2", "q", "B", 5.0), ("3", "q", "C", 4.0), ("4", "q", "D", 2.0), ("5", "lone", "E", 9.0)
    )  # fmt: skip
    built = from_ratings(rows, threshold="prompt_mean", band=0.5)  # mean 5.0
    assert labels(built.rows) == {"A": True, "C": False, "D": False}
    assert built.unmade.rows() == [("2", None, None, ["neutral_rating"]), ("5", None, None, ["only_answer"])]
    assert built.rows.filter(pl.col("id") == "1")["evidence"].to_list() == [
        '{"by":"rating","rating":9.0,"threshold":5.0,"policy":"prompt_mean"}'
    ]


def test_ratings_against_the_median_of_their_prompt() -> None:
    rows = rated(("1", "q", "A", 9.0), ("2", "q", "B", 5.0), ("3", "q", "C", 4.9), ("4", "p", "D", 1.0))
    built = from_ratings(rows, threshold="prompt_median")
    assert labels(built.rows) == {"A": True, "C": False}
    assert built.counts() == {"neutral_rating": 1, "only_answer": 1}


def test_ratings_against_one_threshold_with_a_neutral_band() -> None:
    rows = rated(("1", "q", "A", 3.5), ("2", "p", "B", 2.5), ("3", "o", "C", 3.51), ("4", "n", "D", 2.49))
    built = from_ratings(rows, threshold=3, band=0.5)
    assert labels(built.rows) == {"C": True, "D": False}
    assert built.counts() == {"neutral_rating": 2}


def test_what_has_no_rating_or_no_text_is_no_row() -> None:
    rows = rated(("1", "q", "A", None), ("2", "q", "B", float("nan")), ("3", "q", " ", 1.0), ("4", "", "D", 1.0))
    built = from_ratings(rows, threshold=0)
    assert built.rows.height == 0
    assert built.unmade["reasons"].to_list() == [["no_rating"], ["no_rating"], ["empty_completion"], ["no_prompt"]]


def test_wrong_settings_and_frames_say_what_is_wrong() -> None:
    with pytest.raises(InputError, match=r"band: -1, expected at least 0"):
        from_ratings(rated(("1", "q", "A", 1.0)), threshold=0, band=-1)
    with pytest.raises(InputError, match="threshold: 'mean', expected prompt_mean, prompt_median or a number"):
        from_ratings(rated(("1", "q", "A", 1.0)), threshold="mean")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="rated answers: rating: missing"):
        from_ratings(rated(("1", "q", "A", 1.0)).drop("rating"), threshold=0)
    with pytest.raises(InputError, match="id: null or shared by several rows"):
        from_ratings(rated(("1", "q", "A", 1.0), ("1", "q", "B", 1.0)), threshold=0)
