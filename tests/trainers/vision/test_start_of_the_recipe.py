"""The start model of recipes/image_text_kto.yaml: small, read as any vision-language model, with the sample's words."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainers.models import load_model
from trainers.rendering import protect
from trainers.vision.processor import load_looks, reads_pictures

pytest.importorskip("trl", reason="needs the extra `train`")
ROOT = Path(__file__).resolve().parents[3]
SAMPLE = ROOT / "recipes" / "data" / "shapes"
MODEL = SAMPLE / "vlm"


def test_the_start_model_of_the_recipe_is_small_and_a_picture_is_sixteen_tokens() -> None:
    assert sum(file.stat().st_size for file in MODEL.iterdir()) < 1 << 20
    assert reads_pictures(MODEL)
    looks = load_looks(MODEL, SAMPLE)
    assert looks.picture("pictures/s0000.png").tokens == 16
    model = load_model(MODEL)
    assert type(model).__name__ == "LlavaForConditionalGeneration"
    assert sum(one.numel() for one in model.parameters()) == 255_296
    for told in ("recipes/image_text_kto.yaml", "docs/training.md"):
        assert "255,296 weights" in (ROOT / told).read_text(encoding="utf-8")
    words = protect(looks.tokenizer)("this picture shows three purple triangles at the bottom")["input_ids"]
    assert len(words) == 9
