"""The runs of words of benchmarks, and which of them stand in a row. Import it inside functions: it needs numpy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from prefdata.auditing.overlap import CHARACTERS, COVERED, FOUND, WORDS
from prefdata.auditing.tokens import Bools, Int64s, Ragged, UInt64s, offsets_of, shingles, tokens

LEAST = {WORDS: 4, CHARACTERS: 8}
"""Words or characters of the shortest text that counts; one shorter than a run must agree as a whole."""

COMMON = 5
"""Texts of one benchmark in which a run may stand; one of more is a set phrase of its instructions."""

_UNSPACED = r"[\x{3041}-\x{30FF}\x{3400}-\x{9FFF}\x{F900}-\x{FAFF}\x{20000}-\x{3FFFF}]"
_BITS = 22


class Index:
    """The runs of several benchmarks."""

    def __init__(self, benchmarks: Mapping[str, Sequence[str]]) -> None:
        self.names = list(benchmarks)
        self.items: list[int] = []
        """Texts of each benchmark that are long enough to be told."""
        self._run: list[UInt64s] = []
        self._item: list[Int64s] = []
        self._length: list[Int64s] = []
        self._seen: list[Bools] = []
        for texts in benchmarks.values():
            self._add(pl.Series("text", texts, dtype=pl.String))

    def _add(self, texts: pl.Series) -> None:
        runs = _runs(texts)
        item = np.repeat(np.arange(runs.lengths.size), runs.lengths)
        pairs = np.unique(np.stack([runs.values, item.astype(np.uint64)], axis=1), axis=0)
        run, item = pairs[:, 0], pairs[:, 1].astype(np.int64)
        _, inverse, often = np.unique(run, return_inverse=True, return_counts=True)
        kept = often[inverse.reshape(-1)] <= COMMON
        run, item = run[kept], item[kept]
        length = np.bincount(item, minlength=len(texts)).astype(np.int64)
        self.items.append(int((length > 0).sum()))
        self._run.append(run)
        self._item.append(item)
        self._length.append(length)
        seen = np.zeros(1 << _BITS, dtype=bool)
        seen[run >> np.uint64(64 - _BITS)] = True
        self._seen.append(seen)

    def find(self, row: pl.Series, prompts: pl.Series, turns: pl.Series) -> pl.DataFrame:
        """FOUND: rows whose prompt, or last turn, is covered by an item of a benchmark or covers it, a row a benchmark.

        `coverage` is the larger of two shares: of the runs of the text that stand in the benchmark at all, and of the
        runs of the item that stand in the text.
        """
        whole = _runs(prompts)
        several = np.flatnonzero((prompts != turns).to_numpy())
        last = _runs(turns.gather(several))
        found = []
        for number in range(len(self.names)):
            parts = [self._matched(number, whole, np.arange(len(row))), self._matched(number, last, several)]
            both = pl.concat(parts).sort("at", "coverage", "item", descending=[False, True, False])
            best = both.unique("at", keep="first", maintain_order=True).filter(pl.col("coverage") >= COVERED)
            numbers = row.gather(best["at"])
            columns = [numbers.alias("row"), pl.repeat(number, best.height, eager=True).alias("benchmark")]
            found.append(pl.DataFrame([*columns, best["item"], best["coverage"]]).cast(FOUND))
        return pl.concat(found) if found else FOUND.to_frame()

    def _matched(self, number: int, runs: Ragged, at: Int64s) -> pl.DataFrame:
        """`at`, `item` and `coverage` of the texts that share runs with a benchmark."""
        schema = {"at": pl.Int64(), "item": pl.Int64(), "coverage": pl.Float64()}
        run = self._run[number]
        maybe = np.flatnonzero(self._seen[number][runs.values >> np.uint64(64 - _BITS)])
        if not maybe.size or not run.size:
            return pl.DataFrame(schema=schema)
        text = np.searchsorted(runs.offsets, maybe, "right") - 1
        values = runs.values[maybe]
        low, high = np.searchsorted(run, values, "left"), np.searchsorted(run, values, "right")
        hits = high - low
        there = hits > 0
        covered = np.bincount(text[there], minlength=runs.lengths.size)
        inside = np.arange(int(hits.sum())) + np.repeat(low - offsets_of(hits)[:-1], hits)
        pairs = pl.DataFrame(
            {"text": np.repeat(text, hits), "item": self._item[number][inside], "run": np.repeat(values, hits)}
        )
        counted = pairs.unique().group_by("text", "item").len().sort("text", "item")
        texts, items = (counted[name].to_numpy() for name in ("text", "item"))
        of_text = covered[texts] / np.maximum(runs.lengths[texts], 1)
        of_item = counted["len"].to_numpy() / np.maximum(self._length[number][items], 1)
        return pl.DataFrame(
            {"at": at[texts], "item": items, "coverage": np.maximum(of_text, of_item)}, schema_overrides=schema
        )


def _runs(texts: pl.Series) -> Ragged:
    """Hashes of the runs of each text: of WORDS words, or of CHARACTERS where it is mostly written without blanks."""
    characters = texts.str.count_matches(_UNSPACED).to_numpy() * 3 > texts.str.len_chars().to_numpy()
    found = tokens(texts)
    if not characters.any():
        return _long(found, WORDS)
    parts = [_long(found, size) for size in (WORDS, CHARACTERS)]
    counts = np.where(characters, parts[1].lengths, parts[0].lengths)
    offsets = offsets_of(counts)
    starts = np.where(characters, parts[1].offsets[:-1] + parts[0].values.size, parts[0].offsets[:-1])
    inside = np.arange(int(offsets[-1])) + np.repeat(starts - offsets[:-1], counts)
    return Ragged(np.concatenate([part.values for part in parts])[inside], offsets)


def _long(found: Ragged, size: int) -> Ragged:
    """The runs of the texts of at least LEAST words; of the others none."""
    runs = shingles(found, size=size)
    kept = found.lengths >= LEAST[size]
    counts = np.where(kept, runs.lengths, 0)
    return Ragged(runs.values[np.repeat(kept, runs.lengths)], offsets_of(counts))
