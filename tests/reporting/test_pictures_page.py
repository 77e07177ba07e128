"""The pictures of a run on its page: thumbnails beside rows, reasons of refusal, the ends of measures, the policy."""

from __future__ import annotations

import base64
import io
import json
import re

import pytest

pytest.importorskip("PIL", reason="needs the extra `images`")

from PIL import Image, ImageDraw

import prefdata

QUESTION = "What arrived?"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of a run over five rows: two are the same, one has a narrow picture, one names a file that is not there."""
    at = tmp_path_factory.mktemp("pictures_page")
    for name, colour, size in (("a", "red", (120, 90)), ("b", "blue", (60, 60)), ("c", "green", (200, 20))):
        picture = Image.new("RGB", size, "white")
        ImageDraw.Draw(picture).rectangle((4, 4, size[0] // 2, size[1] - 5), fill=colour)
        picture.save(at / f"{name}.png")
    rows = [("a", "A red box."), ("a", "A red box."), ("b", "A blue box."), ("c", "A green bar."), ("lost", "Nothing.")]
    data = [{"image": f"{name}.png", "question": QUESTION, "caption": said} for name, said in rows]
    (at / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in data), encoding="utf-8")
    (at / "recipe.yaml").write_text(
        "type: sft\nsources: [{name: data, path: data.jsonl, format: captions}]\n"
        "filters: [{image_quality: {min_width: 50, min_height: 50}}]\ngroupings: [exact_duplicates]\n",
        encoding="utf-8",
    )
    prefdata.run(at / "recipe.yaml", out=at / "run", train=False)
    return (at / "run" / "report.html").read_text(encoding="utf-8")


def pictures_in(html: str) -> list[tuple[str, tuple[int, int]]]:
    """What stands in place of each picture, and the size of the JPEG that is shown."""
    found = re.findall(r'<img src="data:image/jpeg;base64,([A-Za-z0-9+/=]+)" alt="([^"]*)">', html)
    return [(alt, Image.open(io.BytesIO(base64.b64decode(one))).size) for one, alt in found]


def between(html: str, start: str, end: str) -> str:
    return html[html.index(start) : html.index(end)]


def test_dropped_rows_and_clusters_show_small_copies_of_their_pictures(page: str) -> None:
    dropped = between(page, '<h2 id="dropped"', '<h2 id="duplicates"')
    assert ("PNG of 200 by 20 pixels, prompt", (96, 10)) in pictures_in(dropped)
    side_by_side = pictures_in(between(page, '<h2 id="duplicates"', '<h2 id="pictures"'))
    assert side_by_side == [("PNG of 120 by 90 pixels, prompt", (96, 72))] * 2


def test_the_section_tells_what_was_refused_and_shows_the_ends_of_measures(page: str) -> None:
    section = between(page, '<h2 id="pictures"', '<h2 id="training"')
    assert "not there" in section
    assert "and with them rows: 1" in section
    assert "`" not in section
    assert "there is no such file" in section
    assert "the most blurred" in section
    assert {alt for alt, _ in pictures_in(section)} == {
        "PNG of 120 by 90 pixels",
        "PNG of 60 by 60 pixels",
        "PNG of 200 by 20 pixels",
    }


def test_the_page_may_show_what_it_holds_and_load_nothing(page: str) -> None:
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    assert "default-src &#39;none&#39;" in policy[1]
    assert "img-src data:;" in policy[1]
    assert not re.search(r'<img src="(?!data:image/jpeg;base64,)', page)
