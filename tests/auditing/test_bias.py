"""Bias: planted stereotypes are told with their side, balanced sets have no finding."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trl_rows import findings, pair

from prefdata.auditing import bias, bias_lists, counterfactual
from prefdata.auditing.finding import Finding, Severity

WOMEN = ("nurse", "receptionist", "secretary", "teacher", "hairdresser")
MEN = ("engineer", "mechanic", "pilot", "surgeon", "programmer")


def found(folder: Path, rows: list[dict[str, Any]]) -> dict[str, Finding]:
    return findings(folder, rows, ["bias"])


def works(number: int, *, she: bool) -> str:
    occupation = (WOMEN + MEN)[number % 10]
    return f"{'She' if she else 'He'} works as a {occupation} in house {number}."


def held(number: int) -> bool:
    """Whether prejudice gives the occupation of `works` to women."""
    return number % 10 < len(WOMEN)


def test_stereotypes_of_the_preferred_side_are_major(tmp_path: Path) -> None:
    rows = [pair(f"Who lives in {n}?", works(n, she=held(n)), works(n, she=not held(n))) for n in range(100)]
    told = found(tmp_path, rows)["gender_stereotypes"]
    assert told.severity is Severity.MAJOR
    assert told.rows.to_list() == list(range(100))
    assert told.measures["counts"] == {"female_female": 50, "female_male": 50, "male_female": 50, "male_male": 50}
    assert told.measures["log_odds_ratio"] == 0.0
    assert told.measures["difference"]["interval"][0] > 5


def test_stereotypes_of_both_sides_are_told_with_their_words(tmp_path: Path) -> None:
    rows = [pair(f"Who lives in {n}?", works(n, she=held(n)), works(n + 10, she=held(n))) for n in range(150)]
    told = found(tmp_path, rows)["gender_stereotypes"]
    assert told.severity is Severity.MINOR
    assert told.measures["counts"] == {"female_female": 150, "female_male": 0, "male_female": 0, "male_male": 150}
    words = told.measures["words"]
    assert {one["word"] for one in words["female"]} == set(WOMEN)
    assert {one["word"] for one in words["male"]} == set(MEN)


def test_occupations_of_both_genders_are_no_finding(tmp_path: Path) -> None:
    rows = [pair(f"Who lives in {n}?", works(n, she=n % 4 < 2), works(n, she=n % 4 >= 2)) for n in range(100)]
    assert "gender_stereotypes" not in found(tmp_path, rows)


def test_chinese_pronouns_inside_other_words_are_no_gender() -> None:
    sentence = pl.DataFrame(
        {"row": [0, 1], "side": ["chosen"] * 2, "sentence": [0, 1], "text": ["其他护士来了。", "她是护士。"]}
    )
    words = bias_lists.words_of(sentence)
    assert words.filter(pl.col("family") == "female")["sentence"].to_list() == [1]
    assert words.filter(pl.col("family") == "male").is_empty()
    assert words.filter(pl.col("family") == "occupations_female")["sentence"].to_list() == [0, 1]


def test_contempt_of_groups_on_the_preferred_side_is_major(tmp_path: Path) -> None:
    groups = ("Muslim", "Jewish", "Hindu", "Christian")
    rows = [
        pair(
            f"Who was it, {n}?",
            f"The {groups[n % 4]} neighbour is a criminal {n}.",
            f"The {groups[n % 4]} neighbour is kind {n}.",
        )
        for n in range(60)
    ]
    told = found(tmp_path, rows)["group_stereotypes"]
    assert told.severity is Severity.MAJOR
    assert told.rows.to_list() == list(range(60))
    assert told.measures["negative_share"] == 0.5
    assert told.measures["difference"]["negative_share"] == 1.0


def test_a_group_that_stands_out_is_told_with_its_z(tmp_path: Path) -> None:
    rows = [
        pair(f"Who {n}?", f"The Muslim man stole it, he is a thief {n}.", f"The Muslim man is a thief {n}.")
        for n in range(40)
    ]
    rows += [pair(f"Where {n}?", f"The Hindu man is at home {n}.", f"The Hindu man is out {n}.") for n in range(40)]
    told = found(tmp_path, rows)["group_stereotypes"]
    assert told.severity is Severity.MINOR
    assert told.measures["groups"]["muslim"]["negative"] == 80
    assert told.measures["groups"]["muslim"]["z"] > 3.5
    assert told.measures["groups"]["hindu"]["z"] < -3.5


def test_groups_in_kind_sentences_are_no_finding(tmp_path: Path) -> None:
    groups = ("Muslim", "Jewish", "Hindu", "Christian")
    rows = [
        pair(f"Who {n}?", f"The {groups[n % 4]} man is here {n}.", f"A {groups[n % 4]} man {n}.") for n in range(60)
    ]
    assert found(tmp_path, rows) == {}


@pytest.mark.parametrize(
    ("text", "axis", "expected"),
    [
        ("He lost his keys.", "gender", ["She lost her keys."]),
        ("She saw her.", "gender", ["He saw him."]),
        ("Her dog likes women.", "gender", ["His dog likes men."]),
        ("A Jewish school", "group", ["A Muslim school", "A Christian school", "A Hindu school", "A Atheist school"]),
        ("Greg called", "name", ["Darnell called", "Ahmed called"]),
        ("他是医生", "gender", ["她是医生"]),
        ("The keys are lost.", "gender", []),
    ],
)
def test_swaps_exchange_all_words_of_an_axis(text: str, axis: str, expected: list[str]) -> None:
    assert counterfactual.swapped(text, axis) == expected


def test_sentences_that_cross_the_bound_by_a_swap_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Scorer:
        """A scorer that holds "she" against a text."""

        def score(self, items: pl.DataFrame) -> pl.DataFrame:
            return items.select(toxicity=pl.col("text").str.contains(r"\bShe\b").cast(pl.Float32))

    monkeypatch.setattr(counterfactual, "_scorer", Scorer)
    rows = [pair(f"Who lives in {n}?", works(n, she=True), works(n, she=False)) for n in range(60)]
    told = found(tmp_path, rows)["counterfactual_toxicity"]
    assert told.severity is Severity.MINOR
    assert told.rows.to_list() == list(range(60))
    gender = told.measures["gender"]
    assert (gender["flipped_share"], gender["sentences"]) == (1.0, 120)
    assert gender["difference_by_side"] == {"chosen": 1.0, "rejected": -1.0}


def test_a_fair_scorer_has_no_finding(tmp_path: Path) -> None:
    rows = [pair(f"Who lives in {n}?", works(n, she=n % 4 < 2), works(n, she=n % 4 >= 2)) for n in range(60)]
    assert "counterfactual_toxicity" not in found(tmp_path, rows)


def scored(one: int, other: int, all_one: int, all_other: int) -> tuple[float, float]:
    frame = pl.DataFrame({"one": [one], "other": [other], "all_one": [all_one], "all_other": [all_other]})
    row = bias.log_odds(frame).row(0, named=True)
    return row["log_odds"], row["z"]


@settings(max_examples=40)
@given(st.integers(1, 200), st.integers(1, 200), st.integers(200, 900))
def test_log_odds_turn_with_the_kinds_and_are_nothing_where_both_are_alike(one: int, other: int, every: int) -> None:
    first, turned = scored(one, other, every, every), scored(other, one, every, every)
    assert first[0] == pytest.approx(-turned[0])
    assert (first[1] > 0) == (one > other)
    assert scored(one, one, every, every)[1] == pytest.approx(0.0)


def test_log_odds_are_shrunk_where_there_is_little() -> None:
    assert 0 < scored(2, 0, 100, 100)[1] < 1.5
    assert scored(60, 5, 100, 100)[1] > 5


def test_lists_name_every_word_once_a_family() -> None:
    words = bias_lists.lists().words
    assert words.filter(pl.struct("word", "family").is_duplicated()).is_empty()
    for one, other in itertools.combinations(("female", "male"), 2):
        both = set(words.filter(family=one)["word"]) & set(words.filter(family=other)["word"])
        assert both == set()
    for sets in bias_lists.lists().swaps.values():
        assert all(len(one) >= 2 for one in sets)
