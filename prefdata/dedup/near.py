"""Near-duplicates: rows whose last customer turn and reply each agree with another row's by exact Jaccard similarity.

MinHash finds candidates, nothing more. Each side must agree by itself: after one long question "yes, we will refund
you" and "no, we will not refund you" are no duplicates. The similarity of a pair is the lower of its two sides, and
where both reach s so does the union of their shingles, each marked with its side: one signature serves both.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from prefdata.dedup.candidates import candidates
from prefdata.dedup.components import components
from prefdata.dedup.jaccard import jaccard, possible, shared
from prefdata.dedup.minhash import band_keys, chance, signatures
from prefdata.dedup.opposites import STANCE, Stances, contradict, digest, stances
from prefdata.dedup.shingles import (
    Flat,
    Int64Array,
    UInt64Array,
    from_series,
    mix,
    normalised,
    shingle,
    to_series,
    tokenise,
)
from prefdata.errors import RecipeError
from prefdata.judging import threshold

logger = logging.getLogger(__name__)

FLOOR = 0.5
"""Pairs below it are not kept, so that a threshold down to it costs no new comparison."""

SIDES = ("customer", "reply")

_MARKS = {"customer": np.uint64(0x1B873593CC9E2D51), "reply": np.uint64(0xE6546B64A54FF53A)}

NEAR_EDGES = pl.Schema(
    {
        "left": pl.String(),
        "right": pl.String(),
        "similarity": pl.Float32(),
        "reply_similarity": pl.Float32(),
        "customer_similarity": pl.Float32(),
    }
)


@dataclass(frozen=True, kw_only=True)
class NearDuplicates:
    """Drops all but one of the rows that say nearly the same, in the customer's last turn and in the reply."""

    min_similarity: float = threshold(0.8)
    """Lowest Jaccard similarity, of customer turn and of reply, at which two rows are near-duplicates; 0.5 to 1."""
    shingle_words: int = 3
    """Words (Chinese: characters) in a row that count as one element. 3 suits single turns, 5 whole dialogues."""
    permutations: int = 128
    """Values of a MinHash signature."""
    bands: int = 20
    """Bands of the signature; two rows are compared where one band agrees."""
    rows: int = 6
    """Values in a band. 20 x 6 finds 99.8 % of the pairs at similarity 0.8, 92 % at 0.7."""
    refuse_opposites: bool = True
    """Whether another negation, amount or opposite word keeps two rows apart, however much else agrees."""

    def build(self) -> NearGrouping:
        """The grouping that these settings describe. Raises RecipeError with all faults."""
        faults = []
        if not FLOOR <= self.min_similarity <= 1:
            faults.append(f"near_duplicates.min_similarity: {self.min_similarity}, expected {FLOOR} to 1")
        for name in ("shingle_words", "bands", "rows"):
            if getattr(self, name) < 1:
                faults.append(f"near_duplicates.{name}: {getattr(self, name)}, expected at least 1")
        if self.bands * self.rows > self.permutations:
            faults.append(
                f"near_duplicates: {self.bands} bands of {self.rows} rows need {self.bands * self.rows} permutations, "
                f"found {self.permutations}; raise permutations or lower bands"
            )
        if faults:
            raise RecipeError(faults)
        return NearGrouping(settings=self)


class Compared(NamedTuple):
    """Verified pairs, the pairs that a negation, amount or opposite kept apart, and what the comparison took."""

    edges: pl.DataFrame
    refused: pl.DataFrame
    report: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class NearGrouping:
    """Rows that agree by exact Jaccard similarity on both sides; candidates by 64-bit keys of signature bands."""

    settings: NearDuplicates
    name: str = "near_duplicates"
    version: int = 1

    @property
    def min_similarity(self) -> float:
        """Edges below it are not followed."""
        return self.settings.min_similarity

    def parameters(self) -> Mapping[str, Any]:
        """All that edges depend on."""
        settings = self.settings
        return {
            "shingle_words": settings.shingle_words,
            "permutations": settings.permutations,
            "bands": settings.bands,
            "rows": settings.rows,
            "refuse_opposites": settings.refuse_opposites,
            "opposites": digest(),
            "floor": FLOOR,
        }

    def chance(self, similarity: float) -> float:
        """The probability that a pair of this similarity is compared at all."""
        return chance(similarity, bands=self.settings.bands, rows=self.settings.rows)

    def narrow_keys(self, frame: pl.DataFrame) -> pl.DataFrame:
        """`id` and `key` (UInt64) only, `bands` rows for each row with a shingle: for runs too large to carry texts."""
        sides = {side: self._shingles(normalised(frame[side])) for side in SIDES}
        union = _union(sides["customer"], sides["reply"])
        keys = band_keys(
            signatures(union, count=self.settings.bands * self.settings.rows),
            bands=self.settings.bands,
            rows=self.settings.rows,
        )
        some = np.flatnonzero(union.lengths > 0)
        ids = frame["id"].gather(np.repeat(some, self.settings.bands))
        return pl.DataFrame({"id": ids, "key": pl.Series(keys[some].ravel(), dtype=pl.UInt64)})

    def features(self, frame: pl.DataFrame) -> pl.DataFrame:
        """`id` and what `edges` compares, a row each: shingle hashes, values and stance of each side; no text."""
        columns: list[pl.Series] = [frame["id"]]
        for side in SIDES:
            texts = normalised(frame[side])
            tokens = tokenise(texts)
            stance = stances(texts, tokens)
            columns += [
                to_series(f"{side}_shingles", shingle(tokens, size=self.settings.shingle_words)),
                to_series(f"{side}_values", stance.values),
                pl.Series(f"{side}_stance", stance.numbers, dtype=pl.Array(pl.UInt64, STANCE)),
            ]
        return pl.DataFrame(columns)

    def keys(self, frame: pl.DataFrame) -> pl.DataFrame:
        """`narrow_keys` with the `features` of each row beside them: all that `edges` needs."""
        return self.narrow_keys(frame).join(self.features(frame), on="id", how="left", maintain_order="left")

    def edges(self, bucket: pl.DataFrame) -> pl.DataFrame:
        """Verified pairs at similarity FLOOR or above, of all keys in `bucket`, sorted and each once.

        Columns `left` < `right`, `similarity` Float32 (the lower of the two), `reply_similarity`, `customer_similarity`.
        """
        return self.compare(bucket).edges

    def groups(self, edges: pl.DataFrame) -> pl.DataFrame:
        """`id`, `cluster`, `size`, `similarity` of the rows that have a near-duplicate."""
        return components(edges)

    def compare(self, bucket: pl.DataFrame) -> Compared:
        """`edges`, with the refused pairs and counts beside them. All rows of a key must be in `bucket`."""
        report = dict.fromkeys(
            ("memberships", "identical", "candidates", "edges", "refused", "large_buckets", "largest_bucket"), 0
        )
        report["memberships"] = bucket.height
        bucket = bucket.filter(pl.col("key").is_duplicated())
        if not bucket.height:
            return Compared(NEAR_EDGES.to_frame(), NEAR_EDGES.to_frame(), report)
        rows = bucket.unique("id", keep="any").sort("id")
        sides = {side: from_series(rows[f"{side}_shingles"]) for side in SIDES}
        stance = {side: _stance(rows, side) for side in SIDES}
        union = _union(sides["customer"], sides["reply"])
        members = bucket.select("key", "id").join(
            rows.select("id", pl.Series("row", np.arange(rows.height)), pl.Series("print", _prints(sides, stance))),
            on="id",
            how="left",
        )
        # Within a bucket, rows that agree in everything compared stand for one: the smallest id.
        members = members.with_columns(pl.col("row").min().over("key", "print").alias("first"))
        twins = members.filter(pl.col("row") != pl.col("first")).select("first", "row").unique()
        distinct = members.filter(pl.col("row") == pl.col("first")).select("key", "row").unique().sort("key", "row")
        key = distinct["key"].rle_id().to_numpy().astype(np.int64)
        found = candidates(key, distinct["row"].to_numpy().astype(np.int64), union)
        report.update(
            identical=twins.height, candidates=found.left.size,
            large_buckets=found.large_buckets, largest_bucket=found.largest_bucket,
        )  # fmt: skip
        left = np.concatenate([twins["first"].to_numpy().astype(np.int64), found.left])
        right = np.concatenate([twins["row"].to_numpy().astype(np.int64), found.right])
        pairs, opposed = _verify(sides, stance, left, right, refuse=self.settings.refuse_opposites)
        ids = rows["id"]
        table = pl.DataFrame(
            {
                "left": ids.gather(pairs.left),
                "right": ids.gather(pairs.right),
                "similarity": np.minimum(pairs.reply, pairs.customer),
                "reply_similarity": pairs.reply,
                "customer_similarity": pairs.customer,
                "opposed": opposed,
            },
            schema_overrides=NEAR_EDGES,
        ).sort("left", "right")
        edges = table.filter(~pl.col("opposed")).select(NEAR_EDGES.names())
        refused = table.filter("opposed").select(NEAR_EDGES.names())
        report.update(edges=edges.height, refused=refused.height)
        if report["large_buckets"]:
            logger.info(
                "%s: %d buckets too large to compare in full, the largest holds %d texts",
                self.name, report["large_buckets"], report["largest_bucket"],
            )  # fmt: skip
        return Compared(edges, refused, report)

    def _shingles(self, texts: pl.Series) -> Flat:
        return shingle(tokenise(texts), size=self.settings.shingle_words)


class _Verified(NamedTuple):
    left: Int64Array
    right: Int64Array
    reply: Any
    customer: Any


def _verify(
    sides: dict[str, Flat], stance: dict[str, Stances], left: Int64Array, right: Int64Array, *, refuse: bool
) -> tuple[_Verified, Any]:
    """The pairs that reach FLOOR on both sides, and which of them say opposite things."""
    for side in ("reply", "customer"):
        keep = possible(sides[side], left, right, FLOOR)
        left, right = left[keep], right[keep]
    reply = jaccard(sides["reply"], left, right)
    keep = reply >= FLOOR
    left, right, reply = left[keep], right[keep], reply[keep]
    customer = jaccard(sides["customer"], left, right)
    keep = customer >= FLOOR
    left, right, reply, customer = left[keep], right[keep], reply[keep], customer[keep]
    opposed = np.zeros(left.size, dtype=bool)
    if refuse:
        for side in SIDES:
            numbers, values = stance[side]
            sizes = (values.lengths[left], values.lengths[right])
            opposed |= contradict(numbers[left], numbers[right], shared(values, left, right), sizes)
    return _Verified(left, right, reply, customer), opposed


def _union(customer: Flat, reply: Flat) -> Flat:
    """32-bit base hashes of the shingles of both sides, each marked with its side."""
    counts = np.stack([customer.lengths, reply.lengths], axis=1)
    offsets = np.concatenate([[0], np.cumsum(counts.sum(axis=1))]).astype(np.int64)
    values = np.empty(int(offsets[-1]), dtype=np.uint64)
    starts = {"customer": offsets[:-1], "reply": offsets[:-1] + customer.lengths}
    for side, flat in (("customer", customer), ("reply", reply)):
        place = np.arange(flat.values.size) + np.repeat(starts[side] - flat.offsets[:-1], flat.lengths)
        values[place] = mix(flat.values ^ _MARKS[side]) >> np.uint64(32)
    return Flat(values, offsets)


def _stance(rows: pl.DataFrame, side: str) -> Stances:
    return Stances(rows[f"{side}_stance"].to_numpy().reshape(-1, STANCE), from_series(rows[f"{side}_values"]))


def _prints(sides: dict[str, Flat], stance: dict[str, Stances]) -> UInt64Array:
    """A number for each row, equal for rows that agree in all that is compared."""
    print_ = np.zeros(sides["reply"].offsets.size - 1, dtype=np.uint64)
    for side in SIDES:
        for part in (_sums(sides[side]), *stance[side].numbers.T, _sums(stance[side].values)):
            print_ = mix(print_ * np.uint64(3) + part + _MARKS[side])
    return print_


def _sums(flat: Flat) -> UInt64Array:
    """A number for each row that depends on its values and not on their order."""
    out = np.zeros(flat.offsets.size - 1, dtype=np.uint64)
    some = np.flatnonzero(flat.lengths > 0)
    if some.size:
        out[some] = np.add.reduceat(mix(flat.values), flat.offsets[:-1][some])
    return out
