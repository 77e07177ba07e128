"""Buckets: small ones compared in full, large ones at bounded cost, near rows behind an unrelated head still found."""

from __future__ import annotations

import random

import numpy as np
import polars as pl

from prefdata.dedup.candidates import ALL_PAIRS, HEADS, NEIGHBOURS, ORDERS, candidates
from prefdata.dedup.jaccard import jaccard
from prefdata.dedup.near import NearDuplicates
from prefdata.dedup.shingles import Flat


def flat(sets: list[list[int]]) -> Flat:
    values = np.array([value for one in sets for value in sorted(one)], dtype=np.uint64)
    return Flat(values, np.concatenate([[0], np.cumsum([len(one) for one in sets])]).astype(np.int64))


def test_a_small_bucket_is_compared_in_full() -> None:
    found = candidates(np.array([0, 0, 0, 1, 1]), np.array([0, 2, 3, 1, 3]), flat([[1]] * 4))
    assert list(zip(found.left.tolist(), found.right.tolist(), strict=True)) == [(0, 2), (0, 3), (1, 3), (2, 3)]
    assert (found.large_buckets, found.largest_bucket) == (0, 3)


def test_pairs_of_several_buckets_are_named_once() -> None:
    found = candidates(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]), flat([[1], [1]]))
    assert (found.left.tolist(), found.right.tolist()) == ([0], [1])


def test_no_membership_no_pair() -> None:
    empty = np.zeros(0, dtype=np.int64)
    assert candidates(empty, empty, flat([])).left.size == 0


def test_a_large_bucket_is_linear_and_reported() -> None:
    size = 5_000
    sets = [[1, 2, 3, 1000 + i] for i in range(size)]
    found = candidates(np.zeros(size, dtype=np.int64), np.arange(size), flat(sets))
    assert found.left.size <= size * (HEADS + ORDERS * NEIGHBOURS)
    assert (found.large_buckets, found.largest_bucket) == (1, size)


def test_near_rows_meet_in_a_large_bucket_with_an_unrelated_head() -> None:
    random_source = random.Random(0)
    sets = []
    for _ in range(1_000):
        # a row and its near copy, J = 18 / 22, among 1,000 families that share two values with all
        family = random_source.sample(range(10, 1 << 31), 20)
        sets += [[1, 2, *family[:18]], [1, 2, *family[2:20]]]
    order = random_source.sample(range(2_000), 2_000)
    place = {row: at for at, row in enumerate(order)}
    found = candidates(np.zeros(2_000, dtype=np.int64), np.arange(2_000), flat([sets[row] for row in order]))
    pairs = set(zip(found.left.tolist(), found.right.tolist(), strict=True))
    meant = [tuple(sorted((place[2 * n], place[2 * n + 1]))) for n in range(1_000)]
    assert sum(pair in pairs for pair in meant) >= 995
    assert len(pairs) < 2_000 * (HEADS + ORDERS * NEIGHBOURS)
    assert ALL_PAIRS < 2_000


def test_a_boilerplate_flood_hides_no_duplicates() -> None:
    """3,000 mutually similar replies (J about 0.79) fill the buckets; 40 near copies inside are still found."""
    source = random.Random(1)
    words = [f"word{chr(97 + i)}{chr(97 + j)}" for i in range(26) for j in range(26)]
    canned = "thank you for your mail we have read it with care and will come back to you as soon as we have news on "
    replies = [canned + " ".join(source.sample(words, 3)) for _ in range(3_000)]
    copies = [reply.replace("thank you", "many thanks") for reply in replies[:40]]
    ids = [f"{number:05d}" for number in source.sample(range(100_000), 3_040)]
    table = pl.DataFrame({"id": ids, "customer": "", "reply": replies + copies})
    grouping = NearDuplicates().build()
    compared = grouping.compare(grouping.keys(table))
    above = compared.edges.filter(pl.col("similarity") >= 0.8)
    pairs = set(zip(above["left"], above["right"], strict=True))
    meant = {(min(ids[n], ids[3_000 + n]), max(ids[n], ids[3_000 + n])) for n in range(40)}
    assert compared.report["large_buckets"] > 0
    assert compared.report["candidates"] < 20 * 3_040 * (HEADS + ORDERS * NEIGHBOURS)
    assert len(meant & pairs) >= 38


def test_jaccard_of_many_pairs() -> None:
    sets = flat([[1, 2, 3], [2, 3, 4], [], [], [9]])
    left, right = np.array([0, 0, 2, 3, 1]), np.array([1, 4, 3, 4, 1])
    assert jaccard(sets, left, right).tolist() == [0.5, 0.0, 1.0, 0.0, 1.0]
