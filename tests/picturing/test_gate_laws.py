"""What holds of every picture: equal pixels, equal everything; measures of pictures of which they are known."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_pictures import gradient, noise, opened, saved
from PIL import Image, ImageFilter

from prefdata.picturing import decoding
from prefdata.picturing.decoding import FORMATS, Rules

RULES = Rules(
    max_pixels=40_000_000,
    formats=FORMATS,
    background=(255, 255, 255),
    max_side=None,
    store="encode",
    folder="/nonexistent",
)

PIXELS = st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1))


def drawn(width: int, height: int, seed: int) -> Image.Image:
    values: npt.NDArray[Any] = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


@settings(max_examples=40)
@given(PIXELS)
def test_the_same_pixels_are_the_same_picture_however_they_are_packed(shape: tuple[int, int, int]) -> None:
    picture = drawn(*shape)
    packed = [
        saved(picture, compress_level=1),
        saved(picture, compress_level=9),
        saved(picture, "BMP"),
        saved(picture, "TIFF", compression="tiff_lzw"),
        saved(picture, "WEBP", lossless=True, exact=True),
        saved(picture.convert("RGBA")),
    ]
    first, *others = [decoding.look(data, RULES) for data in packed]
    for other in others:
        assert other.facts | {"format": "PNG"} == first.facts
        assert other.blobs == first.blobs


@settings(max_examples=40)
@given(PIXELS, st.data())
def test_another_pixel_is_another_picture(shape: tuple[int, int, int], data: st.DataObject) -> None:
    picture = drawn(*shape)
    at = data.draw(st.integers(0, picture.width - 1)), data.draw(st.integers(0, picture.height - 1))
    changed = picture.copy()
    red, *others = picture.getpixel(at)  # type: ignore[misc]
    changed.putpixel(at, (red ^ 1, *others))
    hashes = {decoding.look(saved(one), RULES).facts["pixels"] for one in (picture, changed)}
    assert len(hashes) == 2


@settings(max_examples=30)
@given(PIXELS)
def test_what_is_stored_without_loss_is_the_same_picture_when_it_comes_again(shape: tuple[int, int, int]) -> None:
    once = decoding.look(saved(drawn(*shape)), RULES)
    again = decoding.look(once.blobs[2], RULES)
    assert (again.facts, again.blobs) == (once.facts, once.blobs)


def test_a_picture_of_the_same_bytes_but_another_shape_is_another_one() -> None:
    hashes = {decoding.look(saved(Image.new("RGB", size)), RULES).facts["pixels"] for size in ((6, 4), (4, 6), (8, 3))}
    assert len(hashes) == 3


def test_one_colour_holds_nothing_to_measure() -> None:
    facts = decoding.look(saved(Image.new("RGB", (40, 30), (128, 128, 128))), RULES).facts
    assert {name: facts[name] for name in ("blur", "entropy", "contrast", "phash")} == {
        "blur": 0.0,
        "entropy": 0.0,
        "contrast": 0.0,
        "phash": 0,
    }
    assert facts["brightness"] == pytest.approx(128 / 255)


def test_black_beside_white_is_one_bit_of_middle_brightness_and_full_contrast() -> None:
    picture = Image.new("RGB", (40, 30))
    picture.paste((255, 255, 255), (20, 0, 40, 30))
    facts = decoding.look(saved(picture), RULES).facts
    assert (facts["entropy"], facts["brightness"], facts["contrast"]) == pytest.approx((1.0, 0.5, 0.5))


def test_sharpness_is_the_variance_of_the_laplacian() -> None:
    picture = Image.new("L", (5, 3))
    picture.putpixel((2, 1), 10)
    # over the three inner pixels: -10, 40, -10
    assert decoding.look(saved(picture), RULES).facts["blur"] == pytest.approx((100 + 1600 + 100) / 3 - (20 / 3) ** 2)


def test_edges_that_only_one_channel_has_are_edges() -> None:
    yellow = Image.new("RGB", (40, 30), "white")
    yellow.paste((255, 255, 0), (10, 10, 30, 20))
    blue = Image.new("L", (40, 30), 255)
    blue.paste(0, (10, 10, 30, 20))
    facts, grey = (decoding.look(saved(one), RULES).facts for one in (yellow, blue))
    assert (facts["blur"], facts["contrast"]) == pytest.approx((grey["blur"], grey["contrast"]))


def test_a_blurred_copy_is_less_sharp_and_as_bright() -> None:
    grain = noise(90, 70, 60)
    sharp, soft = (decoding.look(saved(one), RULES).facts for one in (grain, grain.filter(ImageFilter.GaussianBlur(2))))
    assert soft["blur"] < sharp["blur"] / 20
    assert soft["brightness"] == pytest.approx(sharp["brightness"], abs=0.01)


@pytest.mark.parametrize("size", [(1, 1), (1, 700), (700, 1), (2, 2)])
def test_the_smallest_and_the_thinnest_pictures_are_measured(size: tuple[int, int]) -> None:
    seen = decoding.look(saved(Image.new("RGB", size, "red")), RULES)
    assert (seen.facts["width"], seen.facts["height"], seen.facts["blur"], len(seen.blobs[0])) == (*size, 0.0, 768)


def distance(left: int, right: int) -> int:
    return (left ^ right).bit_count()


def test_copies_are_near_in_hash_and_fingerprint_and_others_are_far() -> None:
    first = gradient(160, 120)
    copies = [saved(first, "JPEG", quality=60), saved(first.resize((96, 72), Image.Resampling.LANCZOS))]
    seen = [decoding.look(data, RULES) for data in (saved(first), *copies, saved(first.rotate(180)))]
    near = [distance(seen[0].facts["phash"], other.facts["phash"]) for other in seen[1:]]
    assert max(near[:2]) <= 6 < 12 <= near[2]
    colours = [np.frombuffer(one.blobs[0], np.uint8).astype(int) for one in seen]
    apart = [float(np.abs(colours[0] - other).mean()) for other in colours[1:]]
    assert max(apart[:2]) < 3 < 20 < apart[2]


def test_the_thumbnail_is_a_small_jpeg_of_the_same_shape() -> None:
    thumbnail = opened(decoding.look(saved(gradient(300, 150)), RULES).blobs[1])
    assert (thumbnail.format, thumbnail.size) == ("JPEG", (96, 48))
    small = opened(decoding.look(saved(gradient(30, 15)), RULES).blobs[1])
    assert small.size == (30, 15)


def test_a_photograph_is_stored_as_jpeg_and_a_drawing_as_png_without_loss() -> None:
    photo = noise(120, 90, 60).convert("RGB")
    drawing = Image.new("RGB", (120, 90), "white")
    drawing.paste((200, 30, 30), (20, 20, 70, 60))
    names = [decoding.look(saved(one), RULES) for one in (photo, drawing)]
    assert [Path(one.facts["stored"]["name"]).suffix for one in names] == [".jpg", ".png"]
    difference = np.asarray(opened(names[0].blobs[2])).astype(int) - np.asarray(photo)
    assert math.sqrt(float((difference**2).mean())) < 2.5
    assert opened(names[1].blobs[2]).tobytes() == drawing.tobytes()


def test_the_background_is_that_of_the_settings() -> None:
    seen = decoding.look(saved(Image.new("RGBA", (2, 2))), RULES._replace(background=(16, 32, 48)))
    assert opened(seen.blobs[2]).getpixel((0, 0)) == (16, 32, 48)


def test_a_larger_picture_is_stored_at_the_longest_side_that_is_allowed() -> None:
    seen = decoding.look(saved(gradient(64, 32)), RULES._replace(max_side=16))
    assert (opened(seen.blobs[2]).size, seen.facts["width"], seen.facts["height"]) == ((16, 8), 64, 32)


EXIF = Image.Exif()
EXIF[0x0112] = 6


@pytest.mark.parametrize(
    ("data", "kept"),
    [
        (saved(gradient(), "JPEG"), True),
        (saved(gradient(), "JPEG", progressive=True), True),
        (saved(gradient()), True),
        (saved(gradient().convert("L")), True),
        (saved(gradient(), "JPEG", exif=EXIF), False),
        (saved(gradient(), "JPEG", comment=b"at home"), False),
        (saved(gradient(), "JPEG") + b"<script>", False),
        (saved(gradient()) + b"<script>", False),
        (saved(gradient(), dpi=(72, 72)), True),
        (saved(gradient().convert("RGBA")), False),
        (saved(Image.new("I;16", (4, 4), 9)), False),
        (saved(gradient(), "BMP"), False),
    ],
)
def test_an_original_is_kept_where_it_holds_nothing_but_its_pixels(data: bytes, kept: bool) -> None:
    stored = decoding.look(data, RULES._replace(store="original")).facts["stored"]
    assert stored["what"] == ("original" if kept else "encoded")
