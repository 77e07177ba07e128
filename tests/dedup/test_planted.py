"""Planted near-duplicates in real turns, judged by an all-pairs script that shares no code with prefdata.dedup."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import polars as pl
import pytest

from prefdata.dedup.near import NearDuplicates
from prefdata.dedup.shingles import normalised, tokenise

BENCHMARK = Path(__file__).resolve().parents[2] / "benchmarks" / "near_duplicates.py"


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("near_duplicates_benchmark", BENCHMARK)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def data(shared_data: Callable[[str], Path]) -> Path:
    shared_data("crosswoz/val.json.zip")
    return shared_data("uss/SGD.txt").parents[1]


@pytest.fixture(scope="module")
def turns(benchmark: ModuleType, data: Path) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = benchmark.turns_of(data)[::4]
    return found


def test_tokens_agree_with_an_independent_tokeniser(benchmark: ModuleType, turns: list[tuple[str, str]]) -> None:
    texts = [text for turn in turns[::6] for text in turn]
    found = tokenise(normalised(pl.Series(texts)))
    for row, text in enumerate(texts):
        codes = found.codes[found.offsets[row] : found.offsets[row + 1]]
        assert [found.vocabulary[code] for code in codes] == benchmark.tokens(text)


@pytest.mark.parametrize("neutral", [True, False])
def test_recall_of_planted_near_duplicates_and_none_below_the_threshold(
    benchmark: ModuleType, turns: list[tuple[str, str]], neutral: bool
) -> None:
    frame, origin = benchmark.planted(turns, rows=2_000, seed=1, neutral=neutral)
    got = benchmark.score(frame, origin)
    assert got.true_pairs > 100
    assert got.together_kept >= 0.99 * (got.true_pairs - got.refused)
    # a blind edit may turn a reply round (another number, a "not"): those are meant to be refused
    assert got.planted_found >= (0.99 if neutral else 0.97) * got.planted
    assert got.below == 0


def test_similarities_equal_the_independent_ones(benchmark: ModuleType, turns: list[tuple[str, str]]) -> None:
    frame, _ = benchmark.planted(turns, rows=1_200, seed=2, neutral=True)
    grouping = NearDuplicates().build()
    edges = grouping.edges(grouping.keys(frame))
    real = benchmark.truth(frame, floor=0.5)
    assert edges.height > 50
    for left, right, similarity in edges.select("left", "right", "similarity").rows():
        assert similarity == pytest.approx(real[left, right], abs=1e-6)


def test_fifty_opposite_answers_to_the_same_question_are_not_merged(benchmark: ModuleType, data: Path) -> None:
    pairs = benchmark.opposites(data, count=50)
    grouping = NearDuplicates().build()
    edges = grouping.edges(grouping.keys(pairs)).filter(pl.col("similarity") >= grouping.min_similarity)
    clusters = dict(grouping.groups(edges).select("id", "cluster").rows())
    together = [n for n in range(50) if f"{n:02d}a" in clusters and clusters[f"{n:02d}a"] == clusters.get(f"{n:02d}b")]
    assert pairs.height == 100
    assert together == []
