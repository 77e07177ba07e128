"""report.json: every number of a run's report, from its decision. No row text, no clock, no place on a machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from prefdata.balance import kto_weights
from prefdata.judging import Decision, RowFilter
from prefdata.reporting.distributions import DECIMALS, borderline, histogram, spoken_for, values

SAMPLES = 3
"""Rows named for each reason."""

EXAMPLES = 5
"""Clusters named for each grouping."""

MATES = 4
"""Rows named of each such cluster."""

SIDES = ("train", "evaluation")
"""The sides of a split without a test side."""


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
    splitting: dict[str, Any] | None = None,
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
        "reading": ingested["reading"],
        "touched": ingested["touched"],
        "funnel": [step._asdict() for step in decision.funnel],
        "reasons": reasons(rows),
        "rules": rules(scored, decision, filters),
        "overlap": overlap(rows),
        "clusters": clusters(decision),
        "labels": label_sources(labels, scored),
        "card": rounded(card),
        "split": {**splits(split, scored, (splitting or {}).get("sides", SIDES)), **rounded(splitting or {})},
        "weights": weights(int(train["label"].sum()), int((~train["label"]).sum())),
        "exports": exports,
    }


def reasons(rows: pl.DataFrame) -> list[dict[str, Any]]:
    """Each reason: rows that carry it, rows that carry no other (unique kills), by class; most frequent first.

    `examples` are ids of such rows, those first that carry no other reason.
    """
    exploded = rows.filter(~pl.col("kept")).with_columns(alone=pl.col("reasons").list.len() == 1)
    exploded = exploded.explode("reasons", empty_as_null=True).drop_nulls("reasons")
    counted = (
        exploded.sort(["alone", "id"], descending=[True, False])
        .group_by("reasons", maintain_order=True)
        .agg(
            pl.len().alias("rows"),
            pl.col("alone").sum().alias("unique"),
            pl.col("label").sum().alias("desirable"),
            (~pl.col("label")).sum().alias("undesirable"),
            pl.col("id").head(SAMPLES).alias("examples"),
        )
        .sort(["rows", "reasons"], descending=[True, False])
    )
    return counted.rename({"reasons": "reason"}).to_dicts()


def overlap(rows: pl.DataFrame) -> dict[str, Any]:
    """How many rows carry both of two reasons: `reasons`, most frequent first, and `matrix` in that order."""
    exploded = rows.filter(~pl.col("kept")).select("id", pl.col("reasons").alias("reason"))
    exploded = exploded.explode("reason", empty_as_null=True).drop_nulls("reason")
    pairs = (
        exploded.join(exploded, on="id", suffix="_other").group_by("reason", "reason_other").agg(pl.len().alias("n"))
    )
    table = {(one, other): number for one, other, number in pairs.iter_rows()}
    names = sorted((one for one, other in table if one == other), key=lambda name: (-table[name, name], name))
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
        spoken = spoken_for(scored, column, bounds)
        found.append(
            {
                "reason": reason,
                "filter": owners.get(reason, ""),
                **rounded(bounds),
                "failed": hit.height,
                "unique": hit.filter(pl.col("reasons").list.len() == 1).height,
                "unjudged": scored.filter(spoken & pl.col(column).is_null()).height,
                "histogram": histogram(scored, column, bounds)
                if scored[column].dtype.is_numeric()
                else values(scored, column),
                "borderline": borderline(scored, column, bounds),
            }
        )
    return found


def clusters(decision: Decision) -> list[dict[str, Any]]:
    """Each grouping: clusters, rows in them, the largest, how many carry contradictory labels, and some by name.

    Named are contradictory ones first, then the least alike, then the largest. A row's
    `similarity` is to its nearest mate; the row that was kept stands first.
    """
    found = []
    kept = decision.rows.select("id", "kept")
    for grouping in decision.clusters["grouping"].unique(maintain_order=True).to_list():
        rows = decision.clusters.filter(pl.col("grouping") == grouping)
        rows = rows.join(kept, on="id", how="left", maintain_order="left")
        sizes = rows.group_by("cluster").agg(
            pl.len().alias("size"), pl.col("conflict").any(), pl.col("similarity").min().cast(pl.Float64)
        )
        order = ["conflict", "similarity", "size", "cluster"]
        named = sizes.sort(order, descending=[True, False, True, False]).head(EXAMPLES)
        found.append(
            {
                "grouping": grouping,
                "clusters": sizes.height,
                "rows": rows.height,
                "largest": int(sizes["size"].max() or 0),  # type: ignore[arg-type]
                "conflicting": int(sizes["conflict"].sum()),
                "examples": [
                    {**one, "similarity": round(one["similarity"], DECIMALS), "rows": _mates(rows, one["cluster"])}
                    for one in named.select("cluster", "size", "conflict", "similarity").to_dicts()
                ],
                "sizes": {
                    str(size): number
                    for size, number in sizes.group_by("size").agg(pl.len().alias("n")).sort("size").iter_rows()
                },
            }
        )
    return found


def _mates(rows: pl.DataFrame, cluster: str) -> list[dict[str, Any]]:
    mates = (
        rows.filter(pl.col("cluster") == cluster)
        .sort(["kept", "similarity", "id"], descending=[True, True, False])
        .head(MATES)
        .select("id", pl.col("similarity").cast(pl.Float64).round(DECIMALS), "kept")
    )
    return mates.to_dicts()


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


def splits(split: pl.DataFrame, scored: pl.DataFrame, sides: Sequence[str] = SIDES) -> dict[str, Any]:
    """Rows, classes and split units on each side, and the largest unit."""
    joined = split.join(scored.select("id", "label"), on="id", how="left", maintain_order="left")
    found: dict[str, Any] = {}
    for name in sides:
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


def weights(desirable: int, undesirable: int) -> dict[str, float | None]:
    """KTO's class weights for the training rows and the ratio they come to; null where a class is missing."""
    found = kto_weights(desirable, undesirable)
    names = ("desirable_weight", "undesirable_weight", "ratio")
    return dict.fromkeys(names) if found is None else dict(zip(names, found, strict=True))


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
