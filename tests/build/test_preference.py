"""Preference rows from ratings, rankings, verdicts and edits: which pairs are made, and why others are not."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from prefdata.build.preference import from_edits, from_rankings, from_ratings, from_verdicts
from prefdata.errors import InputError
from prefdata.schema import IMAGE


def text(side: str) -> pl.Expr:
    return pl.col(side).list.eval(pl.element().struct.field("content")).list.join(" | ")


def sides(rows: pl.DataFrame) -> list[tuple[str, str, str]]:
    return sorted(rows.select(text("prompt"), text("chosen"), text("rejected")).rows())


def rated(*rows: tuple[str, str, str, float | None]) -> pl.DataFrame:
    """id, prompt, answer, rating."""
    frame = pl.DataFrame(rows, schema=["id", "prompt", "answer", "rating"], orient="row", infer_schema_length=None)
    return frame.with_columns(source=pl.lit("s"), rating=pl.col("rating").cast(pl.Float64))


FOUR = (("1", "q", "A", 9.0), ("2", "q", "B", 5.0), ("3", "q", "C", 5.0), ("4", "q", "D", 2.0), ("5", "p", "E", 1.0))


# ------------------------------------------------------------------------------------------------------ ratings


def test_all_pairs_of_ratings_but_the_tied_one() -> None:
    built = from_ratings(rated(*FOUR))
    assert sides(built.rows) == [("q", "A", "B"), ("q", "A", "C"), ("q", "A", "D"), ("q", "B", "D"), ("q", "C", "D")]
    assert sorted(built.rows["margin"].to_list()) == [3.0, 3.0, 4.0, 4.0, 7.0]
    assert built.unmade.rows() == [("2", "3", None, ["tied_rating"]), ("5", None, None, ["only_answer"])]
    assert (
        '{"by":"rating","policy":"all_pairs","chosen":"1","rejected":"4","chosen_rating":9.0,"rejected_rating":2.0}'
        in (built.rows["evidence"].to_list())
    )


def test_best_against_worst() -> None:
    built = from_ratings(rated(*FOUR), policy="best_worst")
    assert sides(built.rows) == [("q", "A", "D")]
    assert built.counts() == {"not_drawn": 2, "only_answer": 1}


def test_best_against_one_that_is_worse_drawn_by_a_seed() -> None:
    found = {sides(from_ratings(rated(*FOUR), policy="best_random", seed=seed).rows)[0] for seed in range(20)}
    assert found == {("q", "A", "B"), ("q", "A", "C"), ("q", "A", "D")}
    best_tied = rated(("1", "q", "A", 5.0), ("2", "q", "B", 5.0), ("3", "q", "C", 1.0))
    assert sides(from_ratings(best_tied, policy="best_random").rows) == [("q", "A", "C")]


@pytest.mark.parametrize("policy", ["all_pairs", "best_worst", "best_random"])
def test_answers_that_are_all_tied_make_no_pair(policy: Any) -> None:
    built = from_ratings(rated(("1", "q", "A", 3.0), ("2", "q", "B", 3.0)), policy=policy)
    assert built.rows.height == 0
    assert built.unmade.rows() == [("1", "2", None, ["tied_rating"])]


@pytest.mark.parametrize(("least", "pairs"), [(0.0, 1), (0.1, 1), (0.1001, 0)])
def test_the_minimum_margin_is_inclusive(least: float, pairs: int) -> None:
    built = from_ratings(rated(("1", "q", "A", 0.3), ("2", "q", "B", 0.2)), min_margin=least)
    assert built.rows.height == pairs
    assert built.counts() == ({} if pairs else {"margin_below_min": 1})


def test_ratings_that_differ_by_rounding_only_are_tied() -> None:
    built = from_ratings(rated(("1", "q", "A", 0.1 + 0.2), ("2", "q", "B", 0.3)))
    assert built.unmade.rows() == [("1", "2", None, ["tied_rating"])]


def test_equal_answers_with_different_ratings_are_no_pair() -> None:
    built = from_ratings(rated(("1", "q", "same", 2.0), ("2", "q", "same ", 1.0)))
    assert built.rows.height == 0
    assert built.unmade.rows() == [("1", "2", None, ["equal_sides"])]


def test_answers_under_one_key_with_different_prompts_are_not_compared() -> None:
    rows = rated(("1", "q", "A", 2.0), ("2", "other", "B", 1.0)).with_columns(key=pl.lit("k"))
    built = from_ratings(rows)
    assert built.unmade.rows() == [("1", None, None, ["prompts_differ"]), ("2", None, None, ["prompts_differ"])]


def test_all_reasons_of_an_answer_are_given() -> None:
    built = from_ratings(rated(("1", "", " ", None), ("2", "q", "B", float("inf"))))
    assert built.unmade["reasons"].to_list() == [["empty_completion", "no_prompt", "no_rating"], ["no_rating"]]


def test_a_pair_carries_pictures_meta_and_one_group() -> None:
    def picture(uri: str, side: str) -> dict[str, Any]:
        return {"uri": uri, "side": side, "message": 0, "part": 0}

    rows = rated(("1", "q", "A", 2.0), ("2", "q", "B", 1.0)).with_columns(
        images=pl.Series(
            [
                [picture("q.png", "prompt"), picture("a.png", "answer")],
                [picture("q.png", "prompt"), picture("b.png", "answer")],
            ],
            dtype=pl.List(IMAGE),
        ),
        meta=pl.Series(['{"by":"x"}', '{"by":"y"}']),
        group=pl.Series(["g2", "g1"]),
    )
    (row,) = from_ratings(rows).rows.to_dicts()
    assert [(one["uri"], one["side"]) for one in row["images"]] == [
        ("q.png", "prompt"),
        ("a.png", "chosen"),
        ("b.png", "rejected"),
    ]
    assert row["meta"] == '{"chosen":{"by":"x"},"rejected":{"by":"y"}}'
    assert row["group"] == "g1"


def test_wrong_settings_say_what_is_wrong() -> None:
    with pytest.raises(InputError, match="policy: 'best', expected one of all_pairs, best_worst, best_random"):
        from_ratings(rated(*FOUR), policy="best")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="min_margin: -1, expected at least 0"):
        from_ratings(rated(*FOUR), min_margin=-1)
    with pytest.raises(InputError, match=r"answer: missing, expected List\(Struct.* or String"):
        from_ratings(rated(*FOUR).drop("answer"))
    with pytest.raises(InputError, match=r"min_agreement: 2, expected a number in \[0, 1\]"):
        from_verdicts(verdicts(("1", "q", "A", "B", "a", None)), min_agreement=2)


# ----------------------------------------------------------------------------------------------------- rankings


def test_a_ranking_gives_its_pairs_and_no_margin() -> None:
    rows = rated(*FOUR).select("id", "source", "prompt", "answer", rank=pl.Series([0, 1, 1, None, 0], dtype=pl.Int32))
    built = from_rankings(rows)
    assert sides(built.rows) == [("q", "A", "B"), ("q", "A", "C")]
    assert built.rows["margin"].to_list() == [None, None]
    assert built.unmade.rows() == [
        ("2", "3", None, ["tied_rank"]),
        ("4", None, None, ["no_rank"]),
        ("5", None, None, ["only_answer"]),
    ]


# ----------------------------------------------------------------------------------------------------- verdicts


def verdicts(*rows: tuple[str, str, str, str, str | None, str | None]) -> pl.DataFrame:
    """id, prompt, answer_a, answer_b, verdict, annotator."""
    names = ["id", "prompt", "answer_a", "answer_b", "verdict", "annotator"]
    return pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row").with_columns(source=pl.lit("s"))


def voted(*votes: str, least: float = 0.5) -> Any:
    rows = [(str(at), "q", "A", "B", vote, f"n{at}") for at, vote in enumerate(votes)]
    return from_verdicts(verdicts(*rows), min_agreement=least)


@pytest.mark.parametrize(
    ("votes", "chosen", "evidence"),
    [
        ("a", "A", '"agreement":1.0,"votes":{"chosen":1,"rejected":0,"tie":0}}'),
        (
            "bba",
            "B",
            '"agreement":0.6667,"votes":{"chosen":2,"rejected":1,"tie":0},'
            '"annotators":{"chosen":["n0","n1"],"rejected":["n2"],"tie":[]}}',
        ),
        (
            "aatb",
            "A",
            '"agreement":0.5,"votes":{"chosen":2,"rejected":1,"tie":1},'
            '"annotators":{"chosen":["n0","n1"],"rejected":["n3"],"tie":["n2"]}}',
        ),
    ],
)
def test_the_majority_chooses_and_its_share_is_kept(votes: str, chosen: str, evidence: str) -> None:
    built = voted(*(vote.replace("t", "tie") for vote in votes))
    assert sides(built.rows) == [("q", chosen, "B" if chosen == "A" else "A")]
    assert built.rows["evidence"][0] == '{"by":"verdicts","comparison":"0",' + evidence


@pytest.mark.parametrize(
    ("votes", "least", "reason"),
    [
        ("t", 0.0, "tied_verdict"),
        ("tta", 0.0, "tied_verdict"),
        ("ab", 0.0, "split_votes"),
        ("at", 0.0, "split_votes"),
        ("aab", 0.67, "low_agreement"),
        ("aattb", 0.0, "split_votes"),
    ],
)
def test_ties_and_split_votes_are_no_pairs(votes: str, least: float, reason: str) -> None:
    built = voted(*(vote.replace("t", "tie") for vote in votes), least=least)
    assert built.rows.height == 0
    assert built.unmade.rows() == [("0", None, None, [reason])]


def test_the_other_order_is_the_same_comparison() -> None:
    built = from_verdicts(verdicts(("1", "q", "A", "B", "a", "x"), ("2", "q", "B", "A", "b", "y")))
    assert sides(built.rows) == [("q", "A", "B")]
    assert json.loads(built.rows["evidence"][0])["votes"] == {"chosen": 2, "rejected": 0, "tie": 0}


def test_who_voted_for_what_is_kept_where_all_have_a_name() -> None:
    rows = (("1", "q", "A", "B", "b", "x"), ("2", "q", "B", "A", "a", "z"), ("3", "q", "A", "B", "a", "y"))
    built = from_verdicts(verdicts(*rows))
    assert sides(built.rows) == [("q", "B", "A")]
    told = json.loads(built.rows["evidence"][0])
    assert told["annotators"] == {"chosen": ["x", "z"], "rejected": ["y"], "tie": []}
    assert "annotators" not in from_verdicts(verdicts(*rows, ("4", "q", "A", "B", "b", None))).rows["evidence"][0]
    assert "annotators" not in from_verdicts(verdicts(rows[0])).rows["evidence"][0]


def test_a_judge_that_prefers_a_place_counts_as_one_tie() -> None:
    built = from_verdicts(verdicts(("1", "q", "A", "B", "a", "judge"), ("2", "q", "B", "A", "a", "judge")))
    assert built.unmade.rows() == [("1", None, None, ["tied_verdict"])]
    unnamed = from_verdicts(verdicts(("1", "q", "A", "B", "a", None), ("2", "q", "B", "A", "a", None)))
    assert unnamed.unmade.rows() == [("1", None, None, ["split_votes"])]


def test_equal_or_empty_answers_and_unknown_verdicts_are_no_pairs() -> None:
    built = from_verdicts(
        verdicts(
            ("1", "q", "A", "A ", "a", None),
            ("2", "p", "A", "", "a", None),
            ("3", "o", "A", "B", "A is better", None),
            ("4", "o", "A", "B", None, None),
        )
    )
    assert built.rows.height == 0
    assert built.unmade.rows() == [
        ("1", None, None, ["equal_sides"]),
        ("2", None, None, ["empty_completion"]),
        ("3", None, None, ["unknown_verdict"]),
        ("4", None, None, ["unknown_verdict"]),
    ]


def test_the_verdicts_of_autoj(shared_data: Callable[[str], Path]) -> None:
    with gzip.open(shared_data("autoj/testdata_pairwise.jsonl.gz"), "rt", encoding="utf-8") as file:
        given = [json.loads(line) for line in file]
    frame = pl.DataFrame(
        {
            "id": [f"{at:04d}" for at in range(len(given))],
            "prompt": [row["prompt"] for row in given],
            "answer_a": [row["response 1"] for row in given],
            "answer_b": [row["response 2"] for row in given],
            "verdict": [("a", "b", "tie")[row["label"]] for row in given],
        }
    ).with_columns(source=pl.lit("autoj"))
    built = from_verdicts(frame)

    # the oracle: comparisons by their two answers in either order; one of them stands three times, with two ties
    compared: dict[tuple[str, frozenset[str]], list[str]] = {}
    for row in given:
        one, other = row["response 1"].strip(), row["response 2"].strip()
        better = (one, other, "tie")[row["label"]]
        compared.setdefault((row["prompt"], frozenset((one, other))), []).append(better)
    most = {key: Counter(better).most_common(1)[0][0] for key, better in compared.items()}
    fates = Counter(
        "empty_completion" if "" in both else "tied" if most[prompt, both] == "tie" else "row"
        for prompt, both in compared
    )
    equal = [key for key in compared if len(key[1]) == 1]
    assert len(given) == 1392
    assert len(compared) == 1390
    assert dict(fates) == {"row": 1017, "tied": 372, "empty_completion": 1}
    assert built.rows.height == fates["row"]
    assert len(equal) == 7
    assert built.counts() == {"tied_verdict": 372, "equal_sides": 7, "empty_completion": 1}
    assert built.rows.height + built.unmade.height == 1390
    wanted = {
        (prompt, best, *(both - {best})) for (prompt, both), best in most.items() if best != "tie" and "" not in both
    }
    assert {(prompt, chosen.strip(), rejected.strip()) for prompt, chosen, rejected in sides(built.rows)} == wanted


# -------------------------------------------------------------------------------------------------------- edits


def edits(*rows: tuple[str, str, str]) -> pl.DataFrame:
    frame = pl.DataFrame(rows, schema=["id", "draft", "sent"], orient="row")
    return frame.with_columns(source=pl.lit("s"), prompt=pl.lit("where is it"))


def test_what_was_sent_is_chosen_over_the_draft() -> None:
    built = from_edits(edits(("1", "we will look at it", "we will look at it today")))
    assert sides(built.rows) == [("where is it", "we will look at it today", "we will look at it")]
    # words 5 of 6, neighbours 4 of 5: 9 / 11
    assert built.rows["evidence"].to_list() == ['{"by":"edit","edit":"1","similarity":0.8182}']


@pytest.mark.parametrize(
    ("draft", "sent", "reasons"),
    [
        ("we look at it", "we look at it", ["unchanged"]),
        ("we look at it", " we look at it\n", ["unchanged"]),
        ("we look at it", "We look, at it!", ["only_form_changed"]),
        ("我们会处理的。", "我们 会处理的！", ["only_form_changed"]),
        ("ok then", "we look at it now", ["near_empty_draft"]),
        ("", "we look at it now", ["near_empty_draft"]),
        ("we look at it", "", ["empty_completion"]),
        (".", "!", ["near_empty_draft", "only_form_changed"]),
    ],
)
def test_an_edit_that_says_nothing_is_no_pair(draft: str, sent: str, reasons: list[str]) -> None:
    built = from_edits(edits(("1", draft, sent)))
    assert built.rows.height == 0
    assert built.unmade.rows() == [("1", None, None, reasons)]


@pytest.mark.parametrize(
    ("draft", "sent"),
    [
        ("you get 10.5 euros back", "you get 105 euros back"),
        ("it comes at 1:30 tomorrow", "it comes at 13:0 tomorrow"),
        ("that is fine with me", "that is fine with me 🙂"),
        ("我会退款", "我不会退款"),
    ],
)
def test_a_number_a_sign_or_a_negation_is_more_than_form(draft: str, sent: str) -> None:
    assert from_edits(edits(("1", draft, sent))).rows.height == 1


def test_a_rewritten_draft_is_left_out_where_that_is_asked_for() -> None:
    rows = edits(("1", "please call the other office", "i have sent your refund today"))
    assert from_edits(rows).rows.height == 1
    assert from_edits(rows, min_similarity=0.2).unmade.rows() == [("1", None, None, ["rewritten"])]
