"""Examples, labels and pairs of texts about pictures, by ratings, feedback and relevance."""

from __future__ import annotations

import json

import polars as pl
import pytest
from picture_texts import captions, said, table, text_of

from prefdata.build.image_text import (
    QUESTIONS,
    Bands,
    bands_of,
    examples,
    labelled,
    pairs_by_feedback,
    pairs_by_rating,
    pairs_by_relevance,
    with_questions,
)
from prefdata.build.image_text_settings import ImageTextSettings
from prefdata.build.picture_keys import MARK, picture_groups
from prefdata.errors import InputError, RecipeError
from prefdata.formats.messages import MARK as OF_FORMATS
from prefdata.schema import RecordType


def test_the_mark_of_a_picture_is_that_of_the_formats() -> None:
    assert MARK == OF_FORMATS


# ------------------------------------------------------------------------------------------------------------ questions


def test_a_caption_is_asked_for_after_its_picture_and_a_question_stays() -> None:
    rows = table(
        [
            said("1", "a", "a red ring"),
            said("2", "a", "a ring"),
            said("3", "b", "yes", question="Is it red?"),
            said("4", "", "yes"),
            said("5", "c", "一个红圆"),
            said("6", "d", "a dot", question="Describe the picture."),
        ]
    )
    found = with_questions(rows, questions=["What is it?", "这是什么？"], defaults=["Describe the picture."])
    assert found.select("id", text_of("prompt")).rows() == [
        ("1", f"{MARK}What is it?"),
        ("2", f"{MARK}What is it?"),
        ("3", f"{MARK}Is it red?"),
        ("4", ""),
        ("5", f"{MARK}这是什么？"),
        ("6", f"{MARK}What is it?"),
    ]
    assert found["question"].to_list() == ["What is it?", "What is it?", None, None, "这是什么？", "What is it?"]
    assert with_questions(rows, questions=[])["question"].null_count() == 6


def test_captions_of_one_picture_answer_one_question_and_pictures_differ() -> None:
    found = with_questions(captions(*["a dot"] * 16))
    asked = found.select(text_of("prompt")).to_series().str.strip_prefix(MARK)
    assert 1 < asked.n_unique() <= 4
    assert set(asked) <= set(QUESTIONS)
    again = with_questions(table([said("x", "a", "another")]))["question"][0]
    assert again == found["question"][0]


def test_pictures_are_numbered_anew_where_a_question_takes_the_place_of_words() -> None:
    row = said("1", "ab", "two", question="Describe the picture.")
    row["images"] = [{**one, "part": 2 * at + 1} for at, one in enumerate(row["images"])]
    row["prompt"][0]["content"] = f"Describe the {MARK}picture.{MARK}"
    found = with_questions(table([row]), questions=["What?"], defaults=["Describe the  picture."])
    assert found.select(text_of("prompt")).item() == f"{MARK}{MARK}What?"
    assert [one["part"] for one in found["images"][0]] == [0, 1]


# ---------------------------------------------------------------------------------------------------------------- bands


def test_bands_are_numbers_of_the_judged_texts_and_the_stricter_bound_holds() -> None:
    scores = pl.Series([0.1, 0.2, 0.3, 0.4, None, float("nan")])
    assert bands_of(scores, relevant_min_percentile=100, irrelevant_max_percentile=0) == Bands(0.4, 0.1)
    assert bands_of(scores, relevant_min=0.35, relevant_min_percentile=50) == Bands(0.35, None)
    assert bands_of(scores, irrelevant_max=0.15, irrelevant_max_percentile=50) == Bands(None, 0.15)
    assert bands_of(scores.clear(), relevant_min_percentile=50) == Bands(None, None)


@pytest.mark.parametrize(
    ("relevance", "label", "reason"),
    [
        (0.3, True, None),
        (0.2999, None, "relevance_between_bands"),
        (0.1001, None, "relevance_between_bands"),
        (0.1, False, None),
        (None, None, "unjudged_relevance"),
        (float("nan"), None, "unjudged_relevance"),
    ],
)
def test_a_label_by_relevance_is_inclusive_at_both_bounds(
    relevance: float | None, label: bool | None, reason: str | None
) -> None:
    built = labelled(table([said("1", "a", "a dot", relevance=relevance)]), bands=Bands(0.3, 0.1))
    assert built.rows["label"].to_list() == ([] if label is None else [label])
    assert built.counts() == ({} if reason is None else {reason: 1})
    if label is not None:
        assert json.loads(built.rows["evidence"][0]) == {
            "by": "relevance", "relevance": relevance, "relevant_min": 0.3, "irrelevant_max": 0.1,
        }  # fmt: skip
        assert built.rows["label_sources"].to_list() == [["relevance"]]
        assert built.rows["label_confidence"].to_list() == [None]


def test_a_relevance_that_lies_in_both_bands_labels_nothing() -> None:
    rows = table([said("1", "a", "a dot", relevance=0.2), said("2", "a", "a ring", relevance=0.5)])
    built = labelled(rows, bands=Bands(0.2, 0.3))
    assert built.rows.select("id", "label").rows() == [("2", True)]
    assert built.counts() == {"relevance_between_bands": 1}


def test_feedback_labels_and_may_be_checked_against_relevance() -> None:
    rows = table(
        [
            said("1", "a", "right", label=True, relevance=0.05),
            said("2", "a", "wrong", label=False, relevance=0.9),
            said("3", "a", "nothing", label=None, relevance=0.9),
            said("4", "", "blind", label=True),
            said("5", "a", " ", label=True),
        ]
    )
    built = labelled(rows)
    assert built.rows.select("id", "label").rows() == [("1", True), ("2", False)]
    assert built.counts() == {"abstained": 1, "empty_completion": 1, "no_picture": 1}
    assert [json.loads(one)["by"] for one in built.rows["evidence"]] == ["feedback", "feedback"]
    checked = labelled(rows, bands=Bands(None, 0.1), check_feedback=True)
    assert checked.counts()["contradicts_relevance"] == 1
    assert checked.rows["id"].to_list() == ["2"]


def test_trusted_captions_are_desirable_where_there_are_no_bands() -> None:
    built = labelled(captions("a dot", "a ring"), trusted=True)
    assert built.rows["label"].to_list() == [True, True]
    assert built.rows["label_sources"].to_list() == [["caption"]] * 2


def test_examples_are_those_that_are_relevant_or_unjudged() -> None:
    rows = table([said(str(at), "a", f"dot {at}", relevance=one) for at, one in enumerate([0.3, 0.2999, None])])
    built = examples(rows.drop("label", "label_confidence", "label_sources"), bands=Bands(0.3, 0.1))
    assert built.rows["id"].to_list() == ["0", "2"]
    assert built.counts() == {"low_relevance": 1}


# ---------------------------------------------------------------------------------------------------------------- pairs


def test_the_relevant_answer_is_chosen_against_the_irrelevant_by_a_margin() -> None:
    rows = table(
        [
            said("1", "a", "a red ring", relevance=0.31),
            said("2", "a", "a green ring", relevance=0.22),
            said("3", "a", "a dog", relevance=0.02),
            said("4", "b", "a dot", relevance=0.3),
            said("5", "b", "a spot", relevance=0.3),
            said("6", "c", "a dot", relevance=0.30),
            said("7", "c", "a ring", relevance=0.26),
            said("8", "d", "一个圆", relevance=None),
        ]
    )
    built = pairs_by_relevance(rows, min_margin=0.05, scorer="clip")
    assert built.rows.select(text_of("chosen"), text_of("rejected")).rows() == [("a red ring", "a dog")]
    assert round(built.rows["margin"][0], 4) == 0.29
    assert json.loads(built.rows["evidence"][0]) == {
        "by": "relevance", "scorer": "clip", "policy": "best_worst", "chosen": "1", "rejected": "3",
        "chosen_relevance": 0.31, "rejected_relevance": 0.02,
    }  # fmt: skip
    assert built.counts() == {"margin_below_min": 1, "not_drawn": 1, "tied_relevance": 1, "unjudged_relevance": 1}
    strict = pairs_by_relevance(rows, min_margin=0.0, bands=Bands(0.31, None))
    assert strict.rows.height == 1
    assert strict.counts()["low_relevance"] == 2  # the tied pair, too


def test_answers_to_two_questions_or_of_two_pictures_are_no_pair() -> None:
    rows = table(
        [
            said("1", "a", "red", question="Colour?", relevance=0.9),
            said("2", "a", "round", question="Form?", relevance=0.1),
            said("3", "b", "blue", question="Colour?", relevance=0.1),
        ]
    )
    assert pairs_by_relevance(rows).counts() == {"only_answer": 3}


def test_helpful_answers_are_paired_with_unhelpful_ones_of_the_same_picture() -> None:
    rows = table(
        [
            said("1", "a", "red", question="Colour?", label=True),
            said("2", "a", "blue", question="Colour?", label=False),
            said("3", "a", "green", question="Colour?", label=False),
            said("4", "a", "black", question="Colour?", label=False),
            said("5", "b", "blue", question="Colour?", label=True),
            said("6", "b", "pink", question="Colour?", label=None),
        ]
    )
    built = pairs_by_feedback(rows, max_uses=2)
    assert set(built.rows.select(text_of("chosen")).to_series()) == {"red"}
    assert built.rows.height == 2
    assert built.counts() == {"abstained": 1, "only_answer": 1, "over_cap": 1, "tied_rating": 3}
    with pytest.raises(InputError, match="max_uses: 0"):
        pairs_by_feedback(rows, max_uses=0)


def test_rated_answers_about_one_picture_become_pairs() -> None:
    rows = table(
        [said("1", "a", "red", relevance=5), said("2", "a", "blue", relevance=1), said("3", "", "x", relevance=1)]
    )
    built = pairs_by_rating(rows.rename({"relevance": "rating"}))
    assert built.rows.select(text_of("chosen"), text_of("rejected"), "margin").rows() == [("red", "blue", 4.0)]
    assert built.counts() == {"no_picture": 1}


# --------------------------------------------------------------------------------------------------------------- groups


def test_rows_that_share_a_picture_or_a_duplicate_are_one_group() -> None:
    rows = table(
        [said("1", "a", "x"), said("2", "ab", "x"), said("3", "b", "x"), said("4", "c", "x"), said("5", "d", "x")]
    )
    groups = picture_groups(rows)
    assert groups[0] == groups[1] == groups[2]
    assert groups.n_unique() == 3
    clusters = pl.DataFrame({"uri": ["pictures/c.png", "pictures/d.png"], "cluster": "pictures/c.png"})
    assert picture_groups(rows, clusters).n_unique() == 2
    assert picture_groups(rows)[3] == picture_groups(rows[3:4])[0]  # whatever other rows there are
    tied = table([said("1", "a", "x", group="g"), said("2", "b", "x", group="g")])
    assert picture_groups(tied).n_unique() == 1


# ------------------------------------------------------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"relevant_min": 0.2}, "relevant_min: speaks of relevance"),
        ({"relevance": "clip", "relevant_min": 0.2, "irrelevant_max": 0.2}, "irrelevant_max: 0.2, expected less"),
        ({"relevance": "clip", "relevant_min_percentile": 101}, "relevant_min_percentile: 101"),
        ({"relevance": "clip", "check_feedback": True}, "check_feedback: needs irrelevant_max"),
        ({"min_margin": -1}, "min_margin: -1"),
        ({"negatives_each": 0}, "negatives_each: 0"),
        ({"negatives": ("colour", "colour")}, "negatives: each kind once"),
        ({"questions": ("",)}, "questions: one is empty"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, object], fault: str) -> None:
    with pytest.raises(RecipeError, match=fault):
        ImageTextSettings(**settings)  # type: ignore[arg-type]


def test_captions_become_what_the_section_asks_for() -> None:
    nothing = ImageTextSettings()
    banded = ImageTextSettings(relevance="clip", relevant_min=0.2)
    wrong = ImageTextSettings(negatives=("colour",))
    reached = [
        [one.reaches(RecordType.SFT, to) for to in (RecordType.UNPAIRED, RecordType.PREFERENCE, RecordType.PROMPT)]
        for one in (nothing, banded, wrong)
    ]
    assert reached == [[False, False, False], [True, True, False], [True, True, False]]
    assert not wrong.reaches(RecordType.PROMPT, RecordType.UNPAIRED)
