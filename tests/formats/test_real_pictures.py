"""Real conversations about real photographs: every form of the rows reads alike, and comes back from every export."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from prefdata.catalogue import load
from prefdata.formats.core import identify
from prefdata.formats.export import write_export
from prefdata.formats.files import read_frames
from prefdata.formats.picture_bytes import bytes_of
from prefdata.recognition import recognised
from prefdata.schema import RecordType, check

SFT = RecordType.SFT
SIDES = ("prompt", "completion")


class Real:
    """LLaMA-Factory's demo: six conversations, three photographs, two of them shown twice in a row."""

    def __init__(self, data: Path, folder: Path) -> None:
        self.file = data / "mllm_demo.json"
        self.given: list[dict[str, Any]] = json.loads(self.file.read_text(encoding="utf-8"))
        self.bytes = {f"mllm_demo_data/{at}.jpg": (data / f"{at}.jpg").read_bytes() for at in (1, 2, 3)}
        self.stored, self.run = {}, folder / "run"
        for address, content in self.bytes.items():
            digest = hashlib.sha256(content).hexdigest()
            self.stored[address] = f"pictures/{digest[:2]}/{digest}.jpg"
            (self.run / self.stored[address]).parent.mkdir(parents=True, exist_ok=True)
            (self.run / self.stored[address]).write_bytes(content)
        self.rows = read(self.file)


@pytest.fixture(scope="module")
def real(shared_data: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Real:
    return Real(shared_data("llamafactory"), tmp_path_factory.mktemp("real"))


def read(path: Path, name: str | None = None) -> pl.DataFrame:
    """The canonical rows of a file, by the format `name` or the one that is recognised."""
    [frame] = [chunk.frame for chunk in read_frames(path)]
    form = load("format", name)() if name else recognised(frame, where=path.name).format
    found = form.decode(frame, SFT)
    assert found.refused.height == 0
    return check(identify(found.rows, SFT, source="real"), SFT)


def llava(row: dict[str, Any]) -> dict[str, Any]:
    names = {"user": "human", "assistant": "gpt"}
    talk = [{"from": names[one["role"]], "value": one["content"]} for one in row["messages"]]
    some = row["images"]
    return {"id": "7", "image": some[0] if len(some) == 1 else some, "conversations": talk}


def parts(row: dict[str, Any]) -> dict[str, Any]:
    """OpenAI's content parts."""
    left = list(row["images"])
    talk = []
    for one in row["messages"]:
        content: list[dict[str, Any]] = []
        for at, text in enumerate(one["content"].split("<image>")):
            content += [{"type": "image_url", "image_url": {"url": left.pop(0)}}] if at else []
            content += [{"type": "text", "text": text}] if text else []
        talk.append({"role": one["role"], "content": content if one["role"] == "user" else one["content"]})
    return {"messages": talk}


@pytest.mark.parametrize(("make", "name"), [(llava, None), (llava, "sharegpt"), (parts, "openai"), (parts, None)])
def test_every_form_of_a_conversation_reads_alike(
    make: Callable[[dict[str, Any]], dict[str, Any]], name: str | None, real: Real, tmp_path: Path
) -> None:
    path = tmp_path / "rows.jsonl"
    single = [row for row in real.given if make is not llava or len(row["images"]) == 1]
    path.write_text("".join(json.dumps(make(row), ensure_ascii=False) + "\n" for row in single), encoding="utf-8")
    kept = real.rows.filter(pl.Series([row in single for row in real.given]))
    found = read(path, name)
    assert found.select(*SIDES, "images").equals(kept.select(*SIDES, "images"))


@pytest.mark.parametrize("name", ["trl", "huggingface", "sharegpt", "swift", "llamafactory", "openai", "webdataset"])
def test_exports_of_photographs_come_back_with_their_bytes(name: str, real: Real, tmp_path: Path) -> None:
    uri = pl.element().struct.field("uri").replace_strict(real.stored)
    moved = pl.col("images").list.eval(pl.element().struct.with_fields(uri=uri))
    rows = real.rows.with_columns(moved)
    told = write_export(load("format", name)(), {"train": rows}, SFT, tmp_path, pictures=real.run)
    assert told["refused"] == {}
    file = next(one for one in tmp_path.rglob("train*") if one.is_file())
    back = read(file, name)
    assert back.select(SIDES).equals(real.rows.select(SIDES))
    for before, after in zip(real.rows["images"].to_list(), back["images"].to_list(), strict=True):
        seen = [bytes_of(one["uri"]) or (file.parent / one["uri"]).read_bytes() for one in after]
        assert seen == [real.bytes[one["uri"]] for one in before]
        assert [one["message"] for one in after] == [one["message"] for one in before]
