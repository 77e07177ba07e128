"""Tables whose columns have names of their own: `columns` says which is what. Reading only.

A cell holds a whole text: the prompt becomes one turn of the user, an answer one of the assistant. An empty cell is
nothing. Labels are true and false in any case, since a table has no types; all others need to be told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import polars as pl

from prefdata.errors import RecipeError, nearest
from prefdata.formats import placeholders
from prefdata.formats.core import GIVEN, PLACES, Match, Outcome, answers_of, pieces, refuse, set_aside, spare_columns
from prefdata.formats.messages import message
from prefdata.formats.read_only import ReadOnly
from prefdata.formats.shapes import boolean_label, conversations, with_system
from prefdata.schema import MESSAGES, SCHEMAS, RecordType

NAMES = (
    "prompt",
    "system",
    "completion",
    "chosen",
    "rejected",
    "label",
    "margin",
    "answer",
    "id",
    "source",
    "group",
    "language",
    "image",
)
"""What a column can be."""

TOLD = frozenset({"group", "language", "image"})
"""Names that a column has only where that is said: files use the same words for other things."""

WANTED: Mapping[RecordType, tuple[str, ...]] = {
    RecordType.PREFERENCE: ("chosen", "rejected"),
    RecordType.UNPAIRED: ("completion", "label"),
    RecordType.SFT: ("completion",),
    RecordType.PROMPT: ("prompt",),
}
"""Columns by which a type is told, the first that fits."""

_BOOLEANS = {word: word.lower() == "true" for word in ("true", "True", "TRUE", "false", "False", "FALSE")}


@dataclass(frozen=True, kw_only=True)
class Table(ReadOnly):
    """Plain columns, read as what they are said to be."""

    name: ClassVar[str] = "table"
    reads: ClassVar[frozenset[RecordType]] = frozenset(RecordType)

    columns: Mapping[str, str] = field(default_factory=dict)
    """What a row has -> the file's column: prompt, system, completion, chosen, rejected, label, margin, answer, id,
    source, group, language, image (what the prompt is about). A column that is called so itself needs no entry, but
    for group, language and image."""
    labels: Mapping[str, bool] | None = None
    """What labels other than true and false mean, e.g. {"2": true, "0": false}; null: they are refused."""
    prompt: str | None = None
    """The prompt of rows that have none; null leaves it empty, which an audit takes and a writer refuses."""

    def __post_init__(self) -> None:
        faults = [f"columns.{name}: {nearest(name, NAMES)}" for name in self.columns if name not in NAMES]
        if faults:
            raise RecipeError(faults)

    def recognise(self, sample: pl.DataFrame) -> Sequence[Match]:
        """Only where `columns` says what is what (--columns completion=text)."""
        if not self.columns:
            return []
        used = self._used(sample)
        for record_type, wanted in WANTED.items():
            if used.keys() >= set(wanted):
                return [Match(record_type, (self._reason(used, record_type),))]
        missing = "chosen and rejected, completion (with label), or prompt"
        raise RecipeError(f"columns: say which hold {missing}; the file has {_listed(sample)}")

    def decode(self, rows: pl.DataFrame, record_type: RecordType) -> Outcome:
        """Every cell one turn; a row without an answer is refused, one without a prompt has an empty one."""
        used = self._used(rows)
        missing = [name for name in WANTED[record_type] if name not in used]
        if missing:
            raise RecipeError(
                f"columns: {record_type} needs {' and '.join(missing)}; the file has {_listed(rows)}, "
                f"say which it is: --columns {missing[0]}=COLUMN"
            )
        sides = {name: name for name in ("prompt", *answers_of(record_type)) if name in used}
        taken = {name: used[name] for name in used if name in _OWN[record_type]}
        spare = spare_columns(rows, taken.values())
        meta = set_aside(rows.select(spare), ())["meta"] if spare else pl.lit(None, pl.String)
        told = [_text(rows, column).alias(name) if name != "label" else pl.col(column).alias(name)
                for name, column in taken.items()]  # fmt: skip
        frame = rows.select(*_places(rows), *told).with_columns(meta.alias("meta"))
        frame, _, faults = conversations(frame, sides)
        refusals = {
            "empty_answer": pl.any_horizontal(pl.col(side).is_null() for side in answers_of(record_type))
            if answers_of(record_type)
            else pl.lit(False)
        }
        frame = self._prompted(frame)
        if "image" in taken:
            frame, refusals["image_count"] = _pictured(frame)
            refusals["picture_without_address"] = placeholders.without_address() & ~refusals["image_count"]
        if "system" in taken:
            frame, refusals["second_system_prompt"] = with_system(frame, "prompt", frame["system"])
        if record_type is RecordType.PROMPT:
            refusals["empty_prompt"] = pl.col("prompt").list.len() == 0
        if record_type is RecordType.UNPAIRED:
            frame, refusals["ambiguous_label"] = self._labelled(frame)
        if "margin" in taken:
            frame = frame.with_columns(
                _margin=pl.col("margin"), margin=pl.col("margin").cast(pl.Float64, strict=False).fill_nan(None)
            )
            refusals["margin_not_a_number"] = pl.col("_margin").is_not_null() & pl.col("margin").is_null()
        result = refuse(frame, refusals, also=[faults])
        given = [name for name in GIVEN if name in taken]
        rows = pieces(result.rows, record_type).hstack(result.rows.select(given).get_columns())
        return Outcome(rows, result.refused)

    def _used(self, rows: pl.DataFrame) -> dict[str, str]:
        """What a row has -> column; raises RecipeError for a column that is not there."""
        names = [name for name in rows.columns if name not in PLACES]
        faults = [
            f"columns.{name}: no column {column!r}; the file has {_listed(rows)}"
            for name, column in self.columns.items()
            if column not in names
        ]
        if faults:
            raise RecipeError(faults)
        mapped = set(self.columns.values())
        own = {name: name for name in NAMES if name in names and name not in mapped and name not in TOLD}
        return {**own, **self.columns}

    def _reason(self, used: Mapping[str, str], record_type: RecordType) -> str:
        shown = [name for name in NAMES if name in used and name in _OWN[record_type]]
        told = ", ".join(name if used[name] == name else f"{name} (column {used[name]})" for name in shown)
        return f"as columns are said to be: {told}"

    def _prompted(self, frame: pl.DataFrame) -> pl.DataFrame:
        """`frame` with a prompt in every row: its own, the one of the settings, or one without a turn."""
        none = pl.lit([], MESSAGES) if self.prompt is None else message("user", pl.lit(self.prompt))
        if "prompt" not in frame.columns:
            return frame.with_columns(prompt=none)
        return frame.with_columns(prompt=pl.coalesce("prompt", none))

    def _labelled(self, frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.Expr]:
        if frame.schema["label"] == pl.String:
            text = pl.col("label").str.strip_chars()
            frame = frame.with_columns(label=pl.when(text != "").then(text))
        return boolean_label(frame, "label", labels={**_BOOLEANS, **(self.labels or {})})


_OWN: Mapping[RecordType, frozenset[str]] = {
    record_type: frozenset(SCHEMAS[record_type]) & set(NAMES) | {"system", "image"} for record_type in RecordType
}
"""What a row of each type has."""


def _pictured(frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.Expr]:
    """`frame` with `images`: at the tags of the prompt, else before it; a prompt of pictures alone is one turn."""
    uris = placeholders.uris_of(frame["image"])
    bare = pl.lit(uris.list.len().fill_null(0) > 0) & (pl.col("prompt").list.len() == 0)
    frame = frame.with_columns(prompt=pl.when(bare).then(message("user", pl.lit(""))).otherwise(pl.col("prompt")))
    frame, wrong = placeholders.tags_to_marks(frame, uris, sides={"prompt": "prompt"}, lead=True)
    return frame, pl.lit(wrong)


def _places(rows: pl.DataFrame) -> list[str]:
    return [name for name in PLACES if name in rows.columns]


def _text(rows: pl.DataFrame, column: str) -> pl.Expr:
    """A plain value as text, null where it is blank; what is nested stays as it is."""
    if rows.schema[column].is_nested():
        return pl.col(column)
    text = pl.col(column).cast(pl.String)
    return pl.when(text.str.strip_chars() != "").then(text)


def _listed(rows: pl.DataFrame) -> str:
    names = [name[:40] for name in rows.columns if name not in PLACES]
    return ", ".join(names[:40]) + (f" and {len(names) - 40} more" if len(names) > 40 else "")
