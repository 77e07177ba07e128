"""nsfw: the share of unwanted descriptions, of the worst picture; no model, no guess."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from filters.nsfw import SAFE, UNSAFE, Nsfw
from prefdata.errors import RecipeError
from prefdata.judging import Rule

pytestmark = pytest.mark.skipif(importlib.util.find_spec("open_clip") is None, reason="needs the extra `clip`")

SHOWN = pl.List(pl.Struct({"path": pl.String, "pixels": pl.String}))


def items(*rows: list[dict[str, str]] | None) -> pl.DataFrame:
    schema = {"text": pl.String, "pictures": SHOWN}
    return pl.DataFrame({"text": ["x"] * len(rows), "pictures": list(rows)}, schema=schema)


def shares(folder: Path, path: str, unsafe: tuple[str, ...], safe: tuple[str, ...]) -> float:
    """The same by plain open_clip calls: a softmax in which each list weighs as much as the other."""
    import torch
    from PIL import Image

    from filters import clip_model

    loaded = clip_model.load(str(folder), None, "cpu")
    with torch.no_grad(), Image.open(path) as picture:
        seen = loaded.model.encode_image(loaded.preprocess(picture).unsqueeze(0), normalize=True)
        told = loaded.model.encode_text(loaded.tokenizer([*unsafe, *safe]), normalize=True)
        weights = ((seen @ told.T)[0] * loaded.model.logit_scale.exp()).exp()
    wrong, right = weights[: len(unsafe)].mean(), weights[len(unsafe) :].mean()
    return float(wrong / (wrong + right))


def test_the_share_is_that_of_the_worst_picture(tiny_clip: Path, colours: dict[str, dict[str, str]]) -> None:
    red, blue = colours["red"], colours["blue"]
    scorer = Nsfw(model=str(tiny_clip)).build().scorer
    scores = scorer.score(items([red], [blue], [red, blue], [], None, [{"path": None, "pixels": "x"}]))  # type: ignore[dict-item]
    one, other = (shares(tiny_clip, shown["path"], UNSAFE, SAFE) for shown in (red, blue))
    near = [pytest.approx(value, abs=5e-3) for value in (one, other, max(one, other))]
    assert scores.schema == {"nsfw": pl.Float32}
    assert scores["nsfw"].to_list() == [*near, None, None, None]
    assert scorer.score(items(None, [])).rows() == [(None,), (None,)]


def test_descriptions_are_the_users_to_give(tiny_clip: Path, colours: dict[str, dict[str, str]]) -> None:
    lists: dict[str, Any] = {"unsafe": ("a red thing",), "safe": ("a blue thing", "a green thing")}
    scorer = Nsfw(model=str(tiny_clip), **lists).build().scorer
    expected = shares(tiny_clip, colours["red"]["path"], lists["unsafe"], lists["safe"])
    assert scorer.score(items([colours["red"]]))["nsfw"].to_list() == [pytest.approx(expected, abs=5e-3)]
    swapped = Nsfw(model=str(tiny_clip), unsafe=lists["safe"], safe=lists["unsafe"]).build().scorer
    assert swapped.score(items([colours["red"]]))["nsfw"].to_list() == [pytest.approx(1 - expected, abs=5e-3)]


def test_the_bound_changes_no_score_and_the_descriptions_do(tiny_clip: Path) -> None:
    told = Nsfw(model=str(tiny_clip), max_nsfw=0.9).build()
    assert told.rules == {"picture_maybe_nsfw": Rule(max=0.9)}
    assert told.scorer.parameters() == Nsfw(model=str(tiny_clip)).build().scorer.parameters()
    assert told.scorer.parameters() != Nsfw(model=str(tiny_clip), safe=("food",)).build().scorer.parameters()
    assert str(tiny_clip) not in json.dumps(dict(told.scorer.parameters()))


def test_a_guess_needs_a_model() -> None:
    with pytest.raises(RecipeError, match="model: is not given"):
        Nsfw()


def test_settings_of_nsfw_name_every_fault() -> None:
    with pytest.raises(RecipeError) as caught:
        Nsfw(model="x", max_nsfw=1.5, unsafe=(), safe=("a", " "), sides=())
    assert len(caught.value.faults) == 4
