"""What the tests of `clip` ask a model, and what plain open_clip answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from filters import clip_model
from filters.clip import ClipRelevance
from prefdata.judging import RowFilter


def items(*rows: tuple[str | None, str | None, list[Any] | None]) -> pl.DataFrame:
    shown = pl.List(pl.Struct({"path": pl.String, "pixels": pl.String}))
    return pl.DataFrame(list(rows), schema={"text": pl.String, "prompt": pl.String, "pictures": shown}, orient="row")


def built(folder: Path, **changed: Any) -> RowFilter:
    return ClipRelevance(model=str(folder), **changed).build()


def expected(tiny_clip: Path, path: str, text: str) -> float:
    """The cosine by plain open_clip calls, one picture and one text at a time."""
    import torch
    from PIL import Image

    loaded = clip_model.load(str(tiny_clip), None, "cpu")
    with torch.no_grad(), Image.open(path) as picture:
        seen = loaded.model.encode_image(loaded.preprocess(picture).unsqueeze(0), normalize=True)
        read = loaded.model.encode_text(loaded.tokenizer([text]), normalize=True)
    return float((seen @ read.T)[0, 0])
