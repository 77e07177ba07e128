"""Template copying: how many answers are a few texts with other numbers and names in them.

A template is the beginning of an answer with masks: numbers, words with a capital (names, places, first words), what
stands in quotes, links and addresses become a blank, and several blanks are one. Answers with equal masks are of one
template. The first and the last sentence are masked in the same way. Names without capitals, as in Chinese, are not
masked. All is read from the sample: coverage is of its rows, and only those are named.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl

from prefdata.auditing.check import ANSWERED, Check
from prefdata.auditing.dataset import Audited
from prefdata.auditing.finding import Found, Levels
from prefdata.formats.core import answers_of
from prefdata.schema import RecordType

Masked = Callable[[pl.DataFrame, RecordType], pl.DataFrame]

TOP = 10
"""Templates whose coverage is told."""
MIN_TEXTS = 5
"""Different answers from which on their mask is a template."""
MASK_CHARS = 500
"""Characters of an answer that are masked: answers that agree so far are of one template."""
MIN_CHARS = 20
"""Shorter answers and sentences are no templates: all of "Yes, please." are one."""
SENTENCE_CHARS = 200
MIN_COVERAGE = 0.01
"""Share of the answers that the TOP templates must cover to be told of."""
LEVELS = Levels(major=0.3, minor=0.05)

_MASK = r"https?://\S+|[A-Za-z0-9._+-]+@[A-Za-z0-9.-]+|\"[^\"\n]{1,80}\"|[0-9][0-9.,:/-]*|[A-Z][A-Za-z'-]*"
_BLANKS = rf"(?:[ \t\n]*(?:{_MASK}))+[ \t\n]*|[ \t\n]{{2,}}|[\t\n]"
"""What becomes one blank: masks in a row and the blanks around them, several blanks, a line end."""
_FIRST = r"^[^.!?。！？\n]+[.!?。！？]?"
_LAST = r"[^.!?。！？\n]+[.!?。！？]*$"


def mask(text: pl.Expr) -> pl.Expr:
    """The template of a text."""
    return text.str.replace_all(_BLANKS, " ").str.strip_chars(" ")


def _masks(chunk: pl.DataFrame, record_type: RecordType) -> pl.DataFrame:
    """`row`, and `<side>_mask` UInt64 of each answer of MIN_CHARS at least."""
    masks = []
    for side in answers_of(record_type):
        key = mask(pl.col(f"{side}_text").str.slice(0, MASK_CHARS)).hash()
        masks.append(pl.when(pl.col(f"{side}_chars") >= MIN_CHARS).then(key).alias(f"{side}_mask"))
    return chunk.select("row", *masks)


def _sentences(first: bool) -> Masked:
    def masks_of(chunk: pl.DataFrame, record_type: RecordType) -> pl.DataFrame:
        masks = []
        for side in answers_of(record_type):
            text = pl.col(f"{side}_text").str.strip_chars()
            cut = text.str.head(SENTENCE_CHARS) if first else text.str.tail(SENTENCE_CHARS)
            sentence = cut.str.extract(_FIRST if first else _LAST, 0)
            long = (sentence.str.len_chars() >= MIN_CHARS) & (pl.col(f"{side}_chars") > SENTENCE_CHARS)
            masks.append(pl.when(long).then(mask(sentence).hash()).alias(f"{side}_mask"))
        return chunk.select("row", *masks)

    return masks_of


def _covered(data: Audited, masked: pl.DataFrame, side: str) -> tuple[dict[str, Any], pl.DataFrame]:
    """Measures of a side, and the rows (`row`, `mask`) of its TOP templates."""
    masks = masked.select("row", mask=f"{side}_mask")
    texts = data.rows.select("row", norm=f"{side}_norm")
    rows = masks.join(texts, on="row", maintain_order="left")
    answers, different = rows.height, rows["norm"].n_unique()
    kept = (
        rows.drop_nulls("mask")
        .group_by("mask")
        .agg(rows=pl.len(), texts=pl.col("norm").n_unique(), first=pl.col("row").min())
    )
    kept = kept.filter(pl.col("texts") >= MIN_TEXTS).sort("rows", "first", descending=[True, False])
    top = kept.head(TOP)
    measures = {
        "templates": kept.height,
        "coverage": _share(int(kept["rows"].sum()), answers),
        f"coverage_top_{TOP}": _share(int(top["rows"].sum()), answers),
        # one of each text: what is left when repetitions are dropped
        f"coverage_top_{TOP}_deduplicated": _share(
            int(kept.sort("texts", "first", descending=[True, False]).head(TOP)["texts"].sum()), different
        ),
        "largest": int(top["rows"].max() or 0),  # type: ignore[arg-type]
    }
    return measures, rows.join(top.select("mask"), on="mask", how="semi")


def _share(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 0.0


def _found(masked: Masked) -> Callable[[Audited], Found]:
    def find(data: Audited) -> Found:
        """Rows of the top templates of a side, and how much these cover, before and after duplicates are dropped."""
        measures: dict[str, Any] = {}
        rows = []
        worst = 0.0
        masks = masked(data.sample, data.type)
        for side in data.answers:
            told, covered = _covered(data, masks, side)
            if told["templates"]:
                measures[side] = told
                rows.append(covered["row"])
                worst = max(worst, told[f"coverage_top_{TOP}"])
        if worst < MIN_COVERAGE:
            return Found()
        if len(measures) == 2:
            measures["more_in"] = max(data.answers, key=lambda side: measures[side][f"coverage_top_{TOP}"])
        if data.sample.height < data.total:
            measures["looked_at"] = data.sample.height
        severity = LEVELS.of(round(worst * data.total), data.total)
        return Found(rows=pl.concat(rows).unique().sort(), measures=measures, severity=severity)

    return find


TEMPLATE_COPYING = Check(
    name="template_copying",
    family="templates",
    title="A few templates cover many answers: the same text with other numbers and names",
    why="The model learns the templates by heart, and the rows weigh as few; dropping duplicates does not find them.",
    cure="groupings: [near_duplicates]",
    types=ANSWERED,
    levels=LEVELS,
    find=_found(_masks),
)

SAME_OPENINGS = Check(
    name="same_openings",
    family="templates",
    title="Many long answers open with the same sentence",
    why="The model opens every answer so; a reader takes it for a machine.",
    cure="Cut the opening, or cap the rows that have it.",
    types=ANSWERED,
    levels=LEVELS,
    find=_found(_sentences(first=True)),
)

SAME_CLOSINGS = Check(
    name="same_closings",
    family="templates",
    title="Many long answers end with the same sentence",
    why="The model ends every answer so, whether it fits or not.",
    cure="Cut the closing, or cap the rows that have it.",
    types=ANSWERED,
    levels=LEVELS,
    find=_found(_sentences(first=False)),
)
