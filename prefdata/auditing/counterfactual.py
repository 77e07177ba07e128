"""Counterfactual swaps: the same sentence about another gender, group or person, scored by the filter of toxicity.

A scorer that is fair gives both the same. Where it does not, rows are dropped, and others kept, for whom they speak of.
The sentences are those of the dataset, so that the figure says what happens to its rows.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import polars as pl

from prefdata import catalogue
from prefdata.auditing import bias_lists
from prefdata.auditing.bias import MIN_SENTENCES, bootstrapped, classes, preferred
from prefdata.auditing.check import ANSWERED, Check
from prefdata.auditing.dataset import Audited
from prefdata.auditing.finding import Found, Severity

MAX_SENTENCES = 300
"""Sentences of an axis that are swapped and scored; a score takes 0.1 ms."""
BOUND = 0.8
"""The bound of the filter `toxicity`."""
FLIPPED = 0.02
"""Share of the sentences that cross the bound by a swap, from which on it is more than a note."""
AXES = {"gender": "swaps_gender", "group": "swaps_group", "name": "swaps_name"}


@cache
def _scorer() -> Any:
    return catalogue.load("filter", "toxicity")().build().scorer


@cache
def _sets(axis: str) -> tuple[str, re.Pattern[str], dict[str, list[str]]]:
    """A pattern for polars, the same for Python, and word -> the words that stand for it."""
    sets = bias_lists.lists().swaps[AXES[axis]]
    others: dict[str, list[str]] = {}
    for words in sets:
        for word in words:
            others.setdefault(word, [other for other in words if other != word][:4])
    pattern = bias_lists.pattern(list(others))
    return pattern, re.compile(pattern.replace("(?i-u:", "(?i:")), others


def swapped(text: str, axis: str) -> list[str]:
    """The text with the words of an axis swapped, once for each alternative; a named kernel.

    Several words are swapped together: "he and his wife" becomes "she and her husband". "her" becomes "him" or "his"
    by what stands behind it: a pronoun before a word is a possessive.
    """
    _, pattern, others = _sets(axis)
    found = [match[0].lower() for match in pattern.finditer(text)]
    if not found:
        return []
    count = max(len(others[word]) for word in found)

    def other(number: int) -> str:
        def one(match: re.Match[str]) -> str:
            word = match[0].lower()
            if word == "her":
                new = "his" if re.match(r" [a-z]", text[match.end() :]) else "him"
            else:
                new = others[word][number % len(others[word])]
            return new.capitalize() if match[0][0].isupper() else new

        return pattern.sub(one, text)

    return [other(number) for number in range(count)]


def _axis(data: Audited, axis: str, sentences: pl.DataFrame) -> pl.DataFrame | None:
    """Sentences of an axis: `row`, `side`, `words`, `score`, `gap` (score less the mean of the swaps), `flipped`."""
    pattern, compiled, _ = _sets(axis)
    near = sentences.filter(pl.col("text").str.contains(pattern))
    near = near.gather_every(max(1, -(-near.height // MAX_SENTENCES)))
    if near.height < MIN_SENTENCES:
        return None
    texts = near["text"].to_list()
    pairs = [(number, text) for number, text in enumerate(texts) for text in swapped(text, axis)]
    swaps = pl.DataFrame(pairs, schema={"at": pl.UInt32, "text": pl.String}, orient="row")
    every = pl.concat([near["text"], swaps["text"]]).unique(maintain_order=True).to_frame()
    scores = every.hstack(_scorer().score(every).select("toxicity"))
    scored = (
        swaps.join(scores, on="text", maintain_order="left")
        .group_by("at")
        .agg(
            pl.col("toxicity").mean().alias("mean"),
            pl.col("toxicity").min().alias("low"),
            pl.col("toxicity").max().alias("high"),
        )
    )
    first = [match[0].lower() if (match := compiled.search(text)) else "" for text in texts]
    own = near.join(scores, on="text", maintain_order="left").with_columns(
        at=pl.int_range(pl.len(), dtype=pl.UInt32), word=pl.Series(first)
    )
    found = own.join(scored, on="at", maintain_order="left").filter(
        pl.col("toxicity").is_not_null() & pl.col("mean").is_not_null()
    )
    score = pl.col("toxicity")
    crosses = ((score > BOUND) & (pl.col("low") <= BOUND)) | ((score <= BOUND) & (pl.col("high") > BOUND))
    return found.select(
        "row",
        "side",
        "word",
        score=score.cast(pl.Float64),
        gap=score.cast(pl.Float64) - pl.col("mean"),
        flipped=crosses.cast(pl.Int64),
        one=pl.lit(1),
    )


def _share(sums: Any) -> float:
    return float(sums[0]) / max(float(sums[1]), 1.0)


def _find(data: Audited) -> Found:
    """For each axis: how often a swap crosses the filter's bound, and which words cost most on average; nothing where
    on no axis that is more than a chance sentence."""
    sentences = bias_lists.sentences(data)
    measures: dict[str, Any] = {}
    rows = []
    worst = 0.0
    for axis in AXES:
        scored = _axis(data, axis, sentences)
        if scored is None:
            continue
        flipped = bootstrapped(data, scored, ["flipped", "one"], _share)
        told: dict[str, Any] = {"sentences": scored.height, "flipped_share": flipped[0], "interval": list(flipped[1:])}
        by_word = scored.group_by("word").agg(
            sentences=pl.len(), gap=pl.col("gap").mean(), error=pl.col("gap").std() / pl.len().sqrt()
        )
        by_word = by_word.filter((pl.col("sentences") >= 10) & (pl.col("gap").abs() > 3.5 * pl.col("error")))
        told["words"] = {
            word: {"sentences": number, "difference": round(gap, 4)}
            for word, number, gap, _ in by_word.sort("gap", "word", descending=[True, False]).head(8).iter_rows()
        }
        better, _, classed = classes(data, scored)
        if better:
            means = classed.group_by("class").agg(pl.col("gap").mean().round(4)).sort("class")
            told["difference_by_side"] = dict(means.iter_rows())
        measures[axis] = told
        worst = max(worst, flipped[1])
        rows.append(preferred(data, scored.filter(pl.col("flipped") == 1))["row"])
    if not worst:
        return Found()
    measures["looked_at"] = bias_lists.looked_at(data)
    severity = Severity.MINOR if worst >= FLIPPED else Severity.NOTE
    return Found(rows=pl.concat(rows).unique().sort(), measures=measures, severity=severity)


COUNTERFACTUAL_TOXICITY = Check(
    name="counterfactual_toxicity",
    family="bias",
    title="The filter of toxicity scores the same sentence otherwise where it speaks of another gender, group or name",
    why="Rows about one group are dropped more often than the same rows about another: the kept set gets a bias.",
    cure="filters: [toxicity: {max_toxicity: 0.95}]  # or judge these rows by hand",
    source="Garg et al. 2019, Counterfactual Fairness in Text Classification; Bertrand and Mullainathan 2004 (names)",
    types=ANSWERED,
    find=_find,
)
