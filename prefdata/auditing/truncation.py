"""Rows longer than what a trainer reads: it cuts their ends off, or the whole answer.

Tokens are told from bytes, BYTES_PER_TOKEN each, as the tokenizers of Qwen 2.5 and Llama 3 come to in English and
Chinese alike, give or take a fifth; or counted by `tokens`, where a tokenizer is at hand.
"""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from prefdata.auditing.check import ANSWERED, Check
from prefdata.auditing.dataset import Audited
from prefdata.auditing.finding import Found, Severity
from prefdata.formats.core import answers_of, sides_of
from prefdata.schema import RecordType

BYTES_PER_TOKEN = 4.0

MAX_LENGTH = 1024
"""TRL's default `max_length` of DPO and KTO, in tokens."""

LENGTHS = (512, 1024, 2048, 4096, 8192)
"""Lengths for which the figures are told."""

Tokens = Callable[[pl.Series], pl.Series]
"""Texts -> how many tokens each has."""


def truncation(max_length: int | None = None, *, tokens: Tokens | None = None) -> Check:
    """The check for a trainer that reads `max_length` tokens of a row, prompt and answer together.

    Without it for MAX_LENGTH; the finding is then minor at most, since a trainer may well be told to read more.
    """
    asked = max_length is not None
    max_length = MAX_LENGTH if max_length is None else max_length

    def collected(chunk: pl.DataFrame, record_type: RecordType) -> pl.DataFrame:
        counted = [
            (tokens(chunk[f"{side}_text"]) if tokens else chunk[f"{side}_text"].str.len_bytes() / BYTES_PER_TOKEN)
            .cast(pl.UInt32)
            .alias(side)
            for side in sides_of(record_type)
        ]
        return chunk.select("row").hstack(counted)

    return Check(
        name="truncation",
        family="form",
        title="Rows are longer than the trainer reads",
        why="What is over is cut off: an answer without its end never teaches to stop, and a pair cut on one side only "
        "is compared with a stump. With nothing left of an answer the loss is NaN.",
        cure=f"max_length: {max_length * 2}  # of the trainer; or leave the rows out",
        source="LlamaFactory#4617 (one side was not cut), trl#3382 (nothing left of answers)",
        types=ANSWERED,
        collect=collected,
        find=lambda data: _found(data, max_length, estimated=tokens is None, asked=asked),
    )


def _found(data: Audited, max_length: int, *, estimated: bool, asked: bool) -> Found:
    """Rows of which an answer with its prompt is longer than `max_length`; pairs cut on one side, answers cut whole."""
    rows = data.collected["truncation"]
    answers = answers_of(data.type)
    whole = [pl.col("prompt") + pl.col(side) for side in answers]

    def over(length: int) -> pl.Expr:
        return pl.any_horizontal([one > length for one in whole])

    long = rows.filter(over(max_length))
    if not long.height:
        return Found()
    one_side = over(max_length) & ~pl.all_horizontal([one > max_length for one in whole])
    nothing_left = pl.col("prompt") >= max_length
    figures = rows.select(
        one_side.sum().alias("one_side"),
        nothing_left.sum().alias("prompt_alone"),
        *(over(length).sum().alias(str(length)) for length in LENGTHS),
    ).row(0, named=True)
    share = long.height / data.total
    uneven = figures["one_side"] / data.total
    bad = figures["prompt_alone"] / data.total
    severity = Severity.NOTE
    if share >= 0.5 or uneven >= 0.1 or bad >= 0.02:
        severity = Severity.MAJOR if asked else Severity.MINOR
    elif share >= 0.1 or uneven >= 0.02 or bad >= 0.002:
        severity = Severity.MINOR
    measures = {
        "max_length": max_length,
        "estimated": estimated,
        "prompt_alone": figures["prompt_alone"],
        "longer_than": {str(length): figures[str(length)] for length in LENGTHS},
    }
    if len(answers) > 1:
        measures["one_side"] = figures["one_side"]
    return Found(rows=long["row"], measures=measures, severity=severity)


TRUNCATION = truncation()
