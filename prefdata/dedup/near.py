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
from prefdata.dedup.features import SIDES, Features, features_of, pack, unpack
from prefdata.dedup.jaccard import jaccard, possible, shared
from prefdata.dedup.minhash import band_keys, chance, signatures
from prefdata.dedup.opposites import contradict, digest
from prefdata.dedup.shingles import Int64Array
from prefdata.errors import RecipeError
from prefdata.judging import threshold

logger = logging.getLogger(__name__)

FLOOR = 0.5
"""Pairs below it are not kept, so that a threshold down to it costs no new comparison."""

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

    def __post_init__(self) -> None:
        faults = []
        if not FLOOR <= self.min_similarity <= 1:
            faults.append(f"min_similarity: {self.min_similarity}, expected {FLOOR} to 1")
        for name, most in (("shingle_words", 1000), ("permutations", 65_536), ("bands", 65_536), ("rows", 65_536)):
            if not 1 <= getattr(self, name) <= most:
                faults.append(f"{name}: {getattr(self, name)}, expected 1 to {most}")
        if self.bands * self.rows > self.permutations:
            faults.append(
                f"permutations: {self.permutations}, but {self.bands} bands of {self.rows} rows need "
                f"{self.bands * self.rows}; raise permutations or lower bands"
            )
        if faults:
            raise RecipeError(faults)

    def build(self) -> NearGrouping:
        """The grouping that these settings describe."""
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

    def keys(self, frame: pl.DataFrame) -> pl.DataFrame:
        """`id`, `key` (UInt64) and `features` (Binary): `bands` rows for each row that has a shingle."""
        features = features_of(frame, shingle_words=self.settings.shingle_words)
        union = features.union()
        bands = self.settings.bands
        signature = signatures(union, permutations=self.settings.permutations, count=bands * self.settings.rows)
        some = np.flatnonzero(union.lengths > 0)
        keys = band_keys(signature, bands=bands, rows=self.settings.rows)[some]
        rows = pl.Series(np.repeat(some, bands))
        # gather shares the bytes between the keys of a row, where a join would copy them
        packed = pl.Series("features", pack(features), dtype=pl.Binary).gather(rows)
        return pl.DataFrame([frame["id"].gather(rows), pl.Series("key", keys.ravel(), dtype=pl.UInt64), packed])

    def edges(self, bucket: pl.DataFrame) -> pl.DataFrame:
        """Verified pairs at similarity FLOOR or above, of all keys in `bucket`, sorted and each once.

        Columns `left` < `right`, Float32 `similarity` (the lower side), `reply_similarity`, `customer_similarity`.
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
        rows = bucket.select("id", "features").unique("id", keep="any").sort("id").with_row_index("row")
        # Rows that agree in all that is compared have the same keys; the smallest id stands for them.
        rows = rows.with_columns(first=pl.col("row").min().over("features"))
        twins = rows.filter(pl.col("row") != pl.col("first"))
        members = (
            bucket.select("key", "id")
            .join(rows.filter(pl.col("row") == pl.col("first")).select("id", "row"), on="id")
            .sort("key", "row")
        )
        features = unpack(rows["features"].to_list())
        bucket_number = members["key"].rle_id().to_numpy().astype(np.int64)
        found = candidates(bucket_number, members["row"].to_numpy().astype(np.int64), features.union())
        report.update(
            identical=twins.height, candidates=found.left.size,
            large_buckets=found.large_buckets, largest_bucket=found.largest_bucket,
        )  # fmt: skip
        left = np.concatenate([twins["first"].to_numpy().astype(np.int64), found.left])
        right = np.concatenate([twins["row"].to_numpy().astype(np.int64), found.right])
        pairs, opposed = _verify(features, left, right, refuse=self.settings.refuse_opposites)
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


class _Verified(NamedTuple):
    left: Int64Array
    right: Int64Array
    reply: Any
    customer: Any


def _verify(features: Features, left: Int64Array, right: Int64Array, *, refuse: bool) -> tuple[_Verified, Any]:
    """The pairs that reach FLOOR on both sides, and which of them say opposite things."""
    for side in ("reply", "customer"):
        keep = possible(features.shingles[side], left, right, FLOOR)
        left, right = left[keep], right[keep]
    reply = jaccard(features.shingles["reply"], left, right)
    keep = reply >= FLOOR
    left, right, reply = left[keep], right[keep], reply[keep]
    customer = jaccard(features.shingles["customer"], left, right)
    keep = customer >= FLOOR
    left, right, reply, customer = left[keep], right[keep], reply[keep], customer[keep]
    opposed = np.zeros(left.size, dtype=bool)
    if refuse:
        for side in SIDES:
            numbers, values = features.stance[side]
            sizes = (values.lengths[left], values.lengths[right])
            opposed |= contradict(numbers[left], numbers[right], shared(values, left, right), sizes)
    return _Verified(left, right, reply, customer), opposed
