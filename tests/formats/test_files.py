"""Files to frames and frames to files: JSONL, JSON, Parquet, folders."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from prefdata.errors import InputError, SchemaError
from prefdata.formats.files import Chunk, FrameWriter, read_frames, write_export
from prefdata.formats.trl import Trl
from prefdata.io import ReadLimits
from prefdata.schema import RecordType, conform

ROWS = [
    {"prompt": [{"role": "user", "content": 'a\n"x":null,"y 你好 😀'}], "label": True, "score": 0.5},
    {"prompt": [{"role": "user", "content": ""}, {"role": "tool"}], "label": False},
    {"prompt": [], "extra": {"deep": [1, 2]}},
]


def rows_of(chunks: list[Chunk]) -> list[dict[str, Any]]:
    found = []
    for chunk in chunks:
        found += chunk.frame.drop("_file", "_line", "_offset").to_dicts()
    return [without_nulls(row) for row in found]


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


def frame() -> pl.DataFrame:
    return pl.DataFrame(ROWS)


@pytest.mark.parametrize("container", ["jsonl", "json", "parquet"])
def test_what_is_written_is_read_back(tmp_path: Path, container: Any) -> None:
    path = tmp_path / f"rows.{container}"
    with FrameWriter(path, container) as writer:
        writer.write(frame().head(1))
        writer.write(frame().tail(2))
    assert writer.close() == (3, hashlib.sha256(path.read_bytes()).hexdigest())
    chunks = list(read_frames(path))
    assert rows_of(chunks) == ROWS
    assert [line for chunk in chunks for line in chunk.frame["_line"]] == [1, 2, 3]
    assert [name.name for name in tmp_path.iterdir()] == [path.name]


def test_nulls_are_keys_that_are_not_there(tmp_path: Path) -> None:
    with FrameWriter(tmp_path / "rows.jsonl", "jsonl") as writer:
        writer.write(frame())
    assert [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text("utf-8").splitlines()] == ROWS


def test_json_is_one_array(tmp_path: Path) -> None:
    with FrameWriter(tmp_path / "rows.json", "json") as writer:
        for _ in range(2):
            writer.write(pl.DataFrame({"a": ["x,\n]", "y"]}))
    assert (tmp_path / "rows.json").read_text() == '[\n{"a":"x,\\n]"},\n{"a":"y"},\n{"a":"x,\\n]"},\n{"a":"y"}\n]\n'
    with FrameWriter(tmp_path / "none.json", "json"):
        pass
    assert json.loads((tmp_path / "none.json").read_text()) == []


@pytest.mark.parametrize("container", ["jsonl", "json", "parquet"])
def test_a_writer_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path, container: Any) -> None:
    path = tmp_path / "rows"
    path.write_text("old")

    def fail() -> None:
        with FrameWriter(path, container) as writer:
            writer.write(frame())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert path.read_text() == "old"
    assert [name.name for name in tmp_path.iterdir()] == ["rows"]


def test_a_parquet_file_refuses_one_column_of_two_types(tmp_path: Path) -> None:
    with FrameWriter(tmp_path / "rows.parquet", "parquet") as writer:
        writer.write(pl.DataFrame({"a": ["x"], "b": [1]}))
        with pytest.raises(SchemaError, match="differ in the type of a"):
            writer.write(pl.DataFrame({"a": [["x"]], "b": [1]}))
        writer.abort()
    assert list(tmp_path.iterdir()) == []


def test_gzip_folders_and_arrays_give_the_same_rows(tmp_path: Path) -> None:
    lines = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train-00000-of-00002.jsonl.gz").write_bytes(gzip.compress(lines))
    (tmp_path / "data" / "train-00001-of-00002.json").write_text(json.dumps(ROWS, indent=2), "utf-8")
    frame().write_parquet(tmp_path / "data" / "train.parquet")
    (tmp_path / "README.md").write_text("# card")
    (tmp_path / "dataset_info.json").write_text("{}")
    chunks = list(read_frames(tmp_path))
    assert rows_of(chunks) == ROWS * 3
    assert [name for chunk in chunks for name in chunk.frame["_file"].unique()] == [
        "data/train-00000-of-00002.jsonl.gz",
        "data/train-00001-of-00002.json",
        "data/train.parquet",
    ]


def test_parquet_in_chunks_is_the_whole_file(tmp_path: Path) -> None:
    rows = pl.DataFrame({"n": range(5000), "text": [f"{at}" * 9 for at in range(5000)]})
    rows.write_parquet(tmp_path / "rows.parquet", row_group_size=700)
    chunks = list(read_frames(tmp_path / "rows.parquet", chunk_bytes=1024))
    assert [chunk.frame.height for chunk in chunks] == [1000] * 5
    assert_frame_equal(pl.concat([chunk.frame for chunk in chunks]).select("n", "text"), rows)
    assert chunks[-1].frame["_line"][-1] == 5000


def test_parquet_bytes_become_base64_and_a_nul_costs_its_row(tmp_path: Path) -> None:
    rows = pl.DataFrame(
        {
            "image": [{"bytes": b"\x00\xff", "path": "a.png"}, None],
            "kind": pl.Series(["a", "b"], dtype=pl.Categorical),
            "turns": [[{"text": "x"}], [{"text": "y\x00"}]],
        }
    )
    rows.write_parquet(tmp_path / "rows.parquet")
    [chunk] = read_frames(tmp_path / "rows.parquet")
    assert rows_of([chunk]) == [{"image": {"bytes": "AP8=", "path": "a.png"}, "kind": "a", "turns": [{"text": "x"}]}]
    assert chunk.quarantine.select("line", "reason").rows() == [(2, "nul_character")]


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("rows.parquet", b"PAR1 but no more PAR1", "broken_parquet"),
        ("rows.parquet", b"PAR1 cut", "truncated_parquet"),
        ("rows.json", b"", "empty_file"),
        ("rows.jsonl.gz", gzip.compress(b'{"a":1}\n' * 9)[:-9], "truncated_gzip"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_row_of_the_quarantine(
    tmp_path: Path, name: str, data: bytes, reason: str
) -> None:
    (tmp_path / name).write_bytes(data)
    chunks = list(read_frames(tmp_path / name))
    found = pl.concat([chunk.quarantine for chunk in chunks])
    assert found.select("file", "line", "reason").rows() == [(name, None, reason)]


def test_a_line_over_the_limit_costs_that_line(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"a":"x"}\n{"a":"' + "y" * 99 + '"}\n{"a":"z"}\n')
    chunks = list(read_frames(tmp_path / "rows.jsonl", limits=ReadLimits(max_line_bytes=50)))
    assert rows_of(chunks) == [{"a": "x"}, {"a": "z"}]
    assert [row for chunk in chunks for row in chunk.quarantine.select("line", "reason").rows()] == [
        (2, "line_too_long")
    ]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "gb18030"])
def test_encodings_are_told(tmp_path: Path, encoding: str) -> None:
    text = "".join(
        json.dumps({"a": "订单已取消，退款三天内到账。", "n": at}, ensure_ascii=False) + "\n" for at in range(9)
    )
    (tmp_path / "rows.jsonl").write_bytes(text.encode(encoding))
    assert [row["n"] for row in rows_of(list(read_frames(tmp_path / "rows.jsonl")))] == list(range(9))


def test_one_line_of_another_encoding_costs_that_line(tmp_path: Path) -> None:
    lines = [json.dumps({"a": "é", "n": at}, ensure_ascii=False).encode() for at in range(30)]
    lines[7] = b'{"a":"\xff"}'
    (tmp_path / "rows.jsonl").write_bytes(b"\n".join(lines))
    chunks = list(read_frames(tmp_path / "rows.jsonl"))
    assert [line for chunk in chunks for line in chunk.frame["_line"]] == [at for at in range(1, 31) if at != 8]
    assert [row for chunk in chunks for row in chunk.quarantine.select("line", "reason").rows()] == [
        (8, "bad_encoding")
    ]


def test_a_folder_without_data_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "dataset_info.json").write_text("{}")
    with pytest.raises(InputError, match="no data file in this folder"):
        list(read_frames(tmp_path))


def test_an_export_counts_what_it_refuses(tmp_path: Path) -> None:
    turn = [{"role": "user", "content": "q", "tool_calls": None}]
    answers = [[{"role": "assistant", "content": text, "tool_calls": None}] for text in ("a", " ", "b")]
    rows = conform(
        pl.DataFrame(
            {
                "id": ["1", "2", "3"],
                "source": ["s"] * 3,
                "group": ["g"] * 3,
                "prompt": [turn] * 3,
                "completion": answers,
                "label": [True, True, False],
            },
            schema_overrides={
                side: pl.List(pl.Struct({"role": pl.String, "content": pl.String, "tool_calls": pl.String}))
                for side in ("prompt", "completion")
            },
        ),
        RecordType.UNPAIRED,
    )
    facts = write_export(Trl(), {"train": rows}, RecordType.UNPAIRED, tmp_path)
    assert facts["refused"] == {"empty_answer": 1}
    assert facts["files"]["train.parquet"] | {"sha256": ""} == {
        "rows": 2,
        "sha256": "",
        "refused": 1,
        "desirable": 1,
        "undesirable": 1,
    }
    assert pl.read_parquet(tmp_path / ".refused.parquet").select("split", "id", "reasons").rows() == [
        ("train", "2", ["empty_answer"])
    ]
    assert pl.read_parquet(tmp_path / "train.parquet")["id"].to_list() == ["1", "3"]
