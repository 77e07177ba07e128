"""Rows about pictures for the tests of builders and runs: few pictures, few texts, so that what is rare happens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from prefdata.build.picture_keys import MARK
from prefdata.schema import SCHEMAS, RecordType

SCHEMA = pl.Schema({**SCHEMAS[RecordType.UNPAIRED], "relevance": pl.Float64()})


def said(
    name: str,
    pictures: str | Sequence[str],
    answer: str,
    *,
    question: str = "",
    label: bool | None = None,
    relevance: float | None = None,
    group: str | None = None,
) -> dict[str, Any]:
    """A row: `pictures` is a letter for each picture of the prompt."""
    images = [
        {"uri": f"pictures/{one}.png", "side": "prompt", "message": 0, "part": at} for at, one in enumerate(pictures)
    ]
    return {
        "id": name,
        "source": "s",
        "group": group,
        "prompt": [{"role": "user", "content": MARK * len(images) + question, "tool_calls": None}],
        "completion": [{"role": "assistant", "content": answer, "tool_calls": None}],
        "images": images or None,
        "label": label,
        "relevance": relevance,
    }


def table(rows: Sequence[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=SCHEMA)


def captions(*texts: str) -> pl.DataFrame:
    """One caption a picture: pictures a, b, c, ... in this order."""
    rows = [said(f"{at:02d}", "abcdefghijklmnop"[at], text) for at, text in enumerate(texts)]
    return table(rows).drop("label", "label_confidence", "label_sources")


def text_of(side: str) -> pl.Expr:
    return pl.col(side).list.eval(pl.element().struct.field("content")).list.join("|")
