"""Convert the model of the package alt-profanity-check (MIT) into filters/data/toxicity_en.safetensors.

The package ships its TF-IDF vectoriser and its calibrated linear SVMs as joblib pickles tied to one scikit-learn.
This script is run once, in a throwaway environment that holds the package and the scikit-learn it pins; what it
writes is arrays and text only, and needs numpy alone to score:

    uv venv ../profanity
    VIRTUAL_ENV=../profanity uv pip install alt-profanity-check==1.9.1 safetensors
    ../profanity/bin/python scripts/export_english_toxicity.py filters/data/toxicity_en.safetensors

It ends by checking a numpy scorer against the package itself and fails where they differ by more than 5e-4
(the weights are kept as float16).
"""

from __future__ import annotations

import argparse
import json
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

CHECKS = (
    "you are a fucking idiot",
    "How do I reset my password?",
    "I will kill you",
    "have a nice day",
    "",
    "this shitty service is garbage, refund me",
    "Your refund was sent to your card this morning; it takes three days to show.",
)
MAX_DIFFERENCE = 5e-4


def pack(lines: list[str]) -> np.ndarray[Any, Any]:
    """`lines` as one array of UTF-8 bytes, newline between them: safetensors holds no text."""
    return np.frombuffer("\n".join(lines).encode(), np.uint8).copy()


def export(target: Path) -> None:
    """Write the arrays of the installed package to `target`."""
    import joblib
    import profanity_check

    folder = Path(profanity_check.__file__).parent / "data"
    # A pickle: read here and only here, from a package whose version and hash the installer has pinned.
    vectorizer = joblib.load(folder / "vectorizer.joblib")
    model = joblib.load(folder / "model.joblib")
    terms = sorted(vectorizer.vocabulary_, key=vectorizer.vocabulary_.get)
    folds = model.calibrated_classifiers_
    arrays = {
        "weights": np.stack([fold.estimator.coef_[0] for fold in folds]).astype(np.float16),  # (folds, terms)
        "intercepts": np.array([fold.estimator.intercept_[0] for fold in folds], np.float32),
        "platt": np.array([(fold.calibrators[0].a_, fold.calibrators[0].b_) for fold in folds], np.float32),
        "idf": vectorizer.idf_.astype(np.float32),
        "terms": pack(terms),
        "stop_words": pack(sorted(vectorizer.get_stop_words())),
    }
    origin = {
        "source": "alt-profanity-check",
        "version": version("alt-profanity-check"),
        "license": "MIT",
        "scikit_learn": version("scikit-learn"),
    }
    # One metadata key: the order of several is not fixed, and the file is to be the same bytes each time.
    save_file(arrays, target, metadata={"origin": json.dumps(origin, sort_keys=True)})


def score(arrays: dict[str, Any], text: str) -> float:
    """The probability by the formula of the scorer, for one text."""
    places = {term: place for place, term in enumerate(arrays["terms"].tobytes().decode().split("\n"))}
    stop_words = set(arrays["stop_words"].tobytes().decode().split("\n"))
    words = [word for word in re.findall(r"(?u)\b\w\w+\b", text.lower()) if word not in stop_words and word in places]
    row = np.zeros(len(places))
    for word in words:
        row[places[word]] += arrays["idf"][places[word]]
    row /= np.sqrt((row * row).sum()) or 1.0
    margins = arrays["weights"].astype(np.float64) @ row + arrays["intercepts"]
    return float((1 / (1 + np.exp(arrays["platt"][:, 0] * margins + arrays["platt"][:, 1]))).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("target", type=Path)
    target: Path = parser.parse_args().target
    export(target)
    from profanity_check import predict_prob

    arrays = load_file(target)
    difference = max(abs(score(arrays, text) - want) for text, want in zip(CHECKS, predict_prob(CHECKS), strict=True))
    print(
        f"{target}: {target.stat().st_size:,} bytes, {arrays['idf'].size:,} terms, differs by {difference:.1e} at most"
    )
    if difference > MAX_DIFFERENCE:
        raise SystemExit(
            f"the export differs from the package by {difference:.1e}, at most {MAX_DIFFERENCE:.0e} allowed"
        )


if __name__ == "__main__":
    main()
