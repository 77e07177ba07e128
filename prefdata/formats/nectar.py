"""Nectar-like ranked lists: a prompt and `answers`, each with its `rank`, 1 the best. Reading only.

Zhu et al., 2023, Starling-7B; https://huggingface.co/datasets/berkeley-nest/Nectar
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import polars as pl

from prefdata.build.pairs import Policy
from prefdata.build.preference import from_rankings
from prefdata.formats import fanned, transcripts
from prefdata.formats.core import Match, Outcome, spare_columns
from prefdata.formats.messages import message
from prefdata.formats.read_only import ReadOnly
from prefdata.schema import MESSAGES, RecordType


@dataclass(frozen=True, kw_only=True)
class Nectar(ReadOnly):
    """A prompt, as a transcript or as text, and ranked answers."""

    name: ClassVar[str] = "nectar"

    pairs: Policy = "all_pairs"
    """Which answers to one prompt are paired: all_pairs, best_worst or best_random."""

    def recognise(self, sample: pl.DataFrame) -> Sequence[Match]:
        """By `prompt` and `answers` with `answer` and `rank`."""
        answers = sample.schema.get("answers")
        if sample.schema.get("prompt") != pl.String or not isinstance(answers, pl.List):
            return []
        if not isinstance(answers.inner, pl.Struct) or not {"answer", "rank"} <= {
            one.name for one in answers.inner.fields
        }:
            return []
        return [Match(RecordType.PREFERENCE, ("columns prompt, answers", "answers have answer and rank"))]

    def decode(self, rows: pl.DataFrame, record_type: RecordType) -> Outcome:
        """Pairs of answers with different ranks. A transcript's last `Assistant:` is where the answers go."""
        spare = spare_columns(rows, ["prompt", "answers"])
        messages, odd = transcripts.parsed("prompt")
        last = pl.col("_turns").list.last()
        waits = (last.struct.field("role") == "assistant") & (last.struct.field("content").str.strip_chars() == "")
        keyed = (
            fanned.keyed(rows, spare=spare)
            .with_columns(_turns=messages, _odd=odd, _plain=message("user", pl.col("prompt")))
            .with_columns(
                _prompt=pl.when("_odd")
                .then("_plain")
                .when(waits)
                .then(pl.col("_turns").list.head(pl.col("_turns").list.len() - 1))
                .otherwise("_turns")
                .cast(MESSAGES)
            )
        )
        answers = (
            keyed.select("_key", "_prompt", "meta", one="answers")
            .filter(pl.col("one").list.len() > 0)
            .explode("one")
            .with_columns(
                answer=message("assistant", pl.col("one").struct.field("answer")),
                rank=pl.col("one").struct.field("rank").cast(pl.Float64, strict=False).cast(pl.Int64),
            )
        )
        pieces = fanned.numbered(answers).select("id", "key", "source", "meta", "answer", "rank", prompt="_prompt")
        return fanned.outcome(keyed, from_rankings(pieces, policy=self.pairs), path="$.chosen")
