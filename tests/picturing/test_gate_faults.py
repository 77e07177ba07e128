"""Pictures that do harm, or would be taken for something that they are not: the file, and what the gate makes of it."""

from __future__ import annotations

import math
import os
import random
import socket
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_pictures import chunk, gradient, noise, opened, png, saved
from PIL import Image

from prefdata.pictures import REASONS, Address, Gate
from prefdata.picturing.addresses import data_bytes

Look = Callable[[bytes], dict[str, Any]]


@pytest.fixture
def stored(look: Look, run_folder: Path) -> Callable[[bytes], Image.Image]:
    """The stored picture of these bytes."""

    def read(data: bytes) -> Image.Image:
        found = look(data)
        assert found["reason"] is None
        return opened((run_folder / found["uri"]).read_bytes())

    return read


NOISE = saved(noise(200, 200, 50).convert("RGB"), "JPEG")


@pytest.mark.parametrize(
    ("data", "reason", "format"),
    [
        (png(10_000, 10_000), "too_many_pixels", "PNG"),
        (png(7_000, 7_000, zlib.compress(b"\0" * 100)), "too_many_pixels", "PNG"),
        (png(2**31 - 1, 2**31 - 1, zlib.compress(b"")), "too_many_pixels", "PNG"),
        (png(8, 2**32 - 1, zlib.compress(b"")), "too_many_pixels", "PNG"),
        (png(0, 5, zlib.compress(b"")), "broken", "PNG"),
        (NOISE[: len(NOISE) // 2], "truncated", "JPEG"),
        (saved(gradient())[:-60], "truncated", "PNG"),
        (saved(gradient(), "BMP")[:-60], "truncated", "BMP"),
        (saved(gradient(), "WEBP", lossless=True)[:-60], "truncated", "WEBP"),
        (saved(gradient(), "GIF")[:-60], "truncated", "GIF"),
        (saved(gradient())[:20], "truncated", "PNG"),
        (NOISE[:4], "broken", "JPEG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n", "format_not_allowed", "EPS"),
        (b"8BPS" + bytes(40), "format_not_allowed", "PSD"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>', "format_not_allowed", "SVG"),
        (b"<!doctype html><script>alert(1)</script>", "unknown_format", "HTML"),
        (b"no picture at all", "unknown_format", None),
        (b"", "empty", None),
        (b"\x89PNG\r\n\x1a\n" + bytes(4 << 20), "too_large", None),
        (b"\x89PNG\r\n\x1a\n" + bytes(99), "broken", "PNG"),
        (png(8, 8, extra=chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(20_000_000)))), "metadata_too_large", "PNG"),
    ],
)
def test_what_is_no_sound_picture_is_refused_with_its_reason(
    look: Look, data: bytes, reason: str, format: str | None
) -> None:
    found = look(data)
    assert (found["reason"], found["format"], found["uri"], found["pixels"]) == (reason, format, None, None)


def test_a_colour_profile_that_unpacks_without_end_is_never_unpacked_into_the_store(look: Look) -> None:
    bomb = png(8, 8, extra=chunk(b"iCCP", b"k\0\0" + zlib.compress(bytes(20_000_000))))
    assert look(bomb)["reason"] in ("metadata_too_large", "broken")


def test_a_small_file_of_many_pixels_is_refused_by_its_head(look: Look) -> None:
    found = look(png(10_000, 10_000))
    assert (found["width"], found["height"], found["bytes"] < 20_000) == (10_000, 10_000, True)


def test_of_an_animation_only_the_first_frame_is_decoded(look: Look) -> None:
    first = saved(Image.new("P", (2_000, 2_000)), "GIF")
    start = first.index(b"\x2c\0\0\0\0")
    animation = first[:start] + first[start:-1] * 100 + first[-1:]
    found = look(animation)  # all the frames would take twice the time that it has
    assert (found["reason"], found["frames"], found["width"]) == (None, 100, 2_000)


def test_frames_behind_a_sound_first_one_may_be_broken(look: Look, stored: Callable[[bytes], Image.Image]) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    whole = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert look(whole)["frames"] == 2
    assert stored(whole[:-8]).getpixel((0, 0)) == (255, 0, 0)


def test_sixteen_bits_are_scaled_to_eight(stored: Callable[[bytes], Image.Image]) -> None:
    assert stored(saved(Image.new("I;16", (4, 4), 40_000))).getpixel((0, 0)) == (156, 156, 156)


def test_sixteen_bits_of_colour_are_scaled_to_eight(stored: Callable[[bytes], Image.Image]) -> None:
    row = b"\0" + struct.pack(">HHH", 40_000, 65_535, 256) * 4
    head = struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(row * 4)) + chunk(b"IEND", b"")
    assert stored(data).getpixel((0, 0)) == (156, 255, 1)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([[0.0, 0.5], [1.0, 0.25]], [[0, 128], [255, 64]]),
        ([[0.0, 100.0], [255.0, 7.0]], [[0, 100], [255, 7]]),
        ([[-1e9, 1e9], [0.0, 0.0]], [[0, 255], [128, 128]]),
    ],
)
def test_fractions_are_scaled_from_their_own_range(
    stored: Callable[[bytes], Image.Image], values: list[list[float]], expected: list[list[int]]
) -> None:
    data = saved(Image.fromarray(np.array(values, dtype=np.float32)), "TIFF")
    assert np.asarray(stored(data))[..., 0].tolist() == expected


def test_fractions_that_are_no_numbers_are_refused(look: Look) -> None:
    data = saved(Image.fromarray(np.array([[math.nan, 1.0]], dtype=np.float32)), "TIFF")
    assert look(data)["reason"] == "broken"


@pytest.mark.parametrize(
    "body", ["bGFtcA==", "bGFt\r\ncA==\n", "bGFtcA", "bGFt cA=", "bGFt%0AcA%3D%3D", "b" + "\n" * 99 + "GFtcA"]
)
def test_base64_may_be_broken_into_lines_and_lack_its_padding(body: str) -> None:
    assert data_bytes(f"data:image/png;base64,{body}", 4) == b"lamp"


def test_a_picture_with_a_side_that_no_jpeg_has_is_stored(look: Look, stored: Callable[[bytes], Image.Image]) -> None:
    data = saved(noise(65_501, 1, 60).convert("RGB"), compress_level=1)
    assert stored(data).size == (65_501, 1)
    assert look(data)["uri"].endswith(".png")


def transparent_palette() -> bytes:
    picture = Image.new("P", (4, 4), 1)
    picture.putpalette([0, 0, 0, 255, 0, 0])
    return saved(picture, transparency=1)


@pytest.mark.parametrize(
    ("data", "pixel"),
    [
        (saved(Image.new("RGBA", (4, 4), (255, 0, 0, 0))), (255, 255, 255)),
        (saved(Image.new("RGBA", (4, 4), (255, 0, 0, 51))), (255, 204, 204)),
        (saved(Image.new("LA", (4, 4), (0, 0))), (255, 255, 255)),
        (saved(Image.new("RGB", (4, 4), (255, 0, 0)), transparency=(255, 0, 0)), (255, 255, 255)),
        (transparent_palette(), (255, 255, 255)),
    ],
)
def test_what_is_transparent_lies_on_the_background_and_no_hidden_colour_shows(
    stored: Callable[[bytes], Image.Image], data: bytes, pixel: tuple[int, ...]
) -> None:
    picture = stored(data)
    assert (picture.mode, picture.getpixel((1, 1))) == ("RGB", pixel)


def test_lightness_and_two_axes_of_colour_become_red_green_blue(stored: Callable[[bytes], Image.Image]) -> None:
    pixel = stored(saved(Image.new("LAB", (4, 4), (255, 128, 128)), "TIFF")).getpixel((0, 0))
    assert isinstance(pixel, tuple)
    assert min(pixel) >= 250


@pytest.mark.parametrize(
    ("picture", "name", "pixel"),
    [
        (Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", (254, 0, 0)),
        (Image.new("1", (8, 8), 1), "PNG", (255, 255, 255)),
        (Image.new("L", (8, 8), 90), "PNG", (90, 90, 90)),
        (Image.new("RGB", (8, 8), (9, 200, 30)).quantize(2), "PNG", (9, 200, 30)),
    ],
)
def test_other_kinds_of_pixels_become_the_colours_that_they_mean(
    stored: Callable[[bytes], Image.Image], picture: Image.Image, name: str, pixel: tuple[int, int, int]
) -> None:
    found = stored(saved(picture, name)).getpixel((3, 3))
    assert isinstance(found, tuple)
    assert max(abs(a - b) for a, b in zip(found, pixel, strict=True)) <= 1


TURNED = {
    1: (0, 0), 2: (5, 0), 3: (5, 3), 4: (0, 3), 5: (0, 0), 6: (3, 0), 7: (3, 5), 8: (0, 5),
}  # fmt: skip
"""EXIF orientation -> where the pixel that comes first in the file is seen, in a picture of 6 x 4."""


@pytest.mark.parametrize("orientation", sorted(TURNED))
def test_a_picture_is_turned_as_its_exif_says_and_the_exif_is_gone(
    look: Look, stored: Callable[[bytes], Image.Image], orientation: int
) -> None:
    picture = Image.new("RGB", (6, 4), "white")
    picture.putpixel((0, 0), (255, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x8825] = {1: "N", 2: (52.0, 30.0, 0.0)}
    exif[0x010F] = "Maker"
    data = saved(picture, exif=exif)
    found = stored(data)
    size = (6, 4) if orientation < 5 else (4, 6)
    assert (found.size, found.getpixel(TURNED[orientation])) == (size, (255, 0, 0))
    assert (dict(found.getexif()), found.info) == ({}, {})
    assert (look(data)["width"], look(data)["height"]) == size


def test_exif_that_cannot_be_read_leaves_the_picture_as_it_is(look: Look) -> None:
    data = saved(gradient(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert (look(data)["reason"], look(data)["width"]) == (None, 48)


def test_nothing_of_a_file_is_stored_but_its_pixels(look: Look, run_folder: Path) -> None:
    tail = b"<script>alert(document.cookie)</script>"
    extra = chunk(b"tEXt", b"Comment\0CANARY-at-home") + chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0CANARY")
    data = png(64, 64, extra=extra) + tail
    found = look(data)
    body = (run_folder / found["uri"]).read_bytes()
    assert (tail in body, b"CANARY" in body, b"tEXt" in body) == (False, False, False)
    photo = saved(noise(120, 90, 80).convert("RGB"), "JPEG", comment=b"CANARY", icc_profile=b"CANARY")
    assert b"CANARY" not in (run_folder / look(photo)["uri"]).read_bytes()


def test_a_format_is_told_by_the_bytes_and_not_by_the_name(gate: Gate, tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(NOISE)
    (found,) = gate.look([Address(tmp_path, "photo.png")]).rows(named=True)
    assert (found["reason"], found["format"], Path(found["uri"]).suffix) == (None, "JPEG", ".jpg")


def test_a_jpeg_with_further_pictures_behind_it_is_its_first_one(stored: Callable[[bytes], Image.Image]) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    found = stored(saved(frames[0], "MPO", save_all=True, append_images=frames[1:])).getpixel((0, 0))
    assert found == (254, 0, 0)


def mutants(seed: int, count: int) -> list[bytes]:
    """Sound files of every format with some of their bytes replaced, cut out or doubled."""
    rng = random.Random(seed)
    sound = [saved(gradient(), name) for name in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")]
    sound += [saved(gradient().convert("RGBA"), "WEBP", lossless=True), saved(gradient(), "JPEG", progressive=True)]
    found = []
    for at in range(count):
        data = bytearray(sound[at % len(sound)])
        for _ in range(rng.randint(1, 6)):
            place, size = rng.randrange(len(data)), rng.randint(1, 8)
            data[place : place + size] = rng.choice((rng.randbytes(size), b"", bytes(data[place : place + size]) * 2))
        found.append(bytes(data))
    return found


def test_whatever_the_bytes_a_picture_is_taken_or_refused_and_its_worker_goes_on(gate: Gate) -> None:
    given = mutants(0, 240)
    gate.look([Address(Path(), given[0])])
    workers = gate.pool.processes
    found = gate.look([Address(Path(), data) for data in given])
    taken = found["reason"].is_null()
    assert 20 < taken.sum() < 220
    assert found.filter(taken)["uri"].null_count() == 0
    assert set(found["reason"].drop_nulls()) <= set(REASONS) - {"crashed", "timed_out", "not_there"}
    assert gate.pool.processes == workers


def test_what_is_not_a_regular_file_is_refused_without_being_opened(gate: Gate, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    listening = socket.socket(socket.AF_UNIX)
    there = Path.cwd()
    try:
        os.chdir(tmp_path)  # the name of a socket is short
        listening.bind("socket.png")
    finally:
        os.chdir(there)
        listening.close()
    found = gate.look(
        [Address(tmp_path, name) for name in ("pipe.png", "folder.png", "socket.png", ".")]
        + [Address(Path("/dev"), "zero")]
    )
    assert found["reason"].to_list() == ["not_a_file"] * 5


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("../x.png", "outside_root"),
        ("/etc/passwd", "outside_root"),
        ("a/../../etc/passwd", "outside_root"),
        ("a/../in.png", "outside_root"),
        ("out.png", "outside_root"),
        ("out/passwd", "outside_root"),
        ("loop.png", "outside_root"),
        ("file:///etc/passwd", "scheme_not_allowed"),
        ("http://example.com/x.png", "scheme_not_allowed"),
        ("C:/x.png", "scheme_not_allowed"),
        ("..\\..\\x", "bad_address"),
        ("in.png\0.jpg", "bad_address"),
        ("in\n.png", "bad_address"),
        ("in\u2028.png", "bad_address"),
        ("in\ud800.png", "bad_address"),
        ("x" * 300, "bad_address"),
        ("x" * 5000, "bad_address"),
        ("", "no_address"),
        (" ", "no_address"),
        ("~/.ssh/id_rsa", "not_there"),
        ("%2e%2e/in.png", "not_there"),
        ("no.png", "not_there"),
        ("in.png/x", "not_there"),
        ("dangling.png", "not_there"),
        ("https://example.com/x.png", "network_off"),
        ("HTTPS://example.com/x.png", "network_off"),
        ("data:image/png,abc", "bad_data_address"),
        ("data:image/png;base64,a", "bad_data_address"),
        ("data:image/png;base64,!!!!", "bad_data_address"),
        ("data:image/png;base64,", "empty"),
        ("data:image/png;base64," + "A" * (6 << 20), "too_large"),
        ("in.png", None),
        ("./sub//in.png", None),
        ("link.png", None),
        ("sub_link/in.png", None),
    ],
)
def test_an_address_leads_to_a_file_below_its_root_or_nowhere(
    gate: Gate, tmp_path: Path, address: str, reason: str | None
) -> None:
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    for name in ("in.png", "sub/in.png", "../x.png"):
        (root / name).write_bytes(saved(gradient()))
    for name, target in (
        ("out.png", "/etc/passwd"),
        ("out", "/etc"),
        ("loop.png", "loop.png"),
        ("dangling.png", "nothing.png"),
        ("link.png", "sub/in.png"),
        ("sub_link", "sub"),
    ):
        (root / name).symlink_to(target)
    assert gate.look([Address(root, address)])["reason"].to_list() == [reason]


def test_a_file_that_may_not_be_read_is_said_to_be_there(gate: Gate, tmp_path: Path) -> None:
    (tmp_path / "mine.png").write_bytes(saved(gradient()))
    (tmp_path / "mine.png").chmod(0)
    if os.access(tmp_path / "mine.png", os.R_OK):
        pytest.skip("this user may read everything")
    assert gate.look([Address(tmp_path, "mine.png")])["reason"].to_list() == ["cannot_be_read"]


def test_a_file_over_the_limit_is_refused_unread(gate: Gate, tmp_path: Path) -> None:
    with (tmp_path / "large.png").open("wb") as stream:
        stream.truncate(1 << 40)
    assert gate.look([Address(tmp_path, "large.png")])["reason"].to_list() == ["too_large"]


def test_every_reason_has_its_sentence() -> None:
    assert all(name.islower() and len(text) > 15 for name, text in REASONS.items())
    package = Path(__file__).resolve().parents[2] / "prefdata" / "picturing"
    files = [path for path in package.glob("*.py") if path.name != "reasons.py"]
    names = {name for file in files for name in REASONS if f'"{name}"' in file.read_text(encoding="utf-8")}
    assert sorted(set(REASONS) - names) == []


def test_an_address_spelt_out_from_the_top_is_taken_where_it_lies_below_its_root(gate: Gate, tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (tmp_path / "root-other").mkdir()
    for name in ("root/sub/in.png", "root-other/x.png", "x.png"):
        (tmp_path / name).write_bytes(saved(gradient()))
    (root / "out.png").symlink_to(tmp_path / "x.png")
    expected = {
        f"{root}/sub/in.png": None,
        f"{root}//sub/./in.png": None,
        f"{root}/no.png": "not_there",
        f"{root}": "not_a_file",
        f"{root}/out.png": "outside_root",
        f"{root}/../x.png": "outside_root",
        f"{root}/sub/../sub/in.png": "outside_root",
        f"{root}-other/x.png": "outside_root",
        f"{tmp_path}/x.png": "outside_root",
        f"/{root}/sub/in.png": "outside_root",
    }
    found = gate.look([Address(root, address) for address in expected])
    assert dict(zip(expected, found["reason"], strict=True)) == expected
