"""What holds for all builders of texts about pictures: nothing lost, no ties, no influence of order, none torn."""

from __future__ import annotations

import json
from itertools import combinations
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from picture_texts import SCHEMA, said, table, text_of

from prefdata.build.built import REASONS, Built
from prefdata.build.hard_negatives import KINDS, Negatives, negative_pairs, negative_rows, negatives
from prefdata.build.image_text import (
    Bands,
    examples,
    labelled,
    pairs_by_feedback,
    pairs_by_rating,
    pairs_by_relevance,
    with_questions,
)

ANSWERS = st.sampled_from(
    ["a red ring", "a blue ring", "A red ring.", "two dogs on the left", "三个红色圆形", "三个蓝色圆形", "", "no"]
)
PICTURES = st.sampled_from(["", "a", "a", "b", "c", "ab"])
RELEVANCE = st.sampled_from([None, float("nan"), 0.0, 0.1, 0.2, 0.3, 0.9])
CLUSTERS = pl.DataFrame({"uri": ["pictures/b.png", "pictures/c.png"], "cluster": "pictures/b.png"})


@st.composite
def rows(draw: st.DrawFn) -> tuple[pl.DataFrame, list[int]]:
    made = [
        said(
            f"{at:02d}",
            draw(PICTURES),
            draw(ANSWERS),
            question=draw(st.sampled_from(["", "What?"])),
            label=draw(st.sampled_from([True, False, None])),
            relevance=draw(RELEVANCE),
        )
        for at in range(draw(st.integers(0, 7)))
    ]
    return table(made), draw(st.permutations(range(len(made))))


def holds(built: Built, again: Built, frame: pl.DataFrame) -> None:
    """What is true of all results; `again` was built of the same rows in another order."""
    assert again.rows.equals(built.rows)
    assert again.unmade.equals(built.unmade)
    assert set(built.counts()) <= set(REASONS)
    assert built.rows["id"].is_unique().all()
    assert all(len(reasons) > 0 for reasons in built.unmade["reasons"].to_list())
    evidence = [json.loads(one) for one in built.rows["evidence"]]
    named = {one.get(name) for one in evidence for name in ("caption", "chosen", "rejected")}
    told = {*built.rows["id"], *named, *built.unmade["id"], *built.unmade["other"]}
    assert set(frame["id"]) <= told
    groups = built.rows.select("group", "images").rows()
    for (group, images), (other, others) in combinations(groups, 2):
        if {one["uri"] for one in images} & {one["uri"] for one in others}:
            assert group == other
    if "chosen" in built.rows.columns:
        assert (
            built.rows.filter(text_of("chosen").str.strip_chars() == text_of("rejected").str.strip_chars()).height == 0
        )


def sft(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.drop("label", "label_confidence", "label_sources")


@settings(max_examples=4, deadline=None)
@given(rows(), st.sampled_from([None, Bands(), Bands(0.3, 0.1), Bands(0.1, 0.2), Bands(None, 0.0)]), st.booleans())
def test_examples_and_labels(case: tuple[pl.DataFrame, list[int]], bands: Bands | None, flag: bool) -> None:
    frame, order = case
    asked = with_questions(frame)
    built = examples(sft(asked), bands=bands)
    holds(built, examples(sft(asked[order]), bands=bands), frame)
    assert sorted([*built.rows["id"], *built.unmade["id"]]) == sorted(frame["id"])
    built = labelled(asked, bands=bands, check_feedback=flag, trusted=not flag)
    holds(built, labelled(asked[order], bands=bands, check_feedback=flag, trusted=not flag), frame)
    assert sorted([*built.rows["id"], *built.unmade["id"]]) == sorted(frame["id"])
    assert built.rows["label"].null_count() == 0
    given_labels = dict(frame.select("id", "label").drop_nulls().rows())
    assert all(given_labels.get(name, label) == label for name, label in built.rows.select("id", "label").rows())


@settings(max_examples=4, deadline=None)
@given(rows(), st.sampled_from(["all_pairs", "best_worst", "best_random"]), st.sampled_from([0.0, 0.1, 0.5]))
def test_pairs(case: tuple[pl.DataFrame, list[int]], policy: Any, margin: float) -> None:
    frame, order = case
    frame = with_questions(frame)
    built = pairs_by_relevance(frame, policy=policy, min_margin=margin)
    holds(built, pairs_by_relevance(frame[order], policy=policy, min_margin=margin), frame)
    for one in map(json.loads, built.rows["evidence"]):
        assert one["chosen_relevance"] - one["rejected_relevance"] >= max(margin, 1e-9) - 1e-9
    rated = frame.rename({"relevance": "rating"})
    holds(pairs_by_rating(rated, policy=policy), pairs_by_rating(rated[order], policy=policy), frame)
    built = pairs_by_feedback(frame, max_uses=1)
    holds(built, pairs_by_feedback(frame[order], max_uses=1), frame)
    label = dict(frame.select("id", "label").rows())
    picture = dict(frame.select("id", pl.col("images").list.eval(pl.element().struct.field("uri"))).rows())
    used: list[str] = []
    for one in map(json.loads, built.rows["evidence"]):
        assert label[one["chosen"]] is True
        assert label[one["rejected"]] is False
        assert picture[one["chosen"]] == picture[one["rejected"]]
        used += [one["chosen"], one["rejected"]]
    assert len(used) == len(set(used))


def form(text: str) -> str:
    return text.casefold().strip(" .")


def by_length(frame: pl.DataFrame) -> pl.Series:
    """A relevance that judges some texts and others not."""
    lengths = frame.select(text_of("completion")).to_series().str.len_chars()
    return pl.select(pl.when(lengths % 5 != 0).then((lengths % 7).cast(pl.Float64) / 10)).to_series()


@settings(max_examples=5, deadline=None)
@given(rows(), st.integers(1, 5), st.booleans(), st.sampled_from([None, Bands(0.2, 0.1)]), st.integers(0, 3))
def test_hard_negatives(
    case: tuple[pl.DataFrame, list[int]], each: int, scored: bool, bands: Bands | None, seed: int
) -> None:
    frame, order = case
    frame = with_questions(frame)

    def made(of: pl.DataFrame) -> Negatives:
        relevance = by_length if scored else None
        return negatives(sft(of), each=each, clusters=CLUSTERS, relevance=relevance, bands=bands, seed=seed)

    found = made(frame)
    for build in (negative_pairs, negative_rows):
        holds(build(sft(frame), found), build(sft(frame[order]), made(frame[order])), frame)
    # every caption with every kind is a row or has its reasons
    kinds = [*found.made.select("id", "kind").rows(), *found.unmade.drop_nulls("part").select("id", "part").rows()]
    whole = found.unmade.filter(pl.col("part").is_null())["id"].to_list()
    assert sorted(kinds) == sorted((one, kind) for one in set(frame["id"]) - set(whole) for kind in KINDS)
    assert all(number <= each for number in found.made.group_by("id").len()["len"])
    # never what is said of the same picture, or of a duplicate of it
    known = dict(CLUSTERS.rows())
    pictures = {
        name: {known.get(one["uri"], one["uri"]) for one in images or []}
        for name, images in frame.select("id", "images").rows()
    }
    texts = dict(frame.select("id", text_of("completion")).rows())
    for name, kind, text, other in found.made.select("id", "kind", "text", "other").iter_rows():
        same = {form(texts[one]) for one, shown in pictures.items() if shown & pictures[name]}
        assert form(text) not in same
        assert (other is None) == (kind != "other_picture")
        assert other is None or (text == texts[other] and not pictures[other] & pictures[name])
    told = [json.loads(one) for one in found.made["told"]]
    assert all(("lists" in one) != ("similarity" in one) for one in told)
    labels = negative_rows(sft(frame), found).rows
    assert not labels["label"].any()
    assert labels["meta"].str.json_path_match("$.hard_negative").null_count() == 0
    assert set(SCHEMA) >= set(labels.columns)
