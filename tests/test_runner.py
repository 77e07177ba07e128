"""A run of the data part: the account of every row, resume, and the same result however it is run."""

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
from prefdata import judging, runner
from prefdata.errors import InputError, LockedError, QuarantineError, RecipeError
from prefdata.rundir import RunDir

_spec = importlib.util.spec_from_file_location("small_log", Path(__file__).with_name("small_log.py"))
assert _spec is not None
assert _spec.loader is not None
small_log: Any = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(small_log)

SAME = ("report.json",)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    small_log.write_log(tmp_path)
    path: Path = small_log.write_recipe(tmp_path)
    return path


@pytest.fixture
def finished(small_run: Path, tmp_path: Path) -> Path:
    """The recipe beside its log, and `run` that was made of them."""
    shutil.copytree(small_run, tmp_path, dirs_exist_ok=True)
    return tmp_path / "recipe.yaml"


def decided(path: Path) -> dict[str, Any]:
    """All that must be the same between two runs: rows with labels and reasons, and report.json byte for byte."""
    columns = ("id", "label", "label_confidence", "label_sources", "evidence", "prompt", "completion")
    report = json.loads((path / "report.json").read_text())
    report["recipe"].pop("shard_rows")
    return {
        "kept": runner.kept_rows(path).select(*columns, "group", "split").to_dicts(),
        "dropped": runner.dropped_rows(path).select(*columns, "reasons", "unjudged", "survivor").to_dicts(),
        "report": report,
        "export": (path / "exports/trl/train.parquet").read_bytes(),
    }


def test_every_unit_and_every_row_is_accounted_for(recipe: Path, tmp_path: Path) -> None:
    result = prefdata.run(recipe, out=tmp_path / "run", train=False)
    facts = json.loads((tmp_path / "run/run.json").read_text())
    (fate,) = facts["fates"]
    assert fate == {
        "source": "chats",
        "file": "chats.csv",
        "row": 120,
        "context": 120,
        "signal": 0,
        "separator": 0,
        "set_aside": 0,
        "quarantined": 2,
        "units": 242,
    }
    assert (result.read, result.quarantined, result.kept + result.dropped) == (242, 2, 120)
    dropped = runner.dropped_rows(tmp_path / "run")
    assert dropped.height == result.dropped
    assert dropped["reasons"].list.len().min() == 2
    ids = [*runner.kept_rows(tmp_path / "run")["id"], *dropped["id"]]
    assert len(set(ids)) == 120


def test_labels_follow_the_ratings(small_run: Path) -> None:
    rows = pl.concat(
        [
            runner.kept_rows(small_run / "run").drop("split"),
            runner.dropped_rows(small_run / "run").drop("reasons", "unjudged", "cluster", "survivor"),
        ]
    )
    helped = rows.filter(pl.col("completion").list.first().struct.field("content").str.contains("I have reset"))
    assert helped["label"].to_list() == [True] * helped.height
    refused = rows.filter(pl.col("completion").list.first().struct.field("content").str.contains("I cannot help"))
    assert refused["label"].to_list() == [False] * refused.height


def test_an_interrupted_run_and_a_repeated_one_end_the_same(recipe: Path, tmp_path: Path) -> None:
    prefdata.run(recipe, out=tmp_path / "whole", train=False)
    stop_at = {"count": 0}

    def stop(step: str, done: int, total: int) -> None:
        stop_at["count"] += 1
        if stop_at["count"] == 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prefdata.run(recipe, out=tmp_path / "broken", train=False, progress=stop)
    prefdata.run(recipe, out=tmp_path / "broken", train=False)
    prefdata.run(recipe, out=tmp_path / "broken", train=False)
    assert decided(tmp_path / "broken") == decided(tmp_path / "whole")
    assert (tmp_path / "broken/report.json").read_bytes() == (tmp_path / "whole/report.json").read_bytes()


def test_shards_and_threads_change_nothing(recipe: Path, tmp_path: Path) -> None:
    prefdata.run(recipe, out=tmp_path / "a", train=False)
    prefdata.run(recipe, out=tmp_path / "b", train=False, threads=2)
    small_log.write_recipe(tmp_path, shard_rows=7)
    prefdata.run(recipe, out=tmp_path / "c", train=False, threads=2)
    expected = decided(tmp_path / "a")
    assert decided(tmp_path / "b") == expected
    assert decided(tmp_path / "c") == expected


def test_a_changed_threshold_scores_nothing_again(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = runner.kept_rows(tmp_path / "run").height
    calls: list[str] = []
    real = judging.judge

    def counted(*args: Any) -> pl.DataFrame:
        calls.append(args[1].name)
        return real(*args)

    monkeypatch.setattr(judging, "judge", counted)
    small_log.write_recipe(tmp_path, max_toxicity=0.0001)
    prefdata.run(finished, out=tmp_path / "run", train=False)
    assert calls == []
    assert runner.kept_rows(tmp_path / "run").height < before


def test_a_damaged_file_is_made_again(finished: Path, tmp_path: Path) -> None:
    expected = decided(tmp_path / "run")
    for folder in ("records", "scores/toxicity"):
        (file,) = sorted((tmp_path / "run" / folder).glob("*.parquet"))[:1]
        raw = bytearray(file.read_bytes())
        raw[len(raw) // 2] ^= 1
        file.write_bytes(bytes(raw))
        prefdata.run(finished, out=tmp_path / "run", train=False)
        assert decided(tmp_path / "run") == expected


def test_a_changed_input_is_read_again(finished: Path, tmp_path: Path) -> None:
    small_log.write_log(tmp_path, sessions=62)
    result = prefdata.run(finished, out=tmp_path / "run", train=False)
    assert result.kept + result.dropped == 124


def test_appended_sessions_keep_the_ids_of_the_others(finished: Path, tmp_path: Path) -> None:
    before = {*runner.kept_rows(tmp_path / "run")["id"], *runner.dropped_rows(tmp_path / "run")["id"]}
    small_log.write_log(tmp_path, sessions=70)
    prefdata.run(finished, out=tmp_path / "run", train=False)
    after = {*runner.kept_rows(tmp_path / "run")["id"], *runner.dropped_rows(tmp_path / "run")["id"]}
    assert before < after


def test_two_runs_never_write_one_directory(recipe: Path, tmp_path: Path) -> None:
    with RunDir(tmp_path / "run").locked(), pytest.raises(LockedError, match="another process is writing this run"):
        prefdata.run(recipe, out=tmp_path / "run", train=False)


def test_too_much_quarantine_stops_the_run(tmp_path: Path) -> None:
    small_log.write_log(tmp_path, broken=30)
    recipe = small_log.write_recipe(tmp_path)
    with pytest.raises(QuarantineError, match=r"30 of 270 units could not be read \(11.1%\)"):
        prefdata.run(recipe, out=tmp_path / "run", train=False)


def test_a_missing_file_is_named_as_the_recipe_names_it(tmp_path: Path) -> None:
    recipe = small_log.write_recipe(tmp_path)
    with pytest.raises(InputError, match=r"source chats: chats\.csv is not there"):
        prefdata.run(recipe, out=tmp_path / "run", train=False)


def test_a_rerun_that_stops_leaves_no_directory_that_looks_finished(finished: Path, tmp_path: Path) -> None:
    from prefdata.explain import explain

    small_log.write_log(tmp_path, broken=40)
    with pytest.raises(QuarantineError):
        prefdata.run(finished, out=tmp_path / "run", train=False)
    assert not (tmp_path / "run/report.html").exists()
    with pytest.raises(InputError, match=r"no run\.json there"):
        explain(tmp_path / "run", "0")


def test_a_file_that_cannot_be_read_at_all_stops_the_run(tmp_path: Path) -> None:
    small_log.write_log(tmp_path, broken=0)
    recipe = small_log.write_recipe(tmp_path)
    (tmp_path / "bad.csv").write_bytes(b"\x00\x01\x02" * 1000)
    recipe.write_text(recipe.read_text().replace("path: chats.csv", "path: [chats.csv, bad.csv]"))
    with pytest.raises(InputError, match=r"1 files could not be read at all: bad\.csv"):
        prefdata.run(recipe, out=tmp_path / "run", train=False)


def test_files_of_one_name_in_two_folders_are_both_watched(tmp_path: Path) -> None:
    home = tmp_path / "home"
    for folder in (home, tmp_path / "jan", tmp_path / "feb"):
        folder.mkdir()
    small_log.write_log(tmp_path / "jan", sessions=30, broken=0)
    small_log.write_log(tmp_path / "feb", sessions=30, broken=0)
    recipe = small_log.write_recipe(home)
    paths = f"path: [{tmp_path}/jan/chats.csv, {tmp_path}/feb/chats.csv]"
    recipe.write_text(recipe.read_text().replace("path: chats.csv", paths))
    before = prefdata.run(recipe, out=home / "run", train=False)
    small_log.write_log(tmp_path / "jan", sessions=10, broken=0)
    after = prefdata.run(recipe, out=home / "run", train=False)
    assert (before.read, after.read) == (240, 160)


def test_a_source_folder_may_hold_the_run(tmp_path: Path) -> None:
    small_log.write_log(tmp_path)
    recipe = small_log.write_recipe(tmp_path)
    recipe.write_text(recipe.read_text().replace("path: chats.csv", "path: ."))
    for _ in range(2):
        assert prefdata.run(recipe, out=tmp_path / "run", train=False).read == 242


def test_another_recipe_never_overwrites_a_run(finished: Path, tmp_path: Path) -> None:
    finished.write_text(finished.read_text().replace("name: small", "name: other"))
    with pytest.raises(RecipeError, match="holds a run of 'small', this recipe is 'other'; name another --out"):
        prefdata.run(finished, out=tmp_path / "run", train=False)


def test_exports_of_an_earlier_recipe_are_taken_away(finished: Path, tmp_path: Path) -> None:
    finished.write_text(finished.read_text() + "export: []\n")
    prefdata.run(finished, out=tmp_path / "run", train=False)
    assert list((tmp_path / "run/exports").iterdir()) == []


def test_what_touched_a_row_is_told_of_its_prompt_too(small_run: Path) -> None:
    rows = pl.concat(
        [
            runner.kept_rows(small_run / "run").select("prompt", "meta"),
            runner.dropped_rows(small_run / "run").select("prompt", "meta"),
        ]
    )
    called = rows.filter(pl.col("prompt").list.first().struct.field("content").str.contains("Call me at <PHONE_1>"))
    assert called.height == 2
    assert {json.dumps(json.loads(meta)["touched"]) for meta in called["meta"]} == {'["personal_data.phone:1"]'}


def test_rows_know_the_language_of_their_reply(small_run: Path) -> None:
    assert set(runner.kept_rows(small_run / "run")["language"]) <= {"en", None}


def test_reading_the_rows_of_no_run_is_told_plainly(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no kept rows there"):
        prefdata.kept_rows(str(tmp_path))


def test_splits_share_no_session_customer_or_prompt(small_run: Path) -> None:
    rows = runner.kept_rows(small_run / "run").with_columns(
        customer=pl.col("meta").str.json_path_match("$.customer"),
        session=pl.col("meta").str.json_path_match("$.session"),
        text=pl.struct("prompt").struct.json_encode(),
    )
    train, held = rows.filter(pl.col("split") == "train"), rows.filter(pl.col("split") == "evaluation")
    assert held.height > 0
    for column in ("group", "customer", "session", "text"):
        assert set(train[column]) & set(held[column]) == set()


def test_explain_tells_a_rows_life(small_run: Path) -> None:
    from prefdata.explain import explain, told

    row = runner.dropped_rows(small_run / "run").filter(pl.col("survivor").is_not_null()).row(0, named=True)
    life = explain(small_run / "run", row["id"])
    assert life["file"] == "chats.csv"
    assert life["kept"] is False
    assert life["survivor"] == row["survivor"]
    assert {verdict["rule"] for verdict in life["verdicts"]} >= {"reply_toxic", "language_not_allowed"}
    assert f"instead  {row['survivor']} was kept" in told(life)
    with pytest.raises(InputError, match="'zz' is the beginning of no id in this run"):
        explain(small_run / "run", "zz")


def cli(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "prefdata.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=dict(os.environ), check=False)


def test_the_command_ends_with_where_the_output_is(recipe: Path, tmp_path: Path) -> None:
    done = cli("build", recipe, "--out", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("kept 56 of 120 rows (46.7 %), dropped 64, ")
    assert done.stdout.strip().endswith("2 quarantined of 242 units read; report run/report.html")


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ("recipe", 2, "unknown key"),
        ("input", 3, "is not there"),
        ("quarantine", 5, "could not be read"),
    ],
)
def test_a_users_mistake_ends_with_its_exit_code_and_no_traceback(
    recipe: Path, tmp_path: Path, change: str, code: int, message: str
) -> None:
    if change == "recipe":
        recipe.write_text(recipe.read_text() + "unjudjed: keep\n")
    elif change == "input":
        (tmp_path / "chats.csv").unlink()
    else:
        small_log.write_log(tmp_path, broken=40)
    done = cli("build", recipe, "--out", "run", cwd=tmp_path)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_dry_run_prints_the_recipe_and_changes_nothing(recipe: Path, tmp_path: Path) -> None:
    done = cli("run", recipe, "--out", "run", "--dry-run", cwd=tmp_path)
    printed = json.loads(done.stdout)
    assert printed["recipe"]["filters"][0]["settings"]["max_tokens"] == 2048
    assert printed["would_run"][0] == "read chats: chats.csv as events"
    assert not (tmp_path / "run").exists()


def test_json_output_is_one_object(recipe: Path, tmp_path: Path) -> None:
    done = cli("build", recipe, "--out", "run", "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["kept"] == 56
