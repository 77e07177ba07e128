"""What holds for every text, whatever is in it: one row out for one in, scores in their range, none for null."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from filters.language import Language
from filters.quality import ChatQuality
from filters.toxicity import Toxicity
from prefdata.judging import RowFilter

FILTERS = [ChatQuality().build(), Language().build(), Toxicity().build()]

TEXTS = st.lists(
    st.one_of(
        st.none(),
        st.text(max_size=80),
        st.text(alphabet="ab你滚 .!<>_1\0\n'😊のハ한", max_size=400),
        st.sampled_from(["<EMAIL_1>", "\ufeff", "\u200b" * 30, "İ" * 30, "ﬁ" * 30, "\U0010ffff" * 30, "\0" * 30]),
    ),
    max_size=8,
)


@pytest.mark.parametrize("row_filter", FILTERS, ids=lambda one: one.name)
@settings(max_examples=30, deadline=None)
@given(texts=TEXTS, prompt=st.one_of(st.none(), st.text(max_size=30)))
@example(texts=["no " * 200, "字" * 400, "a" * 400, "\0" * 400], prompt="no " * 200)
def test_a_score_is_in_its_range_and_belongs_to_its_row(
    row_filter: RowFilter, texts: list[str | None], prompt: str | None
) -> None:
    items = pl.DataFrame(
        {"text": texts, "prompt": [prompt] * len(texts)}, schema={"text": pl.String, "prompt": pl.String}
    )
    scores = row_filter.scorer.score(items)
    assert scores.height == len(texts)
    main = scores.to_series(0)
    assert main.name == row_filter.scorer.name
    assert main.dtype == pl.Float32
    assert not main.is_nan().any()
    judged = main.drop_nulls()
    assert ((judged >= 0) & (judged <= 1)).all()
    assert main.filter(items["text"].is_null()).null_count() == items["text"].null_count()
    backwards = row_filter.scorer.score(items.reverse()).reverse()
    assert scores.equals(backwards)


@pytest.mark.parametrize("row_filter", FILTERS, ids=lambda one: one.name)
def test_rules_name_columns_that_are_there(row_filter: RowFilter) -> None:
    items = pl.DataFrame({"text": ["Your parcel is on its way."], "prompt": ["Where is my parcel?"]})
    columns = row_filter.scorer.score(items).columns
    assert [rule.column for rule in row_filter.rules.values() if rule.column not in (None, *columns)] == []


@pytest.mark.parametrize("row_filter", FILTERS, ids=lambda one: one.name)
def test_the_input_is_not_changed(row_filter: RowFilter) -> None:
    items = pl.DataFrame({"text": ["Your parcel is on its way."], "prompt": ["Where is my parcel?"]})
    before = items.clone()
    row_filter.scorer.score(items)
    assert items.equals(before)
