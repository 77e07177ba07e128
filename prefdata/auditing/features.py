"""What every check may look at: texts of a chunk's rows, and the narrow features of them that are kept for all rows."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING

import polars as pl
import xxhash

from prefdata.formats.core import sides_of
from prefdata.formats.screens import calls_tools, has_pictures
from prefdata.schema import RecordType
from prefdata.text import joined_text, last_user_text

if TYPE_CHECKING:
    from prefdata.auditing.tokens import Ragged

_PICTURE, _TURN, _FIELD = "\x1d", "\x1e", "\x1f"


def texts(rows: pl.DataFrame, record_type: RecordType) -> pl.DataFrame:
    """`rows` with `<side>_text` (all contents of a side, a line end between turns) and `turn_text` (the last user turn
    of the prompt): String, never null."""
    return rows.with_columns(
        *(joined_text(side).fill_null("").alias(f"{side}_text") for side in sides_of(record_type)),
        last_user_text("prompt").fill_null("").alias("turn_text"),
    )


SHOWN = "shown"
"""The column that tells rows of other pictures apart; there where any row has pictures."""


def features(
    rows: pl.DataFrame, record_type: RecordType, *, found: MutableMapping[str, Ragged] | None = None
) -> pl.DataFrame:
    """`rows` with texts (see `texts`) with the features of every side, and `key` of the row:

    `<side>_chars` UInt32 (code points) and `<side>_turns` UInt32; `<side>_hash` UInt64, equal where the turns are;
    `<side>_norm` UInt64, equal where the words are: case, blanks and punctuation do not count (see `tokens`); `key`
    UInt64, equal where all sides are; `prompt_norm` of a row without a prompt is made of its answers, in any order, so
    that such rows are not all taken for answers to one question. Tool calls and pictures count in all three. They are
    XXH3, the same in every format and at every version. `found` takes the words of every side. Where any row has
    pictures, `shown` UInt64 is equal where their addresses are; null of a row without.
    """
    from prefdata.auditing.tokens import tokens

    columns: list[pl.Expr | pl.Series] = []
    hashes: list[pl.Series] = []
    norms: dict[str, pl.Series] = {}
    pictures = has_pictures(rows)
    for side in sides_of(record_type):
        text = rows[f"{side}_text"]
        beside = [_calls(side)] if calls_tools(rows, side) else []
        beside += [_pictures(side)] if pictures else []
        words = tokens(text)
        if found is not None:
            found[side] = words
        columns += [
            text.str.len_chars().alias(f"{side}_chars"),
            pl.col(side).list.len().fill_null(0).cast(pl.UInt32).alias(f"{side}_turns"),
        ]
        norms[side] = _norms(words, rows.select(pl.concat_str(beside)).to_series() if beside else None)
        whole = rows.select(pl.concat_str(_turns(side), *beside)).to_series()
        hashes.append(_digests(whole.cast(pl.Binary).to_list()).alias(f"{side}_hash"))
    if not (asked := rows["prompt"].list.len().fill_null(0) > 0).all() and len(norms) > 1:
        norms["prompt"] = _unasked(norms).zip_with(~asked, norms["prompt"])
    told = [norm.alias(f"{side}_norm") for side, norm in norms.items()]
    if pictures:
        shown = rows.select(pl.concat_str([_pictures(side) for side in sides_of(record_type)])).to_series()
        digests = _digests(shown.cast(pl.Binary).to_list())
        told.append(digests.set(shown == "", None).alias(SHOWN))
    return rows.with_columns(*columns, *told, *hashes, _joint(hashes).alias("key"))


def _unasked(norms: Mapping[str, pl.Series]) -> pl.Series:
    """A hash of the answers' words that does not tell which is which."""
    answers = [norm for side, norm in norms.items() if side != "prompt"]
    frame = pl.DataFrame({str(at): norm for at, norm in enumerate(answers)})
    ordered = frame.select(low=pl.min_horizontal(pl.all()), high=pl.max_horizontal(pl.all()))
    return _joint([ordered["low"], ordered["high"]])


def kept(record_type: RecordType) -> list[str]:
    """The features that are kept of every row."""
    own = [f"{side}_{name}" for side in sides_of(record_type) for name in ("chars", "turns", "hash", "norm")]
    return ["key", *own]


def _turns(side: str) -> pl.Expr:
    """Roles and contents of all turns as one text."""
    turn = pl.element().struct
    parts = pl.concat_str(turn.field("role"), pl.lit(_FIELD), turn.field("content").fill_null(""))
    return pl.col(side).list.eval(parts).list.join(_TURN).fill_null("")


def _calls(side: str) -> pl.Expr:
    """The tool calls of all turns behind _TURN; nothing where there are none."""
    calls = pl.col(side).list.eval(pl.element().struct.field("tool_calls").fill_null(""))
    called = calls.list.eval(pl.element() != "").list.any().fill_null(False)
    return pl.when(called).then(pl.concat_str(pl.lit(_TURN), calls.list.join(_FIELD))).otherwise(pl.lit(""))


def _pictures(side: str) -> pl.Expr:
    """The addresses of the pictures of a side behind _PICTURE; nothing where there are none."""
    picture = pl.element().struct
    here = pl.when(picture.field("side") == side).then(picture.field("uri").fill_null("")).drop_nulls()
    found = pl.col("images").list.eval(here)
    shown = found.list.len().fill_null(0) > 0
    return pl.when(shown).then(pl.concat_str(pl.lit(_PICTURE), found.list.join(_FIELD))).otherwise(pl.lit(""))


def _norms(words: Ragged, beside: pl.Series | None) -> pl.Series:
    """One hash of the words of each text, and of what stands beside it."""
    data = memoryview(words.values.astype("<u8", copy=False)).cast("B")  # type: ignore[arg-type]
    parts: Sequence[bytes | memoryview] = [
        data[low:high] for low, high in itertools.pairwise((8 * words.offsets).tolist())
    ]
    if beside is not None:
        parts = [part + told if told else part for part, told in zip(map(bytes, parts), beside.cast(pl.Binary))]
    return _digests(parts)


def _joint(hashes: Sequence[pl.Series]) -> pl.Series:
    """One hash of those of a row's sides."""
    import numpy as np

    data = np.stack([one.to_numpy() for one in hashes], axis=1).astype("<u8").tobytes()
    width = 8 * len(hashes)
    return _digests([data[at : at + width] for at in range(0, len(data), width)])


def _digests(texts: Sequence[bytes | memoryview]) -> pl.Series:
    """XXH3 of each text, UInt64. A batch kernel: polars' own hash is not promised to stay the same."""
    return pl.Series("hash", [xxhash.xxh3_64_intdigest(text) for text in texts], dtype=pl.UInt64)
