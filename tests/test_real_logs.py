"""Real logs through a whole data run: each unit has one fate, the fates add up, each row is kept or has reasons."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import prefdata
from prefdata.recipe import from_data
from prefdata.runner import dropped_rows, kept_rows

LOGS: dict[str, tuple[str, dict[str, Any], dict[str, int]]] = {
    "sgd": (
        "uss/SGD.txt",
        {"transcript": {"roles": {"customer": ["USER"], "agent": ["SYSTEM"]}}},
        {"units": 26_666, "row": 12_833, "context": 12_833, "signal": 1_000, "set_aside": 0, "rows": 12_833},
    ),
    "twcs": (
        "twcs_sample/sample.csv",
        {
            "replies": {
                "columns": {
                    "event": "tweet_id",
                    "role": "inbound",
                    "customer": "author_id",
                    "agent": "author_id",
                    "time": "created_at",
                    "text": "text",
                    "reply_to": "in_response_to_tweet_id",
                }
            }
        },
        {"units": 93, "row": 42, "context": 48, "signal": 0, "set_aside": 3, "rows": 41},
    ),
    "crosswoz": (
        "crosswoz/val.json.zip",
        {"conversations": {"roles": {"customer": ["usr"], "agent": ["sys"]}}},
        {"units": 8_458, "row": 4_229, "context": 4_229, "signal": 0, "set_aside": 0, "rows": 4_229},
    ),
    "abcd": (
        "abcd/abcd_sample.json",
        {
            "conversations": {
                "columns": {"session": "convo_id"},
                "messages": "original",
                "message": {"role": "0", "text": "1"},
                "roles": {"tool": ["action"]},
            }
        },
        {"units": 72, "row": 29, "context": 34, "signal": 0, "set_aside": 9, "rows": 21},
    ),
}
"""Name -> file, layout, what becomes of its units. Bursts are one row of several lines: fewer rows than lines."""


@pytest.mark.parametrize("name", sorted(LOGS))
def test_a_real_log_is_accounted_for(name: str, shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    file, layout, expected = LOGS[name]
    source = {
        "name": name,
        "path": str(shared_data(file)),
        "layout": layout,
        "ratings": {"scale": [1, 5], "satisfied": 3.4, "dissatisfied": 2.7},
    }
    recipe = from_data({"name": name, "sources": [source], "labels": {"method": "rules"}}, root=tmp_path)
    result = prefdata.run(recipe, out=tmp_path / "run", train=False)
    facts = json.loads((tmp_path / "run/run.json").read_text(encoding="utf-8"))
    (fate,) = facts["fates"]
    assert {key: fate[key] for key in expected if key != "rows"} == {
        key: value for key, value in expected.items() if key != "rows"
    }
    fates = ("row", "context", "signal", "separator", "set_aside", "quarantined")
    assert sum(fate[key] for key in fates) == fate["units"]
    assert fate["quarantined"] == fate["separator"] == 0
    kept, dropped = kept_rows(result.path), dropped_rows(result.path)
    assert kept.height + dropped.height == expected["rows"] == result.kept + result.dropped
    assert set(kept["id"]) & set(dropped["id"]) == set()
    assert dropped.filter(pl.col("reasons").list.len() == 0).height == 0
    assert kept["label"].null_count() == 0
    assert facts["funnel"][0]["rows"] == expected["rows"]
    assert facts["funnel"][-1]["rows"] == kept.height
