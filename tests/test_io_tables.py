"""Text tables: the faults that real exports have, each with what must become of it."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import tempfile
from pathlib import Path

import polars as pl
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from prefdata.errors import RecipeError
from prefdata.io import DEFAULT_LIMITS, QUARANTINE, ReadLimits, Table, read_lines, read_objects, read_table
from prefdata.reading import sources


def put(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def rows(frame: pl.DataFrame, *columns: str) -> list[tuple[object, ...]]:
    return frame.select(columns or [name for name in frame.columns if not name.startswith("_")]).rows()


def faults(quarantine: pl.DataFrame) -> list[tuple[object, ...]]:
    assert quarantine.schema == QUARANTINE
    return quarantine.select("line", "offset", "reason").rows()


# ---- JSONL, a broken line costs that line


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"id":2,"t":"b"', "malformed_json"),
        (b'{"id":2} {"id":3}', "malformed_json"),
        (b"17", "not_object"),
        (b"[1,2]", "not_object"),
        (b"null", "not_object"),
        (b'"text"', "not_object"),
        (b'{"t":"a","t":"z"}', "duplicate_key"),
        (b'{"t":{"u":1,"u":2}}', "duplicate_key"),
        (rb'{"t":"\ud800"}', "lone_surrogate"),
        (rb'{"t":["\uDC00x"]}', "lone_surrogate"),
        (rb'{"\ud800":"key"}', "lone_surrogate"),
        (b'{"t":"a\x00b"}', "nul_character"),
        (rb'{"t":"a\u0000b"}', "nul_character"),
        (b'{"t":NaN}', "non_finite_number"),
        (b'{"t":-Infinity}', "non_finite_number"),
        (b'{"t":[Infinity]}', "non_finite_number"),
        (b'{"t":00861}', "malformed_json"),
        (b'{"t":"\xff"}', "bad_encoding"),
        (b'{"t":"\xed\xa0\x80"}', "bad_encoding"),
        (b'{"t":"' + b"x" * 300 + b'"}', "line_too_long"),
        (b'{"t":' + b"[" * 100_000 + b"}", "line_too_long"),
        (b'{"_line":"1"}', "reserved_column"),
    ],
)
def test_a_broken_json_line_is_quarantined_with_its_place_and_hash(tmp_path: Path, line: bytes, reason: str) -> None:
    first = '{"id":1,"t":"ä"}\n'.encode()
    path = put(tmp_path, "log.jsonl", first + line + b'\n\n{"id":3,"t":"c"}')
    table = read_table(path, limits=ReadLimits(max_line_bytes=256))
    assert rows(table.frame, "id", "_line") == [("1", 1), ("3", 4)]
    assert table.quarantine.rows() == [
        ("log.jsonl", 2, len(first), reason, hashlib.sha256(line).hexdigest(), len(line))
    ]
    report = table.files[0]
    assert (report.units, report.blank, report.quarantined, report.encoding) == (3, 1, 1, "utf-8")


@pytest.mark.parametrize("depth", [201, 5_000, 200_000])
def test_nesting_too_deep_is_quarantined(tmp_path: Path, depth: int) -> None:
    path = put(tmp_path, "log.jsonl", b'{"t":' + b"[" * depth + b"]" * depth + b'}\n{"t":"b"}\n')
    table = read_table(path)
    assert rows(table.frame) == [("b",)]
    assert faults(table.quarantine) == [(1, 0, "nested_too_deep")]


def test_nesting_of_199_arrays_in_an_object_is_read(tmp_path: Path) -> None:
    nested = "[" * 199 + "]" * 199
    assert rows(read_table(put(tmp_path, "a.jsonl", f'{{"t":{nested}}}\n'.encode())).frame) == [(nested,)]


def test_values_of_json_stay_as_they_were_written(tmp_path: Path) -> None:
    lines = [
        '{"a":1.10,"b":true,"c":null,"d":"00861391234"}',
        '{"a":123456789012345678901234567890,"b":-0,"c":1E5,"d":false}',
        '{"a":{"x": [1.10, -0, 1e400, "é", null, true]},"b":[],"c":"x","d":"\\u4f60\\\\u0000"}',
        '{"a":["\ue0007", 7],"b":"1","c":"\\ue0008","d":[" \\ue0009", 9.0]}',
        '{"a":' + "9" * 5000 + ',"b":[' + "9" * 5000 + '],"c":"","d":" "}',
    ]
    table = read_table(put(tmp_path, "a.jsonl", "\r\n".join(lines).encode()))
    assert table.quarantine.height == 0
    assert rows(table.frame) == [
        ("1.10", "true", None, "00861391234"),
        ("123456789012345678901234567890", "-0", "1E5", "false"),
        ('{"x":[1.10,-0,1e400,"é",null,true]}', "[]", "x", "你\\u0000"),
        ('["\ue0007",7]', "1", "\ue0008", '[" \ue0009",9.0]'),
        ("9" * 5000, "[" + "9" * 5000 + "]", "", " "),
    ]
    assert set(table.frame.drop("_line", "_offset").dtypes) == {pl.String()}


def test_a_key_first_seen_late_is_a_column(tmp_path: Path) -> None:
    data = b'{"a":"1"}\n' * 60_000 + b'{"a":"2","late":"x"}\n'
    table = read_table(put(tmp_path, "a.jsonl", data))
    assert table.frame["late"].drop_nulls().to_list() == ["x"]
    assert table.frame["_line"].to_list() == list(range(1, 60_002))
    assert table.frame["_offset"][-1] == 600_000


def test_files_that_differ_in_columns_give_the_union_and_each_its_own_columns(tmp_path: Path) -> None:
    put(tmp_path, "b.jsonl", b'{"x":"1","y":2}\n')
    put(tmp_path, "a.csv", b"y,z\n3,4\n")
    table = read_table(tmp_path)
    assert rows(table.frame, "_file", "x", "y", "z") == [("a.csv", None, "3", "4"), ("b.jsonl", "1", "2", None)]
    assert [(file.file, file.columns) for file in table.files] == [("a.csv", ("y", "z")), ("b.jsonl", ("x", "y"))]


def test_a_new_key_in_every_line_is_refused_before_memory_is_gone(tmp_path: Path) -> None:
    data = "".join(f'{{"k{number}":1}}\n' for number in range(5000)).encode()
    table = read_table(put(tmp_path, "a.jsonl", data))
    assert table.frame.height == 0
    assert faults(table.quarantine) == [(None, None, "too_many_columns")]


def test_a_line_with_thousands_of_keys_costs_that_line(tmp_path: Path) -> None:
    wide = json.dumps({f"k{number}": 1 for number in range(5000)}).encode()
    table = read_table(put(tmp_path, "a.jsonl", b'{"a":1}\n' + wide))
    assert (rows(table.frame), faults(table.quarantine)) == ([("1",)], [(2, 8, "too_many_columns")])


# ---- CSV


def test_quoted_line_ends_keep_the_line_and_offset_where_the_record_begins(tmp_path: Path) -> None:
    data = 'id,t\r\n1,"ä\r\nb"\r\n\r\n2,c\r\n'.encode()
    table = read_table(put(tmp_path, "a.csv", data))
    assert rows(table.frame, "id", "t", "_line", "_offset") == [("1", "ä\r\nb", 2, 6), ("2", "c", 5, 19)]
    assert table.files[0].blank == 1


def test_leading_zeros_long_numbers_and_nan_are_text(tmp_path: Path) -> None:
    table = read_table(put(tmp_path, "a.csv", b"a,b,c,d\n00861391234,NaN,99999999999999999999,\n"))
    assert rows(table.frame) == [("00861391234", "NaN", "99999999999999999999", "")]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"2", "ragged_row"),
        (b"2,b,c", "ragged_row"),
        (b'2,"b', "unclosed_quote"),
        (b'2,"b"x', "broken_quoting"),
        (b"2,b\rc", "bare_carriage_return"),
        (b"2,a\x00b", "nul_character"),
        (b"2,\xff", "bad_encoding"),
        (b"2," + b"x" * 300, "line_too_long"),
    ],
)
def test_a_broken_csv_record_costs_its_first_line(tmp_path: Path, line: bytes, reason: str) -> None:
    path = put(tmp_path, "a.csv", b"id,t\n1,a\n" + line + b"\n3,c\n4,d\n")
    table = read_table(path, limits=ReadLimits(max_line_bytes=256))
    assert rows(table.frame, "id", "_line") == [("1", 2), ("3", 4), ("4", 5)]
    assert faults(table.quarantine) == [(3, 9, reason)]


def test_an_unclosed_quote_in_a_file_of_one_column_takes_the_rest_with_it(tmp_path: Path) -> None:
    table = read_table(put(tmp_path, "a.csv", b't\na\n"b\nc\nd\n'))
    assert rows(table.frame) == [("a",)]
    assert table.quarantine.select("line", "offset", "reason", "bytes").rows() == [(3, 4, "unclosed_quote", 4)]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"a,a\n1,2\n", "duplicate_columns"),
        (b"a,_line\n1,2\n", "reserved_column"),
        (b"a\x00,b\n1,2\n", "nul_character"),
        (b'a,"b\n1,2\n', "broken_header"),
        (b"a,b\n", "no_rows"),
        (b"", "empty_file"),
        (b"\n\n", "empty_file"),
        ("a,b\n1,2\n".encode("utf-16-le"), "unsupported_encoding"),
        ("a,b\n1,2\n".encode("utf-32"), "unsupported_encoding"),
        (b"a,b\n" + "ééé à,ù û\n".encode("cp1252") * 5, "unsupported_encoding"),
    ],
)
def test_a_table_that_cannot_be_trusted_is_refused_whole(tmp_path: Path, data: bytes, reason: str) -> None:
    table = read_table(put(tmp_path, "a.csv", data))
    assert table.frame.height == 0
    digest = hashlib.sha256(data).hexdigest()
    assert table.quarantine.drop("offset").rows() == [("a.csv", None, reason, digest, len(data))]
    assert (table.files[0].units, table.files[0].quarantined) == (1, 1)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_delimiters_and_line_ends_are_found(tmp_path: Path, delimiter: str, end: str) -> None:
    text = end.join(
        delimiter.join(fields) for fields in [("id", "t"), ("1", "a b"), ("2", "c, d" * (delimiter != ","))]
    )
    table = read_table(put(tmp_path, "a.csv", (text + end).encode()))
    assert rows(table.frame, "id", "t", "_line") == [("1", "a b", 2), ("2", "c, d" * (delimiter != ","), 3)]


def test_a_file_without_header_gets_numbered_or_given_names(tmp_path: Path) -> None:
    path = put(tmp_path, "a.csv", b"1,a\n2,b\n")
    assert read_table(path, header=False).frame.select("column_1", "column_2").rows() == [("1", "a"), ("2", "b")]
    assert read_table(path, header=["id", "t"]).frame["t"].to_list() == ["a", "b"]
    assert read_table(put(tmp_path, "b.csv", b",x\n1,2\n")).frame["column_1"].to_list() == ["1"]


def test_quotes_are_text_when_told_so(tmp_path: Path) -> None:
    table = read_table(put(tmp_path, "a.tsv", b'id\tt\n1\t"hi\n2\tb" c\n'), quote=None)
    assert rows(table.frame) == [("1", '"hi'), ("2", 'b" c')]


# ---- encodings


@pytest.mark.parametrize(
    ("encoding", "found"),
    [
        ("utf-8", "utf-8"),
        ("utf-8-sig", "utf-8-sig"),
        ("utf-16", "utf-16-le"),
        ("utf-16-be", "utf-16-be"),
        ("gb18030", "gb18030"),
    ],
)
@pytest.mark.parametrize("kind", ["csv", "jsonl", "json"])
def test_encodings_are_found_and_named(tmp_path: Path, encoding: str, found: str, kind: str) -> None:
    text = {
        "csv": "编号,内容\n1,你好，我的订单在哪里？\n2,谢谢😀\n",
        "jsonl": '{"编号":"1","内容":"你好，我的订单在哪里？"}\n{"编号":"2","内容":"谢谢😀"}\n',
        "json": '[{"编号":"1","内容":"你好，我的订单在哪里？"},\n{"编号":"2","内容":"谢谢😀"}]',
    }[kind]
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    data = (mark + text).encode(encoding)
    table = read_table(put(tmp_path, f"a.{kind}", data))
    assert rows(table.frame) == [("1", "你好，我的订单在哪里？"), ("2", "谢谢😀")]
    assert table.files[0].encoding == found
    last = text.rindex("{" if kind != "csv" else "2,")
    size = len((mark + text[:last]).encode(encoding))
    assert table.frame["_offset"][-1] == size


def test_a_utf8_file_with_one_broken_line_stays_utf8(tmp_path: Path) -> None:
    lines = ['{"t":"你好"}'.encode(), '{"t":"坏"}'.encode("gb18030"), '{"t":"谢谢"}'.encode()]
    table = read_table(put(tmp_path, "a.jsonl", b"\n".join(lines)))
    assert rows(table.frame) == [("你好",), ("谢谢",)]
    assert faults(table.quarantine) == [(2, 15, "bad_encoding")]


def test_an_encoding_that_is_told_is_used_and_its_broken_lines_are_quarantined(tmp_path: Path) -> None:
    path = put(tmp_path, "a.csv", b"t,u\ncaf\xe9,1\n")
    assert read_table(path, encoding="cp1252").frame["t"].to_list() == ["café"]
    path = put(tmp_path, "b.csv", "t,u\n你好,1\n".encode("gb18030") + b"\xff\xff,2\n")
    table = read_table(path, encoding="gbk")
    assert (table.frame["t"].to_list(), faults(table.quarantine)) == (["你好"], [(3, 11, "bad_encoding")])
    with pytest.raises(RecipeError, match="encoding 'rot13'"):
        read_table(path, encoding="rot13")


def test_an_odd_byte_in_utf16_costs_its_line(tmp_path: Path) -> None:
    data = b"\xff\xfe" + "a,b\n1,2\n3,4".encode("utf-16-le") + b"\x00"
    table = read_table(put(tmp_path, "a.csv", data))
    assert (rows(table.frame), faults(table.quarantine)) == ([("1", "2")], [(3, 18, "bad_encoding")])


# ---- JSON documents


def test_a_broken_element_of_an_array_costs_that_element(tmp_path: Path) -> None:
    data = b'[{"a":1}, {"a":}, 5, {"a":"\\ud800"},\n {"a":2,"a":3}, {"a":"x" "y"}, {"a":4}]'
    table = read_table(put(tmp_path, "a.json", data))
    assert rows(table.frame, "a", "_line", "_offset") == [("1", 1, 1), ("4", 7, 68)]
    assert faults(table.quarantine) == [
        (2, 10, "malformed_json"),
        (3, 18, "not_object"),
        (4, 21, "lone_surrogate"),
        (5, 38, "duplicate_key"),
        (6, 53, "malformed_json"),
    ]


@pytest.mark.parametrize(
    ("tail", "reason"),
    [(b"", "truncated_json"), (b',{"a":2', "truncated_json"), (b"] x", "malformed_json")],
)
def test_a_document_that_ends_wrongly_is_read_up_to_there(tmp_path: Path, tail: bytes, reason: str) -> None:
    table = read_table(put(tmp_path, "a.json", b'[{"a":1}' + tail))
    assert rows(table.frame) == [("1",)]
    assert table.quarantine["reason"].to_list() == [reason]


def test_elements_without_a_comma_between_them_cost_both(tmp_path: Path) -> None:
    table = read_table(put(tmp_path, "a.json", b'[{"a":1} {"a":2}, {"a":3}]'))
    assert rows(table.frame, "a", "_line") == [("3", 2)]
    assert faults(table.quarantine) == [(1, 1, "malformed_json")]


def test_an_object_of_objects_gives_its_names_as_key(tmp_path: Path) -> None:
    table = read_table(put(tmp_path, "a.json", '{"11290": {"a": [1, "你"]}, "7": {"b": 1.0}}'.encode()))
    assert rows(table.frame, "_key", "a", "b") == [("11290", '[1,"你"]', None), ("7", None, "1.0")]


def test_an_object_that_holds_anything_else_is_one_record(tmp_path: Path) -> None:
    table = read_table(put(tmp_path, "a.json", b'{\n "id": 1,\n "turns": {"b": 1}}'))
    assert rows(table.frame) == [("1", '{"b":1}')]


def test_what_is_named_json_may_be_jsonl(tmp_path: Path) -> None:
    assert rows(read_table(put(tmp_path, "a.json", b'{"a":1}\n{"a":2}\n')).frame, "a", "_line") == [("1", 1), ("2", 2)]


def test_an_element_over_the_limit_is_not_held(tmp_path: Path) -> None:
    data = b'[{"a":1},{"a":"' + b"x" * 5000 + b'"},{"a":2}]'
    table = read_table(put(tmp_path, "a.json", data), limits=ReadLimits(max_line_bytes=1000))
    assert rows(table.frame) == [("1",), ("2",)]
    assert faults(table.quarantine) == [(2, 9, "line_too_long")]


def test_objects_keep_their_nesting_and_the_literal_of_numbers(tmp_path: Path) -> None:
    found = read_objects(put(tmp_path, "a.jsonl", b'{"id":007}\n{"id":1.10,"m":[{"n":-0,"ok":true,"x":null}]}\n'))
    assert found.objects == [("a.jsonl", 2, 11, None, {"id": "1.10", "m": [{"n": "-0", "ok": True, "x": None}]})]
    assert faults(found.quarantine) == [(1, 0, "malformed_json")]
    found = read_objects(put(tmp_path, "b.json", b'{"x":{"a":1},"y":{"a":2}}'))
    assert [(line, key, value) for _, line, _, key, value in found.objects] == [
        (1, "x", {"a": "1"}),
        (2, "y", {"a": "2"}),
    ]


# ---- lines


def test_lines_are_all_there_blank_ones_too(tmp_path: Path) -> None:
    table = read_lines(put(tmp_path, "a.txt", "USER\thi\r\n\r\nSYSTEM\t你好\n\xa0".encode() + b"\n\xff\nend"))
    assert rows(table.frame, "_line", "_offset", "text") == [
        (1, 0, "USER\thi"),
        (2, 9, ""),
        (3, 11, "SYSTEM\t你好"),
        (4, 25, "\xa0"),
        (6, 30, "end"),
    ]
    assert faults(table.quarantine) == [(5, 28, "bad_encoding")]
    assert (table.files[0].units, table.files[0].blank) == (4, 2)


# ---- laws

cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=8)
names = st.text(st.characters(min_codepoint=97, max_codepoint=122), min_size=1, max_size=4)


@given(st.lists(st.dictionaries(names, cells, min_size=1, max_size=4), min_size=1, max_size=8), st.booleans())
def test_any_records_come_back_from_jsonl(records: list[dict[str, str]], ascii_only: bool) -> None:
    data = "".join(json.dumps(record, ensure_ascii=ascii_only) + "\n" for record in records)
    table = read_back("a.jsonl", data.encode())
    columns = list(dict.fromkeys(key for record in records for key in record))
    assert table.quarantine.height == 0
    assert rows(table.frame, *columns) == [tuple(record.get(key) for key in columns) for record in records]


@given(
    st.lists(names, min_size=1, max_size=4, unique=True).flatmap(
        lambda keys: st.lists(st.fixed_dictionaries(dict.fromkeys(keys, cells)), min_size=1, max_size=8)
    ),
    st.sampled_from([",", "\t", ";", "|"]),
)
def test_any_records_come_back_from_csv(records: list[dict[str, str]], delimiter: str) -> None:
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, list(records[0]), delimiter=delimiter, quoting=csv.QUOTE_ALL)
    writer.writeheader()
    writer.writerows(records)
    table = read_back("a.csv", buffer.getvalue().encode(), delimiter=delimiter)
    assert table.quarantine.height == 0
    assert table.frame.select(list(records[0])).to_dicts() == records


marks = [b"\n", b"\r\n", b"\r", b'"', b",", b"{", b"}", b"[", b"]", b":", b"\\", b" ", b"\xff", b"\x00"]
words = [b'{"a":1}', b'{"a":"b"}\n', b"a,b\n", b"1,2\n", b"\xef\xbb\xbf", b"\xff\xfe", b"\\ud800"]
pieces = st.sampled_from([*marks, *words, "你好".encode(), "你好".encode("gb18030"), "你\n".encode("utf-16-le")])
blobs = st.one_of(st.binary(max_size=60), st.lists(pieces, max_size=14).map(b"".join))


@given(blobs, st.sampled_from([8, 4_000_000]))
def test_any_bytes_as_jsonl_are_accounted_for_line_by_line(data: bytes, limit: int) -> None:
    table = read_back("a.jsonl", data, limits=ReadLimits(max_line_bytes=limit))
    whole_file = table.quarantine["line"].null_count()
    if whole_file:
        assert (table.frame.height, table.quarantine.height) == (0, 1)
        return
    assert table.frame.height + table.quarantine.height == table.files[0].units
    if table.files[0].encoding == "utf-8":
        end = b"\n" if b"\n" in data or b"\r" not in data else b"\r"
        filled = [number for number, line in enumerate(data.split(end), 1) if line.strip(b" \t\r\n")]
        assert sorted([*table.frame["_line"], *table.quarantine["line"]]) == filled


@given(blobs, st.sampled_from(["a.csv", "a.tsv", "a.json", "a.csv.gz", "a.zip", "a.parquet", "a.xlsx", "a.txt"]))
def test_any_bytes_are_read_or_refused_and_add_up(data: bytes, name: str) -> None:
    table = read_back(name, data, limits=ReadLimits(max_line_bytes=40))
    assert table.files[0].units == table.frame.height + table.quarantine.height
    assert table.files[0].quarantined == table.quarantine.height


@given(
    blobs.flatmap(lambda blob: st.sampled_from([blob, blob * 5])),
    st.sampled_from(["a.csv", "a.jsonl", "a.json"]),
    st.sampled_from([8, 13, 64]),
    st.sampled_from([6, 30, 1000]),
)
def test_where_the_chunks_are_cut_changes_nothing(data: bytes, name: str, chunk: int, limit: int) -> None:
    assume(data.count(0) <= 1)  # many in the first chunk mean UTF-16 without a mark, and the first chunk differs here
    if name == "a.json":  # which of two faults of a document is met first may differ, and so its reason
        data = data.decode("utf-8", "ignore").encode()
    # an element over the limit of a JSON document ends the reading sooner or later, as the window happens to lie
    limits = ReadLimits(max_line_bytes=limit if name != "a.json" else 1000)
    whole = read_back(name, data, limits=limits)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "CHUNK", chunk)
        cut = read_back(name, data, limits=limits)
    assert cut.frame.equals(whole.frame)
    assert cut.quarantine.equals(whole.quarantine)
    assert cut.files == whole.files


@given(blobs)
def test_any_bytes_as_lines_are_accounted_for(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        table = read_lines(put(Path(folder), "a.txt", data))
    file = table.files[0]
    if not table.quarantine["line"].null_count():
        assert table.frame.height + table.quarantine.height == file.units + file.blank


def read_back(name: str, data: bytes, *, delimiter: str = "auto", limits: ReadLimits = DEFAULT_LIMITS) -> Table:
    """A table from a file of its own: examples of hypothesis would share a `tmp_path`."""
    with tempfile.TemporaryDirectory() as folder:
        return read_table(put(Path(folder), name, data), delimiter=delimiter, limits=limits)
