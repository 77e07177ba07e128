"""Runs whose pictures a host did not give: they are asked for again, those that it said are gone are not."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from prefdata import gating
from prefdata.pictures import PICTURES
from prefdata.recipe import from_data


@pytest.mark.parametrize(
    ("reason", "same"),
    [
        (None, True),
        ("not_there", True),
        ("host_not_allowed", True),
        ("fetch_failed", False),
        ("fetch_timed_out", False),
    ],
)
def test_a_run_is_no_longer_what_its_data_give_where_a_host_gave_no_answer(
    tmp_path: Path, reason: str | None, same: bool
) -> None:
    (tmp_path / "rows.jsonl").touch()
    recipe = from_data({"sources": [{"name": "shop", "path": "rows.jsonl", "format": "trl"}]}, root=tmp_path)
    known = [{"source": "shop", "address": f"https://h.example/{one}", "reason": one} for one in (None, reason)]
    pl.DataFrame(known, schema=PICTURES).write_parquet(tmp_path / gating.TABLE)
    (tmp_path / gating.WATCHED).parent.mkdir()
    pl.DataFrame(schema=dict.fromkeys(("source", "address", "found"), pl.String)).write_parquet(
        tmp_path / gating.WATCHED
    )
    assert gating.unchanged(recipe, tmp_path) == same
