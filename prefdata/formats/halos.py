"""HALOs' feedback: `binary_feedback` with one output and its label, `pairwise_feedback` with two, of which A is the
better where `label` is 1. Labels are 1 and 0 by the format. One JSON array a file.

HALOs wants a reward beside every output, and takes the output with the highest as the target of SFT: written are 1.0
for a desirable or chosen output and 0.0 for others. Rewards that are read go to `meta`.
https://github.com/ContextualAI/HALOs, train/dataloader.py (get_feedback) and train/label.py
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import polars as pl

from prefdata.formats import rules
from prefdata.formats.core import (
    Container,
    Feature,
    Match,
    Outcome,
    answers_of,
    pieces,
    refuse,
    set_aside,
    sides_of,
)
from prefdata.formats.features import TEXT
from prefdata.formats.messages import written
from prefdata.formats.shapes import boolean_label, common_rules, conversations
from prefdata.formats.tagged import all_of
from prefdata.schema import RecordType

TYPES: Mapping[RecordType, str] = {
    RecordType.UNPAIRED: "binary_feedback",
    RecordType.PREFERENCE: "pairwise_feedback",
}

SIDES: Mapping[RecordType, Mapping[str, str]] = {
    RecordType.UNPAIRED: {"prompt": "prompt", "output": "completion"},
    RecordType.PREFERENCE: {"prompt": "prompt", "output_A": "chosen", "output_B": "rejected"},
}


@dataclass(frozen=True, kw_only=True)
class Halos:
    """What HALOs' trainers read as feedback."""

    name: ClassVar[str] = "halos"
    reads: ClassVar[frozenset[RecordType]] = frozenset(TYPES)
    writes: ClassVar[frozenset[RecordType]] = frozenset(TYPES)
    container: ClassVar[Container] = "json"
    holds: ClassVar[Mapping[RecordType, frozenset[Feature]]] = dict.fromkeys(TYPES, TEXT)

    split: str | None = None
    """Value of `split`, by which HALOs filters the rows of a file; null leaves it out, and all are taken."""
    labels: Mapping[str, bool] | None = None
    """What labels other than 1, 0, true and false mean; null: they are refused."""

    def recognise(self, sample: pl.DataFrame) -> Sequence[Match]:
        """By `type`, binary_feedback or pairwise_feedback, with output, or output_A and output_B."""
        found = []
        if sample.schema.get("type") == pl.String:
            types = set(sample["type"].drop_nulls().unique())
            for record_type, name in TYPES.items():
                columns = [*SIDES[record_type], "label"]
                if name in types and set(sample.columns).issuperset(columns):
                    found.append(Match(record_type, (f"type {name}, columns {', '.join(columns)}",)))
        return found

    def decode(self, rows: pl.DataFrame, record_type: RecordType) -> Outcome:
        """Rows of the other kind of feedback are refused, and ties: HALOs would take B for the better of two equals."""
        sides = SIDES[record_type]
        taken = [*sides, "label", "type"]
        frame, _, faults = conversations(set_aside(rows, taken), sides)
        frame, wrong = boolean_label(frame, "label", labels=self.labels, binary=True)
        refusals = {"ambiguous_label": wrong}
        if "type" in rows.columns:
            refusals["other_feedback"] = (pl.col("type") != TYPES[record_type]).fill_null(True)
        if record_type is RecordType.PREFERENCE:
            refusals["label_missing"] = pl.col("label").is_null()
            if {"reward_A", "reward_B"} <= set(rows.columns):
                refusals["tie"] = pl.lit(rows["reward_A"] == rows["reward_B"])
            first = pl.col("label").fill_null(True)
            frame = frame.with_columns(
                chosen=pl.when(first).then("output_A").otherwise("output_B"),
                rejected=pl.when(first).then("output_B").otherwise("output_A"),
            )
        else:
            frame = frame.rename({"output": "completion"})
        result = refuse(frame, common_rules(record_type, rows) | refusals, also=[faults])
        return Outcome(pieces(result.rows, record_type), result.refused)

    def encode(self, rows: pl.DataFrame, record_type: RecordType) -> Outcome:
        """The better output is A. Refused are outputs of several turns, of which HALOs tells two apart by the first
        only, tools, pictures, and prompts that end with the assistant's turn."""
        sides = sides_of(record_type)
        refusals = rules.answers(record_type) | {
            "multi_turn_answer": all_of("multi_turn_answer", answers_of(record_type)),
            "prompt_ends_with_assistant": rules.prompt_ends_with_assistant(),
            "tool_turns": rules.tool_turns(*sides),
            "tool_definitions": rules.tool_definitions(),
            "images": rules.images(),
        }
        if record_type is RecordType.PREFERENCE:
            refusals["equal_sides"] = rules.equal_sides() | rules.equal_texts()
        result = refuse(rows, refusals)
        columns = [pl.lit(TYPES[record_type]).alias("type")]
        if "group" in rows.columns:
            columns.append(pl.col("group").alias("prompt_id"))
        columns += [written(side).alias(name) for name, side in SIDES[record_type].items()]
        if record_type is RecordType.UNPAIRED:
            columns += [pl.col("label").cast(pl.Int64), pl.col("label").cast(pl.Float64).alias("reward")]
        else:
            columns += [
                pl.lit(1, pl.Int64).alias("label"),
                pl.lit(1.0).alias("reward_A"),
                pl.lit(0.0).alias("reward_B"),
            ]
        if self.split is not None:
            columns.append(pl.lit(self.split).alias("split"))
        return Outcome(result.rows.select(columns), result.refused)

    def beside(
        self, files: Mapping[str, str], record_type: RecordType, *, columns: Collection[str] = ()
    ) -> Mapping[str, str]:
        """Nothing: HALOs takes files by name."""
        return {}
