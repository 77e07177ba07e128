"""The rows of a run on disk: kept and dropped, written as one and read back."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

import polars as pl

from prefdata.errors import InputError, RecipeError
from prefdata.io import write_parquet
from prefdata.judging import Decision
from prefdata.labelling import LABELS
from prefdata.schema import RecordType
from prefdata.sides import TAUGHT
from prefdata.stages import State, unfinish


def told(state: State, labels: pl.DataFrame, scores: pl.DataFrame) -> pl.DataFrame:
    """What is known of a row only after scoring: its label, and the language of its answer (null where undecided).

    A language that the source told stands.
    """
    scored = f"language_{TAUGHT[state.type]}_code"
    code = pl.col(scored) if scored in scores.columns else pl.lit(None, dtype=pl.String)
    found = labels.join(scores.select("id", language=code), on="id", how="left", maintain_order="left")
    if state.recipe.of_logs():
        return found
    own = [pl.read_parquet(shard, columns=["id", "language"], glob=False) for shard in state.shards()]
    found = found.join(pl.concat(own), on="id", how="left", maintain_order="left", suffix="_own")
    return found.with_columns(language=pl.coalesce("language_own", "language")).drop("language_own")


def write_rows(state: State, decision: Decision, labels: pl.DataFrame, split: pl.DataFrame) -> None:
    """kept/ and dropped/: the records with their labels; dropped rows carry every reason."""
    unfinish(state)
    kept_folder, dropped_folder = state.run.fresh("kept.tmp"), state.run.fresh("dropped.tmp")
    names = ["language", *(LABELS if state.type is RecordType.UNPAIRED else ())]
    labels = labels.select("id", *names)
    for number, shard in enumerate(state.shards()):
        frame = pl.read_parquet(shard, glob=False)
        order = frame.columns
        frame = frame.drop(names).join(labels, on="id", how="left", maintain_order="left").select(order)
        frame = frame.join(decision.rows, on="id", how="left", maintain_order="left")
        kept = frame.filter("kept").select(order).drop("group")
        kept = kept.join(split, on="id", how="left", maintain_order="left").select([*order, "split"])
        write_parquet(kept_folder / shard.name, kept)
        dropped = frame.filter(~pl.col("kept")).select([*order, "reasons", "unjudged", "cluster", "survivor"])
        write_parquet(dropped_folder / shard.name, dropped)
        state.progress("write", number + 1, len(state.shards()))
    for folder in (kept_folder, dropped_folder):
        final = folder.with_suffix("")
        shutil.rmtree(final, ignore_errors=True)
        folder.replace(final)


def kept_rows(path: str | Path, split: Literal["train", "evaluation", "test"] | None = None) -> pl.DataFrame:
    """The kept rows of a run, sorted by id; of one split where it is named. Raises InputError where there is no run."""
    if split not in (None, "train", "evaluation", "test"):
        raise RecipeError(f"split {split!r}; expected train, evaluation or test")
    rows = scan_rows(Path(path), "kept")
    return (rows if split is None else rows.filter(pl.col("split") == split)).collect().sort("id")


def dropped_rows(path: str | Path) -> pl.DataFrame:
    """The dropped rows of a run with their reasons, sorted by id. Raises InputError where there is no run."""
    return scan_rows(Path(path), "dropped").collect().sort("id")


def scan_rows(path: Path, folder: Literal["kept", "dropped"]) -> pl.LazyFrame:
    """The rows of a run without reading them yet. Raises InputError where there is no run."""
    files = sorted((path / folder).glob("*.parquet"))
    if not files:
        raise InputError(f"{path}: no {folder} rows there; it is no run directory, or a run that did not end")
    return pl.scan_parquet(files, glob=False, hive_partitioning=False)
