"""The split of a whole run: thresholds and appended sessions move nobody, merges and leaks are told."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import prefdata
from prefdata import runner
from prefdata.errors import RecipeError
from prefdata.recipe import load

_spec = importlib.util.spec_from_file_location("small_log", Path(__file__).with_name("small_log.py"))
assert _spec is not None
assert _spec.loader is not None
small_log: Any = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(small_log)


@pytest.fixture
def recipe(small_run: Path, tmp_path: Path) -> Path:
    """A recipe beside its log, and what it makes of it in `run`."""
    shutil.copytree(small_run, tmp_path, dirs_exist_ok=True)
    return tmp_path / "recipe.yaml"


def stands(path: Path) -> pl.DataFrame:
    return pl.read_parquet(path / "splits.parquet")


def account(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((path / "report.json").read_text())["split"]
    return found


def test_a_changed_threshold_moves_no_row(recipe: Path, tmp_path: Path) -> None:
    small_log.write_recipe(tmp_path, max_toxicity=0.0001)
    prefdata.run(recipe, out=tmp_path / "b", train=False)
    assert runner.kept_rows(tmp_path / "b").height < runner.kept_rows(tmp_path / "run").height
    assert stands(tmp_path / "run").equals(stands(tmp_path / "b"))


def test_appended_sessions_move_only_listed_rows_and_only_to_train(recipe: Path, tmp_path: Path) -> None:
    small_log.write_log(tmp_path, sessions=140)
    prefdata.run(recipe, out=tmp_path / "b", train=False)
    both = stands(tmp_path / "run").join(stands(tmp_path / "b"), on="id", suffix="_after")
    assert (both["own"] == both["own_after"]).all()
    moved = both.filter(pl.col("split") != pl.col("split_after"))
    merged = {name for one in account(tmp_path / "b")["merges"]["listed"] for name in one["ids"]}
    assert set(moved["split_after"]) <= {"train"}
    assert set(moved["id"]) <= merged


def test_the_report_tells_units_strata_merges_and_leaks(small_run: Path) -> None:
    told = account(small_run / "run")
    kept = runner.kept_rows(small_run / "run")
    assert told["by"] == "hash"
    assert told["salt"] == 1
    assert told["units"] == kept["group"].n_unique()
    assert sum(one["rows"] for one in told["strata"]) == kept.height
    assert sum(one["evaluation"] for one in told["strata"]) == told["evaluation"]["rows"]
    assert {one["kind"]: one["values"] for one in told["leaks"] if one["kind"] != "reply"} == {
        "customer": 0,
        "session": 0,
        "prompt": 0,
        "exchange": 0,
        "long_reply": 0,
        "exact_duplicates": 0,
        "near_duplicates": 0,
    }


def test_a_split_that_connects_nothing_is_told_to_leak(recipe: Path, tmp_path: Path) -> None:
    recipe.write_text(recipe.read_text().replace("evaluation: 0.25", "evaluation: 0.25, connect: []"))
    prefdata.run(recipe, out=tmp_path / "own", train=False)
    told = account(tmp_path / "own")
    assert told["units"] == runner.kept_rows(tmp_path / "own").height
    command = [sys.executable, "-m", "prefdata.cli", "leaks", "own", "--fail", "--json", "--no-near"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=dict(os.environ), check=False)
    found = {one["kind"]: one["values"] for one in json.loads(done.stdout)["leaks"]}
    assert {name: found[name] for name in ("customer", "session")} == {
        one["kind"]: one["values"] for one in told["leaks"] if one["kind"] in ("customer", "session")
    }
    assert done.returncode == (1 if any(found[name] for name in found if "reply" not in name) else 0)


def test_a_run_by_time_holds_out_the_newest_and_a_test_side_is_exported(recipe: Path, tmp_path: Path) -> None:
    text = recipe.read_text().replace("evaluation: 0.25", "by: time, evaluation: 0.2, test: 0.2, connect: [session]")
    recipe.write_text(text)
    prefdata.run(recipe, out=tmp_path / "own", train=False)
    told = account(tmp_path / "own")
    rows = runner.kept_rows(tmp_path / "own")
    newest = dict(rows.group_by("split").agg(pl.col("time").max()).iter_rows())
    oldest = dict(rows.group_by("split").agg(pl.col("time").min()).iter_rows())
    assert newest["train"] < oldest["evaluation"] <= newest["evaluation"] < oldest["test"]
    assert told["cuts"]["test"] > told["cuts"]["evaluation"]
    assert told["test"]["rows"] == prefdata.kept_rows(tmp_path / "own", "test").height
    assert (tmp_path / "own/exports/trl/test.parquet").exists()


@pytest.mark.parametrize(
    ("split", "fault"),
    [
        ("evaluation: 1.0", "evaluation: 1.0, expected a fraction"),
        ("evaluation: 0.6, test: 0.4", "leave nothing to train on"),
        ("evaluation_from: 2024-03-01", "evaluation_from: set, but the split is by hash"),
        ("by: time, evaluation_from: soon", "evaluation_from: 'soon', expected a date"),
        ("by: time, evaluation_from: 2024-03-02, test_from: 2024-03-01", "test_from: before evaluation_from"),
        ("salt: -1", "salt: -1, expected a whole number from 0"),
        ("connect: [agent]", "split.connect.0"),
    ],
)
def test_a_split_that_cannot_be_is_told(split: str, fault: str, recipe: Path) -> None:
    recipe.write_text(recipe.read_text().replace("evaluation: 0.25", split))
    with pytest.raises(RecipeError, match=fault):
        load(recipe)
