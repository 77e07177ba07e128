"""Features: what makes texts equal, and what does not."""

from __future__ import annotations

import json
import re
import unicodedata
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefdata.auditing.dataset import Audited, read
from prefdata.auditing.features import features
from prefdata.auditing.features import texts as texts_of
from prefdata.auditing.tokens import tokens
from prefdata.opening import open_dataset
from prefdata.schema import IMAGE, MESSAGES, RecordType


def rows_of(folder: Path, rows: list[dict[str, Any]], **settings: Any) -> Audited:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return read(lambda: open_dataset(path, **settings), [])


def norm(*texts: str) -> list[int]:
    rows = pl.DataFrame({"prompt": [[{"role": "user", "content": text, "tool_calls": None}] for text in texts]})
    rows = rows.with_columns(pl.lit(None, pl.List(IMAGE)).alias("images")).cast({"prompt": MESSAGES})
    found = features(texts_of(rows, RecordType.PROMPT), RecordType.PROMPT)
    return found["prompt_norm"].to_list()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Yes, of course!", " yes of COURSE"),
        ("  It\u2019s\u00a0here \u2014 now\u200b.\n", "it s here now"),
        ("\u00c4RGER im B\u00dcRO", "\u00e4rger im b\u00fcro"),
        ("\u041f\u0440\u0438\u0432\u0435\u0442", "\u043f\u0440\u0438\u0432\u0435\u0442!"),
        ("\u4f60\u597d\uff0c\u4e16\u754c\u3002", "\u4f60\u597d \u4e16\u754c"),
        ("a\x1eb", "a b"),
        ("C++ > C", "c++ > c"),
        ("a=b", "a = b"),
        ("\U0001f600!", "\U0001f600"),
        ("great\u2764\ufe0f", "great \u2764"),
        ("", " \n"),
        ("\u0645\u0631\u062d\u0628\u0627\u060c \u0623", "\u0645\u0631\u062d\u0628\u0627 \u0623"),
    ],
)
def test_texts_are_the_same_but_for_case_blanks_and_punctuation(one: str, other: str) -> None:
    assert norm(one, other, one)[0] == norm(other)[0]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1.5 is not 15", "15 is not 15"),
        ("now here", "nowhere"),
        ("C++ > C", "C > C"),
        ("a < b = c", "a = b < c"),
        ("20\u00b0", "20"),
        ("one two three two one", "one two one two three"),
        ("!!!", "???"),
        ("a", ""),
        ("internationalisation", "internationalisatiom"),
    ],
)
def test_texts_of_other_words_differ(one: str, other: str) -> None:
    assert norm(one)[0] != norm(other)[0]


def said(text: str) -> list[str]:
    """The words of a text, letter by letter."""
    found: list[str] = []
    last = ""
    for letter in text:
        category, small = unicodedata.category(letter), letter.lower()
        if len(small.encode()) != len(letter.encode()) or len(small) != 1:
            small = letter
        if letter.isascii():
            kind = "word" if letter.isalnum() else "symbol" if letter in "$+<=>^`|~" else ""
        elif category[0] in "PZ" or category == "Cf" or letter == "\x85" or "\ufe00" <= letter <= "\ufe0f":
            kind = ""
        elif category[0] == "S" or re.match(
            "[\u3005-\u3007\u3041-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]", letter
        ):
            kind = "alone"
        else:
            kind = "alone" if "\U0001f000" <= letter <= "\U0001faff" or letter >= "\U00020000" else "word"
        if kind and kind == last and kind != "alone":
            found[-1] += small
        elif kind:
            found.append(small)
        last = kind
    return found


PIECES = [
    "a" * 700,
    " " * 700,
    "x" * 300 + " y",
    "\u2019 " * 5,
    "\u4f60\u597d" * 9,
    "caf\u00c9 \U0001f600\U0001f600 1+1==2",
]


@given(
    st.lists(
        st.text(st.characters(max_codepoint=0x3FFFF, exclude_categories=["Cs"])) | st.sampled_from(PIECES), max_size=8
    )
)
def test_words_are_told_by_bytes_as_letter_by_letter(texts: list[str]) -> None:
    found = tokens(pl.Series(texts, dtype=pl.String))
    expected = [words for words in map(said, texts) if words]
    spoken = [number for number, text in enumerate(texts) if said(text)]
    assert found.lengths[spoken].tolist() == [len(words) for words in expected]
    hashes = [found.values[found.offsets[number] : found.offsets[number + 1]].tolist() for number in spoken]
    pairs = {
        (word, one) for words, own in zip(expected, hashes, strict=True) for word, one in zip(words, own, strict=True)
    }
    assert len(pairs) == len({word for word, _ in pairs}) == len({one for _, one in pairs})


def test_words_do_not_depend_on_where_blocks_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = pl.Series(["one, two", "", "\u00c9t\u00e9 \u4f60\u597d", "x" * 300, "???", "three"] * 3)
    whole = tokens(texts)
    monkeypatch.setattr("prefdata.auditing.tokens.BLOCK", 10)
    cut = tokens(texts)
    assert cut.lengths.tolist() == whole.lengths.tolist() == [2, 0, 3, 1, 1, 1] * 3
    assert cut.values.tolist() == whole.values.tolist()


def user(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


def agent(text: str, **more: Any) -> list[dict[str, Any]]:
    return [{"role": "assistant", "content": text, **more}]


def test_answers_that_call_tools_differ_by_their_calls(tmp_path: Path) -> None:
    def call(city: str) -> list[dict[str, Any]]:
        arguments = json.dumps({"city": city})
        return agent(
            "", tool_calls=[{"id": "1", "type": "function", "function": {"name": "weather", "arguments": arguments}}]
        )

    rows = [{"prompt": user("Weather?"), "completion": call(city), "label": True} for city in ("Oslo", "Rome", "Oslo")]
    found = rows_of(tmp_path, rows).rows
    assert found["completion_norm"].n_unique() == found["completion_hash"].n_unique() == 2
    assert found["completion_norm"][0] == found["completion_norm"][2]


def test_prompts_that_show_other_pictures_differ(tmp_path: Path) -> None:
    def seen(uri: str) -> dict[str, Any]:
        parts = [{"type": "image", "text": None}, {"type": "text", "text": "What is it?"}]
        return {"prompt": [{"role": "user", "content": parts}], "images": [uri], "completion": agent("A cat.")}

    found = rows_of(tmp_path, [seen("a.png"), seen("b.png"), seen("a.png")], source="trl").rows
    assert found["prompt_norm"].n_unique() == found["prompt_hash"].n_unique() == 2


def test_answers_of_punctuation_alone_are_equal_to_themselves_only(tmp_path: Path) -> None:
    rows = [{"prompt": user("So?"), "chosen": agent("!!!"), "rejected": agent("???")}]
    found = rows_of(tmp_path, rows).rows
    assert found["chosen_norm"][0] != found["rejected_norm"][0]


def test_chars_and_turns_are_counted(tmp_path: Path) -> None:
    rows = [{"prompt": [*user("H\u00e9"), *agent("Ja?"), *user("So")], "chosen": agent("Gut"), "rejected": agent("")}]
    found = rows_of(tmp_path, rows).rows
    assert found.select("prompt_chars", "prompt_turns", "chosen_chars", "rejected_chars").row(0) == (9, 3, 3, 0)


def test_rows_are_read_again_by_their_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prefdata.auditing.dataset.SAMPLE_ROWS", 40)
    rows = [{"prompt": user(f"Question {at}?"), "completion": agent("x" * 40_000)} for at in range(900)]
    rows[500] = {"prompt": [{"role": "narrator", "content": "Once"}], "completion": agent("upon a time")}
    data = rows_of(tmp_path, rows)
    assert (data.total, dict(data.refused)) == (899, {"unknown_role": [("rows.jsonl", 501)]})
    assert 20 <= data.sample.height <= 40
    numbers = [0, 32, 499, 500, 501, 898]
    again = data.chosen_of([*reversed(numbers), 32])
    assert again["row"].to_list() == numbers
    assert again["turn_text"].to_list() == [f"Question {at}?" for at in (0, 32, 499, 501, 502, 899)]
    assert data.chosen_of([]).height == 0


def test_the_sample_is_spread_over_all_rows_and_holds_their_texts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prefdata.auditing.dataset.SAMPLE_ROWS", 10)
    rows = [{"prompt": user(f"Question {at}?"), "completion": agent(f"Answer {at}.")} for at in range(50)]
    sample = rows_of(tmp_path, rows).sample
    assert 5 <= sample.height <= 10
    assert sample["row"].to_list()[0] < 15
    assert sample["row"].to_list()[-1] > 35
    assert sample["completion_text"].to_list() == [f"Answer {at}." for at in sample["row"]]


def test_keys_are_of_the_content_alone_and_the_same_at_every_version(tmp_path: Path) -> None:
    turns = {"prompt": user("2 + 2?"), "chosen": agent("4"), "rejected": agent("5")}
    given = [turns, {**turns, "chosen_rating": 3.0, "id": "b"}, {**turns, "chosen": agent("4."), "source": "web"}]
    found = rows_of(tmp_path, given, source="trl").rows["key"]
    assert found.to_list() == [10082920716286165136, 10082920716286165136, 16369534877911888375]
    plain = tmp_path / "plain.parquet"
    pl.DataFrame({"prompt": ["2 + 2?"], "chosen": ["4"], "rejected": ["5"]}).write_parquet(plain)
    assert read(lambda: open_dataset(plain), []).rows["key"].to_list() == [10082920716286165136]


def test_keys_and_hashes_do_not_depend_on_the_rows_beside(tmp_path: Path) -> None:
    plain = {"prompt": user("Weather?"), "completion": agent("Fine.")}
    call = {"id": "1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    calling = {"prompt": user("Weather?"), "completion": agent("Fine.", tool_calls=[call])}
    alone = rows_of(tmp_path, [plain], source="trl").rows
    beside = rows_of(tmp_path, [plain, calling], source="trl").rows
    names = [name for name in alone.columns if name.endswith(("key", "_hash", "_norm"))]
    assert beside.select(names).row(0) == alone.select(names).row(0)
    assert beside["key"].n_unique() == beside["completion_norm"].n_unique() == 2


def test_rows_without_a_prompt_are_no_answers_to_one_question(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("text,label\nGood day,true\ngood DAY!,false\nAnother,true\n")
    rows = read(lambda: open_dataset(path, columns={"completion": "text"}), []).rows
    first, second, third = rows["prompt_norm"]
    assert first == second != third
    assert rows["prompt_hash"].n_unique() == 1


def test_pairs_without_a_prompt_are_one_comparison_either_way_round(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("chosen,rejected\na,b\nb,a\na,c\n")
    rows = read(lambda: open_dataset(path, columns={"chosen": "chosen"}), []).rows
    first, second, third = rows["prompt_norm"]
    assert first == second != third


@pytest.mark.parametrize("name", ["one_line.json", "rows.parquet", "rows.csv"])
def test_rows_of_every_container_are_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr("prefdata.auditing.dataset.SAMPLE_ROWS", 1)
    rows = [{"prompt": f"Question {at}?", "chosen": f"Answer {at}.", "rejected": "No."} for at in range(50)]
    path = tmp_path / name
    if name.endswith("json"):
        path.write_text(json.dumps(rows), encoding="utf-8")
    elif name.endswith("csv"):
        pl.DataFrame(rows).write_csv(path)
    else:
        pl.DataFrame(rows).write_parquet(path)
    data = read(lambda: open_dataset(path), [])
    again = data.chosen_of([3, 17, 49])
    assert again.select("row", "chosen_text").rows() == [(at, f"Answer {at}.") for at in (3, 17, 49)]
