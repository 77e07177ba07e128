"""Pictures that a trainer will not find."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from PIL import Image

from prefdata.auditing.finding import Finding, Severity
from prefdata.auditing.looking import REFUSED_PICTURES
from prefdata.auditor import audit
from prefdata.errors import InputError
from prefdata.schema import IMAGE, RecordType


def row(at: int, *pictures: str) -> dict[str, Any]:
    asked: list[dict[str, str]] = [{"type": "image"} for _ in pictures]
    return {
        "prompt": [{"role": "user", "content": [*asked, {"type": "text", "text": f"What is in picture {at}?"}]}],
        "chosen": [{"role": "assistant", "content": [{"type": "text", "text": f"A red square, {at} wide."}]}],
        "rejected": [{"role": "assistant", "content": [{"type": "text", "text": "A dog."}]}],
        "images": list(pictures),
    }


def found(folder: Path, rows: list[dict[str, Any]], **more: Any) -> dict[str, Finding]:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8")
    return {finding.check: finding for finding in audit(path, only=["form"], **more).findings}


def test_pictures_that_are_not_beside_the_data_are_named(tmp_path: Path) -> None:
    (tmp_path / "here.png").write_bytes(b"x")
    rows = [row(0, "here.png"), row(1, "gone.png"), row(2, "here.png", "gone.png"), row(3, "a/b.png", "c.png")]
    finding = found(tmp_path, rows)["missing_pictures"]
    assert finding.rows.to_list() == [1, 2, 3]
    assert finding.measures == {"pictures": 4}
    assert finding.severity is Severity.CRITICAL
    assert finding.places == ("rows.jsonl:2", "rows.jsonl:3", "rows.jsonl:4")


def test_absolute_paths_and_addresses_are_taken_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "here.png").write_bytes(b"x")
    rows = [row(0, str(tmp_path / "here.png")), row(1, "https://example.org/a.png"), row(2, "data:image/png;base64,AA")]
    assert "missing_pictures" not in found(tmp_path, rows)


@pytest.mark.parametrize("name", ["a" * 5_000 + ".png", "../../nowhere/x.png", "."])
def test_names_that_can_be_no_file_are_missing(name: str, tmp_path: Path) -> None:
    assert found(tmp_path, [row(0, name)])["missing_pictures"].count == 1


def test_rows_without_a_picture_beside_others_are_a_note(tmp_path: Path) -> None:
    (tmp_path / "here.png").write_bytes(b"x")
    rows = [row(0, "here.png"), row(1), row(2, "here.png", "here.png"), row(3)]
    finding = found(tmp_path, rows)["pictures_in_some_rows"]
    assert finding.rows.to_list() == [1, 3]
    assert finding.severity is Severity.NOTE
    assert finding.measures == {"with_pictures": 2, "most_in_a_row": 2}


def test_a_set_without_pictures_says_nothing_of_them(tmp_path: Path) -> None:
    assert not {"missing_pictures", "pictures_in_some_rows"} & set(found(tmp_path, [row(0), row(1)]))


def test_pictures_below_a_folder_that_is_named_are_opened(tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    shop.mkdir()
    Image.linear_gradient("L").save(shop / "whole.png")
    whole = (shop / "whole.png").read_bytes()
    (shop / "cut.png").write_bytes(whole[: len(whole) // 2])
    (shop / "note.png").write_text("no picture")
    rows = [row(0, "whole.png"), row(1, "cut.png"), row(2, "whole.png", "note.png"), row(3, "cut.png"), row(4)]
    seen = found(tmp_path, rows, pictures=shop)
    assert "missing_pictures" not in seen
    assert seen["refused_pictures"].rows.to_list() == [1, 2, 3]
    assert seen["refused_pictures"].measures == {"pictures": {"truncated": 2, "unknown_format": 1}}
    assert "refused_pictures" not in found(tmp_path, rows)
    with pytest.raises(InputError, match="no folder of pictures"):
        found(tmp_path, rows, pictures=tmp_path / "nowhere")


def test_pictures_without_an_address_are_named_as_a_run_refuses_them(tmp_path: Path) -> None:
    assert REFUSED_PICTURES.prepare is not None
    check = REFUSED_PICTURES.prepare(REFUSED_PICTURES, {"pictures": tmp_path})
    assert check is not None
    assert check.collect is not None
    images = [None, [{"uri": None, "side": "prompt", "message": 0, "part": 0}]]
    chunk = pl.DataFrame({"row": [0, 1], "images": images}, schema={"row": pl.UInt32, "images": pl.List(IMAGE)})
    assert check.collect(chunk, RecordType.SFT).rows() == [(1, "no_address", 1)]


def test_pictures_beside_a_data_file_of_a_subfolder_are_found(tmp_path: Path) -> None:
    for split, names in {"train": ("x", "y"), "test": ("x", "gone")}.items():
        (tmp_path / split).mkdir()
        rows = [{"file_name": f"{name}.png", "text": f"A lamp, {name} of {split}."} for name in names]
        (tmp_path / split / "metadata.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
        for name in set(names) - {"gone"}:
            Image.new("RGB", (8, 8), "red" if split == "train" else "blue").save(tmp_path / split / f"{name}.png")
    for given in (tmp_path, [tmp_path / "train", tmp_path / "test"]):
        seen = {one.check: one for one in audit(given, only=["form"]).findings}
        assert seen["missing_pictures"].places == ("test/metadata.jsonl:2",)
    seen = {one.check: one for one in audit(tmp_path, only=["form"], pictures=tmp_path).findings}
    assert seen["refused_pictures"].places == ("test/metadata.jsonl:2",)


def test_a_folder_of_pictures_beside_those_of_the_data_is_looked_into(tmp_path: Path) -> None:
    for name in ("data/photos", "data/a"):
        (tmp_path / name).mkdir(parents=True)
    Image.new("RGB", (8, 8), "red").save(tmp_path / "data/photos/x.png")
    (tmp_path / "data/a/rows.jsonl").write_text(json.dumps(row(0, "photos/x.png")) + "\n")
    assert [one.check for one in audit(tmp_path / "data", only=["missing_pictures"]).findings] == ["missing_pictures"]
    assert not audit(tmp_path / "data", only=["form"], pictures=tmp_path / "data").findings
