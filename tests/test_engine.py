"""The local engine: order, complete buckets, the same result however keys are spilled."""

import polars as pl
import pytest

from prefdata.engine import LocalEngine


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_map_keeps_the_order_of_the_shards(threads: int) -> None:
    assert list(LocalEngine(threads=threads).map(range(20), lambda number: number * number)) == [
        number * number for number in range(20)
    ]


@pytest.mark.parametrize("rows_per_bucket", [3, 10, 1000])
def test_shuffle_brings_all_rows_of_a_key_together(rows_per_bucket: int) -> None:
    frames = [
        pl.DataFrame({"id": [f"{part}-{row}" for row in range(5)], "key": [row % 4 for row in range(5)]})
        for part in range(4)
    ]

    def sizes(bucket: pl.DataFrame) -> pl.DataFrame:
        return bucket.group_by("key").agg(pl.col("id").sort().str.join(","))

    found = pl.concat(LocalEngine(rows_per_bucket=rows_per_bucket).shuffle(iter(frames), "key", sizes)).sort("key")
    assert found["key"].to_list() == [0, 1, 2, 3]
    assert found["id"][0] == "0-0,0-4,1-0,1-4,2-0,2-4,3-0,3-4"


def test_shuffle_leaves_out_keys_that_occur_once() -> None:
    frame = pl.DataFrame({"id": ["a", "b", "c"], "key": [1, 1, 2]})
    (found,) = LocalEngine().shuffle(iter([frame]), "key", lambda bucket: bucket)
    assert found["id"].to_list() == ["a", "b"]


def test_shuffle_of_nothing_gives_nothing() -> None:
    assert list(LocalEngine().shuffle(iter([]), "key", lambda bucket: bucket)) == []
