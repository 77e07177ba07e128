"""CSV, TSV and XLSX as datasets: frames of text in chunks, and what in them cannot be read."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefdata.formats.files import Chunk, read_frames
from prefdata.io import ReadLimits, read_table


def rows_of(chunks: list[Chunk]) -> list[tuple[Any, ...]]:
    return [row for chunk in chunks for row in chunk.frame.drop("_file", "_offset").iter_rows()]


def gone(chunks: list[Chunk]) -> list[tuple[Any, ...]]:
    return [row for chunk in chunks for row in chunk.quarantine.select("line", "reason").rows()]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("rows.csv", b'a,b\nx,"y, 1"\n,2\n'),
        ("rows.csv.gz", gzip.compress(b'a,b\nx,"y, 1"\n,2\n')),
        ("rows.tsv", b"a\tb\nx\ty, 1\n\t2\n"),
        ("rows.txt", b"a;b\nx;y, 1\n;2\n"),
        ("bom.csv", '\ufeffa,b\nx,"y, 1"\n,2\n'.encode()),
        ("wide.csv", 'a,b\nx,"y, 1"\n,2\n'.encode("utf-16")),
    ],
)
def test_every_value_of_a_table_is_text(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    chunks = list(read_frames(tmp_path / name))
    assert rows_of(chunks) == [(2, "x", "y, 1"), (3, "", "2")]
    assert [chunk.frame.columns for chunk in chunks] == [["_file", "_line", "_offset", "a", "b"]]
    assert gone(chunks) == []


def test_what_breaks_the_rules_costs_its_record_alone(tmp_path: Path) -> None:
    hostile = (
        b"id,text\n"
        b"1,good\n"
        b"2,too,many\n"
        b"3,a\x00b\n"
        b'4,"two\nlines"\n'
        b'5,"closed"badly\n'
        b"6," + b"x" * 5000 + b"\n"
        b"7,=cmd|' /C calc'!A0\n"
        b"8,\xff\xfe\n"
        b"9,last\n"
    )
    (tmp_path / "rows.csv").write_bytes(hostile)
    chunks = list(read_frames(tmp_path / "rows.csv", limits=ReadLimits(max_line_bytes=4096)))
    assert rows_of(chunks) == [
        (2, "1", "good"),
        (5, "4", "two\nlines"),
        (9, "7", "=cmd|' /C calc'!A0"),
        (11, "9", "last"),
    ]
    assert sorted(gone(chunks)) == [
        (3, "ragged_row"),
        (4, "nul_character"),
        (7, "broken_quoting"),
        (8, "line_too_long"),
        (10, "bad_encoding"),
    ]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty_file"),
        (b"a,b\n", "no_rows"),
        (b"a,a\nx,y\n", "duplicate_columns"),
        (b"_line,a\nx,y\n", "reserved_column"),
        (b'a,"b\nx,y\n', "broken_header"),
    ],
)
def test_a_table_that_cannot_be_trusted_is_one_row_of_the_quarantine(tmp_path: Path, data: bytes, reason: str) -> None:
    (tmp_path / "rows.csv").write_bytes(data)
    chunks = list(read_frames(tmp_path / "rows.csv"))
    assert rows_of(chunks) == []
    assert gone(chunks) == [(None, reason)]


def test_a_sheet_that_would_unpack_to_too_much_is_not_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "rows.xlsx", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", b" " * 2**24)
    assert gone(list(read_frames(tmp_path / "rows.xlsx"))) == [(None, "decompression_bomb")]


def test_another_encoding_that_shows_late_is_read_from_where_it_shows(tmp_path: Path) -> None:
    plain = "".join(f"{at},{'x' * 90}\n" for at in range(40_000))
    chinese = "".join(f"{at},这个问题已经解决了谢谢\n" for at in range(40_000, 60_000))
    (tmp_path / "rows.csv").write_bytes(("id,text\n" + plain + chinese).encode("gb18030"))
    chunks = list(read_frames(tmp_path / "rows.csv", chunk_bytes=2**20))
    assert len(chunks) > 2
    found = rows_of(chunks)
    assert [line for line, *_ in found] == list(range(2, 60_002))
    assert found[0] == (2, "0", "x" * 90)
    assert found[-1] == (60_001, "59999", "这个问题已经解决了谢谢")
    assert gone(chunks) == []


cells = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\x00"), max_size=8)


@given(st.lists(st.tuples(cells, cells), min_size=1, max_size=30), st.integers(1, 400))
def test_chunks_hold_what_the_whole_table_holds(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], size: int
) -> None:
    path = tmp_path_factory.mktemp("table") / "rows.csv"
    pl.DataFrame(rows, schema={"a": pl.String, "b": pl.String}, orient="row").write_csv(path, quote_style="always")
    whole = read_table(path)
    chunks = list(read_frames(path, chunk_bytes=size))
    assert rows_of(chunks) == whole.frame.drop("_file", "_offset").rows()
    assert gone(chunks) == whole.quarantine.select("line", "reason").rows()
