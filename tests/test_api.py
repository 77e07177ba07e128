"""The pieces from Python: plain text or messages in, settings checked as in a recipe, errors that say what to do."""

from __future__ import annotations

import polars as pl
import pytest

import prefdata
from prefdata.errors import RecipeError, SchemaError


def plain() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "prompt": ["Where is my parcel?", "Where is my parcel?", "I want a refund."],
            "completion": ["It will arrive tomorrow before six.", "It will arrive tomorrow before six.", "!!! ??? ***"],
        }
    )


def test_plain_text_is_scored_and_rows_are_numbered() -> None:
    found = prefdata.score(plain(), "chat_quality")
    assert found["id"].to_list() == ["000000000000", "000000000001", "000000000002"]
    assert found["chat_quality_completion_words"].to_list() == [6.0, 6.0, 0.0]


def test_filtered_rows_keep_their_own_columns() -> None:
    found = prefdata.filter_rows(plain(), {"chat_quality": {"min_words": 1}})
    assert found.kept.columns == ["prompt", "completion"]
    assert found.kept.height == 2
    assert "reply_too_short" in found.dropped["reasons"][0].to_list()


def test_near_duplicates_of_plain_text() -> None:
    found = prefdata.near_duplicates(plain())
    assert found["id"].to_list() == ["000000000000", "000000000001"]


def test_a_wrong_setting_is_told_with_the_nearest_name() -> None:
    with pytest.raises(RecipeError, match="did you mean 'min_words'"):
        prefdata.filter_rows(plain(), {"chat_quality": {"min_wrds": 1}})
    with pytest.raises(RecipeError, match="did you mean 'toxicity'"):
        prefdata.score(plain(), "toxicty")


def test_a_frame_without_the_side_is_told_what_is_expected() -> None:
    with pytest.raises(SchemaError, match="completion: missing, expected"):
        prefdata.score(plain().drop("completion"), "toxicity")
    with pytest.raises(SchemaError, match="completion: Int64, expected"):
        prefdata.score(plain().with_columns(completion=pl.lit(1, dtype=pl.Int64)), "toxicity")
    with pytest.raises(SchemaError, match="3 rows share an id"):
        prefdata.score(plain().with_columns(id=pl.lit("a")), "toxicity")
