"""Pairs: what makes a preference mean nothing, or the contrary of what another row says."""

from __future__ import annotations

import polars as pl

from prefdata.auditing.check import PAIRS, Check
from prefdata.auditing.dataset import Audited
from prefdata.auditing.finding import Found, Levels

CROWDED = 0.01
"""Share of all rows from which on one prompt is said to dominate."""


def _found(rows: pl.DataFrame, **measures: object) -> Found:
    return Found(rows=rows["row"].unique().sort(), measures=measures)


def _reversed(data: Audited) -> Found:
    """Rows whose two answers stand the other way round in another row of the same prompt."""
    sides = data.rows.select("row", "prompt_norm", better="chosen_norm", worse="rejected_norm")
    sides = sides.filter(pl.col("better") != pl.col("worse"))
    other = sides.select("prompt_norm", better="worse", worse="better", other="row")
    both = sides.join(other, on=["prompt_norm", "better", "worse"]).sort("row", "other")
    first = both.unique("row", keep="first", maintain_order=True)
    return Found(
        rows=first["row"],
        measures={"pairs_of_rows": both.height // 2} if both.height else {},
        beside=dict(first.select("row", "other").iter_rows()),
    )


def _cycle(data: Audited) -> Found:
    """Rows of comparisons of one prompt that go round: A over B, B over C, C over A. Two of them are a reversed pair.

    What can be peeled off, an answer that never wins or never loses, is in no cycle; the rest of a prompt goes round.
    """
    edges = data.rows.select("row", "prompt_norm", better="chosen_norm", worse="rejected_norm")
    edges = edges.filter(pl.col("better") != pl.col("worse"))
    # only answers that win somewhere and lose elsewhere can be part of one
    while True:
        keys = ["prompt_norm"]
        wins = edges.select(*keys, answer="better").unique()
        losses = edges.select(*keys, answer="worse").unique()
        left = edges.join(losses, left_on=[*keys, "better"], right_on=[*keys, "answer"], how="semi").join(
            wins, left_on=[*keys, "worse"], right_on=[*keys, "answer"], how="semi"
        )
        if left.height == edges.height:
            break
        edges = left
    if not edges.height:
        return Found()
    back = edges.select("prompt_norm", better="worse", worse="better")
    longer = edges.join(back, on=["prompt_norm", "better", "worse"], how="anti")
    return _found(longer, prompts=longer["prompt_norm"].n_unique()) if longer.height else Found()


def _crowded(data: Audited) -> Found:
    """Rows of prompts that hold more than CROWDED of all rows, ten at least."""
    counted = (
        data.rows.group_by("prompt_norm")
        .len()
        .filter(pl.col("len") >= max(10, CROWDED * data.total))
        .sort("len", descending=True)
    )
    rows = data.rows.join(counted, on="prompt_norm", how="semi")
    if not rows.height:
        return Found()
    return _found(rows, prompts=counted.height, largest=counted["len"].to_list()[0])


EQUAL_SIDES = Check(
    name="equal_sides",
    family="pairs",
    title="Chosen and rejected are the same",
    why="The loss of such a pair is ln 2 whatever the model does: it is noise that costs time.",
    cure="Leave the row out; every export of prefdata refuses it as equal_sides.",
    source="trl#1344",
    types=PAIRS,
    levels=Levels(critical=0.05, major=0),
    flag=lambda record_type: pl.col("chosen_hash") == pl.col("rejected_hash"),
)

SAME_WORDS = Check(
    name="same_words",
    family="pairs",
    title="Chosen and rejected differ in case, blanks or punctuation only",
    why="The pair teaches punctuation; with a reward model it is noise.",
    cure="Leave the row out, or keep it knowingly if style is what you teach.",
    types=PAIRS,
    levels=Levels(major=0.02, minor=0),
    flag=lambda record_type: (
        (pl.col("chosen_norm") == pl.col("rejected_norm")) & (pl.col("chosen_hash") != pl.col("rejected_hash"))
    ),
)

PROMPT_IN_ANSWER = Check(
    name="prompt_in_answer",
    family="pairs",
    title="The answers repeat the prompt",
    why="TRL concatenates prompt and answer: the model learns to repeat the question before it answers.",
    cure="Cut the prompt from the answers; conversion from the right format does it.",
    source="TRL dataset formats: explicit prompts",
    types=PAIRS,
    levels=Levels(critical=0.05, major=0),
    flag=lambda record_type: (
        (pl.col("turn_text").str.len_chars() >= 10)
        & pl.col("chosen_text").str.starts_with(pl.col("turn_text"))
        & pl.col("rejected_text").str.starts_with(pl.col("turn_text"))
    ),
)

SMALL_MARGIN = Check(
    name="small_margin",
    family="pairs",
    title="The margin between the two ratings is small, or not positive",
    why="Annotators of such pairs agree hardly more than by chance; DPO gives them the same weight as clear ones.",
    cure="build.preference.from_ratings(..., min_margin=1)",
    source="Llama 2, table 1: agreement falls from 'significantly' to 'negligibly better'",
    types=PAIRS,
    levels=Levels(major=0.5, minor=0.1),
    find=lambda data: Found(
        rows=data.rows.filter(pl.col("margin") < 0.5)["row"]
        if data.rows["margin"].is_not_null().any()
        else Found().rows
    ),
)

REVERSED_PAIR = Check(
    name="reversed_pair",
    family="pairs",
    title="The same two answers to the same prompt stand the other way round in another row",
    why="The two rows cancel each other: one of them is wrong.",
    cure="Decide by majority: build.preference.from_verdicts, or leave both out.",
    types=PAIRS,
    levels=Levels(critical=0.05, major=0),
    find=_reversed,
)

CYCLE = Check(
    name="cycle",
    family="pairs",
    title="The comparisons of a prompt go round: A over B, B over C, C over A",
    why="No reward explains them; at least one of the rows is wrong.",
    cure="Leave out the comparison with the least agreement of each cycle.",
    types=PAIRS,
    levels=Levels(major=0.02, minor=0),
    find=_cycle,
)

CROWDED_PROMPT = Check(
    name="crowded_prompt",
    family="pairs",
    title="One prompt gives a large part of the rows",
    why="The set says much about few questions; an evaluation split by row would leak them.",
    cure="mix: {caps: {prompt: 3}}",
    levels=Levels(major=0.2, minor=0.02),
    find=_crowded,
)
