"""Tables whose columns are told: what becomes of a cell, of a label, of a row without a prompt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

import prefdata
from prefdata.cli import app
from prefdata.errors import InputError, RecipeError
from prefdata.formats.core import Outcome
from prefdata.formats.table import Table
from prefdata.opening import open_dataset
from prefdata.schema import RecordType


def asked(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text, "tool_calls": None}]


def answered(text: str) -> list[dict[str, Any]]:
    return [{"role": "assistant", "content": text, "tool_calls": None}]


def refused(outcome: Outcome) -> list[tuple[int, list[str]]]:
    return [(at, list(reasons)) for at, reasons in outcome.refused.rows()]


def test_columns_are_what_they_are_said_to_be() -> None:
    rows = pl.DataFrame({"tweet": ["hello", "go away"], "class": ["2", "0"], "votes": ["3", "1"]})
    table = Table(columns={"completion": "tweet", "label": "class"}, labels={"2": True, "0": False})
    (match,) = table.recognise(rows)
    assert match == (
        RecordType.UNPAIRED,
        ("as columns are said to be: completion (column tweet), label (column class)",),
    )
    outcome = table.decode(rows, RecordType.UNPAIRED)
    assert outcome.rows["prompt"].to_list() == [[], []]
    assert outcome.rows["completion"].to_list() == [answered("hello"), answered("go away")]
    assert outcome.rows["label"].to_list() == [True, False]
    assert outcome.rows["meta"].to_list() == ['{"votes":"3"}', '{"votes":"1"}']
    assert refused(outcome) == []


def test_a_column_of_pictures_is_what_the_prompt_is_about() -> None:
    rows = pl.DataFrame(
        {
            "image": ["a.png", "b.png", "", "c.png"],
            "prompt": ["What?", "Is <image> red?", "Who?", None],
            "chosen": ["x"] * 4,
            "rejected": ["y"] * 4,
        }
    )
    outcome = Table(columns={"image": "image"}).decode(rows, RecordType.PREFERENCE)
    texts = ["\ufffcWhat?", "Is \ufffc red?", "Who?", "\ufffc"]
    assert outcome.rows["prompt"].to_list() == [asked(text) for text in texts]
    uris = [[one["uri"] for one in some or []] for some in outcome.rows["images"].to_list()]
    assert uris == [["a.png"], ["b.png"], [], ["c.png"]]
    assert Table().decode(rows, RecordType.PREFERENCE).rows["images"].null_count() == 4  # only where that is said


@pytest.mark.parametrize(
    ("columns", "wanted"),
    [
        ({"chosen": "x", "rejected": "y"}, RecordType.PREFERENCE),
        ({"completion": "x", "label": "y"}, RecordType.UNPAIRED),
        ({"prompt": "x", "completion": "y"}, RecordType.SFT),
        ({"completion": "x"}, RecordType.SFT),
        ({"prompt": "x", "answer": "y"}, RecordType.PROMPT),
    ],
)
def test_the_type_follows_from_the_columns(columns: dict[str, str], wanted: RecordType) -> None:
    rows = pl.DataFrame({"x": ["a"], "y": ["b"]})
    assert [match.type for match in Table(columns=columns).recognise(rows)] == [wanted]


def test_a_column_of_the_name_itself_needs_no_entry_but_for_words_of_many_meanings() -> None:
    rows = pl.DataFrame({"prompt": ["q"], "text": ["a"], "id": ["7"], "group": ["g"], "language": ["en"]})
    outcome = Table(columns={"completion": "text"}).decode(rows, RecordType.SFT)
    assert outcome.rows["prompt"].to_list() == [asked("q")]
    assert outcome.rows["id"].to_list() == ["7"]
    assert outcome.rows["language"].to_list() == [None]
    assert outcome.rows["meta"].to_list() == ['{"group":"g","language":"en"}']
    told = Table(columns={"completion": "text", "group": "group", "language": "language"})
    outcome = told.decode(rows, RecordType.SFT)
    assert outcome.rows.select("group", "language").rows() == [("g", "en")]


def test_one_column_may_be_two_things_and_a_column_called_meta_one() -> None:
    rows = pl.DataFrame({"meta": ["q"], "label": ["true"], "rest": ["r"]})
    table = Table(columns={"prompt": "meta", "completion": "meta"})
    outcome = table.decode(rows, RecordType.UNPAIRED)
    assert outcome.rows.select("prompt", "completion", "label", "meta").rows() == [
        (asked("q"), answered("q"), True, '{"rest":"r"}')
    ]


@pytest.mark.parametrize(
    ("cell", "label", "reasons"),
    [
        ("true", True, []),
        ("FALSE", False, []),
        (" True ", True, []),
        ("good", True, []),
        ("", None, []),
        (None, None, []),
        ("1", None, ["ambiguous_label"]),
        ("yes", None, ["ambiguous_label"]),
    ],
)
def test_labels_are_true_and_false_and_what_is_told(cell: str | None, label: bool | None, reasons: list[str]) -> None:
    rows = pl.DataFrame({"completion": ["a"], "label": [cell]}, schema={"completion": pl.String, "label": pl.String})
    outcome = Table(labels={"good": True}).decode(rows, RecordType.UNPAIRED)
    assert outcome.rows["label"].to_list() == ([] if reasons else [label])
    assert refused(outcome) == ([(0, reasons)] if reasons else [])


def test_numbers_of_typed_files_are_labels_by_their_text() -> None:
    rows = pl.DataFrame({"text": ["a", "b", "c"], "stars": [5.0, 1.0, 3.0]})
    table = Table(columns={"completion": "text", "label": "stars"}, labels={"5": True, "1": False})
    outcome = table.decode(rows, RecordType.UNPAIRED)
    assert outcome.rows["label"].to_list() == [True, False]
    assert refused(outcome) == [(2, ["ambiguous_label"])]


def test_a_blank_cell_is_nothing() -> None:
    rows = pl.DataFrame(
        {
            "prompt": ["q", "", "q", "q"],
            "chosen": ["a", "b", " \t", "c"],
            "rejected": ["x", "y", "z", "w"],
            "margin": ["0.5", "", "1", "much"],
        }
    )
    outcome = Table().decode(rows, RecordType.PREFERENCE)
    assert outcome.rows.select("prompt", "margin").rows() == [(asked("q"), 0.5), ([], None)]
    assert refused(outcome) == [(2, ["empty_answer"]), (3, ["margin_not_a_number"])]


def test_a_system_prompt_comes_first_and_rows_without_a_prompt_can_be_given_one() -> None:
    rows = pl.DataFrame({"prompt": ["q", ""], "system": ["be kind", ""], "completion": ["a", "b"]})
    outcome = Table(prompt="Say b.").decode(rows, RecordType.SFT)
    assert outcome.rows["prompt"].to_list() == [
        [{"role": "system", "content": "be kind", "tool_calls": None}, *asked("q")],
        asked("Say b."),
    ]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"completion": "txt"}, "columns.completion: no column 'txt'; the file has text, class"),
        ({"complete": "text"}, "columns.complete: did you mean 'completion'"),
        ({"label": "class"}, "say which hold chosen and rejected, completion (with label), or prompt"),
    ],
)
def test_columns_that_are_not_there_are_told(tmp_path: Path, columns: dict[str, str], message: str) -> None:
    (tmp_path / "rows.csv").write_text("text,class\na,1\n")
    with pytest.raises(RecipeError) as caught:
        open_dataset(tmp_path / "rows.csv", columns=columns)
    assert message in str(caught.value)


def test_a_type_that_lacks_a_column_says_which(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("text,class\na,1\n")
    with pytest.raises(RecipeError, match="unpaired_preference needs label; the file has text, class"):
        prefdata.audit(tmp_path / "rows.csv", columns={"completion": "text"}, type="unpaired_preference")
    with pytest.raises(RecipeError, match="columns are said of a table"):
        open_dataset(tmp_path / "rows.csv", columns={"completion": "text"}, source="trl")


def test_a_csv_whose_columns_are_a_formats_is_that_format(tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text("prompt,chosen,rejected\nq,a,b\n")
    opened = open_dataset(tmp_path / "pairs.csv")
    assert (opened.reading.format.name, opened.reading.type) == ("trl", RecordType.PREFERENCE)


def test_a_csv_goes_through_convert_and_audit_from_the_command_line(tmp_path: Path) -> None:
    source = tmp_path / "rated.csv"
    source.write_text("reply,stars\nThank you,5\nGo away,1\nWell,3\nx,y,z\n")
    told = ["--columns", "completion=reply", "--columns", "label=stars", "--label", "5=true", "--label", "1=false"]
    result = CliRunner().invoke(app, ["audit", str(source), *told, "--json"])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert (report["type"], report["read"], report["rows"]) == ("unpaired_preference", 4, 2)
    found = {one["check"]: one["count"] for one in report["findings"]}
    assert found["ambiguous_label"] == 1
    assert found["ragged_row"] == 1
    result = CliRunner().invoke(app, ["convert", str(source), *told, "--to", "trl", "--out", str(tmp_path / "x.jsonl")])
    assert isinstance(result.exception, InputError)
    assert "empty_prompt" in str(result.exception)
    given = ["--from-set", "prompt=Say something."]
    out = tmp_path / "y.parquet"
    result = CliRunner().invoke(app, ["convert", str(source), *told, *given, "--to", "trl", "--out", str(out)])
    assert result.exit_code == 0, result.output
    rows = pl.read_parquet(out)
    assert [row[-1]["content"] for row in rows["prompt"].to_list()] == ["Say something."] * 2
    assert sorted(zip([row[-1]["content"] for row in rows["completion"].to_list()], rows["label"], strict=True)) == [
        ("Go away", False),
        ("Thank you", True),
    ]


@pytest.mark.parametrize("given", ["completion", "=x", "completion="])
def test_a_mapping_that_says_nothing_is_wrong_usage(tmp_path: Path, given: str) -> None:
    (tmp_path / "rows.csv").write_text("a\nx\n")
    result = CliRunner().invoke(app, ["audit", str(tmp_path / "rows.csv"), "--columns", given])
    assert isinstance(result.exception, RecipeError)
    assert "expected NAME=COLUMN" in str(result.exception)


def test_a_recipe_reads_a_table(tmp_path: Path) -> None:
    (tmp_path / "rated.csv").write_text(
        "question,reply,stars\n" + "".join(f"Where is order {at}?,It is at stop {at}.,{at % 2}\n" for at in range(40))
    )
    (tmp_path / "recipe.yaml").write_text(
        """
name: rated
sources:
  - name: rated
    path: rated.csv
    format: {table: {columns: {prompt: question, completion: reply, label: stars}}}
    labels: {"1": true, "0": false}
export: [trl]
""",
        "utf-8",
    )
    prefdata.run(tmp_path / "recipe.yaml", out=tmp_path / "run")
    report = json.loads((tmp_path / "run" / "report.json").read_text("utf-8"))
    (account,) = report["accounts"]
    assert (account["read_as"], account["type"], account["read"]) == ("table", "unpaired_preference", 40)
