"""Near-duplicates: verified on both sides, safe for short texts and Chinese, independent of order and shards."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefdata.dedup.near import NearDuplicates
from prefdata.dedup.shingles import normalised
from prefdata.errors import RecipeError

QUESTION = "Hello, I bought a kettle from your shop last week and it does not heat, can I get my money back please?"
ANSWER = "I am sorry to hear that. Please send the kettle back with the label in the box and we will look into it."


def rows(*records: tuple[str, str, str]) -> pl.DataFrame:
    return pl.DataFrame(
        list(records), schema={"id": pl.String, "customer": pl.String, "reply": pl.String}, orient="row"
    )


def edges(frame: pl.DataFrame, **settings: object) -> pl.DataFrame:
    grouping = NearDuplicates(**settings).build()
    return grouping.edges(grouping.keys(frame))


def test_similarity_is_the_lower_of_both_sides() -> None:
    # 23 words are 21 shingles; another last word changes one of them: 20 in both, 22 in either
    reply = ANSWER.replace("look into it.", "look into that.")
    found = edges(rows(("a", QUESTION, ANSWER), ("b", QUESTION, reply)))
    assert found.columns == ["left", "right", "similarity", "reply_similarity", "customer_similarity"]
    left, right, similarity, reply_similarity, customer_similarity = found.row(0)
    assert (left, right, customer_similarity) == ("a", "b", 1.0)
    assert similarity == reply_similarity == pytest.approx(20 / 22)
    assert found.schema["similarity"] == pl.Float32


def test_the_same_reply_to_another_question_is_no_duplicate() -> None:
    assert edges(rows(("a", QUESTION, ANSWER), ("b", "Where is my parcel?", ANSWER))).height == 0


def test_opposite_answers_after_one_long_question_are_no_duplicates() -> None:
    frame = rows(("a", QUESTION, "yes, we will refund you"), ("b", QUESTION, "no, we will not refund you"))
    assert edges(frame).height == 0


def test_short_texts_are_duplicates_only_when_they_are_equal() -> None:
    frame = rows(
        *((f"{i}", "", text) for i, text in enumerate(["ok", "OK.", "thanks", "thank you", "?", "!", "👍", "👎"]))
    )
    assert edges(frame).select("left", "right", "similarity").rows() == [("0", "1", 1.0)]


def test_chinese_without_spaces_is_compared_by_characters() -> None:
    one = "您好，您的订单已经从仓库发出，预计明天下午可以送到，请您注意查收。"
    frame = rows(
        ("a", "", one),
        ("b", "", one.replace("您好", "你好")),
        ("c", "", "抱歉，这款商品目前没有库存，建议您看看其他款式。"),
    )
    found = edges(frame)
    assert found.select("left", "right").rows() == [("a", "b")]
    # 29 characters are 27 shingles; "您好" -> "你好" changes the first only
    assert found["similarity"][0] == pytest.approx(26 / 28)


def test_two_empty_customer_turns_are_equal_and_one_is_not() -> None:
    frame = rows(("a", "", ANSWER), ("b", "", ANSWER), ("c", "Hi", ANSWER))
    assert edges(frame).select("left", "right", "customer_similarity").rows() == [("a", "b", 1.0)]


def test_rows_without_any_text_never_match() -> None:
    assert edges(rows(("a", "", ""), ("b", " ", ""))).height == 0


def test_pseudonyms_compare_by_type_only() -> None:
    frame = rows(("a", "", "We wrote to <EMAIL_1> today."), ("b", "", "We wrote to <EMAIL_9> today."))
    assert edges(frame)["similarity"].to_list() == [1.0]


def test_many_copies_give_a_star_at_the_smallest_id() -> None:
    frame = rows(*((f"{i:03d}", QUESTION, ANSWER) for i in range(200)))
    found = edges(frame)
    assert found["left"].unique().to_list() == ["000"]
    assert found.height == 199


def test_groups_name_their_smallest_id_and_each_rows_best_similarity() -> None:
    reply = ANSWER.replace("look into it.", "look into that.")
    frame = rows(("c", QUESTION, ANSWER), ("b", QUESTION, reply), ("a", QUESTION, ANSWER), ("z", "", "Bye."))
    grouping = NearDuplicates().build()
    found = grouping.groups(grouping.edges(grouping.keys(frame)))
    assert found.select("id", "cluster", "size").rows() == [("a", "a", 3), ("b", "a", 3), ("c", "a", 3)]
    assert found["similarity"].to_list() == pytest.approx([1.0, 20 / 22, 1.0])


def test_edges_are_kept_from_one_half_on_whatever_the_threshold() -> None:
    reply = ANSWER.replace("with the label", "using the note")
    found = edges(rows(("a", "", ANSWER), ("b", "", reply)), min_similarity=0.9, bands=60, rows=2)
    assert 0.5 <= found["similarity"][0] < 0.9


def test_a_refused_pair_is_counted_and_no_edge() -> None:
    frame = rows(("a", QUESTION, ANSWER), ("b", QUESTION, ANSWER.replace("we will look", "we will never look")))
    grouping = NearDuplicates().build()
    compared = grouping.compare(grouping.keys(frame))
    assert (compared.edges.height, compared.report["refused"], compared.refused.height) == (0, 1, 1)


def test_keys_hold_no_text_and_one_row_a_band() -> None:
    keys = NearDuplicates().build().keys(rows(("a", QUESTION, ANSWER), ("b", "", "")))
    assert keys.schema == {"id": pl.String, "key": pl.UInt64, "features": pl.Binary}
    assert keys["id"].to_list() == ["a"] * 20
    assert b"kettle" not in keys["features"][0]


def test_no_rows_give_no_edges() -> None:
    grouping = NearDuplicates().build()
    keys = grouping.keys(rows())
    assert keys.columns == ["id", "key", "features"]
    assert grouping.edges(keys).height == 0
    assert grouping.groups(grouping.edges(keys)).height == 0


def test_thresholds_are_no_part_of_what_edges_depend_on() -> None:
    strict, loose = NearDuplicates(min_similarity=0.95).build(), NearDuplicates(min_similarity=0.6).build()
    assert strict.parameters() == loose.parameters()
    assert strict.parameters() != NearDuplicates(shingle_words=5).build().parameters()
    assert (strict.min_similarity, loose.min_similarity) == (0.95, 0.6)


def test_all_faults_of_the_settings_are_told_at_once() -> None:
    with pytest.raises(RecipeError) as caught:
        NearDuplicates(min_similarity=0.2, shingle_words=0, bands=40).build()
    assert len(caught.value.faults) == 3


VOCABULARY = "refund order kettle box label send back please thank you 退 款 谢 <EMAIL_1> <EMAIL_2> not 5"
WORDS = st.sampled_from(VOCABULARY.split(" "))
TEXT = st.lists(WORDS, max_size=9).map(" ".join)


@settings(max_examples=30)
@given(st.lists(st.tuples(TEXT, TEXT), min_size=2, max_size=12), st.randoms(use_true_random=False))
def test_edges_depend_neither_on_order_nor_on_shards(texts: list[tuple[str, str]], random: object) -> None:
    frame = rows(*((f"{i:02d}", customer, reply) for i, (customer, reply) in enumerate(texts)))
    grouping = NearDuplicates(bands=64, rows=2).build()
    whole = grouping.edges(grouping.keys(frame))

    order = list(range(frame.height))
    random.shuffle(order)  # type: ignore[attr-defined]
    cut = random.randrange(frame.height)  # type: ignore[attr-defined]
    mixed = frame[order]
    keys = pl.concat([grouping.keys(part) for part in (mixed.head(cut), mixed.tail(frame.height - cut))])
    assert grouping.edges(keys).equals(whole)

    buckets = [grouping.edges(keys.filter(pl.col("key") % 3 == part)) for part in range(3)]
    assert pl.concat(buckets).unique().sort("left", "right").equals(whole)


@settings(max_examples=60)
@given(st.text(max_size=20), st.text(max_size=20))
def test_any_text_equals_itself_and_only_empty_rows_have_no_edge(customer: str, reply: str) -> None:
    found = edges(rows(("a", customer, reply), ("b", customer, reply)))
    empty = all(not text for text in normalised(pl.Series([customer, reply])))
    assert found["similarity"].to_list() == ([] if empty else [1.0])


@settings(max_examples=30)
@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=8))
def test_a_pair_is_at_or_above_one_half_on_both_sides_and_in_order(texts: list[tuple[str, str]]) -> None:
    frame = rows(*((f"{i:02d}", customer, reply) for i, (customer, reply) in enumerate(texts)))
    found = edges(frame, bands=128, rows=1)
    assert found.filter(pl.col("left") >= pl.col("right")).height == 0
    assert (
        found.filter(pl.min_horizontal("reply_similarity", "customer_similarity") != pl.col("similarity")).height == 0
    )
    assert found.filter((pl.col("similarity") < 0.5) | (pl.col("similarity") > 1)).height == 0
