"""How well the embedded toxicity models rank, how often they are wrong on polite agents, and how fast they are.

    python benchmarks/toxicity.py [--data ../shared/data] [--json]

Sets that a model was trained on are marked with *: their figures show that the export is sound, nothing more. Where
alt-profanity-check itself is installed (see scripts/export_english_toxicity.py) it is run beside ours.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import json
import platform
import sys
import time
import zipfile
from pathlib import Path
from typing import NamedTuple

import polars as pl

from filters.toxicity import Toxicity

ROOT = Path(__file__).resolve().parents[1]
THRESHOLD = Toxicity().max_toxicity


class Labelled(NamedTuple):
    name: str
    texts: pl.Series
    toxic: pl.Series


def davidson(data: Path) -> Labelled:
    table = pl.read_csv(data / "davidson" / "labeled_data.csv.gz")
    return Labelled("Davidson tweets *", table["tweet"], table["class"] != 2)


def jigsaw(data: Path) -> Labelled:
    table = pl.read_csv(data / "jigsaw_dummy" / "train.csv")
    return Labelled("Jigsaw excerpt *", table["comment_text"], table["toxic"] == 1)


def cold_holdout(data: Path) -> Labelled:
    """The fifth of COLD dev that scripts/train_chinese_toxicity.py leaves out."""
    specification = importlib.util.spec_from_file_location("training", ROOT / "scripts" / "train_chinese_toxicity.py")
    if specification is None or specification.loader is None:
        raise SystemExit("scripts/train_chinese_toxicity.py is not there")
    training = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(training)
    table = training.read_cold([data / "cold" / "dev.csv.gz"])
    table = table.filter(training.held_out(table["TEXT"]))
    return Labelled("COLD dev, held out", table["TEXT"], table["label"] == 1)


def sgd_agents(data: Path) -> pl.Series:
    """Distinct agent turns of SGD."""
    lines = (data / "uss" / "SGD.txt").read_text(encoding="utf-8").split("\n")
    turns = pl.Series("text", [line.split("\t")[1] for line in lines if line.startswith("SYSTEM\t")])
    return turns.unique(maintain_order=True)


def crosswoz_agents(data: Path) -> pl.Series:
    """Distinct agent turns of CrossWOZ."""
    with zipfile.ZipFile(data / "crosswoz" / "val.json.zip") as archive:
        dialogues = json.load(io.TextIOWrapper(archive.open(archive.namelist()[0]), encoding="utf-8"))
    turns = [
        message["content"]
        for dialogue in dialogues.values()
        for message in dialogue["messages"]
        if message["role"] == "sys"
    ]
    return pl.Series("text", turns).unique(maintain_order=True)


def area(scores: pl.Series, toxic: pl.Series) -> float:
    """Area under the ROC curve; an unjudged text scores 0."""
    ranks = scores.fill_null(0.0).rank("average")
    positive = int(toxic.sum())
    return float((ranks.filter(toxic).sum() - positive * (positive + 1) / 2) / (positive * (toxic.len() - positive)))


def score(texts: pl.Series) -> tuple[pl.Series, float]:
    """Our scores and the CPU seconds they took."""
    scorer = Toxicity().build().scorer
    scorer.parameters()  # loads the models
    started = time.process_time()
    scores = scorer.score(texts.to_frame("text"))["toxicity"]
    return scores, time.process_time() - started


def measure(data: Path) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    peer = importlib.util.find_spec("profanity_check") is not None
    for labelled in (davidson(data), jigsaw(data), cold_holdout(data)):
        scores, seconds = score(labelled.texts)
        high = scores.fill_null(0.0) > THRESHOLD
        row: dict[str, object] = {
            "set": labelled.name,
            "texts": labelled.texts.len(),
            "auc": round(area(scores, labelled.toxic), 4),
            "toxic_above": round(float(high.filter(labelled.toxic).mean() or 0.0), 4),
            "other_above": round(float(high.filter(~labelled.toxic).mean() or 0.0), 4),
            "ms_per_text": round(seconds / labelled.texts.len() * 1000, 4),
        }
        if peer and not labelled.name.startswith("COLD"):
            from profanity_check import predict_prob

            started = time.process_time()
            theirs = pl.Series(predict_prob(labelled.texts.to_list()))
            row["peer_ms_per_text"] = round((time.process_time() - started) / labelled.texts.len() * 1000, 4)
            row["peer_auc"] = round(area(theirs, labelled.toxic), 4)
        rows.append(row)
    for name, texts in (("SGD agent turns", sgd_agents(data)), ("CrossWOZ agent turns", crosswoz_agents(data))):
        scores, seconds = score(texts)
        rows.append(
            {
                "set": name,
                "texts": texts.len(),
                "other_above": round(float((scores > THRESHOLD).sum()) / texts.len(), 4),
                "above_half": int((scores > 0.5).sum()),
                "above": int((scores > THRESHOLD).sum()),
                "unjudged": scores.null_count(),
                "ms_per_text": round(seconds / texts.len() * 1000, 4),
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows = measure(arguments.data)
    if arguments.json:
        json.dump(rows, sys.stdout, indent=1)
        return
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, polars {pl.__version__}")
    print(f"threshold {THRESHOLD}; * = in the training data of the English model")
    for row in rows:
        print(" · ".join(f"{name} {value}" for name, value in row.items()))


if __name__ == "__main__":
    main()
