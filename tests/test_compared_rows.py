"""Rows of two datasets: every row once, the same content wherever it stands, swaps and edits told apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import prefdata
from prefdata.comparing.rows import pairing
from prefdata.comparing.sides import read_side
from prefdata.comparing.words import MIDDLE, Piece, words
from prefdata.comparison import Comparison, compare
from prefdata.schema import RecordType


def pair(prompt: str, chosen: str, rejected: str, **more: Any) -> dict[str, Any]:
    turns = {"prompt": ("user", prompt), "chosen": ("assistant", chosen), "rejected": ("assistant", rejected)}
    return {side: [{"role": role, "content": text}] for side, (role, text) in turns.items()} | more


def rated(prompt: str, completion: str, label: bool, **more: Any) -> dict[str, Any]:
    turns = {"prompt": ("user", prompt), "completion": ("assistant", completion)}
    return {side: [{"role": role, "content": text}] for side, (role, text) in turns.items()} | {"label": label} | more


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def compared(folder: Path, a: list[dict[str, Any]], b: list[dict[str, Any]], **more: Any) -> Comparison:
    return compare(write(folder / "a.jsonl", a), write(folder / "b.jsonl", b), audit=False, **more)


KEPT = [pair(f"Question {at}?", f"A good answer, number {at}.", f"bad {at}") for at in range(4)]


def test_each_row_of_pairs_is_told_once(tmp_path: Path) -> None:
    a = [
        *KEPT,
        KEPT[0],
        pair("turned", "first", "second"),
        pair("edited", "It costs five euros.", "no idea"),
        pair("only form", "Yes, it is.", "no"),
        pair("What is my adress?", "It is on the page of your account, under orders.", "Look yourself."),
        pair("gone", "x", "y"),
    ]
    b = [
        pair("new", "x", "z"),
        pair("What is my address?", "It is on the page of your account, under orders.", "Look yourself."),
        pair("only form", "yes it is", "no"),
        pair("edited", "It costs six euros.", "no idea"),
        pair("turned", "second", "first"),
        *KEPT,
    ]
    found = compared(tmp_path, a, b).rows
    assert found is not None
    assert found.same.rows() == [(0, 5), (1, 6), (2, 7), (3, 8)]
    assert found.relabelled.rows() == [(5, 4)]
    assert found.changed.rows() == [
        (6, 3, ["chosen"], True),
        (7, 2, ["chosen"], False),
        (8, 1, ["prompt"], True),
    ]
    assert found.only_a.to_list() == [4, 9]
    assert found.only_b.to_list() == [0]
    assert found.repeated == (1, 0)


def test_labels_of_the_same_content_are_a_table(tmp_path: Path) -> None:
    a = [rated("q", "one", True), rated("q", "two", True), rated("q", "three", False), rated("q", "one", False)]
    b = [rated("q", "one", True), rated("q", "two", False), rated("q", "three", False), rated("q", "one", True)]
    found = compared(tmp_path, a, b)
    assert found.rows is not None
    assert found.labels is not None
    assert found.rows.same.rows() == [(0, 0), (2, 2)]
    assert found.rows.relabelled.rows() == [(1, 1), (3, 3)]
    assert found.labels.table == {
        "desirable": {"desirable": 1, "undesirable": 1},
        "undesirable": {"desirable": 1, "undesirable": 1},
    }
    assert (found.labels.rows, found.labels.changed) == (4, 2)


def test_margins_that_moved_are_told_with_their_mean(tmp_path: Path) -> None:
    a = [pair(f"q{at}", "good", "bad", margin=1.0) for at in range(4)]
    b = [pair(f"q{at}", "good", "bad", margin=margin) for at, margin in enumerate((1.0, 1.0, 2.0, 0.5))]
    found = compared(tmp_path, a, b)
    assert found.labels is not None
    assert found.labels.table == {"chosen_first": {"chosen_first": 4, "rejected_first": 0}}
    assert {name: moved._asdict() for name, moved in found.labels.numbers.items()} == {
        "margin": {"rows": 4, "changed": 2, "mean": 0.125}
    }


def test_a_file_equals_its_conversion_and_its_rows_in_another_order(tmp_path: Path) -> None:
    rows = [*KEPT, pair("你好？", "您好，请问有什么可以帮您？", "嗯"), KEPT[2]]
    file = write(tmp_path / "pairs.jsonl", rows)
    prefdata.convert(file, to="trl", out=tmp_path / "pairs.parquet")
    prefdata.convert(file, to="llamafactory", out=tmp_path / "factory")
    write(tmp_path / "turned.jsonl", rows[::-1])
    for other in ("pairs.parquet", "factory", "turned.jsonl"):
        found = compare(file, tmp_path / other, audit=False).rows
        assert found is not None
        assert found.same.height == 6, other
        assert (found.repeated, len(found.only_a), len(found.only_b)) == ((1, 1), 0, 0)


def test_a_conversion_of_real_pairs_loses_only_what_it_refused(shared_data: Any, tmp_path: Path) -> None:
    data = shared_data("llamafactory/dpo_en_demo.json")
    done = prefdata.convert(data, to="trl", out=tmp_path / "b.parquet")
    found = compare(data, tmp_path / "b.parquet", audit=False).rows
    assert found is not None
    assert found.same.height == done.written
    assert (found.relabelled.height, found.changed.height, len(found.only_b)) == (0, 0, 0)
    assert len(found.only_a) == 300 - done.written


def test_rows_of_two_types_are_compared_by_prompts_and_distributions(tmp_path: Path) -> None:
    found = compared(tmp_path, [*KEPT, pair("only in pairs", "a", "b")], [rated("Question 1?", "Fine.", True)])
    assert (found.rows, found.labels) == (None, None)
    assert found.prompts == (4, 0, 1)
    assert "answer_chars" in {shape.name for shape in found.shapes}


ANSWERS = st.sampled_from(["good", "bad", "Good!", "other words"])
PAIRS = st.tuples(st.sampled_from(["p", "q", "P"]), ANSWERS, ANSWERS)
UNARY = st.tuples(st.sampled_from(["p", "q", "P"]), ANSWERS, st.booleans())


def rows_of(texts: list[tuple[Any, ...]], record_type: RecordType) -> pl.DataFrame:
    """Rows as a side has them; hashes are numbers of the texts."""
    names = ("prompt", "chosen", "rejected") if record_type is RecordType.PREFERENCE else ("prompt", "completion")
    frame = pl.DataFrame({"row": pl.Series(range(len(texts)), dtype=pl.UInt32)})
    keys = pl.Series("key", [hash(row[: len(names)]) % 2**63 for row in texts], dtype=pl.UInt64)
    for at, side in enumerate(names):
        for what, told in (("hash", str), ("norm", lambda text: text.lower().strip("!"))):
            values = [hash((what, told(row[at]))) % 2**63 for row in texts]
            frame = frame.with_columns(pl.Series(f"{side}_{what}", values, dtype=pl.UInt64))
    if record_type is RecordType.UNPAIRED:
        frame = frame.with_columns(pl.Series("label", [row[2] for row in texts], dtype=pl.Boolean))
    return frame.with_columns(keys)


@pytest.mark.parametrize("record_type", [RecordType.PREFERENCE, RecordType.UNPAIRED])
@given(data=st.data())
def test_accounts_add_up_mirror_and_are_empty_for_one_and_the_same(record_type: RecordType, data: Any) -> None:
    texts = PAIRS if record_type is RecordType.PREFERENCE else UNARY
    a, b = (rows_of(data.draw(st.lists(texts, max_size=12)), record_type) for _ in range(2))
    found = pairing(a, b, record_type)
    together = found.together()
    assert sorted([*together["a"], *found.only_a]) == list(range(a.height))
    assert sorted([*together["b"], *found.only_b]) == list(range(b.height))
    back = pairing(b, a, record_type)
    for name in ("same", "relabelled"):
        assert getattr(back, name).select("b", "a").sort("b", "a").rows() == getattr(found, name).sort("a", "b").rows()
    assert (back.changed.height, len(back.only_a), len(back.only_b)) == (
        found.changed.height,
        len(found.only_b),
        len(found.only_a),
    )
    own = pairing(a, a, record_type)
    assert own.same.rows() == [(at, at) for at in range(a.height)]
    assert own.relabelled.height + own.changed.height + len(own.only_a) + len(own.only_b) == 0


def test_words_tell_what_was_taken_out_and_put_in() -> None:
    assert words("We will refund you today.", "We will not refund you tomorrow.") == [
        Piece("same", "We will ", 8),
        Piece("come", "not ", 4),
        Piece("same", "refund you ", 11),
        Piece("gone", "today", 5),
        Piece("come", "tomorrow", 8),
        Piece("same", ".", 1),
    ]
    assert words("我们会退款。", "我们不会退款。") == [
        Piece("same", "我们", 2),
        Piece("come", "不", 1),
        Piece("same", "会退款。", 4),
    ]
    assert words("apple pie", "a fish soup") == [Piece("gone", "apple pie", 9), Piece("come", "a fish soup", 11)]


def test_long_equal_ends_and_long_changes_are_cut_and_counted() -> None:
    found = words("a " * 1_000 + "old" + " z" * 1_000, "a " * 1_000 + "new" + " z" * 1_000)
    assert [(piece.what, piece.chars) for piece in found] == [
        ("cut_same", 1_880),
        ("same", 120),
        ("gone", 3),
        ("come", 3),
        ("same", 120),
        ("cut_same", 1_880),
    ]
    found = words("x" * 5_000, "y" * 4_000)
    assert [(piece.what, piece.chars) for piece in found] == [
        ("gone", MIDDLE),
        ("come", MIDDLE),
        ("cut_gone", 5_000 - MIDDLE),
        ("cut_come", 4_000 - MIDDLE),
    ]


@given(one=st.text(max_size=60), other=st.text(max_size=60))
def test_words_hold_both_texts_whole(one: str, other: str) -> None:
    found = words(one, other)
    assert "".join(piece.text for piece in found if piece.what in ("same", "gone")) == one
    assert "".join(piece.text for piece in found if piece.what in ("same", "come")) == other


def test_of_a_side_no_text_stays_in_memory(tmp_path: Path) -> None:
    side = read_side(write(tmp_path / "a.jsonl", KEPT), audit=False)
    texts = [name for name, dtype in side.rows.schema.items() if dtype == pl.String]
    assert texts == ["_file"]
