"""Text features of an answered turn for the fitted combiner: n-grams, what each turn does, how the turns relate.

Counted once over the rated rows; what a fold may know of them (vocabulary, document frequencies) is cut out of the
counts by its training rows. Fitting belongs to satisfaction.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from prefdata.logs import lexicons
from prefdata.logs.overlap import words
from prefdata.logs.signals import SIGNALS

_TOKEN = r"[^\W_\u3400-\u9fff]+(?:'\w+)?|[\u3400-\u9fff]|[?!.,？！。，^$]"
"""A Latin word, one Chinese character, a mark of punctuation, or an end of the text."""

CUSTOMER_ACTS = (
    "thanks",
    "praise",
    "acceptance",
    "refusal",
    "correction",
    "request_other",
    "complaint",
    "escalation",
    "closing",
)
AGENT_ACTS = ("confirms", "more", "proposes", "asks", "finds", "result", "failure", "closes")

SIGNAL_FEATURES = tuple(signal.name for signal in SIGNALS if not signal.rating)
"""Signals that the model sees: all but the ratings, which it learns to foretell."""

RELATIONS = (
    "after_words",
    "reply_words",
    "before_words",
    "after_in_reply",
    "reply_in_after",
    "after_in_before",
    "after_questions",
    "reply_questions",
    "before_questions",
    "after_exclamations",
    "reply_exclamations",
    "after_short",
    "reply_asks_last",
    "after_asks_last",
    "after_numbers",
    "numbers_shared",
    "numbers_new",
    "first_turn",
)


class Block(NamedTuple):
    """One set of n-grams: the text that it reads, and how it is cut."""

    column: str
    analyzer: str
    low: int
    high: int


BLOCKS: dict[str, Block] = {
    "after": Block("after", "word", 1, 2),
    "reply": Block("reply", "word", 1, 2),
    "before": Block("before", "word", 1, 2),
    "after_masked": Block("after_masked", "word", 1, 3),
    "reply_masked": Block("reply_masked", "word", 1, 3),
    "before_masked": Block("before_masked", "word", 1, 3),
    "after_first": Block("after_first", "word", 1, 3),
    "after_last": Block("after_last", "word", 1, 3),
    "reply_last": Block("reply_last", "word", 1, 3),
    "after_chars": Block("after", "char_wb", 2, 5),
    "acts": Block("acts", "act", 1, 1),
}


def masked(text: pl.Expr) -> pl.Expr:
    """`text` with numbers, dates, pseudonyms and names (capitals inside a sentence) replaced by their kinds."""
    day = (
        "january|february|march|april|may|june|july|august|september|october|november|december|monday|tuesday|"
        "wednesday|thursday|friday|saturday|sunday|today|tomorrow|yesterday|tonight"
    )
    return (
        text.str.replace_all(r"<[A-Z_]+_\d+>", " ENTITY ")
        .str.replace_all(r"([a-z,;] )[A-Z][\w']*(?: (?:of|the|at|and|&|[A-Z])[\w']*)*", "${1}ENTITY")
        .str.replace_all(r"[$€£¥]?\d[\d:.,]*(?:st|nd|rd|th|am|pm)?", "NUMBER")
        .str.replace_all(rf"(?i)\b(?:{day})\b", "DAY")
    )


def prepare(rows: pl.DataFrame) -> pl.DataFrame:
    """The columns that blocks read, the signal features and the relations; no nulls."""
    texts = rows.select(
        *(pl.col(name).fill_null("").alias(short) for name, short in _SHORT.items()),
        *(pl.col(name).cast(pl.Float64).fill_null(0.0) if name in rows.columns else pl.lit(0.0).alias(name)
          for name in SIGNAL_FEATURES),
    )  # fmt: skip
    texts = texts.with_columns(masked(pl.col(short)).alias(f"{short}_masked") for short in _SHORT.values())
    ends = r"[.!?,。！？，]"
    texts = texts.with_columns(
        pl.col("after_masked").str.extract(rf"^(.*?{ends})(?:\s|$|[\u3400-\u9fff])", 1).alias("after_first"),
        pl.col("after_masked").str.extract(r"([^.!?。！？]*[.!?。！？]*)\s*$", 1).fill_null("").alias("after_last"),
        pl.col("reply_masked").str.extract(r"([^.!?。！？]*[.!?。！？]*)\s*$", 1).fill_null("").alias("reply_last"),
    ).with_columns(pl.coalesce("after_first", "after_masked"))
    return texts.with_columns(_acts(texts), *_relations())


_SHORT = {"customer_after": "after", "reply": "reply", "customer_before": "before"}


def _acts(texts: pl.DataFrame) -> pl.Series:
    """What agent and customer do, and every pair of them, as one text of names."""
    found: dict[str, list[str]] = {}
    for side, acts in (("after", CUSTOMER_ACTS), ("before", CUSTOMER_ACTS), ("reply", AGENT_ACTS)):
        plain = lexicons.plain(pl.col(side))
        lists = {name: f"reply_{name}" if side == "reply" else name for name in acts}
        tags = []
        for name, file in lists.items():
            items = lexicons.word_list(file)
            heard = lexicons.without(plain, items.exceptions)
            for tag, some in ((name, items.entries + items.hints), (f"{name}_hint", items.hints)):
                if some:
                    tags.append(pl.when(heard.str.contains(lexicons.pattern(some))).then(pl.lit(tag)))
        tags += [
            pl.when(pl.col(side).str.contains(r"[?？]")).then(pl.lit("question")),
            pl.when(pl.col(side).str.contains(r"\d")).then(pl.lit("number")),
            pl.when(pl.col(side) == "").then(pl.lit("silence")),
        ]
        joined = pl.concat_list(tags).list.drop_nulls().list.join(" ")
        found[side] = texts.select(pl.when(joined == "").then(pl.lit("says")).otherwise(joined))[
            joined.meta.output_name()
        ].to_list()
    lines = []
    for after, before, reply in zip(found["after"], found["before"], found["reply"], strict=True):
        done, asked, answered = after.split(), before.split(), reply.split()
        names = [f"customer:{act}" for act in done] + [f"agent:{act}" for act in answered]
        names += [f"before:{act}" for act in asked]
        names += [f"agent:{left}+customer:{right}" for left in answered for right in done]
        names += [f"before:{left}+customer:{right}" for left in asked for right in done]
        lines.append(" ".join(names))
    return pl.Series("acts", lines, dtype=pl.String)


def _relations() -> list[pl.Expr]:
    after, reply, before = pl.col("after"), pl.col("reply"), pl.col("before")

    def length(text: pl.Expr) -> pl.Expr:
        return text.str.count_matches(r"[A-Za-z0-9']+|\p{Han}").cast(pl.Float64)

    def share(left: pl.Expr, right: pl.Expr) -> pl.Expr:
        """Share of the words of `left` that are in `right`, too."""
        return words(left).list.set_intersection(words(right)).list.len() / words(left).list.len().clip(1)

    numbers = [side.str.extract_all(r"\d+").list.unique() for side in (after, reply)]
    return [
        expression.cast(pl.Float64).alias(name)
        for name, expression in {
            "after_words": length(after).log1p(),
            "reply_words": length(reply).log1p(),
            "before_words": length(before).log1p(),
            "after_in_reply": share(after, reply),
            "reply_in_after": share(reply, after),
            "after_in_before": share(after, before),
            "after_questions": after.str.count_matches(r"[?？]").clip(0, 3),
            "reply_questions": reply.str.count_matches(r"[?？]").clip(0, 3),
            "before_questions": before.str.count_matches(r"[?？]").clip(0, 3),
            "after_exclamations": after.str.count_matches("[!！]").clip(0, 3),
            "reply_exclamations": reply.str.count_matches("[!！]").clip(0, 3),
            "after_short": length(after) <= 3,
            "reply_asks_last": reply.str.contains(r"[?？]\s*$"),
            "after_asks_last": after.str.contains(r"[?？]\s*$"),
            "after_numbers": numbers[0].list.len().clip(0, 4),
            "numbers_shared": numbers[0].list.set_intersection(numbers[1]).list.len().clip(0, 4),
            "numbers_new": numbers[0].list.set_difference(numbers[1]).list.len().clip(0, 4),
            "first_turn": reply == "",
        }.items()
    ]


def _marked(texts: Sequence[str]) -> list[str]:
    return [f"^ {text} $" for text in texts]


class Counted(NamedTuple):
    """Counts of every block over some rows, and the dense features."""

    counts: dict[str, Any]
    """Block name -> sparse (rows, n-grams)."""
    dense: NDArray[np.float64]
    """(rows, signals + relations)"""


class Counter:
    """Counts n-grams; its vocabulary is that of the rows it was made from."""

    def __init__(self, prepared: pl.DataFrame, *, min_rows: int) -> None:
        from sklearn.feature_extraction.text import CountVectorizer

        self.vectorizers = {}
        self.first: dict[str, Any] = {}
        for name, block in BLOCKS.items():
            options: dict[str, Any] = {"min_df": min_rows, "ngram_range": (block.low, block.high), "dtype": np.float64}
            if block.analyzer == "act":
                options.update(token_pattern=r"\S+", lowercase=False)
            elif block.analyzer == "word":
                options.update(token_pattern=_TOKEN)
            else:
                options.update(analyzer=block.analyzer)
            vectorizer = CountVectorizer(**options)
            self.first[name] = vectorizer.fit_transform(_marked(prepared[block.column].to_list())).tocsr()
            self.vectorizers[name] = vectorizer

    def counted(self, prepared: pl.DataFrame) -> Counted:
        """The counts of other rows, over this vocabulary."""
        counts = {
            name: self.vectorizers[name].transform(_marked(prepared[block.column].to_list())).tocsr()
            for name, block in BLOCKS.items()
        }
        return Counted(counts, dense(prepared))


def dense(prepared: pl.DataFrame) -> NDArray[np.float64]:
    """Signals and relations, (rows, features)."""
    return prepared.select(*SIGNAL_FEATURES, *RELATIONS).to_numpy().astype(np.float64)
