"""Pairs: what makes a preference mean nothing, or the contrary of what another row says."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from prefdata.auditing.check import ANSWERED, PAIRS, Check
from prefdata.auditing.dataset import Audited
from prefdata.auditing.finding import Found, Levels, Severity
from prefdata.formats import rules
from prefdata.formats.core import answers_of
from prefdata.schema import RecordType

CROWDED, FAR_MORE = 0.01, 5.0
"""Share of all rows from which on a prompt crowds the set, where that is also FAR_MORE times what prompts have here."""

SMALL = 0.1
"""Of a large margin (the 95th percentile): what is below is small."""

SHORT_PROMPT = 3
"""Characters that a prompt has at least which answers repeat as a line of their own; without a line end
`rules.REPEATED`."""

REVERSED = Levels(critical=0.05, major=0.005, minor=0)
"""By share of the rows that another one says the contrary of, letter for letter."""


def _found(rows: pl.DataFrame, **measures: object) -> Found:
    return Found(rows=rows["row"].unique().sort(), measures=measures)


def _reversed(data: Audited) -> Found:
    """Rows whose two answers stand the other way round in another row of the same prompt.

    Where they do so but for case, blanks and punctuation alone, that may be what was asked for: a minor finding.
    """
    sides = data.rows.select(
        "row", "prompt_norm", "chosen_hash", "rejected_hash", better="chosen_norm", worse="rejected_norm"
    ).filter(pl.col("better") != pl.col("worse"))
    other = sides.select(
        "prompt_norm", better="worse", worse="better", other="row", own="chosen_hash", others="rejected_hash"
    )
    exact = (pl.col("chosen_hash") == pl.col("others")) & (pl.col("rejected_hash") == pl.col("own"))
    both = sides.join(other, on=["prompt_norm", "better", "worse"]).with_columns(exact=exact)
    both = both.sort("row", "exact", "other", descending=[False, True, False])
    first = both.unique("row", keep="first", maintain_order=True)
    if not first.height:
        return Found()
    certain = int(first["exact"].sum())
    return Found(
        rows=first["row"],
        measures={"pairs_of_rows": both.height // 2, "letter_for_letter": certain},
        severity=REVERSED.of(certain, data.total) if certain else Severity.MINOR,
        beside=dict(first.select("row", "other").iter_rows()),
    )


def _repeats_prompt(record_type: RecordType) -> pl.Expr:
    """Every answer begins with the last turn of the prompt, and goes on after it."""
    turn = pl.col("turn_text").str.strip_chars()
    size = turn.str.len_chars()
    begins, broken = [], []
    for side in answers_of(record_type):
        text = pl.col(f"{side}_text").str.strip_chars_start()
        begins.append(text.str.starts_with(turn) & (text.str.len_bytes() > turn.str.len_bytes()))
        broken.append(text.str.starts_with(turn + "\n"))
    long = size >= rules.REPEATED
    return ((size >= SHORT_PROMPT) & pl.all_horizontal(begins)) & (long | pl.all_horizontal(broken))


def _cycle(data: Audited) -> Found:
    """Rows of comparisons of one prompt that go round: A over B, B over C, C over A. Two of them are a reversed pair.

    What can be peeled off, an answer that never wins or never loses, is in no cycle; the rest of a prompt goes round.
    """
    edges = data.rows.select("row", "prompt_norm", better="chosen_hash", worse="rejected_hash")
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
    """Rows of prompts that hold CROWDED of all rows or more, ten at least, and far more than prompts do here."""
    prompts = data.rows.group_by("prompt_norm").len()
    least = max(10.0, CROWDED * data.total, FAR_MORE * data.total / max(1, prompts.height))
    counted = prompts.filter(pl.col("len") >= least).sort("len", descending=True)
    rows = data.rows.join(counted, on="prompt_norm", how="semi")
    if not rows.height:
        return Found()
    largest = counted["len"].to_list()[0]
    share = largest / data.total
    severity = Severity.MAJOR if share >= 0.2 else Severity.MINOR if share >= 0.05 else Severity.NOTE
    if severity is Severity.NOTE and rows.height >= 0.2 * data.total:
        severity = Severity.MINOR
    found = _found(rows, prompts=counted.height, largest=largest, mean_rows=round(data.total / prompts.height, 4))
    return replace(found, severity=severity)


def _small_margin(data: Audited) -> Found:
    """Rows whose margin is positive and less than a tenth of a large one; the scale is the data's own."""
    margins = data.rows["margin"].drop_nulls()
    positive = margins.filter(margins > 0)
    if not len(positive):
        return Found()
    large = _quantile(positive, 0.95)
    small = SMALL * large
    rows = data.rows.filter((pl.col("margin") > 0) & (pl.col("margin") < small))["row"]
    return Found(
        rows=rows,
        measures={
            "with_margin": len(margins),
            "below": round(small, 4),
            "p5": round(_quantile(margins, 0.05), 4),
            "median": round(_quantile(margins, 0.5), 4),
            "p95": round(_quantile(margins, 0.95), 4),
        }
        if len(rows)
        else {},
    )


def _quantile(values: pl.Series, share: float) -> float:
    found = values.quantile(share, interpolation="nearest")
    return float(found) if found is not None else 0.0


EQUAL_SIDES = Check(
    name="equal_sides",
    family="pairs",
    title="Chosen and rejected are the same",
    why="The loss of such a pair is ln 2 whatever the model does: it is noise that costs time.",
    cure="Leave the row out; every export of prefdata refuses it as equal_sides.",
    source="trl#1344",
    types=PAIRS,
    levels=Levels(critical=0.05, major=0.002, minor=0),
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
    title="The answers begin with the prompt",
    why="Trainers join prompt and answer: the model learns to repeat the question before it answers.",
    cure="Cut the prompt from the answers; where a whole file has it, read it with the right --from.",
    source="TRL, dataset formats: explicit prompts",
    types=ANSWERED,
    levels=Levels(critical=0.2, major=0.02, minor=0),
    flag=_repeats_prompt,
)

TIE = Check(
    name="tie",
    family="pairs",
    title="Both answers were rated the same: the margin is 0",
    why="Which answer is called chosen is chance: the pair is noise that a trainer takes for a preference.",
    cure="Leave the row out: build.preference.from_ratings leaves ties out.",
    source="HelpSteer2 in open-instruct: ties are skipped",
    types=PAIRS,
    levels=Levels(critical=0.3, major=0.05, minor=0),
    flag=lambda record_type: pl.col("margin") == 0,
)

WORSE_CHOSEN = Check(
    name="worse_chosen",
    family="pairs",
    title="The chosen answer is rated worse than the rejected one: the margin is below 0",
    why="The sides are swapped, or the ratings are: the row teaches the contrary of what was meant.",
    cure="Swap the sides of these rows, or leave them out.",
    types=PAIRS,
    levels=Levels(critical=0.05, major=0.001, minor=0),
    flag=lambda record_type: pl.col("margin") < 0,
)

SMALL_MARGIN = Check(
    name="small_margin",
    family="pairs",
    title="The margin is less than a tenth of a large one",
    why="On such pairs annotators agree hardly more than by chance; DPO gives them the same weight as clear ones.",
    cure="build.preference.from_ratings(..., min_margin=1)",
    source="Llama 2 (Touvron et al. 2023), section 3.2: agreement falls from 'significantly' to 'negligibly better'",
    types=PAIRS,
    levels=Levels(minor=0.25),
    find=_small_margin,
)

REVERSED_PAIR = Check(
    name="reversed_pair",
    family="pairs",
    title="The same two answers to the same prompt stand the other way round in another row",
    why="The two rows cancel each other: one of them is wrong.",
    cure="Decide by majority: build.preference.from_verdicts, or leave both out.",
    types=PAIRS,
    levels=REVERSED,
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
    cure="mix: {per_prompt: 3}",
    find=_crowded,
)
