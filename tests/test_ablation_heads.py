"""Heads and their features: what a matrix holds, and that a head learns what stands in it."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from prefdata.ablation.heads import state_features, train, word_features
from prefdata.schema import MESSAGES, RecordType


def said(text: str, role: str = "assistant") -> list[dict[str, str | None]]:
    return [{"role": role, "content": text, "tool_calls": None}]


def frame(**sides: list[str]) -> pl.DataFrame:
    roles = {"prompt": "user"}
    return pl.DataFrame(
        {name: [said(text, roles.get(name, "assistant")) for text in texts] for name, texts in sides.items()},
        schema=dict.fromkeys(sides, MESSAGES),
    )


def test_words_of_an_answer_and_of_its_prompt_have_columns_of_their_own() -> None:
    records = frame(prompt=["a b", "a c", "b c"], completion=["x y", "x y y", "x z"])
    made = word_features(records, RecordType.UNPAIRED)
    # x and y stand in two answers, z in one; the length; then a, b and c of the prompts
    assert made.shape == (3, 6)
    found = made.toarray()
    assert found[0, :2] == pytest.approx([2**-0.5, 2**-0.5])
    assert found[2, :2] == pytest.approx([1, 0])
    assert found[0, 3:] == pytest.approx([2**-0.5, 2**-0.5, 0])
    assert found[:, 2].sum() == pytest.approx(0)


def test_what_both_sides_of_a_pair_share_is_nothing() -> None:
    records = frame(prompt=["a", "b"], chosen=["x y", "x"], rejected=["x y", "y"])
    found = word_features(records, RecordType.PREFERENCE).toarray()
    assert found[0].tolist() == [0, 0, 0]
    assert found[1].tolist() == [1, -1, 0]


def test_a_pair_turned_over_has_the_features_turned_over() -> None:
    texts = (["thank you", "no never", "thank you no"], ["no never", "thank you", "never"])
    one = word_features(frame(prompt=["a"] * 3, chosen=texts[0], rejected=texts[1]), RecordType.PREFERENCE)
    other = word_features(frame(prompt=["a"] * 3, chosen=texts[1], rejected=texts[0]), RecordType.PREFERENCE)
    assert np.allclose(one.toarray(), -other.toarray())


def test_chinese_answers_have_words() -> None:
    records = frame(prompt=["你好", "你好"], completion=["已经退款", "已经发货"])
    assert word_features(records, RecordType.UNPAIRED).nnz > 4


def test_states_are_standardised() -> None:
    states = np.array([[[1.0, 5.0]], [[3.0, 5.0]]])
    assert state_features(states, RecordType.UNPAIRED).tolist() == [[-1, 0], [1, 0]]
    pairs = np.array([[[1.0], [3.0]], [[3.0], [1.0]]])
    assert state_features(pairs, RecordType.PREFERENCE).tolist() == [[-2], [2]]


def test_a_head_of_pairs_has_no_intercept_and_learns_the_difference() -> None:
    features = np.array([[1.0, 0.5], [2.0, -0.5], [1.5, 0.0]])
    head = train(features, np.ones(3), prior=0.1, pairs=True)
    assert head.intercept == 0
    assert (head.margins(features) > 0).all()
    assert (head.margins(-features) < 0).all()


def test_a_head_of_labelled_rows_has_an_intercept() -> None:
    head = train(np.zeros((4, 1)), np.array([1.0, 1.0, 1.0, 0.0]), prior=1.0, pairs=False)
    assert head.intercept == pytest.approx(np.log(3), abs=1e-3)
