"""Sets that are read only: transcripts, rated and ranked lists, verdicts; every row of a file has one fate."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from prefdata.formats.core import Outcome
from prefdata.formats.hh_rlhf import HhRlhf
from prefdata.formats.nectar import Nectar
from prefdata.formats.oasst import Oasst
from prefdata.formats.ultrafeedback import UltraFeedback
from prefdata.formats.verdicts import Verdicts
from prefdata.schema import RecordType

PAIR = RecordType.PREFERENCE


def texts(outcome: Outcome, *sides: str) -> list[tuple[Any, ...]]:
    """Contents of the turns of `sides`, row by row."""
    return [
        tuple([turn["content"] for turn in row[side]] for side in sides) for row in outcome.rows.iter_rows(named=True)
    ]


def reasons(outcome: Outcome) -> dict[int, list[str]]:
    return dict(outcome.refused.iter_rows())


def lines(path: Path) -> pl.DataFrame:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return pl.DataFrame([json.loads(line) for line in file])


def test_a_transcript_is_cut_into_turns_and_its_last_turn_is_the_answer() -> None:
    frame = pl.DataFrame(
        {
            "chosen": ["\n\nHuman: hi\n\nAssistant: yes?\n\nHuman: a\n\nb\n\nAssistant: good "],
            "rejected": ["\n\nHuman: hi\n\nAssistant: yes?\n\nHuman: a\n\nb\n\nAssistant: bad"],
        }
    )
    outcome = HhRlhf().decode(frame, PAIR)
    assert texts(outcome, "prompt", "chosen", "rejected") == [(["hi", "yes?", "a\n\nb"], ["good "], ["bad"])]
    assert [turn["role"] for turn in outcome.rows["prompt"][0]] == ["user", "assistant", "user"]


def test_transcripts_of_two_conversations_without_an_answer_or_without_a_mark_are_refused() -> None:
    good = "\n\nHuman: q\n\nAssistant: a"
    frame = pl.DataFrame(
        {
            "chosen": [good, good, good, "no transcript", "\n\nHuman: q\n\nAssistant:"],
            "rejected": ["\n\nHuman: other\n\nAssistant: b", "\n\nHuman: q", good, good, good],
        }
    )
    outcome = HhRlhf().decode(frame, PAIR)
    assert reasons(outcome) == {
        0: ["differing_prompts"],
        1: ["no_answer"],
        3: ["not_a_conversation"],
        4: ["empty_answer"],
    }
    assert outcome.rows.height == 1


def test_the_real_pairs_with_differing_prompts_and_empty_answers_are_found(shared_data: Callable[[str], Path]) -> None:
    frame = lines(shared_data("hh_rlhf") / "test.jsonl.gz")
    outcome = HhRlhf().decode(frame, PAIR)
    counts = outcome.refused["reasons"].explode().value_counts().sort("reasons").rows()
    assert (frame.height, outcome.rows.height) == (2312, 2303)
    assert counts == [("differing_prompts", 5), ("empty_answer", 4)]


def test_verdicts_become_pairs_and_ties_do_not(shared_data: Callable[[str], Path]) -> None:
    frame = lines(shared_data("autoj") / "testdata_pairwise.jsonl.gz")
    outcome = Verdicts().decode(frame, PAIR)
    counts = dict(outcome.refused["reasons"].explode().value_counts().iter_rows())
    # 373 ties, one of them in a comparison that stands twice
    assert counts == {"tied_verdict": 372, "equal_sides": 7, "empty_completion": 1, "repeated_comparison": 2}
    assert (frame.height, outcome.rows.height, outcome.refused.height) == (1392, 1017, 375)
    first, second = frame["response 1"][0], frame["response 2"][0]
    assert frame["label"][0] == 1
    assert texts(outcome, "chosen", "rejected")[0] == ([second], [first])


def test_annotators_who_disagree_are_counted() -> None:
    frame = pl.DataFrame(
        {
            "instruction": ["i", "i", "i"],
            "input": ["", "x", "y"],
            "response1": ["a", "b", "c"],
            "response2": ["d", "e", "f"],
            "annotator1": [1, 1, 0],
            "annotator2": [1, 2, 0],
            "annotator3": [2, 0, 1],
        }
    )
    outcome = Verdicts().decode(frame, PAIR)
    assert texts(outcome, "prompt", "chosen", "rejected") == [(["i"], ["a"], ["d"])]
    assert json.loads(outcome.rows["evidence"][0])["agreement"] == 0.6667
    assert reasons(outcome) == {1: ["split_votes"], 2: ["tied_verdict"]}
    assert reasons(Verdicts(min_agreement=0.7).decode(frame, PAIR))[0] == ["low_agreement"]


def rated() -> pl.DataFrame:
    def answer(text: str, score: float) -> dict[str, Any]:
        return {"response": text, "overall_score": score}

    return pl.DataFrame(
        {
            "source": ["s", "s"],
            "instruction": ["q", "r"],
            "completions": [[answer("a", 8.0), answer("b", 6.0), answer("c", 6.0)], [answer("only", 9.0)]],
        }
    )


def test_rated_completions_become_all_pairs_but_the_tie() -> None:
    outcome = UltraFeedback().decode(rated(), PAIR)
    assert texts(outcome, "chosen", "rejected") == [(["a"], ["b"]), (["a"], ["c"])]
    assert outcome.rows["margin"].to_list() == [2.0, 2.0]
    assert outcome.unmade == {"tied_rating": 1}
    assert reasons(outcome) == {1: ["only_answer"]}
    assert outcome.rows["meta"].to_list() == ['{"source": "s"}'] * 2


def test_a_pair_that_repeats_its_prompt_is_cut_and_a_tied_or_reversed_one_refused() -> None:
    def talk(*contents: str) -> list[dict[str, str]]:
        return [{"role": role, "content": one} for role, one in zip(("user", "assistant"), contents, strict=True)]

    frame = pl.DataFrame(
        {
            "prompt": ["q", "q", "q", "other"],
            "chosen": [talk("q", "a")] * 4,
            "rejected": [talk("q", "b")] * 4,
            "score_chosen": [8.0, 7.0, 6.0, 8.0],
            "score_rejected": [7.5, 7.0, 7.0, 7.0],
        }
    )
    assert [one.type for one in UltraFeedback().recognise(frame)] == [PAIR]
    outcome = UltraFeedback().decode(frame, PAIR)
    assert texts(outcome, "prompt", "chosen", "rejected") == [(["q"], ["a"], ["b"])]
    assert outcome.rows["margin"].to_list() == [0.5]
    assert reasons(outcome) == {1: ["tie"], 2: ["worse_chosen"], 3: ["differing_prompts"]}


def test_ranked_answers_go_where_the_transcript_waits_for_one() -> None:
    frame = pl.DataFrame(
        {
            "prompt": ["\n\nHuman: hi\n\nAssistant: yo\n\nHuman: q\n\nAssistant: ", "plain question"],
            "answers": [
                [{"answer": "b", "rank": 2.0}, {"answer": "a", "rank": 1.0}, {"answer": "c", "rank": 2.0}],
                [{"answer": "x", "rank": 1.0}, {"answer": "y", "rank": 3.0}],
            ],
        }
    )
    outcome = Nectar().decode(frame, PAIR)
    assert texts(outcome, "prompt", "chosen", "rejected") == [
        (["hi", "yo", "q"], ["a"], ["b"]),
        (["hi", "yo", "q"], ["a"], ["c"]),
        (["plain question"], ["x"], ["y"]),
    ]
    assert outcome.unmade == {"tied_rank": 1}


def ranked_below(message: dict[str, Any], hidden: bool = False) -> int:
    """Pairs of sibling replies of different rank with no hidden message above, counted by walking the tree."""
    hidden = hidden or bool(message["deleted"]) or not message["review_result"]
    ranked = [
        one
        for one in message["replies"]
        if one["role"] == "assistant" and one.get("rank") is not None and not one["deleted"] and one["review_result"]
    ]
    pairs = [(a, b) for at, a in enumerate(ranked) for b in ranked[at + 1 :] if a["rank"] != b["rank"]]
    return (0 if hidden else len(pairs)) + sum(ranked_below(one, hidden) for one in message["replies"])


def test_every_two_ranked_siblings_of_the_real_trees_become_a_pair(shared_data: Callable[[str], Path]) -> None:
    with open(shared_data("oasst") / "en_100_tree.jsonl", encoding="utf-8") as file:
        trees = [json.loads(line) for line in file]
    outcomes = [Oasst().decode(pl.DataFrame([tree], infer_schema_length=None), PAIR) for tree in trees]
    made = [one.rows.height for one in outcomes]
    assert made == [ranked_below(tree["prompt"]) for tree in trees]
    assert sum(made) == 754
    assert sum(one.refused.height for one in outcomes) == 0
    first = next(one for one in outcomes if one.rows.height)
    assert [turn["role"] for turn in first.rows["prompt"][0]][::2] == ["user"] * (
        (len(first.rows["prompt"][0]) + 1) // 2
    )
