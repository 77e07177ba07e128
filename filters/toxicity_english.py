"""English toxicity of short texts: the TF-IDF and calibrated linear SVMs of alt-profanity-check, without its pickles.

Exported by scripts/export_english_toxicity.py (MIT, see filters/data/NOTICE). It knows words, not what is meant:
profanity among friends scores high, a polite insult low.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

MODEL_FILE = Path(__file__).parent / "data" / "toxicity_en.safetensors"

TOKEN = r"\b\w\w+\b"
"""The model's own tokens: runs of two and more word characters."""

Array = np.ndarray[Any, np.dtype[Any]]


class Model(NamedTuple):
    """`terms`: `word`, `place` (-1 = stop word: known, but without weight). Arrays over folds and terms."""

    terms: pl.DataFrame
    idf: Array
    weights: Array  # (folds, terms)
    intercepts: Array  # (folds,)
    platt: Array  # (folds, 2): p = 1 / (1 + exp(a * margin + b))
    origin: dict[str, Any]
    sha256: str


@cache
def load(path: Path = MODEL_FILE) -> Model:
    """The model in a safetensors file, read once."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a dict
        origin = json.loads(file.metadata()["origin"])
    terms = arrays["terms"].tobytes().decode().split("\n")
    stop_words = arrays["stop_words"].tobytes().decode().split("\n")
    known = pl.DataFrame(
        {"word": terms + stop_words, "place": list(range(len(terms))) + [-1] * len(stop_words)},
        schema={"word": pl.String, "place": pl.Int64},
    )
    return Model(
        # a stop word that is also a term is a stop word: the vectoriser drops it first
        terms=known.sort("place").unique("word", keep="first", maintain_order=True),
        idf=arrays["idf"].astype(np.float64),
        weights=arrays["weights"].astype(np.float64),
        intercepts=arrays["intercepts"].astype(np.float64),
        platt=arrays["platt"].astype(np.float64),
        origin=origin,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
    )


def probabilities(texts: pl.Series, model: Model) -> Array:
    """Probability of being toxic for each text, float64 in [0, 1]; NaN where no word of a text is known."""
    tokens = (
        pl.DataFrame({"row": np.arange(texts.len()), "word": texts.str.to_lowercase().str.extract_all(TOKEN)})
        .explode("word")
        .drop_nulls("word")
        .join(model.terms, on="word", how="inner", maintain_order="left")
    )
    rows, places = tokens["row"].to_numpy(), tokens["place"].to_numpy()
    judged = np.bincount(rows, minlength=texts.len()) > 0
    weighed = places >= 0
    size = model.idf.size
    cells, counts = np.unique(rows[weighed] * size + places[weighed], return_counts=True)
    rows, places = np.divmod(cells, size)
    values = counts * model.idf[places]
    # bincount adds in the order of the cells, so that the last bits never depend on a number of threads
    lengths = np.sqrt(np.bincount(rows, values**2, minlength=texts.len()))
    lengths[lengths == 0] = 1.0
    result = np.zeros(texts.len())
    for fold, (weights, intercept) in enumerate(zip(model.weights, model.intercepts)):
        margins = np.bincount(rows, values * weights[places], minlength=texts.len()) / lengths + intercept
        result += 1 / (1 + np.exp(model.platt[fold, 0] * margins + model.platt[fold, 1]))
    return np.where(judged, result / len(model.intercepts), np.nan)
