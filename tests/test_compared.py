"""`prefdata leaks` over files of any format: what they share, by ids that lead back, with all that was not compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from prefdata.cli import app
from prefdata.compared import read
from prefdata.errors import InputError, RecipeError
from prefdata.schema import RecordType

LONG = "Your parcel is on its way and will be with you on Tuesday, by noon at the latest, I promise."


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), "utf-8")
    return path


def turns(*texts: str) -> list[dict[str, str]]:
    return [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(texts)]


def shared(*arguments: str) -> dict[str, Any]:
    ended = CliRunner().invoke(app, ["leaks", *arguments, "--json"])
    assert ended.exception is None, ended.exception
    told: dict[str, Any] = json.loads(ended.output)
    return told


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """ShareGPT: two conversations, without ids."""
    talks = [("Where is it?", LONG), ("Hello", "Hi")]
    rows = [{"conversations": [{"from": "human", "value": a}, {"from": "gpt", "value": b}]} for a, b in talks]
    return write(tmp_path / "train.jsonl", rows)


@pytest.fixture
def held(tmp_path: Path) -> Path:
    """TRL's pairs in JSON, with ids of their own."""
    pairs = [
        {"id": "a", "prompt": turns("Where is it?"), "chosen": turns("", LONG)[1:], "rejected": turns("", "No.")[1:]},
        {"id": "b", "prompt": turns("Who?"), "chosen": turns("", "Me.")[1:], "rejected": turns("", "Me.")[1:]},
    ]
    (tmp_path / "test.json").write_text(json.dumps(pairs), "utf-8")
    return tmp_path / "test.json"


def test_files_of_two_formats_and_types_are_compared(trained: Path, held: Path) -> None:
    told = shared(str(trained), str(held), "--no-near")
    assert told["rows"] == {"left": 2, "right": 2}
    assert told["read_as"] == {"left": ["sharegpt", "prompt_completion"], "right": ["trl", "preference"]}
    assert {one["kind"]: (one["values"], one["examples"]) for one in told["leaks"]} == {
        "prompt": (1, [["train.jsonl:1", "a"]]),
        "exchange": (1, [["train.jsonl:1", "a"]]),
        "reply": (1, [["train.jsonl:1", "a"]]),
        "long_reply": (1, [["train.jsonl:1", "a"]]),
    }
    assert CliRunner().invoke(app, ["leaks", str(trained), str(held), "--fail"]).exit_code == 1


def test_near_duplicates_are_found_across_formats(trained: Path, tmp_path: Path) -> None:
    other = write(
        tmp_path / "other.jsonl", [{"instruction": "Where is it?", "output": LONG.replace("way and", "way, and")}]
    )
    near = shared(str(trained), str(other))["leaks"][-1]
    assert (near["kind"], near["values"], near["examples"]) == (
        "near_duplicates",
        1,
        [["train.jsonl:1", "other.jsonl:1"]],
    )


def test_prompts_alone_are_compared_too(trained: Path, tmp_path: Path) -> None:
    asked = write(tmp_path / "benchmark.jsonl", [{"prompt": turns("Hello")}, {"prompt": turns("New")}])
    for more in ((), ("--no-near",)):
        told = shared(str(trained), str(asked), *more)
        assert told["read_as"]["right"] == ["trl", "prompt_only"]
        assert {one["kind"]: one["values"] for one in told["leaks"] if one["values"]} == {"prompt": 1}


def test_customers_and_sessions_are_found_where_the_source_keeps_them(tmp_path: Path) -> None:
    row = {"prompt": turns("a"), "completion": turns("", "b")[1:]}
    own = write(tmp_path / "columns.jsonl", [row | {"session": "s1", "customer": "c1"}])
    meta = tmp_path / "meta.parquet"
    given = row | {"prompt": turns("x"), "meta": '{"session":"s2","customer":"c1"}', "id": "7"}
    pl.DataFrame([given]).write_parquet(meta)
    told = shared(str(own), str(meta), "--no-near")["leaks"]
    assert {one["kind"]: (one["values"], one["examples"]) for one in told if one["values"]} == {
        "customer": (1, [["columns.jsonl:1", "7"]]),
        "reply": (1, [["columns.jsonl:1", "7"]]),
    }
    assert "session" in {one["kind"] for one in told}


def test_what_could_not_be_compared_is_told(tmp_path: Path, trained: Path) -> None:
    rated = [
        {"prompt": "q", "completion": "a", "label": True},
        "{",
        {"prompt": "q", "completion": None, "label": True},
    ]
    source = write(tmp_path / "rated.jsonl", rated)
    told = shared(str(source), str(trained), "--no-near", "--from", "trl", "--from", "sharegpt")
    assert told["rows"]["left"] == 1
    assert told["not_compared"] == {"left": {"malformed_json": 1, "no_answer": 1}}
    ended = CliRunner().invoke(
        app, ["leaks", str(source), str(trained), "--no-near", "--type", "unpaired", "--type", "sft"]
    )
    assert ended.output.splitlines()[:2] == [
        "left: 1 rows, read as trl, unpaired_preference; not compared: 1 malformed_json, 1 no_answer",
        "right: 2 rows, read as sharegpt, prompt_completion",
    ]


def test_labels_in_words_need_their_meaning_here_too(tmp_path: Path, trained: Path) -> None:
    source = write(tmp_path / "rated.jsonl", [{"prompt": "q", "completion": "a", "label": "good"}])
    with pytest.raises(InputError, match=r"no row could be read as trl, unpaired_preference \(1 ambiguous_label\)"):
        read(source, texts=False, source="trl", wanted=RecordType.UNPAIRED)
    told = shared(str(source), str(trained), "--label", "good=true", "--from", "trl", "--from", "auto", "--no-near")
    assert told["rows"]["left"] == 1


def test_pairs_of_one_record_have_ids_of_their_own(tmp_path: Path) -> None:
    answers = [{"answer": text, "rank": at} for at, text in enumerate("abc")]
    source = write(tmp_path / "ranked.jsonl", [{"prompt": "\n\nHuman: q\n\nAssistant: ", "answers": answers}])
    side = read(source, texts=True, source="nectar")
    assert side.rows == 3
    assert side.keys["id"].unique().sort().to_list() == ["ranked.jsonl:1", "ranked.jsonl:1#2", "ranked.jsonl:1#3"]
    assert side.texts is not None
    assert side.texts.columns == ["id", "prompt", "chosen", "rejected"]
    assert side.texts["prompt"].to_list() == ["q", "q", "q"]


def test_without_near_duplicates_no_text_is_kept(held: Path) -> None:
    side = read(held, texts=False)
    assert side.texts is None
    assert side.keys.columns == ["id", "kind", "value"]
    assert not side.keys["value"].str.contains("parcel").any()


def test_what_is_wrong_is_said(tmp_path: Path, trained: Path) -> None:
    with pytest.raises(InputError, match="none: no such file or folder"):
        read(Path("none"), texts=False)
    with pytest.raises(InputError, match=r"odd\.jsonl: no format recognises these columns"):
        read(write(tmp_path / "odd.jsonl", [{"x": 1}]), texts=False)
    with pytest.raises(InputError, match=r"bad\.jsonl: no row could be read \(bad\.jsonl line 1: malformed_json\)"):
        read(write(tmp_path / "bad.jsonl", ["{"]), texts=False)
    ended = CliRunner().invoke(app, ["leaks", str(trained), str(trained), *["--from", "trl"] * 3])
    assert isinstance(ended.exception, RecipeError)
    assert str(ended.exception) == "--from: given 3 times; once for both sides, or twice"


def test_pictures_are_compared_by_what_they_show(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    for name, colour in {
        "train/x.png": "red",
        "train/y.png": "blue",
        "test/x.png": "green",
        "test/z.bmp": "blue",
        "test/gone.png": None,
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        if colour:
            image.new("RGB", (16, 12), colour).save(tmp_path / name)
        with (tmp_path / name).with_name("metadata.jsonl").open("a") as lines:
            lines.write(json.dumps({"file_name": Path(name).name, "text": f"It is {name}."}) + "\n")
    told = shared(str(tmp_path / "train"), str(tmp_path / "test"), "--no-near")
    assert {one["kind"]: (one["values"], one["examples"]) for one in told["leaks"] if one["values"]} == {
        "prompt": (1, [["metadata.jsonl:2", "metadata.jsonl:2"]])
    }
