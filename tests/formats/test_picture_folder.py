"""Folders of pictures with a text beside each."""

from __future__ import annotations

from pathlib import Path

import pytest

from prefdata.conversion import convert
from prefdata.errors import InputError
from prefdata.formats.captions import Captions
from prefdata.formats.files import read_frames
from prefdata.schema import RecordType

PNG = b"\x89PNG\r\n\x1a\nx"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    for name, content in {
        "a.png": PNG,
        "a.txt": b"A cat.\n",
        "sub/b.JPG": PNG,
        "sub/b.txt": "Zwei V\u00f6gel.".encode(),
        "c.png": PNG,
        "d.txt": b"No picture.",
        ".hidden.png": PNG,
        "notes.md": b"not read",
    }.items():
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_bytes(content)
    return data


def test_every_picture_is_a_record(folder: Path) -> None:
    [chunk] = list(read_frames(folder))
    assert chunk.frame.rows() == [
        ("a.txt", 1, 0, "a.png", "A cat."),
        ("c.png", 1, 0, "c.png", None),
        ("d.txt", 1, 0, None, "No picture."),
        ("sub/b.txt", 1, 0, "b.JPG", "Zwei V\u00f6gel."),
    ]
    found = Captions().decode(chunk.frame, RecordType.SFT)
    assert found.rows["_file"].to_list() == ["a.txt", "sub/b.txt"]
    assert found.refused.rows() == [(1, ["empty_answer"]), (2, ["no_picture"])]


def test_a_text_that_cannot_be_read_costs_one_record(folder: Path) -> None:
    (folder / "a.txt").write_bytes(b"\xff\xff")
    [chunk] = list(read_frames(folder))
    assert chunk.quarantine.select("file", "line", "reason").rows() == [("a.txt", 1, "bad_encoding")]
    assert chunk.frame.height == 3


def test_a_second_picture_of_the_same_name_has_no_text(folder: Path) -> None:
    (folder / "a.webp").write_bytes(PNG)
    [chunk] = list(read_frames(folder))
    assert chunk.frame.select("_file", "image", "text").rows()[:2] == [
        ("a.txt", "a.png", "A cat."),
        ("a.webp", "a.webp", None),
    ]


def test_links_that_lead_out_are_left_alone(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    (folder / "c.txt").symlink_to(tmp_path / "secret.txt")
    [chunk] = list(read_frames(folder))
    assert "secret" not in chunk.frame["text"].to_list()


def test_it_converts_as_one_set(folder: Path, tmp_path: Path) -> None:
    done = convert(folder, to="trl", out=tmp_path / "out")
    assert (done.source, done.written, list(done.files)) == ("captions", 2, ["train.parquet"])


def test_data_in_the_folder_comes_first(folder: Path) -> None:
    (folder / "metadata.csv").write_text("file_name,text\na.png,A cat.\n")
    assert [chunk.frame["_file"].to_list() for chunk in read_frames(folder)] == [["metadata.csv"]]


def test_a_folder_of_texts_alone_is_no_dataset(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("no picture")
    with pytest.raises(InputError, match="no file to read"):
        list(read_frames(tmp_path))
