"""Duplicates: rows that say what an earlier row says, and rows of a test file that a training file has too."""

from __future__ import annotations

import polars as pl

from prefdata.auditing.check import Check
from prefdata.auditing.dataset import Audited
from prefdata.auditing.finding import Found, Levels

LONG_ANSWER = 100
"""Characters from which on an equal answer is a leak by itself; shorter ones ("Thank you!") are said to anybody."""

LEAKED = Levels(critical=0.05, major=0.005, minor=0)
"""By share of the held-out rows."""

_WORD = r"(?:^|[^\p{L}])"
_TRAINING = rf"(?i){_WORD}(?:train|training)(?:[^\p{{L}}]|$)"
_HELD_OUT = rf"(?i){_WORD}(?:test|testing|valid|validation|val|eval|evaluation|dev|held_?out)(?:[^\p{{L}}]|$)"


def _exact(data: Audited) -> Found:
    """Rows whose texts on all sides, and label, an earlier row has."""
    keys = [f"{side}_norm" for side in data.sides] + (["label"] if "label" in data.rows.columns else [])
    rows = data.rows.select("row", *keys)
    later = rows.filter(~pl.struct(keys).is_first_distinct())
    if not later.height:
        return Found()
    first = rows.unique(keys, keep="first", maintain_order=True).rename({"row": "first"})
    named = later.join(first, on=keys, how="left", nulls_equal=True, maintain_order="left")
    sizes = rows.join(later, on=keys, how="semi", nulls_equal=True).group_by(keys).len()["len"]
    return Found(
        rows=later["row"],
        measures={"groups": len(sizes), "largest_group": sizes.sort().to_list()[-1]},
        beside=dict(named.select("row", "first").iter_rows()),
    )


def splits(rows: pl.DataFrame) -> pl.DataFrame:
    """`row` and `split`, "train" or "held_out", of the rows whose file is named as a split."""
    split = (
        pl.when(pl.col("_file").str.contains(_HELD_OUT))
        .then(pl.lit("held_out"))
        .when(pl.col("_file").str.contains(_TRAINING))
        .then(pl.lit("train"))
    )
    return rows.select("row", split.alias("split")).drop_nulls()


def _leaks(data: Audited) -> Found:
    """Held-out rows whose prompt, or whose long answer, a training file has: by text but for case, blanks, marks."""
    named = splits(data.rows)
    if named["split"].n_unique() < 2:
        return Found()
    rows = data.rows.join(named, on="row", maintain_order="left")
    training, held = (rows.filter(pl.col("split") == name) for name in ("train", "held_out"))
    found = [_met(held, training, "prompt_norm", "prompt_norm", pl.col("prompt_chars") > 0)]
    for here in data.answers:
        for there in data.answers:
            long = pl.col(f"{here}_chars") >= LONG_ANSWER
            found.append(_met(held, training, f"{here}_norm", f"{there}_norm", long))
    prompts, answers = found[0], pl.concat(found[1:]) if found[1:] else found[0].clear()
    everything = pl.concat(found).unique("row", keep="first", maintain_order=True).sort("row")
    if not everything.height:
        return Found()
    return Found(
        rows=everything["row"],
        measures={
            "held_out_rows": held.height,
            "prompts_seen": prompts.height,
            "long_answers_seen": answers["row"].n_unique(),
            "share_of_held_out": round(everything.height / held.height, 4),
        },
        severity=LEAKED.of(everything.height, held.height),
        beside=dict(everything.iter_rows()),
    )


def _met(held: pl.DataFrame, training: pl.DataFrame, here: str, there: str, told: pl.Expr) -> pl.DataFrame:
    """`row` of held-out rows and `first`, the first training row with the same value."""
    seen = training.select(pl.col(there).alias(here), first="row").unique(here, keep="first", maintain_order=True)
    return held.filter(told).join(seen, on=here, maintain_order="left").select("row", "first")


EXACT_DUPLICATES = Check(
    name="exact_duplicates",
    family="duplicates",
    title="The row repeats an earlier one, but for case, blanks and punctuation",
    why="Repeated rows weigh more than once, and land on both sides of a split by row.",
    cure="groupings: [exact_duplicates]",
    source="Lee et al. 2022, Deduplicating Training Data Makes Language Models Better",
    levels=Levels(major=0.1, minor=0.005),
    find=_exact,
)

SPLIT_LEAK = Check(
    name="split_leak",
    family="duplicates",
    title="A row of a test or validation file stands in a training file too: the prompt, or a long answer",
    why="The evaluation measures memory: every figure of it is too good.",
    cure="split: {evaluation: 0.1, connect: [prompt, duplicates]}",
    source="Lee et al. 2022, section 4.2: over 4 % of the validation examples stood in the training set",
    find=_leaks,
)
