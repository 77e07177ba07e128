"""HALOs' feedback: labels are 1 and 0, A is the better output where the label is 1, and a tie is no pair."""

from __future__ import annotations

import polars as pl
import pytest
from canonical_rows import framed, turn

from prefdata.formats.halos import Halos
from prefdata.schema import RecordType

PROMPT = [{"role": "user", "content": "Where is it?"}]
GOOD = [{"role": "assistant", "content": "On its way."}]
BAD = [{"role": "assistant", "content": "No idea."}]


def pair(label: object, **more: object) -> pl.DataFrame:
    row = {"type": "pairwise_feedback", "prompt_id": "7", "prompt": PROMPT, "output_A": GOOD, "output_B": BAD}
    return pl.DataFrame([row | {"label": label, "reward_A": 0.9, "reward_B": 0.1} | more])


def test_binary_feedback_is_written_with_the_label_as_one_or_zero() -> None:
    made = [
        {"prompt": [turn("user", "Where is it?")], "completion": [turn("assistant", text)], "label": label}
        for text, label in (("On its way.", True), ("No idea.", False))
    ]
    written = Halos(split="train").encode(framed(made, RecordType.UNPAIRED), RecordType.UNPAIRED)
    assert written.rows.drop("prompt_id").to_dicts() == [
        {
            "type": "binary_feedback",
            "prompt": PROMPT,
            "output": GOOD,
            "label": 1,
            "reward": 1.0,
            "split": "train",
        },
        {
            "type": "binary_feedback",
            "prompt": PROMPT,
            "output": BAD,
            "label": 0,
            "reward": 0.0,
            "split": "train",
        },
    ]
    assert written.rows["prompt_id"].n_unique() == 1


def test_a_pair_is_written_with_the_better_output_as_a() -> None:
    made = [
        {
            "prompt": [turn("user", "Where is it?")],
            "chosen": [turn("assistant", "On its way.")],
            "rejected": [turn("assistant", "No idea.")],
        }
    ]
    written = Halos().encode(framed(made, RecordType.PREFERENCE), RecordType.PREFERENCE)
    assert written.rows.drop("prompt_id").to_dicts() == [
        {
            "type": "pairwise_feedback",
            "prompt": PROMPT,
            "output_A": GOOD,
            "output_B": BAD,
            "label": 1,
            "reward_A": 1.0,
            "reward_B": 0.0,
        }
    ]


def test_label_zero_makes_b_the_chosen_output() -> None:
    rows = Halos().decode(pair(0, reward_A=0.1, reward_B=0.9), RecordType.PREFERENCE).rows
    assert rows["chosen"][0][0]["content"] == "No idea."
    assert rows["rejected"][0][0]["content"] == "On its way."
    assert rows["meta"].to_list() == ['{"prompt_id":"7","reward_A":0.1,"reward_B":0.9}']


@pytest.mark.parametrize(
    ("row", "reasons"),
    [
        (pair(1, reward_A=0.5, reward_B=0.5), ["tie"]),
        (pair("true"), ["ambiguous_label", "label_missing"]),
        (pair(2), ["ambiguous_label", "label_missing"]),
        (pair(1, type="binary_feedback"), ["other_feedback"]),
    ],
)
def test_a_tie_and_a_label_that_is_none_are_refused(row: pl.DataFrame, reasons: list[str]) -> None:
    assert Halos().decode(row, RecordType.PREFERENCE).refused["reasons"].to_list() == [reasons]


def test_outputs_that_differ_in_blanks_alone_are_no_pair() -> None:
    made = [
        {
            "prompt": [turn("user", "q")],
            "chosen": [turn("assistant", "yes")],
            "rejected": [turn("assistant", "yes ")],
        }
    ]
    written = Halos().encode(framed(made, RecordType.PREFERENCE), RecordType.PREFERENCE)
    assert written.refused["reasons"].to_list() == [["equal_sides"]]


def test_it_is_known_by_its_type() -> None:
    assert [match.type for match in Halos().recognise(pair(1))] == [RecordType.PREFERENCE]
    assert Halos().recognise(pair(1).drop("type")) == []
