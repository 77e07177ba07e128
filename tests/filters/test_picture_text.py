"""picture_text: personal data in pictures is counted and never kept; a stand-in reads where RapidOCR is not there."""

from __future__ import annotations

import importlib.util
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from filters import picture_text
from filters.picture_text import PictureText
from prefdata.errors import InputError, MissingExtraError, RecipeError
from prefdata.judging import Rule

pytestmark = pytest.mark.skipif(importlib.util.find_spec("PIL") is None, reason="needs the extra `images`")

SHOWN = pl.List(pl.Struct({"path": pl.String, "pixels": pl.String}))


def stored(folder: Path, width: int) -> dict[str, str]:
    """A stored picture, known to the stand-in by its width."""
    from PIL import Image

    path = folder / f"{width}.png"
    Image.new("RGB", (width, 8), (1, 2, 3)).save(path)
    return {"path": str(path), "pixels": f"{folder.name} {width}"}


def items(*rows: list[dict[str, str]] | None) -> pl.DataFrame:
    return pl.DataFrame(
        {"text": ["x"] * len(rows), "pictures": list(rows)}, schema={"text": pl.String, "pictures": SHOWN}
    )


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[int, list[tuple[str, float]]]], list[Any]]:
    """Makes a stand-in for the reader: lines by width. Gives back the list of what it was shown."""

    def stand_in(lines: dict[int, list[tuple[str, float]]]) -> list[Any]:
        seen: list[Any] = []

        def read(pixels: Any) -> list[tuple[str, float]]:
            seen.append(pixels)
            return lines.get(pixels.shape[1], [])

        monkeypatch.setattr(picture_text, "_reader", lambda: read)
        monkeypatch.setattr(picture_text, "reader_version", lambda: "a stand-in")
        monkeypatch.setattr(picture_text, "_require", lambda: None)
        return seen

    return stand_in


def test_personal_data_of_all_pictures_is_counted(tmp_path: Path, reads: Callable[..., list[Any]]) -> None:
    badge, mail, sign = (stored(tmp_path, width) for width in (11, 12, 13))
    seen = reads(
        {
            11: [("Name: Jane Miller", 0.99), ("call +1 415 867 5309", 0.98)],
            12: [("jane.miller@corp-mail.com", 0.6), ("other.person@corp-mail.com", 0.4)],
            13: [("Opening hours 9 to 17", 0.99)],
        }
    )
    scores = PictureText().build().scorer.score(items([sign], [badge], [mail, sign, badge], [], None, [badge]))
    assert scores.schema == {"picture_text": pl.Float32, "kinds": pl.String, "characters": pl.Float32}
    assert scores.rows() == [
        (0, "", 21),
        (2, "name+phone", 37),
        (3, "email+name+phone", 83),
        (None, None, None),
        (None, None, None),
        (2, "name+phone", 37),
    ]
    assert len(seen) == 3
    assert seen[0].shape == (8, 13, 3)
    assert seen[0][0, 0].tolist() == [3, 2, 1]


def test_what_is_looked_for_can_be_said(tmp_path: Path, reads: Callable[..., list[Any]]) -> None:
    mail = stored(tmp_path, 12)
    reads({12: [("jane.miller@corp-mail.com", 0.6), ("+1 415 867 5309", 0.4)]})
    for settings, found in (
        ({}, (1, "email")),
        ({"min_confidence": 0.4}, (2, "email+phone")),
        ({"min_confidence": 0.4, "kinds": ("phone",)}, (1, "phone")),
        ({"kinds": ("card",)}, (0, "")),
    ):
        scorer = PictureText(**settings).build().scorer  # type: ignore[arg-type]
        assert scorer.score(items([mail])).select("picture_text", "kinds").row(0) == found


def test_one_piece_is_one_too_many_unless_said(reads: Callable[..., list[Any]]) -> None:
    reads({})
    assert PictureText().build().rules == {"picture_shows_personal_data": Rule(max=0)}
    strict, lenient = PictureText().build().scorer.parameters(), PictureText(max_found=2).build().scorer.parameters()
    assert strict == lenient
    assert strict["reader"] == "a stand-in"


def test_what_was_read_is_nowhere(
    tmp_path: Path, reads: Callable[..., list[Any]], caplog: pytest.LogCaptureFixture
) -> None:
    badge = stored(tmp_path, 11)
    reads({11: [("CANARY.8841@corp-mail.com", 0.99)]})
    with caplog.at_level(logging.DEBUG):
        scores = PictureText().build().scorer.score(items([badge]))
    assert scores["picture_text"].to_list() == [1]
    assert "CANARY" not in caplog.text + json.dumps(scores.to_dicts()) + repr(picture_text._COUNTS)


def test_without_the_reader_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    picture_text.reader_version.cache_clear()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "rapidocr" else found(name))
    scorer = PictureText().build().scorer
    with pytest.raises(MissingExtraError, match=r'pip install "prefdata\[ocr\]"'):
        scorer.parameters()
    with pytest.raises(MissingExtraError):
        scorer.score(items([{"path": "x.png", "pixels": "never read"}]))


def test_a_picture_that_is_gone_is_named(tmp_path: Path, reads: Callable[..., list[Any]]) -> None:
    reads({})
    gone = {"path": str(tmp_path / "gone.png"), "pixels": "gone"}
    with pytest.raises(InputError, match=r"picture gone\.png: taken at the gate"):
        PictureText().build().scorer.score(items([gone]))


@pytest.mark.skipif(importlib.util.find_spec("rapidocr") is None, reason="needs the extra `ocr`")
@pytest.mark.slow
def test_the_real_reader_finds_an_address(tmp_path: Path) -> None:
    from PIL import Image, ImageDraw, ImageFont

    shown = Image.new("RGB", (480, 60), "white")
    ImageDraw.Draw(shown).text((10, 10), "jane.miller@corp-mail.com", fill="black", font=ImageFont.load_default(28))
    shown.save(tmp_path / "mail.png")
    mail = {"path": str(tmp_path / "mail.png"), "pixels": "really read"}
    assert PictureText().build().scorer.score(items([mail])).row(0) == (1, "email", 25)


def test_settings_of_picture_text_name_every_fault() -> None:
    with pytest.raises(RecipeError) as caught:
        PictureText(max_found=-1, kinds=(), min_confidence=1.5, sides=())
    assert len(caught.value.faults) == 4
    with pytest.raises(RecipeError, match="kinds: iris, expected some of email"):
        PictureText(kinds=("iris",))  # type: ignore[arg-type]
