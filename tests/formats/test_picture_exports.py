"""Stored pictures in exports: files beside the data or bytes inside, which come back as they went."""

from __future__ import annotations

import base64
import json
import tarfile
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from prefdata.catalogue import load
from prefdata.conversion import convert
from prefdata.errors import RecipeError
from prefdata.formats import picture_export
from prefdata.formats.core import identify
from prefdata.formats.export import write_export
from prefdata.formats.files import read_frames
from prefdata.formats.messages import MARK
from prefdata.schema import SCHEMAS, RecordType, check

RED = b"\x89PNG\r\n\x1a\nred"
BLUE = b"\xff\xd8\xffblue" + bytes(60)
STORE = {f"pictures/aa/{'a' * 32}.png": RED, f"pictures/bb/{'b' * 32}.jpg": BLUE}
ADDRESSES = list(STORE)
DATA = [
    f"data:image/png;base64,{base64.b64encode(RED).decode()}",
    f"data:image/jpeg;base64,{base64.b64encode(BLUE).decode()}",
]
FILES = [one.replace("pictures/", "images/", 1) for one in ADDRESSES]


def turn(role: str, content: str) -> dict[str, str | None]:
    return {"role": role, "content": content, "tool_calls": None}


def rows(kind: RecordType, *uris: list[str]) -> pl.DataFrame:
    """A row for each list of addresses, with a place before the text for every one."""
    made: list[dict[str, Any]] = []
    for number, some in enumerate(uris):
        row: dict[str, Any] = {"prompt": [turn("user", f"{MARK * len(some)}What is this, {number}?")]}
        row["images"] = [
            {"uri": one, "side": "prompt", "message": 0, "part": at} for at, one in enumerate(some)
        ] or None
        answer = [turn("assistant", f"Answer {number}.")]
        if kind is RecordType.PREFERENCE:
            row |= {"chosen": answer, "rejected": [turn("assistant", "No idea.")]}
        else:
            row |= {"completion": answer, "label": number % 2 == 0}
        made.append(row)
    schema = {name: dtype for name, dtype in SCHEMAS[kind].items() if name not in ("id", "source", "group")}
    frame = pl.DataFrame([{name: one.get(name) for name in schema} for one in made], schema=schema, orient="row")
    return check(identify(frame, kind, source="made"), kind)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory with two pictures."""
    folder = tmp_path_factory.mktemp("run")
    for name, data in STORE.items():
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_bytes(data)
    return folder


def uris(frame: pl.DataFrame) -> list[list[str]]:
    return [[one["uri"] for one in some or []] for some in frame["images"].to_list()]


def read(form: Any, folder: Path, kind: RecordType) -> pl.DataFrame:
    """The rows of the export, in the order of their answers."""
    file = next(one for one in folder.rglob("train*") if one.is_file())
    frames = [form.decode(chunk.frame, kind).rows for chunk in read_frames(file)]
    side = "chosen" if kind is RecordType.PREFERENCE else "completion"
    whole: pl.DataFrame = pl.concat(frames).sort(pl.col(side).list.first().struct.field("content"))
    return whole


KINDS = (RecordType.SFT, RecordType.PREFERENCE, RecordType.UNPAIRED)
CASES = [
    (name, kind, settings, expected)
    for name, settings, expected in (
        ("trl", {}, DATA),
        ("trl", {"pictures": "files"}, FILES),
        ("huggingface", {}, DATA),
        ("swift", {}, FILES),
        ("swift", {"pictures": "bytes"}, DATA),
        ("llamafactory", {}, FILES),
        ("sharegpt", {}, FILES),
        ("openai", {}, DATA),
        ("axolotl", {}, FILES),
        ("verl", {}, DATA),
        ("webdataset", {}, DATA),
    )
    for kind in (KINDS if name in ("trl", "swift", "webdataset") and not settings else KINDS[:1])
]


@pytest.mark.parametrize(("name", "kind", "settings", "expected"), CASES)
def test_stored_pictures_go_out_and_come_back(
    name: str, kind: RecordType, settings: dict[str, Any], expected: list[str], store: Path, tmp_path: Path
) -> None:
    form = load("format", name)(**settings)
    one, two = ADDRESSES
    given = rows(kind, [one], [two, one], [])
    told = write_export(form, {"train": given}, kind, tmp_path, pictures=store)
    assert told["refused"] == {}
    back = read(form, tmp_path, kind)
    assert uris(back) == [[expected[0]], [expected[1], expected[0]], []]
    assert back["prompt"].to_list() == given["prompt"].to_list()
    folder = next(one for one in tmp_path.rglob("train*") if one.is_file()).parent
    if expected is FILES:
        assert [(folder / one).read_bytes() for one in FILES] == [RED, BLUE]
        assert told["pictures"] == {"files": 2, "bytes": len(RED) + len(BLUE)}
    else:
        assert not (folder / "images").exists()


def test_a_row_whose_picture_is_gone_is_refused_by_name(store: Path, tmp_path: Path) -> None:
    given = rows(RecordType.SFT, [ADDRESSES[0]], [f"pictures/cc/{'c' * 32}.png"])
    told = write_export(load("format", "swift")(), {"train": given}, RecordType.SFT, tmp_path, pictures=store)
    assert told["refused"] == {"picture_not_there": 1}
    assert told["files"]["train.jsonl"]["rows"] == 1


def test_addresses_that_are_no_stored_pictures_stay(store: Path, tmp_path: Path) -> None:
    other = ["https://example.org/p.png", "photos/a.png", "pictures/../../secret.png"]
    write_export(
        load("format", "swift")(), {"train": rows(RecordType.SFT, other)}, RecordType.SFT, tmp_path, pictures=store
    )
    assert json.loads((tmp_path / "train.jsonl").read_text())["images"] == other
    assert not (tmp_path / "images").exists()


@pytest.mark.parametrize("name", ["trl", "huggingface", "swift", "llamafactory", "openai"])
def test_rows_without_pictures_go_out_as_they_did(name: str, store: Path, tmp_path: Path) -> None:
    given = rows(RecordType.SFT, [], [])
    for folder, root in (("a", None), ("b", store)):
        write_export(load("format", name)(), {"train": given}, RecordType.SFT, tmp_path / folder, pictures=root)
    first, second = (sorted(one for one in (tmp_path / name).rglob("*") if one.is_file()) for name in "ab")
    assert [one.read_bytes() for one in first] == [one.read_bytes() for one in second]
    assert not any("images" in pl.read_parquet_schema(one) for one in first if one.suffix == ".parquet")


def test_pictures_inside_are_written_in_batches(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture_export, "BATCH_BYTES", len(RED) + 1)
    given = rows(RecordType.SFT, *[[ADDRESSES[0]]] * 3, [])
    parts = picture_export.PictureExport(load("format", "trl")(), "parquet", store=store, data=tmp_path)
    assert [part.height for part in parts.batches(given)] == [1, 1, 2]
    write_export(load("format", "trl")(), {"train": given}, RecordType.SFT, tmp_path, pictures=store)
    assert pl.read_parquet(tmp_path / "train.parquet")["images"].list.len().to_list().count(1) == 3


@pytest.mark.parametrize(("name", "expected"), [("trl", DATA), ("huggingface", DATA), ("verl", DATA)])
def test_frames_of_which_a_later_one_has_the_first_picture_are_written_alike(
    name: str, expected: list[str], store: Path, tmp_path: Path
) -> None:
    given = rows(RecordType.SFT, [], [], [ADDRESSES[0]])
    form = load("format", name)()
    parts = (given[at : at + 1] for at in range(given.height))
    told = write_export(form, {"train": parts}, RecordType.SFT, tmp_path, pictures=store)
    assert told["refused"] == {}
    assert uris(read(form, tmp_path, RecordType.SFT)) == [[], [], expected[:1]]


def test_the_schema_calls_the_column_pictures(store: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    write_export(
        load("format", "trl")(), {"train": rows(RecordType.SFT, ADDRESSES)}, RecordType.SFT, tmp_path, pictures=store
    )
    schema = parquet.read_schema(tmp_path / "train.parquet")
    told = json.loads(schema.metadata[b"huggingface"])
    assert told == {"info": {"features": {"images": {"feature": {"_type": "Image"}, "_type": "List"}}}}
    assert str(schema.field("images").type).count("binary") == 1
    assert "large" not in str(schema.field("images").type)


def test_the_card_of_a_folder_calls_the_column_pictures(store: Path, tmp_path: Path) -> None:
    form = load("format", "huggingface")()
    write_export(form, {"train": rows(RecordType.SFT, ADDRESSES)}, RecordType.SFT, tmp_path, pictures=store)
    assert "  - name: images\n    list: image\n" in (tmp_path / "README.md").read_text()


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Captions with pictures inside, as Hugging Face's Parquet has them."""
    path = tmp_path_factory.mktemp("hub") / "train.parquet"
    pictures = [{"bytes": RED, "path": "x.png"}, {"bytes": BLUE, "path": None}]
    pl.DataFrame({"image": pictures, "caption": ["red", "blue"]}).write_parquet(path)
    return path


def test_converted_bytes_become_files_beside_the_data(embedded: Path, tmp_path: Path) -> None:
    done = convert(embedded, to="swift", out=tmp_path / "out")
    assert (done.source, done.written) == ("captions", 2)
    lines = [json.loads(line) for line in (tmp_path / "out" / "train.jsonl").read_text().splitlines()]
    assert [(tmp_path / "out" / line["images"][0]).read_bytes() for line in lines] == [RED, BLUE]
    convert(embedded, to="swift", out=tmp_path / "one.jsonl")
    line = json.loads((tmp_path / "one.jsonl").read_text().splitlines()[0])
    assert line["images"][0].startswith("one.images/")
    assert (tmp_path / line["images"][0]).read_bytes() == RED


def test_converted_bytes_stay_inside_a_tar(embedded: Path, tmp_path: Path) -> None:
    convert(embedded, to="webdataset", out=tmp_path)
    with tarfile.open(tmp_path / "train-000000.tar") as tar:
        found = {one.name: tar.extractfile(one).read() for one in tar}  # type: ignore[union-attr]
    one, two = (f"train-000000-0000000{at}" for at in range(2))
    assert list(found) == [f"{one}.png", f"{one}.txt", f"{one}.json", f"{two}.jpg", f"{two}.txt", f"{two}.json"]
    assert (found[f"{one}.png"], found[f"{two}.txt"]) == (RED, b"blue")
    assert json.loads(found[f"{one}.json"])["images"] == ["png"]
    with pytest.raises(RecipeError, match="webdataset"):
        convert(embedded, to="trl", out=tmp_path / "x.tar")


def test_a_tar_that_is_full_is_followed_by_the_next(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture_export, "BATCH_BYTES", len(RED) + 1)
    form = load("format", "webdataset")(shard_bytes=1)
    given = rows(RecordType.UNPAIRED, *[[ADDRESSES[0]]] * 3)
    told = write_export(form, {"train": given}, RecordType.UNPAIRED, tmp_path, pictures=store)
    names = [f"train-00000{at}.tar" for at in range(3)]
    assert [(name, facts["rows"]) for name, facts in told["files"].items()] == [(name, 1) for name in names]
    assert sum(facts["desirable"] for facts in told["files"].values()) == 2
    assert (
        uris(pl.concat([form.decode(one.frame, RecordType.UNPAIRED).rows for one in read_frames(tmp_path)]))
        == [[DATA[0]]] * 3
    )
