"""Labelled rows: labels that contradict each other, that are of one class, or that stand in order."""

from __future__ import annotations

import math
from typing import Any

import polars as pl

from prefdata.auditing.check import UNARY, Check
from prefdata.auditing.dataset import Audited
from prefdata.auditing.finding import Found, Levels, Severity

BALANCED, UNEVEN = (1 / 4, 4.0), (1 / 10, 10.0)
"""Desirable rows for each undesirable one: fair; and what weights still even out (KTO's paper held to 1:10)."""

SLICES = 12
"""Parts of the rows by source, language, month of which the classes are told, the largest."""

_SLICES = {
    "source": pl.col("source"),
    "language": pl.col("language"),
    "month": pl.col("time").dt.strftime("%Y-%m"),
}

RUN_CHANCE = 1e-6
"""Probability of a run as long in shuffled labels, below which the order is told."""


def _contradictory(data: Audited) -> Found:
    """Rows whose (prompt, completion) has the other label in another row."""
    keys = ["prompt_norm", "completion_norm"]
    labelled = data.rows.filter(pl.col("label").is_not_null()).select("row", *keys, "label")
    both = labelled.filter(pl.col("label").n_unique().over(keys) > 1).sort("row")
    other = both.select(*keys, pl.col("label").not_(), other="row").unique([*keys, "label"], keep="first")
    beside = both.join(other, on=[*keys, "label"], how="left", maintain_order="left")
    return Found(rows=both["row"], beside=dict(beside.select("row", "other").iter_rows()))


def _balance(data: Audited) -> Found:
    """The classes, by source, language and month too; how bad their ratio is."""
    counts = data.rows.group_by("label").len().sort("label", nulls_last=True)
    classes = {str(label).lower() if label is not None else "none": number for label, number in counts.iter_rows()}
    good, bad = classes.get("true", 0), classes.get("false", 0)
    measures: dict[str, Any] = {"desirable": good, "undesirable": bad, "without_label": classes.get("none", 0)}
    if not good or not bad:
        return Found(measures=measures, severity=Severity.CRITICAL)
    ratio = good / bad
    measures["ratio"] = round(ratio, 4)
    measures |= {f"by_{name}": told for name, by in _SLICES.items() if (told := _by(data.rows, name, by))}
    return Found(measures=measures, severity=_severity(ratio, BALANCED, UNEVEN))


def _severity(ratio: float, fair: tuple[float, float], uneven: tuple[float, float]) -> Severity:
    if fair[0] <= ratio <= fair[1]:
        return Severity.NOTE
    return Severity.MINOR if uneven[0] <= ratio <= uneven[1] else Severity.MAJOR


def _by(rows: pl.DataFrame, name: str, by: pl.Expr) -> dict[str, dict[str, int]]:
    """The classes in the SLICES largest parts of the rows; nothing where there is one part."""
    if _column(name) not in rows.columns:
        return {}
    counted = (
        rows.select(by.alias("part"), "label")
        .drop_nulls()
        .group_by("part")
        .agg(
            pl.col("label").sum().cast(pl.Int64).alias("desirable"),
            (~pl.col("label")).sum().cast(pl.Int64).alias("undesirable"),
        )
        .sort(pl.col("desirable") + pl.col("undesirable"), "part", descending=[True, False])
    )
    if counted.height < 2:
        return {}
    return {part: {"desirable": good, "undesirable": bad} for part, good, bad in counted.head(SLICES).iter_rows()}


def _column(name: str) -> str:
    return "time" if name == "month" else name


def _runs(data: Audited) -> Found:
    """The longest run of one label, and how likely one as long is where the labels are shuffled."""
    labels = data.rows.filter(pl.col("label").is_not_null())["label"]
    if len(labels) < 20 or labels.n_unique() < 2:
        return Found()
    runs = labels.rle().struct.unnest()
    longest = runs.sort("len", descending=True, maintain_order=True).row(0, named=True)
    share = float((labels == longest["value"]).mean() or 0.0)
    chance = min(1.0, len(labels) * (1 - share) * math.exp(longest["len"] * math.log(share)))
    if chance > RUN_CHANCE:
        return Found()
    start = int(runs.with_columns(end=pl.col("len").cum_sum()).filter(pl.col("len") == longest["len"])["end"][0])
    where = data.rows.filter(pl.col("label").is_not_null())["row"].slice(start - longest["len"], longest["len"])
    return Found(
        rows=where,
        measures={
            "longest_run": longest["len"],
            "label": bool(longest["value"]),
            "runs": runs.height,
            "runs_expected": round(1 + 2 * len(labels) * share * (1 - share)),
        },
        severity=Severity.MAJOR if longest["len"] >= 64 else Severity.MINOR,
    )


CONTRADICTORY_LABELS = Check(
    name="contradictory_labels",
    family="unary",
    title="The same answer to the same prompt has both labels",
    why="The rows pull the model both ways; KTO takes them as facts of equal weight.",
    cure="groupings: [exact_duplicates]  # rows of both labels abstain, and are told in the report",
    types=UNARY,
    levels=Levels(critical=0.05, major=0.005, minor=0),
    find=_contradictory,
)

CLASS_BALANCE = Check(
    name="class_balance",
    family="unary",
    title="Desirable and undesirable rows",
    why="KTO needs both classes, and weights that bring them into 1:1 to 4:3; with one class it learns nothing.",
    cure="balance: {}  # counts the classes and sets desirable_weight and undesirable_weight",
    source="KTO paper (Ethayarajh et al. 2024), section 4.2; TRL's KTO documentation",
    types=UNARY,
    find=_balance,
)

LABEL_RUNS = Check(
    name="label_runs",
    family="unary",
    title="The labels stand in order: a long run of one class",
    why="Trainers that read in file order get batches of one class, from which KTO's reference point cannot be told.",
    cure="Any export of prefdata interleaves the labels; or shuffle.",
    source="TRL's KTO documentation: at least one of each class in a batch",
    types=UNARY,
    find=_runs,
)

MISSING_LABEL = Check(
    name="missing_label",
    family="unary",
    title="The row has no label",
    why="Trainers stop at such a row, or read it as undesirable; here it abstains.",
    cure="An export leaves these rows out; label them, or drop them.",
    types=UNARY,
    levels=Levels(critical=0.5, major=0.05, minor=0),
    flag=lambda record_type: pl.col("label").is_null(),
)
