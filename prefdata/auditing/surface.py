"""What can be seen of an answer without understanding it: length, script, markdown, emoji, how it begins and ends.

Each kind of mark is a block, a matrix with a row a text; two answers of a pair are compared by the difference of
their rows. Import this module where it is used, inside functions: it needs scipy.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from scipy import sparse

from prefdata.auditing.bags import MAX_CHARS, WORD, Bag
from prefdata.auditing.content import HEAD_CHARS, REFUSAL
from prefdata.auditing.statistics import Floats

APOLOGY = (
    r"(?i)^\W*(?:no,?\s+|oh,?\s+)?(?:(?:i[’']?\s?a?m|we[’']?\s?a?re)\s+(?:(?:so|very|really|truly|terribly)\s+)?sorry\b"
    r"|(?:i|we)\s+(?:sincerely\s+|do\s+)?(?:apologi[sz]e|regret)\b|(?:so\s+)?sorry\b|(?:my )?apologies\b"
    r"|unfortunately\b|as an? (?:ai|artificial intelligence|(?:large )?language model)\b"
    r"|(?:非常|十分|很|实在)?(?:抱歉|对不起|不好意思|遗憾)|作为(?:一个|一名|一款)?(?:人工智能|AI|语言模型)"
    r"|申し訳|すみません|lo siento|lamento|(?:je suis )?désolé|(?:es )?tut mir leid|leider\b)"
)
"""How apologies begin, in English and Chinese, and the commonest of a few languages more."""

MARKDOWN = {
    "heading": r"(?m)^#{1,6} ",
    "bullet": r"(?m)^[ \t]*[-*+•] ",
    "number": r"(?m)^[ \t]*\d{1,2}[.)、] ?",
    "bold": r"\*\*\S|__\S",
    "fence": r"(?m)^[ \t]*```",
    "code": r"`[^`\n]+`",
    "table": r"(?m)^\|",
    "link": r"\]\(",
    "paragraph": r"\n\s*\n",
}

_SCRIPTS = ("Latin", "Han", "Hiragana", "Katakana", "Hangul", "Cyrillic", "Arabic", "Hebrew", "Greek", "Thai")
_COMMON = {
    "en": "the and of to is in that it you for are with",
    "de": "der die und das ist nicht ein ich mit sie zu den",
    "fr": "le la les et des est une pour que dans vous pas",
    "es": "el los que y una es por con para del las se",
    "pt": "o os que e uma não por com para do em você",
    "it": "il che di e una è per con non sono della gli",
}
"""Frequent words, by which languages of one script are told apart."""
_EMOJI = r"^[\p{Extended_Pictographic}--\p{ASCII}--[©®™]]$"
_KNOTS = (0.1, 0.25, 0.5, 0.75, 0.9)
_MOST = 300
"""Different openings that are told apart."""


def length(texts: pl.Series) -> Floats:
    """The logarithm of the characters, and by how much it lies above quantiles of it: any smooth law of length."""
    chars = np.log1p(texts.str.len_chars().to_numpy().astype(np.float64))
    knots = np.unique(np.quantile(chars, _KNOTS)) if len(chars) else np.empty(0)
    return np.column_stack([chars, *(np.maximum(0.0, chars - knot) for knot in knots)])


def script(bag: Bag) -> Floats:
    """The share of the words in each script, and of the frequent words of some languages."""
    names = pl.DataFrame({"word": bag.words})
    classes = [pl.col("word").str.contains(rf"\p{{{name}}}").cast(pl.Float64).alias(name) for name in _SCRIPTS]
    common = [pl.col("word").is_in(words.split()).cast(pl.Float64).alias(name) for name, words in _COMMON.items()]
    counts = np.asarray(bag.counts @ names.select(*classes, *common).to_numpy())
    total = np.maximum(1.0, np.asarray(bag.counts.sum(axis=1)).reshape(-1, 1))
    return np.asarray(counts / total, dtype=np.float64)


def emoji(bag: Bag) -> Floats:
    """The logarithm of the number of emoji, and whether there is one."""
    classes = bag.words.str.contains(_EMOJI).to_numpy().astype(np.float64)
    counts = np.asarray(bag.counts @ classes)
    return np.column_stack([np.log1p(counts), counts > 0]).astype(np.float64)


def markdown(texts: pl.Series) -> Floats:
    """The logarithm of the number of each mark of `MARKDOWN`."""
    cut = pl.col("text").str.slice(0, MAX_CHARS)
    marks = [cut.str.count_matches(pattern).cast(pl.Float64).log1p().alias(name) for name, pattern in MARKDOWN.items()]
    return pl.DataFrame({"text": texts}).select(marks).to_numpy()


def refusal(texts: pl.Series) -> Floats:
    """Whether it begins by refusing (as the check `refusals` has it), and whether by an apology."""
    marks = pl.DataFrame({"text": texts}).select(
        pl.col("text").str.slice(0, HEAD_CHARS).str.contains(REFUSAL).cast(pl.Float64).alias("refusal"),
        pl.col("text").str.slice(0, 60).str.contains(APOLOGY).cast(pl.Float64).alias("apology"),
    )
    return marks.to_numpy()


def first_words(texts: pl.Series) -> Any:
    """The first word, and the first two, of those that at least five texts begin with: sparse, texts by openings."""
    words = texts.str.slice(0, 60).str.to_lowercase().str.extract_all(WORD)
    one = pl.DataFrame({"one": words.list.get(0, null_on_oob=True), "two": words.list.slice(0, 2).list.join(" ")})
    return sparse.hstack([one_hot(one["one"]), one_hot(one["two"])]).tocsr()


def ending(texts: pl.Series) -> Any:
    """The last sign, where it is no letter or digit: shows answers that were cut. Sparse, texts by signs."""
    last = texts.str.strip_chars_end().str.slice(-1)
    kind = pl.DataFrame({"last": last}).select(
        pl.when(pl.col("last").str.contains(r"^[\p{L}\p{M}]$"))
        .then(pl.lit("letter"))
        .when(pl.col("last").str.contains(r"^\p{N}$"))
        .then(pl.lit("digit"))
        .otherwise("last")
        .alias("last")
    )
    return one_hot(kind["last"])


def one_hot(values: pl.Series, *, least: int = 5) -> Any:
    """A column for each of the most frequent values that come `least` times; null and rare ones give zeros."""
    named = values.rename("value")
    counts = named.drop_nulls().value_counts(name="count").filter(pl.col("count") >= least)
    kept = counts.sort("count", "value", descending=[True, False]).head(_MOST).select("value").with_row_index("column")
    where = named.to_frame().with_row_index("row").join(kept, on="value", how="inner").sort("row")
    at = where["row"].to_numpy(), where["column"].to_numpy()
    return sparse.csr_matrix((np.ones(where.height), at), shape=(len(values), kept.height))
