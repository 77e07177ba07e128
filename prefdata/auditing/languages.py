"""Languages of prompts and answers: what they are, and where the answer is not in the language of the question.

All rows are told by script alone: letters of Latin script take one byte, others more, so that most texts are told by
their length. What script cannot tell (French from English) the detector of the filter `language` does on a sample.
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
from prefdata.auditing.once import once
from prefdata.formats.core import answers_of
from prefdata.schema import RecordType

SCRIPTS = {
    "Latin": r"[A-Za-z\u00c0-\u024f]",
    "Han": r"[\u4e00-\u9fff\u3400-\u4dbf]",
    "Kana": r"[\u3040-\u30ff]",
    "Hangul": r"[\uac00-\ud7af]",
    "Cyrillic": r"[\u0400-\u04ff]",
    "Arabic": r"[\u0600-\u06ff]",
    "Devanagari": r"[\u0900-\u097f]",
    "Thai": r"[\u0e00-\u0e7f]",
    "Hebrew": r"[\u0590-\u05ff]",
    "Greek": r"[\u0370-\u03ff]",
}
"""Blocks of letters: classes of Unicode say the same of nearly all texts and take 15 ms to compile, every chunk."""
HEAD_CHARS = 1_000
"""Characters of a text whose letters are counted."""
MIN_LETTERS = 12
"""Letters from which on a text has a script; a letter of Han, kana or hangul counts as three."""
MIN_SHARE = 0.7
"""Share of its letters that a script has where it is the text's."""
SCRIPT_ROWS = 5_000
"""Rows of the sample whose scripts are counted."""
LONG_BYTES = 40
"""Bytes from which on the length of a text tells that it is Latin."""
DETECTED_ROWS = 300
"""Rows of the sample that the detector reads; a text takes 0.1 ms."""

_LATIN_LETTERS = rf"(?:[A-Za-z][^A-Za-z]*){{{MIN_LETTERS}}}"
_WIDE = ("Han", "Kana", "Hangul")
_ASKED = (
    r"(?i-u:\b(?:translat|in (?:english|chinese|mandarin|french|spanish|german|japanese|korean|russian|arabic|hindi|"
    r"italian|portuguese|thai|hebrew|greek|vietnamese|turkish|latin)\b|(?:to|into|from) (?:english|chinese|mandarin"
    r"|french|spanish|german|japanese|korean|russian|arabic|hindi|italian|portuguese|thai|hebrew|greek)|(?:japanese|chinese|mandarin|korean|russian|arabic|hindi|hebrew|greek|thai)\b|language|pinyin|romaji"
    r"|alphabet|pronounc|how do you say|speak ))"
    r"|翻译|翻譯|译成|译为|英文|英语|中文|汉语|日语|日文|法语|德语|俄语|韩语|西班牙语|用.{1,4}语|语言|拼音|说成"
)
"""A prompt that speaks of a language may well want another one."""
_CODE = r"```|[{};]\s*\n|\b(?:def|class|import|function|SELECT|print)\b"


def script(text: pl.Expr) -> pl.Expr:
    """The script of a text, String: where MIN_SHARE of its letters are of one; null where none has, or too few are."""
    head = text.str.slice(0, HEAD_CHARS)
    counts = {name: head.str.count_matches(letters).cast(pl.Float32) for name, letters in SCRIPTS.items()}
    counts = {name: count * 3 if name in _WIDE else count for name, count in counts.items()}
    # Japanese mixes Han and kana: a tenth of kana makes it Japanese
    japanese = (counts["Kana"] > 0.1 * counts["Han"]) & (counts["Kana"] > 0)
    counts["Kana"] = pl.when(japanese).then(counts["Kana"] + counts["Han"]).otherwise(counts["Kana"])
    counts["Han"] = pl.when(japanese).then(0.0).otherwise(counts["Han"])
    total = pl.sum_horizontal(counts.values())
    return pl.coalesce(
        pl.when((count >= MIN_SHARE * total) & (count >= MIN_LETTERS)).then(pl.lit(name))
        for name, count in counts.items()
    )


def _scripts(chunk: pl.DataFrame, columns: list[str]) -> pl.DataFrame:
    """`row` and the script of each column.

    Where hardly a character takes more than a byte no other script can have MIN_SHARE: those letters are not counted.
    """
    found = [chunk["row"]]
    for column in columns:
        text = pl.col(column)
        size = text.str.len_bytes()
        told = chunk.select(narrow=size < 1.2 * text.str.len_chars(), long=size >= LONG_BYTES, empty=size == 0)
        names = told.select(pl.when(pl.col("narrow") & pl.col("long")).then(pl.lit("Latin")).alias(column)).to_series()
        short = (told["narrow"] & ~told["long"] & ~told["empty"]).arg_true()
        if len(short):
            letters = chunk.select(column)[short].select(text.str.contains(_LATIN_LETTERS)).to_series()
            names = names.scatter(short.filter(letters), "Latin")
        rest = (~told["narrow"] & ~told["empty"]).arg_true()
        if len(rest):
            counted = chunk.select(column)[rest].select(script(text).alias(column)).to_series()
            names = names.scatter(rest, counted)
        found.append(names)
    return pl.DataFrame(found)


def _collect_other(chunk: pl.DataFrame, record_type: RecordType) -> pl.DataFrame:
    """Rows of which an answer has another script than the last user turn: `row` and a Boolean column a side."""
    sides = answers_of(record_type)
    found = _scripts(chunk, ["turn_text", *(f"{side}_text" for side in sides)])
    short = found["turn_text"].is_null().arg_true()
    if len(short):  # "ok" has no script: there the whole prompt tells
        whole = _scripts(chunk.select("row", "prompt_text")[short], ["prompt_text"])["prompt_text"]
        found = found.with_columns(found["turn_text"].scatter(short, whole))
    other = found.select(
        "row", *((pl.col(f"{side}_text") != pl.col("turn_text")).fill_null(False).alias(side) for side in sides)
    )
    other = other.filter(pl.any_horizontal(sides))
    if not other.height:
        return other
    texts = chunk.select("row", "turn_text", *(f"{side}_text" for side in sides)).join(
        other.select("row"), on="row", how="semi"
    )
    wanted = texts.select(
        "row",
        asked=pl.col("turn_text").str.slice(0, 20_000).str.contains(_ASKED)
        | pl.any_horizontal(pl.col(f"{side}_text").str.slice(0, 20_000).str.contains(_CODE) for side in sides),
    )
    return other.join(wanted.filter(~pl.col("asked")), on="row", how="semi").sort("row")


@cache
def _detector() -> Any:
    return catalogue.load("filter", "language")().build().scorer


def detected(texts: pl.Series) -> pl.Series:
    """Code of the language of each text; null where the detector is not sure."""
    unique = pl.DataFrame({"text": texts}).unique(maintain_order=True)
    codes: pl.DataFrame = _detector().score(unique)
    found = pl.DataFrame({"text": texts}).join(
        unique.hstack(codes.select("code")), on="text", how="left", maintain_order="left"
    )
    return found["code"]


def _some(data: Audited) -> pl.DataFrame:
    return data.sample.gather_every(max(1, -(-data.sample.height // DETECTED_ROWS)))


def _codes(data: Audited) -> pl.DataFrame:
    """What the detector says of `_some`: a column for the last user turn, `turn`, and one for each answer."""

    def detect() -> pl.DataFrame:
        rows = _some(data)
        heads = [rows[f"{side}_text"].str.slice(0, HEAD_CHARS).alias(side) for side in ("turn", *data.answers)]
        codes = detected(pl.concat([head.alias("text") for head in heads]))
        return pl.DataFrame(
            [codes.slice(at * rows.height, rows.height).alias(head.name) for at, head in enumerate(heads)]
        )

    return once(data).get("languages", detect)


def _mix(data: Audited) -> Found:
    """Scripts of a part of the sample and languages of less, by side; a note where there is more than one language."""
    texts = ["turn_text", *(f"{side}_text" for side in data.answers)]
    some = data.sample.gather_every(max(1, -(-data.sample.height // SCRIPT_ROWS)))
    found = _scripts(some, texts).unpivot(index="row", variable_name="side", value_name="script")
    counts = found.group_by("side", "script").len().sort("side", "len", "script", descending=[False, True, False])
    scripts: dict[str, dict[str, int]] = {}
    for side, name, number in counts.iter_rows():
        scripts.setdefault(side.removesuffix("_text"), {})[name or "unknown"] = number
    found_codes = _codes(data)
    languages: dict[str, dict[str, int]] = {}
    several = False
    for side in ("turn", *data.answers):
        codes = found_codes.select(code=side).to_series().drop_nulls().value_counts(sort=True)
        codes = codes.sort("count", "code", descending=[True, False])
        shown = codes.filter(pl.col("count") >= max(3, 0.01 * found_codes.height))
        languages[side] = dict(shown.iter_rows())
        several |= shown.height > 1
    if not several:
        return Found()
    measures = {"scripts": scripts, "languages": languages, "looked_at": found_codes.height}
    return Found(measures=measures, severity=Severity.NOTE)


def _other(data: Audited) -> Found:
    """Rows whose preferred answer is in another script than the question; what the detector says on the sample."""
    marked = data.collected["language_mismatch"]
    rows = marks.preferred(data, marked)
    measures: dict[str, Any] = marks.carried(data, marked) if marked.height else {}
    if not len(rows):
        return Found()
    codes, some = _codes(data), _some(data)
    asked = some["turn_text"].str.slice(0, 20_000)
    told = ~asked.str.contains(_ASKED) & (asked.str.len_chars() >= 30)
    shares = {}
    for side in data.answers:
        answer = some[f"{side}_text"].str.slice(0, HEAD_CHARS)
        both = (codes["turn"] != codes[side]) & (answer.str.len_chars() >= 60) & ~answer.str.contains(_CODE)
        shares[side] = round((both & told).fill_null(False).sum() / max(1, int(told.sum())), 4)
    return Found(rows=rows, measures={**measures, "detected_share": shares, "looked_at": int(told.sum())})


LANGUAGE_MIX = Check(
    name="language_mix",
    family="content",
    title="Texts are in several languages",
    why="What is rare is learnt badly, and filters, judges and lists of words speak for some languages only.",
    cure="filters: [language: {allowed: [en, zh]}]",
    types=ANSWERED,
    find=_mix,
)

LANGUAGE_MISMATCH = Check(
    name="language_mismatch",
    family="content",
    title="The answer that is to be learnt is not in the script of the question",
    why="The model learns to answer a Chinese question in English, or the other way round.",
    cure="Leave the row out, unless a translation was asked for.",
    types=ANSWERED,
    levels=Levels(major=0.02, minor=0),
    collect=_collect_other,
    find=_other,
)
