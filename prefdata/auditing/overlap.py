"""Overlap with named benchmarks: rows whose prompt holds an item of an evaluation set, reported and not dropped.

As GPT-3 (Brown et al., 2020, appendix C) and Llama 2 (Touvron et al., 2023, appendix A.6) looked for it: runs of words
that both have. A score is a share of such runs, so that a row that quotes one sentence is not taken for a copy.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from prefdata.auditing.check import Check
from prefdata.auditing.dataset import Audited
from prefdata.auditing.finding import Found, Levels
from prefdata.errors import InputError
from prefdata.io import ReadLimits, read_table
from prefdata.schema import RecordType

if TYPE_CHECKING:
    from prefdata.auditing.overlapping import Index

WORDS, CHARACTERS = 8, 13
"""Words, or Chinese and Japanese characters, in a row that must agree: the least and the most of GPT-3's 8 to 13."""

COVERED = 0.5
"""Share of a prompt's runs that stand in a benchmark, or of an item's runs that stand in a prompt, from which on a row
is told. Below 0.5 lie set phrases; Llama 2 called 0.8 and more of the words contaminated, 0.2 and less clean."""

SUFFIXES = (".json", ".jsonl", ".csv", ".tsv", ".parquet", ".json.gz", ".jsonl.gz", ".csv.gz", ".tsv.gz")

FOUND = pl.Schema({"row": pl.UInt32(), "benchmark": pl.UInt16(), "item": pl.UInt32(), "coverage": pl.Float32()})


def benchmark_texts(path: str | Path) -> list[str]:
    """Every text that stands in a benchmark: all strings of its records, at any depth, but addresses of pages.

    `path`: a file, or a folder whose data files (SUFFIXES) are taken. Raises InputError where there are none.
    """
    place = Path(path)
    files = sorted(one for one in place.rglob("*") if one.name.endswith(SUFFIXES)) if place.is_dir() else [place]
    if not files:
        raise InputError(f"{place.name}: no {', '.join(SUFFIXES)} in this folder")
    texts: dict[str, None] = {}
    for file in files:
        frame = read_table(file, limits=ReadLimits()).frame
        for name in (name for name in frame.columns if not name.startswith("_")):
            for value in frame[name].drop_nulls().to_list():
                texts.update(dict.fromkeys(_strings(value)))
    if not texts:
        raise InputError(f"{place.name}: no text in this benchmark")
    return list(texts)


def _strings(value: str) -> Iterator[str]:
    """The texts of a cell: itself, or those of the JSON that it holds. A batch reader: benchmarks are small."""
    if value[:1] in "[{":
        try:
            yield from _leaves(json.loads(value))
        except (ValueError, RecursionError):
            yield value
    elif not value.startswith(("http://", "https://")):
        yield value


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        if not value.startswith(("http://", "https://")):
            yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _leaves(one)
    elif isinstance(value, Sequence):
        for one in value:
            yield from _leaves(one)


def named(paths: Sequence[str | Path]) -> dict[str, list[str]]:
    """Name of each benchmark (its folder, or file without ending) -> its texts."""
    found: dict[str, list[str]] = {}
    for path in paths:
        place = Path(path)
        if not place.exists():
            raise InputError(f"{place.name}: no such benchmark file or folder")
        name = place.name if place.is_dir() else place.name.split(".")[0]
        found.setdefault(name, []).extend(benchmark_texts(place))
    return found


def with_benchmarks(check: Check, options: Mapping[str, Any]) -> Check | None:
    """The check for benchmarks that are given as files and folders in `options`; None where there are none."""
    paths = options.get("benchmarks") or ()
    return against(named(paths), check) if paths else None


def against(benchmarks: Mapping[str, Sequence[str]], check: Check | None = None) -> Check:
    """The check for benchmarks that are given as texts, by name."""
    from prefdata.auditing.overlapping import Index

    index = Index(benchmarks)

    def collect(chunk: pl.DataFrame, record_type: RecordType) -> pl.DataFrame:
        return index.find(chunk["row"], chunk["prompt_text"], chunk["turn_text"])

    return replace(check or BENCHMARK_OVERLAP, collect=collect, find=lambda data: _found(data, index))


def _found(data: Audited, index: Index) -> Found:
    """Rows that reach COVERED for some benchmark; figures for each benchmark."""
    matches = data.collected.get(BENCHMARK_OVERLAP.name, FOUND.to_frame())
    measures: dict[str, Any] = {"benchmarks": {}, "words": WORDS, "characters": CHARACTERS, "min_coverage": COVERED}
    for number, name in enumerate(index.names):
        own = matches.filter(pl.col("benchmark") == number)
        measures["benchmarks"][name] = {
            "rows": own["row"].n_unique(),
            "items_seen": own["item"].n_unique(),
            "items": index.items[number],
        }
    if not matches.height:
        return Found(measures=measures)
    best = matches.sort("row", "coverage", "benchmark", descending=[False, True, False])
    best = best.unique("row", keep="first", maintain_order=True)
    told = {
        row: f"{index.names[number]}, coverage {coverage:.2f}"
        for row, number, coverage in best.select("row", "benchmark", "coverage").iter_rows()
    }
    return Found(rows=best["row"], measures=measures, beside=told)


BENCHMARK_OVERLAP = Check(
    name="benchmark_overlap",
    family="duplicates",
    title="The prompt holds an item of a named benchmark",
    why="A model trained on these rows has seen the test: its figure on that benchmark says nothing.",
    cure="Leave these rows out of training, or do not report that benchmark; they are not dropped by themselves.",
    source="Brown et al. 2020, GPT-3, appendix C; Touvron et al. 2023, Llama 2, appendix A.6",
    levels=Levels(critical=0.01, major=0.001, minor=0),
    find=lambda data: Found(),
    prepare=with_benchmarks,
)
