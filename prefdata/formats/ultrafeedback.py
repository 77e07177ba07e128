"""UltraFeedback: rated completions of an instruction, and the pairs that were made of them. Reading only.

Cui et al., 2023, arXiv:2310.01377. Two shapes: the set itself (`instruction`, `completions` with scores), of which
pairs are drawn; and its binarised sets (`prompt` as text that `chosen` and `rejected` begin with again).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import polars as pl

from prefdata.build.pairs import Policy
from prefdata.build.preference import from_ratings
from prefdata.formats import fanned, rules
from prefdata.formats.core import Match, Outcome, pieces, refuse, spare_columns
from prefdata.formats.messages import is_conversation, message
from prefdata.formats.read_only import ReadOnly
from prefdata.formats.shapes import SCORES, common_rules, conversations, shared_prompt
from prefdata.schema import RecordType


@dataclass(frozen=True, kw_only=True)
class UltraFeedback(ReadOnly):
    """Rated completions, or pairs whose sides are whole conversations that repeat the prompt."""

    name: ClassVar[str] = "ultrafeedback"

    score: Literal["overall_score", "fine-grained_score"] = "overall_score"
    """Which score of a completion orders them. The fine-grained one is the mean over four aspects."""
    pairs: Policy = "all_pairs"
    """Which completions of one instruction are paired: all_pairs, best_worst or best_random."""
    min_margin: float = 0.0
    """Least difference of the scores of a pair."""

    def recognise(self, sample: pl.DataFrame) -> Sequence[Match]:
        """By `instruction` with `completions`, or by sides that begin with the `prompt`."""
        completions = sample.schema.get("completions")
        if "instruction" in sample.columns and isinstance(completions, pl.List):
            if isinstance(completions.inner, pl.Struct) and "response" in {
                one.name for one in completions.inner.fields
            }:
                return [Match(RecordType.PREFERENCE, ("columns instruction, completions",))]
            return []
        sides = [sample.schema.get(side) for side in ("chosen", "rejected")]
        if sample.schema.get("prompt") != pl.String or not all(is_conversation(one) for one in sides):
            return []
        first = pl.col("chosen").list.first().struct.field("content")
        if not sample.select((first == pl.col("prompt")).any()).item():
            return []
        reasons = ["column prompt: text with which chosen and rejected begin again"]
        if set(SCORES) <= set(sample.columns):
            reasons.append(f"columns {', '.join(SCORES)}")
        return [Match(RecordType.PREFERENCE, tuple(reasons))]

    def decode(self, rows: pl.DataFrame, record_type: RecordType) -> Outcome:
        """Pairs, drawn or as they stand; `margin` is the difference of the scores."""
        if "completions" in rows.columns:
            return self._rated(rows)
        frame, _, faults = conversations(rows, {"chosen": "chosen", "rejected": "rejected"})
        frame = shared_prompt(frame.rename({"prompt": "_text"}))
        user = pl.col("prompt").list.eval(
            pl.element().struct.field("content").filter(pl.element().struct.field("role") == "user")
        )
        refusals = common_rules(record_type, rows) | {
            "differing_prompts": (pl.col("prompt").list.len() == 0) | ~user.list.contains(pl.col("_text")),
            "empty_answer": rules.empty_answer("chosen") | rules.empty_answer("rejected"),
        }
        if set(SCORES) <= set(rows.columns):
            chosen, rejected = (pl.col(name).cast(pl.Float64, strict=False) for name in SCORES)
            frame = frame.with_columns(margin=(chosen - rejected).cast(pl.Float32))
        spare = spare_columns(rows, ["prompt", "chosen", "rejected", "messages"])
        result = refuse(frame, refusals, also=[faults])
        return Outcome(pieces(result.rows, record_type, spare=spare), result.refused)

    def _rated(self, rows: pl.DataFrame) -> Outcome:
        keyed = fanned.keyed(rows, spare=spare_columns(rows, ["instruction", "completions"]))
        answers = (
            keyed.select("_key", "instruction", "meta", completion="completions")
            .filter(pl.col("completion").list.len() > 0)
            .explode("completion")
            .with_columns(pl.col("completion").struct.unnest())
        )
        score = self.score if self.score in answers.columns else "overall_score"
        pieces_ = fanned.numbered(answers).select(
            "id",
            "key",
            "source",
            "meta",
            prompt=message("user", pl.col("instruction")),
            answer=message("assistant", pl.col("response")),
            rating=pl.col(score).cast(pl.Float64, strict=False)
            if score in answers.columns
            else pl.lit(None, pl.Float64),
        )
        built = from_ratings(pieces_, policy=self.pairs, min_margin=self.min_margin)
        return fanned.outcome(keyed, built, path="$.chosen")
