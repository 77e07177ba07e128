"""Rows of one type as rows of another, each row by itself, so that a file can be retyped chunk by chunk.

What concerns several rows (the same answer chosen in one pair and rejected in another, a prompt that occurs twice) is
left to `unpaired.from_pairs` and `prompts.from_rows`, which see the whole set.
"""

from __future__ import annotations

import polars as pl

from prefdata.build.built import (
    Built,
    account,
    content_keys,
    derived_ids,
    is_empty,
    json_object,
    moved_images,
    sameness,
    sift,
    with_json,
)
from prefdata.errors import InputError
from prefdata.schema import SCHEMAS, RecordType, conform

RETYPES: dict[RecordType, tuple[RecordType, ...]] = {
    RecordType.PREFERENCE: (RecordType.UNPAIRED, RecordType.SFT, RecordType.PROMPT),
    RecordType.UNPAIRED: (RecordType.SFT, RecordType.PROMPT),
    RecordType.SFT: (RecordType.PROMPT,),
    RecordType.PROMPT: (),
}
"""What each type can be retyped to. The way back needs several rows at once, or what the rows do not say."""

_BACK = {
    (
        RecordType.UNPAIRED,
        RecordType.PREFERENCE,
    ): "a pair needs two replies (see build.matched)",
    (RecordType.SFT, RecordType.UNPAIRED): "these rows have no label",
    (RecordType.SFT, RecordType.PREFERENCE): "these rows have one answer each",
}


def retype(
    rows: pl.DataFrame, source_type: RecordType, target_type: RecordType, *, seen: set[str] | None = None
) -> Built:
    """`rows` as `target_type`, in their order; what is left out is accounted for.

    Pairs to unpaired: the chosen side as a desirable row, the rejected one as an undesirable one, next to each other.
    Pairs to SFT: the chosen side. Unpaired to SFT: the desirable rows. Any to prompts: the prompt; `seen`, a set that
    is kept over several calls, leaves out prompts that occurred before. A retyped row keeps its id where it is the only
    one made of its row. Raises InputError where one type cannot become the other.
    """
    if source_type == target_type:
        return Built(conform(rows, target_type), account())
    if target_type not in RETYPES[source_type]:
        named = ", ".join(RETYPES[source_type]) or "nothing else"
        why = _BACK.get((source_type, target_type), "a prompt has no answer")
        raise InputError(f"rows of {source_type} cannot become {target_type}: {why}; they can become {named}")
    if target_type == RecordType.UNPAIRED:
        return sides_of_pairs(rows)
    if target_type == RecordType.PROMPT:
        return _prompts(rows, seen)
    return _chosen(rows) if source_type == RecordType.PREFERENCE else _desirable(rows)


def sides_of_pairs(pairs: pl.DataFrame) -> Built:
    """Two UNPAIRED rows of each pair, chosen before rejected, in one `group`; `evidence` names the pair.

    Unmade, each side by itself: empty_completion; both sides: equal_sides. `label_confidence` stays null: a pair says
    which answer is better, not how good it is.
    """
    numbered = pairs.with_row_index("_at").with_columns(_equal=sameness("chosen") == sameness("rejected"))
    parts = [
        numbered.with_columns(
            pl.lit(side).alias("part"),
            pl.lit(side == "chosen").alias("label"),
            pl.col(side).alias("completion"),
            is_empty(side, images="images").alias("_empty"),
            moved_images("images", {"prompt": "prompt", side: "completion"}).alias("images"),
        )
        for side in ("chosen", "rejected")
    ]
    sides = pl.concat(parts).sort("_at", "part")
    made, unmade = sift(sides, {"empty_completion": pl.col("_empty"), "equal_sides": pl.col("_equal")})
    evidence = json_object(by=pl.lit("pair"), pair=pl.col("id"), side=pl.col("part"), margin=pl.col("margin"))
    made = made.with_columns(
        derived_ids(made, ["id", "part"], purpose="side"),
        evidence=with_json(evidence, of=pl.col("evidence")),
        label_sources=pl.lit(["pair"], dtype=pl.List(pl.String)),
    )
    return Built(_canonical(made, RecordType.UNPAIRED), account(unmade))


def _chosen(pairs: pl.DataFrame) -> Built:
    made, unmade = sift(
        pairs.with_columns(part=pl.lit("chosen")), {"empty_completion": is_empty("chosen", images="images")}
    )
    made = made.with_columns(
        completion="chosen",
        images=moved_images("images", {"prompt": "prompt", "chosen": "completion"}),
        evidence=with_json(
            json_object(by=pl.lit("pair"), side=pl.lit("chosen"), margin=pl.col("margin")), of=pl.col("evidence")
        ),
    )
    return Built(_canonical(made, RecordType.SFT), account(unmade))


def _desirable(rows: pl.DataFrame) -> Built:
    made, unmade = sift(
        rows,
        {
            "abstained": pl.col("label").is_null(),
            "undesirable": ~pl.col("label"),
            "empty_completion": is_empty("completion", images="images"),
        },
    )
    evidence = json_object(
        by=pl.lit("label"), label_confidence=pl.col("label_confidence"), sources=pl.col("label_sources")
    )
    made = made.with_columns(evidence=with_json(evidence, of=pl.col("evidence")))
    return Built(_canonical(made, RecordType.SFT), account(unmade))


def _prompts(rows: pl.DataFrame, seen: set[str] | None) -> Built:
    repeated = pl.repeat(False, rows.height, eager=True, dtype=pl.Boolean)
    if seen is not None:
        keys = prompt_keys(rows)
        before = pl.Series([key in seen for key in keys.to_list()], dtype=pl.Boolean)
        repeated = before | ~keys.is_first_distinct()
        seen.update(keys.to_list())
    marked = rows.with_columns(repeated.alias("_repeated"))
    made, unmade = sift(
        marked, {"no_prompt": is_empty("prompt", images="images"), "prompt_repeated": pl.col("_repeated")}
    )
    made = made.with_columns(images=moved_images("images", {"prompt": "prompt"}), evidence=pl.lit(None, pl.String))
    return Built(_canonical(made, RecordType.PROMPT), account(unmade))


def prompt_keys(rows: pl.DataFrame) -> pl.Series:
    """A hash of what a prompt is: its messages, pictures and tools."""
    parts = rows.select(
        "prompt", moved_images("images", {"prompt": "prompt"}).alias("images"), pl.col("tools").fill_null("")
    )
    return content_keys(parts, ["prompt", "images", "tools"], purpose="prompt")


def _canonical(rows: pl.DataFrame, record_type: RecordType) -> pl.DataFrame:
    names = SCHEMAS[record_type].names()
    return conform(rows.select(name for name in rows.columns if name in names), record_type)
