"""Duplicates by picture: the same picture re-encoded, resized or slightly cropped, in different files.

Candidates are pictures whose perceptual hashes are within `hamming` bits (each such pair shares one of hamming + 1
bands), or that fall into one cell of a table of coarse colours, which a slight crop hardly moves. They are no more than
that: a pair counts when its colours agree at 16 x 16 (prefdata.dedup.picture_likeness), and so does what is fine in
their stored files, such as lines of text (prefdata.dedup.picture_details). A hash knows no colour: a red circle and a
blue one have the same.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from prefdata.dedup.heads import around_heads
from prefdata.dedup.picture_candidates import MOST_STRETCH, Looks, candidates, keys_of, packed, unpacked
from prefdata.dedup.picture_details import agree
from prefdata.dedup.picture_likeness import likeness
from prefdata.dedup.shingles import normalised
from prefdata.errors import RecipeError
from prefdata.judging import Reads, threshold
from prefdata.picturing.fingerprint import MEASURES
from prefdata.schema import stable_hash

logger = logging.getLogger(__name__)

FLOOR = 0.95
"""Pairs of pictures below it are not kept."""

SEPARATOR = "\x00"
"""Between the paths of a row's files: no path can hold it."""

PICTURE_EDGES = pl.Schema(
    {
        "left": pl.String(),
        "right": pl.String(),
        "similarity": pl.Float32(),
        "picture_similarity": pl.Float32(),
        "same_question": pl.Boolean(),
        "same_answer": pl.Boolean(),
    }
)


@dataclass(frozen=True, kw_only=True)
class PictureDuplicates:
    """Drops all but one of the rows with the same picture, however it was encoded, resized or slightly cropped."""

    min_similarity: float = threshold(0.973)
    """Lowest agreement of colours at which two pictures are the same; 0.95 to 1, 1 is the same pixels at 16 x 16."""
    answers: Literal["same", "any"] = "same"
    """`same`: rows are duplicates if question and answer agree too. `any`: the picture alone decides."""
    hamming: int = 4
    """Pictures whose perceptual hashes differ in at most this many bits are all compared; 0 to 15."""
    tables: int = 8
    """Tables of coarse colours in which pictures meet whose hashes a crop has changed."""

    def __post_init__(self) -> None:
        faults = []
        if not FLOOR <= self.min_similarity <= 1:
            faults.append(f"min_similarity: {self.min_similarity}, expected {FLOOR} to 1")
        if not 0 <= self.hamming <= 15:
            faults.append(f"hamming: {self.hamming}, expected 0 to 15")
        if not 0 <= self.tables <= 64:
            faults.append(f"tables: {self.tables}, expected 0 to 64")
        if faults:
            raise RecipeError(faults)

    def build(self) -> PictureGrouping:
        """The grouping that these settings describe."""
        return PictureGrouping(settings=self)


class Compared(NamedTuple):
    """Verified pairs, and what the comparison took."""

    edges: pl.DataFrame
    report: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class PictureGrouping:
    """Rows whose pictures show the same; of rows with several pictures, all in their order."""

    settings: PictureDuplicates
    name: str = "picture_duplicates"
    version: int = 3
    reads: frozenset[Reads] = frozenset({"images"})

    @property
    def min_similarity(self) -> float:
        """Edges below it are not followed."""
        return self.settings.min_similarity

    def parameters(self) -> Mapping[str, Any]:
        """All that edges depend on."""
        settings = self.settings
        return {
            "answers": settings.answers,
            "hamming": settings.hamming,
            "tables": settings.tables,
            "measures": MEASURES,
            "floor": FLOOR,
        }

    def keys(self, frame: pl.DataFrame) -> pl.DataFrame:
        """`id`, `key` (UInt64), `looks` (Binary), `paths`, `question`, `answer` (hashes): some for each with pictures.

        `frame` has `id`, `customer`, `reply` and `pictures`; a row of which a picture has no fingerprint has no key.
        `paths` are the pictures' stored files, as one text; pictures without any are compared by their colours alone.
        """
        texts = {
            name: stable_hash([normalised(frame[column])], purpose=f"picture {name}", size=8)
            for name, column in (("question", "customer"), ("answer", "reply"))
        }
        rows, looks = packed(frame["pictures"])
        keys = keys_of(unpacked(looks), hamming=self.settings.hamming, tables=self.settings.tables)
        # gather shares the bytes between the keys of a row, where a join would copy them
        turns = pl.Series(np.repeat(np.arange(len(looks)), keys.shape[1]))
        origin = pl.Series(np.asarray(rows)).gather(turns) if len(looks) else pl.Series([], dtype=pl.Int64)
        return pl.DataFrame(
            [
                frame["id"].gather(origin),
                pl.Series("key", keys.ravel(), dtype=pl.UInt64),
                pl.Series("looks", looks, dtype=pl.Binary).gather(turns),
                _paths(frame["pictures"]).gather(origin),
                *(column.gather(origin).alias(name) for name, column in texts.items()),
            ]
        )

    def edges(self, bucket: pl.DataFrame) -> pl.DataFrame:
        """Verified pairs of all keys in `bucket`, sorted and each once.

        `left` < `right`; Float32 `picture_similarity`, FLOOR or above; Boolean `same_question`, `same_answer`;
        `similarity` is the pictures', or 0 where `answers` is `same` and the texts differ. Such a pair is no duplicate,
        it is kept where one question about one picture has two answers. Of rows with equal pictures only the smallest
        id is in pairs with other pictures, and in one pair with each of them.
        """
        return self.compare(bucket).edges

    def groups(self, edges: pl.DataFrame) -> pl.DataFrame:
        """`id`, `cluster`, `size`, `similarity`: each row in a cluster is like one and the same row in it."""
        return around_heads(edges)

    def compare(self, bucket: pl.DataFrame) -> Compared:
        """`edges`, with counts beside them. All rows of a key must be in `bucket`."""
        report = dict.fromkeys(("memberships", "looks", "candidates", "edges", "large_buckets"), 0)
        report["memberships"] = bucket.height
        bucket = bucket.filter(pl.col("key").is_duplicated())
        if not bucket.height:
            return Compared(PICTURE_EDGES.to_frame(), report)
        rows = bucket.select("id", "looks", "paths", "question", "answer").unique("id", keep="any").sort("id")
        looks = rows.select("looks", "paths").unique(maintain_order=True).with_row_index("look")
        rows = rows.join(looks, on=["looks", "paths"], how="left", maintain_order="left").drop("looks")
        members = (
            bucket.select("key", "id")
            .join(rows.select("id", "look"), on="id")
            .select("key", "look")
            .unique()
            .sort("key", "look")
        )
        known = unpacked(looks["looks"].to_list())
        bucket_number = members["key"].rle_id().to_numpy().astype(np.int64)
        found = candidates(bucket_number, members["look"].to_numpy().astype(np.int64), known)
        similarity = _similarity(known, found.left, found.right)
        alike = similarity >= FLOOR
        pairs = pl.DataFrame(
            {"one": found.left[alike], "other": found.right[alike], "picture_similarity": similarity[alike]},
        ).cast({"one": pl.UInt32, "other": pl.UInt32})
        edges = _in_detail(rows.select("id", "paths"), self._of_rows(rows, pairs))
        report.update(looks=looks.height, candidates=int(found.left.size), edges=edges.height)
        report["large_buckets"] = found.large_buckets
        if found.large_buckets:
            logger.info("%s: %d buckets too large to compare in full", self.name, found.large_buckets)
        return Compared(edges, report)

    def _of_rows(self, rows: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
        """Pairs of rows from pairs of looks: the first row of a look, or of a text about it, stands for the rest."""
        texts = ["question", "answer"] if self.settings.answers == "same" else []
        firsts = rows.unique(["look", *texts], keep="first", maintain_order=True)
        found = [_stars(rows, ["look", *texts]), _across(firsts, pairs, texts)]
        if texts:
            # one question about one picture, answered in two ways: evidence, not a duplicate
            asked = firsts.unique(["look", "question"], keep="first", maintain_order=True)
            found += [_stars(firsts, ["look", "question"]), _across(asked, pairs, ["question"])]
        both = pl.concat(found).unique(["left", "right"], keep="first", maintain_order=True)
        for side in ("left", "right"):
            told = rows.select(
                pl.col("id").alias(side), pl.col("question").alias(f"{side}_q"), pl.col("answer").alias(f"{side}_a")
            )
            both = both.join(told, on=side, how="left")
        both = both.with_columns(
            same_question=pl.col("left_q") == pl.col("right_q"), same_answer=pl.col("left_a") == pl.col("right_a")
        )
        counts = pl.col("same_question") & pl.col("same_answer") if texts else pl.lit(True)
        return (
            both.with_columns(similarity=pl.when(counts).then(pl.col("picture_similarity")).otherwise(0.0))
            .select(*(pl.col(name).cast(dtype) for name, dtype in PICTURE_EDGES.items()))
            .sort("left", "right")
        )


def _stars(rows: pl.DataFrame, alike: list[str]) -> pl.DataFrame:
    """The first row that agrees in the columns `alike` with each of the others; rows are sorted by id."""
    return (
        rows.with_columns(first=pl.col("id").first().over(alike))
        .filter(pl.col("id") != pl.col("first"))
        .select(left="first", right="id", picture_similarity=pl.lit(1.0, dtype=pl.Float32))
    )


def _across(rows: pl.DataFrame, pairs: pl.DataFrame, alike: list[str]) -> pl.DataFrame:
    """Rows of one look with those of another like it that agree in the columns `alike`."""
    one = rows.select(pl.col("id").alias("one_id"), pl.col("look").alias("one"), *alike)
    other = rows.select(pl.col("id").alias("other_id"), pl.col("look").alias("other"), *alike)
    return (
        pairs.join(one, on="one")
        .join(other, on=["other", *alike])
        .select(
            left=pl.min_horizontal("one_id", "other_id"),
            right=pl.max_horizontal("one_id", "other_id"),
            picture_similarity="picture_similarity",
        )
    )


def _paths(pictures: pl.Series) -> pl.Series:
    """The files of each row's pictures as one text, empty where one has none."""
    dtype = pictures.dtype
    inner = dtype.inner if isinstance(dtype, pl.List) else None
    if not isinstance(inner, pl.Struct) or "path" not in inner.to_schema():
        return pl.Series("paths", [""], dtype=pl.String).new_from_index(0, pictures.len())
    files = pl.col("pictures").list.eval(pl.element().struct.field("path"))
    joined = files.list.join(SEPARATOR, ignore_nulls=False).fill_null("").alias("paths")
    return pictures.alias("pictures").to_frame().select(joined).to_series()


def _in_detail(files: pl.DataFrame, edges: pl.DataFrame) -> pl.DataFrame:
    """Those of `edges` whose pictures agree in their fine detail, too, where both rows have files."""
    named = edges.select("left", "right")
    for side in ("left", "right"):
        named = named.join(
            files.select(pl.col("id").alias(side), pl.col("paths").alias(f"{side}_paths")),
            on=side,
            how="left",
            maintain_order="left",
        )
    pairs = named.select("left_paths", "right_paths").rows()
    # of rows with several pictures all have to agree, one by one; where one has no files, nothing speaks against it
    asked = {
        pair: [] if pair[0] == pair[1] or not all(pair) else list(zip(*(_in_order(pair)), strict=True))
        for pair in set(pairs)
    }
    files_of = sorted({_sorted(two) for twos in asked.values() for two in twos if two[0] != two[1]})
    told = dict(zip(files_of, agree(files_of).tolist(), strict=True))
    same = {pair: all(one == other or told[_sorted((one, other))] for one, other in asked[pair]) for pair in asked}
    return edges.filter(pl.Series([same[pair] for pair in pairs], dtype=pl.Boolean))


def _in_order(pair: tuple[str, str]) -> list[list[str]]:
    return [paths.split(SEPARATOR) for paths in pair]


def _sorted(pair: tuple[str, str]) -> tuple[str, str]:
    return (min(pair), max(pair))


def _similarity(looks: Looks, left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.float32]:
    """Of each pair of looks with equally many pictures: the likeness of those that are least alike."""
    found = np.ones(left.size, dtype=np.float32)
    turn = 0
    while True:
        open_ = np.flatnonzero((looks.counts[left] > turn) & (found >= FLOOR))
        if not open_.size:
            return found
        one, other = looks.starts[left[open_]] + turn, looks.starts[right[open_]] + turn
        alike = likeness(looks.fingerprints, one, other)
        # a picture stretched by more than a crop can is another one
        aspect = np.abs(looks.aspects[one] - looks.aspects[other])
        found[open_] = np.minimum(found[open_], np.where(aspect <= MOST_STRETCH, alike, 0))
        turn += 1
