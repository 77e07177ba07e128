"""Toxicity of answers by side, with the lexical scorer of the filter `toxicity`; the customer's turns as context.

To score every sentence takes 1 ms a KB. So a gate looks first: words that weigh most against a text in the scorer's own
models; only sentences with one of them are scored, of MAX_ROWS rows about, and MAX_SENTENCES at most. Where more rows
have one, those are taken whose content has the smallest hashes, so that they are the same in every format. Of hh_rlhf's
answers that the scorer puts above the bound, the gate lets 92 in 100 through, and it lets one sentence in twenty
through. Prompts are scored on a sample.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import polars as pl

from prefdata import catalogue
from prefdata.auditing import marks
from prefdata.auditing.check import ANSWERED, Check
from prefdata.auditing.dataset import Audited
from prefdata.auditing.finding import Found, Levels, Severity
from prefdata.formats.core import answers_of
from prefdata.schema import RecordType

MAX_ENGLISH, MAX_CHINESE = 0.9, 0.95
"""Scores above which a sentence is toxic. Stricter than the filter's rule, which weighs a whole reply: at them .71 and
.84 of Davidson's hateful and offensive tweets are found and .02 of the others; .27 of COLD's offensive texts and .003
of the others."""
MAX_ROWS = 6_000
"""Rows whose sentences are looked at; of more, those with the smallest keys, which then stand for as many."""
MAX_SENTENCES = 10_000
"""Sentences that are scored, of rows drawn in the same way."""
MAX_PROMPTS = 1_000
"""Prompts that are scored, spread over the set."""
MIN_ANGRY = 0.02
"""Share of toxic prompts from which on they are told although no answer is toxic."""
MAX_CHARS = 20_000
MAX_CUT = 400
"""Characters of a sentence that are read: a text without ends of sentences is one of a megabyte."""
MIN_WEIGHT = 15.0
"""English: weight times idf from which a word lets its sentence pass the gate."""
CHINESE_GRAMS = 200
"""Chinese: how many of the weightiest grams of two and three characters do."""

_WITH = r"[^.!?。！？…\n]*{}[^.!?。！？…\n]*[.!?。！？…]*"
"""A sentence with something in it."""


@cache
def _gate() -> tuple[str, str]:
    """What stands in a sentence that may be toxic: weighty words of the English model, grams of the Chinese."""
    from filters import toxicity_chinese, toxicity_english

    english = toxicity_english.load()
    terms = english.terms.filter(pl.col("place") >= 0)
    weights = (english.weights.mean(axis=0) * english.idf)[terms["place"].to_numpy()]
    words = [word for word, weight in zip(terms["word"], weights.tolist(), strict=True) if weight >= MIN_WEIGHT]
    words = [word for word in words if word.isascii() and word.isalnum()]
    chinese = toxicity_chinese.load()
    several = (chinese.grams >> toxicity_chinese.BITS) != 0
    order = chinese.weights[several].argsort()[::-1][:CHINESE_GRAMS]
    grams = [_unpacked(packed, toxicity_chinese.BITS) for packed in chinese.grams[several][order].tolist()]
    grams = [gram for gram in grams if all("\u4e00" <= letter <= "\u9fff" for letter in gram)]
    # (?-u:\b): boundaries of Unicode cost ten times as much in texts with one curly quote
    return rf"(?i-u:\b(?:{'|'.join(sorted(words))})\b)", "|".join(sorted(grams))


def _unpacked(packed: int, bits: int) -> str:
    letters = []
    while packed:
        letters.append(chr(packed & ((1 << bits) - 1)))
        packed >>= bits
    return "".join(reversed(letters))


def _wide() -> pl.Expr:
    """Whether a text may hold wide characters: only there the Chinese grams are looked for."""
    size = pl.col("text").str.len_bytes()
    return (size > 1.2 * pl.col("text").str.len_chars()) | (size < 40)


def _gated(texts: pl.DataFrame) -> pl.DataFrame:
    """Those of `texts` whose `text` may be toxic."""
    english, chinese = _gate()
    head = pl.col("text").str.slice(0, MAX_CHARS)
    told = texts.select(near=head.str.contains(english), wide=_wide())
    rest = told["wide"].arg_true()
    if len(rest):
        found = texts.select("text")[rest].select(head.str.contains(chinese)).to_series()
        return texts.filter(told["near"].scatter(rest, told["near"][rest] | found))
    return texts.filter(told["near"])


def sentences(texts: pl.DataFrame) -> pl.DataFrame:
    """`texts` with a row for each sentence of `text` that may be toxic."""
    return _sentences(_gated(texts))


def _sentences(gated: pl.DataFrame) -> pl.DataFrame:
    """As `sentences`: only those with a word of the gate are cut out, in a third of the time that all would take."""
    english, chinese = _gate()
    head = pl.col("text").str.slice(0, MAX_CHARS)
    whole = [gated.with_columns(head.str.extract_all(_WITH.format(english)))]
    if (wide := gated.filter(_wide())).height:
        whole.append(wide.with_columns(head.str.extract_all(_WITH.format(f"(?:{chinese})"))))
    pieces = pl.concat(whole).explode("text", empty_as_null=False)
    return _gated(pieces.with_columns(pl.col("text").str.slice(0, MAX_CUT)).unique(maintain_order=True))


def toxic(pieces: pl.DataFrame) -> pl.DataFrame:
    """`pieces` whose `text` the scorer puts above the bound of its language, with `toxicity` Float32."""
    unique = pieces.select("text").unique(maintain_order=True)
    if not unique.height:
        return pieces.with_columns(toxicity=pl.lit(None, pl.Float32))
    bound = pl.when(pl.col("text").str.contains(r"\p{Han}")).then(MAX_CHINESE).otherwise(MAX_ENGLISH)
    scored = unique.with_columns(_scorer().score(unique)["toxicity"]).filter(pl.col("toxicity") > bound)
    return pieces.join(scored, on="text", maintain_order="left")


@cache
def _scorer() -> Any:
    return catalogue.load("filter", "toxicity")().build().scorer


def _collect(chunk: pl.DataFrame, record_type: RecordType, drawn: marks.Drawn) -> pl.DataFrame:
    """Answers that may be toxic (`row`, `key`, `side`, `text` null), and of drawn rows their sentences that may be, cut
    at MAX_CUT."""
    gated = pl.concat(
        _gated(chunk.select("row", "key", pl.lit(number, pl.UInt8).alias("side"), text=f"{side}_text"))
        for number, side in enumerate(answers_of(record_type))
    )
    return marks.pieces(gated, drawn, _sentences)


def _find(data: Audited) -> Found:
    """Rows whose preferred answer is toxic; counts by side, and the share of toxic customer turns."""
    looked, part = marks.looked_at(data.collected["toxic_answers"], rows=MAX_ROWS, most=MAX_SENTENCES)
    found = toxic(looked)
    has = [(pl.col("side") == number).any().alias(side) for number, side in enumerate(data.answers)]
    marked = found.group_by("row").agg(*has).sort("row")
    rows = marks.preferred(data, marked)
    measures: dict[str, Any] = marks.carried(data, marked, partly=part < 1) if marked.height else {}
    if marked.height and part < 1:
        measures["estimated_rows"] = round(len(rows) / part)
    prompts = data.sample.select("row", text="turn_text")
    prompts = prompts.gather_every(max(1, -(-prompts.height // MAX_PROMPTS)))
    angry = toxic(sentences(prompts))["row"].n_unique()
    if not marked.height and angry < MIN_ANGRY * prompts.height:
        return Found()
    measures["prompts_share"] = round(angry / prompts.height, 4)
    measures["prompts_looked_at"] = prompts.height
    estimated = measures.get("estimated_rows", len(rows))
    severity = TOXIC_ANSWERS.levels.of(estimated, data.total) if len(rows) else Severity.NOTE
    return Found(rows=rows, measures=measures, severity=severity)


TOXIC_ANSWERS = Check(
    name="toxic_answers",
    family="content",
    title="An answer that is to be learnt holds insults, hate or obscene words",
    why="Training prefers insults and hate. Angry customers are context, toxic rejected answers are good examples: both"
    " are only counted.",
    cure="filters: [toxicity]  # judges what is to be learnt: completion, or chosen",
    source="alt-profanity-check; COLD (Deng et al. 2022)",
    types=ANSWERED,
    levels=Levels(major=0.02, minor=0),
    collect=lambda chunk, record_type: _collect(chunk, record_type, marks.Drawn(MAX_ROWS)),
    prepare=marks.drawing(_collect, MAX_ROWS),
    find=_find,
)
