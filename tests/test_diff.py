"""The difference of two runs: every row that came or went stands under the step that made it."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import prefdata
from prefdata.cli import main
from prefdata.diff import diff, told
from prefdata.erase import erase
from prefdata.errors import InputError

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


def ran(recipe: Path, name: str, change: tuple[str, str] | None = None) -> Path:
    """A run of the recipe, with one piece of its text replaced."""
    text = recipe.read_text()
    if change is not None:
        assert change[0] in text
        recipe.write_text(text.replace(*change))
    out = recipe.parent / name
    prefdata.run(recipe, out=out, train=False)
    recipe.write_text(text)
    return out


def kept(run: Path) -> set[str]:
    return set(prefdata.kept_rows(run)["id"])


def test_a_run_differs_in_nothing_from_itself(recipe: Path) -> None:
    run = recipe.parent / "run"
    found = diff(run, run)
    lists = ("came", "went", "relabelled", "moved", "edited", "recipe", "inputs")
    assert [found[name] for name in lists] == [[]] * len(lists)
    assert found["kept_in_both"] == found["before"]["kept"] == 56
    assert told(found) == "kept 56 -> 56: 0 came, 0 went, 56 stayed"


def test_a_tighter_threshold_is_the_step_that_took_rows(recipe: Path) -> None:
    a = recipe.parent / "run"
    b = ran(recipe, "b", ("max_toxicity: 0.8", "max_toxicity: 0.0001"))
    found = diff(a, b)
    assert {row["id"] for row in found["went"]} == kept(a) - kept(b)
    assert {row["id"] for row in found["came"]} == kept(b) - kept(a)
    assert all(["threshold", "reply_toxic"] in row["by"] for row in found["went"])
    assert found["steps"]["went"][0] == {"step": "threshold", "reason": "reply_toxic", "rows": len(found["went"])}
    assert [one for one in found["recipe"] if "max_toxicity" in one["setting"]] == [
        {"setting": "filters.toxicity.settings.max_toxicity", "before": 0.8, "after": 0.0001}
    ]
    assert found["moved"] == []
    back = diff(b, a)
    assert {row["id"] for row in back["came"]} == kept(a) - kept(b)
    assert back["steps"]["came"] == found["steps"]["went"]


def test_a_filter_that_went_and_a_grouping_that_came_are_told_apart(recipe: Path) -> None:
    allowed = "language: {allowed: [zh]}"
    a = ran(recipe, "a", ("language: {allowed: [en]}", allowed))
    b = ran(recipe, "b", ("  - language: {allowed: [en]}\n", ""))
    found = diff(a, b)
    assert {tuple(one) for row in found["came"] for one in row["by"]} == {("filter", "language_not_allowed")}
    c = ran(recipe, "c", ("split:", "groupings: []\nsplit:"))
    found = diff(c, b)
    assert {one["step"] for one in found["steps"]["went"]} == {"dedup"}
    assert len(found["went"]) == len(kept(c) - kept(b)) > 0


def test_labels_that_changed_are_told_with_both_and_abstention_is_a_step(recipe: Path) -> None:
    a = ran(recipe, "a", ("scale: [1, 5]", "scale: [1, 5], satisfied: 4, dissatisfied: 2"))
    b = ran(recipe, "b", ("scale: [1, 5]", "scale: [5, 1]"))
    found = diff(a, b)
    ways = {(row["from"], row["to"]) for row in found["relabelled"]}
    assert ("desirable", "undesirable") in ways
    labels = [
        pl.concat([prefdata.kept_rows(run).select("id", "label"), prefdata.dropped_rows(run).select("id", "label")])
        for run in (a, b)
    ]
    pairs = labels[0].join(labels[1], on="id", suffix="_after")
    changed = pairs.filter(pl.col("label").ne_missing(pl.col("label_after")))
    assert [row["id"] for row in found["relabelled"]] == sorted(changed["id"])
    strict = ran(recipe, "c", ("split:", "labels: {min_confidence: 0.999}\nsplit:"))
    steps = {(one["step"], one["reason"]) for one in diff(recipe.parent / "run", strict)["steps"]["went"]}
    assert ("label", "label_abstained") in steps


def test_appended_sessions_come_as_new_rows_and_an_erased_customer_goes_as_erased(recipe: Path) -> None:
    a = recipe.parent / "run"
    small_log.write_log(recipe.parent, sessions=70)
    b = ran(recipe, "b")
    found = diff(a, b)
    assert {one["reason"] for one in found["steps"]["came"] if one["step"] == "input"} == {"new_row"}
    assert found["inputs"] == [{"source": "chats", "file": "chats.csv", "what": "changed"}]
    small_log.write_log(recipe.parent)
    c = ran(recipe, "c")
    erase(c, "c4")
    found = diff(a, c)
    gone = [row["id"] for row in found["went"] if row["by"] == [["input", "erased"]]]
    assert set(gone) == kept(a) - {*kept(c), *prefdata.dropped_rows(c)["id"]}
    assert len(gone) > 0


def test_rows_left_out_for_balance_and_moved_splits_are_told(recipe: Path) -> None:
    a = recipe.parent / "run"
    b = ran(recipe, "b", ("split:", "balance: {per_customer: 1}\nsplit:"))
    assert {one["step"] for one in diff(a, b)["steps"]["went"]} == {"balance"}
    c = ran(recipe, "c", ("evaluation: 0.25", "evaluation: 0.25, salt: 9"))
    found = diff(a, c)
    rows = prefdata.kept_rows(a).join(prefdata.kept_rows(c), on="id", suffix="_after")
    moved = rows.filter(pl.col("split") != pl.col("split_after")).sort("id")
    assert [(one["id"], one["from"], one["to"]) for one in found["moved"]] == moved.select(
        "id", "split", "split_after"
    ).rows()
    assert len(found["moved"]) > 0


def test_a_changed_transform_edits_rows(recipe: Path) -> None:
    a = recipe.parent / "run"
    b = ran(recipe, "b", ("split:", "transforms: [unicode]\nsplit:"))
    assert len(diff(a, b)["edited"]) > 0


def test_the_command_prints_lines_or_one_object(
    recipe: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    run = recipe.parent / "run"
    monkeypatch.setattr("sys.argv", ["prefdata", "diff", str(run), str(run), "--json"])
    with pytest.raises(SystemExit):
        main()
    assert json.loads(capsys.readouterr().out)["kept_in_both"] == 56


def test_what_is_no_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no run\.json there"):
        diff(tmp_path, tmp_path)
