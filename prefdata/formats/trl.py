"""TRL's datasets: explicit `prompt`, `completion`, boolean `label`; Parquet, as its trainers load them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from prefdata.io import sha256_file, write_parquet

MESSAGE = pl.Struct({"role": pl.String, "content": pl.String})


@dataclass(frozen=True, kw_only=True)
class Trl:
    """Unpaired preferences for KTO: columns `id`, `prompt`, `completion`, `label`."""

    ids: bool = True
    """Write the row's id beside what the trainer reads; TRL passes over it."""

    def write(self, splits: dict[str, pl.DataFrame], folder: Path) -> dict[str, Any]:
        """`<split>.parquet` for each split; file name -> rows, classes and SHA-256.

        Rows are interleaved by label, since TRL's KTO trainer reads them in file order. `tool_calls`, null in every
        row of a support log, is left out: a column of nulls makes TRL look for tools.
        """
        written: dict[str, Any] = {}
        for name, frame in splits.items():
            ordered = interleave(frame)
            columns: list[Any] = ["id"] if self.ids else []
            out = ordered.select(*columns, _plain("prompt"), _plain("completion"), "label")
            path = folder / f"{name}.parquet"
            write_parquet(path, out)
            written[path.name] = {
                "rows": out.height,
                "desirable": int(out["label"].sum()),
                "undesirable": int((~out["label"]).sum()),
                "sha256": sha256_file(path),
            }
        return written


def interleave(frame: pl.DataFrame) -> pl.DataFrame:
    """The rows in an order that spreads the rarer label evenly, so that every stretch holds both; ties by id."""
    return (
        frame.sort("id")
        .with_columns(place=(pl.int_range(pl.len()).over("label") + 0.5) / pl.len().over("label"))
        .sort(["place", "label", "id"])
        .drop("place")
    )


def _plain(side: str) -> pl.Expr:
    return pl.col(side).list.eval(
        pl.struct(
            pl.element().struct.field("role").alias("role"), pl.element().struct.field("content").alias("content")
        )
    )
