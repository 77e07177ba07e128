"""LLaMA-Factory: its own demo files both ways, its acceptance rules, its dataset_info.json."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from canonical_rows import framed, rows, turn
from hypothesis import given, settings
from hypothesis import strategies as st

from prefdata.catalogue import load
from prefdata.conversion import convert
from prefdata.errors import InputError, RecipeError
from prefdata.formats.core import Feature, Match, identify, sides_of
from prefdata.formats.llamafactory import LlamaFactory
from prefdata.formats.messages import MARK
from prefdata.schema import RecordType, check

SharedData = Callable[[str], Path]
Row = dict[str, Any]


def read(path: Path) -> pl.DataFrame:
    return pl.read_ndjson(path) if path.suffix == ".jsonl" else pl.read_json(path, infer_schema_length=None)


def objects(frame: pl.DataFrame) -> list[Any]:
    """Rows as a writer of JSON Lines leaves them: no key whose value is null."""

    def kept(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: kept(one) for key, one in value.items() if one is not None}
        return [kept(one) for one in value] if isinstance(value, list) else value

    return [kept(row) for row in frame.to_dicts()]


def canonical(frame: pl.DataFrame, kind: RecordType, fmt: Any) -> pl.DataFrame:
    """All rows of a file, none refused."""
    decoded = fmt.decode(frame, kind)
    assert decoded.refused.to_dicts() == []
    return check(identify(decoded.rows, kind, source="demo"), kind)


def reasons(fmt: Any, made: list[Row], kind: RecordType = RecordType.SFT) -> list[list[str]]:
    """The reasons for which each row is not written, none for those that are."""
    frame = framed(made, kind)
    refused = dict(fmt.encode(frame, kind).refused.iter_rows())
    return [refused.get(at, []) for at in range(frame.height)]


def read_reasons(fmt: Any, made: list[Row], kind: RecordType) -> list[list[str]]:
    """The reasons for which each row of a file is not read."""
    refused = dict(fmt.decode(pl.DataFrame(made, infer_schema_length=None), kind).refused.iter_rows())
    return [refused.get(at, []) for at in range(len(made))]


DEMO = [
    # file, type, style, rows, rows whose turns before the answer are one, rows written as they stood
    ("dpo_en_demo.json", RecordType.PREFERENCE, "sharegpt", 300, 194, 300),
    ("dpo_zh_demo.json", RecordType.PREFERENCE, "sharegpt", 300, 300, 300),
    ("kto_en_demo.json", RecordType.UNPAIRED, "openai", 300, 223, 300),
    ("alpaca_zh_demo.json", RecordType.SFT, "alpaca", 1000, 1000, 861),  # 139 have an input, joined to the instruction
    ("mllm_demo.json", RecordType.SFT, "openai", 6, 0, 6),
]


@pytest.mark.parametrize(("file", "kind", "style", "count", "single", "same"), DEMO)
def test_a_demo_file_goes_in_and_out(
    shared_data: SharedData, file: str, kind: RecordType, style: Any, count: int, single: int, same: int
) -> None:
    frame = read(shared_data(f"llamafactory/{file}"))
    fmt = LlamaFactory(style=style)
    whole = canonical(frame, kind, fmt)
    assert whole.height == count
    turns = pl.col("prompt").list.eval(
        pl.element().struct.field("role").filter(pl.element().struct.field("role") != "system")
    )
    assert whole.select((turns.list.len() == 1).sum()).item() == single
    written = fmt.encode(whole, kind)
    assert written.refused.height == 0
    renamed = frame.rename({"label": "kto_tag"}) if "label" in frame.columns else frame
    assert sum(one == two for one, two in zip(objects(renamed), objects(written.rows), strict=True)) == same
    names = [*sides_of(kind), "images", *(["label"] if kind is RecordType.UNPAIRED else [])]
    assert canonical(written.rows, kind, fmt).select(names).equals(whole.select(names))


OTHERS = [
    (file, kind, name)
    for file, kind, *_ in DEMO
    for name in ("trl", "swift", "sharegpt")
    if kind in load("format", name).writes
]


@pytest.mark.parametrize(("file", "kind", "name"), OTHERS)
def test_a_demo_file_goes_through_another_format(
    shared_data: SharedData, file: str, kind: RecordType, name: str
) -> None:
    fmt = load("format", name)()
    whole = canonical(read(shared_data(f"llamafactory/{file}")), kind, LlamaFactory())
    written = fmt.encode(whole, kind)
    assert written.refused.height == 0
    names = [*sides_of(kind), "images", *(["label"] if kind is RecordType.UNPAIRED else [])]
    assert canonical(written.rows, kind, fmt).select(names).equals(whole.select(names))


def test_labels_of_the_demo_file_are_counted(shared_data: SharedData) -> None:
    whole = canonical(read(shared_data("llamafactory/kto_en_demo.json")), RecordType.UNPAIRED, LlamaFactory())
    assert whole["label"].value_counts(sort=True).sort("label").rows() == [(False, 150), (True, 150)]


def test_pictures_of_the_demo_file_keep_their_places(shared_data: SharedData) -> None:
    whole = canonical(read(shared_data("llamafactory/mllm_demo.json")), RecordType.SFT, LlamaFactory())
    assert whole["images"].list.len().to_list() == [2, 1, 1, 2, 1, 1]
    assert whole["prompt"][0].to_list() == [
        turn("user", f"{MARK}Who are they?"),
        turn("assistant", "They're Kane and Gretzka from Bayern Munich."),
        turn("user", f"What are they doing?{MARK}"),
    ]
    assert whole["images"][0].to_list() == [
        {"uri": "mllm_demo_data/1.jpg", "side": "prompt", "message": 0, "part": 0},
        {"uri": "mllm_demo_data/1.jpg", "side": "prompt", "message": 2, "part": 1},
    ]


def test_pairs_of_version_1_are_read(shared_data: SharedData) -> None:
    frame = read(shared_data("llamafactory/v1_dpo_demo.jsonl"))
    assert [one.type for one in LlamaFactory().recognise(frame)] == [RecordType.PREFERENCE]
    whole = canonical(frame, RecordType.PREFERENCE, LlamaFactory())
    assert whole.height == 10
    assert [[one["role"] for one in row] for row in whole["prompt"].to_list()] == [["system", "user"]] * 10
    for side in ("chosen", "rejected"):
        parts = [row[f"{side}_messages"][-1]["content"] for row in frame.to_dicts()]
        assert [row[0]["content"] for row in whole[side].to_list()] == [one[0]["value"] for one in parts]
    assert LlamaFactory().encode(whole, RecordType.PREFERENCE).rows.height == 10


def test_loss_weights_that_are_not_the_last_answer_are_refused() -> None:
    def pair(weights: list[float]) -> Row:
        def side(text: str) -> list[Row]:
            texts = zip(("user", "assistant"), ("q", text), weights, strict=True)
            return [{"role": a, "content": [{"type": "text", "value": b}], "loss_weight": c} for a, b, c in texts]

        return {"chosen_messages": side("good"), "rejected_messages": side("bad")}

    made = [pair([0.0, 1.0]), pair([1.0, 1.0]), pair([0.0, 0.0]), pair([0.0, 0.5])]
    assert read_reasons(LlamaFactory(), made, RecordType.PREFERENCE) == [[], *[["trained_turns"]] * 3]


@pytest.mark.parametrize(
    ("file", "claims"),
    [
        ("dpo_en_demo.json", {"llamafactory": RecordType.PREFERENCE}),
        ("kto_en_demo.json", {"swift": RecordType.UNPAIRED}),  # `label` is ms-swift's name
        ("alpaca_zh_demo.json", {"alpaca": RecordType.SFT}),
        ("mllm_demo.json", {"swift": RecordType.SFT}),  # tags and messages are ms-swift's as well
        ("v1_dpo_demo.jsonl", {"llamafactory": RecordType.PREFERENCE}),
    ],
)
def test_one_format_claims_a_demo_file(shared_data: SharedData, file: str, claims: dict[str, RecordType]) -> None:
    sample = read(shared_data(f"llamafactory/{file}")).head(100)
    found: dict[str, list[Match]] = {
        name: list(load("format", name)().recognise(sample))
        for name in ("trl", "swift", "sharegpt", "alpaca", "llamafactory")
    }
    assert {name: one[0].type for name, one in found.items() if one} == claims


GOOD = {"prompt": [turn("user", "q")], "completion": [turn("assistant", "a")], "label": True}
CALL = '[{"type":"function","function":{"name":"f","arguments":"{}"}}]'
PICTURE = {"uri": "1.jpg", "side": "prompt", "message": 0, "part": 0}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, []),
        ({"prompt": [turn("system", "s"), turn("user", "q")]}, []),
        ({"prompt": [turn("user", "q"), turn("user", "q")]}, ["not_alternating"]),
        ({"prompt": [turn("user", "q"), turn("assistant", "a")]}, ["not_alternating"]),
        ({"prompt": [turn("assistant", "a"), turn("user", "q")]}, ["not_alternating"]),
        ({"prompt": [turn("user", "q"), turn("assistant", "", CALL), turn("tool", "r")]}, []),
        ({"prompt": [turn("user", "q"), turn("assistant", "text", CALL), turn("tool", "r")]}, ["text_beside_call"]),
        (
            {"prompt": [turn("user", "q"), turn("assistant", "", CALL), turn("tool", "1"), turn("tool", "2")]},
            ["not_alternating"],
        ),
        ({"prompt": [turn("user", "q"), turn("system", "s")]}, ["system_not_first"]),
        ({"prompt": [turn("system", "s")]}, ["empty_prompt", "not_alternating"]),
        ({"completion": [turn("assistant", " ")]}, ["empty_answer"]),
        ({"completion": [turn("assistant", "a"), turn("assistant", "b")]}, ["multi_turn_answer"]),
        ({"prompt": [turn("user", "a literal <image> tag")]}, ["literal_image_tag"]),
        ({"prompt": [turn("user", "a literal <video> tag")]}, ["literal_media_tag"]),
        ({"prompt": [turn("user", f"{MARK}q")], "images": [PICTURE]}, []),
        ({"prompt": [turn("user", f"{MARK}{MARK}q")], "images": [PICTURE]}, ["image_count"]),
        ({"label": None}, ["label_missing"]),
    ],
)
def test_what_llamafactory_would_drop_is_refused(change: Row, expected: list[str]) -> None:
    assert reasons(LlamaFactory(), [GOOD | change], RecordType.UNPAIRED) == [expected]


def test_an_empty_desirable_answer_is_never_written() -> None:
    made = [GOOD, GOOD | {"completion": [turn("assistant", "")]}]
    written = LlamaFactory().encode(framed(made, RecordType.UNPAIRED), RecordType.UNPAIRED)
    assert objects(written.rows) == [
        {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}], "kto_tag": True}
    ]


@pytest.mark.parametrize(("tag", "expected"), [(True, []), ("false", ["ambiguous_label"]), (1, ["ambiguous_label"])])
def test_a_label_is_a_boolean(tag: Any, expected: list[str]) -> None:
    talk = [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]
    made = [{"conversations": talk, "kto_tag": tag}]
    assert read_reasons(LlamaFactory(), made, RecordType.UNPAIRED) == [expected]
    told = LlamaFactory(labels={"true": True, "false": False, "1": True})
    assert read_reasons(told, made, RecordType.UNPAIRED) == [[]]


def test_tools_go_out_as_turns_of_function_call_and_observation() -> None:
    call = '[{"type":"function","function":{"name":"weather","arguments":"{\\"city\\": \\"München\\"}"}}]'
    prompt = [turn("user", "q"), turn("assistant", "", call), turn("tool", "12 °C")]
    frame = framed([GOOD | {"prompt": prompt, "tools": '[{"name": "weather"}]'}], RecordType.SFT)
    assert objects(LlamaFactory().encode(frame, RecordType.SFT).rows) == [
        {
            "conversations": [
                {"from": "human", "value": "q"},
                {"from": "function_call", "value": '{"name": "weather", "arguments": {"city": "München"}}'},
                {"from": "observation", "value": "12 °C"},
                {"from": "gpt", "value": "a"},
            ],
            "tools": '[{"name": "weather"}]',
        }
    ]


def test_a_tool_call_that_is_not_json_is_refused() -> None:
    talk = [
        {"from": "human", "value": "q"},
        {"from": "function_call", "value": "weather(city)"},
        {"from": "observation", "value": "r"},
        {"from": "gpt", "value": "a"},
    ]
    assert read_reasons(LlamaFactory(), [{"conversations": talk}], RecordType.SFT) == [["unreadable_tool_call"]]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"images": ["1.jpg"]}, ["image_count"]),
        ({"images": ["1.jpg"], "instruction": "<image>q"}, []),
        ({"images": ["1.jpg"], "instruction": "<image><image>q"}, ["image_count"]),
        ({"videos": ["1.mp4"]}, ["other_media"]),
        ({"videos": []}, []),
        ({"instruction": ""}, ["empty_prompt"]),
        ({"output": None}, ["no_answer"]),
        ({"history": [["a"]]}, ["not_a_conversation"]),
        ({"history": [["a", None]]}, ["missing_content"]),
    ],
)
def test_an_instruction_that_cannot_be_read_is_refused(row: Row, expected: list[str]) -> None:
    made = {"instruction": "q", "input": "", "output": "a"} | row
    schema = {"output": pl.String} if made["output"] is None else None
    refused = LlamaFactory().decode(pl.DataFrame([made], schema_overrides=schema), RecordType.SFT).refused
    assert [one for row in refused["reasons"].to_list() for one in row] == expected


@pytest.mark.parametrize("style", ["openai", "alpaca"])
@pytest.mark.parametrize("kind", sorted(LlamaFactory.writes))
@given(data=st.data())
@settings(max_examples=8)
def test_the_other_styles_come_back_the_same(style: Any, kind: RecordType, data: st.DataObject) -> None:
    fmt = LlamaFactory(style=style)
    held = LlamaFactory.holds[kind] - ({Feature.TOOL_CALLS} if style == "alpaca" else set())
    whole = data.draw(rows(kind, held))
    written = fmt.encode(whole, kind)
    assert written.refused.to_dicts() == []
    text = "".join(json.dumps(one) + "\n" for one in objects(written.rows))
    got = canonical(pl.read_ndjson(text.encode(), infer_schema_length=None), kind, fmt)
    names = [*sides_of(kind), "images", "tools"]
    assert got.select(names).to_dicts() == whole.select(names).to_dicts()


def test_dataset_info_says_what_the_files_hold() -> None:
    files = {"train": "train.jsonl", "test": "test.jsonl"}
    text = LlamaFactory().beside(files, RecordType.PREFERENCE, columns=["conversations", "chosen", "images"])
    entry = {
        "formatting": "sharegpt",
        "ranking": True,
        "columns": {"messages": "conversations", "chosen": "chosen", "rejected": "rejected", "images": "images"},
    }
    assert json.loads(text["dataset_info.json"]) == {
        "train": {"file_name": "train.jsonl", **entry},
        "test": {"file_name": "test.jsonl", **entry},
    }


def test_dataset_info_of_openai_names_every_tag() -> None:
    text = LlamaFactory(style="openai").beside({"train": "a.jsonl"}, RecordType.UNPAIRED)["dataset_info.json"]
    entry = json.loads(text)["train"]
    assert entry["formatting"] == "sharegpt"
    assert entry["columns"] == {"messages": "messages", "kto_tag": "kto_tag"}
    assert sorted(entry["tags"]) == sorted(
        ["role_tag", "content_tag", "user_tag", "assistant_tag", "observation_tag", "function_tag", "system_tag"]
    )


def test_a_file_is_read_as_dataset_info_says() -> None:
    info = {
        "mine": {
            "file_name": "mine.json",
            "formatting": "sharegpt",
            "columns": {"messages": "talk", "kto_tag": "good", "system": "who"},
            "tags": {"role_tag": "who", "content_tag": "says", "user_tag": "Kunde", "assistant_tag": "Agent"},
        }
    }
    fmt = LlamaFactory.described(json.dumps(info), "mine.json")
    assert fmt is not None
    talk = [{"who": "Kunde", "says": "q"}, {"who": "Agent", "says": "a"}]
    frame = pl.DataFrame([{"talk": talk, "good": False, "who": "be kind", "label": "x"}])
    assert [one.type for one in fmt.recognise(frame)] == [RecordType.UNPAIRED]
    got = canonical(frame, RecordType.UNPAIRED, fmt).row(0, named=True)
    assert got["prompt"] == [turn("system", "be kind"), turn("user", "q")]
    assert (got["completion"], got["label"]) == ([turn("assistant", "a")], False)
    assert json.loads(got["meta"]) == {"label": "x"}
    assert LlamaFactory.described(json.dumps(info), "other.json") is None
    with pytest.raises(InputError, match=r"dataset_info\.json"):
        LlamaFactory.described("[]", "mine.json")


def test_a_conversion_writes_dataset_info_and_reads_it_again(tmp_path: Path) -> None:
    talk = [{"role": "user", "content": "<image>q"}, {"role": "assistant", "content": "a"}]
    given_rows = [{"messages": talk, "images": ["1.jpg"]}, {"messages": [talk[1] | {"role": "user"}, talk[1]]}]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(one) + "\n" for one in given_rows), encoding="utf-8")
    done = convert(tmp_path / "in.jsonl", to="llamafactory", out=tmp_path / "out", settings={"style": "openai"})
    entry = json.loads((tmp_path / "out/dataset_info.json").read_text(encoding="utf-8"))["in"]
    assert (done.read, entry["columns"]) == (2, {"messages": "messages", "images": "images"})
    again = convert(tmp_path / "out/in.jsonl", to="swift", out=tmp_path / "again")
    assert (again.source, again.type, again.read) == ("llamafactory", RecordType.SFT, 2)
    assert again.reasons == ("column messages, as dataset_info.json says",)
    written = (tmp_path / "again/in.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in written] == given_rows


def described_folder(folder: Path, entries: dict[str, Any], files: dict[str, list[dict[str, Any]]]) -> Path:
    folder.mkdir()
    (folder / "dataset_info.json").write_text(json.dumps(entries), encoding="utf-8")
    for name, given_rows in files.items():
        (folder / name).write_text("".join(json.dumps(one) + "\n" for one in given_rows), encoding="utf-8")
    return folder


ASKED = {"frage": "q", "antwort": "a"}
GERMAN = {"columns": {"prompt": "frage", "response": "antwort"}}


def test_a_folder_is_read_as_its_dataset_info_says(tmp_path: Path) -> None:
    one = described_folder(tmp_path / "one", {"mine": {"file_name": "a.jsonl", **GERMAN}}, {"a.jsonl": [ASKED]})
    done = convert(one, to="trl", out=tmp_path / "out")
    assert (done.source, done.type, done.written) == ("llamafactory", RecordType.SFT, 1)
    entries = {name: {"file_name": f"{name}.jsonl", **GERMAN} for name in ("a", "b")}
    two = described_folder(tmp_path / "two", entries, {"a.jsonl": [ASKED], "b.jsonl": [ASKED, ASKED]})
    assert convert(two, to="trl", out=tmp_path / "out2").written == 3


def test_a_folder_of_files_that_dataset_info_describes_otherwise_names_them(tmp_path: Path) -> None:
    entries = {"one": {"file_name": "a.jsonl", **GERMAN}, "two": {"file_name": "b.jsonl"}}
    other = {"instruction": "q", "output": "a"}
    folder = described_folder(tmp_path / "in", entries, {"a.jsonl": [ASKED], "b.jsonl": [other], "c.jsonl": [other]})
    with pytest.raises(RecipeError) as error:
        convert(folder, to="trl", out=tmp_path / "out")
    assert str(error.value) == (
        "in: dataset_info.json does not describe these files alike; give one of them\n"
        "  - a.jsonl: entry one\n"
        "  - b.jsonl: entry two\n"
        "  - c.jsonl: no entry"
    )
    assert convert(folder / "a.jsonl", to="trl", out=tmp_path / "out").written == 1


def test_a_dataset_info_of_other_files_or_of_hugging_face_changes_nothing(tmp_path: Path) -> None:
    rows = {"a.jsonl": [{"instruction": "q", "output": "a"}]}
    for at, entries in enumerate(
        ({"other": {"file_name": "gone.json"}}, {"builder_name": "json", "features": {"a": {}}, "splits": {}})
    ):
        folder = described_folder(tmp_path / str(at), entries, rows)
        for path in (folder, folder / "a.jsonl"):
            assert convert(path, to="trl", out=tmp_path / f"out{at}").source == "alpaca"
