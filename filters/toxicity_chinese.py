"""Chinese toxicity of short texts: character 1-3-grams with a stored vocabulary, one logistic regression.

Trained by scripts/train_chinese_toxicity.py from COLD (Apache-2.0, see filters/data/NOTICE). It knows words, not
what is meant: text against prejudice reads as offensive, and insults without a known word are missed.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

MODEL_FILE = Path(__file__).parent / "data" / "toxicity_zh.safetensors"

MAX_GRAM = 3
BITS = 21
"""A code point needs 21 bits, so a gram of three fits one 64-bit number: no text and no hash in the vocabulary."""

Array = np.ndarray[Any, np.dtype[Any]]


class Model(NamedTuple):
    """`grams` sorted uint64; `weights` float64 beside them."""

    grams: Array
    weights: Array
    intercept: float
    origin: dict[str, Any]
    sha256: str


@cache
def load(path: Path = MODEL_FILE) -> Model:
    """The model in a safetensors file, read once."""
    from safetensors import safe_open

    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    with safe_open(path, framework="numpy") as file:
        weights = file.get_tensor("weights").astype(np.float64) * float(file.get_tensor("scale")[0])
        intercept = float(file.get_tensor("intercept")[0])
        return Model(file.get_tensor("grams"), weights, intercept, json.loads(file.metadata()["origin"]), digest)


def prepared(texts: pl.Series) -> pl.Series:
    """Full-width forms folded (NFKC), lower case, every run of white space one blank."""
    return texts.str.normalize("NFKC").str.to_lowercase().str.replace_all(r"\s+", " ").str.strip_chars(" ")


def grams(texts: pl.Series) -> tuple[Array, Array]:
    """Row number and packed gram of every character 1-, 2- and 3-gram; no gram spans two texts. No nulls allowed."""
    points = np.frombuffer("\0".join(texts.to_list()).encode("utf-32-le"), np.uint32).astype(np.uint64)
    rows = np.cumsum(points == 0)
    every_row, every_key = [], []
    for size in range(1, MAX_GRAM + 1):
        count = max(points.size - size + 1, 0)
        keys = np.zeros(count, np.uint64)
        whole = np.ones(count, bool)
        for position in range(size):
            window = points[position : position + count]
            keys = (keys << np.uint64(BITS)) | window
            whole &= window != 0
        every_row.append(rows[:count][whole])
        every_key.append(keys[whole])
    return np.concatenate(every_row), np.concatenate(every_key)


def probabilities(texts: pl.Series, model: Model) -> Array:
    """Probability of being offensive for each text, float64 in [0, 1]; NaN where no gram of a text is known."""
    rows, keys = grams(prepared(texts.str.replace_all("\0", " ", literal=True)))
    places = np.searchsorted(model.grams, keys).clip(max=model.grams.size - 1)
    known = model.grams[places] == keys
    cells, counts = np.unique(rows[known] * model.grams.size + places[known], return_counts=True)
    rows, places = np.divmod(cells, model.grams.size)
    values = 1 + np.log(counts)
    # bincount adds in the order of the cells, so that the last bits never depend on a number of threads
    lengths = np.sqrt(np.bincount(rows, values**2, minlength=texts.len()))
    sums = np.bincount(rows, values * model.weights[places], minlength=texts.len())
    with np.errstate(invalid="ignore"):
        return 1 / (1 + np.exp(-(sums / np.where(lengths > 0, lengths, np.nan) + model.intercept)))
