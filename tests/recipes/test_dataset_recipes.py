"""The sample recipes that read datasets: what they come to, to the row, and that another run comes to the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import prefdata
from prefdata.reporting.accounts import ENDS
from prefdata.runner import dropped_rows

RECIPES = Path(__file__).resolve().parents[2] / "recipes"


def run(name: str, tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    out = tmp_path / name
    prefdata.run(RECIPES / f"{name}.yaml", out=out)
    return out, json.loads((out / "report.json").read_text(encoding="utf-8"))


def ends(report: dict[str, Any]) -> dict[str, dict[str, int]]:
    for one in report["accounts"]:
        assert one["all"] == sum(one[end] for end in ENDS)
    return {one["source"]: {end: one[end] for end in ("all", *ENDS) if one[end]} for one in report["accounts"]}


def test_ratings_and_pairs_are_mixed_two_to_one(tmp_path: Path) -> None:
    out, report = run("pairs_from_ratings", tmp_path)
    assert ends(report) == {
        "ratings": {"all": 37, "kept": 24, "dropped": 12, "refused": 1},
        "pairs": {"all": 16, "kept": 12, "dropped": 3, "unmade": 1},
    }
    by_source = {one["source"]: one for one in report["accounts"]}
    assert by_source["ratings"]["left_out"] == {"tied_rating": 1}
    assert by_source["ratings"]["refused_because"] == {"no_rating": 1, "only_answer": 1}
    assert by_source["pairs"]["unmade_because"] == {"equal_sides": 1}
    assert by_source["pairs"]["flagged"] == {"control_tokens": 1}
    assert (by_source["pairs"]["read_as"], by_source["pairs"]["because"]) == ("trl", ["columns chosen, rejected"])
    reasons = {one["reason"]: one["rows"] for one in report["reasons"]}
    assert reasons == {"over_share": 12, "conflicting_labels": 2, "exact_duplicates": 1, "near_duplicates": 1}
    rows = pl.concat([pl.read_parquet(out / f"exports/trl/{side}.parquet") for side in ("train", "evaluation")])
    assert rows.height == 36
    assert {"prompt", "chosen", "rejected"} <= set(rows.columns)
    asked = rows["prompt"].list.last().struct.field("content")
    (token,) = [text for text in asked if "reset" in text]
    assert token == "The manual says to press <|reset|> but there is no such button."
    told = json.loads((out / "exports/llamafactory/dataset_info.json").read_text(encoding="utf-8"))
    assert [one["ranking"] for one in told.values()] == [True, True]


def test_chosen_sides_become_examples(tmp_path: Path) -> None:
    out, report = run("sft_from_pairs", tmp_path)
    assert ends(report) == {"pairs": {"all": 16, "kept": 12, "unmade": 4}}
    (account,) = report["accounts"]
    assert account["unmade_because"] == {"both_chosen_and_rejected": 3, "repeated": 1}
    assert report["touched"] == {"control_tokens": 1}
    rows = prefdata.kept_rows(out)
    assert "<| reset |>" in "".join(rows["prompt"].list.last().struct.field("content"))
    assert dropped_rows(out).height == 0
    card = (out / "exports/sharegpt/README.md").read_text(encoding="utf-8")
    assert "12 examples of an answer to a prompt (prompt and completion), written for `sharegpt`" in card
    assert "Personal data was replaced by patterns and name lists" in card


@pytest.mark.parametrize("name", ["pairs_from_ratings", "sft_from_pairs"])
def test_the_page_of_recipes_tells_what_they_come_to(name: str) -> None:
    page = (RECIPES / "README.md").read_text(encoding="utf-8")
    assert {"pairs_from_ratings": "36 of 51 pairs: 24 and 12", "sft_from_pairs": "12 of 16 chosen answers"}[
        name
    ] in page
