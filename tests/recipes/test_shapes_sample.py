"""The sample of pictures and texts: made again it is the same, and what truth.jsonl says of it is so."""

from __future__ import annotations

import io
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "recipes" / "data" / "shapes"

pytest.importorskip("PIL")


@pytest.fixture(scope="module")
def made() -> tuple[dict[str, bytes], dict[str, list[dict[str, Any]]]]:
    """Pictures and tables as the script makes them now."""
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        import image_sample

        pictures, tables = image_sample.build()
    finally:
        sys.path.remove(str(ROOT / "scripts"))
    return pictures, tables


def test_the_tables_made_again_are_equal_byte_for_byte(made: Any) -> None:
    for name, rows in made[1].items():
        again = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        assert (SAMPLE / name).read_bytes() == again.encode(), name


def test_the_pictures_made_again_are_equal_pixel_for_pixel(made: Any) -> None:
    from PIL import Image, ImageChops

    assert {f"pictures/{path.name}" for path in (SAMPLE / "pictures").iterdir()} == set(made[0])
    for name, data in made[0].items():
        kept = (SAMPLE / name).read_bytes()
        if kept == data or "/b" in name:
            continue
        one, other = (Image.open(io.BytesIO(each)).convert("RGB") for each in (kept, data))
        assert one.size == other.size, name
        # drawn pictures are equal; another version of Pillow may round what it encodes or resizes otherwise
        most = 0 if "/s" in name else 12
        assert max(high for _, high in ImageChops.difference(one, other).getextrema()) <= most, name


def test_it_has_what_its_readme_counts(made: Any) -> None:
    truth = made[1]["truth.jsonl"]
    assert Counter(row["of"] for row in truth if row["kind"] == "picture") == {
        "distinct": 340, "copied": 8, "reencoded": 26, "resized": 25, "cropped": 25, "turned": 6, "broken": 14,
    }  # fmt: skip
    assert Counter(row["changed"] for row in truth if "changed" in row) == dict.fromkeys(
        ("colour", "shape", "number", "position"), 20
    )
    swaps = Counter(row["swap"] for row in truth if row["kind"] == "caption")
    assert swaps["whole"] == 40
    assert swaps[None] == 444 - 96 - 12
    assert sum(path.stat().st_size for path in [*SAMPLE.glob("*.jsonl"), *SAMPLE.glob("pictures/*")]) < 1_000_000


def test_no_two_distinct_pictures_are_equal(made: Any) -> None:
    distinct = [data for name, data in made[0].items() if "/s" in name]
    assert len(set(distinct)) == len(distinct) == 340


def test_captions_and_answers_are_right_where_the_truth_says_so(made: Any) -> None:
    _, tables = made
    facts = {row["image"]: row for row in tables["truth.jsonl"] if row["kind"] == "picture" and row["of"] != "broken"}
    right = {row["id"]: row["right"] for row in tables["truth.jsonl"] if "right" in row}
    colours = {"red", "yellow", "green", "blue", "purple", "black"}
    for name, column in (("captions.jsonl", "caption"), ("feedback.jsonl", "answer")):
        for row in tables[name]:
            named = colours & set(row[column].lower().rstrip(".").split())
            if row["image"] in facts and right[row["id"]] and named:
                assert named == {facts[row["image"]]["colour"]}, row["id"]


def test_feedback_follows_the_truth_but_for_the_noise_it_names(made: Any) -> None:
    truth = {row["id"]: row for row in made[1]["truth.jsonl"] if row["kind"] == "answer"}
    rated = Counter()
    for row in made[1]["feedback.jsonl"]:
        told = truth[row["id"]]
        if row["feedback"] is not None:
            assert (row["feedback"] == "helpful") == (told["right"] != told["noise"])
        rated[row["feedback"]] += 1
    assert rated == {"helpful": 358, "not helpful": 271, None: 51}
