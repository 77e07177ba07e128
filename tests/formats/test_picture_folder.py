"""Folders of pictures with a text beside each."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
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


SPLITS = {"train": ("x", "y"), "test": ("x",), "en/dev": ("x",)}


@pytest.fixture
def splits(tmp_path: Path) -> Path:
    """Hugging Face's imagefolder in splits whose pictures are called alike."""
    for split, names in SPLITS.items():
        folder = tmp_path / "splits" / split
        folder.mkdir(parents=True)
        rows = [{"file_name": f"{name}.png", "text": f"{name} of {split}"} for name in names]
        (folder / "metadata.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
        for name in names:
            (folder / f"{name}.png").write_bytes(PNG)
    return tmp_path / "splits"


def told(folder: Path) -> dict[str, list[tuple[str, str]]]:
    """File -> addresses and answers of LLaMA-Factory's rows."""
    found = {}
    for path in folder.glob("*.jsonl"):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        found[path.stem] = [(row["images"][0], row["conversations"][-1]["value"]) for row in rows]
    return found


def test_splits_in_folders_stay_apart_and_their_pictures_keep_their_own_addresses(splits: Path, tmp_path: Path) -> None:
    convert(splits, to="llamafactory", out=tmp_path / "out", settings={"style": "sharegpt"})
    assert told(tmp_path / "out") == {
        "train": [("train/x.png", "x of train"), ("train/y.png", "y of train")],
        "test": [("test/x.png", "x of test")],
        "validation": [("en/dev/x.png", "x of en/dev")],
    }
    both = [splits / "train", splits / "test"]
    convert(both, to="llamafactory", out=tmp_path / "two", settings={"style": "sharegpt"})
    assert sorted(address for rows in told(tmp_path / "two").values() for address, _ in rows) == [
        *("test/x.png", "train/x.png", "train/y.png")
    ]
    convert(splits / "train" / "metadata.jsonl", to="trl", out=tmp_path / "one.parquet")
    assert pl.read_parquet(tmp_path / "one.parquet")["images"].to_list() == [["x.png"], ["y.png"]]


def test_texts_beside_pictures_in_splits_stay_apart(folder: Path, tmp_path: Path) -> None:
    for split in ("train", "test"):
        (folder / split).mkdir()
        (folder / split / "x.png").write_bytes(PNG)
        (folder / split / "x.txt").write_text(f"x of {split}")
    convert(folder, to="llamafactory", out=tmp_path / "out", settings={"style": "sharegpt"})
    assert told(tmp_path / "out") == {
        "train": [("a.png", "A cat."), ("sub/b.JPG", "Zwei V\u00f6gel."), ("train/x.png", "x of train")],
        "test": [("test/x.png", "x of test")],
    }


def test_addresses_that_are_no_paths_stay_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "data" / "a").mkdir(parents=True)
    given = ["https://shop.example/x.png", "data:image/png;base64,AA", "/photos/x.png", "./x.png"]
    rows = [{"image": one, "caption": f"lamp {at}"} for at, one in enumerate(given)]
    (tmp_path / "data" / "a" / "rows.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    convert(tmp_path / "data", to="llamafactory", out=tmp_path / "out", settings={"style": "sharegpt"})
    [addresses] = told(tmp_path / "out").values()
    assert [one for one, _ in addresses[:1] + addresses[2:]] == [given[0], given[2], "a/./x.png"]
