"""Files as such: packed, binary, broken, hostile by name; and files written whole or not at all."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from prefdata.errors import InputError
from prefdata.formats.files import read_frames
from prefdata.io import (
    QUARANTINE,
    ReadLimits,
    read_lines,
    read_objects,
    read_table,
    sha256_file,
    write_atomic,
    write_json,
    write_parquet,
)
from prefdata.reading import sources

MIB = 2**20


def put(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def sheet(rows: list[list[str]]) -> bytes:
    """A workbook by hand; a cell is its XML: `<c t="s">` and the like."""
    schema, package = "http://schemas.openxmlformats.org", "http://schemas.openxmlformats.org/package/2006"
    main, office = f"{schema}/spreadsheetml/2006/main", f"{schema}/officeDocument/2006/relationships"
    body = ""
    for number, row in enumerate(rows, 1):
        cells = (cell.replace("@", f"{'ABCDEF'[at]}{number}") for at, cell in enumerate(row))
        body += f'<row r="{number}">{"".join(cells)}</row>'
    xml = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types">'
        '<Default Extension="xml" ContentType="application/xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships">'
        f'<Relationship Id="r1" Type="{office}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{office}">'
        '<sheets><sheet name="Log" sheetId="1" r:id="r1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}/relationships">'
        f'<Relationship Id="r1" Type="{office}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{main}"><sheetData>{body}</sheetData></worksheet>',
    }
    return zipped({name: content.encode() for name, content in xml.items()})


def text(value: str) -> str:
    return f'<c r="@" t="inlineStr"><is><t>{value}</t></is></c>'


def number(value: str) -> str:
    return f'<c r="@"><v>{value}</v></c>'


def reasons(table: object) -> list[tuple[str, str]]:
    quarantine: pl.DataFrame = table.quarantine  # type: ignore[attr-defined]
    assert quarantine.schema == QUARANTINE
    assert quarantine["line"].null_count() == quarantine.height
    return quarantine.select("file", "reason").rows()


# ---- packed files


def test_gzip_and_zip_are_read_like_files(tmp_path: Path) -> None:
    put(tmp_path, "b.csv.gz", gzip.compress(b"id,t\n1,x\n"))
    archive = put(
        tmp_path,
        "a.zip",
        zipped(
            {
                "in/l.jsonl": b'{"id":2}\n',
                "m.csv.gz": gzip.compress(b"id\n3\n"),
                "__MACOSX/x.csv": b"",
                "README.md": b"x",
            }
        ),
    )
    table = read_table(tmp_path)
    assert table.frame.select("_file", "id").rows() == [
        ("a.zip!in/l.jsonl", "2"),
        ("a.zip!m.csv.gz", "3"),
        ("b.csv.gz", "1"),
    ]
    assert table.quarantine.height == 0
    assert {file.sha256 for file in table.files[:2]} == {sha256_file(archive)}


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("a.csv.gz", gzip.compress(b"id\n" + os.urandom(1000).hex().encode())[:300], "truncated_gzip"),
        ("a.csv.gz", b"id\n1\n", "bad_gzip"),
        ("a.csv.gz", gzip.compress(b"id\n1\n")[:-6] + b"\0\0\0\0\0\0", "bad_gzip"),
        ("a.csv.gz", b"", "empty_file"),
        ("a.zip", b"PK\x03\x04 no zip", "bad_zip"),
        ("a.zip", zipped({"a.csv": b"id\n1\n2\n3\n"})[:60], "bad_zip"),
        ("a.zip", zipped({"README.md": b""}), "nothing_to_read"),
        ("a.parquet", b"", "empty_file"),
        ("a.parquet", b"id\n1\n", "not_parquet"),
        ("a.parquet", b"PAR1" + b"x" * 50, "truncated_parquet"),
        ("a.parquet", b"PAR1" + b"\xff" * 50 + b"PAR1", "broken_parquet"),
        ("a.xlsx", b"", "empty_file"),
        ("a.xlsx", b"id\n1\n", "bad_zip"),
        ("a.xlsx", zipped({"x": b""}), "broken_xlsx"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_row_of_the_quarantine(
    tmp_path: Path, name: str, data: bytes, reason: str
) -> None:
    put(tmp_path, name, data)
    put(tmp_path, "z.csv", b"id\n1\n")
    table = read_table(tmp_path)
    assert table.frame["id"].to_list() == ["1"]
    assert reasons(table) == [(name, reason)]
    assert table.quarantine.select("sha256", "bytes").row(0) == (hashlib.sha256(data).hexdigest(), len(data))


def test_a_nested_archive_is_named_and_left_alone(tmp_path: Path) -> None:
    put(tmp_path, "a.zip", zipped({"b.zip": zipped({"c.csv": b"id\n1\n"}), "d.csv": b"id\n2\n"}))
    table = read_table(tmp_path)
    assert table.frame["id"].to_list() == ["2"]
    assert reasons(table) == [("a.zip!b.zip", "nested_archive")]


def test_a_gzip_bomb_ends_at_the_ratio_and_at_the_absolute_cap(tmp_path: Path) -> None:
    bomb = gzip.compress(b'{"a":"' + b"x" * 100 + b'"}\n' * (8 * MIB // 110) + b" " * 8 * MIB)
    path = put(tmp_path, "a.jsonl.gz", bomb)
    table = read_table(path)
    assert (table.frame.height, reasons(table)) == (0, [("a.jsonl.gz", "decompression_bomb")])
    plain = put(tmp_path, "b.jsonl", b'{"a":1}\n' * 10_000)
    assert reasons(read_table(plain, limits=ReadLimits(max_bytes=50_000))) == [("b.jsonl", "file_too_large")]
    packed = put(tmp_path, "c.jsonl.gz", gzip.compress(os.urandom(40_000).hex().encode()))
    limits = ReadLimits(max_bytes=50_000)
    assert reasons(read_table(packed, limits=limits)) == [("c.jsonl.gz", "decompression_bomb")]


def test_small_files_may_shrink_more_than_the_ratio(tmp_path: Path) -> None:
    path = put(tmp_path, "a.csv.gz", gzip.compress(b"id\n" + b"1\n" * 400_000))
    assert read_table(path).frame.height == 400_000


@pytest.mark.parametrize("name", ["a.zip", "a.xlsx"])
def test_zip_and_workbook_bombs_are_refused_before_they_are_unpacked(tmp_path: Path, name: str) -> None:
    path = put(tmp_path, name, zipped({"xl/a.csv": b"0" * 3 * MIB, "xl/b.csv": b"0" * 3 * MIB}))
    assert reasons(read_table(path)) == [(name, "decompression_bomb")]


def test_a_file_that_changes_while_it_is_read_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(tmp_path, "a.csv", b"id\n1\n")
    real = sources.Source.chunks

    def growing(source: sources.Source, limits: ReadLimits) -> Iterator[bytes]:
        yield from real(source, limits)
        path.write_bytes(b"id\n1\n2\n")

    monkeypatch.setattr(sources.Source, "chunks", growing)
    with pytest.raises(InputError, match=r"a\.csv: changed while it was read"):
        read_table(path)


# ---- Parquet and XLSX


def test_parquet_values_become_text(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "id": [1, None],
            "f": [1.5, float("nan")],
            "ok": [True, False],
            "t": ["你好", "a\x00b"],
            "at": [datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC), None],
            "m": [[{"role": "user", "n": 1}], None],
        }
    )
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    table = read_table(put(tmp_path, "user=root/a.parquet", buffer.getvalue()))
    assert table.frame.drop("_file", "_line", "_offset").rows() == [
        ("1", "1.5", "true", "你好", "2024-01-02 03:04:05.000000+00:00", '[{"role":"user","n":1}]')
    ]
    assert table.quarantine.select("line", "reason").rows() == [(2, "nul_character")]
    assert table.files[0].units == 2


def test_a_folder_name_never_becomes_a_column(tmp_path: Path) -> None:
    put(tmp_path, "user=root/a.csv", b"id\n1\n")
    assert read_table(tmp_path).frame.columns == ["_file", "_line", "_offset", "id"]


def test_a_value_without_json_costs_its_row_of_a_parquet_file(tmp_path: Path) -> None:
    frame = pl.DataFrame({"a": [[1.0], [float("nan")], [2.5]], "b": [b"x", b"y", b"\xff"]})
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    table = read_table(put(tmp_path, "a.parquet", buffer.getvalue()))
    assert table.frame.select("_line", "a", "b").rows() == [(1, "[1.0]", "x")]
    assert table.quarantine.select("line", "reason").rows() == [(2, "non_finite_number"), (3, "bad_encoding")]


def test_half_a_parquet_file_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    pl.DataFrame({"a": list(range(1000))}).write_parquet(buffer)
    table = read_table(put(tmp_path, "a.parquet", buffer.getvalue()[:1000]))
    assert reasons(table) == [("a.parquet", "truncated_parquet")]


def test_a_parquet_file_of_a_billion_repeated_cells_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    pl.DataFrame({"a": pl.repeat(1, 1_000_000, eager=True)}).write_parquet(buffer)
    table = read_table(put(tmp_path, "a.parquet", buffer.getvalue()), limits=ReadLimits(max_bytes=10_000_000))
    assert reasons(table) == [("a.parquet", "decompression_bomb")]


def test_cells_of_a_workbook_become_text_with_their_row(tmp_path: Path) -> None:
    data = sheet(
        [
            [text("id"), text("when"), text("t")],
            [text("00861391234"), number("8613912345678"), text("你好 &lt;b&gt;")],
            [],
            [number("1.10"), "", text("=cmd|x")],
        ]
    )
    table = read_table(put(tmp_path, "a.xlsx", data))
    rows = [(2, "00861391234", "8613912345678", "你好 <b>"), (4, "1.1", None, "=cmd|x")]
    assert table.frame.drop("_file", "_offset").rows() == rows
    frames = [chunk.frame.drop("_file", "_offset") for chunk in read_frames(tmp_path / "a.xlsx", chunk_bytes=1)]
    assert [frame.rows() for frame in frames] == [[row] for row in rows]
    assert (table.files[0].units, table.files[0].blank) == (2, 1)
    assert read_table(tmp_path / "a.xlsx", sheet="Log").frame.height == 2
    assert reasons(read_table(tmp_path / "a.xlsx", sheet="Other")) == [("a.xlsx", "no_such_sheet")]


def test_a_workbook_with_one_cell_far_out_is_refused(tmp_path: Path) -> None:
    far = '<c r="XFD1048576"><v>1</v></c>'
    path = put(tmp_path, "a.xlsx", sheet([[text("a")], [text("1")], [far]]))
    assert reasons(read_table(path)) == [("a.xlsx", "decompression_bomb")]


def test_a_workbook_with_a_column_twice_is_refused(tmp_path: Path) -> None:
    path = put(tmp_path, "a.xlsx", sheet([[text("a"), text("a")], [text("1"), text("2")]]))
    assert reasons(read_table(path)) == [("a.xlsx", "duplicate_columns")]


# ---- paths are data


def test_a_path_is_not_a_pattern(tmp_path: Path) -> None:
    put(tmp_path, "we[ird]*.csv", b"id\n1\n")
    put(tmp_path, "weird.csv", b"id\n2\n")
    assert read_table(tmp_path / "we[ird]*.csv").frame["id"].to_list() == ["1"]
    with pytest.raises(InputError, match=r"\*\.json: no such file or folder"):
        read_table(tmp_path / "*.json")


@pytest.mark.parametrize("path", ["http://127.0.0.1:9/a.csv", "file:///etc/hosts", "s3://b/a.csv", "HF://x"])
def test_an_address_is_refused_and_never_fetched(path: str) -> None:
    with pytest.raises(InputError, match="addresses are not read"):
        read_table(path)


def test_a_missing_path_is_named_as_it_was_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for read in (read_table, read_objects, read_lines):
        with pytest.raises(InputError, match=r"^exports/log\.csv: no such file or folder$"):
            read("exports/log.csv")


def test_a_folder_without_data_is_an_error(tmp_path: Path) -> None:
    put(tmp_path, "README.md", b"x")
    with pytest.raises(InputError, match="no file to read in this folder"):
        read_table(tmp_path)


def test_a_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.csv")
    with pytest.raises(InputError, match="not a regular file"):
        read_table(tmp_path / "a.csv")
    assert reasons(read_table(tmp_path)) == [("a.csv", "not_a_regular_file")]


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    put(tmp_path, "secret.csv", b"id\n9\n")
    put(tmp_path, "in/a.csv", b"id\n1\n")
    (tmp_path / "in" / "b.csv").symlink_to(tmp_path / "secret.csv")
    assert read_table(tmp_path / "in").frame["id"].to_list() == ["1"]


def test_names_are_relative_and_the_order_of_a_list_changes_nothing(tmp_path: Path) -> None:
    paths = [
        put(tmp_path, "x/2.csv", b"id\n2\n"),
        put(tmp_path, "x/1.csv", b"id\n1\n"),
        put(tmp_path, "a.jsonl", b'{"id":0}\n'),
    ]
    table = read_table(paths)
    assert table.frame.select("_file", "id").rows() == [("a.jsonl", "0"), ("x/1.csv", "1"), ("x/2.csv", "2")]
    assert table.frame.equals(read_table(paths[::-1]).frame)
    with pytest.raises(InputError, match="given twice"):
        read_table([paths[0], paths[0]])


# ---- writing


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = put(tmp_path, "a.json", b"old")
    with pytest.raises(ValueError, match="Out of range float"):
        write_json(path, {"a": float("nan")})
    with pytest.raises(TypeError):
        write_atomic(path, "no bytes")  # type: ignore[arg-type]
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


def test_json_is_written_with_sorted_keys(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": 1, "a": "你"})
    assert (tmp_path / "a.json").read_text("utf-8") == '{\n  "a": "你",\n  "b": 1\n}\n'
    assert sha256_file(tmp_path / "a.json") == hashlib.sha256((tmp_path / "a.json").read_bytes()).hexdigest()


def test_parquet_bytes_depend_on_the_rows_alone(tmp_path: Path) -> None:
    frame = pl.DataFrame({"id": [f"{i:06d}" for i in range(100_000)], "x": [[i, i % 7] for i in range(100_000)]})
    write_parquet(tmp_path / "a.parquet", frame)
    write_parquet(tmp_path / "b.parquet", pl.concat([frame[:30_001], frame[30_001:]], rechunk=False))
    code = (
        "import polars as pl, sys; from prefdata.io import write_parquet; "
        "write_parquet(sys.argv[2], pl.read_parquet(sys.argv[1]))"
    )
    for threads in ("1", "4"):
        subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "a.parquet"), str(tmp_path / f"{threads}.parquet")],
            check=True,
            env={**os.environ, "POLARS_MAX_THREADS": threads},
        )
    assert len({sha256_file(tmp_path / f"{name}.parquet") for name in ("a", "b", "1", "4")}) == 1
    assert pl.read_parquet(tmp_path / "a.parquet").equals(frame)


# ---- real data


@pytest.mark.parametrize(
    ("name", "units"),
    [
        ("twcs_sample", [93]),
        ("crosswoz", [500]),
        ("abcd", [3, 10, 1, 1]),
        ("davidson", [24_783]),
        ("cold/dev.csv.gz", [6_431]),
        ("multidogo_software", [1_847, 3_641]),
    ],
)
def test_real_tables_go_through_whole(shared_data: Callable[[str], Path], name: str, units: list[int]) -> None:
    table = read_table(shared_data(name))
    assert [file.units for file in table.files] == units
    assert table.quarantine.height == 0
    assert table.frame.height == sum(units)


def test_real_lines_go_through_whole(shared_data: Callable[[str], Path]) -> None:
    table = read_lines(shared_data("uss/SGD.txt"))
    assert (table.files[0].units, table.files[0].blank, table.frame.height) == (26_666, 1_000, 27_666)
