"""The definition of a shingle: what counts as the same text, token by token."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from prefdata.dedup.shingles import Flat, distinct, normalised, shingle, token_hashes, tokenise


def tokens_of(text: str) -> list[str]:
    tokens = tokenise(normalised(pl.Series([text])))
    return [tokens.vocabulary[code] for code in tokens.codes]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello,  WORLD!", ["hello", "world"]),
        ("I don't know, it’s late", ["i", "don't", "know", "it’s", "late"]),
        ("mail <EMAIL_3> or <PHONE_NUMBER_12>", ["mail", "<email>", "or", "<phone_number>"]),
        ("退款1次", ["退", "款", "1", "次"]),
        ("ｆｕｌｌ ｗｉｄｔｈ ３", ["full", "width", "3"]),
        ("great 👍!", ["great", "👍"]),
        ("snake_case", ["snake", "case"]),
        ("カタカナ", ["カ", "タ", "カ", "ナ"]),
        ("안녕 하세요", ["안녕", "하세요"]),
        ("???", ["???"]),
        ("", []),
        ("  \n\t ", []),
    ],
)
def test_tokens(text: str, expected: list[str]) -> None:
    assert tokens_of(text) == expected


def test_pseudonyms_compare_by_type_only() -> None:
    texts = pl.Series(["write to <EMAIL_1>", "write to <EMAIL_22>", "write to <PHONE_1>", None])
    assert normalised(texts).to_list() == ["write to <email>", "write to <email>", "write to <phone>", ""]


def test_case_folding_goes_beyond_lower_case() -> None:
    one, other = token_hashes(["straße", "strasse"])
    assert one == other


def test_token_hashes_are_the_same_at_every_version_and_platform() -> None:
    assert [int(value) for value in token_hashes(["refund", "退"])] == [14947718895837224145, 17805615454784563898]


@pytest.mark.parametrize(
    ("text", "count"),
    [("", 0), ("ok", 1), ("thank you", 1), ("thank you all", 1), ("thank you all very much", 3), ("a a a a a a", 1)],
)
def test_a_text_shorter_than_a_shingle_is_one_shingle(text: str, count: int) -> None:
    flat = shingle(tokenise(normalised(pl.Series([text]))), size=3)
    assert flat.lengths.tolist() == [count]


def test_short_texts_share_no_shingle_unless_they_are_equal() -> None:
    flat = shingle(tokenise(normalised(pl.Series(["ok", "ok thanks", "thanks ok", "thanks", "OK!"]))), size=3)
    assert flat.lengths.tolist() == [1, 1, 1, 1, 1]
    assert flat.values[0] == flat.values[4]
    assert len(set(flat.values[:4].tolist())) == 4


def test_shingles_do_not_run_over_the_end_of_a_text() -> None:
    alone = shingle(tokenise(pl.Series(["one two three four"])), size=3)
    among = shingle(tokenise(pl.Series(["zero", "one two three four", "five six seven"])), size=3)
    assert among.values[among.offsets[1] : among.offsets[2]].tolist() == alone.values.tolist()


def test_distinct_sorts_within_a_row_and_keeps_empty_rows() -> None:
    flat = Flat(np.array([3, 1, 3, 9, 2, 2], dtype=np.uint64), np.array([0, 3, 3, 6]))
    found = distinct(flat)
    assert found.values.tolist() == [1, 3, 2, 9]
    assert found.offsets.tolist() == [0, 2, 2, 4]
