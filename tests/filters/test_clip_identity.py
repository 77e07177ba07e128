"""What scores by CLIP are kept under: what the model is and what runs it, and not where it is or how it is called."""

from __future__ import annotations

import importlib.util
import json
import shutil
from importlib.metadata import version
from pathlib import Path

import pytest

from filters.clip import ClipRelevance
from filters.clip_model import identity, languages_of, state_of

pytestmark = pytest.mark.skipif(importlib.util.find_spec("open_clip") is None, reason="needs the extra `clip`")

SAMPLE = Path(__file__).resolve().parents[2] / "recipes" / "data" / "shapes" / "clip"


@pytest.fixture
def moved(tmp_path: Path) -> Path:
    return shutil.copytree(SAMPLE, tmp_path / "siglip2-multilingual")


def test_a_folder_has_learnt_the_languages_that_its_config_names_whatever_it_is_called(moved: Path) -> None:
    assert languages_of(str(moved), None) == ("en",)
    file = moved / "shapes-clip.json"
    config = json.loads(file.read_text())
    config["text_cfg"]["hf_tokenizer_name"] = "timm/ViT-B-16-SigLIP2"
    file.write_text(json.dumps(config))
    assert languages_of(str(moved), None) == ("any",)
    assert languages_of("ViT-B-16-SigLIP2", "webli") == ("any",)
    assert languages_of("ViT-B-32", "laion2b_s34b_b79k") == ("en",)
    assert languages_of("ViT-B-32", "xlm/weights.safetensors") == ("en",)


def test_a_model_that_moves_keeps_its_scores(moved: Path) -> None:
    here, there = (ClipRelevance(model=str(folder)).build().scorer for folder in (SAMPLE, moved))
    assert here.parameters() == there.parameters()


def test_another_open_clip_scores_anew() -> None:
    assert identity(str(SAMPLE), None)["open_clip"] == version("open_clip_torch")


def test_a_tokenizer_that_changes_is_loaded_anew(moved: Path) -> None:
    before = state_of(str(moved), None)
    assert state_of(str(moved), None) == before
    (moved / "vocab.json").write_text('{"a": 0}')
    assert state_of(str(moved), None) != before
