"""Alpaca's instructions: `instruction`, `input`, `output`, with `system` and `history` as LLaMA-Factory and ms-swift
read them. One turn of the user's, pairs of turns before it, one answer in plain text.

Reading joins `instruction` and `input` by a line end; writing puts the last turn into `instruction` and leaves `input`
empty.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import polars as pl

from prefdata.formats import instructions, rules
from prefdata.formats.core import Container, Feature, Match, Outcome, pieces, refuse, set_aside
from prefdata.formats.messages import message
from prefdata.formats.shapes import common_rules
from prefdata.schema import RecordType


@dataclass(frozen=True, kw_only=True)
class Alpaca:
    """Instructions with one answer."""

    name: ClassVar[str] = "alpaca"
    reads: ClassVar[frozenset[RecordType]] = frozenset({RecordType.SFT})
    writes: ClassVar[frozenset[RecordType]] = frozenset({RecordType.SFT})
    container: ClassVar[Container] = "json"
    holds: ClassVar[Mapping[RecordType, frozenset[Feature]]] = {
        RecordType.SFT: frozenset({Feature.SYSTEM, Feature.TURNS, Feature.IMAGE_TAG})
    }

    def recognise(self, sample: pl.DataFrame) -> Sequence[Match]:
        """By the columns `instruction` and `output`, both text, and none that makes pairs or labels of them."""
        text = all(sample.schema.get(name) == pl.String for name in ("instruction", "output"))
        if text and not {"chosen", "rejected", "kto_tag", "label"} & set(sample.columns):
            return [Match(RecordType.SFT, ("columns instruction, output: text",))]
        return []

    def decode(self, rows: pl.DataFrame, record_type: RecordType) -> Outcome:
        """One prompt of instruction, input, system and history; `output` as the answer."""
        frame, refusals = instructions.prompt(set_aside(rows, [*instructions.Names(), "output"]), instructions.Names())
        output = pl.col("output") if rows.schema.get("output") == pl.String else pl.lit(None, pl.String)
        answer = pl.when(output.is_not_null()).then(message("assistant", output)).alias("completion")
        result = refuse(frame.with_columns(answer), common_rules(record_type, rows) | refusals)
        return Outcome(pieces(result.rows, record_type), result.refused)

    def encode(self, rows: pl.DataFrame, record_type: RecordType) -> Outcome:
        """Refused are pictures, tools, turns that do not alternate, and answers of several turns."""
        refusals = rules.answers(record_type) | {
            "empty_turn": rules.empty_turn(),
            "images": rules.images(),
            "multi_turn_answer": rules.multi_turn_answer("completion"),
            "not_alternating": rules.not_alternating(),
            "system_not_first": rules.system_not_first(),
            "tool_definitions": rules.tool_definitions(),
            "tool_turns": rules.tool_turns("prompt", "completion"),
        }
        result = refuse(rows, refusals)
        output = pl.col("completion").list.first().struct.field("content").alias("output")
        return Outcome(result.rows.select(*instructions.columns(result.rows), output), result.refused)

    def beside(
        self, files: Mapping[str, str], record_type: RecordType, *, columns: Collection[str] = ()
    ) -> Mapping[str, str]:
        """Nothing."""
        return {}
