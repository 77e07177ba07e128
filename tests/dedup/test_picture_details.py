"""The finer look at pairs of stored pictures: digits tell screens apart, re-encoding does not; what it costs."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prefdata.dedup.picture_details import BLOCK, agree
from prefdata.dedup.picture_greys import Greys

Image = pytest.importorskip("PIL.Image")
ImageDraw = pytest.importorskip("PIL.ImageDraw")
ImageFont = pytest.importorskip("PIL.ImageFont")

NUMBERS = (1042, 1047, 1206, 1209, 1338, 1333, 4081, 4031, 5571, 5577, 9012, 9072)
TRUETYPE = ("DejaVuSans.ttf", "LiberationSans-Regular.ttf", "Arial.ttf")


def font(name: str, size: int) -> Any:
    try:
        return ImageFont.truetype(name, size) if name else ImageFont.load_default(size)
    except OSError:
        pytest.skip(f"no font {name} here")


def dialog(number: int, lettering: Any, size: tuple[int, int] = (300, 200)) -> Any:
    width, height = size
    picture = Image.new("RGB", size, "#e0e0e0")
    pen = ImageDraw.Draw(picture)
    pen.rectangle((30, 40, width - 30, height - 40), fill="white", outline="black")
    pen.text((50, 80), f"Error {number}", font=lettering, fill="black")
    return picture


@pytest.mark.parametrize(
    ("name", "size", "screen"),
    [
        ("", 10, (300, 200)),
        ("", 24, (300, 200)),
        ("", 14, (1100, 700)),
        *((name, size, (300, 200)) for name in TRUETYPE for size in (11, 16)),
    ],
)
def test_no_two_of_twelve_error_numbers_agree_and_each_does_with_its_copies(
    name: str, size: int, screen: tuple[int, int], tmp_path: Path
) -> None:
    lettering = font(name, size)
    files = [str(tmp_path / f"{number}.png") for number in NUMBERS]
    for number, path in zip(NUMBERS, files, strict=True):
        dialog(number, lettering, screen).save(path, compress_level=1)
    pairs = list(combinations(files, 2))
    assert len(pairs) == 66
    assert [pair for pair, same in zip(pairs, agree(pairs), strict=True) if same] == []
    copies = []
    for number, path in zip(NUMBERS[:3], files[:3], strict=True):
        picture = dialog(number, lettering, screen)
        for kind in ("q30.jpg", "q85.jpg", "half.png", "larger.png"):
            copies.append((path, str(tmp_path / f"{number}_{kind}")))
            if kind.startswith("q"):
                picture.save(copies[-1][1], quality=int(kind[1:3]))
            else:
                factor = 0.5 if kind == "half.png" else 1.5
                picture.resize((int(picture.width * factor), int(picture.height * factor))).save(copies[-1][1])
    assert agree(copies).tolist() == [True] * 12


def test_a_screen_and_the_re_encoded_other_one_do_not_agree(tmp_path: Path) -> None:
    lettering = font("", 14)
    pairs = []
    for number in NUMBERS:
        dialog(number, lettering).save(tmp_path / f"{number}.png")
        dialog(number, lettering).save(tmp_path / f"{number}.jpg", quality=50)
    for one, other in combinations(NUMBERS, 2):
        pairs += [(str(tmp_path / f"{one}.png"), str(tmp_path / f"{other}.jpg"))]
        pairs += [(str(tmp_path / f"{one}.jpg"), str(tmp_path / f"{other}.jpg"))]
    assert not agree(pairs).any()


def photograph(seed: int, width: int, height: int) -> Any:
    """Blurred noise of several sizes: like a photograph, and no other one's."""
    generator = np.random.default_rng(seed)
    values = np.zeros((height, width), dtype=np.float32)
    for cells, weight in ((4, 70), (16, 40), (64, 25)):
        coarse = Image.fromarray(generator.random((cells, cells), dtype=np.float32))
        values += weight * (np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)) - 0.5)
    return Image.fromarray(np.clip(128 + values, 0, 255).astype(np.uint8)).convert("RGB")


def test_a_cropped_photograph_agrees_and_another_one_does_not(tmp_path: Path) -> None:
    picture = photograph(1, 400, 300)
    picture.save(tmp_path / "whole.png")
    picture.crop((14, 6, 396, 291)).save(tmp_path / "crop.png")
    picture.crop((14, 6, 396, 291)).resize((400, 300)).save(tmp_path / "crop of its size.jpg", quality=60)
    photograph(2, 400, 300).save(tmp_path / "other.png")
    whole = str(tmp_path / "whole.png")
    others = ("crop.png", "crop of its size.jpg", "other.png")
    pairs = [(whole, str(tmp_path / name)) for name in others]
    assert agree(pairs).tolist() == [True, True, False]
    assert agree([(other, one) for one, other in pairs]).tolist() == [True, True, False]
    assert [agree([pair])[0] for pair in pairs] == [True, True, False]


def test_small_pictures_always_agree_and_lost_or_broken_ones_never(tmp_path: Path) -> None:
    dialog(1, font("", 10)).resize((90, 60)).save(tmp_path / "small.png")
    dialog(2, font("", 10)).resize((90, 60)).save(tmp_path / "small too.png")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    names = ("small too.png", "broken.png", "lost.png")
    assert agree([(str(tmp_path / "small.png"), str(tmp_path / name)) for name in names]).tolist() == [
        True,
        False,
        False,
    ]
    assert agree([]).tolist() == []


def test_every_picture_is_opened_once_and_those_looked_at_closely_once_more_while_there_is_room(tmp_path: Path) -> None:
    lettering = font("", 10)
    files = [str(tmp_path / f"{number}.png") for number in range(1000, 1000 + 2 * BLOCK)]
    for number, path in enumerate(files):
        dialog(1000 + number, lettering).save(path, compress_level=1)
    pairs = list(combinations(files, 2))
    with Greys() as greys:
        verdicts = agree(pairs, greys=greys)
        assert greys.opened <= 2 * len(files)
    room = 3 * BLOCK * 300 * 200 // 2
    with Greys(kept=room) as greys:
        assert agree(pairs, greys=greys).tolist() == verdicts.tolist()
        assert greys.held <= room
        assert greys.opened <= 6 * len(files)
