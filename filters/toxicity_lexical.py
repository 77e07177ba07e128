"""The embedded toxicity scorer: each text goes to the model of its script, a mixed one to both."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import polars as pl

from filters.letters import han_letters, letters, without_placeholders
from prefdata.judging import Reads

BATCH_ROWS = 1024
"""Texts scored at once: bounds the memory of the gram tables, changes no score."""
MAX_CHARS = 20_000
"""What stands behind is not read: no agent's turn is that long, a pasted file is."""

SENTENCE = r"[^.!?。！？…\n]+[.!?。！？…]*"
"""A piece between ends of sentences. One insult at the end of a polite paragraph scores .34 in the whole, 1.0 alone."""


@dataclass(frozen=True, kw_only=True)
class LexicalToxicity:
    """Words and character grams under a linear model: English and Chinese, no network, no torch.

    A text scores as the worst of its sentences and of itself as a whole. Against the whole alone that costs .005 to
    .013 of AUC on tweets and comments, and one agent turn of SGD's 10,831; it finds what a long reply dilutes.

    An English sentence in which one ambiguous word stands against a polite rest scores at most .79, a word cut off by
    "..." is not read where it could go on harmlessly: see toxicity_ambiguous.py.

    Measured on texts that neither model was trained on: see benchmarks/toxicity.py. At chance on hate without hateful
    words, weak on provoking prompts to assistants; where those matter, take `model: detoxify`.
    """

    min_script_ratio: float
    """A model is asked where at least this share of a text's letters is of its script."""

    name: ClassVar[str] = "toxicity"
    version: ClassVar[int] = 2
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
        from filters import toxicity_ambiguous, toxicity_english

        text = without_placeholders(pl.col("text").fill_null("").str.slice(0, MAX_CHARS))
        texts = toxicity_ambiguous.without_cut_off_word(items.select(text=text)["text"], toxicity_english.load())
        whole = pl.DataFrame({"row": range(texts.len()), "text": texts}, schema_overrides={"row": pl.Int64})
        sentences = whole.with_columns(pl.col("text").str.extract_all(SENTENCE)).filter(pl.col("text").list.len() > 1)
        pieces = pl.concat([whole, sentences.explode("text")])
        unique = pieces.select("text").unique(maintain_order=True)
        scores = pieces.join(unique.hstack(self._pieces(unique["text"])), on="text", how="left")
        worst = scores.group_by("row").agg(pl.col("english", "chinese").max()).sort("row")
        known = [pl.when(pl.col(name).is_not_null()).then(pl.lit(name)) for name in ("english", "chinese")]
        return worst.select(
            toxicity=pl.max_horizontal("english", "chinese").cast(pl.Float32),
            model=pl.concat_str(known, separator="+", ignore_nulls=True).replace("", None),
        )

    def _pieces(self, texts: pl.Series) -> pl.DataFrame:
        """`english`, `chinese`: the probability by each model that is asked and knows something of the text."""
        from filters import toxicity_ambiguous, toxicity_chinese, toxicity_english

        def english(texts: pl.Series) -> Any:
            return toxicity_ambiguous.tempered(texts, toxicity_english.load(), toxicity_english.probabilities)

        def chinese(texts: pl.Series) -> Any:
            return toxicity_chinese.probabilities(texts, toxicity_chinese.load())

        text, latin = pl.col("text"), pl.col("text").str.count_matches("[A-Za-z]")
        enough = self.min_script_ratio * letters(text)
        asked = texts.to_frame("text").select(
            "text",
            chinese=(han_letters(text) > 0) & (han_letters(text) >= enough),
            english=(latin > 0) & (latin >= enough),
        )
        return pl.DataFrame(
            {
                "english": _where(asked, "english", english),
                "chinese": _where(asked, "chinese", chinese),
            }
        )


def _where(frame: pl.DataFrame, column: str, probabilities: Callable[[pl.Series], Any]) -> pl.Series:
    """Probabilities of the rows that `column` says are of the model's script, null elsewhere."""
    asked = frame.with_row_index("row").filter(pl.col(column))
    found = pl.DataFrame(
        {"row": asked["row"], "score": pl.Series(probabilities(asked["text"]), dtype=pl.Float64)}
    ).with_columns(pl.col("score").fill_nan(None))
    return frame.with_row_index("row").join(found, on="row", how="left", maintain_order="left")["score"]
