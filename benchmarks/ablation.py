"""Does an ablation see which filter pays? Planted rows whose truth is known, and the share of times it is told right.

    python benchmarks/ablation.py                        one planted set of each kind, with its table
    python benchmarks/ablation.py --repeats 20           20 sets of each kind: how often each verdict is given
    python benchmarks/ablation.py --head model           the same, over the hidden states of a model (minutes)

A planted set has answers made of kind, unkind and neutral words, and a label (or a preferred side) that follows them.
Three rules each catch about the same share of the training rows, by the length of the question, which tells nothing
else: `prompt_too_long` catches rows whose labels were turned over, `prompt_too_short` rows picked by chance, and
`near_duplicates` copies of a few rows. The first pays, the second must not be said to.
"""

from __future__ import annotations

import argparse
import collections
import json
import tempfile
import time
from pathlib import Path

import numpy as np

from prefdata.ablation import Settings, ablate

RECIPE = """
name: planted
type: {type}
sources:
  - {{name: planted, path: planted.jsonl, format: trl}}
filters:
  - chat_quality: {{min_prompt_words: 4, max_prompt_tokens: 60}}
groupings: {groupings}
split: {{evaluation: 0.2}}
export: []
"""

NOISE, CHANCE, COPIES = "chat_quality.prompt_too_long", "chat_quality.prompt_too_short", "near_duplicates"
KIND = "sorry thanks refund sent solved today happy gladly welcome checked fixed sure"
UNKIND = "no never wait blame refuse later wrong cannot stop closed ignore whatever"
NEUTRAL = " ".join(f"{one}{sign}" for one in ("part", "order", "case", "item", "form", "line") for sign in "abcdefghij")
LONG = " ".join(["and then I looked at the page once more and it said the same thing as before"] * 5)


def write(
    folder: Path, *, rows: int = 900, pairs: bool = False, share: float = 0.2, copies: bool = False, seed: int = 0
) -> Path:
    """planted.jsonl and recipe.yaml in `folder`: `share` of the rows caught by each rule; returns the recipe."""
    random = np.random.default_rng(seed)
    lines = []
    for number in range(rows):
        kind = random.choice(["noise", "chance", "plain"], p=[share, share, 1 - 2 * share])
        code = "".join(random.choice(list("bcdfghjklmnpqrstvwxz"), 9))
        asked = {
            "noise": f"Where is my order {code}? {LONG}",
            "chance": f"Where is {code}?",
            "plain": f"Where is my order {code}, please?",
        }[kind]
        one, other = (_answer(random) for _ in range(2))
        if pairs:
            better = one[1] - other[1] + random.normal(0, 1) > 0
            sides = [one[0], other[0]] if better != (kind == "noise") else [other[0], one[0]]
            row = {"prompt": asked, "chosen": sides[0], "rejected": sides[1]}
        else:
            label = bool(one[1] + random.normal(0, 1) > 0) != (kind == "noise")
            row = {"prompt": asked, "completion": one[0], "label": label}
        lines += [row] * (12 if copies and number % 60 == 0 and kind == "plain" else 1)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "planted.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    path = folder / "recipe.yaml"
    made = RECIPE.format(type="preference" if pairs else "unpaired", groupings="[near_duplicates]" if copies else "[]")
    path.write_text(made, encoding="utf-8")
    return path


def _answer(random: np.random.Generator) -> tuple[str, float]:
    """Fourteen words, and how much kinder than unkind they are."""
    kind, unkind = random.integers(0, 4), random.integers(0, 4)
    counts = ((KIND, kind), (UNKIND, unkind), (NEUTRAL, 14 - kind - unkind))
    words = [word for known, count in counts for word in random.choice(known.split(), count)]
    random.shuffle(words)
    return " ".join(words), float(kind - unkind)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=900)
    parser.add_argument("--share", type=float, default=0.2)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--draws", type=int, default=12)
    parser.add_argument("--head", choices=("words", "model"), default="words")
    parser.add_argument("--model")
    asked = parser.parse_args()
    told = f"{asked.rows} rows, {asked.share:.0%} caught by each rule, {asked.repeats} sets, head {asked.head}"
    print(f"{told}, {asked.draws} draws\n")
    print(
        "type      left out                          verdicts                       difference  interval off 0  seconds"
    )
    for pairs in (False, True):
        verdicts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
        values: dict[str, list[float]] = collections.defaultdict(list)
        off: collections.Counter[str] = collections.Counter()
        start = time.process_time()
        for seed in range(asked.repeats):
            with tempfile.TemporaryDirectory() as scratch:
                recipe = write(Path(scratch), rows=asked.rows, pairs=pairs, share=asked.share, seed=seed)
                settings = Settings(
                    head=asked.head, model=asked.model, draws=asked.draws, only=(NOISE, CHANCE), seed=seed
                )
                found = ablate(recipe, out=Path(scratch) / "run", settings=settings).result
            for arm in found["arms"]:
                verdicts[arm["name"]][arm["verdict"]] += 1
                values[arm["name"]].append(arm["difference"]["value"])
                off[arm["name"]] += not arm["difference"]["low"] <= 0 <= arm["difference"]["high"]
        seconds = (time.process_time() - start) / asked.repeats
        for name in (NOISE, CHANCE):
            counted = ", ".join(f"{word} {number}" for word, number in verdicts[name].most_common())
            print(
                f"{'pairs' if pairs else 'unpaired':9} {name:33} {counted:30} {np.mean(values[name]):+10.4f} "
                f"{off[name]:8} of {asked.repeats:<3} {seconds:8.1f}"
            )


if __name__ == "__main__":
    main()
