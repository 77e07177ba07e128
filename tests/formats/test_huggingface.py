"""A folder for Hugging Face's datasets: everything comes back, `datasets` loads it, and the card says what it is."""

from __future__ import annotations

import datetime
import json
import tempfile
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from canonical_rows import framed, rows, turn
from hypothesis import given, settings
from hypothesis import strategies as st

from prefdata.catalogue import FORMATS
from prefdata.conversion import convert
from prefdata.formats.core import Feature, identify
from prefdata.formats.export import write_export
from prefdata.formats.files import read_frames
from prefdata.formats.huggingface import HuggingFace
from prefdata.formats.trl import Trl
from prefdata.schema import SCHEMAS, RecordType, check


def full(record_type: RecordType, frame: pl.DataFrame) -> pl.DataFrame:
    """`frame` with a value in every column that canonical rows have beside their content."""
    values = {
        "time": pl.lit(datetime.datetime(2024, 2, 29, 12, 30, 1, 5, tzinfo=datetime.UTC)),
        "language": pl.lit("fr"),
        "evidence": pl.lit('{"rating":[1,null]}'),
        "meta": pl.lit('{"a":{"b":null},"c":"ü"}'),
        "label_confidence": pl.lit(0.25, pl.Float32),
        "label_sources": pl.lit(["thumb", "survey"]),
    }
    schema = SCHEMAS[record_type]
    return frame.with_columns(value.cast(schema[name]).alias(name) for name, value in values.items() if name in schema)


@pytest.mark.parametrize("record_type", sorted(RecordType))
@given(data=st.data())
@settings(max_examples=8)
def test_every_canonical_column_comes_back(record_type: RecordType, data: st.DataObject) -> None:
    features = [one for one in HuggingFace.holds[record_type] if one is not Feature.ID]
    made = data.draw(rows(record_type, features))
    made = data.draw(st.sampled_from([made, full(record_type, made)]))
    written = HuggingFace().encode(made, record_type)
    assert written.refused.height == 0
    decoded = HuggingFace().decode(written.rows, record_type)
    back = check(identify(decoded.rows, record_type, source="other"), record_type)
    assert back.to_dicts() == made.to_dicts()


PAIR_COLUMNS = ["id", "prompt", "chosen", "rejected", "margin", "source", "group"]


def pairs(count: int) -> pl.DataFrame:
    made = [
        {
            "prompt": [turn("user", f"question {at}")],
            "chosen": [turn("assistant", "good")],
            "rejected": [turn("assistant", "bad")],
            "margin": at / 2,
        }
        for at in range(count)
    ]
    return framed(made, RecordType.PREFERENCE, source="shop")


def test_the_folder_is_loaded_by_datasets(tmp_path: Path) -> None:
    import datasets

    splits = {"train": pairs(5)[:3], "test": pairs(5)[3:]}
    form = HuggingFace(title="Shop", licence="cc-by-4.0", languages=["en"])
    facts = write_export(form, splits, RecordType.PREFERENCE, tmp_path)
    assert sorted(facts["files"]) == ["data/test-00000-of-00001.parquet", "data/train-00000-of-00001.parquet"]
    loaded = datasets.load_dataset(str(tmp_path), cache_dir=str(tmp_path / "cache"))
    assert {name: len(one) for name, one in loaded.items()} == {"train": 3, "test": 2}
    assert loaded["train"][0] == {
        "id": splits["train"]["id"][0],
        "prompt": [{"role": "user", "content": "question 0"}],
        "chosen": [{"role": "assistant", "content": "good"}],
        "rejected": [{"role": "assistant", "content": "bad"}],
        "margin": 0.0,
        "source": "shop",
        "group": splits["train"]["group"][0],
    }


def test_the_card_names_licence_files_and_columns(tmp_path: Path) -> None:
    form = HuggingFace(title="Shop: pairs", licence="cc-by-4.0", languages=["en", "fr"])
    write_export(form, {"train": pairs(2)}, RecordType.PREFERENCE, tmp_path)
    _, front, body = (tmp_path / "README.md").read_text().split("---\n", 2)
    said = yaml.safe_load(front)
    assert [one["name"] for one in said.pop("dataset_info")["features"]] == PAIR_COLUMNS
    assert said == {
        "pretty_name": "Shop: pairs",
        "license": "cc-by-4.0",
        "language": ["en", "fr"],
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": "train", "path": "data/train-00000-of-00001.parquet"}],
            }
        ],
    }
    columns = [line.split("`")[1] for line in body.splitlines() if line.startswith("| `")]
    assert columns == PAIR_COLUMNS
    assert "The licence was not stated." in form.__class__().beside({}, RecordType.SFT)["README.md"]


def test_a_folder_converts_with_its_ids_into_another(tmp_path: Path) -> None:
    made = pairs(4)
    write_export(HuggingFace(), {"train": made}, RecordType.PREFERENCE, tmp_path / "a")
    done = convert(tmp_path / "a", to="huggingface", out=tmp_path / "b")
    assert (done.source, done.read, done.written) == ("huggingface", 4, 4)
    assert next(iter(FORMATS)) == "huggingface"  # asked first: TRL would read the same content without the ids
    [chunk] = read_frames(tmp_path / "b")
    back = HuggingFace().decode(chunk.frame, RecordType.PREFERENCE).rows
    assert identify(back, RecordType.PREFERENCE, source="x").to_dicts() == made.to_dicts()
    assert "data/train-00000-of-00001.parquet" in (tmp_path / "b" / "README.md").read_text()


def test_an_id_that_stands_twice_is_kept_once() -> None:
    made = pairs(1)
    written = HuggingFace().encode(pl.concat([made, made]), RecordType.PREFERENCE).rows
    decoded = HuggingFace().decode(written, RecordType.PREFERENCE).rows
    seen: dict[str, int] = {}
    first = identify(decoded, RecordType.PREFERENCE, source="x", seen=seen)
    again = identify(decoded, RecordType.PREFERENCE, source="x", seen=seen)
    ids = [*first["id"], *again["id"]]
    assert ids[0] == made["id"][0]
    assert len(set(ids)) == 4


def test_real_pairs_go_both_ways(shared_data: Any, tmp_path: Path) -> None:
    there = convert(shared_data("hh_rlhf"), to="huggingface", out=tmp_path / "a")
    assert (there.read, there.written) == (2312, 2303)
    assert list(there.files) == ["data/test-00000-of-00001.parquet"]
    back = convert(tmp_path / "a", to="trl", out=tmp_path / "b")
    assert (back.read, back.written) == (2303, 2303)


@pytest.mark.parametrize("record_type", sorted(RecordType))
@given(data=st.data())
@settings(max_examples=5, deadline=None)
def test_the_features_of_the_card_are_those_of_the_files(record_type: RecordType, data: st.DataObject) -> None:
    import datasets
    import pyarrow.parquet

    features = [one for one in HuggingFace.holds[record_type] if one is not Feature.ID]
    made = full(record_type, data.draw(rows(record_type, features)))
    with tempfile.TemporaryDirectory() as folder:
        write_export(HuggingFace(), {"train": made}, record_type, Path(folder))
        front = (Path(folder) / "README.md").read_text(encoding="utf-8").split("---\n", 2)[1]
        file = Path(folder) / "data/train-00000-of-00001.parquet"
        found = datasets.Features.from_arrow_schema(pyarrow.parquet.read_schema(file))
    said = yaml.safe_load(front)["dataset_info"]
    assert said == {"features": found._to_yaml_list()}
    assert datasets.Features._from_yaml_list(said["features"]) == found


def test_pictures_inside_are_loaded_as_pictures(tmp_path: Path) -> None:
    import datasets
    from PIL import Image

    store = f"pictures/aa/{'a' * 32}.png"
    (tmp_path / "pictures/aa").mkdir(parents=True)
    Image.new("RGB", (5, 3), (200, 0, 0)).save(tmp_path / store)
    row = {"prompt": [turn("user", "\ufffcWhat?")], "completion": [turn("assistant", "Red.")]}
    row["images"] = [{"uri": store, "side": "prompt", "message": 0, "part": 0}]  # type: ignore[list-item]
    made = framed([row], RecordType.SFT)
    for form in (HuggingFace(), Trl()):
        write_export(form, {"train": made}, RecordType.SFT, tmp_path / form.name, pictures=tmp_path)
    file = str(tmp_path / "trl" / "train.parquet")
    for given_ in ({"path": str(tmp_path / "huggingface")}, {"path": "parquet", "data_files": file}):
        [loaded] = datasets.load_dataset(**given_, split="train", cache_dir=str(tmp_path / "cache"))
        [picture] = loaded["images"]
        assert (picture.size, picture.getpixel((0, 0))) == ((5, 3), (200, 0, 0))
        assert [part["type"] for part in loaded["prompt"][0]["content"]] == ["image", "text"]


def test_splits_whose_rows_hold_other_things_load_as_one_dataset(tmp_path: Path) -> None:
    import datasets

    called = [{"type": "function", "function": {"name": "f", "arguments": "{}"}}]
    plain = pairs(2).drop("margin").with_columns(margin=pl.lit(None, pl.Float32)).select(pairs(2).columns)
    rich = framed(
        [
            {
                "prompt": [turn("user", "q"), turn("assistant", "", json.dumps(called)), turn("tool", "r")],
                "chosen": [turn("assistant", "good")],
                "rejected": [turn("assistant", "bad")],
                "margin": 1.0,
            }
        ],
        RecordType.PREFERENCE,
        source="shop",
    )
    for at, splits in enumerate(({"train": plain, "test": rich}, {"train": rich, "test": plain})):
        write_export(HuggingFace(), splits, RecordType.PREFERENCE, tmp_path / str(at))
        loaded = datasets.load_dataset(str(tmp_path / str(at)), cache_dir=str(tmp_path / "cache"))
        assert loaded["train"].features == loaded["test"].features
        named = {name for name, frame in splits.items() if frame is rich}.pop()
        assert loaded[named]["prompt"][0][1]["tool_calls"] is not None
        assert loaded[named]["margin"] == [1.0]
        assert loaded["test" if named == "train" else "train"]["margin"] == [None, None]


def test_a_card_without_dtypes_says_no_features() -> None:
    names = {"train": "data/train-00000-of-00001.parquet"}
    for columns in (["id"], {"id": pl.Unknown()}):
        assert "dataset_info" not in HuggingFace().beside(names, RecordType.SFT, columns=columns)["README.md"]
    known = {"id": pl.String()}
    assert "dataset_info" in HuggingFace().beside(names, RecordType.SFT, columns=known)["README.md"]
    assert "dataset_info" not in HuggingFace().beside({"a": "a.jsonl"}, RecordType.SFT, columns=known)["README.md"]


def test_a_converted_folder_says_its_features_over_all_chunks(tmp_path: Path) -> None:
    import datasets

    made = pairs(2).select("id", "prompt", "chosen", "rejected")
    called = made.with_columns(margin=pl.lit(0.5), tools=pl.lit('[{"name": "f"}]'))
    (tmp_path / "in").mkdir()
    made.write_ndjson(tmp_path / "in" / "train.jsonl")
    called.write_ndjson(tmp_path / "in" / "test.jsonl")
    convert(tmp_path / "in", to="huggingface", out=tmp_path / "out", source="trl", type=RecordType.PREFERENCE)
    loaded = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert loaded["train"].features == loaded["test"].features
    assert (loaded["train"]["margin"], loaded["test"]["margin"]) == ([None, None], [0.5, 0.5])
