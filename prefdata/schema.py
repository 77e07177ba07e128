"""The canonical schema: record types, their columns and dtypes, the check that a frame keeps them, and row ids."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from enum import StrEnum

import polars as pl

from prefdata.errors import SchemaError

KEY_VARIABLE = "PREFDATA_KEY"
"""Environment variable whose value keys every id, so that ids cannot be recomputed from guessed customer data."""


class RecordType(StrEnum):
    """The four dataset types; the values are TRL's names for them."""

    SFT = "prompt_completion"
    PREFERENCE = "preference"
    UNPAIRED = "unpaired_preference"
    PROMPT = "prompt_only"


MESSAGE = pl.Struct({"role": pl.String, "content": pl.String, "tool_calls": pl.String})
"""One turn; `tool_calls` is JSON text or null."""

MESSAGES = pl.List(MESSAGE)

IMAGE = pl.Struct({"uri": pl.String, "side": pl.String, "message": pl.Int32, "part": pl.Int32})
"""A picture and its place: the side of the row, the message in that side, the content part in that message."""

COMMON: dict[str, pl.DataType] = {
    "id": pl.String(),
    "source": pl.String(),
    "group": pl.String(),
    "prompt": MESSAGES,
    "images": pl.List(IMAGE),
    "tools": pl.String(),
    "time": pl.Datetime("us", "UTC"),
    "language": pl.String(),
    "evidence": pl.String(),
    "meta": pl.String(),
}

SCHEMAS: dict[RecordType, pl.Schema] = {
    RecordType.SFT: pl.Schema({**COMMON, "completion": MESSAGES}),
    RecordType.PREFERENCE: pl.Schema({**COMMON, "chosen": MESSAGES, "rejected": MESSAGES, "margin": pl.Float32()}),
    RecordType.UNPAIRED: pl.Schema(
        {
            **COMMON,
            "completion": MESSAGES,
            "label": pl.Boolean(),
            "label_confidence": pl.Float32(),
            "label_sources": pl.List(pl.String()),
        }
    ),
    RecordType.PROMPT: pl.Schema({**COMMON, "answer": pl.String()}),
}

REQUIRED: dict[RecordType, tuple[str, ...]] = {
    RecordType.SFT: ("id", "source", "group", "prompt", "completion"),
    RecordType.PREFERENCE: ("id", "source", "group", "prompt", "chosen", "rejected"),
    RecordType.UNPAIRED: ("id", "source", "group", "prompt", "completion"),
    RecordType.PROMPT: ("id", "source", "group", "prompt"),
}
"""Columns that hold no null in a sound frame."""

ROLES = ("system", "user", "assistant", "tool")


def check(frame: pl.DataFrame, record_type: RecordType) -> pl.DataFrame:
    """`frame` itself, proven to be of `record_type`: columns in canonical order, exact dtypes, unique ids.

    Raises SchemaError with every fault at once; ids of offending rows are named, never their text.
    """
    schema = SCHEMAS[record_type]
    faults = [f"column {name}: missing, expected {dtype}" for name, dtype in schema.items() if name not in frame.schema]
    faults += [f"column {name}: not part of {record_type}" for name in frame.columns if name not in schema]
    faults += [
        f"column {name}: {frame.schema[name]}, expected {dtype}"
        for name, dtype in schema.items()
        if name in frame.schema and frame.schema[name] != dtype
    ]
    if faults:
        raise SchemaError(f"not a {record_type} frame:\n" + "\n".join(f"  - {fault}" for fault in faults))
    for name in REQUIRED[record_type]:
        bad = frame.filter(pl.col(name).is_null())
        if bad.height:
            faults.append(f"{name}: null in {bad.height} of {frame.height} rows, first id {bad['id'][0]}")
    doubled = frame.filter(pl.col("id").is_duplicated())
    if doubled.height:
        faults.append(f"id: {doubled.height} of {frame.height} rows share an id, first {doubled['id'][0]}")
    for side in ("prompt", "completion", "chosen", "rejected"):
        if side in frame.columns:
            roles = pl.col(side).list.eval(pl.element().struct.field("role"))
            bad = frame.filter(~roles.list.eval(pl.element().is_in(ROLES)).list.all())
            if bad.height:
                faults.append(f"{side}: a role outside {ROLES} in {bad.height} rows, first id {bad['id'][0]}")
    if faults:
        raise SchemaError(f"not a sound {record_type} frame:\n" + "\n".join(f"  - {fault}" for fault in faults))
    return frame.select(schema.names())


def conform(frame: pl.DataFrame, record_type: RecordType) -> pl.DataFrame:
    """`frame` with the columns it lacks added as nulls, in canonical order and dtype, then checked."""
    schema = SCHEMAS[record_type]
    missing = [pl.lit(None, dtype=dtype).alias(name) for name, dtype in schema.items() if name not in frame.columns]
    return check(frame.with_columns(missing).select(schema.names()), record_type)


def stable_hash(columns: Sequence[pl.Series], *, purpose: str, size: int = 10) -> pl.Series:
    """Hex digests (2 x `size` characters) of the joined text of `columns`, row by row.

    The same at every version, platform and order of rows; keyed by PREFDATA_KEY where that is set. `purpose`
    separates ids of different kinds. A batch kernel: polars' own hash is not promised to stay the same.
    """
    key = os.environ.get(KEY_VARIABLE, "").encode()[:64]
    person = purpose.encode()[:16]
    parts = [column.cast(pl.String).fill_null("\x00").to_list() for column in columns]
    digests = [
        hashlib.blake2b("\x1f".join(row).encode(), digest_size=size, key=key, person=person).hexdigest()
        for row in zip(*parts, strict=True)
    ]
    return pl.Series("hash", digests, dtype=pl.String)
