"""The customers that a run forgets: the list of their hashes, and rows without them.

The list stands in the run directory, so that a source file that still holds a customer brings nobody back.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl

from prefdata.io import write_json

LIST = "erased.json"
"""Source -> hashes of its erased customers, as `meta.customer` of its rows had them."""

CUSTOMERS = ("$.customer", "$.chosen.customer", "$.rejected.customer")
"""Where `meta` names a customer: of a row, and of the two replies that a pair was made of."""

FATE = "erased"
"""What became of a reply whose customer was erased; it counted as `row` before."""


def erased(run: Path) -> dict[str, list[str]]:
    """The list of a run; empty where nobody was erased."""
    file = run / LIST
    if not file.is_file():
        return {}
    found: dict[str, list[str]] = json.loads(file.read_text(encoding="utf-8"))
    return found


def add(run: Path, customers: dict[str, str]) -> None:
    """Adds to the list, for each source, the hash of a customer."""
    known = {source: set(hashes) for source, hashes in erased(run).items()}
    for source, customer in customers.items():
        known.setdefault(source, set()).add(customer)
    write_json(run / LIST, {source: sorted(hashes) for source, hashes in sorted(known.items())})


def rows_of(records: pl.DataFrame, customers: dict[str, list[str]]) -> pl.Series:
    """Which records are of these customers: theirs, and every other of a session in which they spoke."""
    theirs = pl.lit(False)
    for source, hashes in sorted(customers.items()):
        for path in CUSTOMERS:
            customer = pl.col("meta").str.json_path_match(path)
            theirs = theirs | ((pl.col("source") == source) & customer.is_in(hashes).fill_null(False))
    marked = records.select("source", "group", theirs=theirs)
    return marked.select(pl.col("theirs").any().over("source", "group")).to_series()


def counted(fates: list[dict[str, Any]], gone: pl.DataFrame) -> list[dict[str, Any]]:
    """The fates with these records moved from `row` to `erased`, by their file; the units stay the same."""
    return moved(fates, gone.select("source", file=pl.col("meta").str.json_path_match("$.file")), to=FATE)


def moved(fates: list[dict[str, Any]], files: pl.DataFrame, *, to: str) -> list[dict[str, Any]]:
    """The fates with as many units moved from `row` to another fate as a file stands in `files` (`source`, `file`)."""
    numbers = {(source, file): n for source, file, n in files.group_by("source", "file").len().iter_rows()}
    told = []
    for fate in fates:
        number = min(numbers.get((fate["source"], fate["file"]), 0), fate["row"])
        units = {"units": fate["units"]}
        rest = {name: value for name, value in fate.items() if name not in ("units", to)}
        told.append({**rest, "row": fate["row"] - number, to: fate.get(to, 0) + number, **units})
    return told
