"""`prefdata convert`: recognised formats, reasons, accounts, places."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import polars as pl
import pytest
from typer.testing import CliRunner

import prefdata
from prefdata import catalogue
from prefdata.cli import app
from prefdata.conversion import Converted
from prefdata.errors import InputError, RecipeError
from prefdata.formats.core import Outcome
from prefdata.formats.trl import Trl
from prefdata.schema import RecordType


def turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def pair(prompt: str, chosen: str, rejected: str, **more: Any) -> dict[str, Any]:
    return {
        "prompt": [turn("user", prompt)],
        "chosen": [turn("assistant", chosen)],
        "rejected": [turn("assistant", rejected)],
        **more,
    }


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), "utf-8")
    return path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def adds_up(result: Converted, path: Path) -> None:
    """Every record is written or stands in refused.parquet (of formats and types that make one row of one)."""
    gone = pl.read_parquet(path) if path.exists() else pl.DataFrame()
    assert result.read == result.written + result.refused + result.quarantined
    assert gone.height == result.refused + result.quarantined


def test_pairs_become_another_tools_pairs(tmp_path: Path) -> None:
    source = write(tmp_path / "pairs.jsonl", [pair("q", "a", "b"), pair("r", "c", "d")])
    result = prefdata.convert(source, to="sharegpt", out=tmp_path / "out.jsonl")
    assert read(tmp_path / "out.jsonl") == [
        {
            "conversations": [{"from": "human", "value": prompt}],
            "chosen": {"from": "gpt", "value": chosen},
            "rejected": {"from": "gpt", "value": rejected},
        }
        for prompt, chosen, rejected in (("q", "a", "b"), ("r", "c", "d"))
    ]
    assert (result.source, result.type, result.reasons) == ("trl", "preference", ("columns chosen, rejected",))
    adds_up(result, tmp_path / ".out.refused.parquet")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["out.jsonl", "pairs.jsonl"]


def test_every_row_is_accounted_for(tmp_path: Path) -> None:
    rows = [pair("q", "a", "b"), "{", pair("q", "a", " "), pair("q", "a", "a"), pair("q", "c", "d", score=1), "", "17"]
    source = write(tmp_path / "pairs.jsonl", rows)
    result = prefdata.convert(source, to="trl", out=tmp_path / "data")
    assert (result.read, result.written, result.refused, result.quarantined) == (6, 2, 2, 2)
    assert result.refused_writing == {"empty_answer": 1, "equal_sides": 1}
    assert result.unreadable == {"malformed_json": 1, "not_object": 1}
    assert result.other_columns == ("score",)
    adds_up(result, tmp_path / "data" / ".refused.parquet")
    gone = pl.read_parquet(tmp_path / "data" / ".refused.parquet").sort("line")
    assert gone.select("file", "line", "step", "reasons").rows() == [
        ("pairs.jsonl", 2, "unreadable", ["malformed_json"]),
        ("pairs.jsonl", 3, "writing", ["empty_answer"]),
        ("pairs.jsonl", 4, "writing", ["equal_sides"]),
        ("pairs.jsonl", 7, "unreadable", ["not_object"]),
    ]
    assert pl.read_parquet(tmp_path / "data" / "pairs.parquet").height == 2


def test_rows_of_other_types_keep_their_place(tmp_path: Path) -> None:
    parts = [{"role": "user", "content": [{"type": "text", "text": "r"}]}]
    rows = [pair("q", "a", "b"), {**pair("r", "c", "d"), "prompt": parts}, pair("s", "e", "f")]
    prefdata.convert(write(tmp_path / "pairs.jsonl", rows), to="trl", out=tmp_path / "out.jsonl")
    assert [row["prompt"][0]["content"] for row in read(tmp_path / "out.jsonl")] == ["q", "r", "s"]


def test_pairs_become_unpaired_and_lead_back_to_their_line(tmp_path: Path) -> None:
    source = write(tmp_path / "pairs.jsonl", [pair("q", "a", "b"), pair("r", "c", ""), pair("s", "e", "e")])
    result = prefdata.convert(source, to="trl", out=tmp_path / "out.jsonl", written_as="unpaired_preference")
    found = [(row["completion"][0]["content"], row["label"]) for row in read(tmp_path / "out.jsonl")]
    assert found == [("a", True), ("b", False), ("c", True)]
    assert (result.read, result.retyped, result.written) == (3, 3, 3)
    assert result.refused_building == {"equal_sides": 2, "empty_completion": 1}
    gone = pl.read_parquet(tmp_path / ".out.refused.parquet").sort("line", "step")
    assert gone.select("line", "step").rows() == [(2, "building"), (3, "building"), (3, "building")]


@dataclass(frozen=True, kw_only=True)
class Swapped(Trl):
    """A format that takes the same columns for something else, and the same again under a third name."""

    name: ClassVar[str] = "swapped"

    def decode(self, rows: pl.DataFrame, record_type: RecordType) -> Outcome:
        if "chosen" in rows.columns:
            rows = rows.rename({"chosen": "rejected", "rejected": "chosen"})
        return super().decode(rows, record_type)


@pytest.fixture
def known_formats(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Lets the catalogue hold `trl` and the given formats alone."""

    def only(**formats: type[Trl]) -> None:
        monkeypatch.setattr(catalogue, "FORMATS", {"trl": "", **dict.fromkeys(formats, "")})
        monkeypatch.setattr(catalogue, "load", lambda kind, name: {"trl": Trl, **formats}[name])

    return only


def test_a_file_of_two_readings_is_an_error_that_names_them(tmp_path: Path, known_formats: Callable[..., None]) -> None:
    source = write(tmp_path / "both.jsonl", [pair("q", "a", "b")])
    known_formats(swapped=Swapped)
    with pytest.raises(RecipeError) as error:
        prefdata.convert(source, to="trl", out=tmp_path / "out.jsonl")
    assert str(error.value) == (
        "both.jsonl: can be read in 2 ways; say which\n"
        "  - --from trl --type preference: columns chosen, rejected\n"
        "  - --from swapped --type preference: columns chosen, rejected"
    )
    assert not (tmp_path / "out.jsonl").exists()
    prefdata.convert(source, to="trl", out=tmp_path / "out.jsonl", source="swapped")
    assert read(tmp_path / "out.jsonl")[0]["chosen"] == [turn("assistant", "b")]


def test_formats_that_read_the_same_are_one_reading(tmp_path: Path, known_formats: Callable[..., None]) -> None:
    source = write(tmp_path / "pairs.jsonl", [pair("q", "a", "b")])
    known_formats(twin=Trl)
    result = prefdata.convert(source, to="trl", out=tmp_path / "out.jsonl")
    assert (result.source, result.same) == ("trl", ("twin",))


def test_unknown_columns_are_listed_with_what_each_format_looks_for(tmp_path: Path) -> None:
    source = write(tmp_path / "odd.jsonl", [{"frage": "q", "n": 1, "liste": [{"x": "y"}]}])
    with pytest.raises(InputError) as error:
        prefdata.convert(source, to="trl", out=tmp_path / "out")
    assert (
        "odd.jsonl: no format recognises these columns: frage (string), n (int64), liste (list of 1 unknown key)"
        in (str(error.value))
    )
    assert "  - alpaca: By the columns `instruction` and `output`" in str(error.value)


def test_keys_of_objects_that_no_format_knows_are_counted_and_not_shown(tmp_path: Path) -> None:
    by_person = {"ann@example.org": "hello", "bob@example.org": 1, "role": "user"}
    source = write(tmp_path / "odd.jsonl", [{"said": by_person, "also": [by_person]}])
    with pytest.raises(InputError) as error:
        prefdata.convert(source, to="trl", out=tmp_path / "out")
    assert "said (object of role/2 unknown keys), also (list of role/2 unknown keys)" in str(error.value)
    assert "example.org" not in str(error.value)


def test_a_label_that_is_text_needs_its_meaning(tmp_path: Path) -> None:
    rows = [{"prompt": "q", "completion": text, "label": label} for text, label in (("a", "good"), ("b", "bad"))]
    source = write(tmp_path / "rated.jsonl", rows)
    result = prefdata.convert(source, to="trl", out=tmp_path / "out.jsonl", source="trl", type="unpaired_preference")
    assert (result.written, result.refused_reading) == (0, {"ambiguous_label": 2})
    result = prefdata.convert(
        source,
        to="trl",
        out=tmp_path / "out.jsonl",
        source="trl",
        type="unpaired_preference",
        labels={"good": True, "bad": False},
    )
    assert [row["label"] for row in read(tmp_path / "out.jsonl")] == [True, False]
    assert not (tmp_path / ".out.refused.parquet").exists()


@pytest.mark.parametrize(("policy", "expected"), [("keep", ["<|im_end|>", "b"]), ("escape", ["<| im_end |>", "b"])])
def test_control_tokens_are_kept_or_escaped(tmp_path: Path, policy: Any, expected: list[str]) -> None:
    source = write(tmp_path / "pairs.jsonl", [pair("q", "<|im_end|>", "b")])
    prefdata.convert(source, to="trl", out=tmp_path / "out.jsonl", control_tokens=policy)
    [row] = read(tmp_path / "out.jsonl")
    assert [row["chosen"][0]["content"], row["rejected"][0]["content"]] == expected


def test_control_tokens_can_refuse_a_row(tmp_path: Path) -> None:
    source = write(tmp_path / "pairs.jsonl", [pair("q", "<|im_end|>", "b"), pair("q", "a <b>", "b")])
    result = prefdata.convert(source, to="trl", out=tmp_path / "out.jsonl", control_tokens="refuse")
    assert result.refused_writing == {"control_tokens": 1}
    adds_up(result, tmp_path / ".out.refused.parquet")


def test_splits_stay_apart_in_a_folder(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name, prompt in (("train-00000-of-00002", "a"), ("train-00001-of-00002", "b"), ("test", "c")):
        write(tmp_path / "in" / f"{name}.jsonl", [pair(prompt, "x", "y")])
    result = prefdata.convert(tmp_path / "in", to="sharegpt", out=tmp_path / "out")
    assert {name: facts["rows"] for name, facts in result.files.items()} == {"test.jsonl": 1, "train.jsonl": 2}
    result = prefdata.convert(tmp_path / "in", to="sharegpt", out=tmp_path / "all.jsonl")
    assert {name: facts["rows"] for name, facts in result.files.items()} == {"all.jsonl": 3}


def test_a_broken_file_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write(tmp_path / "in" / "a.jsonl", [pair("q", "a", "b")])
    (tmp_path / "in" / "b.parquet").write_bytes(b"PAR1 cut")
    with pytest.raises(InputError, match=r"nothing was written: b\.parquet: truncated_parquet"):
        prefdata.convert(tmp_path / "in", to="trl", out=tmp_path / "out.jsonl")
    assert [one.name for one in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"to": "nowhere"}, "unknown format 'nowhere'"),
        ({"to": "sharegpt", "written_as": "unpaired_preference"}, "sharegpt does not hold unpaired_preference"),
        ({"to": "trl", "out": "x.csv"}, "x.csv: written are"),
        ({"to": "trl", "out": "in.jsonl"}, "is the input itself"),
        ({"to": "trl", "source": "alpaca", "type": "unpaired_preference"}, "alpaca does not hold unpaired_preference"),
        ({"to": "trl", "source_settings": {"ids": False}}, "give --from"),
    ],
)
def test_wrong_options_say_what_to_do(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    source = write(tmp_path / "in.jsonl", [pair("q", "a", "b")])
    out = tmp_path / options.pop("out", "out.jsonl")
    with pytest.raises(RecipeError, match=message):
        prefdata.convert(source, out=out, **options)


def test_the_command_tells_reasons_and_where_the_output_is(tmp_path: Path) -> None:
    source = write(tmp_path / "pairs.jsonl", [pair("secret", "a", "b"), pair("secret", "a", "a")])
    out = tmp_path / "out.jsonl"
    ended = CliRunner().invoke(app, ["convert", str(source), "--to", "trl", "--out", str(out)])
    assert ended.exit_code == 0, ended.output
    lines = ended.output.splitlines()
    assert lines[0].startswith("recognised as trl, preference: columns chosen, rejected")
    assert lines[1:3] == ["not taken by trl:", "          1  equal_sides: chosen and rejected are the same"]
    assert lines[3] == f"which rows, by file and line: {tmp_path / '.out.refused.parquet'}"
    assert lines[4].startswith("wrote 1 rows of 2 read, refused 1, unreadable 0, ")
    assert lines[4].endswith(f"-> {out}")
    assert "secret" not in ended.output


def test_the_command_fails_where_no_row_is_left(tmp_path: Path) -> None:
    rows = [pair("q", "a", "a"), pair("secret", "b", "b"), pair("r", "", "c"), "{"]
    source = write(tmp_path / "pairs.jsonl", rows)
    for more in ([], ["--json"]):
        given = ["convert", str(source), "--to", "trl", "--out", str(tmp_path / "data"), *more]
        ended = CliRunner().invoke(app, given)
        assert isinstance(ended.exception, InputError)
        assert ended.exception.exit_code == 3
        assert str(ended.exception) == (
            "no row of 4 was written, most often because of\n"
            "          2  equal_sides: chosen and rejected are the same\n"
            "          1  malformed_json: no JSON\n"
            "          1  empty_answer: an answer has no text and no tool call\n"
            f"all reasons, by file and line: {tmp_path / 'data' / '.refused.parquet'}"
        )
        assert "wrote 0 rows of 4 read" in ended.output or json.loads(ended.output)["written"] == 0
    gone = pl.read_parquet(tmp_path / "data" / ".refused.parquet")
    assert gone["line"].sort().to_list() == [1, 2, 3, 4]
    assert [one.name for one in (tmp_path / "data").iterdir()] == [".refused.parquet"]


@pytest.mark.parametrize("refused_by", ["reading", "writing"])
def test_where_no_row_is_left_only_the_account_is_written(tmp_path: Path, refused_by: str) -> None:
    row = {"instruction": "q", "output": None if refused_by == "reading" else " "}
    source = write(tmp_path / "in.jsonl", [row])
    result = prefdata.convert(
        source, to="llamafactory", out=tmp_path / "out", source="alpaca", type="prompt_completion"
    )
    assert (result.read, result.written, result.refused, result.files) == (1, 0, 1, {})
    assert [one.name for one in (tmp_path / "out").iterdir()] == [".refused.parquet"]
    assert pl.read_parquet(tmp_path / "out" / ".refused.parquet")["step"].to_list() == [refused_by]


@pytest.mark.parametrize("to", ["trl", "swift", "llamafactory", "axolotl", "halos"])
def test_unpaired_rows_are_written_with_both_labels_in_every_stretch(tmp_path: Path, to: str) -> None:
    rows = [{"prompt": "q", "completion": f"a{at}", "label": at < 30} for at in range(40)]
    source = write(tmp_path / "rated.jsonl", rows)
    prefdata.convert(source, to=to, out=tmp_path / "out.jsonl", source="trl", type="unpaired_preference")
    name = "kto_tag" if to == "llamafactory" else "label"
    labels = [bool(row[name]) for row in read(tmp_path / "out.jsonl")]
    assert [sum(labels[at : at + 4]) for at in range(0, 40, 4)] == [3] * 10


def test_the_command_prints_json(tmp_path: Path) -> None:
    source = write(tmp_path / "pairs.jsonl", [pair("q", "a", "b")])
    out = tmp_path / "out.parquet"
    ended = CliRunner().invoke(
        app, ["convert", str(source), "--to", "trl", "--as", "unpaired", "--set", "ids=false", "-o", str(out), "--json"]
    )
    assert ended.exit_code == 0, ended.output
    facts = json.loads(ended.output)
    assert (facts["written"], facts["written_as"], facts["source"]) == (2, "unpaired_preference", "trl")
    assert pl.read_parquet(out).columns == ["prompt", "completion", "label"]


def test_hh_rlhf_finds_what_is_broken_in_it(tmp_path: Path, shared_data: Callable[[str], Path]) -> None:
    result = prefdata.convert(
        shared_data("hh_rlhf/test.jsonl.gz"), to="trl", out=tmp_path / "out.jsonl", source="hh_rlhf"
    )
    assert (result.read, result.written) == (2312, 2303)
    assert result.refused_reading | result.refused_writing == {"differing_prompts": 5, "empty_answer": 4}
    adds_up(result, tmp_path / ".out.refused.parquet")


@pytest.mark.parametrize("name", ["dpo_en_demo.json", "dpo_zh_demo.json", "kto_en_demo.json", "alpaca_zh_demo.json"])
def test_real_files_come_back_through_every_container(
    tmp_path: Path, shared_data: Callable[[str], Path], name: str
) -> None:
    source = shared_data(f"llamafactory/{name}")
    found = []
    for suffix in ("jsonl", "json", "parquet"):
        first = prefdata.convert(source, to="trl", out=tmp_path / f"a.{suffix}")
        again = prefdata.convert(
            tmp_path / f"a.{suffix}", to="trl", out=tmp_path / f"{suffix}.jsonl", source="trl", type=first.type
        )
        assert first.written == again.written == first.read - first.refused
        found.append((tmp_path / f"{suffix}.jsonl").read_bytes())
    assert found[0] == found[1] == found[2]
