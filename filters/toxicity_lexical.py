"""The embedded toxicity scorer: each text goes to the model of its script, a mixed one to both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import polars as pl

from filters.letters import han_letters, letters, without_placeholders
from prefdata.judging import Reads

BATCH_ROWS = 4096
"""Texts scored at once: bounds the memory of the gram tables, changes no score."""


@dataclass(frozen=True, kw_only=True)
class LexicalToxicity:
    """Words and character grams under a linear model: English and Chinese, no network, no torch.

    Measured on texts that neither model was trained on: see benchmarks/toxicity.py. At chance on hate without hateful
    words, weak on provoking prompts to assistants; where those matter, take `model: detoxify`.
    """

    min_script_ratio: float
    """A model is asked where at least this share of a text's letters is of its script."""

    name: ClassVar[str] = "toxicity"
    version: ClassVar[int] = 1
    reads: ClassVar[frozenset[Reads]] = frozenset({"text"})
    better: ClassVar[Literal["higher", "lower"]] = "lower"

    def parameters(self) -> Mapping[str, Any]:
        """Which models, by the hashes of their files."""
        from filters import toxicity_chinese, toxicity_english

        return {
            "model": "lexical",
            "min_script_ratio": self.min_script_ratio,
            "english": toxicity_english.load().sha256,
            "chinese": toxicity_chinese.load().sha256,
        }

    def score(self, items: pl.DataFrame) -> pl.DataFrame:
        """`toxicity` Float32 in [0, 1], 1 most toxic; `model` String: "english", "chinese" or "english+chinese".

        Null where a text has no word, or no character gram, that a model knows: another language, digits, nothing.
        """
        parts = [self._score(batch) for batch in items.select("text").iter_slices(BATCH_ROWS)]
        return pl.concat(parts) if parts else self._score(items.select("text"))

    def _score(self, items: pl.DataFrame) -> pl.DataFrame:
        from filters import toxicity_chinese, toxicity_english

        text = without_placeholders(pl.col("text").fill_null(""))
        frame = items.select(text=text).with_columns(all=letters(pl.col("text")), han=han_letters(pl.col("text")))
        enough = self.min_script_ratio * pl.col("all")
        frame = frame.select(
            "text",
            chinese=(pl.col("han") > 0) & (pl.col("han") >= enough),
            english=pl.col("text").str.contains("[A-Za-z]") & (pl.col("text").str.count_matches("[A-Za-z]") >= enough),
        )
        scores = pl.DataFrame(
            {
                "english": _where(frame, "english", toxicity_english),
                "chinese": _where(frame, "chinese", toxicity_chinese),
            }
        )
        return scores.select(
            toxicity=pl.max_horizontal("english", "chinese").cast(pl.Float32),
            model=pl.when(pl.col("english").is_not_null() & pl.col("chinese").is_not_null())
            .then(pl.lit("english+chinese"))
            .when(pl.col("english").is_not_null())
            .then(pl.lit("english"))
            .when(pl.col("chinese").is_not_null())
            .then(pl.lit("chinese")),
        )


def _where(frame: pl.DataFrame, column: str, module: Any) -> pl.Series:
    """Probabilities of the rows that `column` says are of the model's script, null elsewhere."""
    asked = frame.with_row_index("row").filter(pl.col(column))
    found = pl.DataFrame(
        {"row": asked["row"], "score": pl.Series(module.probabilities(asked["text"], module.load()), dtype=pl.Float64)}
    ).with_columns(pl.col("score").fill_nan(None))
    return frame.with_row_index("row").join(found, on="row", how="left", maintain_order="left")["score"]
