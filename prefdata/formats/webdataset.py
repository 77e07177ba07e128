"""WebDataset: tars of pictures with their rows, `<key>.json`, `<key>.txt` and `<key>.png` (or `<key>.0.png`, ...).

The JSON holds a row in TRL's columns; `images` names the row's pictures in order. The text is that of an SFT row's
answer, so that what trains on pictures with captions reads the same files. Read are also tars of captions alone, text
or JSON. The export of a run is written in shards of a GiB, a conversion as one.
https://github.com/webdataset/webdataset
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import polars as pl

from prefdata.formats.captions import QUESTION, Captions
from prefdata.formats.core import Container, Feature, Match, Outcome
from prefdata.formats.tar_frames import KEY, TEXT
from prefdata.formats.trl import COLUMNS, Trl
from prefdata.schema import RecordType

ROWS = ("messages", "prompt", "completion", "chosen", "rejected")
"""Columns by which a sample is a row, not a caption."""


@dataclass(frozen=True, kw_only=True)
class WebDataset:
    """Shards of pictures with their rows or captions."""

    name: ClassVar[str] = "webdataset"
    reads: ClassVar[frozenset[RecordType]] = frozenset(RecordType)
    writes: ClassVar[frozenset[RecordType]] = frozenset(RecordType)
    container: ClassVar[Container] = "tar"
    holds: ClassVar[Mapping[RecordType, frozenset[Feature]]] = COLUMNS
    picture_columns: ClassVar[tuple[str, ...]] = ("images",)

    question: str = QUESTION
    """What a caption answers, in tars of captions."""
    pictures: Literal["bytes"] = "bytes"
    """Stored pictures go into the tar."""
    shard_bytes: int = 2**30
    """Bytes after which an export of a run begins the next shard."""
    labels: Mapping[str, bool] | None = None
    """What values of `label` other than true and false mean; null: they are refused."""

    def recognise(self, sample: pl.DataFrame) -> Sequence[Match]:
        """By what a tar's samples have, `__key__`, with TRL's columns or with pictures and captions."""
        if KEY not in sample.columns:
            return []
        found = self._reader(sample).recognise(sample.drop(TEXT, strict=False) if _is_row(sample) else sample)
        return [Match(match.type, (*match.reasons, "samples of a tar")) for match in found]

    def decode(self, rows: pl.DataFrame, record_type: RecordType) -> Outcome:
        """As TRL's rows where the JSON holds them, else as captions."""
        return self._reader(rows).decode(rows.drop(TEXT, strict=False) if _is_row(rows) else rows, record_type)

    def encode(self, rows: pl.DataFrame, record_type: RecordType) -> Outcome:
        """Refused is what TRL's trainers would not take, but for pictures in answers."""
        result = Trl().in_columns(rows, record_type)
        if record_type is not RecordType.SFT or not result.rows.height:
            return result
        answer = pl.col("completion")
        last = answer.list.last().struct.field("content")
        text = last if result.rows.schema["completion"].inner.fields[1].dtype == pl.String else _text(last)  # type: ignore[attr-defined]
        one = pl.when((answer.list.len() == 1) & (text.str.strip_chars() != "")).then(text)
        return Outcome(result.rows.with_columns(one.alias(TEXT)), result.refused)

    def file_name(self, split: str, shard: int = 0) -> str:
        """Numbered, as tools that read shards expect."""
        return f"{split}-{shard:06d}.tar"

    def beside(
        self, files: Mapping[str, str], record_type: RecordType, *, columns: Collection[str] = ()
    ) -> Mapping[str, str]:
        """Nothing."""
        return {}

    def _reader(self, rows: pl.DataFrame) -> Trl | Captions:
        return Trl(labels=self.labels) if _is_row(rows) else Captions(question=self.question, labels=self.labels)


def _is_row(rows: pl.DataFrame) -> bool:
    """Whether samples hold rows: a caption's `prompt`, if it has one, is text, and so is its `completion`."""
    return any(isinstance(rows.schema.get(name), pl.List) for name in ROWS)


def _text(parts: pl.Expr) -> pl.Expr:
    """The text of a content in parts, null where a picture stands among them."""
    kinds = parts.list.eval(pl.element().struct.field("type") == "image").list.any()
    words = parts.list.eval(pl.element().struct.field("text")).list.join("")
    return pl.when(~kinds).then(words)
