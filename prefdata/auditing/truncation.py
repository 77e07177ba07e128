"""Rows longer than what a trainer reads: it cuts their ends off, or the whole answer.

Tokens are told from bytes, BYTES_PER_TOKEN each, as the tokenizers of Qwen 2.5 and Llama 3 come to in English and
Chinese alike, give or take a fifth; or counted by a tokenizer, where one is named. What a chat template adds (a few
tokens a turn) is not counted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from prefdata.auditing.check import ANSWERED, Check
from prefdata.auditing.dataset import Audited
from prefdata.auditing.finding import Found, Severity
from prefdata.errors import RecipeError
from prefdata.formats.core import answers_of, sides_of
from prefdata.schema import RecordType

BYTES_PER_TOKEN = 4.0

MAX_LENGTH = 1024
"""TRL's default `max_length` of DPO and KTO, in tokens."""

LENGTHS = (512, 1024, 2048, 4096, 8192)
"""Lengths for which the figures are told."""

MOST_TOLD = 1_000
"""Rows of which the lengths are told."""

Tokens = Callable[[pl.Series], pl.Series]
"""Texts -> how many tokens each has."""


def truncation(max_length: int | None = None, *, tokens: Tokens | None = None, tokenizer: str = "") -> Check:
    """The check for a trainer that reads `max_length` tokens of a row, prompt and answer together.

    Without it for MAX_LENGTH; the finding is then minor at most, since a trainer may well be told to read more.
    """
    asked = max_length is not None
    limit = MAX_LENGTH if max_length is None else max_length

    def collected(chunk: pl.DataFrame, record_type: RecordType) -> pl.DataFrame:
        sides = sides_of(record_type)
        counted = chunk.select("row").hstack([_counted(chunk[f"{side}_text"], tokens).alias(side) for side in sides])
        if record_type is RecordType.PREFERENCE:
            counted = counted.with_columns(_same_when_cut(chunk, counted, limit, tokens))
        return counted

    return Check(
        name="truncation",
        family="form",
        title="Rows are longer than the trainer reads",
        why="What is over is cut off: an answer without its end never teaches to stop, and a pair cut on one side only "
        "is compared with a stump. With nothing left of an answer the loss is NaN.",
        cure=f"max_length: {limit * 2}  # of the trainer; or leave the rows out",
        source="LlamaFactory#4617 (one side was not cut), trl#3382 (nothing left of answers)",
        types=ANSWERED,
        collect=collected,
        find=lambda data: _found(data, limit, asked=asked, tokenizer=tokenizer if tokens else None),
        prepare=with_length,
    )


def with_length(check: Check, options: Mapping[str, Any]) -> Check:
    """The check for the `max_length` and the `tokenizer` (name or path) of `options`; estimated where it has none."""
    max_length, tokenizer = options.get("max_length"), options.get("tokenizer")
    if max_length is None and tokenizer is None:
        return check
    if max_length is not None and max_length < 1:
        raise RecipeError(f"max length {max_length}: expected tokens, 1 or more")
    if tokenizer is None:
        return truncation(max_length)
    from trainers.tokens import counter

    count = counter(tokenizer)
    return truncation(
        max_length,
        tokens=lambda texts: pl.Series(count(texts.to_list()), dtype=pl.UInt32),
        tokenizer=Path(tokenizer).name,
    )


def _counted(texts: pl.Series, tokens: Tokens | None) -> pl.Series:
    return (tokens(texts) if tokens else texts.str.len_bytes() / BYTES_PER_TOKEN).cast(pl.UInt32)


def _same_when_cut(chunk: pl.DataFrame, counted: pl.DataFrame, limit: int, tokens: Tokens | None) -> pl.Series:
    """Whether nothing is left by which the sides of a pair differ: what both begin with fills the room that there is.

    A batch reader of the pairs of which a side is cut, and both begin alike. Pairs without room for any answer are not
    counted. Column `same`, Boolean.
    """
    room = limit - counted["prompt"].cast(pl.Int64)
    cut = (counted["chosen"].cast(pl.Int64) > room) | (counted["rejected"].cast(pl.Int64) > room)
    sides = chunk.select("chosen_text", "rejected_text")
    alike = sides.select(pl.col("chosen_text").str.slice(0, 8) == pl.col("rejected_text").str.slice(0, 8)).to_series()
    some = ((room > 0) & cut & alike).arg_true()
    begun = [_beginning(one, other) for one, other in sides[some].iter_rows()]
    common = _counted(pl.Series(begun, dtype=pl.String), tokens).cast(pl.Int64)
    same = pl.Series("same", [False], dtype=pl.Boolean).new_from_index(0, chunk.height)
    return same.scatter(some.filter(common >= room.gather(some)), True)


def _beginning(one: str, other: str) -> str:
    """What both texts begin with, by halving."""
    least, most = 0, min(len(one), len(other))
    while least < most:
        middle = (least + most + 1) // 2
        least, most = (middle, most) if one[:middle] == other[:middle] else (least, middle - 1)
    return one[:least]


def _found(data: Audited, max_length: int, *, asked: bool, tokenizer: str | None) -> Found:
    """Rows of which an answer with its prompt is longer than `max_length`; pairs cut on one side, answers cut whole."""
    rows = data.collected["truncation"]
    answers = answers_of(data.type)
    whole = {side: pl.col("prompt") + pl.col(side) for side in answers}

    def over(length: int) -> pl.Expr:
        return pl.any_horizontal([one > length for one in whole.values()])

    long = rows.filter(over(max_length))
    if not long.height:
        return Found()
    both = pl.all_horizontal([one > max_length for one in whole.values()])
    figures = rows.select(
        (over(max_length) & ~both).sum().alias("one_side"),
        both.sum().alias("both_sides"),
        (pl.col("prompt") >= max_length).sum().alias("prompt_alone"),
        *((one > max_length).sum().alias(f"{side}_cut") for side, one in whole.items()),
        *(over(length).sum().alias(str(length)) for length in LENGTHS),
        (pl.col("same").sum() if "same" in rows.columns else pl.lit(0)).alias("same_when_cut"),
    ).row(0, named=True)
    share, uneven = long.height / data.total, figures["one_side"] / data.total
    bad = (figures["prompt_alone"] + figures["same_when_cut"]) / data.total
    severity = Severity.NOTE
    if share >= 0.5 or uneven >= 0.1 or bad >= 0.02:
        severity = Severity.MAJOR if asked else Severity.MINOR
    elif share >= 0.1 or uneven >= 0.02 or bad >= 0.002:
        severity = Severity.MINOR
    measures = {
        "max_length": max_length,
        "estimated": tokenizer is None,
        **({"tokenizer": tokenizer} if tokenizer else {}),
        "prompt_alone": figures["prompt_alone"],
        "longer_than": {str(length): figures[str(length)] for length in LENGTHS},
    }
    if len(answers) > 1:
        measures |= {
            name: figures[name] for name in ("chosen_cut", "rejected_cut", "one_side", "both_sides", "same_when_cut")
        }
    lengths = long.head(MOST_TOLD).select("row", "prompt", *answers)
    beside = {
        row: "tokens: " + ", ".join(f"{side} {size:,}" for side, size in zip(("prompt", *answers), sizes, strict=True))
        for row, *sizes in lengths.iter_rows()
    }
    return Found(rows=long["row"], measures=measures, severity=severity, beside=beside)


TRUNCATION = truncation()
