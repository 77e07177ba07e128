"""What the stages of recipes/image_text_kto.yaml taught: which attributes of a picture the model names, asked for them.

    prefdata run recipes/image_text_kto.yaml
    python benchmarks/image_answers.py runs/image_text_kto [--scenes 200] [--json]

The start model and each stage answer a question about each attribute (colour, shape, number, position) of pictures that
none of them has seen: those held out in the run, told apart by truth.jsonl, and scenes drawn anew from another seed. An
answer is right where it names the attribute and no other value of it. Told is the share of right answers and how much
it rose over the start model, with a 95 % bootstrap over pictures (paired: both models answer about each).

Exits with 1 unless the last stage names colours right more often than the start model on both, bounds above 0.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from PIL import Image

from trainers.answering import answers, reload
from trainers.job import quiet, read_stage
from trainers.start import open_below

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from shapes import ATTRIBUTES, COLOURS, NUMBERS, PLURALS, POSITIONS, QUESTIONS, SHAPES, Dice, draw, scene  # noqa: E402

TRUTH = ROOT / "recipes" / "data" / "shapes" / "truth.jsonl"
SEED = "benchmark answers 1"
BOOTSTRAP = 2000
BATCH = 64
TOKENS = 16

VALUES: Mapping[str, Mapping[str, Sequence[str]]] = {
    "colour": {one: (one,) for one in COLOURS},
    "shape": {one: (one, PLURALS[one]) for one in SHAPES},
    "number": {one: (one,) for one in NUMBERS},
    "position": {one: (one,) for one in POSITIONS},
}
"""Attribute -> value -> words that say it."""


class Asked(NamedTuple):
    """A picture, seen from a folder, and what is on it."""

    uri: str
    facts: Mapping[str, str]


def named(attribute: str, answer: str) -> set[str]:
    """The values of an attribute that an answer names."""
    said = set(re.findall(r"[a-z]+", answer.lower()))
    return {value for value, words in VALUES[attribute].items() if said & set(words)}


def held_out(run: Path) -> list[Asked]:
    """The pictures that the run holds out and no stage was trained on, with what is on them."""
    stages = sorted((run / "training").iterdir())
    seen, kept = (
        {one["uri"] for stage in stages for row in _images(stage / f"{side}.parquet") for one in row}
        for side in ("train", "evaluation")
    )
    lines = [json.loads(line) for line in TRUTH.read_text(encoding="utf-8").splitlines()]
    facts = {one["image"]: one for one in lines if one["kind"] == "picture" and one["of"] == "distinct"}
    table = pl.read_parquet(run / "pictures.parquet", columns=["address", "uri"]).drop_nulls()
    found: dict[str, Asked] = {}
    for address, uri in table.sort("address").iter_rows():
        name = f"pictures/{Path(address).name}"
        if uri in kept - seen and name in facts:
            found.setdefault(uri, Asked(uri, {one: facts[name][one] for one in ATTRIBUTES}))
    return list(found.values())


def _images(file: Path) -> Iterator[list[dict[str, Any]]]:
    for row in pl.read_parquet(file, columns=["images"])["images"]:
        yield [] if row is None else row.to_list()


def drawn(folder: Path, count: int) -> list[Asked]:
    """Scenes that are nobody's, drawn into `folder`."""
    found = []
    for number in range(count):
        made = scene(Dice(f"{SEED}/{number}"))
        Image.fromarray(draw(made)).save(folder / f"{number}.png")
        found.append(Asked(f"{number}.png", made.facts()))
    return found


def right(model: Any, tokenizer: Any, asked: Sequence[Asked]) -> dict[str, np.ndarray]:
    """Attribute -> 1 where the answer about a picture is right."""
    found = {}
    for attribute in ATTRIBUTES:
        texts: list[str] = []
        question = {"type": "text", "text": QUESTIONS[attribute][0]}
        chats = [[{"role": "user", "content": [{"type": "image", "image": one.uri}, question]}] for one in asked]
        for at in range(0, len(chats), BATCH):
            texts += answers(model, tokenizer, chats[at : at + BATCH], max_new_tokens=TOKENS)
        found[attribute] = np.array(
            [named(attribute, text) == {one.facts[attribute]} for text, one in zip(texts, asked, strict=True)],
            dtype=float,
        )
    return found


def rise(before: np.ndarray, after: np.ndarray) -> tuple[float, float, float]:
    """How much the share of right answers rose, with the 95 % interval over pictures."""
    moved = after - before
    drawn_again = np.random.default_rng(0).integers(len(moved), size=(BOOTSTRAP, len(moved)))
    low, high = np.quantile(moved[drawn_again].mean(1), [0.025, 0.975])
    return float(moved.mean()), float(low), float(high)


def models(run: Path, folder: Path) -> Iterator[tuple[str, Any, Any]]:
    """The start model and each stage in order: name, model, tokenizer that finds pictures in `folder`."""
    names = [one["stage"] for one in json.loads((run / "run.json").read_text(encoding="utf-8"))["training"]]
    with quiet():
        start = open_below(read_stage(run / "model" / names[0]))
        yield "start", start.load(), start.tokenizer(folder)
        for name in names:
            found = reload(run / "model" / name, pictures=folder)
            yield name, found.model, found.tokenizer


def measured(run: Path, title: str, folder: Path, asked: Sequence[Asked]) -> list[dict[str, Any]]:
    """Of each model and attribute the share of right answers, and how much it rose."""
    found, first = [], None
    for name, model, tokenizer in models(run, folder):
        shares = right(model, tokenizer, asked)
        first = first or shares
        for attribute, each in shares.items():
            value, low, high = rise(first[attribute], each)
            row = {"pictures": title, "n": len(asked), "model": name, "attribute": attribute}
            found.append({**row, "right": float(each.mean()), "rise": value, "low": low, "high": high})
            told = "" if name == "start" else f"{value:+.3f}  ({low:+.3f} to {high:+.3f})"
            print(f"{title:<10} {len(asked):>4}  {name:<8} {attribute:<9} {each.mean():.3f}  {told}", flush=True)
    return found


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("run", type=Path, help="run directory of recipes/image_text_kto.yaml, its stages trained")
    options.add_argument("--scenes", type=int, default=200, help="scenes drawn anew")
    options.add_argument("--json", action="store_true", help="as JSON at the end")
    given = options.parse_args()
    found = measured(given.run, "held out", given.run, held_out(given.run))
    with tempfile.TemporaryDirectory() as made:
        found += measured(given.run, "new scenes", Path(made), drawn(Path(made), given.scenes))
    if given.json:
        print(json.dumps(found))
    last = found[-1]["model"]
    bounds = [row["low"] for row in found if row["model"] == last and row["attribute"] == "colour"]
    if min(bounds) <= 0:
        sys.exit(f"{last} does not name colours right more often than the start model: bounds {bounds}")


if __name__ == "__main__":
    main()
