"""Pairs: comparisons that mean nothing, or the contrary of another one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trl_rows import findings, pair

from prefdata.auditing.finding import Finding, Severity


def found(folder: Path, rows: list[dict[str, Any]], only: str = "pairs") -> dict[str, Finding]:
    return findings(folder, rows, [only])


def test_ties_and_swapped_ratings_are_told_apart(tmp_path: Path) -> None:
    margins = [0.0, -1.5, 2.0, None, 3.0]
    rows = [pair(f"Question {at}?", "Yes.", "No.", margin=margin) for at, margin in enumerate(margins)]
    named = found(tmp_path, rows)
    assert named["tie"].rows.to_list() == [0]
    assert named["worse_chosen"].rows.to_list() == [1]
    assert named["worse_chosen"].severity is Severity.CRITICAL
    assert "small_margin" not in named


@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0])
def test_a_margin_is_small_on_the_scale_of_the_data(scale: float, tmp_path: Path) -> None:
    margins = [4.0, 3.0, 0.2, 2.0, 0.5, 4.0, 0.0, -0.1]
    rows = [pair(f"Question {at}?", "Yes.", "No.", margin=margin * scale) for at, margin in enumerate(margins)]
    small = found(tmp_path, rows)["small_margin"]
    assert (small.rows.to_list(), small.severity) == ([2], Severity.NOTE)
    assert (small.measures["with_margin"], small.measures["below"]) == (8, round(0.4 * scale, 4))


def test_steps_of_a_rating_are_no_small_margins(tmp_path: Path) -> None:
    rows = [pair(f"Question {at}?", "Yes.", "No.", margin=1.0 + at % 4) for at in range(40)]
    assert "small_margin" not in found(tmp_path, rows)


@pytest.mark.parametrize(
    ("prompt", "chosen", "rejected", "named"),
    [
        ("When do you open?", "When do you open? At nine.", " When do you open? Soon.", True),
        ("When do you open?", "When do you open? At nine.", "Soon.", False),
        ("Hello", "Hello\nHow are you?", "Hello\nWhat?", True),
        ("Hello", "Hello, how are you?", "Hello!", False),
        ("Is it?", "Is it? Yes.", "Is it? No.", False),
        ("When do you open?", "When do you open?", "When do you open? Soon.", False),
    ],
)
def test_answers_that_repeat_the_prompt_are_named(
    prompt: str, chosen: str, rejected: str, named: bool, tmp_path: Path
) -> None:
    assert ("prompt_in_answer" in found(tmp_path, [pair(prompt, chosen, rejected)])) is named


def test_an_answer_that_is_the_prompt_is_named_where_it_is_to_be_learnt(tmp_path: Path) -> None:
    rows = [pair("May I?", "May I?", "No."), pair("May I not?", "Yes.", "May I not?")]
    assert found(tmp_path, rows, "form")["answer_is_prompt"].rows.to_list() == [0]


def test_one_prompt_crowds_the_set_and_even_shares_do_not(tmp_path: Path) -> None:
    crowd = [pair("Tell a joke.", f"Joke {at}", f"Not a joke {at}") for at in range(30)]
    others = [pair(f"Question {at}?", f"Yes {at}.", "No.") for at in range(70)]
    crowded = found(tmp_path, crowd + others)["crowded_prompt"]
    assert crowded.rows.to_list() == list(range(30))
    assert crowded.severity is Severity.MAJOR
    assert crowded.measures == {"prompts": 1, "largest": 30, "mean_rows": round(100 / 71, 4)}
    even = [pair(f"Question {at % 8}?", f"Yes {at}.", "No.") for at in range(100)]
    assert "crowded_prompt" not in found(tmp_path, even)


def test_answers_in_other_letters_are_the_same_and_other_numbers_are_not(tmp_path: Path) -> None:
    rows = [
        pair("How much?", "It costs 1.5 Euro.", "it costs 1.5 EURO"),
        pair("How long?", "It takes 1.5 days.", "It takes 15 days."),
        pair("So?", "!", "?"),
        pair("Why?", "Because.", "Because."),
    ]
    named = found(tmp_path, rows)
    assert named["same_words"].rows.to_list() == [0]
    assert named["equal_sides"].rows.to_list() == [3]


_LETTERS = st.sampled_from("ABCDE")


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(_LETTERS, _LETTERS), min_size=1, max_size=14))
def test_cycles_and_reversed_pairs_are_just_what_an_order_cannot_hold(
    tmp_path: Path, comparisons: list[tuple[str, str]]
) -> None:
    """Comparisons that some order of the answers explains have neither; others have one or the other."""
    edges = {(a, b) for a, b in comparisons if a != b}
    named = found(tmp_path, [pair("Which?", f"Answer {a}", f"Answer {b}") for a, b in comparisons])
    left = set(edges)
    while left:
        winners = {a for a, _ in left} - {b for _, b in left}
        if not winners:
            break
        left = {(a, b) for a, b in left if a not in winners}
    assert bool({"cycle", "reversed_pair"} & set(named)) is bool(left)
    swapped = [at for at, (a, b) in enumerate(comparisons) if a != b and (b, a) in edges]
    assert (named["reversed_pair"].rows.to_list() if "reversed_pair" in named else []) == swapped


def test_answers_reversed_but_for_case_are_minor_and_letter_for_letter_major(tmp_path: Path) -> None:
    def row(chosen: str, rejected: str) -> dict[str, Any]:
        return pair("Write it in capitals, please.", chosen, rejected)

    same = [row("Good Morning To You All", "Good night"), row("Good night", "Good Morning To You All")]
    cased = [
        row("Good Morning To You All", "good morning to you"),
        row("Good Morning To You", "good morning to you all"),
    ]
    finding = found(tmp_path, cased)["reversed_pair"]
    assert (finding.severity, finding.rows.to_list(), finding.measures["letter_for_letter"]) == ("minor", [0, 1], 0)
    finding = found(tmp_path, same)["reversed_pair"]
    assert (finding.severity, finding.rows.to_list(), finding.measures["letter_for_letter"]) == ("critical", [0, 1], 2)
