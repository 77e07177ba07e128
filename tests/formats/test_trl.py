"""TRL's export: explicit sides, boolean labels, no column of nulls, labels spread evenly, the same bytes every time."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from prefdata.formats.order import interleave
from prefdata.formats.trl import Trl
from prefdata.schema import MESSAGES, RecordType, conform


def rows(labels: list[bool]) -> pl.DataFrame:
    side = [[{"role": "user", "content": f"q {at} 你好 🙂", "tool_calls": None}] for at in range(len(labels))]
    reply = [[{"role": "assistant", "content": f"a {at}", "tool_calls": None}] for at in range(len(labels))]
    ids = [f"{at:04d}" for at in range(len(labels))]
    frame = pl.DataFrame(
        {"id": ids, "source": ids, "group": ids, "prompt": side, "completion": reply, "label": labels},
        schema_overrides={"prompt": MESSAGES, "completion": MESSAGES, "label": pl.Boolean},
    )
    return conform(frame, RecordType.UNPAIRED)


def test_the_file_holds_what_the_trainer_reads(tmp_path: Path) -> None:
    written = Trl().write({"train": rows([True, False, True])}, tmp_path)
    frame = pl.read_parquet(tmp_path / "train.parquet")
    assert frame.columns == ["id", "prompt", "completion", "label"]
    assert frame.schema["label"] == pl.Boolean
    assert frame.filter(pl.col("id") == "0002")["completion"].to_list() == [[{"role": "assistant", "content": "a 2"}]]
    facts = written["train.parquet"]
    assert (facts["rows"], facts["desirable"], facts["undesirable"]) == (3, 2, 1)


def test_the_order_of_rows_changes_no_byte(tmp_path: Path) -> None:
    frame = rows([True, False, True, True, False])
    for name, given_rows in (("a", frame), ("b", frame.reverse())):
        (tmp_path / name).mkdir()
        Trl().write({"train": given_rows}, tmp_path / name)
    assert (tmp_path / "a/train.parquet").read_bytes() == (tmp_path / "b/train.parquet").read_bytes()


@given(st.lists(st.booleans(), min_size=8, max_size=60))
def test_labels_are_spread_evenly(labels: list[bool]) -> None:
    spread = interleave(rows(labels))["label"].to_list()
    assert sorted(spread) == sorted(labels)
    good = sum(labels)
    for end in range(len(labels) + 1):
        assert abs(sum(spread[:end]) - end * good / len(labels)) <= 1.0
