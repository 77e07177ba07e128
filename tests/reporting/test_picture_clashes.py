"""Rows about one picture that contradict each other: which do, how many a run tells of, and its page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("PIL", reason="needs the extra `images`")

from PIL import Image, ImageDraw

import prefdata

ROWS = (
    ("a.png", "What is it?", "A red box.", "good"),
    ("a.jpg", "What is it?", "a red  box.", "bad"),
    ("a.png", "What is it?", "A blue box.", "good"),
    ("a.png", "What is it?", "A box that is red.", "good"),
    ("a.png", "What is it?", "It is a green bar.", "bad"),
    ("a.png", "Is it open?", "Yes, it is.", "good"),
    ("a.jpg", "Is it open?", "No, it is not.", "good"),
    ("a.png", "Which colour?", "A red box.", "bad"),
    ("b.png", "What is it?", "A red box.", "bad"),
    ("b.png", "What is it?", "Some cat sleeps here.", None),
    ("b.png", "What is it?", "Two green boxes.", "good"),
    ("b.png", "What is it?", "Three green boxes.", "good"),
    ("b.png", "What is it?", "Nobody parked near our station.", "good"),
)


def box(colour: str, at: int) -> Any:
    picture = Image.new("RGB", (90, 90), "#f0e8d8")
    pen = ImageDraw.Draw(picture)
    pen.rectangle((at, 30, at + 30, 60), fill=colour)
    pen.line((0, 75, 90, 75), fill="#405060", width=3)
    return picture


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    at = tmp_path_factory.mktemp("clashes")
    box("#d02020", 12).save(at / "a.png")
    box("#d02020", 12).save(at / "a.jpg", quality=90)
    box("#20a040", 45).save(at / "b.png")
    data = [dict(zip(("image", "question", "caption", "said"), row, strict=True)) for row in ROWS]
    (at / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in data), encoding="utf-8")
    (at / "recipe.yaml").write_text(
        "type: unpaired_preference\n"
        "sources:\n  - name: data\n    path: data.jsonl\n    format: {captions: {columns: {label: said}}}\n"
        "    labels: {good: true, bad: false}\n"
        "groupings: [picture_duplicates]\n",
        encoding="utf-8",
    )
    prefdata.run(at / "recipe.yaml", out=at / "run", train=False)
    return at / "run"


def told(run: Path, name: str) -> Any:
    return json.loads((run / name).read_text(encoding="utf-8"))["picture_clashes"]


def test_a_run_counts_the_rows_of_one_picture_that_contradict_each_other(run: Path) -> None:
    kinds = {
        "opposite": {"pairs": 1, "rows": 2},  # a red box: good of a.png, bad of its copy
        "attribute": {"pairs": 2, "rows": 4},  # a red and a blue box; two and three green ones
        "yes_no": {"pairs": 1, "rows": 2},
        "apart": {"pairs": 2, "rows": 3},  # the station and the boxes, two of them and three
    }
    assert told(run, "report.json")["kinds"] == kinds
    assert told(run, "run.json") == kinds


def test_the_page_shows_them_side_by_side_with_their_pictures(run: Path) -> None:
    page = (run / "report.html").read_text(encoding="utf-8")
    section = page[page.index('<h3 id="clashes"') : page.index('<h2 id="labels"')]
    opposite = section[section.index("<summary>the same answer") : section.index("<summary>both are right, and equal")]
    assert opposite.count("data:image/jpeg;base64,") == 2
    assert "PNG of 90 by 90 pixels" in opposite
    assert "JPEG of 90 by 90 pixels" in opposite
    assert opposite.count("undesirable") == 1
    assert "Yes, it is." in section
    assert "Nobody parked near our station." in section
    assert "It is a green bar." not in section  # another answer that is labelled bad contradicts nothing
    assert "Some cat sleeps here." not in section  # nor does one without a label


def test_runs_that_look_for_no_duplicates_of_pictures_tell_nothing_of_it(run: Path) -> None:
    recipe = (run.parent / "recipe.yaml").read_text(encoding="utf-8").replace("picture_duplicates", "exact_duplicates")
    (run.parent / "plain.yaml").write_text(recipe, encoding="utf-8")
    prefdata.run(run.parent / "plain.yaml", out=run.parent / "plain", train=False)
    assert "picture_clashes" not in (run.parent / "plain/report.json").read_text(encoding="utf-8")
    assert "picture_clashes" not in json.loads((run.parent / "plain/run.json").read_text(encoding="utf-8"))
    assert 'id="clashes"' not in (run.parent / "plain/report.html").read_text(encoding="utf-8")


def small_run(at: Path, kind: str, rows: list[dict[str, Any]], form: str) -> Any:
    box("#d02020", 12).save(at / "a.png")
    box("#d02020", 12).save(at / "copy.jpg", quality=90)
    (at / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (at / "recipe.yaml").write_text(
        f"type: {kind}\nsources: [{{name: data, path: data.jsonl, format: {form}}}]\ngroupings: [picture_duplicates]\n",
        encoding="utf-8",
    )
    prefdata.run(at / "recipe.yaml", out=at / "run", train=False)
    return told(at / "run", "run.json")


def test_captions_that_differ_in_a_number_alone_contradict_each_other_and_second_ones_do_not(
    tmp_path: Path,
) -> None:
    captions = ("Two red boxes on the left.", "Three red boxes on the left.", "On the left there are red boxes.")
    rows = [{"image": name, "caption": said} for said, name in zip(captions, ("a.png", "copy.jpg", "a.png"))]
    kinds = small_run(tmp_path, "sft", rows, "captions")
    assert {kind: one["pairs"] for kind, one in kinds.items()} == {
        "opposite": 0,
        "attribute": 1,
        "yes_no": 0,
        "apart": 0,
    }


def test_pairs_that_prefer_each_the_other_ones_answer_contradict_each_other(tmp_path: Path) -> None:
    def pair(name: str, chosen: str, rejected: str) -> dict[str, Any]:
        said = {side: [{"role": "assistant", "content": [{"type": "text", "text": text}]}] for side, text in
                (("chosen", chosen), ("rejected", rejected))}  # fmt: skip
        asked = [{"type": "image"}, {"type": "text", "text": "What is it?"}]
        return {"images": [name], "prompt": [{"role": "user", "content": asked}], **said}

    rows = [
        pair("a.png", "A red box.", "Some bottle."),
        pair("copy.jpg", "Some bottle.", "A red box."),
        pair("a.png", "A red box.", "An old cat."),
    ]
    kinds = small_run(tmp_path, "preference", rows, "trl")
    assert kinds["opposite"] == {"pairs": 1, "rows": 3}  # the third row calls the red box right, too
    assert kinds["attribute"] == {"pairs": 0, "rows": 0}
