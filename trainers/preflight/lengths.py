"""How long rows are, what a limit costs, and the rows that cannot be trained on at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from trainers.preflight import pictures
from trainers.preflight.finding import Check, Finding, Levels, Severity
from trainers.preflight.seen import Seen

LIMITS = (512, 1024, 2048, 4096)
"""Lengths of which it is told how many rows they would cut."""

LOST = Levels(critical=0.5, major=0.1, minor=0.01)

DROPPED = {
    "too_long": Check(
        name="too_long",
        family="rows",
        title="The last turn with its answer does not fit into max_length: the row is dropped",
        why="Answers are never cut here, since a cut answer loses its end token; rows that do not fit are left out.",
        cure="Raise max_length, or leave long rows out on purpose; the lengths tell what each limit costs",
        threads=("modelscope/ms-swift#5712", "huggingface/trl#3382", "hiyouga/LlamaFactory#4617"),
        levels=LOST,
    ),
    "no_customer_turn": Check(
        name="no_customer_turn",
        family="rows",
        title="The prompt is empty or ends with the assistant: the row is dropped",
        why="Nothing is asked, so there is nothing to answer; most often prompt and answer were parted wrongly.",
        cure="prefdata audit DATA tells where these rows stand; put the last turn of the assistant into the answer",
        threads=("hiyouga/LlamaFactory#4249", "huggingface/trl#1858"),
        levels=LOST,
    ),
    "equal_sides": Check(
        name="equal_sides",
        family="rows",
        title="Chosen and rejected are the same tokens: the pair is dropped",
        why="Such a pair has no gradient (its DPO loss stays at ln 2); TRL accepts and trains it.",
        cure="prefdata audit DATA --only pairs names them; remove them at the source",
        threads=("Yifan-Song793/ETO#14",),
        levels=LOST,
    ),
    "abstained": Check(
        name="abstained",
        family="rows",
        title="The label is null: the row is dropped",
        why="A label that abstains is no example of either kind.",
        cure="None is needed; `labels:` of the recipe decides when a label abstains",
        levels=Levels(major=0.95, minor=0.8),
    ),
    "empty_answer": Check(
        name="empty_answer",
        family="rows",
        title="An answer is empty",
        why="A model trained to say nothing says nothing; training stops at such rows, and one exporter in the field "
        "reads an empty desirable answer as undesirable.",
        cure="Drop them first: the filter chat_quality does",
        threads=("hiyouga/LlamaFactory#3803",),
        levels=Levels(critical=0.01, major=0),
    ),
    "no_assistant_turn": Check(
        name="no_assistant_turn",
        family="rows",
        title="The answer holds no turn of the assistant: the row is dropped",
        why="Only turns of the assistant are learned; here there is none.",
        cure="Give the assistant's turns the role assistant; prefdata convert DATA --to trl maps roles",
        threads=("huggingface/smol-course#260", "huggingface/trl#4879"),
        levels=LOST,
    ),
    "template_refuses": Check(
        name="template_refuses",
        family="rows",
        title="The chat template refuses the row, or changes its text: the row is dropped",
        why="Templates raise on turns they do not know (a system prompt, two customer turns in a row), and some take "
        "reasoning out of answers or move it.",
        cure="Merge turns of one role, move the system prompt, or set chat_template",
        threads=("huggingface/smol-course#260", "hiyouga/LlamaFactory#9600"),
        levels=LOST,
    ),
}
"""Reason of a dropped row -> what is said of it."""

OTHER_LOSS = Check(
    name="dropped",
    family="rows",
    title="Rows are dropped",
    why="They are not trained on.",
    cure="The reason says why",
    levels=LOST,
)
NONE_LEFT = Check(
    name="no_rows_left",
    family="rows",
    title="No row is left to train on",
    why="TRL ends with `num_samples=0` here, after the model was loaded.",
    cure="See the reasons why rows are dropped",
    threads=("modelscope/ms-swift#5712", "hiyouga/LlamaFactory#9600", "hiyouga/LlamaFactory#8320"),
)
TURNS_CUT = Check(
    name="older_turns_cut",
    family="lengths",
    title="Older turns of the prompt are cut so that the row fits",
    why="The model answers without what was said before. System prompt, last customer turn and answer stay whole.",
    cure="A larger max_length keeps them",
    threads=("hiyouga/LlamaFactory#4617",),
    levels=Levels(major=0.5, minor=0.1),
)
TAIL = Check(
    name="few_very_long_rows",
    family="lengths",
    title="A few rows are much longer than all others",
    why="Memory is set by the longest batch: a run may end out of memory hours after it began.",
    cure="max_length: {p99}  # the 99th percentile; or give the longest batch to `prefdata estimate`",
    threads=("huggingface/trl#1626", "huggingface/trl#1619"),
)


def look(seen: Seen) -> Iterator[Finding]:
    """Findings about rows that are dropped or shortened."""
    rows, total = seen.rows, seen.total
    for reason, number in rows.dropped.items():
        if reason == "not_chosen" or reason in pictures.REASONS:
            continue
        check = DROPPED.get(reason, OTHER_LOSS)
        ids = list(rows.lost.get(reason, ()))
        yield check.found(ids, total, count=number, reason=reason)
    if not len(rows):
        yield NONE_LEFT.found([], total, severity=Severity.CRITICAL)
        return
    cut = seen.rows_where([row.turns_cut > 0 for row in rows.first])
    if cut:
        yield TURNS_CUT.found(cut, len(rows), turns=sum(row.turns_cut for row in rows.first))
    ranked = sorted(seen.lengths)
    p99, most = percentile(ranked, 99), ranked[-1]
    if len(ranked) >= 100 and most > 2 * p99:
        long = seen.rows_where([one > 2 * p99 for one in seen.lengths])
        yield TAIL.found(long, len(rows), severity=Severity.MINOR, p99=p99, longest=most)


def percentile(ranked: Sequence[int], percent: int) -> int:
    """Of sorted numbers: the smallest that at least so many percent do not exceed."""
    return ranked[max(0, -(-len(ranked) * percent // 100) - 1)] if ranked else 0


def figures(whole: Sequence[int], max_length: int) -> dict[str, Any]:
    """Percentiles of the lengths of uncut rows, and the share that limits would cut."""
    ranked = sorted(whole)
    limits = sorted({*LIMITS, max_length})
    return {
        **{f"p{percent}": percentile(ranked, percent) for percent in (50, 95, 99)},
        "longest": ranked[-1] if ranked else 0,
        "longer_than": {
            str(limit): round(sum(one > limit for one in ranked) / max(len(ranked), 1), 4) for limit in limits
        },
    }
