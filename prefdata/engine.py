"""Where work runs. The same decisions come out of every engine; this one is the machine at hand."""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import polars as pl

from prefdata.io import write_parquet

Item = TypeVar("Item")
Result = TypeVar("Result")

ROWS_PER_BUCKET = 500_000
"""Rows of keys that are held together; more are spilled to disk in as many buckets as it takes."""


class Engine(Protocol):
    """What a runner asks of the place where work runs."""

    def map(self, shards: Iterable[Item], step: Callable[[Item], Result]) -> Iterator[Result]:
        """`step` of each shard, in the order of the shards; shards are independent of each other."""
        ...

    def shuffle(
        self, keys: Iterable[pl.DataFrame], by: str, step: Callable[[pl.DataFrame], pl.DataFrame]
    ) -> Iterator[pl.DataFrame]:
        """`step` of buckets of rows; all rows with one value of `by` are in one bucket."""
        ...


@dataclass(frozen=True, kw_only=True)
class LocalEngine:
    """One machine: threads over shards, and buckets on disk where the keys outgrow memory."""

    threads: int = 1
    """Shards worked on at a time."""
    rows_per_bucket: int = ROWS_PER_BUCKET
    """Rows of keys held together in a shuffle."""

    def map(self, shards: Iterable[Item], step: Callable[[Item], Result]) -> Iterator[Result]:
        """`step` of each shard, in the order of the shards."""
        if self.threads <= 1:
            yield from (step(shard) for shard in shards)
            return
        with ThreadPoolExecutor(self.threads) as pool:
            waiting: deque[Future[Result]] = deque()
            for shard in shards:
                waiting.append(pool.submit(step, shard))
                if len(waiting) > self.threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

    def shuffle(
        self, keys: Iterable[pl.DataFrame], by: str, step: Callable[[pl.DataFrame], pl.DataFrame]
    ) -> Iterator[pl.DataFrame]:
        """`step` of buckets of rows; all rows with one value of `by` are in one bucket, buckets in a fixed order.

        Keys that occur once are no relation and are left out before `step` sees a bucket.
        """
        with tempfile.TemporaryDirectory(prefix="prefdata-") as scratch:
            parts: list[Path] = []
            held: list[pl.DataFrame] = []
            rows = 0
            total = 0
            for frame in keys:
                held.append(frame)
                rows += frame.height
                total += frame.height
                if rows > self.rows_per_bucket:
                    parts.append(_spill(held, Path(scratch), len(parts)))
                    held, rows = [], 0
            if not parts:
                if held:
                    yield step(_repeated(pl.concat(held), by))
                return
            if held:
                parts.append(_spill(held, Path(scratch), len(parts)))
            count = -(-total // self.rows_per_bucket)
            for bucket in range(count):
                # a hash within one run only: which bucket a key falls in never shows in a result
                picked = [
                    pl.scan_parquet(part, glob=False).filter(pl.col(by).hash(seed=0) % count == bucket).collect()
                    for part in parts
                ]
                yield step(_repeated(pl.concat(picked), by))


def _spill(held: list[pl.DataFrame], scratch: Path, number: int) -> Path:
    path = scratch / f"{number:05d}.parquet"
    write_parquet(path, pl.concat(held))
    return path


def _repeated(frame: pl.DataFrame, by: str) -> pl.DataFrame:
    return frame.filter(pl.col(by).is_duplicated())
