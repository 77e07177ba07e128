"""Writes the sample of pictures and texts: `python scripts/image_sample.py [--out recipes/data/shapes]`.

Everything in it is drawn and written here. `pictures/` holds distinct scenes, copies of some of them, and broken files;
captions.jsonl gives each a caption, some of them wrong; feedback.jsonl holds answers to questions about pictures with
what customers thought of them; truth.jsonl says what is really so, and is for measuring alone.
"""

from __future__ import annotations

import argparse
import io
import json
import struct
import zlib
from pathlib import Path
from typing import Any

from PIL import Image
from shapes import ATTRIBUTES, Dice, Scene, answer, caption, changed, draw, other, question, scene

SEED = "prefdata shapes 1"
BASE = 260
SIBLINGS = 20
"""Scenes made from a base scene by a change of one attribute, for each attribute."""
COPIES = {"copied": 8, "reencoded": 26, "resized": 25, "cropped": 25, "turned": 6}
SWAPS = {"whole": 40, "colour": 14, "shape": 14, "number": 14, "position": 14}
"""Wrong captions among the distinct pictures, by what was swapped."""
OTHER_CAPTION = 12
"""Copies that carry a caption which is false of them."""
EVASIONS = (
    "I am not able to say anything about that.",
    "Please contact our support team.",
    "Could you send the picture again?",
)
NOISE = 0.03
"""Answers rated against what is so."""
UNRATED = 0.08

Row = dict[str, Any]


def png(pixels: Any) -> bytes:
    return encoded(Image.fromarray(pixels), "PNG", optimize=True)


def encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def distinct() -> tuple[list[Scene], list[Row]]:
    """The scenes, base ones first, and what is true of each."""
    scenes = [scene(Dice(f"{SEED}/scene/{number}")) for number in range(BASE)]
    rows: list[Row] = [{} for _ in scenes]
    for attribute in ATTRIBUTES:
        dice = Dice(f"{SEED}/sibling/{attribute}")
        able = [place for place in range(BASE) if attribute != "number" or scenes[place].number > 1]
        for place in dice.shuffled(able)[:SIBLINGS]:
            scenes.append(changed(scenes[place], attribute, dice))
            rows.append({"sibling": f"pictures/s{place:04}.png", "changed": attribute})
    return scenes, rows


def copies(scenes: list[Scene]) -> list[tuple[str, bytes, int, str]]:
    """File name, bytes, place of the scene and kind of every copy."""
    dice = Dice(f"{SEED}/copies")
    places = iter(dice.shuffled(range(len(scenes))))
    made = []
    for kind, count in COPIES.items():
        for turn in range(count):
            place = next(places)
            ending, data = copy(Image.fromarray(draw(scenes[place])), kind, turn, dice)
            made.append((f"pictures/d{len(made):04}.{ending}", data, place, kind))
    return made


def copy(picture: Image.Image, kind: str, turn: int, dice: Dice) -> tuple[str, bytes]:
    """File ending and bytes of a copy; `turn` counts the copies of a kind, so that each way is taken."""
    side = picture.width
    if kind == "copied":
        return "png", encoded(picture, "PNG", optimize=True)
    if kind == "reencoded":
        if turn % 5 == 4:
            return "webp", encoded(picture, "WEBP", quality=dice.between(60, 90))
        return "jpg", encoded(picture, "JPEG", quality=dice.between(45, 92))
    if kind == "turned":
        exif = Image.Exif()
        exif[0x0112] = 6  # "turn by 90 degrees to the right", so the pixels are kept turned to the left
        return "jpg", encoded(picture.transpose(Image.Transpose.ROTATE_90), "JPEG", quality=90, exif=exif)
    if kind == "resized":
        wanted = round(side * dice.one([0.6, 0.75, 0.9, 1.25, 1.5, 2.0]))
        resized = picture.resize((wanted, wanted), Image.Resampling.BICUBIC)
        return ("jpg", encoded(resized, "JPEG", quality=85)) if turn % 2 else ("png", png_of(resized))
    cut = [dice.between(0, 3) for _ in range(4)]
    if not any(cut):
        cut[turn % 4] = 2
    cropped = picture.crop((cut[0], cut[1], side - cut[2], side - cut[3]))
    return ("jpg", encoded(cropped, "JPEG", quality=88)) if turn % 3 == 2 else ("png", png_of(cropped))


def png_of(picture: Image.Image) -> bytes:
    return encoded(picture, "PNG", optimize=True)


def broken(scenes: list[Scene]) -> list[tuple[str, bytes | None, str]]:
    """Address, bytes (None: no such file) and what is wrong."""
    whole = png(draw(scenes[0]))
    photo = encoded(Image.fromarray(draw(scenes[1])), "JPEG", quality=90)
    page = b"<!doctype html><title>404</title><p>Not found."
    drawing = b'<svg xmlns="http://www.w3.org/2000/svg"><circle r="9"/></svg>'
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"
    return [
        ("pictures/b0000.png", whole[: len(whole) // 2], "truncated"),
        ("pictures/b0001.jpg", photo[: len(photo) // 2], "truncated"),
        ("pictures/b0002.jpg", photo[: len(photo) * 3 // 4], "truncated"),
        ("pictures/b0003.png", b"", "empty"),
        ("pictures/b0004.png", page, "a web page"),
        ("pictures/b0005.png", drawing, "a vector drawing"),
        ("pictures/b0006.png", script, "PostScript"),
        ("pictures/b0007.png", encoded(Image.new("RGB", (8, 8), "red"), "TIFF"), "TIFF by content"),
        ("pictures/b0008.png", bare_png(9000, 9000), "81 million pixels"),
        ("pictures/b0009.png", bare_png(2**31 - 1, 2**31 - 1), "sides of 2^31"),
        ("pictures/b0010.png", whole[:20] + bytes(8) + whole[28:], "no sound header"),
        ("pictures/b0011.jpg", bytes(range(256)) * 2, "noise"),
        ("pictures/b0012.png", None, "not there"),
        ("../truth.jsonl", None, "outside the folder"),
    ]


def bare_png(width: int, height: int) -> bytes:
    """A file that claims to be a PNG of this size and holds next to no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    data = zlib.compress(bytes(100))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def wrong(facts: dict[str, str], swap: str, scenes: list[Scene], dice: Dice) -> dict[str, str]:
    """Facts that are false of the picture: of another one, or with one attribute swapped."""
    if swap != "whole":
        return other(facts, swap, dice)
    while True:
        found = dice.one(scenes).facts()
        if found != facts:
            return found


def captions(
    scenes: list[Scene], doubles: list[tuple[str, bytes, int, str]], bad: list[Any]
) -> tuple[list[Row], list[Row]]:
    """The rows of captions.jsonl, in an order made by chance, and the truth about each."""
    dice = Dice(f"{SEED}/captions")
    order = dice.shuffled(range(len(scenes)))
    swaps: dict[int, str] = {}
    for swap, count in SWAPS.items():
        swaps.update(dict.fromkeys(order[len(swaps) : len(swaps) + count], swap))
    entries: list[tuple[str, dict[str, str], str | None]] = [
        (f"pictures/s{place:04}.png", made.facts(), swaps.get(place)) for place, made in enumerate(scenes)
    ]
    for turn, (name, _, place, _) in enumerate(dice.shuffled(doubles)):
        swap = dice.one(ATTRIBUTES) if turn < OTHER_CAPTION else None
        entries.append((name, scenes[place].facts(), swap))
    entries += [(name, scenes[place].facts(), None) for place, (name, _, _) in enumerate(bad)]
    rows, truth = [], []
    for number, (name, facts, swap) in enumerate(dice.shuffled(entries)):
        said = facts if swap is None else wrong(facts, swap, scenes, dice)
        rows.append({"id": f"c{number:04}", "image": name, "caption": caption(said, dice)})
        truth.append({"kind": "caption", "id": f"c{number:04}", "right": swap is None, "swap": swap})
    return rows, truth


def feedback(scenes: list[Scene]) -> tuple[list[Row], list[Row]]:
    """The rows of feedback.jsonl, two answers about each distinct picture, and the truth about each."""
    rows, truth = [], []
    for place, made in enumerate(scenes):
        dice = Dice(f"{SEED}/feedback/{place}")
        facts = made.facts()
        asked = dice.shuffled(["colour", "colour", "shape", "number", "position", "all"])[:2]
        for about, right in zip(asked, dice.shuffled([True, dice.chance(0.15)]), strict=True):
            text, fault = answered(facts, about, right=right, dice=dice)
            noise = dice.chance(NOISE)
            rated = None if dice.chance(UNRATED) else ("helpful" if right != noise else "not helpful")
            name = f"f{len(rows):04}"
            rows.append({
                "id": name, "image": f"pictures/s{place:04}.png", "question": question(about, dice),
                "answer": text, "feedback": rated,
            })  # fmt: skip
            truth.append({"kind": "answer", "id": name, "about": about, "right": right, "fault": fault, "noise": noise})
    return rows, truth


def answered(facts: dict[str, str], about: str, *, right: bool, dice: Dice) -> tuple[str, str | None]:
    """An answer, and what is wrong with it."""
    if right:
        return answer(facts, about, dice), None
    if dice.chance(0.12):
        return dice.one(EVASIONS), "evasive"
    attribute = dice.one(ATTRIBUTES) if about == "all" else about
    return answer(other(facts, attribute, dice), about, dice), f"wrong {attribute}"


def build() -> tuple[dict[str, bytes], dict[str, list[Row]]]:
    """File name -> bytes of every picture, and file name -> rows of the three tables."""
    scenes, relations = distinct()
    doubles = copies(scenes)
    bad = broken(scenes)
    pictures = {f"pictures/s{place:04}.png": png(draw(made)) for place, made in enumerate(scenes)}
    pictures.update({name: data for name, data, _, _ in doubles})
    pictures.update({name: data for name, data, _ in bad if data is not None})
    truth: list[Row] = [
        {"kind": "picture", "image": f"pictures/s{place:04}.png", "of": "distinct", **made.facts(), **relations[place]}
        for place, made in enumerate(scenes)
    ]
    truth += [
        {"kind": "picture", "image": name, "of": kind, "like": f"pictures/s{place:04}.png", **scenes[place].facts()}
        for name, _, place, kind in doubles
    ]
    truth += [{"kind": "picture", "image": name, "of": "broken", "broken": how} for name, _, how in bad]
    described, of_captions = captions(scenes, doubles, bad)
    rated, of_answers = feedback(scenes)
    tables = {"captions.jsonl": described, "feedback.jsonl": rated, "truth.jsonl": truth + of_captions + of_answers}
    return pictures, tables


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[1] / "recipes" / "data" / "shapes")
    out: Path = parser.parse_args().out
    pictures, tables = build()
    (out / "pictures").mkdir(parents=True, exist_ok=True)
    for name, data in pictures.items():
        (out / name).write_bytes(data)
    for name, rows in tables.items():
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (out / name).write_text(lines, encoding="utf-8", newline="\n")
    print(f"{len(pictures)} pictures and {', '.join(f'{len(rows)} rows of {name}' for name, rows in tables.items())}")


if __name__ == "__main__":
    main()
