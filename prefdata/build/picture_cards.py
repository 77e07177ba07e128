"""The account of what was made of texts about pictures: labels and pairs by what they rest on, what was left, why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from prefdata.build.built import Built
from prefdata.judging import SCORE_DECIMALS
from prefdata.schema import RecordType


def account_of(built: Built, record_type: RecordType) -> dict[str, Any]:
    """`examples`; or `labels`, true and false by what they rest on; or `pairs` by it, with the `margins` of those that
    have one. And `left`: texts that became nothing by themselves, by reason.

    Wrong answers that were made count under `hard_negative`.
    """
    rows = built.rows
    whole = built.unmade.filter(pl.col("part").is_null())
    told: dict[str, Any] = {"left": _counted(whole.select(name=pl.col("reasons")).explode("name"))}
    if record_type is RecordType.SFT:
        return {"examples": rows.height, **told}
    if record_type is RecordType.UNPAIRED:
        labels = {
            name: _counted(rows.filter(pl.col("label") == value).select(name="label_sources").explode("name"))
            for name, value in (("desirable", True), ("undesirable", False))
        }
        return {"labels": labels, **told}
    by = rows.select(name=pl.col("evidence").str.json_path_match("$.by"), margin="margin")
    margins = {
        str(name): _quantiles(of["margin"])
        for (name,), of in by.drop_nulls("margin").group_by("name", maintain_order=True)
    }
    return {"pairs": _counted(by), **({"margins": dict(sorted(margins.items()))} if margins else {}), **told}


def account_of_negatives(made: pl.DataFrame, unmade: pl.DataFrame) -> dict[str, Any]:
    """`made` by kind, and by kind and reason what could not be: changes of a caption that were possible but not drawn
    stand under `kind_not_drawn`."""
    kinds = unmade.drop_nulls("part").select(kind="part", name=pl.col("reasons")).explode("name")
    found = {str(kind): _counted(of) for (kind,), of in kinds.sort("kind").group_by("kind", maintain_order=True)}
    return {"made": _counted(made.select(name="kind")), "unmade": found}


def _counted(named: pl.DataFrame) -> dict[str, int]:
    found = named.drop_nulls("name").group_by("name").len().sort("name")
    return dict(zip(found["name"].to_list(), found["len"].to_list(), strict=True))


def _quantiles(values: pl.Series) -> Mapping[str, float]:
    """Least, middle and largest value."""
    ordered: list[float] = values.drop_nulls().cast(pl.Float64).sort().to_list()
    named = {"least": ordered[0], "median": ordered[len(ordered) // 2], "most": ordered[-1]}
    return {name: round(value, SCORE_DECIMALS) for name, value in named.items()}
