"""Wrong answers that are made of true captions: what is made, what is never made, and how it is labelled."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import polars as pl
import pytest
from picture_texts import captions, said, table, text_of

from prefdata import building
from prefdata.build.attribute_words import VERSION
from prefdata.build.hard_negatives import Negatives, negative_pairs, negative_rows, negatives
from prefdata.build.image_text import Bands
from prefdata.errors import InputError
from prefdata.recipe import parse
from prefdata.schema import RecordType


def texts(found: Negatives) -> list[tuple[str, str, str]]:
    return found.made.select("id", "kind", "text").rows()


def reasons(found: Negatives) -> list[tuple[str, str | None, list[str]]]:
    return found.unmade.select("id", "part", "reasons").rows()


def test_a_pair_says_what_was_changed_and_by_which_lists() -> None:
    rows = captions("two cats on the left").with_columns(meta=pl.lit('{"file":"x"}'))
    found = negatives(rows, kinds=["position"])
    (pair,) = negative_pairs(rows, found).rows.to_dicts()
    assert pair["chosen"][0]["content"] == "two cats on the left"
    assert pair["rejected"][0]["content"] == "two cats on the right"
    assert pair["rejected"][0]["role"] == "assistant"
    assert json.loads(pair["evidence"]) == {
        "by": "hard_negative", "kind": "position", "caption": "00",
        "how": {"from": "left", "to": "right", "at": 16, "language": "en", "lists": VERSION},
    }  # fmt: skip
    assert json.loads(pair["meta"]) == {"file": "x", "hard_negative": "position"}
    (row,) = negative_rows(rows, found).rows.to_dicts()
    assert (row["label"], row["label_sources"], row["label_confidence"]) == (False, ["hard_negative"], None)
    assert row["completion"][0]["content"] == "two cats on the right"
    assert row["id"] != pair["id"]


def test_a_change_never_says_what_another_caption_of_the_picture_says() -> None:
    colours = ["green", "blue", "yellow", "purple", "black", "white", "grey", "orange", "pink", "brown"]
    rows = table([said("0", "a", "a red ring"), *(said(one, "a", f"{one} and more") for one in colours)])
    found = negatives(rows, kinds=["colour"])
    assert ("0", "colour", ["swap_is_true"]) in reasons(found)
    rows = table([said("0", "a", "a cat on the left"), said("1", "a", "A cat on the right!")])
    assert reasons(negatives(rows, kinds=["position"])) == [
        ("0", "position", ["swap_is_true"]),
        ("1", "position", ["swap_is_true"]),
    ]


def test_duplicates_share_their_captions_and_are_no_near_pictures() -> None:
    rows = captions("two red rings", "three red rings")
    alone = negatives(rows, kinds=["other_picture"])
    assert texts(alone) == [("00", "other_picture", "three red rings"), ("01", "other_picture", "two red rings")]
    clusters = pl.DataFrame({"uri": ["pictures/a.png", "pictures/b.png"], "cluster": "pictures/a.png"})
    found = negatives(rows, kinds=["other_picture", "number"], clusters=clusters, each=2)
    assert ("00", "other_picture", ["no_near_picture"]) in reasons(found)
    assert all(kind == "number" and "two" not in text and "three" not in text for _, kind, text in texts(found))


def test_a_row_of_several_pictures_shares_what_is_said_of_each_of_them() -> None:
    rows = table(
        [said("0", "a", "two red rings"), said("1", "ab", "three red rings"), said("2", "ba", "six red rings")]
    )
    found = negatives(rows, kinds=["other_picture", "number"], each=2)
    assert [one for one in reasons(found) if one[1] == "other_picture"] == [
        (name, "other_picture", ["no_near_picture"]) for name in "012"
    ]
    assert not {text.split()[0] for *_, text in texts(found)} & {"two", "three", "six"}


def test_the_nearest_caption_that_says_something_else_is_taken() -> None:
    rows = captions(
        "a dog on a red sofa", "a cat on a red sofa", "a picture of a dog on a red sofa", "two boats at sea"
    )
    found = {name: text for name, _, text in texts(negatives(rows, kinds=["other_picture"]))}
    assert found["00"] == "a cat on a red sofa"
    alone = negatives(captions("a dog on a sofa", "the dog on the sofa in this picture"), kinds=["other_picture"])
    assert [one for *_, one in reasons(alone)] == [["may_be_true"]] * 2


def test_answers_to_another_question_are_not_near() -> None:
    rows = table([said("0", "a", "a red ring", question="What?"), said("1", "b", "a red dot", question="Where?")])
    assert [one for *_, one in reasons(negatives(rows, kinds=["other_picture"]))] == [["no_near_picture"]] * 2


@pytest.mark.parametrize(
    ("other", "made", "reason"),
    [
        (0.5, 1, None),
        (0.8, 1, None),
        (0.81, 0, "near_is_relevant"),
        (0.95, 0, "near_is_relevant"),
        (None, 0, "unjudged_relevance"),
    ],
)
def test_a_near_caption_fits_less_than_the_own_by_the_margin(
    other: float | None, made: int, reason: str | None
) -> None:
    rows = captions("two red rings", "three red rings").with_columns(relevance=pl.Series([0.9, 0.1]))
    found = negatives(
        rows,
        kinds=["other_picture"],
        relevance=lambda asked: pl.Series([other] * asked.height, dtype=pl.Float64),
        min_margin=0.1,
        bands=Bands(0.2, None),
    )
    assert found.made.height == 0  # the only other caption is not true of its own picture
    assert reasons(found) == [("00", "other_picture", ["no_near_picture"]), ("01", None, ["low_relevance"])]
    rows = rows.with_columns(relevance=pl.Series([0.9, 0.9]))
    found = negatives(
        rows,
        kinds=["other_picture"],
        relevance=lambda asked: pl.Series([other] * asked.height, dtype=pl.Float64),
        min_margin=0.1,
    )
    assert found.made.height == 2 * made
    assert [one for *_, one in reasons(found)] == ([[reason]] * 2 if reason else [])
    if made:
        assert json.loads(found.made["told"][0]) == {"similarity": 0.4286, "relevance": 0.9, "other_relevance": other}


@pytest.mark.parametrize(
    ("own", "made", "reason"),
    [(0.1, 0.9, "near_is_relevant"), (0.9, 0.8, None), (0.9, 0.81, "near_is_relevant"), (0.9, None, None)],
)
def test_a_changed_word_is_not_made_where_it_puts_a_wrong_caption_right(
    own: float, made: float | None, reason: str | None
) -> None:
    rows = captions("a ring on the left").with_columns(relevance=pl.lit(own))
    found = negatives(
        rows,
        kinds=["position"],
        relevance=lambda asked: pl.Series([made] * asked.height, dtype=pl.Float64),
        min_margin=0.1,
    )
    assert [text for *_, text in texts(found)] == ([] if reason else ["a ring on the right"])
    assert [one for *_, one in reasons(found)] == ([[reason]] if reason else [])
    assert all(json.loads(one).get("swap_relevance") == made for one in found.made["told"])


def test_of_the_compared_the_one_that_fits_best_is_taken() -> None:
    rows = captions("two red rings here", "three red rings here", "four red rings here")
    rows = rows.with_columns(relevance=pl.lit(0.9))

    def scores(asked: pl.DataFrame) -> pl.Series:
        return asked.select(pl.when(text_of("completion").str.starts_with("four")).then(0.6).otherwise(0.3)).to_series()

    found = negatives(rows, kinds=["other_picture"], relevance=scores)
    assert texts(found)[0] == ("00", "other_picture", "four red rings here")


def test_which_kind_is_made_hangs_on_the_caption_alone() -> None:
    rows = captions("two red rings on the left", "three blue cats on the right", "one black dog at the top")
    kinds = ["colour", "number", "position", "object"]
    whole, first = negatives(rows, kinds=kinds), negatives(rows[:1], kinds=kinds)
    assert [one[:2] for one in texts(whole)][:1] == [one[:2] for one in texts(first)]
    assert whole.unmade["reasons"].explode().value_counts().rows() == [("kind_not_drawn", 9)]
    assert negatives(rows, kinds=kinds, each=4).made.height == 12
    drawn = {tuple(texts(negatives(rows, kinds=kinds, seed=seed))) for seed in range(6)}
    assert len(drawn) > 1


def test_words_are_put_in_as_often_as_true_texts_state_them_and_none_that_they_do_not() -> None:
    colours = ["red"] * 40 + ["blue"] * 40 + ["green"] * 8
    rows = table([said(f"{at:03d}", [f"p{at}"], f"a {colour} ring") for at, colour in enumerate(colours)])
    found = negatives(rows, kinds=["colour", "object"], each=2).made.with_columns(
        old=pl.col("told").str.json_path_match("$.from"), drawn=pl.col("told").str.json_path_match("$.drawn")
    )
    made = Counter(found.filter(kind="colour", old="a red")["text"].str.split(" ").list.get(1))
    assert set(made) == {"blue", "green"}
    assert made["blue"] >= 28  # 40 in 48 is 33
    assert set(found.filter(kind="colour")["drawn"]) == {"texts"}
    # nothing but rings is spoken of: any of the list but what a ring may be called
    assert set(found.filter(kind="object")["drawn"]) == {"list"}
    assert found.filter(kind="object")["text"].str.split(" ").list.last().n_unique() == 7


def test_settings_out_of_bounds_are_refused() -> None:
    with pytest.raises(InputError, match="each 0"):
        negatives(captions("a dog"), each=0)


def test_in_a_run_the_same_question_about_two_pictures_makes_no_pair() -> None:
    asked = "Is this lamp red, and where does it stand in the room?"
    rows = table(
        [
            said("0", "a", "Yes, it is red, on the left.", question=asked, label=True, group="g"),
            said("1", "b", "I do not know about that.", question=asked, label=False, group="h"),
            said("2", "a", "Nobody here can say so.", question=asked, label=False, group="g"),
        ]
    ).drop("relevance")
    text = "name: x\nsources: [{name: s, path: x.jsonl, format: trl}]\ntype: preference\n"
    made = building.made(rows, RecordType.UNPAIRED, parse(text, root=Path()), RecordType.PREFERENCE, source="s")
    assert made.rows.select(text_of("chosen"), text_of("rejected")).rows() == [
        ("Yes, it is red, on the left.", "Nobody here can say so.")
    ]
    assert building.counts(made.unmade) == {"only_answer": 1}
