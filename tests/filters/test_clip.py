"""clip: cosines are the model's own, a content is embedded once, and unlearnt scripts are unjudged."""

from __future__ import annotations

import importlib.util
import itertools
import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from asked_clip import built, expected, items

from filters import clip_model, clip_vectors
from filters.clip import ClipRelevance
from prefdata.errors import InputError, RecipeError
from prefdata.judging import decide

pytestmark = pytest.mark.skipif(importlib.util.find_spec("open_clip") is None, reason="needs the extra `clip`")

NO_LETTERS = [None, "", " \ufffc\n\ufffc ", "<EMAIL_1> <NAME_2>", "?!", "😀😀"]


@pytest.fixture
def fresh() -> None:
    """Nothing embedded yet."""
    clip_vectors._vectors.cache_clear()


def test_scores_are_the_cosines_of_the_model(tiny_clip: Path, colours: dict[str, dict[str, str]]) -> None:
    red, green, blue = (colours[name] for name in ("red", "green", "blue"))
    frame = items(
        ("a red square", "what is it?", [red]),
        ("a blue square", None, [green, blue]),
        ("a \ufffc green\nsquare <NAME_1>", "", [red, green, blue]),
    )
    scores = built(tiny_clip).scorer.score(frame)
    assert scores.columns == ["clip", "worst", "prompt", "windows", "pictures"]
    assert scores.dtypes == [pl.Float32] * 5
    one = expected(tiny_clip, red["path"], "a red square")
    two = [expected(tiny_clip, shown["path"], "a blue square") for shown in (green, blue)]
    three = [expected(tiny_clip, shown["path"], "a green square") for shown in (red, green, blue)]
    asked = expected(tiny_clip, red["path"], "what is it?")
    near = {"abs": 5e-4}  # vectors are kept in half precision
    assert scores["clip"].to_list() == [pytest.approx(value, **near) for value in (one, max(two), max(three))]
    assert scores["worst"].to_list() == [pytest.approx(value, **near) for value in (one, min(two), min(three))]
    assert scores["prompt"].to_list() == [pytest.approx(asked, **near), None, None]
    assert scores["windows"].to_list() == [1, 1, 1]
    assert scores["pictures"].to_list() == [1, 2, 3]


def test_what_has_no_picture_or_no_words_is_unjudged(tiny_clip: Path, colours: dict[str, dict[str, str]]) -> None:
    unstored = {"path": None, "pixels": "x"}
    rows = [(text, None, [colours["red"]]) for text in NO_LETTERS]
    rows += [("a red square", "what?", None), ("a red square", "what?", []), ("a red square", None, [unstored])]
    scores = built(tiny_clip).scorer.score(items(*rows))
    assert scores["clip"].to_list() == [None] * len(rows)
    assert scores["prompt"].to_list() == [None] * len(rows)
    assert scores["pictures"].to_list() == [1] * len(NO_LETTERS) + [None] * 3
    (mixed,) = built(tiny_clip).scorer.score(items(("a red square", None, [unstored, colours["red"]]))).to_dicts()
    assert mixed["pictures"] == 1
    assert mixed["clip"] == pytest.approx(expected(tiny_clip, colours["red"]["path"], "a red square"), abs=5e-4)


def test_without_the_column_of_pictures_every_row_is_unjudged(tiny_clip: Path) -> None:
    scores = built(tiny_clip).scorer.score(pl.DataFrame({"text": ["a red square"], "prompt": [None]}))
    assert scores.rows() == [(None,) * 5]
    assert built(tiny_clip).scorer.score(items()).height == 0


@pytest.mark.parametrize(
    ("text", "languages", "judged"),
    [
        ("一个红色的圆形", None, False),
        ("a red circle, 红色的圆形和蓝色的方块", None, False),
        ("a red circle on a plain ground, 红", None, True),
        ("красный круг", None, False),
        ("Ein roter Kreis, größer", None, True),  # letters do not tell it from English
        ("42", None, True),
        ("一个红色的圆形", ("zh",), True),
        ("赤い丸です", ("zh",), False),
        ("赤い丸です", ("ja",), True),
        ("красный круг", ("en", "ru"), True),
        ("一个红色的圆形", ("any",), True),
        ("?!", ("any",), False),
    ],
)
def test_scripts_that_the_model_has_not_learnt_are_unjudged(
    tiny_clip: Path, colours: dict[str, dict[str, str]], text: str, languages: tuple[str, ...] | None, judged: bool
) -> None:
    (row,) = built(tiny_clip, languages=languages).scorer.score(items((text, text, [colours["red"]]))).to_dicts()
    assert (row["clip"] is not None) is judged
    assert row["prompt"] == row["clip"]
    assert row["pictures"] == 1


def test_a_long_text_counts_by_its_best_window(tiny_clip: Path, colours: dict[str, dict[str, str]]) -> None:
    words = "the parcel stands at the door and on it there is a red square beside an old green lamp "
    red = colours["red"]
    (row,) = built(tiny_clip).scorer.score(items((words, None, [red]))).to_dicts()
    pieces = clip_vectors.vectors_of(str(tiny_clip), None, "cpu").windows([words.strip()])[0]
    assert row["windows"] == len(pieces)
    assert len(pieces) > 1
    assert row["clip"] == pytest.approx(max(expected(tiny_clip, red["path"], piece) for piece in pieces), abs=5e-4)


def test_a_large_picture_is_read_smaller_and_scores_alike(tiny_clip: Path, tmp_path: Path) -> None:
    import numpy as np
    from PIL import Image

    drawn = np.random.default_rng(7).normal(128, 60, (30, 40)).clip(0, 255).astype(np.uint8)
    noise = Image.fromarray(drawn).convert("RGB").resize((900, 700), Image.Resampling.BICUBIC)
    frames = []
    for name in ("large.jpg", "large.png"):
        noise.save(tmp_path / name, quality=92)
        frames.append({"path": str(tmp_path / name), "pixels": name})
        opened = clip_vectors._opened(frames[-1]["path"], least=64)
        assert 64 <= min(opened.size) < 128
        (row,) = built(tiny_clip).scorer.score(items(("a red square", None, [frames[-1]]))).to_dicts()
        assert row["clip"] == pytest.approx(expected(tiny_clip, frames[-1]["path"], "a red square"), abs=2e-2)
    small = tmp_path / "small.png"
    noise.resize((50, 127)).save(small)
    assert clip_vectors._opened(str(small), least=64).size == (50, 127)


@pytest.mark.parametrize(
    "mark",
    [
        "<end_of_text>",
        "<END_of_Text>",
        "<start_of_text>",
        "&lt;end_of_text&gt;",
        "＜end_of_text＞",
    ],
)
def test_a_text_that_spells_its_own_end_is_read_on(tiny_clip: Path, mark: str) -> None:
    vectors = clip_vectors.vectors_of(str(tiny_clip), None, "cpu")
    forged, plain, cut = vectors._ids([f"a red {mark} square", "a red square", "a red"]).tolist()
    assert forged == plain != cut
    nested = clip_vectors._unspelt("a <end_<end_of_text>of_text> b", vectors.loaded.tokenizer)
    assert set(vectors.loaded.tokenizer.encode(nested)) & set(vectors.loaded.tokenizer.all_special_ids) == set()


def test_windows_cover_the_text_and_overlap(tiny_clip: Path) -> None:
    vectors = clip_vectors.vectors_of(str(tiny_clip), None, "cpu")
    words = [f"w{number}" for number in range(40)]
    exact = "a " * 13 + "a"  # 14 tokens and two special ones fill the 16 of this model
    whole, short, cut, endless = vectors.windows([exact, "", " ".join(words), "字" * 60])
    assert (whole, short) == ([exact], [""])
    assert sorted({word for piece in cut for word in piece.split()}) == sorted(words)
    assert all(set(one.split()) & set(other.split()) for one, other in itertools.pairwise(cut))
    assert all(size <= 14 for size in vectors._sizes(cut))
    assert set("".join(endless)) == {"字"}
    assert len(endless) > 1
    assert len(vectors.windows(["a b " * 300])[0]) == clip_vectors.MAX_WINDOWS


def test_short_texts_are_read_short_and_have_the_vectors_of_texts_that_are_read_whole(tiny_clip: Path) -> None:
    import torch

    vectors = clip_vectors.Vectors(clip_model.load(str(tiny_clip), None, "cpu"))
    texts = [" ".join(["red", "square", "blue"] * 6)[:length] for length in range(0, 80, 5)]
    sizes = vectors._read_of(vectors._ids(texts))
    assert sorted(set(sizes)) == [8, 16]
    with torch.no_grad():
        whole = vectors.loaded.model.encode_text(vectors.loaded.tokenizer(texts), normalize=True).numpy()
    assert abs(vectors.texts(texts).astype("float32") - whole).max() < 1e-3


def test_a_content_is_embedded_once(
    tiny_clip: Path, colours: dict[str, dict[str, str]], fresh: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[int] = []
    forward = clip_vectors.Vectors._forward

    def counted(self: clip_vectors.Vectors, encode: Callable[..., Any], batch: Any) -> Any:
        passes.append(len(batch))
        return forward(self, encode, batch)

    monkeypatch.setattr(clip_vectors.Vectors, "_forward", counted)
    red, blue = colours["red"], colours["blue"]
    elsewhere = {**red, "path": "gone.png"}  # known by its content: the file is not asked for
    first = built(tiny_clip).scorer.score(items(*[("a red square", "look", [red])] * 40, ("blue", "look", [blue, red])))
    assert passes == [2, 3]
    again = built(tiny_clip, min=0.1).scorer.score(items(("a red square", "look", [elsewhere])))
    assert passes == [2, 3]
    assert again["clip"][0] == first["clip"][0]
    built(tiny_clip).scorer.score(items(("a new text", "look", [red])))
    assert passes == [2, 3, 1]


def test_vectors_kept_are_bounded(tiny_clip: Path, colours: dict[str, dict[str, str]]) -> None:
    vectors = clip_vectors.Vectors(clip_model.load(str(tiny_clip), None, "cpu"), limit=10 * 64)
    texts = [f"text {number}" for number in range(50)]
    found = vectors.texts(texts)
    assert found.dtype == "float16"
    assert len(vectors._texts.vectors) == 10
    assert (vectors.texts(texts[::-1])[::-1] == found).all()
    assert vectors.texts([]).shape[0] == 0


def test_a_score_does_not_hang_on_what_stands_beside(
    tiny_clip: Path, colours: dict[str, dict[str, str]], fresh: None
) -> None:
    names = list(colours)
    rows = [(f"a {names[at % 3]} thing {at}", "look", [colours[names[at % 2]]]) for at in range(37)]
    together = built(tiny_clip).scorer.score(items(*rows))
    clip_vectors._vectors.cache_clear()
    some = (0, 1, 7, 36)
    assert together[some, :].equals(pl.concat([built(tiny_clip).scorer.score(items(rows[at])) for at in some]))


def test_the_answer_of_a_desirable_row_falls_and_that_of_an_undesirable_one_stays(
    tiny_clip: Path, colours: dict[str, dict[str, str]]
) -> None:
    scored = pl.DataFrame(
        {
            "id": [f"{row}" for row in range(6)],
            "label": [True, True, True, False, True, True],
            "label_confidence": [1.0] * 6,
            "clip_completion": [0.2, 0.1999, None, 0.1, 0.5, 0.5],
            "clip_completion_worst": [0.2, 0.1999, None, 0.1, 0.05, 0.5],
            "clip_completion_prompt": [0.3, 0.3, 0.3, 0.0, 0.3, 0.0],
        }
    )
    strict = built(tiny_clip, min=0.2, min_percentile=None, min_worst=0.1, min_prompt=0.1)
    decision = decide(scored, [strict], [])
    assert decision.rows["reasons"].to_list() == [
        [],
        ["answer_irrelevant_to_picture"],
        [],
        [],
        ["answer_irrelevant_to_a_picture"],
        ["question_irrelevant_to_picture"],
    ]
    assert decision.rows["unjudged"].to_list()[2] == ["clip"]


def test_by_default_the_lowest_twentieth_falls(tiny_clip: Path) -> None:
    scored = pl.DataFrame(
        {
            "id": [f"{row:03}" for row in range(101)],
            "label": [True] * 101,
            "label_confidence": [1.0] * 101,
            "clip_completion": [row / 100 for row in range(101)],
        }
    )
    kept = decide(scored, [built(tiny_clip)], []).rows
    assert kept.filter(~pl.col("kept"))["id"].to_list() == [f"{row:03}" for row in range(5)]


def test_a_stored_picture_that_is_gone_is_named(tiny_clip: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    for path in (tmp_path / "gone.png", broken):
        with pytest.raises(InputError, match=rf"picture {path.name}: taken at the gate"):
            built(tiny_clip).scorer.score(items(("a", None, [{"path": str(path), "pixels": path.name}])))


def test_nothing_read_is_logged_and_no_handler_is_left(
    tiny_clip: Path, colours: dict[str, dict[str, str]], caplog: pytest.LogCaptureFixture, fresh: None
) -> None:
    before = list(logging.getLogger().handlers)
    with caplog.at_level(logging.DEBUG):
        built(tiny_clip).scorer.score(items(("CANARY-8841 " * 30, "CANARY", [colours["red"]])))
    assert "CANARY" not in caplog.text
    assert logging.getLogger().handlers == before


def test_settings_of_clip_name_every_fault() -> None:
    with pytest.raises(RecipeError) as caught:
        ClipRelevance(
            model="x",
            min=2.0,
            min_worst=-3.0,
            min_percentile=101.0,
            min_script_ratio=1.5,
            languages=("english", "EN"),
            sides=(),
        )
    assert len(caught.value.faults) == 7


def test_the_code_of_the_page_scores_a_picture_of_the_sample(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = Path(__file__).resolve().parents[2]
    page = (root / "docs" / "pictures.md").read_text(encoding="utf-8")
    (code,) = [one for one in re.findall(r"(?ms)^```python\n(.*?)^```", page) if "ClipRelevance" in one]
    monkeypatch.chdir(root)
    exec(compile(code, "docs/pictures.md", "exec"), {})
    right, wrong = json.loads(capsys.readouterr().out)
    assert right > 0.9
    assert wrong < 0.5
