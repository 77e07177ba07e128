"""Erasure: no trace of the customer's text in the run, the run stays whole, and a rerun leaves the customer out."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import prefdata
from prefdata import judging
from prefdata.cli import main
from prefdata.erase import erase
from prefdata.errors import InputError, RecipeError
from prefdata.explain import explain

_spec = importlib.util.spec_from_file_location("small_log", Path(__file__).with_name("small_log.py"))
assert _spec is not None
assert _spec.loader is not None
small_log: Any = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(small_log)

CUSTOMER = "c4"
"""In sessions 4 and 44 of the log."""

CANARIES = ("1004", "1044", "SECRETWORD")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log, its recipe, and the run of them that each test gets a copy of."""
    folder = tmp_path_factory.mktemp("made")
    log = small_log.write_log(folder)
    text = log.read_text().replace("parcel 1004", "SECRETWORD parcel 1004").replace("account 1004", "SECRETWORD 1004")
    log.write_text(text)
    assert "SECRETWORD" in text
    prefdata.run(small_log.write_recipe(folder), out=folder / "run", train=False)
    return folder


@pytest.fixture
def recipe(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path / "recipe.yaml"


@pytest.fixture
def run(recipe: Path) -> Path:
    return recipe.parent / "run"


def texts(run: Path) -> dict[str, str]:
    """Every file of a run as text, Parquet as the JSON of its cells."""
    found = {}
    for file in sorted(run.rglob("*")):
        if file.is_file():
            raw = pl.read_parquet(file).write_ndjson() if file.suffix == ".parquet" else file.read_text("utf-8")
            found[str(file.relative_to(run))] = raw
    return found


def files(run: Path) -> dict[str, bytes]:
    skipped = {".lock", "run.log.jsonl"}
    return {
        str(one.relative_to(run)): one.read_bytes()
        for one in sorted(run.rglob("*"))
        if one.is_file() and one.name not in skipped
    }


def trained(run: Path) -> Path:
    """A stage as training leaves it, with files that hold rows."""
    stage = run / "model/kto"
    stage.mkdir(parents=True)
    rows = json.loads((run / "report.json").read_text())["training_rows"]
    (stage / "rows.json").write_text(json.dumps({"training_rows": rows}))
    (stage / "samples.json").write_text(json.dumps([{"prompt": "SECRETWORD"}]))
    (stage / "stage.json").write_text("{}")
    return stage


def test_nothing_of_the_customer_is_left_in_any_file(run: Path) -> None:
    trained(run)
    # a second set of scores, of an earlier state of the recipe
    stale = run / "scores/toxicity/stale.parquet"
    pl.DataFrame({"x": ["SECRETWORD"]}).write_parquet(stale)
    ids = erase(run, CUSTOMER, dry_run=True).found.rows["id"].to_list()
    before = texts(run)
    for mark in (*CANARIES, *ids):
        assert any(mark in text for text in before.values()), mark
    erase(run, CUSTOMER)
    for name, text in texts(run).items():
        assert [mark for mark in (*CANARIES, *ids) if mark in text] == [], name


def test_a_dry_run_lists_and_changes_nothing(run: Path) -> None:
    before = files(run)
    done = erase(run, CUSTOMER, dry_run=True)
    assert files(run) == before
    assert done.receipt is None
    assert done.found.rows["file"].unique().to_list() == ["chats.csv"]
    assert done.told["sessions"] == 2
    assert done.told["rows"]["all"] == done.found.rows.height == 4


def test_the_erased_run_is_what_a_fresh_run_without_the_customer_is(recipe: Path, run: Path, tmp_path: Path) -> None:
    erase(run, CUSTOMER)
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    (fresh / "erased.json").write_bytes((run / "erased.json").read_bytes())
    prefdata.run(recipe, out=fresh, train=False)
    assert (run / "report.json").read_bytes() == (fresh / "report.json").read_bytes()
    assert prefdata.kept_rows(run).equals(prefdata.kept_rows(fresh))
    assert prefdata.dropped_rows(run).equals(prefdata.dropped_rows(fresh))
    (fate,) = json.loads((run / "run.json").read_text())["fates"]
    assert fate["erased"] == 4
    assert fate["row"] == 116
    assert sum(value for name, value in fate.items() if name not in ("source", "file", "units")) == fate["units"]


def test_the_run_stays_whole_and_resumes_without_scoring(
    recipe: Path, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any) -> pl.DataFrame:
        raise AssertionError("a score was made again")

    monkeypatch.setattr(judging, "judge", refuse)
    done = erase(run, CUSTOMER)
    before = files(run)
    prefdata.run(recipe, out=run, train=False)
    assert files(run) == before
    with pytest.raises(InputError, match="is the beginning of no id"):
        explain(run, done.found.rows["id"][0])


def test_appended_lines_of_the_customer_stay_out(recipe: Path, run: Path) -> None:
    erase(run, CUSTOMER)
    small_log.write_log(recipe.parent, sessions=90)  # session 84 is of the customer too
    result = prefdata.run(recipe, out=run, train=False)
    assert result.kept + result.dropped == 180 - 6


def test_the_receipt_tells_counts_files_and_models_and_no_time_or_name(run: Path) -> None:
    trained(run)
    kept = prefdata.kept_rows(run).height
    done = erase(run, CUSTOMER)
    assert done.receipt == run / "receipts/0001.json"
    told = json.loads(done.receipt.read_text())
    assert told == json.loads(json.dumps(done.told))
    assert told["kept"]["before"] == kept
    assert told["kept"]["after"] == prefdata.kept_rows(run).height
    assert told["models"] == (["model/kto"] if "train" in told["rows"] else [])
    changed = {one["file"]: (one["before"], one["after"]) for one in told["files"]}
    assert {"records/00000.parquet", "signals/00000.parquet", "labels.parquet", "report.json"} <= set(changed)
    assert changed["model/kto/samples.json"][1] is None
    assert all(before != after for before, after in changed.values())
    assert list(told["customer"]) == ["chats"]
    assert CUSTOMER not in json.dumps(told).replace(told["customer"]["chats"], "").split('"')
    assert "erased" in [json.loads(line)["event"] for line in (run / "run.log.jsonl").read_text().splitlines()]


def test_an_erasure_that_was_cut_off_ends_with_the_next_run(
    recipe: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tmp_path / "whole"
    shutil.copytree(run, whole)
    erase(whole, CUSTOMER)

    def cut(*arguments: Any, **settings: Any) -> None:
        raise KeyboardInterrupt

    for place in ("stages.write_sound", "_forget", "runner.conclude"):
        broken = tmp_path / place
        shutil.copytree(run, broken)
        with monkeypatch.context() as patched:
            patched.setattr(f"prefdata.erase.{place}", cut)
            with pytest.raises(KeyboardInterrupt):
                erase(broken, CUSTOMER)
        assert not (broken / "run.json").exists()
        prefdata.run(recipe, out=broken, train=False)
        assert prefdata.kept_rows(broken).equals(prefdata.kept_rows(whole)), place
        assert (broken / "report.json").read_bytes() == (whole / "report.json").read_bytes(), place
        for name, text in texts(broken).items():
            assert [mark for mark in CANARIES if mark in text] == [], (place, name)


def test_two_customers_leave_two_receipts(run: Path) -> None:
    erase(run, "c4")
    erase(run, "c5")
    assert sorted(one.name for one in (run / "receipts").iterdir()) == ["0001.json", "0002.json"]
    assert len(json.loads((run / "erased.json").read_text())["chats"]) == 2
    with pytest.raises(InputError, match="no row of this customer in chats"):
        erase(run, "c4")


def test_other_ids_of_another_key_are_refused(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFDATA_KEY", "another")
    with pytest.raises(InputError, match="with another PREFDATA_KEY"):
        erase(run, CUSTOMER)


def test_the_only_customer_of_a_run_is_not_erased_but_the_directory_is(recipe: Path, tmp_path: Path) -> None:
    log = recipe.parent / "chats.csv"
    lines = log.read_text().splitlines()
    log.write_text("\n".join([lines[0], *(line for line in lines if ",c4,Maria" in line)]) + "\n")
    prefdata.run(recipe, out=tmp_path / "one", train=False)
    with pytest.raises(RecipeError, match="delete the whole directory"):
        erase(tmp_path / "one", CUSTOMER)


def test_the_command_lists_and_then_erases(run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.setattr("sys.argv", ["prefdata", "erase", str(run), "--customer", CUSTOMER, "--dry-run"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert capsys.readouterr().out.endswith("would erase 4 rows of 2 sessions; nothing was changed\n")
