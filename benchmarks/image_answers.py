"""What the stages of recipes/image_text_kto.yaml taught: which attributes of a picture the model names, asked for them.

    prefdata run recipes/image_text_kto.yaml
    python benchmarks/image_answers.py runs/image_text_kto [--scenes 200] [--json]

The start model and each stage answer a question about each attribute (colour, shape, number, position) of pictures that
none of them has seen: those held out in the run, told apart by truth.jsonl, and scenes drawn anew from another seed. An
answer is right where it names the attribute and no other value of it. Told is the share of right answers and how much
it rose over the start model, with a 95 % bootstrap over pictures (paired: both models answer about each).

That an implicit reward tells good answers from bad ones does not show that the model looks: words may give a label
away. So of the rows that the run held out from KTO it is told, too,
- the AUC of the implicit reward, beside that of naive Bayes on the words of questions and answers, which has read the
  rows that trained and sees no picture, and how far they are apart;
- how often a true answer is likelier, and has the higher reward, before its own picture than before another one of
  which it is not true. The texts are the same, so who does not look is right in .5.

Exits with 1 unless the last stage names colours right more often than the start model on both, bounds above 0.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from PIL import Image

from prefdata.schema import RecordType
from trainers.answering import answers, reload
from trainers.evaluate_rewards import completion_logps
from trainers.job import quiet, read_stage
from trainers.rows import encode_rows
from trainers.start import open_below
from trainers.vision.processor import looks_of

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from shapes import ATTRIBUTES, COLOURS, NUMBERS, PLURALS, POSITIONS, QUESTIONS, SHAPES, Dice, draw, scene  # noqa: E402

TRUTH = ROOT / "recipes" / "data" / "shapes" / "truth.jsonl"
SEED = "benchmark answers 1"
BOOTSTRAP = 2000
BATCH = 64
TOKENS = 16
LENGTH = 1024

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


def within(clusters: Sequence[str], figure: Callable[[np.ndarray], float]) -> tuple[float, float, float]:
    """A figure of rows, given by their positions, with its 95 % interval over the pictures that they are about."""
    names, of = np.unique(np.array(clusters), return_inverse=True)
    rows = [np.flatnonzero(of == at) for at in range(len(names))]
    generator = np.random.default_rng(0)
    drawn_again = (generator.integers(len(names), size=len(names)) for _ in range(BOOTSTRAP))
    found = [figure(np.concatenate([rows[at] for at in some])) for some in drawn_again]
    low, high = np.nanquantile(found, [0.025, 0.975])
    return figure(np.arange(len(clusters))), float(low), float(high)


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """The chance that a good answer is above a bad one; ties count half."""
    good, bad = scores[labels], np.sort(scores[~labels])
    if not good.size or not bad.size:
        return float("nan")
    below = np.searchsorted(bad, good, side="left") + np.searchsorted(bad, good, side="right")
    return float(below.mean() / (2 * bad.size))


def words(row: Mapping[str, Any]) -> set[str]:
    """What a row says: the words of its question and those of its answer, apart."""
    sides = ("prompt", "completion")
    return {f"{side} {word}" for side in sides for word in re.findall(r"\w+", row[side][-1]["content"].lower())}


def blind(train: pl.DataFrame, rows: pl.DataFrame) -> np.ndarray:
    """How much likelier good than bad each row is by its words: naive Bayes, each word there or not."""
    of = {good: [words(row) for row in train.filter(label=good).iter_rows(named=True)] for good in (True, False)}
    counts = {good: Counter(word for said in each for word in said) for good, each in of.items()}

    def weight(word: str) -> float:
        good, bad = ((counts[one][word] + 1) / (len(of[one]) + 2) for one in (True, False))
        return float(np.log(good / bad))

    return np.array([sum(weight(word) for word in sorted(words(row))) for row in rows.iter_rows(named=True)])


def elsewhere(rows: pl.DataFrame, facts: Mapping[str, Mapping[str, str]]) -> pl.DataFrame:
    """Rows whose answer is true of their picture, with `other`: one of which it is not; `facts` are by address."""
    generator, found = np.random.default_rng(0), []
    for row in rows.iter_rows(named=True):
        own = row["images"][0]["uri"] if row["images"] else None
        said = {one: named(one, row["completion"][-1]["content"]) for one in ATTRIBUTES}
        said = {one: values for one, values in said.items() if values}
        true = own in facts and bool(said) and all(values == {facts[own][one]} for one, values in said.items())
        wrong = [uri for uri in sorted(facts) if any({facts[uri][one]} != values for one, values in said.items())]
        found.append(wrong[generator.integers(len(wrong))] if row["label"] and true and wrong else None)
    return rows.with_columns(other=pl.Series(found, dtype=pl.String)).filter(pl.col("other").is_not_null())


def moved(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows, each before its `other` picture."""
    images = [
        [{**one, "uri": other} for one in images]
        for images, other in zip(rows["images"].to_list(), rows["other"].to_list(), strict=True)
    ]
    return rows.with_columns(pl.Series("images", images, dtype=rows["images"].dtype)).drop("other")


def looks(run: Path) -> list[dict[str, Any]]:
    """Whether what the last stage rewards hangs on the picture."""
    stages = [one["stage"] for one in json.loads((run / "run.json").read_text(encoding="utf-8"))["training"]]
    last = stages[-1]
    held = pl.read_parquet(run / "training" / last / "evaluation.parquet").sort("id")
    rewards = pl.read_parquet(run / "model" / last / "eval_rewards.parquet").select("id", "reward")
    told = held.join(rewards, on="id").sort("id")
    labels, reward = told["label"].to_numpy(), told["reward"].to_numpy()
    by_words = blind(pl.read_parquet(run / "training" / last / "train.parquet"), told)
    pictures = [images[0]["uri"] for images in told["images"].to_list()]
    found: list[dict[str, Any]] = []

    def tell(what: str, clusters: Sequence[str], figure: Callable[[np.ndarray], float]) -> None:
        value, low, high = within(clusters, figure)
        found.append({"what": what, "rows": len(clusters), "value": value, "low": low, "high": high})
        print(f"{what:<58} {len(clusters):>4} rows  {value:+.3f}  ({low:+.3f} to {high:+.3f})", flush=True)

    tell(f"AUC of the implicit reward of {last}", pictures, lambda at: auc(labels[at], reward[at]))
    tell("AUC of the words alone", pictures, lambda at: auc(labels[at], by_words[at]))
    tell("apart", pictures, lambda at: auc(labels[at], reward[at]) - auc(labels[at], by_words[at]))

    pairs = elsewhere(held, {one.uri: one.facts for one in held_out(run)})
    own, other = pairs.drop("other"), moved(pairs)
    owners = [images[0]["uri"] for images in own["images"].to_list()]
    gains = {}
    for name, model, tokenizer in models(run, run):
        mine, theirs = (likely(model, tokenizer, rows) for rows in (own, other))
        gains[name] = mine - theirs
        tell(f"own picture likelier than another's: {name}", owners, _share(gains[name]))
    before = gains[(["start", *stages])[-2]]
    tell(f"own picture rewarded above another's: {last}", owners, _share(gains[last] - before))
    return found


def _share(gain: np.ndarray) -> Callable[[np.ndarray], float]:
    above = np.where(gain == 0, 0.5, gain > 0)
    return lambda at: float(above[at].mean())


def likely(model: Any, tokenizer: Any, rows: pl.DataFrame) -> np.ndarray:
    """Log-probability of each answer before its picture."""
    given = encode_rows(rows, tokenizer, RecordType.UNPAIRED, max_length=LENGTH, system=None, name="held-out rows")
    if given.ids != rows["id"].to_list():
        raise SystemExit(f"rows that cannot be shown: {given.dropped}")
    answered = given.sides["completion"]
    pad = tokenizer.pad_token_id
    return np.array(completion_logps(model, answered, pad_id=pad, looks=looks_of(tokenizer)))


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
    looking = looks(given.run)
    if given.json:
        print(json.dumps({"answers": found, "looks": looking}))
    last = found[-1]["model"]
    bounds = [row["low"] for row in found if row["model"] == last and row["attribute"] == "colour"]
    if min(bounds) <= 0:
        sys.exit(f"{last} does not name colours right more often than the start model: bounds {bounds}")


if __name__ == "__main__":
    main()
