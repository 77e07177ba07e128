"""Prompt-completion rows: from whole conversations, from the chosen sides of pairs, from desirable rows."""

from __future__ import annotations

from typing import Literal

import polars as pl

from prefdata.build.built import (
    Built,
    content_keys,
    derived_ids,
    finish,
    is_empty,
    json_object,
    need,
    optional,
    sift,
)
from prefdata.build.pieces import CARRIED
from prefdata.build.retype import retype
from prefdata.errors import InputError
from prefdata.schema import IMAGE, MESSAGES, RecordType

CONVERSATION = "messages"
"""Name of the column that holds a whole conversation, and of its side in `images`."""


def from_conversations(rows: pl.DataFrame, *, turns: Literal["every", "last"] = "every") -> Built:
    """An SFT row for every agent's turn, or for the last one, of each conversation.

    `rows`: `id`, `source`, `messages` (MESSAGES) and any other canonical column; pictures stand in `images` with side
    "messages". An agent's turn is all that stands between two turns of the customer: several messages, and tool calls
    with their results, are one completion. Candidates are the turns; `part` is the position of a turn's first message.
    Unmade: no_prompt (an agent's opening, before any customer's turn), empty_completion, ends_in_tool_result; and
    no_agent_turn for a conversation without any.
    """
    if turns not in ("every", "last"):
        raise InputError(f"turns: {turns!r}, expected every or last")
    need(rows, {"id": pl.String(), "source": pl.String(), CONVERSATION: MESSAGES}, what="conversations")
    rows = optional(rows, CARRIED).sort("id")
    said = _numbered(rows)
    agent = pl.col("role").is_in(["assistant", "tool"])
    said = said.with_columns(_agent=agent, _run=agent.rle_id().over("id"))
    spoken = (
        said.filter("_agent")
        .group_by("id", "_run", maintain_order=True)
        .agg(
            begin=pl.col("at").min(),
            end=pl.col("at").max() + 1,
            heard=pl.col("heard").first(),
            tool_last=pl.col("role").last() == "tool",
        )
    )
    if turns == "last":
        spoken = spoken.filter(pl.col("begin") == pl.col("begin").max().over("id"))
    silent = rows.join(spoken, on="id", how="anti").select("id", reasons=pl.lit(["no_agent_turn"]))
    found = spoken.join(rows, on="id", how="left", maintain_order="left").with_columns(
        part=pl.col("begin").cast(pl.String),
        prompt=pl.col(CONVERSATION).list.slice(0, pl.col("begin")),
        completion=pl.col(CONVERSATION).list.slice(pl.col("begin"), pl.col("end") - pl.col("begin")),
    )
    found = found.with_columns(_placed_images(found).alias("images"))
    made, unmade = sift(
        found,
        {
            "no_prompt": ~pl.col("heard"),
            "empty_completion": is_empty("completion", images="images"),
            "ends_in_tool_result": pl.col("tool_last"),
        },
    )
    made = made.with_columns(
        derived_ids(made, ["id", "part"], purpose="turn"),
        group=pl.coalesce("group", content_keys(made, ["id"], purpose="conversation")),
        evidence=json_object(by=pl.lit("conversation"), conversation=pl.col("id"), message=pl.col("begin")),
    )
    return finish(made, RecordType.SFT, [silent, unmade])


def from_pairs(pairs: pl.DataFrame) -> Built:
    """SFT rows of the chosen sides of PREFERENCE rows, each answer once.

    An answer that another pair of the same prompt rejects is no example to follow: `both_chosen_and_rejected`. Further
    unmade: `repeated`, and what `retype` leaves out. `part` is "chosen" throughout.
    """
    chosen = retype(pairs.sort("id"), RecordType.PREFERENCE, RecordType.SFT)
    rejected = content_keys(pairs.rename({"rejected": "completion"}), ["prompt", "completion", "tools"])
    rows = chosen.rows.with_columns(part=pl.lit("chosen"))
    rows = rows.with_columns(
        _key=content_keys(rows, ["prompt", "completion", "tools"]),
        _exact=content_keys(rows, ["prompt", "completion", "tools", "images"]),
    )
    made, unmade = sift(
        rows,
        {
            "both_chosen_and_rejected": pl.col("_key").is_in(rejected.unique().sort().to_list()),
            "repeated": ~pl.col("_exact").is_first_distinct(),
        },
    )
    return finish(made, RecordType.SFT, [chosen.unmade, unmade])


def from_desirable(rows: pl.DataFrame, *, min_confidence: float = 0.0) -> Built:
    """SFT rows of the UNPAIRED rows with a true label, each answer to a prompt once.

    Unmade: abstained, undesirable, empty_completion, low_confidence (a known confidence below `min_confidence`),
    repeated, conflicting_labels (the same answer to the same prompt stands with a false label, too).
    """
    keyed = rows.with_columns(_exact=content_keys(rows, ["prompt", "completion", "tools", "images"]))
    bad = keyed.filter(~pl.col("label"))["_exact"].unique().sort().to_list()
    found = retype(rows.sort("id"), RecordType.UNPAIRED, RecordType.SFT)
    known = found.rows.join(
        keyed.select("id", "_exact", "label_confidence"), on="id", how="left", maintain_order="left"
    )
    confident, unsure = sift(
        known,
        {
            "low_confidence": pl.col("label_confidence") < min_confidence,
            "conflicting_labels": pl.col("_exact").is_in(bad),
        },
    )
    made, unmade = sift(confident, {"repeated": ~pl.col("_exact").is_first_distinct()})
    return finish(made, RecordType.SFT, [found.unmade, unsure, unmade])


def _numbered(rows: pl.DataFrame) -> pl.DataFrame:
    """`id`, `at`, `role` of every message, and whether a customer spoke before it (`heard`)."""
    roles = pl.col(CONVERSATION).list.eval(pl.element().struct.field("role"))
    said = rows.select("id", role=roles).filter(pl.col("role").list.len() > 0).explode("role")
    customer = pl.col("role") == "user"
    return said.with_columns(
        at=pl.int_range(pl.len(), dtype=pl.Int64).over("id"), heard=customer.cum_sum().over("id") > 0
    )


def _placed_images(found: pl.DataFrame) -> pl.Series:
    """Pictures of the conversation as pictures of prompt and completion; those of later turns are left out."""
    numbered = found.select("images", "begin", "end").with_row_index("_row")
    pictures = numbered.filter(pl.col("images").list.len() > 0).explode("images")
    picture = pl.col("images").struct
    at = picture.field("message").cast(pl.Int64)
    inside = pl.col("begin") <= at
    moved = (
        pictures.filter(at < pl.col("end"))
        .select(
            "_row",
            image=pl.struct(
                uri=picture.field("uri"),
                side=pl.when(inside).then(pl.lit("completion")).otherwise(pl.lit("prompt")),
                message=pl.when(inside).then(at - pl.col("begin")).otherwise(at).cast(pl.Int32),
                part=picture.field("part"),
            ).cast(IMAGE),
        )
        .group_by("_row", maintain_order=True)
        .agg("image")
    )
    return numbered.select("_row").join(moved, on="_row", how="left", maintain_order="left")["image"]
