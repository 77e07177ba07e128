"""What is looked at in a row of each type: the sides of scorers, the texts of groupings, the revision of caches."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import polars as pl

from prefdata.build import likeness
from prefdata.errors import RecipeError
from prefdata.judging import SCORE_DECIMALS, RowFilter, Side
from prefdata.pictured import pictures_of
from prefdata.schema import MESSAGES, SCHEMAS, RecordType, stable_hash
from prefdata.text import contents, joined_text, last_user_text

if TYPE_CHECKING:
    from prefdata.pictures import Pictures

TAUGHT: dict[RecordType, Side] = {
    RecordType.SFT: "completion",
    RecordType.PREFERENCE: "chosen",
    RecordType.UNPAIRED: "completion",
    RecordType.PROMPT: "prompt",
}
"""The side that a filter means by `completion`: what is to be learnt, and of a prompt all there is."""

ANSWERS = ("completion", "chosen", "rejected")

OF_PROMPTS = ("language", "image_quality", "nsfw", "picture_text")
"""The filters that a row without an answer is asked about by its prompt: what it is written in, what it shows."""

COMPARED = 20_000
"""Pairs of pairs whose words are held at a time."""

BLURRED = 0.5
"""Similarity of the two sides of one pair from which on near says nothing of which is which."""

BETWEEN = "\n\x1f\n"
"""Stands between chosen and rejected where both are one text."""


STORED = r"^pictures/[0-9a-f]{2}/[0-9a-f]{16,64}\.[a-z]{3,4}$"
"""How the address of a stored picture looks, which tells its content."""


def sides_of(record_type: RecordType) -> tuple[str, ...]:
    """The MESSAGES columns of a type: the prompt first, then its answers."""
    return tuple(name for name, dtype in SCHEMAS[record_type].items() if dtype == MESSAGES)


def sides_for(name: str, sides: Sequence[Side], record_type: RecordType) -> tuple[Side, ...]:
    """The sides that the filter `name` judges in rows of a type: `completion` stands for what is to be learnt.

    Of a pair that is the chosen side, so a pair falls where its chosen side fails; the rejected one is judged where a
    recipe names it. Raises RecipeError for a side that the rows do not have.
    """
    there = sides_of(record_type)
    found: dict[Side, None] = {}
    for side in sides:
        if side in there:
            found[side] = None
        elif side == "completion" and record_type is RecordType.PREFERENCE:
            found["chosen"] = None
        elif side == "completion" and name in OF_PROMPTS:
            found["prompt"] = None
        else:
            held = ", ".join(there)
            raise RecipeError(f"{name} judges the side {side}; {record_type} rows have {held}")
    return tuple(found)


def fitted(row_filter: RowFilter, record_type: RecordType) -> RowFilter:
    """The filter with the sides that it judges in rows of a type."""
    return dataclasses.replace(row_filter, sides=sides_for(row_filter.name, row_filter.sides, record_type))


def revisions(records: pl.DataFrame, record_type: RecordType) -> pl.Series:
    """A hash of each row's content as it is scored, its pictures by their addresses: what caches key on."""
    parts = [records.select(pl.struct(side).struct.json_encode()).to_series() for side in sides_of(record_type)]
    if "images" in records.columns and records["images"].null_count() < records.height:
        said = pl.struct("images").struct.json_encode()
        there = pl.when(pl.col("images").list.len() > 0).then(pl.lit("\x1f") + said).otherwise(pl.lit(""))
        parts[-1] = parts[-1] + records.select(there).to_series()
    return stable_hash(parts, purpose="rev", size=8)


def compared(record_type: RecordType) -> list[str]:
    """The columns of records that `texts` and `prompts` read."""
    return ["id", *sides_of(record_type), "images"]


def pictures() -> pl.Expr:
    """The addresses of a row's pictures as one text, empty where it has none."""
    return pl.col("images").list.eval(pl.element().struct.field("uri")).list.join("\x1f").fill_null("")


def prompts(records: pl.DataFrame) -> pl.Series:
    """A hash of each row's prompt, messages and pictures."""
    said = pl.struct("prompt").struct.json_encode() + pictures()
    return stable_hash([records.select(said.alias("prompt")).to_series()], purpose="prompt")


def texts(records: pl.DataFrame, record_type: RecordType, *, exactly: bool) -> pl.DataFrame:
    """`id`, `customer`, `reply`: what groupings compare.

    Of most rows the last customer turn and the answer; the answer of a pair is both its sides in the order of their
    texts, so that a pair and its opposite meet; of a prompt it is what was said before the last customer turn. Rows
    with pictures are compared `exactly` or not at all, their pictures with their texts: near texts say little there.
    """
    if not exactly:
        records = records.filter(pictures() == "")
    customer = last_user_text("prompt").fill_null("")
    if record_type is RecordType.PREFERENCE:
        both = [joined_text(side).fill_null("") for side in ("chosen", "rejected")]
        reply = pl.min_horizontal(both) + pl.lit(BETWEEN) + pl.max_horizontal(both)
    elif record_type is RecordType.PROMPT:
        reply = _before("prompt")
    else:
        reply = joined_text("completion")
    # a picture that is not stored is known by its address, which leads elsewhere in another source
    stored = (
        pl.col("images").list.eval(pl.element().struct.field("uri").str.contains(STORED)).list.all().fill_null(True)
    )
    whose = pl.lit("")
    if "source" in records.columns:
        whose = pl.when(stored).then(pl.lit("")).otherwise(pl.lit(BETWEEN) + pl.col("source"))
    return records.select("id", customer=customer + pictures() + whose, reply=reply)


def with_pictures(records: pl.DataFrame, record_type: RecordType, seen: Pictures | None) -> pl.DataFrame:
    """`id`, `customer`, `reply` and `pictures` of every row: what groupings look at that read pictures.

    `pictures` is a list of prefdata.pictures.SEEN, in the order of the row's `images`; null where it has none.
    """
    said = texts(records.with_columns(images=pl.lit(None, records.schema["images"])), record_type, exactly=True)
    return said.with_columns(pictures_of(records, sides_of(record_type), seen).alias("pictures"))


def length(record_type: RecordType) -> pl.Expr:
    """Characters of the last customer turn and of the answer, of a pair of its longer one."""
    said = last_user_text("prompt").fill_null("").str.len_chars()
    answers = [joined_text(side).fill_null("").str.len_chars() for side in sides_of(record_type)[1:]]
    return said + (pl.max_horizontal(answers) if len(answers) > 1 else answers[0] if answers else pl.lit(0))


def _before(side: str) -> pl.Expr:
    """What users and agents said before the last customer turn."""
    said = contents(side, roles=["user", "assistant", "tool"])
    return said.list.head((said.list.len().cast(pl.Int64) - 1).clip(0)).list.join("\n")


def by_sides(edges: pl.DataFrame, records: pl.DataFrame) -> pl.DataFrame:
    """Edges between pairs with the similarity that both their sides reach, taken as they stand or crossed over.

    A grouping sees both sides as one text, in which a long answer that two pairs of a ranking share would outweigh the
    other one. A pair whose own sides are alike, as two ways of writing one text down are, has no other duplicates than
    equal ones: which side of it is which cannot be told from near. `records` are the rows of `edges`.
    """
    own = pl.max_horizontal(_alike("chosen", "rejected", of=("", "")), _alike("chosen", "rejected", of=("_other",) * 2))
    straight = pl.min_horizontal(_alike("chosen", "chosen"), _alike("rejected", "rejected"))
    crossed = pl.min_horizontal(_alike("chosen", "rejected"), _alike("rejected", "chosen"))
    parts = [edges.clear()]
    for part in edges.iter_slices(COMPARED):
        named = pl.DataFrame({"id": pl.concat([part["left"], part["right"].alias("left")]).unique()})
        said = _words(records.join(named, on="id", how="semi"))
        both = (
            part.select("left", "right")
            .join(said, left_on="left", right_on="id", how="left", maintain_order="left")
            .join(said, left_on="right", right_on="id", how="left", maintain_order="left", suffix="_other")
        )
        best = pl.max_horizontal(straight, crossed)
        told = pl.when((own <= BLURRED) | (best >= 1)).then(best).otherwise(0.0)
        least = both.select(told.round(SCORE_DECIMALS).cast(pl.Float32)).to_series()
        parts.append(part.with_columns(similarity=pl.min_horizontal("similarity", least)))
    return pl.concat(parts)


def orientation(records: pl.DataFrame, clusters: pl.DataFrame) -> pl.DataFrame:
    """`id` and `oriented` of pairs in a cluster: whether they prefer as the pair of the cluster's name does.

    `records` are the rows of `clusters` (`id`, `cluster`); the sides are compared by the words that they share.
    """
    said = _words(records)
    both = clusters.join(said, on="id", how="inner").join(
        said, left_on="cluster", right_on="id", how="inner", suffix="_other"
    )
    straight = _alike("chosen", "chosen") + _alike("rejected", "rejected")
    crossed = _alike("chosen", "rejected") + _alike("rejected", "chosen")
    return both.select("id", oriented=straight >= crossed).sort("id")


def _words(records: pl.DataFrame) -> pl.DataFrame:
    """`id` and the words of both sides of pairs."""
    sides = ("chosen", "rejected")
    return records.select("id", **{side: likeness.marks(joined_text(side).fill_null("")) for side in sides})


def _alike(side: str, other: str, *, of: tuple[str, str] = ("", "_other")) -> pl.Expr:
    """How alike a side of one pair and a side of the other are, or two sides of one."""
    return likeness.jaccard(pl.col(side + of[0]), pl.col(other + of[1]))
