"""report.json: every number of a run's report, from its decision. No row text, no clock, no place on a machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from prefdata.judging import Decision, RowFilter

BINS = 24
"""Bars of a histogram of scores."""

BORDERLINE = 3
"""Rows named on each side of a threshold."""

EXAMPLES = 5
"""Clusters named for each grouping, the largest ones."""

DECIMALS = 4


def report(
    *,
    recipe: dict[str, Any],
    ingested: dict[str, Any],
    scored: pl.DataFrame,
    decision: Decision,
    filters: Sequence[RowFilter],
    labels: pl.DataFrame,
    card: dict[str, Any],
    split: pl.DataFrame,
    exports: dict[str, Any],
) -> dict[str, Any]:
    """The report as JSON data; the same for the same decision, however the rows were sharded."""
    rows = decision.rows.join(scored.select("id", "label"), on="id", how="left", maintain_order="left")
    kept = rows.filter("kept")
    fates = ingested["fates"]
    counts = {
        "units": sum(row["units"] for row in fates),
        "quarantined": sum(row["quarantined"] for row in fates),
        "rows": rows.height,
        "kept": kept.height,
        "dropped": rows.height - kept.height,
        "unjudged": rows.filter(pl.col("unjudged").list.len() > 0).height,
        "kept_unjudged": kept.filter(pl.col("unjudged").list.len() > 0).height,
        **_classes(rows, "rows"),
        **_classes(kept, "kept"),
    }
    train = split.filter(pl.col("split") == "train").join(scored.select("id", "label"), on="id", how="left")
    return {
        "format": 1,
        "name": recipe["name"],
        "recipe": recipe,
        "counts": counts,
        "fates": fates,
        "set_aside": ingested["set_aside"],
        "quarantine": ingested["quarantine"],
        "sessions": ingested["sessions"],
        "touched": ingested["touched"],
        "funnel": [step._asdict() for step in decision.funnel],
        "reasons": reasons(rows),
        "rules": rules(scored, decision, filters),
        "overlap": overlap(rows),
        "clusters": clusters(decision),
        "labels": label_sources(labels, scored),
        "card": rounded(card),
        "split": splits(split, scored),
        "weights": weights(int(train["label"].sum()), int((~train["label"]).sum())),
        "exports": exports,
    }


def reasons(rows: pl.DataFrame) -> list[dict[str, Any]]:
    """Each reason: rows that carry it, rows that carry no other (unique kills), by class; most frequent first."""
    exploded = rows.filter(~pl.col("kept")).with_columns(alone=pl.col("reasons").list.len() == 1)
    exploded = exploded.explode("reasons", empty_as_null=True).drop_nulls("reasons")
    counted = (
        exploded.group_by("reasons")
        .agg(
            pl.len().alias("rows"),
            pl.col("alone").sum().alias("unique"),
            pl.col("label").sum().alias("desirable"),
            (~pl.col("label")).sum().alias("undesirable"),
        )
        .sort(["rows", "reasons"], descending=[True, False])
    )
    return counted.rename({"reasons": "reason"}).to_dicts()


def overlap(rows: pl.DataFrame) -> dict[str, Any]:
    """How many rows carry both of two reasons: `reasons`, and `matrix` in that order."""
    exploded = rows.filter(~pl.col("kept")).select("id", pl.col("reasons").alias("reason"))
    exploded = exploded.explode("reason", empty_as_null=True).drop_nulls("reason")
    names = sorted(exploded["reason"].unique().to_list())
    pairs = (
        exploded.join(exploded, on="id", suffix="_other").group_by("reason", "reason_other").agg(pl.len().alias("n"))
    )
    table = {(one, other): number for one, other, number in pairs.iter_rows()}
    return {"reasons": names, "matrix": [[table.get((one, other), 0) for other in names] for one in names]}


def rules(scored: pl.DataFrame, decision: Decision, filters: Sequence[RowFilter]) -> list[dict[str, Any]]:
    """Each rule with its bounds, what it stops, and the histogram of its score by class."""
    found = []
    owners = {reason: row_filter.name for row_filter in filters for reason in row_filter.rules}
    dropped = decision.rows.select("id", "reasons")
    joined = scored.join(dropped, on="id", how="left", maintain_order="left")
    for reason, bounds in decision.thresholds.items():
        column = bounds["column"]
        hit = joined.filter(pl.col("reasons").list.contains(reason))
        found.append(
            {
                "reason": reason,
                "filter": owners.get(reason, ""),
                **rounded(bounds),
                "failed": hit.height,
                "unique": hit.filter(pl.col("reasons").list.len() == 1).height,
                "unjudged": int(scored[column].is_null().sum()),
                "histogram": histogram(scored, column, bounds)
                if scored[column].dtype.is_numeric()
                else values(scored, column),
                "borderline": borderline(scored, column, bounds),
            }
        )
    return found


def borderline(scored: pl.DataFrame, column: str, bounds: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows nearest to a threshold on either side of it, nearest first: `id`, `score`, `passes`."""
    limit = bounds["max"] if bounds["max"] is not None else bounds["min"]
    if limit is None or not scored[column].dtype.is_numeric():
        return []
    speaks = pl.lit(True) if bounds["only"] is None else pl.col("label") == (bounds["only"] == "desirable")
    inside = pl.col("score") <= limit if bounds["max"] is not None else pl.col("score") >= limit
    near = (
        scored.filter(speaks)
        .select("id", score=pl.col(column).cast(pl.Float64).round(DECIMALS))
        .drop_nulls("score")
        .with_columns(passes=inside, distance=(pl.col("score") - limit).abs())
        .sort(["distance", "id"])
        .group_by("passes", maintain_order=True)
        .head(BORDERLINE)
        .sort(["passes", "distance", "id"])
    )
    return near.select("id", "score", "passes").to_dicts()


def histogram(scored: pl.DataFrame, column: str, bounds: dict[str, Any]) -> dict[str, Any]:
    """Counts by class in equal bins from the least to the greatest score, thresholds included in the range."""
    judged = scored.select(pl.col(column).cast(pl.Float64).alias("score"), "label").drop_nulls("score")
    if judged.is_empty():
        return {"edges": [], "desirable": [], "undesirable": [], "unlabelled": []}
    limits = [value for value in (bounds["min"], bounds["max"]) if value is not None]
    low = min([float(judged["score"].min()), *limits])  # type: ignore[arg-type]
    high = max([float(judged["score"].max()), *limits])  # type: ignore[arg-type]
    width = (high - low) / BINS or 1.0
    edges = [round(low + width * step, 6) for step in range(BINS + 1)]
    binned = judged.with_columns(bin=((pl.col("score") - low) / width).floor().clip(0, BINS - 1).cast(pl.Int32))

    def bars(keep: pl.Expr) -> list[int]:
        counted = dict(binned.filter(keep).group_by("bin").agg(pl.len().alias("n")).iter_rows())
        return [int(counted.get(step, 0)) for step in range(BINS)]

    return {
        "edges": edges,
        "desirable": bars(pl.col("label")),
        "undesirable": bars(~pl.col("label")),
        "unlabelled": bars(pl.col("label").is_null()),
    }


def values(scored: pl.DataFrame, column: str) -> dict[str, Any]:
    """Counts by class of a text score (a language code), most frequent first, at most BINS of them."""
    counted = (
        scored.group_by(pl.col(column).alias("value"))
        .agg(
            pl.col("label").sum().alias("desirable"),
            (~pl.col("label")).sum().alias("undesirable"),
            pl.col("label").is_null().sum().alias("unlabelled"),
            pl.len().alias("n"),
        )
        .sort(["n", "value"], descending=[True, False])
        .head(BINS)
    )
    return {
        "values": counted["value"].fill_null("unjudged").to_list(),
        **{name: counted[name].to_list() for name in ("desirable", "undesirable", "unlabelled")},
    }


def clusters(decision: Decision) -> list[dict[str, Any]]:
    """Each grouping: clusters, rows in them, the largest, how many carry contradictory labels."""
    found = []
    for grouping in decision.clusters["grouping"].unique(maintain_order=True).to_list():
        rows = decision.clusters.filter(pl.col("grouping") == grouping)
        sizes = rows.group_by("cluster").agg(pl.len().alias("size"), pl.col("conflict").any())
        found.append(
            {
                "grouping": grouping,
                "clusters": sizes.height,
                "rows": rows.height,
                "largest": int(sizes["size"].max() or 0),  # type: ignore[arg-type]
                "conflicting": int(sizes["conflict"].sum()),
                "examples": [
                    {"cluster": cluster, "size": size, "conflict": conflict}
                    for cluster, size, conflict in sizes.select("cluster", "size", "conflict")
                    .sort(["conflict", "size", "cluster"], descending=[True, True, False])
                    .head(EXAMPLES)
                    .iter_rows()
                ],
                "sizes": {
                    str(size): number
                    for size, number in sizes.group_by("size").agg(pl.len().alias("n")).sort("size").iter_rows()
                },
            }
        )
    return found


def label_sources(labels: pl.DataFrame, scored: pl.DataFrame) -> dict[str, Any]:
    """Labels by class, and the signals that they rest on."""
    exploded = labels.select("label", pl.col("label_sources").alias("source")).explode("source", empty_as_null=True)
    counted = (
        exploded.drop_nulls("source")
        .group_by("source")
        .agg(
            pl.col("label").sum().alias("desirable"), (~pl.col("label")).sum().alias("undesirable"), pl.len().alias("n")
        )
        .sort(["n", "source"], descending=[True, False])
        .drop("n")
    )
    return {
        "desirable": int(labels["label"].sum()),
        "undesirable": int((~labels["label"]).sum()),
        "abstained": int(labels["label"].is_null().sum()),
        "sources": counted.to_dicts(),
    }


def splits(split: pl.DataFrame, scored: pl.DataFrame) -> dict[str, Any]:
    """Rows, classes and split units on each side, and the largest unit."""
    joined = split.join(scored.select("id", "label"), on="id", how="left", maintain_order="left")
    found: dict[str, Any] = {}
    for name in ("train", "evaluation"):
        rows = joined.filter(pl.col("split") == name)
        found[name] = {
            "rows": rows.height,
            "units": rows["group"].n_unique(),
            "desirable": int(rows["label"].sum()),
            "undesirable": int((~rows["label"]).sum()),
        }
    sizes = joined.group_by("group").agg(pl.len().alias("n"))
    found["largest_unit"] = int(sizes["n"].max() or 0)  # type: ignore[arg-type]
    return found


def weights(desirable: int, undesirable: int) -> dict[str, Any]:
    """KTO's class weights: the rarer side is raised until desirable : undesirable is in [1, 4/3].

    Ethayarajh et al., 2024, equation 8. Null where a class is missing.
    """
    if not desirable or not undesirable:
        return {"desirable_weight": None, "undesirable_weight": None, "ratio": None}
    ratio = desirable / undesirable
    raise_desirable, raise_undesirable = 1.0, 1.0
    if ratio < 1:
        raise_desirable = 1 / ratio
    elif ratio > 4 / 3:
        raise_undesirable = ratio / (4 / 3)
    weighted = raise_desirable * desirable / (raise_undesirable * undesirable)
    return rounded({"desirable_weight": raise_desirable, "undesirable_weight": raise_undesirable, "ratio": weighted})


def rounded(value: Any) -> Any:
    """The same data with every float at four decimals."""
    if isinstance(value, float):
        return round(value, DECIMALS)
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(inner) for inner in value]
    return value


def _classes(rows: pl.DataFrame, name: str) -> dict[str, int]:
    return {
        f"{name}_desirable": int(rows["label"].sum()),
        f"{name}_undesirable": int((~rows["label"]).sum()),
    }
