"""Every format, every type it writes: canonical rows -> rows of the format -> a file's text -> the same canonical rows.

What a format holds comes back exactly. What it does not hold is refused with a reason, or the row goes out without it
and comes back the same in all else.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from canonical_rows import rows
from hypothesis import given, settings
from hypothesis import strategies as st

from prefdata.catalogue import FORMATS, load
from prefdata.formats.core import PLACES, ROW, Container, Feature, sides_of
from prefdata.formats.files import FrameWriter, read_frames
from prefdata.formats.rules import REASONS
from prefdata.schema import SCHEMAS, RecordType

CASES = [(name, kind) for name in FORMATS for kind in sorted(load("format", name)().writes)]

ALL: dict[RecordType, frozenset[Feature]] = {
    kind: frozenset(Feature)
    - {Feature.ID}
    - ({Feature.MARGIN} if kind is not RecordType.PREFERENCE else set())
    - ({Feature.ANSWER} if kind is not RecordType.PROMPT else set())
    - ({Feature.ANSWER_TURNS, Feature.ANSWER_IMAGES} if kind is RecordType.PROMPT else set())
    for kind in RecordType
}
"""Features that a row of a type can have."""


STRICTER: dict[tuple[str, RecordType], set[str]] = {
    ("swift", RecordType.UNPAIRED): {"answer_ends_with_call"},
    ("axolotl", RecordType.SFT): {"earlier_answers"},
    ("axolotl", RecordType.PREFERENCE): {"answer_in_template"},
    ("verl", RecordType.SFT): {"first_by_assistant"},
}
"""Refusals of rows whose every feature is held: the target trips over how they stand together."""

LIMITED = [(name, kind) for name, kind in CASES if ALL[kind] - load("format", name)().holds[kind]]


def compared(record_type: RecordType) -> list[str]:
    """The canonical columns that a file is to bring back."""
    names = [*sides_of(record_type), "images", "tools", "label", "margin", "answer"]
    return [name for name in names if name in SCHEMAS[record_type]]


def through_a_file(frame: pl.DataFrame, container: Container) -> pl.DataFrame:
    """`frame` written by the writer and read by the reader that conversions use, without the places of its rows."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"rows.{container}"
        with FrameWriter(path, container) as writer:
            writer.write(frame)
        chunks = list(read_frames(path))
    assert sum(chunk.quarantine.height for chunk in chunks) == 0
    return pl.concat([chunk.frame.drop(PLACES) for chunk in chunks])


def back(fmt: Any, written: pl.DataFrame, record_type: RecordType) -> pl.DataFrame:
    """What the format reads from what it wrote; nothing of it may be refused."""
    through = through_a_file(written, fmt.container)
    decoded = fmt.decode(through, record_type)
    assert decoded.refused.to_dicts() == []
    kinds = [match.type for match in fmt.recognise(through)]
    assert not kinds or record_type in kinds
    frame: pl.DataFrame = decoded.rows
    return frame


def same(given_rows: pl.DataFrame, got: pl.DataFrame, names: list[str]) -> None:
    assert got.height == given_rows.height
    for name in names:
        assert got.schema[name] == given_rows.schema[name], name
        expected, found = given_rows[name].to_list(), got[name].to_list()
        if name == "tools":  # objects, whose keys have no order
            expected, found = ([None if one is None else json.loads(one) for one in some] for some in (expected, found))
        assert found == expected, name


@pytest.mark.parametrize(("name", "kind"), CASES)
@given(data=st.data())
@settings(max_examples=8)
def test_what_a_format_holds_comes_back_the_same(name: str, kind: RecordType, data: st.DataObject) -> None:
    fmt = load("format", name)()
    given_rows = data.draw(rows(kind, fmt.holds[kind] & ALL[kind]))
    written = fmt.encode(given_rows, kind)
    reasons = {reason for row in written.refused["reasons"].to_list() for reason in row}
    assert reasons <= STRICTER.get((name, kind), set())
    refused = set(written.refused[ROW].to_list())
    kept = [at for at in range(given_rows.height) if at not in refused]
    if kept:
        same(given_rows[kept], back(fmt, written.rows, kind), compared(kind))


@pytest.mark.parametrize(("name", "kind"), LIMITED)
@given(data=st.data())
@settings(max_examples=6)
def test_what_a_format_does_not_hold_is_refused_or_left_out(name: str, kind: RecordType, data: st.DataObject) -> None:
    fmt = load("format", name)()
    held = fmt.holds[kind] & ALL[kind]
    extra = data.draw(st.sampled_from(sorted(ALL[kind] - held)))
    given_rows = data.draw(rows(kind, held, always={extra}))
    written = fmt.encode(given_rows, kind)
    reasons = {reason for row in written.refused["reasons"].to_list() for reason in row}
    assert reasons <= set(REASONS)
    refused = set(written.refused[ROW].to_list())
    kept = [at for at in range(given_rows.height) if at not in refused]
    assert written.rows.height == len(kept)
    if not kept:
        return
    lost = LEFT_OUT.get(extra, ())
    same(given_rows[kept], back(fmt, written.rows, kind), [one for one in compared(kind) if one not in lost])


LEFT_OUT: dict[Feature, tuple[str, ...]] = {
    Feature.MARGIN: ("margin",),
    Feature.ANSWER: ("answer",),
    Feature.TOOLS: ("tools",),
    Feature.CALL_IDS: ("prompt", "completion", "chosen", "rejected"),
}
"""Columns in which a row that goes out without a feature it has differs afterwards."""


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_no_rows_give_no_rows(name: str, kind: RecordType) -> None:
    fmt = load("format", name)()
    written = fmt.encode(pl.DataFrame(schema=SCHEMAS[kind]), kind)
    assert written.rows.height == 0
    assert written.refused.height == 0
