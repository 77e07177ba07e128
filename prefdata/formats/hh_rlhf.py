"""hh-rlhf: pairs of whole transcripts, `chosen` and `rejected`, of which the last turn differs. Reading only.

Bai et al., 2022, arXiv:2204.05862; https://github.com/anthropics/hh-rlhf
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import polars as pl

from prefdata.formats import rules, transcripts
from prefdata.formats.core import Match, Outcome, pieces, refuse, spare_columns
from prefdata.formats.read_only import ReadOnly
from prefdata.formats.shapes import common_rules, last_answer
from prefdata.schema import RecordType


@dataclass(frozen=True, kw_only=True)
class HhRlhf(ReadOnly):
    """Transcripts that begin with `Human:`. Refused are pairs that do not answer the same conversation."""

    name: ClassVar[str] = "hh_rlhf"

    def recognise(self, sample: pl.DataFrame) -> Sequence[Match]:
        """By `chosen` and `rejected`, no `prompt`, and texts that begin with `Human:`."""
        if "prompt" in sample.columns or sample.schema.get("chosen") != pl.String:
            return []
        if sample.schema.get("rejected") != pl.String:
            return []
        begins = sample.select(
            pl.all_horizontal(pl.col(side).str.contains(transcripts.START) for side in ("chosen", "rejected")).mean()
        ).item()
        if (begins or 0.0) < 0.5:
            return []
        return [Match(RecordType.PREFERENCE, ("columns chosen, rejected", "texts begin with Human:"))]

    def decode(self, rows: pl.DataFrame, record_type: RecordType) -> Outcome:
        """The last turn of each side is its answer; what is before must be the same on both."""
        frame = rows
        for side in ("chosen", "rejected"):
            messages, odd = transcripts.parsed(side)
            frame = frame.with_columns(messages.alias(f"_{side}"), odd.alias(f"_odd_{side}"))
        frame = last_answer(frame, "_rejected", answer="_second").rename({"prompt": "_before"})
        frame = last_answer(frame, "_chosen", answer="_first")
        odd = pl.col("_odd_chosen") | pl.col("_odd_rejected")
        no_answer = pl.col("_first").is_null() | pl.col("_second").is_null()
        frame = frame.with_columns(chosen="_first", rejected="_second", _odd=odd.fill_null(True), _none=no_answer)
        refusals = common_rules(record_type, rows) | {
            "not_a_conversation": pl.col("_odd"),
            "no_answer": ~pl.col("_odd") & pl.col("_none"),
            "differing_prompts": ~pl.col("_odd") & ~pl.col("_none") & (pl.col("prompt") != pl.col("_before")),
            "empty_answer": ~pl.col("_odd")
            & ~pl.col("_none")
            & (rules.empty_answer("chosen") | rules.empty_answer("rejected")),
        }
        result = refuse(frame, refusals)
        spare = spare_columns(rows, ["chosen", "rejected"])
        return Outcome(pieces(result.rows, record_type, spare=spare), result.refused)
