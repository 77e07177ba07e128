"""A folder as Hugging Face's `datasets` loads it: `data/<split>-00000-of-00001.parquet` and `README.md`, its card.

Rows have TRL's columns, and beside them all that canonical rows have: id, source, group, time, language, evidence,
meta, label_confidence, label_sources. This is the one format that holds everything. A column that is null in all rows
is not written: a trainer would take a null `images` for a dataset of pictures.
https://huggingface.co/docs/hub/datasets-manual-configuration, https://huggingface.co/docs/hub/datasets-cards
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import polars as pl

from prefdata.formats.core import GIVEN, ROW, Container, Feature, Match, Outcome, sides_of
from prefdata.formats.dataset_info import dataset_info
from prefdata.formats.shapes import json_text
from prefdata.formats.trl import COLUMNS, Trl
from prefdata.schema import SCHEMAS, RecordType

BESIDE_TRL = ("images", "tools", "label", "margin", "answer", "id")
"""Canonical columns that TRL's rows have too."""

ABOUT: Mapping[str, str] = {
    "id": "the row, the same in every version of the dataset",
    "source": "where the row comes from",
    "group": "rows of one group belong on one side of a split",
    "prompt": "what stands before the answer: messages",
    "completion": "the answer: messages",
    "chosen": "the better answer: messages",
    "rejected": "the worse answer: messages",
    "label": "whether the answer is desirable",
    "margin": "by how much the chosen answer is the better one",
    "answer": "reference answer",
    "images": "addresses of the pictures, in the order of their places in the messages",
    "tools": "tool definitions, JSON text",
    "time": "when it was said, UTC",
    "language": "language of the row",
    "evidence": "what the label or the pair rests on, JSON text",
    "meta": "other columns of the source, JSON text",
    "label_confidence": "probability that the label is right",
    "label_sources": "signals that the label rests on",
}
"""What the card says of a column."""

KINDS: Mapping[RecordType, str] = {
    RecordType.SFT: "prompts with an answer, for supervised fine-tuning",
    RecordType.PREFERENCE: "prompts with a chosen and a rejected answer, for DPO or a reward model",
    RecordType.UNPAIRED: "prompts with an answer and whether it is desirable, for KTO",
    RecordType.PROMPT: "prompts, for reinforcement learning",
}


@dataclass(frozen=True, kw_only=True)
class HuggingFace:
    """What `datasets.load_dataset` loads from a folder, or from the Hub."""

    name: ClassVar[str] = "huggingface"
    reads: ClassVar[frozenset[RecordType]] = frozenset(RecordType)
    writes: ClassVar[frozenset[RecordType]] = frozenset(RecordType)
    container: ClassVar[Container] = "parquet"
    holds: ClassVar[Mapping[RecordType, frozenset[Feature]]] = {
        record_type: features | {Feature.ID} for record_type, features in COLUMNS.items()
    }

    picture_columns: ClassVar[tuple[str, ...]] = ("images",)

    title: str = "Preference data"
    """Heading of the card."""
    licence: str | None = None
    """Licence of the card, as the Hub names it (`cc-by-4.0`); null: the card does not say."""
    languages: Sequence[str] = ()
    """Languages of the card, ISO 639-1."""
    images: bool | None = None
    """Write contents as parts, as rows with pictures need them; null: if a row has one."""
    pictures: Literal["files", "bytes"] = "bytes"
    """Stored pictures: bytes inside, or files in `images/` beside the data."""
    labels: Mapping[str, bool] | None = None
    """What values of `label` other than true and false mean; null: they are refused."""

    def recognise(self, sample: pl.DataFrame) -> Sequence[Match]:
        """By TRL's columns with id, source and group beside them."""
        if not set(sample.columns).issuperset(GIVEN):
            return []
        return [
            Match(match.type, (*match.reasons, "columns id, source, group"))
            for match in self._trl().recognise(sample)
            if set(sides_of(match.type)) <= set(sample.columns)
        ]

    def decode(self, rows: pl.DataFrame, record_type: RecordType) -> Outcome:
        """As TRL's rows, with all canonical columns that are there; what else there is becomes `meta`, if that is not
        there."""
        schema = SCHEMAS[record_type]
        own = [name for name in _own(record_type) if name in rows.columns] + (["id"] if "id" in rows.columns else [])
        result = self._trl().decode(rows.drop(own), record_type)
        kept = _passed(rows, result)
        frame = result.rows.rename({"meta": "_meta"}).with_columns(_typed(kept[name], schema[name]) for name in own)
        meta = pl.coalesce("meta", "_meta") if "meta" in own else pl.col("_meta")
        return Outcome(frame.with_columns(meta.alias("meta")).drop("_meta"), result.refused)

    def encode(self, rows: pl.DataFrame, record_type: RecordType) -> Outcome:
        """Refused is what TRL's trainers would not take, but for pictures in answers, which `datasets` loads."""
        result = self._trl().in_columns(rows, record_type)
        kept = _passed(rows, result)
        own = [
            kept[name] for name in _own(record_type) if name in kept.columns and kept[name].null_count() < kept.height
        ]
        return Outcome(result.rows.with_columns(own), result.refused)

    def file_name(self, split: str) -> str:
        """`datasets` tells the split by this name."""
        return f"data/{split}-00000-of-00001.parquet"

    def beside(
        self, files: Mapping[str, str], record_type: RecordType, *, columns: Collection[str] = ()
    ) -> Mapping[str, str]:
        """README.md: YAML with the licence, the files of every split and the features, what the rows are, the columns.

        `columns` of Parquet files with their dtypes, as a mapping, are the features; splits that differ in what their
        rows hold load as one dataset by them alone. Sizes are not told: `datasets` wants the bytes of its own cache.
        """
        lines = ["---", f"pretty_name: {_text(self.title)}"]
        lines += [f"license: {_text(self.licence)}"] if self.licence else []
        lines += ["language:", *(f"  - {_text(one)}" for one in self.languages)] if self.languages else []
        lines += ["configs:", "  - config_name: default", "    data_files:"]
        for split, name in files.items():
            lines += [f"      - split: {_text(split)}", f"        path: {_text(name)}"]
        if isinstance(columns, Mapping) and all(name.endswith(".parquet") for name in files.values()):
            lines += dataset_info(columns)
        lines += ["---", "", f"# {self.title}", "", f"Rows are {KINDS[record_type]} (`{record_type}`)."]
        lines += [] if self.licence else ["The licence was not stated."]
        shown = [name for name in columns or SCHEMAS[record_type].names() if name in ABOUT]
        lines += ["", "| column | holds |", "|---|---|", *(f"| `{name}` | {ABOUT[name]} |" for name in shown)]
        return {"README.md": "\n".join(lines) + "\n"}

    def _trl(self) -> Trl:
        return Trl(images=self.images, labels=self.labels)


def _passed(rows: pl.DataFrame, result: Outcome) -> pl.DataFrame:
    """The rows that were not refused."""
    gone = pl.int_range(rows.height, dtype=pl.UInt32, eager=True).is_in(result.refused[ROW].implode())
    return rows.filter(~gone)


def _own(record_type: RecordType) -> list[str]:
    """Canonical columns that TRL's rows have not."""
    return [name for name in SCHEMAS[record_type] if name not in (*sides_of(record_type), *BESIDE_TRL)]


def _typed(column: pl.Series, dtype: Any) -> pl.Series:
    """A column of the file as the canonical dtype: JSON text of nested values, and times that JSON gave as text."""
    if dtype == pl.String and column.dtype != pl.String:
        return json_text(column).alias(column.name) if column.dtype.is_nested() else column.cast(pl.String)
    if isinstance(dtype, pl.Datetime) and column.dtype == pl.String:
        return column.str.to_datetime(time_unit="us", time_zone="UTC", strict=False)
    return column.cast(dtype, strict=False)


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)
