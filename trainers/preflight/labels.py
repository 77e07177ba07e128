"""Labels of unpaired rows: both classes, their weights, how they fall into micro-batches; and the size of batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from prefdata.balance import HIGH, LOW, kto_weights
from prefdata.schema import RecordType
from trainers.ordering import interleave
from trainers.preflight.finding import Check, Finding, Levels, Severity
from trainers.preflight.seen import Seen

FEW_OF_A_CLASS = 20
"""So many to one: past this the rarer class is a handful of rows that its weight repeats."""

ONE_CLASS = Check(
    name="one_class",
    family="labels",
    title="All rows have one label",
    why="KTO needs both: without the other class there is nothing to push away from, or nothing to pull towards.",
    cure="Loosen what labels rows (`labels:`), or train on desirable rows alone with SFT",
    threads=("hiyouga/LlamaFactory#3803", "modelscope/ms-swift#1513"),
)
UNEVEN = Check(
    name="uneven_classes",
    family="labels",
    title="One class is much rarer than the other",
    why="Weighted counts outside 1:1 to 4:3 pull KTO to one side; at 1:5 rewards have become NaN in the field.",
    cure="Weights are set from the counts when none are given: desirable_weight {desirable}, undesirable_weight "
    "{undesirable}",
    threads=("huggingface/trl#1447",),
)
OWN_WEIGHTS = Check(
    name="weights_out_of_range",
    family="labels",
    title="The class weights of the recipe bring the classes out of 1:1 to 4:3",
    why="KTO's paper (equation 8) keeps the weighted counts of desirable to undesirable rows in this range.",
    cure="Leave both weights out, or set desirable_weight {desirable} and undesirable_weight {undesirable}",
    threads=("huggingface/trl#1447",),
)
SINGLE = Check(
    name="single_class_batches",
    family="batches",
    title="Micro-batches hold one label only",
    why="Without both labels a micro-batch has no margin, and KTO's KL term is taken from answers of one kind.",
    cure="A larger per_device_batch; at {ratio} to 1 it needs {needed} rows to hold one of each",
    threads=("modelscope/ms-swift#2941",),
    levels=Levels(major=0.2, minor=0.01),
)
SMALL = Check(
    name="small_batch",
    family="batches",
    title="per_device_batch is below 4",
    why="KTO estimates its KL term within a micro-batch, whatever gradient_accumulation is: 2 or 3 rows say little.",
    cure="per_device_batch: 4  # or more, and less gradient_accumulation",
    threads=("huggingface/trl#1911", "huggingface/trl#2153", "huggingface/trl#2554"),
)
TWINS = Check(
    name="equal_answers_in_a_batch",
    family="batches",
    title="Answers of one micro-batch are equal",
    why="KTO pairs each prompt with its neighbour's answer; where that is the row's own answer the KL term is that of "
    "the row itself.",
    cure="Drop duplicates (groupings: [exact_duplicates]), or cap how often one answer may stand",
    threads=("huggingface/trl#1911",),
    levels=Levels(major=0.2, minor=0.02),
)
CONTRADICTION = Check(
    name="contradictory_labels",
    family="labels",
    title="The same prompt and answer stand with both labels",
    why="One says more of it, the other says less: what is learned is noise.",
    cure="groupings: [near_duplicates]  # makes such rows abstain",
    levels=Levels(major=0.01, minor=0),
)


def look(seen: Seen) -> Iterator[Finding]:
    """Findings about labels and micro-batches."""
    rows = seen.rows
    if seen.type is not RecordType.UNPAIRED or not len(rows):
        return
    total, labels = len(rows), rows.labels
    answers = [str(row.completion_ids) for row in rows.sides["completion"]]
    yield from _classes(seen)
    said: dict[tuple[str, str], set[bool]] = {}
    keys = [(str(row.asked), answer) for row, answer in zip(rows.first, answers, strict=True)]
    for key, label in zip(keys, labels, strict=True):
        said.setdefault(key, set()).add(bool(label))
    both = seen.rows_where([len(said[key]) > 1 for key in keys])
    if both:
        yield CONTRADICTION.found(both, total)
    if seen.method != "kto":
        return
    batch = seen.settings.per_device_batch
    if batch < 4:
        yield SMALL.found([], total, severity=Severity.MINOR, per_device_batch=batch)
    if len(set(labels)) < 2 or total < batch:
        return
    pictures = [[one.pixels for one in row.pictures] for row in rows.first]
    seed = seen.settings.seed
    order = interleave(labels, seen.lengths, answers, rows.ids, batch=batch, seed=seed, pictures=pictures)
    batches = max(1, len(order.rows) // batch)
    if order.single_label_batches:
        rare = max(1, min(sum(labels), total - sum(labels)))
        ratio = (total - rare) / rare
        yield SINGLE.found(
            [],
            batches,
            count=order.single_label_batches,
            ratio=f"{ratio:.0f}",
            needed=-(-total // rare),
            batches=batches,
        )
    twins = in_batches(order.rows, answers, batch)
    if twins:
        yield TWINS.found([rows.ids[at] for at in twins], total)


def _classes(seen: Seen) -> Iterator[Finding]:
    labels, settings = seen.rows.labels, seen.settings
    good, bad = sum(map(bool, labels)), len(labels) - sum(map(bool, labels))
    weights = kto_weights(good, bad)
    if weights is None:
        yield ONE_CLASS.found([], len(labels), severity=Severity.CRITICAL, desirable=good, undesirable=bad)
        return
    told: dict[str, Any] = {
        "desirable": weights.desirable,
        "undesirable": weights.undesirable,
        "good": good,
        "bad": bad,
    }
    rare = seen.rows_where([bool(label) == (good < bad) for label in labels])
    own = (getattr(settings, "desirable_weight", None), getattr(settings, "undesirable_weight", None))
    if None not in own:
        ratio = own[0] * good / (own[1] * bad)  # type: ignore[operator]
        if not LOW - 0.01 <= ratio <= HIGH + 0.01:
            yield OWN_WEIGHTS.found([], len(labels), severity=Severity.MAJOR, ratio=round(ratio, 3), **told)
    elif max(good, bad) > FEW_OF_A_CLASS * min(good, bad):
        yield UNEVEN.found(rare, len(labels), severity=Severity.MAJOR, **told)
    elif not LOW <= good / bad <= HIGH:
        yield UNEVEN.found(rare, len(labels), severity=Severity.NOTE, **told)


def in_batches(order: Sequence[int], answers: Sequence[str], batch: int) -> list[int]:
    """Positions of the rows whose answer another row of their micro-batch has."""
    found = []
    for start in range(0, len(order), batch):
        part = order[start : start + batch]
        held = [answers[at] for at in part]
        found += [at for at in part if held.count(answers[at]) > 1]
    return sorted(found)


def single_class(labels: Sequence[bool], batch: int) -> int:
    """Micro-batches in the order given that hold one label only."""
    return sum(len(set(labels[start : start + batch])) == 1 for start in range(0, len(labels), batch))


def longest_run(labels: Sequence[bool]) -> int:
    """Most rows in a row with one label."""
    return max((sum(1 for _ in run) for _, run in groupby(labels)), default=0)
