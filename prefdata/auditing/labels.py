"""Labels: those that a model of the other rows would not give, those that were given without confidence, and drift."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import polars as pl

from prefdata.auditing.check import PAIRS, UNARY, Check
from prefdata.auditing.dataset import Audited
from prefdata.auditing.finding import Found, Levels, Severity
from prefdata.schema import RecordType

if TYPE_CHECKING:
    from prefdata.auditing.probing import Judged, Probe

JUDGING_AUC = {RecordType.UNPAIRED: 0.75, RecordType.PREFERENCE: 0.8}
"""Area from which on a model's doubt says something of single rows; below it most of its doubts are its own errors.
Pairs need more: at 0.72 a third of the suspects in Auto-J's pairs were planted flips, at chance a tenth."""
SURE = 0.8
"""Held-out probability of the other label from which on at least a row is told."""
PRIORS = (15.0, 4.0, 1.0)
"""Prior precisions of the model's weights that are tried after that of the family trainability, as long as each tells
the held-out labels better: 60 is best for pairs of long answers, 4 and less for thousands of short ones."""
SUSPECTED = Levels(major=0.15, minor=0.05)
"""By share of the rows that are looked at: they are suspected, not proven."""

LOW_CONFIDENCE = 0.6
"""Of a label; 0.5 is no label at all."""

MIN_MONTH = 20
"""Rows of a month from which on it is looked at."""
MAJOR_V, MINOR_V = 0.3, 0.1
"""Cramér's V: medium and small for two classes (Cohen, 1988)."""
MOST_MONTHS = 36


def _flips(data: Audited) -> Found:
    """Rows whose label a model fitted to other prompts contradicts, by confident learning.

    The model sees what that of the family trainability sees, words and marks of the answers, with the prior that tells
    held-out labels best. A label is suspected where the held-out probability of the other one reaches that label's own
    threshold, the mean probability that rows which have it get for it (Northcutt et al., 2021, equation 2), and SURE.
    Pairs are labelled by which side is chosen: both labels then have one threshold.

    Of 0.5, 2 and 10 % of labels turned round in 6,000 tweets (Davidson et al., 2017) it finds 71, 75 and 57 %, and 34,
    68 and 94 % of those that it tells are such; 39 more it tells of the set as it is. The rules of cleanlab's
    `find_label_issues` on the same probabilities find 69 to 83 % at 0.5 and 2 %, with a precision of 17 to 46 %: they
    set no least probability. On pairs such as hh-rlhf's, where the model hardly tells the sides apart, it is silent.
    """
    import numpy as np

    from prefdata.auditing.probing import probe

    seen = probe(data)
    if seen is None:
        return Found()
    judged = _best(seen)
    if judged.auc.value < JUDGING_AUC[data.type] or judged.auc.low <= 0.5:
        return Found()
    given = seen.label > 0
    right = 1 / (1 + np.exp(-np.clip(judged.scores, -500, 500)))
    right = np.where(given, right, 1 - right)
    if data.type is RecordType.PREFERENCE:
        thresholds = {"chosen": float(right.mean())}
        reached = np.full(seen.height, thresholds["chosen"])
    else:
        thresholds = {"desirable": float(right[given].mean()), "undesirable": float(right[~given].mean())}
        reached = np.where(given, thresholds["undesirable"], thresholds["desirable"])
    suspected = np.flatnonzero(1 - right >= np.maximum(reached, SURE))
    rows = seen.rows["row"].gather(suspected)
    if not len(rows):
        return Found()
    told = {int(row): f"held-out probability {right[at]:.2f}" for row, at in zip(rows, suspected, strict=True)}
    return Found(
        rows=rows.sort(),
        measures={
            "looked_at": seen.height,
            "share_of_looked_at": round(len(rows) / seen.height, 4),
            **judged.auc.measures("auc"),
            "thresholds": {name: round(value, 4) for name, value in thresholds.items()},
        },
        severity=SUSPECTED.of(len(rows), seen.height),
        beside=told,
    )


def _best(seen: Probe) -> Judged:
    """What the model says with the prior that tells held-out labels best; weaker ones are tried one after another."""
    from prefdata.auditing.probing import WORD_PRIOR
    from prefdata.auditing.trainability import curve, everything

    best = curve(seen)[-1]
    loss = seen.loss(best.scores).value
    for prior in PRIORS:
        judged = seen.judge(everything(seen) * math.sqrt(WORD_PRIOR / prior))
        lower = seen.loss(judged.scores).value
        if lower >= loss:
            break
        best, loss = judged, lower
    return best


def _confidence(data: Audited) -> Found:
    """Rows whose label was given with little confidence, and how confidence is spread."""
    if "label_confidence" not in data.rows.columns:
        return Found()
    rows = data.rows.filter(pl.col("label").is_not_null()).select("row", "label_confidence").drop_nulls()
    low = rows.filter(pl.col("label_confidence") < LOW_CONFIDENCE)
    if not low.height:
        return Found()
    spread = [rows["label_confidence"].quantile(part, "nearest") for part in (0.05, 0.25, 0.5, 0.75, 0.95)]
    names = ("p5", "p25", "median", "p75", "p95")
    return Found(
        rows=low["row"],
        measures={
            "with_confidence": rows.height,
            **{name: round(float(value or 0.0), 4) for name, value in zip(names, spread, strict=True)},
        },
        beside={row: f"confidence {value:.2f}" for row, value in low.head(1000).iter_rows()},
    )


def _drift(data: Audited) -> Found:
    """How the share of desirable rows, or of pairs whose longer answer is chosen, moves from month to month."""
    from prefdata.auditing.association import association
    from prefdata.auditing.order import preference, told_of

    if "time" not in data.rows.columns:
        return Found()
    rows = preference(data.rows.filter(pl.col("time").is_not_null()), data.type)
    rows = rows.with_columns(pl.col("time").dt.strftime("%Y-%m").alias("month"))
    found = association(rows.filter(pl.len().over("month") >= MIN_MONTH), by="month")
    if found is None or not found.holds or found.cramers_v < MINOR_V:
        return Found()
    months = found.table.tail(MOST_MONTHS).select("value", "share")
    return Found(
        measures={
            **found.measures(),
            told_of(data.type): {month: round(share, 4) for month, share in months.iter_rows()},
        },
        severity=Severity.MAJOR if found.cramers_v >= MAJOR_V else Severity.MINOR,
    )


SUSPECTED_FLIPS = Check(
    name="suspected_flips",
    family="labels",
    title="A model of the other rows is sure of the other label",
    why="Some of these labels are wrong, others are right and hard: wrong ones cost more than the rows are worth.",
    cure="Look at these rows first, the lowest probability first; leave out those that are wrong.",
    source="Northcutt et al. 2021, Confident Learning; PrefCleanBench 2025: leaving out beats turning round",
    types=frozenset({RecordType.PREFERENCE, RecordType.UNPAIRED}),
    find=_flips,
)

LOW_LABEL_CONFIDENCE = Check(
    name="low_label_confidence",
    family="labels",
    title="The label was given with little confidence",
    why="Such a label is right little more often than a coin; training takes it for a fact.",
    cure="labels: {min_confidence: 0.65}",
    types=UNARY,
    levels=Levels(major=0.3, minor=0.05),
    find=_confidence,
)

LABEL_DRIFT = Check(
    name="label_drift",
    family="labels",
    title="What is preferred moves from month to month",
    why="The share of desirable rows, or of pairs whose longer answer is chosen: what the label means, or who gave it, "
    "changed, and the model learns what a month looks like.",
    cure="split: {by: time}  # shows what that costs; look at the months that differ",
    source="Chi-square and Cramér's V with Bergsma's correction (2013)",
    types=PAIRS | UNARY,
    find=_drift,
)
