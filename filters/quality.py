"""Is this a chat turn worth learning from: the `chat` preset, rules that let short and Chinese replies live.

The web-text filters (Gopher, C4, FineWeb) drop 70-100 % of real agent turns. What is left of them here: no empty
turns, nothing beyond a context window, no noise of symbols, and repetition only where a text is long enough to loop.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import polars as pl

from filters.letters import CJK, PLACEHOLDER, words
from prefdata.errors import RecipeError
from prefdata.judging import Reads, RowFilter, Rule, threshold

ORDINARY = r""".,!?;:'"()\-–—…‘’“”。，、！？；：（）《》「」【】·～¿¡"""
SPECIAL = rf"[^\p{{L}}\p{{M}}\p{{N}}\s{ORDINARY}\p{{Emoji_Presentation}}\x{{FE0F}}\x{{200D}}]"
"""A character that is no letter, digit or space, nor the ordinary punctuation of chat; emoji are ordinary in it."""


@dataclass(frozen=True, kw_only=True)
class ChatQuality:
    """Settings of the filter `chat_quality`. A pseudonym (`<EMAIL_1>`) counts as one ordinary word everywhere."""

    min_words: int = threshold(1)
    """Words of a reply; a Han or kana character counts as one."""
    max_tokens: int = threshold(2048)
    """Approximate tokens of a reply: one a CJK character, one for four other characters, rounded up."""
    min_prompt_words: int = threshold(1)
    """Words of the customer's turn."""
    max_prompt_tokens: int = threshold(2048)
    """Approximate tokens of the customer's turn."""
    min_alphanumeric_ratio: float = threshold(0.3)
    """Share of letters and digits among the characters of a reply that are not white space."""
    max_special_ratio: float = threshold(0.25)
    """Share of special characters among them: neither letters, digits, emoji nor everyday punctuation."""
    max_character_repetition: float = threshold(0.5)
    """Share of repeated character 10-grams (data-juicer)."""
    max_word_repetition: float = threshold(0.5)
    """Share of repeated word 10-grams (data-juicer)."""
    max_top_ngram: float = threshold(0.3)
    """Share of words under the commonest word 3-gram. Gopher's .18 drops 4 % of CrossWOZ's long replies, .3 none."""
    max_prompt_echo: float = threshold(0.0)
    """1 where a reply is the customer's turn over again; 1 as a bound lets that pass."""
    allow_only_placeholder: bool = threshold(False)
    """Whether a reply of nothing but pseudonyms passes."""
    sides: tuple[Literal["completion", "chosen", "rejected"], ...] = ("completion",)
    """The sides of a row that are judged; each with the last customer turn as its prompt."""
    repetition_size: int = 10
    """Characters, and words, of the n-grams above."""
    min_repetition_words: int = 50
    """Repetition is looked for from so many words on: below, saying a thing again is how people talk."""
    min_repetition_chars: int = 300
    """... or from so many characters on, so that one endless word is seen too."""

    def __post_init__(self) -> None:
        faults = [
            f"{name}: {value}, expected a number in [0, 1]"
            for name, value in vars(self).items()
            if isinstance(value, float) and not 0 <= value <= 1
        ]
        faults += [
            f"{name}: {value}, expected {least} at least"
            for name, least in (("min_words", 0), ("min_prompt_words", 0), ("max_tokens", 1), ("max_prompt_tokens", 1))
            if (value := getattr(self, name)) < least
        ]
        if not 2 <= self.repetition_size <= 1000:
            faults.append(f"repetition_size: {self.repetition_size}, expected 2 to 1000")
        if not self.sides:
            faults.append("sides: is empty, expected at least one")
        if faults:
            raise RecipeError(faults)

    def build(self) -> RowFilter:
        """The scorer and a rule for each bound, each with its own reason."""
        rules = {
            "reply_too_short": Rule(column="words", min=self.min_words),
            "reply_too_long": Rule(column="tokens", max=self.max_tokens),
            "prompt_too_short": Rule(column="prompt_words", min=self.min_prompt_words),
            "prompt_too_long": Rule(column="prompt_tokens", max=self.max_prompt_tokens),
            "reply_has_too_few_letters": Rule(column="alphanumeric_ratio", min=self.min_alphanumeric_ratio),
            "reply_has_too_many_symbols": Rule(column="special_ratio", max=self.max_special_ratio),
            "reply_repeats_characters": Rule(column="character_repetition", max=self.max_character_repetition),
            "reply_repeats_words": Rule(column="word_repetition", max=self.max_word_repetition),
            "reply_repeats_a_phrase": Rule(column="top_ngram", max=self.max_top_ngram),
            "reply_repeats_prompt": Rule(column="prompt_echo", max=self.max_prompt_echo),
        }
        if not self.allow_only_placeholder:
            rules["reply_is_only_placeholder"] = Rule(column="only_placeholder", max=0.0)
        scorer = ChatQualityScorer(
            repetition_size=self.repetition_size,
            min_repetition_words=self.min_repetition_words,
            min_repetition_chars=self.min_repetition_chars,
        )
        return RowFilter(name="chat_quality", scorer=scorer, sides=self.sides, rules=rules)


@dataclass(frozen=True, kw_only=True)
class ChatQualityScorer:
    """What the rules of `chat_quality` look at, and one number for all of it."""

    repetition_size: int
    min_repetition_words: int
    min_repetition_chars: int

    name: ClassVar[str] = "chat_quality"
    version: ClassVar[int] = 1
    reads: ClassVar[frozenset[Reads]] = frozenset({"text", "prompt"})
    better: ClassVar[Literal["higher", "lower"]] = "higher"

    def parameters(self) -> Mapping[str, Any]:
        """What repetition is measured on."""
        return {
            "repetition_size": self.repetition_size,
            "min_repetition_words": self.min_repetition_words,
            "min_repetition_chars": self.min_repetition_chars,
        }

    def score(self, items: pl.DataFrame) -> pl.DataFrame:
        """Float32 columns, null where the text they speak of is null; an empty text is judged and has 0 words.

        `chat_quality` in [0, 1], 1 best: the worst of alphanumeric_ratio, 1 - special_ratio, 1 - the three
        repetitions, 1 - prompt_echo; 0 without a word. `words`, `tokens`, `prompt_words`, `prompt_tokens` are counts,
        `prompt_echo` and `only_placeholder` are 0 or 1, the other columns shares in [0, 1]. A share of no characters
        is 1 where it has a lower bound and 0 where it has an upper one: the reason for an empty reply is its length.
        """
        from filters.repetition import repetition

        raw = pl.col("text")
        frame = items.select(
            "text",
            "prompt",
            reply=raw.str.replace_all(PLACEHOLDER, "word"),
            asked=pl.col("prompt").str.replace_all(PLACEHOLDER, "word"),
        )
        reply = pl.col("reply")
        visible = reply.str.count_matches(r"\S")
        counted = frame.select(
            words=words(reply),
            tokens=_tokens(reply),
            prompt_words=words(pl.col("asked")),
            prompt_tokens=_tokens(pl.col("asked")),
            alphanumeric_ratio=(reply.str.count_matches(r"[\p{L}\p{M}\p{N}]") / visible).fill_nan(1.0),
            special_ratio=(reply.str.count_matches(SPECIAL) / visible).fill_nan(0.0),
            only_placeholder=raw.str.contains(PLACEHOLDER)
            & ~raw.str.replace_all(PLACEHOLDER, "").str.contains(r"[\p{L}\p{N}]"),
            prompt_echo=_echo(),
            chars=reply.str.len_chars(),
        )
        long = counted.with_row_index("row").select(
            "row",
            text=frame["reply"],
            long=(pl.col("words") >= self.min_repetition_words) | (pl.col("chars") >= self.min_repetition_chars),
        )
        long = long.filter(pl.col("long").fill_null(False))
        repeated = long.select("row").hstack(repetition(long["text"], size=self.repetition_size))
        shares = ["character_repetition", "word_repetition", "top_ngram"]
        whole = counted.with_row_index("row").join(repeated, on="row", how="left", maintain_order="left")
        judged = pl.col("words").is_not_null()
        whole = whole.with_columns(pl.when(judged).then(pl.col(shares).fill_null(0.0)))
        worst = pl.min_horizontal(
            "alphanumeric_ratio", 1 - pl.col("special_ratio"), *(1 - pl.col(name) for name in shares)
        )
        main = pl.when(pl.col("words") == 0).then(0.0).otherwise(worst - pl.col("prompt_echo").fill_null(0.0))
        return whole.select(
            pl.when(judged).then(main.clip(0.0, 1.0)).alias("chat_quality"),
            "words",
            "tokens",
            "prompt_words",
            "prompt_tokens",
            "alphanumeric_ratio",
            "special_ratio",
            *shares,
            "prompt_echo",
            "only_placeholder",
        ).cast(pl.Float32)


def _tokens(text: pl.Expr) -> pl.Expr:
    """Approximate tokens: tells a pasted document from a reply; what fits a window is the trainer's to count."""
    wide = text.str.count_matches(rf"[{CJK}\p{{Hangul}}]")
    return wide + ((text.str.len_chars() - wide) / 4).ceil().cast(pl.UInt32)


def _echo() -> pl.Expr:
    """1 where reply and prompt are the same but for case, space and punctuation, and say more than a greeting does.

    A greeting or thanks is answered in kind: under 20 bytes (20 Latin letters, 7 Han) nothing is an echo.
    """
    only = r"[^\p{L}\p{M}\p{N}]"
    reply = pl.col("text").str.to_lowercase().str.replace_all(only, "")
    prompt = pl.col("prompt").str.to_lowercase().str.replace_all(only, "")
    return ((reply == prompt) & (reply.str.len_bytes() >= 20)).cast(pl.Float64)
