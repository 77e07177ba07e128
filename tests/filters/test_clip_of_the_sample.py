"""The CLIP that is committed beside the sample tells its true captions from false ones."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from filters.clip import ClipRelevance

pytestmark = pytest.mark.skipif(importlib.util.find_spec("open_clip") is None, reason="needs the extra `clip`")

SAMPLE = Path(__file__).resolve().parents[2] / "recipes" / "data" / "shapes"
NUMBERS = {"one": "three", "two": "four", "three": "one", "four": "two"}
COLOURS = {"red": "blue", "blue": "yellow", "yellow": "green", "green": "purple", "purple": "black", "black": "red"}
EVERY = 5


@pytest.mark.slow  # ten seconds, of which nine import torch
def test_captions_and_colours_that_are_swapped_score_below_true_ones() -> None:
    rows = [json.loads(line) for line in (SAMPLE / "truth.jsonl").read_text(encoding="utf-8").splitlines()]
    facts = [row for row in rows if row.get("of") == "distinct"][::EVERY]

    def caption(row: dict[str, str], **other: str) -> str:
        said = {**row, **other}
        shapes = said["shape"] + ("" if said["number"] == "one" else "es" if said["shape"] == "cross" else "s")
        side = {"left": "on the left", "right": "on the right", "top": "at the top", "bottom": "at the bottom"}
        return f"{said['number']} {said['colour']} {shapes} {side[said['position']]}"

    sets = {
        "true": [caption(row) for row in facts],
        "whole": [caption(row) for row in facts[7:] + facts[:7]],
        "colour": [caption(row, colour=COLOURS[row["colour"]]) for row in facts],
        "number": [caption(row, number=NUMBERS[row["number"]]) for row in facts],
    }
    pictures = [[{"path": str(SAMPLE / row["image"]), "pixels": row["image"]}] for row in facts]
    items = pl.DataFrame(
        {"text": [text for texts in sets.values() for text in texts], "pictures": pictures * len(sets)}
    )
    scorer = ClipRelevance(model=str(SAMPLE / "clip")).build().scorer
    scores = scorer.score(items.with_columns(prompt=pl.lit("")))["clip"].to_numpy().reshape(len(sets), -1)
    auc = {
        name: float(np.mean(scores[0][:, None] > scores[place][None, :])) for place, name in enumerate(sets) if place
    }
    # measured over all pictures by benchmarks/image_text.py: .9998, .993, .993
    assert auc["whole"] >= 0.97, auc
    assert auc["colour"] >= 0.95, auc
    assert auc["number"] >= 0.95, auc
    assert np.median(scores[0]) > 0.95
