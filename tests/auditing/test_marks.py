"""Marks: which rows are looked at where there are too many, whatever the format and the chunks."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trl_rows import pair, written

from prefdata.auditing import marks, personal, toxic
from prefdata.auditing.finding import Finding
from prefdata.auditor import audit

CHECKS = ["toxic_answers", "personal_data"]


def texts(keys: list[int]) -> pl.DataFrame:
    return pl.DataFrame(
        {"row": range(len(keys)), "key": keys, "text": [f"{key} one|{key} two" for key in keys]},
        schema={"row": pl.UInt32, "key": pl.UInt64, "text": pl.String},
    )


def cut(near: pl.DataFrame) -> pl.DataFrame:
    return near.with_columns(pl.col("text").str.split("|")).explode("text")


def looked_at(chunks: list[pl.DataFrame], *, rows: int, most: int) -> tuple[list[str], float]:
    drawn = marks.Drawn(rows)
    every = pl.concat([marks.pieces(chunk, drawn, cut) for chunk in chunks])
    found, part = marks.looked_at(every, rows=rows, most=most)
    return sorted(found["text"]), part


def test_the_rows_with_the_smallest_keys_are_looked_at() -> None:
    assert looked_at([texts([30, 10, 20, 40])], rows=2, most=100) == (["10 one", "10 two", "20 one", "20 two"], 0.5)
    assert looked_at([texts([30, 10, 20, 40])], rows=3, most=2) == (["10 one", "10 two"], 0.25)
    assert looked_at([texts([30, 10])], rows=9, most=9) == (["10 one", "10 two", "30 one", "30 two"], 1.0)


@settings(max_examples=40)
@given(
    st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=30, unique=True),
    st.lists(st.integers(0, 30), max_size=4),
    st.integers(1, 12),
    st.integers(1, 20),
)
def test_neither_chunks_nor_their_order_change_what_is_looked_at(
    keys: list[int], cuts: list[int], rows: int, most: int
) -> None:
    whole = texts(keys)
    edges = [0, *sorted(min(edge, len(keys)) for edge in cuts), len(keys)]
    parts = [whole[start:end] for start, end in pairwise(edges)]
    assert looked_at(parts, rows=rows, most=most) == looked_at([whole], rows=rows, most=most)
    assert looked_at(parts[::-1], rows=rows, most=most) == looked_at([whole], rows=rows, most=most)


def test_the_same_rows_are_named_in_every_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toxic, "MAX_ROWS", 15)
    monkeypatch.setattr(personal, "MAX_PIECES", 12)

    rows = [
        pair(
            f"Where is parcel {n}?",
            f"You are a stupid idiot. Write to jane{n}@gmail.com.",
            f"It comes on day {n}.",
        )
        for n in range(40)
    ]
    written(tmp_path, rows)
    pl.DataFrame(rows).write_parquet(tmp_path / "rows.parquet", row_group_size=7)
    (tmp_path / "turned.json").write_text(json.dumps(rows[::-1]), encoding="utf-8")

    def told(name: str) -> dict[str, Finding]:
        return {one.check: one for one in audit(tmp_path / name, only=CHECKS).findings}

    lines, columns, turned = told("rows.jsonl"), told("rows.parquet"), told("turned.json")
    for check, count in (("toxic_answers", 15), ("personal_data", 12)):
        assert (lines[check].count, lines[check].measures["estimated_rows"]) == (count, 40)
        assert columns[check].rows.to_list() == lines[check].rows.to_list()
        assert sorted(39 - row for row in turned[check].rows) == lines[check].rows.to_list()
        assert set(columns[check].keys) == set(lines[check].keys) == set(turned[check].keys)
