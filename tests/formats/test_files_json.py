"""JSON lines to frames: as strict as the strict parser, whatever polars would make of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefdata.formats.files import Chunk, read_frames
from prefdata.reading.account import ReadLimits
from prefdata.reading.json_frames import Decoder
from prefdata.reading.json_frames_types import NoDtype, types_of
from prefdata.reading.json_records import Refused, checked, parse

LIMITS = ReadLimits()
PLACES = ("_file", "_line", "_offset")


def read(tmp_path: Path, *lines: str, **options: Any) -> list[Chunk]:
    path = tmp_path / "rows.jsonl"
    path.write_bytes("\n".join(lines).encode("utf-8", "surrogatepass") + b"\n")
    return list(read_frames(path, **options))


def rows(chunks: list[Chunk]) -> dict[int, dict[str, Any]]:
    """Line -> the row without its nulls."""
    found = {}
    for chunk in chunks:
        for row in chunk.frame.to_dicts():
            found[row["_line"]] = {key: value for key, value in row.items() if key not in PLACES and value is not None}
    return found


def quarantine(chunks: list[Chunk]) -> dict[int | None, str]:
    return {line: reason for chunk in chunks for line, reason in chunk.quarantine.select("line", "reason").rows()}


# what polars alone would do is in the comment
COERCIONS = [
    # a number or a boolean beside text becomes text
    (['{"a":"x"}', '{"a":1}'], [{1: {"a": "x"}}, {2: {"a": 1}}]),
    (['{"a":"x"}', '{"a":true}'], [{1: {"a": "x"}}, {2: {"a": True}}]),
    (['{"a":"x"}', '{"a":1.5}'], [{1: {"a": "x"}}, {2: {"a": 1.5}}]),
    # a list or an object beside text becomes text
    (['{"a":"x"}', '{"a":["y"]}'], [{1: {"a": "x"}}, {2: {"a": ["y"]}}]),
    (['{"a":"x"}', '{"a":{"b":"y"}}'], [{1: {"a": "x"}}, {2: {"a": {"b": "y"}}}]),
    # a scalar beside lists becomes a list
    (['{"a":["y"]}', '{"a":"x"}'], [{1: {"a": ["y"]}}, {2: {"a": "x"}}]),
    (['{"a":[["y"]]}', '{"a":["x"]}'], [{1: {"a": [["y"]]}}, {2: {"a": ["x"]}}]),
    # true beside 1 becomes 1
    (['{"a":1}', '{"a":true}'], [{1: {"a": 1}}, {2: {"a": True}}]),
    (['{"a":0.5}', '{"a":false}'], [{1: {"a": 0.5}}, {2: {"a": False}}]),
    # a fraction beside whole numbers loses its fraction
    (['{"a":1}', '{"a":1.5}'], [{1: {"a": 1.0}, 2: {"a": 1.5}}]),
    # a whole number beside fractions is rounded
    (['{"a":0.5}', '{"a":9007199254740993}'], [{1: {"a": 0.5}}, {2: {"a": 9007199254740993}}]),
    # a key that comes late is dropped
    (['{"a":"x"}', '{"a":"y","b":"z"}'], [{1: {"a": "x"}, 2: {"a": "y", "b": "z"}}]),
    (['{"a":[{"b":"x"}]}', '{"a":[{"c":1}]}'], [{1: {"a": [{"b": "x", "c": None}]}, 2: {"a": [{"b": None, "c": 1}]}}]),
    # null is every type
    (['{"a":null}', '{"a":"x"}', '{"a":[]}'], [{1: {}, 2: {"a": "x"}}, {3: {"a": []}}]),
    # escapes that mean something, and keys that only look like others
    (['{"a":"\\ud83d\\ude00\\n\\"a\\":1"}', '{"\\u0061":"x"}'], [{1: {"a": '😀\n"a":1'}, 2: {"a": "x"}}]),
    (['{"a":"x"}', '{"\\na":"y"}'], [{1: {"a": "x"}, 2: {"\na": "y"}}]),
    (['{"a" : "x"}', '{ "a"\t:\t"y" }'], [{1: {"a": "x"}, 2: {"a": "y"}}]),
    (['{"a":":"}', '{"a":": \\"b\\": "}', '{"a":"\\\\"}'], [{1: {"a": ":"}, 2: {"a": ': "b": '}, 3: {"a": "\\"}}]),
    (['\ufeff{"a":"x"}', "", "   ", '{"a":"y"}\r'], [{1: {"a": "x"}, 4: {"a": "y"}}]),
    (['{"a":{}}', '{"a":{"b":-0}}'], [{1: {"a": {"b": None}}, 2: {"a": {"b": 0}}}]),
]


@pytest.mark.parametrize(("lines", "expected"), COERCIONS, ids=[" ".join(lines) for lines, _ in COERCIONS])
def test_values_keep_their_types(tmp_path: Path, lines: list[str], expected: list[dict[int, Any]]) -> None:
    chunks = read(tmp_path, *lines)
    assert [rows([chunk]) for chunk in chunks] == expected
    assert {chunk.window for chunk in chunks} == {0}
    found = json.dumps(list(rows(chunks).values()))
    wanted = json.dumps([row for part in expected for row in part.values()])
    assert found == wanted  # 1 == True == 1.0 in Python, not in JSON


REFUSED = [
    ('{"a":"x","a":"y"}', "duplicate_key"),
    ('{"a":"x","a":null}', "duplicate_key"),
    ('{"a":[{"b":"x","b":null},{}]}', "duplicate_key"),
    ('{"a":"x","\\u0061":"y"}', "duplicate_key"),
    ('{"a":"\\ud800"}', "lone_surrogate"),
    ('{"a":"\\udc00\\ud800"}', "lone_surrogate"),
    ('{"a":"\\\\\\ud800"}', "lone_surrogate"),
    ('{"a":"\\u0000"}', "nul_character"),
    ('{"a":"x\x00y"}', "nul_character"),
    ('{"a":NaN}', "non_finite_number"),
    ('{"a":-Infinity}', "non_finite_number"),
    ('{"a":1e400}', "number_out_of_range"),
    ('{"a":9223372036854775808}', "number_out_of_range"),
    ('{"a":123456789012345678901234567890}', "number_out_of_range"),
    ('{"a":[1,"x"]}', "mixed_list"),
    ('{"a":"x"', "malformed_json"),
    ('{"a":"x"} y', "malformed_json"),
    ('{"a":"x"}{"a":"y"}', "malformed_json"),
    ('{"a":01}', "malformed_json"),
    ('{"a":"\t"}', "malformed_json"),
    ('{"a":"\\x"}', "malformed_json"),
    ("{\x01a\x02:1}", "malformed_json"),
    ("17", "not_object"),
    ("null", "not_object"),
    ('["a"]', "not_object"),
    ('{"_line":1}', "reserved_column"),
    ('{"a":' + "[" * 201 + "]" * 201 + "}", "nested_too_deep"),
    ('{"a":"\ud800"}', "bad_encoding"),
]


@pytest.mark.parametrize(("line", "reason"), REFUSED, ids=[line[:30] for line, _ in REFUSED])
def test_a_broken_line_costs_that_line(tmp_path: Path, line: str, reason: str) -> None:
    chunks = read(tmp_path, '{"a":"first"}', line, '{"a":"last"}')
    assert rows(chunks) == {1: {"a": "first"}, 3: {"a": "last"}}
    assert quarantine(chunks) == {2: reason}


def test_a_text_that_looks_like_an_escape_is_no_surrogate(tmp_path: Path) -> None:
    chunks = read(tmp_path, '{"a":"\\\\ud800 \\\\u0000"}')
    assert rows(chunks) == {1: {"a": "\\ud800 \\u0000"}}


def test_offsets_and_hashes_lead_back_to_the_bytes(tmp_path: Path) -> None:
    chunks = read(tmp_path, '{"a":"é"}', "{", '{"a":1}')
    offsets = {row["_line"]: row["_offset"] for chunk in chunks for row in chunk.frame.to_dicts()}
    assert offsets == {1: 0, 3: 13}
    [broken] = pl.concat([chunk.quarantine for chunk in chunks]).to_dicts()
    assert broken == {
        "file": "rows.jsonl",
        "line": 2,
        "offset": 11,
        "reason": "malformed_json",
        "sha256": "021fb596db81e6d02bf3d2586ee3981fe519f275c0ac9ca76bbcf2ebb4097d96",
        "bytes": 1,
    }


def test_a_sound_file_never_meets_the_slow_parser(tmp_path: Path) -> None:
    lines = [
        f'{{"messages": [{{"role": "user", "content": "a \\"b\\": null"}}, {{"role": "assistant"}}], "n": {at}}}'
        for at in range(500)
    ] + ['{"messages":[],"n":null,"score":0.25}'] * 500
    decoder = Decoder(LIMITS)
    decoded = decoder.decode(pl.Series(lines), pl.DataFrame({"_line": range(1000)}))
    assert [frame.height for frame in decoded.frames] == [1000]
    assert decoder.strict == 0


def test_chunks_do_not_change_what_is_read(tmp_path: Path) -> None:
    lines = [json.dumps({"n": at, "text": "x" * (at % 7), **({"late": "y"} if at > 900 else {})}) for at in range(1000)]
    whole, parts = read(tmp_path, *lines), read(tmp_path, *lines, chunk_bytes=4096)
    assert len(whole) == 1
    # a block of a MiB is taken whole
    assert rows(whole) == rows(parts) == {at + 1: json.loads(line) for at, line in enumerate(lines)}


# ------------------------------------------------------------ the law: fast path == strict parser

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=8)
TRICKY = st.sampled_from(
    ['":', '"a":', "\\", '\\"', ": null", '","', "[", "{}", "\\ud800", "\ufeff", "\x7f", "null", "1"]
)
KEYS = st.sampled_from(["a", "b", "role", "content", "名", 'q"', "\\", "", "a:"])
NUMBERS = st.one_of(
    st.integers(-(10**19), 10**19), st.integers(-20, 20), st.floats(allow_nan=False, allow_infinity=False)
)
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, TEXT, TRICKY)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=8
)
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=4)
STYLES = st.sampled_from([(", ", ": "), (",", ":"), (" , ", " : ")])
SPOILED = st.sampled_from(["", "", "", "", "x", '"', "}", '{"a":1,"a":2}', "\\", "\x01a\x02"])


@st.composite
def written_lines(draw: st.DrawFn) -> str:
    text = json.dumps(draw(OBJECTS), ensure_ascii=draw(st.booleans()), separators=draw(STYLES))
    spoiled = draw(SPOILED)
    at = draw(st.integers(0, len(text)))
    return text[:at] + spoiled + text[at:]


def strictly(line: str) -> tuple[str, Any]:
    try:
        record = checked(line, parse(line, native=True), LIMITS, objects=True)
        types_of(record)
    except Refused as refused:
        return "refused", refused.reason
    except NoDtype as error:
        return "refused", str(error)
    return "row", without_nulls(record)


def without_nulls(value: Any) -> Any:
    """A missing key and a null are the same in a frame; numbers of a column are of one kind."""
    if isinstance(value, dict):
        found = {key: without_nulls(item) for key, item in value.items()}
        return {key: item for key, item in found.items() if item is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return ("number", float(value)) if type(value) in (int, float) and abs(value) < 10**15 else value


@settings(max_examples=150, deadline=None)
@given(st.lists(written_lines(), min_size=1, max_size=12))
def test_the_fast_path_gives_what_the_strict_parser_gives(lines: list[str]) -> None:
    lines = [line for line in lines if line.strip(" \t\r\n")]
    decoder = Decoder(LIMITS)
    decoded = decoder.decode(
        pl.Series(lines, dtype=pl.String), pl.DataFrame({"_line": pl.int_range(len(lines), eager=True)})
    )
    found: dict[int, tuple[str, Any]] = {at: ("refused", reason) for at, reason in decoded.refused}
    for frame in decoded.frames:
        for row in frame.to_dicts():
            at = row.pop("_line")
            found[at] = ("row", without_nulls(row))
    assert found == {at: strictly(line) for at, line in enumerate(lines)}


@settings(max_examples=100, deadline=None)
@given(st.lists(OBJECTS.filter(bool), min_size=2, max_size=30), st.integers(1, 10))
def test_state_kept_between_chunks_changes_nothing(records: list[dict[str, Any]], cut: int) -> None:
    lines = [json.dumps(record, ensure_ascii=False) for record in records]
    decoder = Decoder(LIMITS)
    found: dict[int, Any] = {}
    for start in range(0, len(lines), cut):
        part = lines[start : start + cut]
        numbers = pl.DataFrame({"_line": pl.int_range(start, start + len(part), eager=True)})
        decoded = decoder.decode(pl.Series(part), numbers)
        found |= {start + at: ("refused", reason) for at, reason in decoded.refused}
        for frame in decoded.frames:
            found |= {row.pop("_line"): ("row", without_nulls(row)) for row in frame.to_dicts()}
    assert found == {at: strictly(line) for at, line in enumerate(lines)}


@settings(max_examples=150, deadline=None)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_floats_are_read_to_the_last_bit(values: list[float]) -> None:
    lines = [json.dumps({"x": value}) for value in values]
    decoded = Decoder(LIMITS).decode(pl.Series(lines), pl.DataFrame({"_line": pl.int_range(len(lines), eager=True)}))
    assert decoded.frames[0]["x"].to_list() == values
