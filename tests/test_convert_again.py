"""Conversions into folders that hold others, pictures that come late, and what is told of rows that are written."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

import prefdata
from prefdata.cli import _stopped, app
from prefdata.errors import InputError, RecipeError

Q, A, B = ({"role": role, "content": text} for role, text in (("user", "q"), ("assistant", "a"), ("assistant", "b")))
PAIR = {"prompt": [Q], "chosen": [A], "rejected": [B]}
EQUAL = PAIR | {"rejected": [A]}


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def test_dataset_info_keeps_the_entries_of_other_files(tmp_path: Path) -> None:
    out = tmp_path / "data"
    out.mkdir()
    (out / "dataset_info.json").write_text('{"identity": {"file_name": "identity.json"}}')
    for name in ("one.jsonl", "two.jsonl", "one.jsonl"):
        prefdata.convert(write(tmp_path / name, [PAIR]), to="llamafactory", out=out)
    info = json.loads((out / "dataset_info.json").read_text())
    assert {name: entry["file_name"] for name, entry in info.items()} == {
        "identity": "identity.json",
        "one": "one.jsonl",
        "two": "two.jsonl",
    }
    assert info["identity"] == {"file_name": "identity.json"}


def test_a_dataset_info_of_another_kind_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "dataset_info.json").write_text("[1]")
    with pytest.raises(InputError, match=r"dataset_info\.json: is no JSON object of entries; give another folder"):
        prefdata.convert(write(tmp_path / "one.jsonl", [PAIR]), to="llamafactory", out=tmp_path / "data")
    assert (tmp_path / "data" / "dataset_info.json").read_text() == "[1]"
    assert [one.name for one in (tmp_path / "data").iterdir()] == ["dataset_info.json"]


def test_refused_rows_of_other_splits_are_kept_and_those_of_the_same_replaced(tmp_path: Path) -> None:
    out = tmp_path / "data"

    def refused() -> list[tuple[str, int]]:
        gone = out / ".refused.parquet"
        return pl.read_parquet(gone).select("file", "line").sort("file").rows() if gone.exists() else []

    prefdata.convert(write(tmp_path / "train.jsonl", [PAIR, EQUAL]), to="trl", out=out)
    prefdata.convert(write(tmp_path / "test.jsonl", [EQUAL, PAIR]), to="trl", out=out)
    assert refused() == [("test.jsonl", 1), ("train.jsonl", 2)]
    prefdata.convert(write(tmp_path / "train.jsonl", [PAIR]), to="trl", out=out)
    assert refused() == [("test.jsonl", 1)]
    prefdata.convert(write(tmp_path / "test.jsonl", [PAIR]), to="trl", out=out)
    assert refused() == []


def test_another_file_of_that_name_is_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "data"
    out.mkdir()
    pl.DataFrame({"mine": [1]}).write_parquet(out / ".refused.parquet")
    with pytest.raises(InputError, match=r"\.refused\.parquet: holds no refused rows; give another folder"):
        prefdata.convert(write(tmp_path / "one.jsonl", [PAIR]), to="trl", out=out)
    assert [one.name for one in out.iterdir()] == [".refused.parquet"]


@pytest.mark.parametrize("name", ["out.parquet", "out.jsonl"])
def test_pictures_after_many_rows_without_give_one_shape(tmp_path: Path, name: str) -> None:
    long = {"messages": [{"role": "user", "content": "q" * 1_000_000}, A]}
    seen = {
        "messages": [
            {"role": "user", "content": [{"type": "image", "image": "a.png"}]},
            A | {"content": [{"type": "text", "text": "a"}]},
        ]
    }
    source = write(tmp_path / "in.jsonl", [long] * 18 + [seen])
    result = prefdata.convert(source, to="trl", out=tmp_path / name)
    assert (result.read, result.written) == (19, 19)
    rows = (pl.read_parquet if name.endswith("parquet") else pl.read_ndjson)(tmp_path / name)
    assert rows["completion"][0].to_list() == [{"role": "assistant", "content": [{"type": "text", "text": "a"}]}]
    assert rows["images"].to_list() == [[]] * 18 + [["a.png"]]


def test_turns_that_become_context_are_told(tmp_path: Path) -> None:
    one = {"messages": [Q, A]}
    source = write(tmp_path / "in.jsonl", [one, {"messages": [Q, A, Q, B]}])
    result = prefdata.convert(source, to="swift", out=tmp_path / "out.jsonl")
    assert result.context == 1
    shown = CliRunner().invoke(app, ["convert", str(source), "--to", "trl", "--out", str(tmp_path / "b.jsonl")]).output
    assert "1 rows have turns of the assistant before the answer: context, not to be trained on" in shown


def test_columns_of_later_chunks_are_told_too(tmp_path: Path) -> None:
    long = PAIR | {"chosen": [A | {"content": "a" * 1_000_000}]}
    source = write(tmp_path / "in.jsonl", [long | {"early": 1}] * 18 + [PAIR | {"late": 1}])
    result = prefdata.convert(source, to="trl", out=tmp_path / "out.jsonl")
    assert result.other_columns == ("early", "late")


def test_what_cannot_be_asked_for_is_said(tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", [PAIR])
    with pytest.raises(RecipeError, match="hh_rlhf is read only"):
        prefdata.convert(source, to="hh_rlhf", out=tmp_path / "out.jsonl")
    with pytest.raises(RecipeError, match="control_tokens 'hide': expected keep, escape, refuse"):
        prefdata.convert(source, to="trl", out=tmp_path / "out.jsonl", control_tokens="hide")  # type: ignore[arg-type]


def test_fields_of_messages_that_no_format_reads_are_told(tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", [{"messages": [Q | {"name": None}, A | {"reasoning": "hm", "weight": 1}]}])
    result = prefdata.convert(source, to="trl", out=tmp_path / "out.jsonl")
    assert (result.written, result.other_columns) == (1, ("messages.reasoning",))


def test_a_format_that_would_refuse_all_rows_is_no_other_way(tmp_path: Path) -> None:
    row = {"prompt": "q", "chosen": [Q, A], "rejected": [Q, B], "score_chosen": 8.0, "score_rejected": 3.0}
    row |= {"messages": [Q, A]}
    result = prefdata.convert(write(tmp_path / "in.jsonl", [row, row]), to="trl", out=tmp_path / "out.jsonl")
    assert (result.source, result.written) == ("ultrafeedback", 2)
    again = prefdata.convert(write(tmp_path / "in.jsonl", [EQUAL, EQUAL]), to="trl", out=tmp_path / "out.jsonl")
    assert (again.source, again.refused_writing) == ("trl", {"equal_sides": 2})


def test_an_interrupted_conversion_leaves_no_file_and_does_not_promise_to_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_: object) -> None:
        with pytest.raises(SystemExit):
            _stopped(signal.SIGINT, None)
        raise KeyboardInterrupt

    source = write(tmp_path / "in.jsonl", [PAIR])
    with pytest.raises(KeyboardInterrupt):
        prefdata.convert(source, to="trl", out=tmp_path / "out.jsonl", progress=stop)
    assert [one.name for one in tmp_path.iterdir()] == ["in.jsonl"]
    told = "prefdata: interrupted; given again, a run goes on where it was, other commands begin anew\n"
    assert capsys.readouterr().err == told


@pytest.mark.parametrize("name", ["pairs.parquet", "train.parquet", "train.jsonl", "mine"])
def test_datasets_takes_no_refused_row_for_data(tmp_path: Path, name: str) -> None:
    import datasets

    out = tmp_path / "out"
    out.mkdir()
    result = prefdata.convert(write(tmp_path / "source.jsonl", [PAIR, EQUAL]), to="trl", out=out / name)
    assert result.refused == 1
    found = datasets.load_dataset_builder(str(out), cache_dir=str(tmp_path / "cache")).config.data_files
    data = out / name / "source.parquet" if name == "mine" else out / name
    assert {split: list(files) for split, files in found.items()} == {"train": [str(data)]}
