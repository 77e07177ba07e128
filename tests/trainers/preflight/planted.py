"""Rows of every type with faults planted in them, and what preflight says of them."""

from __future__ import annotations

from typing import Any

import polars as pl

from prefdata.schema import IMAGE, MESSAGES, RecordType, conform
from trainers.preflight import Seen, findings
from trainers.preflight.finding import Finding
from trainers.rows import encode_rows
from trainers.settings import Settings
from trainers.vision.processor import looks_of

Turns = list[tuple[str, str]]

SIDES = ("prompt", "completion", "chosen", "rejected")


def messages(turns: Turns | str, role: str) -> list[dict[str, Any]]:
    given = [(role, turns)] if isinstance(turns, str) else turns
    return [{"role": one, "content": text, "tool_calls": None} for one, text in given]


def frame(kind: RecordType, rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Rows of {id, prompt, completion | chosen, rejected, label ...}; a side is a text or (role, text) turns."""
    made = []
    for at, row in enumerate(rows):
        given = {
            side: messages(row[side], "user" if side == "prompt" else "assistant") for side in SIDES if side in row
        }
        made.append({"id": f"r{at:02d}", "source": "test", "group": f"g{at:02d}", **row, **given})
    overrides: dict[str, Any] = {side: MESSAGES for side in SIDES if side in made[0]}
    return conform(pl.DataFrame(made, schema_overrides={**overrides, "label": pl.Boolean}, strict=False), kind)


def pairs(count: int) -> list[dict[str, Any]]:
    """Sound pairs, all different."""
    return [
        {"prompt": f"Where is order {at}?", "chosen": f"It will arrive tomorrow, {at}.", "rejected": f"No idea {at}."}
        for at in range(count)
    ]


def unary(count: int) -> list[dict[str, Any]]:
    """Sound labelled rows, labels in turn."""
    return [
        {"prompt": f"Where is order {at}?", "completion": f"It will arrive, thank you {at}.", "label": at % 2 == 0}
        for at in range(count)
    ]


def seen(
    tokenizer: Any,
    kind: RecordType,
    rows: list[dict[str, Any]] | pl.DataFrame,
    *,
    method: str | None = None,
    vocabulary: int | None = None,
    held_out: pl.DataFrame | None = None,
    max_length: int = 256,
    **settings: Any,
) -> Seen:
    data = rows if isinstance(rows, pl.DataFrame) else frame(kind, rows)
    default = {"preference": "dpo", "unpaired_preference": "kto", "prompt_completion": "sft", "prompt_only": "grpo"}
    how: dict[str, Any] = {"max_length": max_length, "system": None}
    read = data if looks_of(tokenizer) is not None else data.with_columns(images=pl.lit(None, pl.List(IMAGE)))
    return Seen(
        method=method or default[kind.value],
        rows=encode_rows(read, tokenizer, kind, name="rows", **how),
        tokenizer=tokenizer,
        settings=Settings(max_length=max_length, **settings),
        vocabulary=vocabulary,
        frame=data,
        held_out=None if held_out is None else encode_rows(held_out, tokenizer, kind, name="held", **how),
    )


def found(data: Seen) -> dict[str, Finding]:
    return {one.check: one for one in findings(data)}
