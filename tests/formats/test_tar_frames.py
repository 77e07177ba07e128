"""Tars of samples: what becomes a row, and what in a tar is not believed."""

from __future__ import annotations

import base64
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from prefdata.formats import tar_frames
from prefdata.formats.files import read_frames
from prefdata.recognition import recognised
from prefdata.schema import RecordType

PNG = b"\x89PNG\r\n\x1a\nx"
DATA = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"


def tar(path: Path, *files: tuple[str, bytes] | tarfile.TarInfo, form: int = tarfile.USTAR_FORMAT) -> Path:
    with tarfile.open(path, "w", format=form) as made:
        for one in files:
            info = one if isinstance(one, tarfile.TarInfo) else tarfile.TarInfo(one[0])
            data = b"" if isinstance(one, tarfile.TarInfo) else one[1]
            info.size = len(data)
            made.addfile(info, io.BytesIO(data))
    return path


def link(name: str, to: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, to
    return info


def read(path: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """Rows without the file's name, and the reasons of what could not be read."""
    chunks = list(read_frames(path))
    found = [row for chunk in chunks for row in chunk.frame.drop("_file", "_offset").to_dicts()]
    return found, [one for chunk in chunks for one in chunk.quarantine["reason"]]


def test_files_of_one_key_are_one_record(tmp_path: Path) -> None:
    path = tar(
        tmp_path / "a.tar",
        ("a/1.png", PNG),
        ("a/1.txt", b"One.\n"),
        ("a/1.cls", b"3"),
        ("a/2.txt", b"Two."),
        ("a/2.jpg", PNG),
        ("a/2.json", b'{"width": 5}'),
    )
    rows, reasons = read(path)
    assert [(row["_line"], row["__key__"], row["images"], row["txt"]) for row in rows] == [
        (1, "a/1", [DATA], "One."),
        (2, "a/2", [DATA], "Two."),
    ]
    assert ([row.get("width") for row in rows], reasons) == ([None, 5], [])


@pytest.mark.parametrize(
    "files",
    [
        (("1.png", PNG), ("1.txt", b"One."), ("2.png", PNG), ("2.txt", b"Two.")),
        (("1.png", PNG), ("1.json", b'{"caption": "One."}'), ("2.png", PNG), ("2.json", b'{"caption": "Two."}')),
    ],
)
def test_captions_of_a_tar_are_rows(tmp_path: Path, files: tuple[Any, ...]) -> None:
    [frame] = [chunk.frame for chunk in read_frames(tar(tmp_path / "a.tar", *files))]
    reading = recognised(frame, where="tar")
    assert ({reading.format.name, *reading.same}, reading.type) == ({"webdataset", "captions"}, RecordType.SFT)
    rows = reading.format.decode(frame, RecordType.SFT).rows.to_dicts()
    found = [(row["images"][0]["uri"], row["completion"][0]["content"]) for row in rows]
    assert found == [(DATA, "One."), (DATA, "Two.")]


def test_a_tar_of_a_long_name_and_a_large_header_reads(tmp_path: Path) -> None:
    name = "x" * 150
    for at, form in enumerate((tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)):
        rows, _ = read(tar(tmp_path / f"{at}.tar", (f"{name}.png", PNG), (f"{name}.txt", b"One."), form=form))
        assert [(row["__key__"], row["images"]) for row in rows] == [(name, [DATA])]


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ((("1.png", PNG), link("1.txt", "/etc/passwd")), "not_a_regular_file"),
        ((("1.png", PNG), ("1.txt", b"\xff\xfe\xff")), "bad_encoding"),
        ((("1.png", PNG), ("1.txt", b"a\x00b")), "nul_character"),
        ((("1.png", PNG), ("1.json", b"[1]")), "not_object"),
        ((("1.png", PNG), ("1.json", b'{"a": 1, "a": 2}')), "duplicate_key"),
        ((("1.png", PNG), ("1.png", PNG), ("1.txt", b"x")), "duplicate_member"),
        ((("1.png", PNG), ("1.json", b"{}"), ("1.json", b'{"caption": "x"}')), "duplicate_member"),
        ((("1.png", PNG), ("1.txt", b"x"), ("1.caption", b"y")), "duplicate_member"),
    ],
)
def test_a_sample_that_cannot_be_read_costs_itself_alone(tmp_path: Path, files: tuple[Any, ...], reason: str) -> None:
    rows, reasons = read(tar(tmp_path / "a.tar", *files, ("2.png", PNG), ("2.txt", b"Two.")))
    assert reasons == [reason]
    assert [row["__key__"] for row in rows] == ["2"]


def test_a_picture_that_is_too_large_is_passed_over_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tar_frames, "MAX_PICTURE", 100)
    path = tar(tmp_path / "a.tar", ("1.png", PNG + bytes(101)), ("1.txt", b"One."), ("2.png", PNG), ("2.txt", b"Two."))
    rows, reasons = read(path)
    assert ([row["txt"] for row in rows], reasons) == (["Two."], ["member_too_large"])


def test_a_sample_that_holds_more_than_is_kept_costs_itself_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tar_frames, "MAX_SAMPLE", 25)
    path = tar(
        tmp_path / "a.tar", ("1.a.png", PNG), ("1.b.png", PNG), ("1.c.png", PNG), ("2.png", PNG), ("2.txt", b"x")
    )
    rows, reasons = read(path)
    assert ([row["__key__"] for row in rows], reasons) == (["2"], ["member_too_large"])


def test_a_caption_stands_in_the_json_of_one_sample_and_beside_the_other(tmp_path: Path) -> None:
    path = tar(
        tmp_path / "a.tar", ("1.png", PNG), ("1.txt", b"One."), ("2.png", PNG), ("2.json", b'{"caption": "Two."}')
    )
    (frame,) = [chunk.frame for chunk in read_frames(path)]
    reading = recognised(frame, where="tar")
    rows = reading.format.decode(frame, reading.type).rows
    assert [row[0]["content"] for row in rows["completion"]] == ["One.", "Two."]


def test_a_name_within_another_record_of_a_header_is_no_name(tmp_path: Path) -> None:
    info = tarfile.TarInfo("1.txt")
    info.pax_headers = {"comment": "x\n17 path=other.txt\n12 size=5000\n"}
    info.size = 4
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT) as made:
        made.addfile(info, io.BytesIO(b"One."))
    rows, reasons = read(tmp_path / "a.tar")
    assert ([(row["__key__"], row["txt"]) for row in rows], reasons) == ([("1", "One.")], [])


def test_names_of_a_tar_are_never_paths(tmp_path: Path) -> None:
    path = tar(
        tmp_path / "a.tar", ("../../evil.png", PNG), ("../../evil.txt", b"One."), ("/abs.png", PNG), ("/abs.txt", b"x")
    )
    rows, reasons = read(path)
    assert ([row["__key__"] for row in rows], reasons) == (["../../evil", "abs"], [])
    assert [one.name for one in tmp_path.iterdir()] == ["a.tar"]


@pytest.mark.parametrize(("cut", "reason"), [(700, "truncated_tar"), (1100, "truncated_tar")])
def test_a_tar_that_breaks_off_gives_what_stands_before(tmp_path: Path, cut: int, reason: str) -> None:
    whole = tar(tmp_path / "a.tar", ("1.txt", b"x" * 600), ("2.txt", b"Two.")).read_bytes()
    (tmp_path / "a.tar").write_bytes(whole[:cut])
    _, reasons = read(tmp_path / "a.tar")
    assert reasons == [reason]


def test_what_is_no_tar_and_a_header_that_fills_memory_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"no tar" * 200)
    assert read(tmp_path / "a.tar") == ([], ["broken_tar"])
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 2**33
    (tmp_path / "b.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT))
    assert read(tmp_path / "b.tar") == ([], ["broken_tar"])


def test_pictures_of_a_row_are_named_in_its_json(tmp_path: Path) -> None:
    row = {
        "prompt": [{"role": "user", "content": "<image>"}],
        "images": ["1.png", "https://example.org/a.png", "0.png"],
    }
    path = tar(tmp_path / "a.tar", ("1.0.png", PNG), ("1.1.png", PNG + b"1"), ("1.json", json.dumps(row).encode()))
    second = f"data:image/png;base64,{base64.b64encode(PNG + b'1').decode()}"
    assert read(path)[0][0]["images"] == [second, "https://example.org/a.png", DATA]
