"""Columns of pictures: the one that has some counts, two that differ are refused; bytes become addresses."""

from __future__ import annotations

import base64
from typing import Any

import polars as pl
import pytest

from prefdata.formats.axolotl import Axolotl
from prefdata.formats.swift import Swift
from prefdata.formats.trl import Trl
from prefdata.formats.verl import Verl
from prefdata.schema import RecordType

PROMPT = [{"role": "user", "content": "what"}]
ANSWER = [{"role": "assistant", "content": "a cat"}]
PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"


def read(**columns: Any) -> tuple[list[Any], list[str]]:
    """Addresses of the pictures, and reasons of refusal, of one row in TRL's columns."""
    rows = pl.DataFrame({"prompt": [PROMPT], "completion": [ANSWER], **{name: [one] for name, one in columns.items()}})
    outcome = Trl().decode(rows, RecordType.SFT)
    found = [[one["uri"] for one in images or []] for images in outcome.rows["images"].to_list()]
    return found, [one for reasons in outcome.refused["reasons"].to_list() for one in reasons]


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"images": ["a.png"], "image": None}, ([["a.png"]], [])),
        ({"images": None, "image": "b.png"}, ([["b.png"]], [])),
        ({"images": [], "image": "b.png"}, ([["b.png"]], [])),
        ({"images": ["a.png"], "image": "a.png"}, ([["a.png"]], [])),
        ({"images": ["a.png"], "image": ""}, ([["a.png"]], [])),
        ({"image": ""}, ([[]], [])),
        ({"images": ["a.png"], "image": "b.png"}, ([], ["image_count"])),
    ],
)
def test_the_column_that_has_pictures_counts(columns: dict[str, Any], expected: tuple[Any, Any]) -> None:
    assert read(**columns) == expected


def test_a_second_column_of_pictures_is_not_left_out_in_silence() -> None:
    turns = [{"role": "user", "content": "<image>what"}, *ANSWER]
    rows = pl.DataFrame({"messages": [turns], "images": [["a.png"]], "image": ["b.png"]})
    assert Swift().decode(rows, RecordType.SFT).refused["reasons"].to_list() == [["image_count"]]


JPEG = b"\xff\xd8\xff" + bytes(100)


@pytest.mark.parametrize(
    ("columns", "kind", "data"),
    [
        ({"images": [{"bytes": PNG, "path": "cat.png"}]}, "png", PNG),
        ({"image": {"bytes": PNG, "path": "cat.png"}}, "png", PNG),
        ({"image": {"bytes": base64.b64encode(PNG).decode(), "path": None}}, "png", PNG),
        ({"images": [PNG]}, "png", PNG),
        ({"images": [base64.b64encode(PNG).decode()]}, "png", PNG),
        ({"image": base64.b64encode(JPEG).decode()}, "jpeg", JPEG),
    ],
)
def test_bytes_become_an_address_that_holds_them(columns: dict[str, Any], kind: str, data: bytes) -> None:
    assert read(**columns) == ([[f"data:image/{kind};base64,{base64.b64encode(data).decode()}"]], [])


@pytest.mark.parametrize("columns", [{"images": [{"bytes": None, "path": None}]}, {"image": {"path": None}}])
def test_a_picture_with_neither_path_nor_bytes_is_refused(columns: dict[str, Any]) -> None:
    assert read(**columns) == ([], ["picture_without_address"])


def test_a_path_without_bytes_is_an_address() -> None:
    assert read(images=[{"bytes": None, "path": "/9j/cat"}]) == ([["/9j/cat"]], [])


def test_formats_without_pictures_do_not_claim_rows_with_them() -> None:
    texts = {"prompt": ["q"], "completion": ["a"], "label": [True]}
    assert len(Axolotl().recognise(pl.DataFrame(texts))) == 1
    assert Axolotl().recognise(pl.DataFrame(texts | {"images": [["a.png"]]})) == []
    pairs = {"prompt": ["q"], "chosen": ["a"], "rejected": ["b"]}
    assert len(Verl().recognise(pl.DataFrame(pairs))) == 1
    assert Verl().recognise(pl.DataFrame(pairs | {"margin": [1.0]})) == []
