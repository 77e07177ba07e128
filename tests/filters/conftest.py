"""What the tests of the scorers share."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from prefdata.judging import RowFilter, decide, judge
from prefdata.schema import MESSAGES

ROOT = Path(__file__).resolve().parents[2]

TINY_CLIP = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


def one(text: str | None, role: str = "assistant") -> list[dict[str, str | None]]:
    return [{"role": role, "content": text, "tool_calls": None}]


@pytest.fixture
def reasons() -> Callable[..., list[list[str]]]:
    """Scores and decides rows given as (prompt, reply) pairs: the reasons each was dropped for."""

    def run(
        row_filter: RowFilter, pairs: list[tuple[str | None, str | None]], labels: list[bool] | None = None
    ) -> list[list[str]]:
        frame = pl.DataFrame(
            {"prompt": [one(prompt, "user") for prompt, _ in pairs], "completion": [one(reply) for _, reply in pairs]},
            schema={"prompt": MESSAGES, "completion": MESSAGES},
        )
        scored = pl.DataFrame(
            {
                "id": [f"{row:03}" for row in range(len(pairs))],
                "label": labels or [True] * len(pairs),
                "label_confidence": [1.0] * len(pairs),
            }
        ).hstack(judge(frame, row_filter, "completion"))
        decided: list[list[str]] = decide(scored, [row_filter], []).rows.sort("id")["reasons"].to_list()
        return decided

    return run


@pytest.fixture
def scored() -> Callable[..., list[dict[str, Any]]]:
    """The scores of texts, as dicts, with null or one prompt beside them."""

    def run(row_filter: RowFilter, texts: list[str | None], prompt: str | None = None) -> list[dict[str, Any]]:
        items = pl.DataFrame(
            {"text": texts, "prompt": [prompt] * len(texts)}, schema={"text": pl.String, "prompt": pl.String}
        )
        found: list[Mapping[str, Any]] = row_filter.scorer.score(items).to_dicts()
        return [dict(row) for row in found]

    return run


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of the real class with weights drawn at random, as a folder."""
    import open_clip  # here, so that collecting the tests does not load it
    import torch
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("tiny")
    (folder / "tiny.json").write_text(json.dumps(TINY_CLIP), encoding="utf-8")
    torch.manual_seed(0)
    weights = open_clip.CLIP(**TINY_CLIP).state_dict()
    save_file({name: one.half() for name, one in weights.items()}, folder / "tiny.safetensors")
    (folder / "card.json").write_text('{"about": "colours"}', encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def colours(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """Stored pictures, as the column `pictures` tells of them."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("pictures")
    shown = {"red": (220, 30, 30), "green": (30, 170, 60), "blue": (40, 70, 220)}
    for name, colour in shown.items():
        Image.new("RGB", (48, 30), colour).save(folder / f"{name}.png")
    return {name: {"path": str(folder / f"{name}.png"), "pixels": f"hash of {name}"} for name in shown}
