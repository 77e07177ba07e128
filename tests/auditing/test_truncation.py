"""Rows longer than trainers read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from prefdata.auditing.dataset import read
from prefdata.auditing.finding import Severity
from prefdata.auditing.truncation import TRUNCATION, truncation
from prefdata.auditor import audit
from prefdata.errors import InputError, RecipeError, UnknownNameError
from prefdata.opening import open_dataset


def rows_of(folder: Path, sizes: list[tuple[int, int, int]]) -> Any:
    path = folder / "rows.jsonl"
    with path.open("w", encoding="utf-8") as stream:
        for sides in sizes:
            row = {
                name: [{"role": role, "content": "a" * size}]
                for name, role, size in zip(
                    ("prompt", "chosen", "rejected"), ("user", "assistant", "assistant"), sides, strict=True
                )
            }
            stream.write(json.dumps(row) + "\n")
    return lambda: open_dataset(path)


def test_rows_are_long_by_prompt_and_answer_together(tmp_path: Path) -> None:
    check = truncation(100)
    opening = rows_of(tmp_path, [(200, 200, 200), (200, 204, 200), (404, 4, 4), (0, 404, 404)] + [(4, 4, 4)] * 6)
    found = check.found(read(opening, [check]))
    assert found.rows.to_list() == [1, 2, 3]
    assert (found.measures["one_side"], found.measures["prompt_alone"]) == (1, 1)
    assert found.measures["longer_than"]["512"] == 0
    assert found.severity is Severity.MAJOR


def test_what_no_one_asked_for_is_minor_at_most(tmp_path: Path) -> None:
    check = truncation()
    found = check.found(read(rows_of(tmp_path, [(8_000, 40, 40)] * 3), [check]))
    assert (found.severity, found.measures["max_length"], found.measures["prompt_alone"]) == (Severity.MINOR, 1024, 3)


def test_a_tokenizer_counts_where_there_is_one(tmp_path: Path) -> None:
    check = truncation(100, tokens=lambda texts: texts.str.len_chars().cast(pl.Int64))
    found = check.found(read(rows_of(tmp_path, [(50, 50, 50), (50, 51, 50)]), [check]))
    assert found.rows.to_list() == [1]
    assert not found.measures["estimated"]


def test_short_rows_are_nothing_to_tell(tmp_path: Path) -> None:
    check = truncation()
    assert not check.found(read(rows_of(tmp_path, [(400, 400, 400)] * 3), [check]))


def pairs(folder: Path, *texts: tuple[str, str, str]) -> Path:
    path = folder / "pairs.jsonl"
    with path.open("w", encoding="utf-8") as stream:
        for prompt, chosen, rejected in texts:
            row = {
                "prompt": [{"role": "user", "content": prompt}],
                "chosen": [{"role": "assistant", "content": chosen}],
                "rejected": [{"role": "assistant", "content": rejected}],
            }
            stream.write(json.dumps(row) + "\n")
    return path


def test_which_sides_are_cut_and_whether_anything_is_left_by_which_they_differ(tmp_path: Path) -> None:
    long = "abcdefgh" * 50  # 100 tokens
    rows = [
        ("q" * 200, long, long + "!"),  # room for 50: both cut, the same
        ("q" * 200, long, "other" + long),  # both cut, different
        ("q" * 200, long, "no"),  # chosen cut
        ("q" * 200, "no", long),  # rejected cut
        ("q" * 200, long[:200], long),  # chosen fits to the last byte, rejected becomes the same
        ("q" * 400, long, long + "!"),  # no room: no answer is left, told as that alone
        ("q", "yes", "no"),
    ]
    found = audit(pairs(tmp_path, *rows), only=["truncation"], max_length=100).findings[0]
    assert found.rows.to_list() == [0, 1, 2, 3, 4, 5]
    told = {name: found.measures[name] for name in ("chosen_cut", "rejected_cut", "both_sides", "one_side")}
    assert told == {"chosen_cut": 4, "rejected_cut": 5, "both_sides": 3, "one_side": 3}
    assert (found.measures["same_when_cut"], found.measures["prompt_alone"]) == (2, 1)
    assert found.measures["estimated"]
    assert found.examples[0].note == "tokens: prompt 50, chosen 100, rejected 100"


@pytest.mark.train
def test_a_tokenizer_by_its_folder_counts_its_own_tokens(tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers", reason="needs the extra `train`")
    words = {word: at for at, word in enumerate(["[UNK]", "one", "two", "three"])}
    machine = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))
    machine.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    (tmp_path / "counting").mkdir()
    machine.save(str(tmp_path / "counting" / "tokenizer.json"))
    path = pairs(tmp_path, ("one two", "three", "one two three"), ("one", "two", "unheardofwordofmanyletters"))
    for place in (tmp_path / "counting", tmp_path / "counting" / "tokenizer.json"):
        found = audit(path, only=["truncation"], max_length=4, tokenizer=place).findings[0]
        assert found.rows.to_list() == [0]
        assert found.examples[0].note == "tokens: prompt 2, chosen 1, rejected 3"
        assert not found.measures["estimated"]
    assert audit(path, only=["truncation"], max_length=5, tokenizer=tmp_path / "counting").findings == ()


@pytest.mark.train
def test_what_is_no_tokenizer_is_said(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers", reason="needs the extra `train`")
    path = pairs(tmp_path, ("one", "two", "three"))
    with pytest.raises(InputError, match="no tokenizer in this folder"):
        audit(path, tokenizer=tmp_path)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match="is no tokenizer"):
        audit(path, tokenizer=tmp_path / "broken")
    with pytest.raises(UnknownNameError, match="did you mean 'smollm2-135m'"):
        audit(path, tokenizer="smollm2-135mm")


def test_a_length_below_one_token_is_refused() -> None:
    with pytest.raises(RecipeError, match="1 or more"):
        TRUNCATION.prepared({"max_length": 0})
