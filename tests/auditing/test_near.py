"""Near-duplicates: planted ones are named with the row that they repeat, and the similarity is the true one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefdata.auditing.finding import Finding, Severity
from prefdata.auditing.sketches import Sketches, jaccard, near_groups, signatures
from prefdata.auditing.tokens import sets, tokens
from prefdata.auditor import audit

WORDS = [
    f"{first}{second}" for first in "bdfgklmnprst" for second in ("al", "en", "is", "or", "um", "ist", "and", "ope")
]


def said(seed: int, count: int) -> str:
    """`count` words, others for every seed."""
    return " ".join(np.random.default_rng(seed).choice(WORDS, count))


def changed(text: str, place: int, word: str = "otherwise") -> str:
    """The text with one word replaced."""
    parts = text.split()
    parts[place] = word
    return " ".join(parts)


def user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def agent(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def pair(prompt: str, chosen: str, rejected: str) -> dict[str, Any]:
    return {"prompt": user(prompt), "chosen": agent(chosen), "rejected": agent(rejected)}


def labelled(prompt: str, completion: str, label: bool) -> dict[str, Any]:
    return {"prompt": user(prompt), "completion": agent(completion), "label": label}


def written(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def by_name(path: Path) -> dict[str, Finding]:
    return {finding.check: finding for finding in audit(path, only=["duplicates"]).findings}


def background(count: int) -> list[dict[str, Any]]:
    return [pair(said(3 * n, 30), said(3 * n + 1, 60), said(3 * n + 2, 60)) for n in range(count)]


def test_rows_nearly_the_same_on_every_side_name_the_first_of_them(tmp_path: Path) -> None:
    rows = background(40)
    prompt, chosen, rejected = said(900, 40), said(901, 80), said(902, 80)
    rows[5] = pair(prompt, chosen, rejected)
    rows[17] = pair(changed(prompt, 0), changed(chosen, 3), changed(rejected, 70))
    rows[30] = pair(prompt, changed(chosen, 50), rejected)
    rows[33] = pair(prompt, chosen, said(903, 80))  # another rejected: no duplicate
    found = by_name(written(tmp_path / "rows.jsonl", rows))["near_duplicates"]
    assert found.places == ("rows.jsonl:18", "rows.jsonl:31")
    assert [example.note for example in found.examples] == ["rows.jsonl:6", "rows.jsonl:6"]
    assert (found.measures["groups"], found.measures["largest_group"]) == (1, 3)
    assert found.severity is Severity.MINOR


def test_exact_copies_and_rows_that_share_one_side_are_no_near_duplicates(tmp_path: Path) -> None:
    rows = background(20)
    rows[7] = rows[3]
    rows[9] = pair(said(9, 30), said(10, 60), said(999, 60))
    found = by_name(written(tmp_path / "rows.jsonl", rows))
    assert "near_duplicates" not in found
    assert found["exact_duplicates"].rows.to_list() == [7]


def test_pairs_of_one_text_four_times_changed_are_no_near_duplicates(tmp_path: Path) -> None:
    base = said(60, 80)
    four = [changed(base, place) for place in (5, 25, 45, 65)]
    rows = [*background(10), pair("Which?", four[0], four[1]), pair("Which?", four[2], four[3])]
    found = by_name(written(tmp_path / "rows.jsonl", rows))
    assert "near_duplicates" not in found
    assert "near_contradiction" not in found


def test_a_prompt_that_nearly_comes_again_is_told_and_an_equal_one_is_not(tmp_path: Path) -> None:
    rows = background(20)
    prompt = rows[2]["prompt"][0]["content"]
    rows[11]["prompt"] = user(changed(prompt, 29))
    rows[12]["prompt"] = user(prompt)
    found = by_name(written(tmp_path / "rows.jsonl", rows))["near_prompts"]
    assert found.rows.to_list() == [11]
    # 28 shingles; the last word stands in one of them
    assert found.measures["mean_similarity"] == round(27 / 29, 4)


def test_sides_that_differ_in_one_word_of_many_are_told(tmp_path: Path) -> None:
    rows = background(10)
    long, short = said(50, 80), said(51, 20)
    rows[4] = pair("Why?", long, changed(long, 40))
    rows[5] = pair("How?", short, changed(short, 10))
    found = by_name(written(tmp_path / "rows.jsonl", rows))["near_equal_sides"]
    assert found.rows.to_list() == [4]
    # 78 shingles, three of them changed on either side
    assert found.measures["mean_similarity"] == round(75 / 81, 4)
    assert found.examples[0].note == "Jaccard similarity 0.93"


def test_pairs_that_nearly_the_same_pair_turns_round_are_told_both(tmp_path: Path) -> None:
    rows = background(20)
    prompt, one, other = said(70, 40), said(71, 60), said(72, 60)
    rows[3] = pair(prompt, one, other)
    rows[14] = pair(prompt, changed(other, 5), one)
    found = by_name(written(tmp_path / "rows.jsonl", rows))["near_contradiction"]
    assert found.rows.to_list() == [3, 14]
    assert [example.note for example in found.examples] == ["rows.jsonl:15", "rows.jsonl:4"]


def test_labels_that_nearly_the_same_row_contradicts_are_told(tmp_path: Path) -> None:
    rows = [labelled(said(n, 20), said(100 + n, 40), n % 2 == 0) for n in range(20)]
    prompt, answer = said(300, 30), said(301, 60)
    rows[6] = labelled(prompt, answer, True)
    rows[9] = labelled(prompt, changed(answer, 30), False)
    rows[10] = labelled(prompt, changed(answer, 10), True)
    found = by_name(written(tmp_path / "rows.jsonl", rows))
    assert found["near_contradiction"].rows.to_list() == [6, 9, 10]
    assert found["near_duplicates"].rows.to_list() == [10]


def test_nearly_the_same_question_about_another_picture_is_another_question(tmp_path: Path) -> None:
    def asked(picture: str, question: str, label: bool) -> dict[str, Any]:
        content = [{"type": "image"}, {"type": "text", "text": question}]
        return {
            **labelled("", said(2, 40), label),
            "prompt": [{"role": "user", "content": content}],
            "images": [picture],
        }

    question = said(1, 40)
    rows = [asked(f"{at}.png", changed(question, at), at % 2 == 0) for at in range(6)]
    found = by_name(written(tmp_path / "others.jsonl", rows))
    assert set(found) & {"near_prompts", "near_contradiction", "near_duplicates"} == set()
    same = [asked("0.png", changed(question, 39), False), asked("2.png", changed(question, 39), True)]
    found = by_name(written(tmp_path / "same.jsonl", [*rows, *same]))
    told = {name: found[name].rows.to_list() for name in ("near_prompts", "near_duplicates", "near_contradiction")}
    assert told == {"near_prompts": [6, 7], "near_duplicates": [7], "near_contradiction": [0, 6]}


def test_held_out_rows_that_nearly_stand_in_training_are_told(tmp_path: Path) -> None:
    prompt, answer = said(400, 40), said(401, 60)
    written(tmp_path / "train.jsonl", [*background(5), pair(prompt, answer, said(402, 60))])
    held = [
        pair(changed(prompt, 20), said(403, 60), said(404, 60)),
        pair(said(405, 40), said(406, 60), changed(answer, 30)),
        pair(prompt, said(407, 60), said(408, 60)),
    ]
    written(tmp_path / "test.jsonl", held)
    found = by_name(tmp_path)
    assert found["near_split_leak"].places == ("test.jsonl:1", "test.jsonl:2")
    assert found["split_leak"].places == ("test.jsonl:3",)
    assert found["near_split_leak"].measures["prompt_nearly_seen"] == 1
    assert found["near_split_leak"].measures["rejected_nearly_seen"] == 1


def test_past_the_limit_sides_are_still_compared_and_the_rows_that_were_are_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("prefdata.auditing.sketches.MAX_VALUES", 300)
    long = said(50, 80)
    answers = [[said(n, 60), said(n + 100, 60)] for n in range(8)]
    answers[1] = [long, changed(long, 40)]
    answers[6] = [long, changed(long, 10)]
    answers[7] = [long, said(200, 20)]
    rows = pl.DataFrame({"row": range(8), "prompt_text": "Why?"}).with_columns(
        pl.Series("chosen_text", [one for one, _ in answers]),
        pl.Series("rejected_text", [other for _, other in answers]),
    )
    sides = ("prompt", "chosen", "rejected")
    rows = rows.with_columns(pl.col(f"{side}_text").hash().alias(f"{side}_norm") for side in sides)
    found = Sketches(sides)
    for start in range(0, 8, 2):
        chunk = rows[start : start + 2]
        found.add(found.look(chunk, {side: tokens(chunk[f"{side}_text"]) for side in sides}))
    assert found.compared == 4  # about 240 shingles of the first two rows, then 480
    assert [row for row, _ in found.alike] == [1, 6]


def test_many_texts_that_are_all_alike_are_one_group_at_little_cost() -> None:
    base = said(7, 60)
    texts = pl.Series([changed(base, n % 60, f"word{n}") for n in range(3_000)])
    found = sets(tokens(texts), size=3)
    group = near_groups(found, signatures(found), floor=0.8)
    assert group.tolist() == [0] * 3_000


def test_groups_are_those_of_all_pairs_compared_with_each_other() -> None:
    texts = []
    for number in range(60):
        base = said(number, 12 + number)
        texts += [base, changed(base, 1), changed(changed(base, 3), 8, "else")]
    found = sets(tokens(pl.Series(texts)), size=3)
    every = np.arange(len(texts))
    left, right = (side.ravel() for side in np.meshgrid(every, every, indexing="ij"))
    near = jaccard(found, left, right).reshape(len(texts), -1) >= 0.8
    expected = [int(np.flatnonzero(row)[0]) for row in near]
    missed = [
        n for n, one in enumerate(near_groups(found, signatures(found), floor=0.8).tolist()) if one != expected[n]
    ]
    assert len(missed) <= 2


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.sampled_from(["a", "b", "c", "d", "e"]), max_size=12), min_size=2, max_size=6))
def test_similarity_is_that_of_sets_of_three_words(texts: list[list[str]]) -> None:
    series = pl.Series([" ".join(words) for words in texts], dtype=pl.String)
    found = sets(tokens(series), size=3)

    def shingled(words: list[str]) -> set[tuple[str, ...]]:
        return {tuple(words[n : n + 3]) for n in range(max(1, len(words) - 2))} if words else set()

    one, other = shingled(texts[0]), shingled(texts[1])
    expected = len(one & other) / len(one | other) if one | other else 1.0
    assert jaccard(found, np.array([0]), np.array([1]))[0] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("one", "other", "words"),
    [
        ("Hello, WORLD!", "hello world", 2),
        ("Ça va, Élise?", "ça VA élise", 3),
        ("我很好。", "我 很,好!", 3),
        ("it's a “test” – yes", "IT S A TEST YES", 5),
        ("great 😀😀", "GREAT😀 😀", 3),
        ("???", " ???", 1),
        ("", " \n", 0),
        ("x" * 300, "X" * 300, 1),
    ],
)
def test_words_are_compared_without_case_and_marks(one: str, other: str, words: int) -> None:
    found = tokens(pl.Series([one, other, "and another text"]))
    assert found.lengths.tolist() == [words, words, 3]
    assert found.values[:words].tolist() == found.values[words : 2 * words].tolist()


def test_words_are_the_same_whatever_stands_beside_them() -> None:
    texts = pl.Series(["one two", "", None, "internationalisation of everything", "two"])
    together = tokens(texts)
    for number, text in enumerate(texts):
        alone = tokens(pl.Series([text], dtype=pl.String))
        begin, end = together.offsets[number], together.offsets[number + 1]
        assert together.values[begin:end].tolist() == alone.values.tolist()
