"""What the tests of the scorers share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from prefdata.judging import RowFilter, decide, judge
from prefdata.schema import MESSAGES

ROOT = Path(__file__).resolve().parents[2]


def one(text: str | None, role: str = "assistant") -> list[dict[str, str | None]]:
    return [{"role": role, "content": text, "tool_calls": None}]


@pytest.fixture
def reasons() -> Callable[..., list[list[str]]]:
    """Scores and decides rows given as (prompt, reply) pairs: the reasons each was dropped for."""

    def run(
        row_filter: RowFilter, pairs: list[tuple[str | None, str | None]], labels: list[bool] | None = None
    ) -> list[list[str]]:
        frame = pl.DataFrame(
            {"prompt": [one(prompt, "user") for prompt, _ in pairs], "completion": [one(reply) for _, reply in pairs]},
            schema={"prompt": MESSAGES, "completion": MESSAGES},
        )
        scored = pl.DataFrame(
            {
                "id": [f"{row:03}" for row in range(len(pairs))],
                "label": labels or [True] * len(pairs),
                "label_confidence": [1.0] * len(pairs),
            }
        ).hstack(judge(frame, row_filter, "completion"))
        decided: list[list[str]] = decide(scored, [row_filter], []).rows.sort("id")["reasons"].to_list()
        return decided

    return run


@pytest.fixture
def scored() -> Callable[..., list[dict[str, Any]]]:
    """The scores of texts, as dicts, with null or one prompt beside them."""

    def run(row_filter: RowFilter, texts: list[str | None], prompt: str | None = None) -> list[dict[str, Any]]:
        items = pl.DataFrame(
            {"text": texts, "prompt": [prompt] * len(texts)}, schema={"text": pl.String, "prompt": pl.String}
        )
        found: list[Mapping[str, Any]] = row_filter.scorer.score(items).to_dicts()
        return [dict(row) for row in found]

    return run
