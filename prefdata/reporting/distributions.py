"""How scores are spread: histograms whose bars end at the thresholds, and the rows nearest to a threshold."""

from __future__ import annotations

import math
import re
from typing import Any

import polars as pl

BINS = 24
"""Bars of a histogram of scores, one more where the threshold shifts them."""

REACH = 0.5
"""A threshold farther from every score than this share of their spread is named, but not drawn to scale."""

BORDERLINE = 3
"""Rows named on each side of a threshold."""

DECIMALS = 4

CLASSES = ("desirable", "undesirable", "unlabelled")


def histogram(scored: pl.DataFrame, column: str, bounds: dict[str, Any]) -> dict[str, Any]:
    """Counts by class in equal bins: `edges` (one more than bars), CLASSES, and `whole` for whole-number scores.

    A threshold within REACH lies on an edge, so that no bar mixes passing rows with stopped ones. Whole numbers have
    edges halfway between them. Scores of one single value give one bar with both edges at that value.
    """
    judged = scored.select(pl.col(column).cast(pl.Float64).round(DECIMALS).alias("score"), "label").drop_nulls("score")
    if judged.is_empty():
        return {"edges": [], **{name: [] for name in CLASSES}, "whole": False}
    low, high = float(judged["score"].min()), float(judged["score"].max())  # type: ignore[arg-type]
    if low == high:
        return {"edges": [low, low], **_counts(judged.with_columns(bin=pl.lit(0)), 1), "whole": low.is_integer()}
    reach = REACH * (high - low)
    least, most = (_within(bounds[name], low - reach, high + reach) for name in ("min", "max"))
    limits = [value for value in (least, most) if value is not None]
    first, last = min([low, *limits]), max([high, *limits])
    whole = bool((judged["score"] == judged["score"].floor()).all()) and all(value.is_integer() for value in limits)
    margin = 0.5 if whole else 0.0
    width = float(math.ceil((last - first + 1) / BINS)) if whole else _tidy((last - first) / BINS)
    if most is not None:
        anchor = most + margin
    elif least is not None:
        anchor = least - margin
    else:
        anchor = first - margin if whole else math.floor(first / width + 1e-9) * width
    start = anchor - math.ceil((anchor - first + margin) / width - 1e-9) * width
    bins = max(math.ceil((last + margin - start) / width - 1e-9), 1)
    place = (pl.col("score") - start) / width
    closed_right = most is not None and not whole
    index = (place - 1e-9).ceil() - 1 if closed_right else (place + 1e-9).floor()
    binned = judged.with_columns(bin=index.clip(0, bins - 1).cast(pl.Int32))
    edges = [round(start + width * step, 6) for step in range(bins + 1)]
    return {"edges": edges, **_counts(binned, bins), "whole": whole}


def values(scored: pl.DataFrame, column: str) -> dict[str, Any]:
    """Counts by class of a text score (a language code), most frequent first; `left_off` values beyond BINS."""
    counted = (
        scored.group_by(pl.col(column).alias("value"))
        .agg(
            pl.col("label").sum().alias("desirable"),
            (~pl.col("label")).sum().alias("undesirable"),
            pl.col("label").is_null().sum().alias("unlabelled"),
            pl.len().alias("n"),
        )
        .sort(["n", "value"], descending=[True, False])
    )
    shown = counted.head(BINS)
    return {
        "values": shown["value"].to_list(),
        **{name: shown[name].to_list() for name in CLASSES},
        "left_off": counted.height - shown.height,
    }


def borderline(scored: pl.DataFrame, column: str, bounds: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows nearest to a threshold on either side of it, stopped ones first: `id`, `score`, `passes`."""
    least, most = bounds["min"], bounds["max"]
    if (least is None and most is None) or not scored[column].dtype.is_numeric():
        return []
    tests, distances = [], []
    if least is not None:
        tests.append(pl.col("score") >= least)
        distances.append((pl.col("score") - least).abs())
    if most is not None:
        tests.append(pl.col("score") <= most)
        distances.append((pl.col("score") - most).abs())
    near = (
        scored.filter(spoken_for(scored, column, bounds))
        .select("id", score=pl.col(column).cast(pl.Float64).round(DECIMALS))
        .drop_nulls("score")
        .with_columns(passes=pl.all_horizontal(tests), distance=pl.min_horizontal(distances))
        .sort(["passes", "distance", "id"])
        .group_by("passes", maintain_order=True)
        .head(BORDERLINE)
    )
    return near.select("id", "score", "passes").to_dicts()


def spoken_for(scored: pl.DataFrame, column: str, bounds: dict[str, Any]) -> pl.Expr:
    """Rows that the rule speaks for, as when rows were decided: one side of pairs, all of examples, else by label."""
    if bounds["only"] is None:
        return pl.lit(True)
    desirable = bounds["only"] == "desirable"
    side = re.search(r"_(chosen|rejected)(?:_|$)", column)
    if side:
        return pl.lit((side[1] == "chosen") == desirable)
    if scored["label"].null_count() == scored.height:
        return pl.lit(desirable)
    return pl.col("label").eq(desirable)


def _within(value: float | None, low: float, high: float) -> float | None:
    return float(value) if value is not None and low <= value <= high else None


def _tidy(width: float) -> float:
    """The least of 1, 2, 2.5, 5 times a power of ten that is not below `width`."""
    scale = 10.0 ** math.floor(math.log10(width))
    return next(step * scale for step in (1.0, 2.0, 2.5, 5.0, 10.0) if step * scale >= width * (1 - 1e-9))


def _counts(binned: pl.DataFrame, bins: int) -> dict[str, list[int]]:
    found = {}
    tests = (pl.col("label"), ~pl.col("label"), pl.col("label").is_null())
    for name, test in zip(CLASSES, tests, strict=True):
        counted = dict(binned.filter(test).group_by("bin").agg(pl.len().alias("n")).iter_rows())
        found[name] = [int(counted.get(step, 0)) for step in range(bins)]
    return found
