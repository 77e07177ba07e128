"""Verdicts over two answers: Auto-J's (`response 1`, `response 2`, `label`) and PandaLM's (`response1`, `response2`,
one column an annotator). Reading only.

Li et al., 2023, arXiv:2310.05470: label 0 the first answer, 1 the second, 2 a tie. Wang et al., 2023, arXiv:2306.05087:
1 the first answer, 2 the second, 0 a tie.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import polars as pl

from prefdata.build.preference import from_verdicts
from prefdata.formats import fanned
from prefdata.formats.core import Match, Outcome, spare_columns
from prefdata.formats.messages import message
from prefdata.formats.read_only import ReadOnly
from prefdata.schema import RecordType

AUTOJ = ("response 1", "response 2")
PANDALM = ("response1", "response2")

AUTOJ_WORDS = {"0": "a", "1": "b", "2": "tie"}
PANDALM_WORDS = {"1": "a", "2": "b", "0": "tie"}


def _annotators(names: Sequence[str]) -> list[str]:
    return sorted(name for name in names if name.startswith("annotator"))


@dataclass(frozen=True, kw_only=True)
class Verdicts(ReadOnly):
    """Two answers and who found which better; the verdict of most makes the pair."""

    name: ClassVar[str] = "verdicts"

    min_agreement: float = 0.5
    """Least share of the annotators who say the same, [0, 1]."""

    def recognise(self, sample: pl.DataFrame) -> Sequence[Match]:
        """By two responses and a label, or columns of annotators."""
        names = set(sample.columns)
        if names >= {*AUTOJ, "label", "prompt"}:
            return [Match(RecordType.PREFERENCE, ("columns prompt, response 1, response 2, label (Auto-J)",))]
        if names >= {*PANDALM, "instruction"} and _annotators(sample.columns):
            found = ", ".join(_annotators(sample.columns))
            return [Match(RecordType.PREFERENCE, (f"columns instruction, response1, response2, {found} (PandaLM)",))]
        return []

    def decode(self, rows: pl.DataFrame, record_type: RecordType) -> Outcome:
        """One pair a row; ties and split votes are refused. An `input` follows the instruction after a blank line."""
        autoj = AUTOJ[0] in rows.columns
        first, second = AUTOJ if autoj else PANDALM
        voters = ["label"] if autoj else _annotators(rows.columns)
        words = AUTOJ_WORDS if autoj else PANDALM_WORDS
        text = pl.col("prompt") if autoj else pl.col("instruction")
        taken = ["prompt", first, second, *voters] if autoj else ["instruction", "input", first, second, *voters]
        if not autoj and "input" in rows.columns:
            more = pl.col("input").fill_null("")
            text = pl.when(more != "").then(text + "\n\n" + more).otherwise(text)
        keyed = fanned.keyed(rows, spare=spare_columns(rows, taken))
        said = (
            keyed.with_columns(
                _prompt=message("user", text),
                answer_a=message("assistant", pl.col(first)),
                answer_b=message("assistant", pl.col(second)),
            )
            .select("_key", "meta", "answer_a", "answer_b", *voters, prompt="_prompt")
            .unpivot(voters, index=["_key", "meta", "prompt", "answer_a", "answer_b"], variable_name="annotator")
            .with_columns(
                verdict=pl.col("value").cast(pl.String).replace_strict(words, default="?", return_dtype=pl.String)
            )
            .sort("_key", "annotator")
        )
        pieces = fanned.numbered(said).drop("_key", "key", "value")
        built = from_verdicts(pieces, min_agreement=self.min_agreement)
        kept = pl.concat(
            [built.rows.select(id=pl.col("evidence").str.json_path_match("$.comparison")), built.unmade.select("id")]
        )
        seen = kept.select(_key=pl.col("id").str.split(fanned.SEPARATOR).list.first()).unique()
        merged = keyed.select("_key").join(seen, on="_key", how="anti")
        repeated = merged.with_columns(reasons=pl.lit(["repeated_comparison"], pl.List(pl.String)))
        return fanned.outcome(keyed, built, path="$.comparison", also=[repeated])
