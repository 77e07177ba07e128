"""Which rows of two datasets are the same, which changed, which stand on one side only: every row on both sides once.

Rows are known by hashes of their content. Equal content that comes several times is counted as often as it comes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import polars as pl

from prefdata.formats.core import answers_of, sides_of
from prefdata.schema import RecordType

_PAIR = {"a": pl.UInt32, "b": pl.UInt32}


class Pairing(NamedTuple):
    """The account of the rows of A and B. Frames of pairs hold the numbers of the rows, `a` and `b`, sorted by `a`.

    Rows of A = same + relabelled + changed + only_a, and so for B. Swapping A and B swaps the columns.
    """

    same: pl.DataFrame
    """Content and label are equal."""
    relabelled: pl.DataFrame
    """The content is equal and the label is not; of pairs: chosen and rejected have changed places."""
    changed: pl.DataFrame
    """One row, edited: `edited` List(String), the sides whose texts differ, and `wording` Boolean, false where they
    differ in case, blanks and punctuation only. See `pairing` for what makes two rows one."""
    only_a: pl.Series
    only_b: pl.Series
    repeated: tuple[int, int]
    """Rows whose content stood on the same side before."""

    def together(self) -> pl.DataFrame:
        """All rows that are on both sides, as `a` and `b`."""
        return pl.concat([self.same, self.relabelled.select("a", "b"), self.changed.select("a", "b")])


class Prompts(NamedTuple):
    """How many different prompts there are."""

    only_a: int
    only_b: int
    both: int


def pairing(a: pl.DataFrame, b: pl.DataFrame, record_type: RecordType) -> Pairing:
    """Finds for every row of `a` the row of `b` that it is, both as `Side.rows` of one type.

    Looked for in this order, each among the rows that are left: equal content and label; equal content (of pairs: the
    two answers the other way round); texts that are equal but for case, blanks and punctuation; one prompt and one
    equal answer; one prompt; equal answers that no other row left has. Where several rows fit, the first of A goes with
    the first of B.
    """
    hashes = [f"{side}_hash" for side in sides_of(record_type)]
    norms = [f"{side}_norm" for side in sides_of(record_type)]
    answers = [f"{side}_hash" for side in answers_of(record_type)]
    label = ["label"] if record_type is RecordType.UNPAIRED else []
    columns = ["row", "key", *hashes, *norms, *label]
    left = _Left(a.select(columns), b.select(columns))
    same = left.take(["key", *label])
    if record_type is RecordType.PREFERENCE:
        ways = ["prompt_hash", "chosen_hash", "rejected_hash"]
        relabelled = left.take(ways, ["prompt_hash", "rejected_hash", "chosen_hash"])
    else:
        relabelled = left.take(["key"], order=label)
    edited = [left.take(norms)]
    if record_type is RecordType.PREFERENCE:
        edited += [left.take(["prompt_hash", "chosen_hash"]), left.take(["prompt_hash", "rejected_hash"])]
    if answers:
        edited += [left.take(["prompt_hash"]), left.take(answers, alone=True)]
    return Pairing(
        same=same,
        relabelled=relabelled,
        changed=_changed(pl.concat(edited).sort("a"), a, b, sides_of(record_type)),
        only_a=left.a["row"].sort(),
        only_b=left.b["row"].sort(),
        repeated=(a.height - a["key"].n_unique(), b.height - b["key"].n_unique()),
    )


def prompts(a: pl.DataFrame, b: pl.DataFrame) -> Prompts:
    """The different prompts of both sides, whatever type the rows have."""
    one, other = (rows.select("prompt_hash").unique() for rows in (a, b))
    both = one.join(other, on="prompt_hash", how="semi").height
    return Prompts(one.height - both, other.height - both, both)


class _Left:
    """The rows for which no other was found yet."""

    def __init__(self, a: pl.DataFrame, b: pl.DataFrame) -> None:
        self.a, self.b = a, b

    def take(
        self, on: Sequence[str], of_b: Sequence[str] | None = None, *, order: Sequence[str] = (), alone: bool = False
    ) -> pl.DataFrame:
        """Takes out the rows of A whose columns `on` equal those of rows of B (`of_b`, where they are called so).

        Rows that fit several go together in the order of `order` and of their numbers; with `alone` they do not.
        """
        if not self.a.height or not self.b.height:
            return pl.DataFrame(schema=_PAIR)
        sides = []
        for rows, names in ((self.a, on), (self.b, of_b or on)):
            keyed = rows.sort(*order, "row") if order else rows
            keyed = keyed.select("row", *(pl.col(name).alias(f"_{at}") for at, name in enumerate(names)))
            keys = [f"_{at}" for at in range(len(names))]
            keyed = keyed.with_columns(nth=pl.int_range(pl.len(), dtype=pl.UInt32).over(keys))
            sides.append(keyed.filter(pl.len().over(keys) == 1) if alone else keyed)
        joined = sides[0].join(sides[1], on=[*keys, "nth"], nulls_equal=True)
        found = joined.select(pl.col("row").alias("a"), pl.col("row_right").alias("b")).sort("a").cast(_PAIR)  # type: ignore[arg-type]
        self.a = self.a.join(found, left_on="row", right_on="a", how="anti", maintain_order="left")
        self.b = self.b.join(found, left_on="row", right_on="b", how="anti", maintain_order="left")
        return found


def _changed(pairs: pl.DataFrame, a: pl.DataFrame, b: pl.DataFrame, sides: Sequence[str]) -> pl.DataFrame:
    """`pairs` with `edited` and `wording`."""
    columns = ["row", *(f"{side}_{what}" for side in sides for what in ("hash", "norm"))]
    joined = pairs.join(a.select(columns), left_on="a", right_on="row", how="left", maintain_order="left")
    joined = joined.join(b.select(columns), left_on="b", right_on="row", how="left", maintain_order="left", suffix="_b")
    differs = {
        what: {side: pl.col(f"{side}_{what}") != pl.col(f"{side}_{what}_b") for side in sides}
        for what in ("hash", "norm")
    }
    edited = [pl.when(other).then(pl.lit(side)) for side, other in differs["hash"].items()]
    return joined.select(
        "a",
        "b",
        pl.concat_list(edited).list.drop_nulls().alias("edited"),
        pl.any_horizontal(list(differs["norm"].values())).alias("wording"),
    )
