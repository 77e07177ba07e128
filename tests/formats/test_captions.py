"""Captions, answers and labelled answers about pictures: which columns are which, and what every row becomes."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from prefdata.errors import RecipeError
from prefdata.formats.captions import QUESTION, Captions
from prefdata.formats.files import read_frames
from prefdata.formats.messages import MARK
from prefdata.recognition import recognised
from prefdata.schema import RecordType

PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"


def turn(role: str, content: str) -> list[dict[str, str | None]]:
    return [{"role": role, "content": content, "tool_calls": None}]


def read(given: dict[str, Any], kind: RecordType = RecordType.SFT, **settings: Any) -> list[tuple[str, list[str], str]]:
    """Question, addresses and answer of every row."""
    rows = Captions(**settings).decode(pl.DataFrame(given), kind).rows
    return [
        (row["prompt"][0]["content"], [one["uri"] for one in row["images"]], row["completion"][0]["content"])
        for row in rows.iter_rows(named=True)
    ]


def reasons(given: dict[str, Any], kind: RecordType = RecordType.SFT, **settings: Any) -> list[list[str]]:
    found: list[list[str]] = Captions(**settings).decode(pl.DataFrame(given), kind).refused["reasons"].to_list()
    return found


def test_a_caption_is_the_answer_to_the_question_behind_its_picture() -> None:
    rows = Captions().decode(pl.DataFrame({"image": ["a.png"], "caption": ["A red square."]}), RecordType.SFT).rows
    assert rows["prompt"].to_list() == [turn("user", MARK + QUESTION)]
    assert rows["completion"].to_list() == [turn("assistant", "A red square.")]
    assert rows["images"].to_list() == [[{"uri": "a.png", "side": "prompt", "message": 0, "part": 0}]]


@pytest.mark.parametrize(
    ("columns", "settings", "expected"),
    [
        ({"image": ["a.png"], "text": ["x"]}, {"question": "What?"}, [(f"{MARK}What?", ["a.png"], "x")]),
        (
            {"image": ["a.png", "b.png"], "question": ["Where?", " "], "answer": ["x", "y"]},
            {},
            [(f"{MARK}Where?", ["a.png"], "x"), (MARK + QUESTION, ["b.png"], "y")],
        ),
        (
            {"image": ["a.png"], "question": ["Is <image> red?"], "answer": ["x"]},
            {},
            [(f"Is {MARK} red?", ["a.png"], "x")],
        ),
        (
            {"images": [["a.png", "b.png"]], "text": ["x"]},
            {},
            [(MARK * 2 + QUESTION, ["a.png", "b.png"], "x")],
        ),
        (
            {"image": ["a.png"], "captions": [["x", " ", "y"]]},
            {},
            [(MARK + QUESTION, ["a.png"], "x"), (MARK + QUESTION, ["a.png"], "y")],
        ),
        (
            {"image": ["a.png"], "caption_0": ["x"], "caption_1": ["y"]},
            {},
            [(MARK + QUESTION, ["a.png"], "x"), (MARK + QUESTION, ["a.png"], "y")],
        ),
        (
            {"image": [{"bytes": PNG, "path": "a.png"}], "text": ["x"]},
            {},
            [(MARK + QUESTION, [f"data:image/png;base64,{base64.b64encode(PNG).decode()}"], "x")],
        ),
        (
            {"file": ["a.png"], "says": ["x"], "text": ["other"]},
            {"columns": {"image": "file", "text": "says"}},
            [(MARK + QUESTION, ["a.png"], "x")],
        ),
    ],
)
def test_rows_of_pictures_and_texts(columns: dict[str, Any], settings: dict[str, Any], expected: list[Any]) -> None:
    assert read(columns, **settings) == expected


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"image": [None], "text": ["x"]}, "no_picture"),
        ({"image": [""], "text": ["x"]}, "no_picture"),
        ({"image": [{"bytes": None, "path": None}], "text": ["x"]}, "picture_without_address"),
        ({"image": ["a.png"], "text": [" "]}, "empty_answer"),
        ({"image": ["a.png"], "captions": [["", None]]}, "empty_answer"),
        ({"image": ["a.png"], "text": [f"x{MARK}"]}, "object_replacement_character"),
        ({"image": ["a.png"], "question": ["<image> or <image>?"], "text": ["x"]}, "image_count"),
    ],
)
def test_a_row_without_picture_text_or_place_is_refused(columns: dict[str, Any], reason: str) -> None:
    assert reasons(columns) == [[reason]]


def test_blank_captions_beside_others_are_counted() -> None:
    found = Captions().decode(pl.DataFrame({"image": ["a.png"], "captions": [["x", " ", "y"]]}), RecordType.SFT)
    assert found.unmade == {"empty_answer": 1}
    assert len(set(found.rows["group"])) == 1


def test_a_label_makes_rows_unpaired_and_a_word_for_it_has_to_be_told() -> None:
    columns = {"image": ["a.png"] * 3, "answer": ["x", "y", "z"], "label": ["helpful", "not helpful", None]}
    told = Captions(labels={"helpful": True, "not helpful": False})
    assert [match.type for match in told.recognise(pl.DataFrame(columns))] == [RecordType.UNPAIRED]
    assert told.decode(pl.DataFrame(columns), RecordType.UNPAIRED).rows["label"].to_list() == [True, False, None]
    assert reasons(columns, RecordType.UNPAIRED) == [["ambiguous_label"], ["ambiguous_label"]]
    assert len(read(columns)) == 3


def test_columns_that_are_not_there_are_named() -> None:
    with pytest.raises(RecipeError, match="no column 'file'"):
        read({"image": ["a.png"], "text": ["x"]}, columns={"image": "file"})
    with pytest.raises(RecipeError, match="needs label"):
        read({"image": ["a.png"], "text": ["x"]}, RecordType.UNPAIRED)
    with pytest.raises(RecipeError, match=r"prompt holds List.*, no texts"):
        read({"image": ["a.png"], "prompt": [[{"role": "user", "content": "q"}]], "text": ["x"]})
    with pytest.raises(RecipeError, match=r"columns\.picture"):
        Captions(columns={"picture": "image"})
    with pytest.raises(RecipeError, match="question"):
        Captions(question=" ")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("metadata.csv", "file_name,text\na.png,A red square.\nsub/b.png,A circle.\n"),
        (
            "metadata.jsonl",
            '{"file_name": "a.png", "text": "A red square."}\n{"file_name": "sub/b.png", "text": "A circle."}',
        ),
    ],
)
def test_an_imagefolder_reads_by_its_metadata(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    (tmp_path / "a.png").write_bytes(PNG)
    frames = [chunk.frame for chunk in read_frames(tmp_path)]
    reading = recognised(frames[0], where="folder")
    assert (reading.format.name, reading.type) == ("captions", RecordType.SFT)
    rows = reading.format.decode(frames[0], reading.type).rows
    assert [one[0]["uri"] for one in rows["images"]] == ["a.png", "sub/b.png"]


@pytest.mark.parametrize(
    "columns",
    [
        {"path": ["notes", "more"], "text": ["x", "y"]},
        {"image": ["a.png"], "conversations": [[{"from": "human", "value": "q"}]], "text": ["x"]},
        {"prompt": ["q"], "completion": ["a"]},
        {"image": ["a.png"], "prompt": [[{"role": "user", "content": "q"}]], "text": ["x"]},
        {"image": ["a.png"], "label": ["x"]},
    ],
)
def test_other_rows_are_not_claimed(columns: dict[str, Any]) -> None:
    assert Captions().recognise(pl.DataFrame(columns)) == []
