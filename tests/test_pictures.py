"""The gate's table and store, what a run's pictures are to scorers, and the settings."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from made_pictures import gradient, opened, saved

from prefdata.errors import RecipeError, ResourceError
from prefdata.pictures import PICTURES, REASONS, SEEN, Address, Gate, GateSettings, Pictures, read
from prefdata.schema import IMAGE

NAMES = ("a.png", "b.png", "same.bmp", "short.jpg", "gone.png", "../out.png")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    (folder / "a.png").write_bytes(saved(gradient(40, 30)))
    (folder / "same.bmp").write_bytes(saved(gradient(40, 30), "BMP"))
    (folder / "b.png").write_bytes(saved(gradient(50, 20)))
    (folder / "short.jpg").write_bytes(saved(gradient(200, 150), "JPEG")[:-500])
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def gate(run: Path) -> Iterator[Gate]:
    with Gate(GateSettings(workers=2), store=run) as gate:
        yield gate


@pytest.fixture(scope="module")
def table(gate: Gate, folder: Path) -> pl.DataFrame:
    return gate.look([Address(folder, name, "photos") for name in NAMES])


def test_the_table_has_a_row_for_each_address_in_order(table: pl.DataFrame) -> None:
    assert table.schema == PICTURES
    assert table["address"].to_list() == list(NAMES)
    assert table["source"].to_list() == ["photos"] * 6
    assert table["reason"].to_list() == [None, None, None, "truncated", "not_there", "outside_root"]
    assert table["format"].to_list() == ["PNG", "PNG", "BMP", "JPEG", None, None]
    assert table["width"].to_list() == [40, 50, 40, 200, None, None]
    assert table["bytes"].is_null().to_list() == [False] * 4 + [True] * 2


def test_equal_pixels_are_one_file_in_the_store(table: pl.DataFrame, run: Path) -> None:
    first, second, same = table["uri"].to_list()[:3]
    assert first == same != second
    pixels = table["pixels"][0]
    assert first == f"pictures/{pixels[:2]}/{pixels}.png"
    files = sorted(str(path.relative_to(run)) for path in (run / "pictures").rglob("*") if path.is_file())
    assert files == sorted((first, second))
    assert opened((run / first).read_bytes()).tobytes() == gradient(40, 30).tobytes()


def test_the_hash_is_of_the_file_as_it_came(table: pl.DataFrame, folder: Path) -> None:
    expected = [hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in NAMES[:4]]
    assert table["sha256"].to_list() == [*expected, None, None]


@settings(max_examples=15)
@given(st.lists(st.sampled_from(NAMES), max_size=12))
def test_the_order_and_the_company_of_pictures_change_nothing(
    gate: Gate, folder: Path, table: pl.DataFrame, names: list[str]
) -> None:
    found = gate.look([Address(folder, name, "photos") for name in names])
    assert found.equals(table[[NAMES.index(name) for name in names]])


def test_the_number_of_workers_changes_nothing(gate: Gate, table: pl.DataFrame, folder: Path, tmp_path: Path) -> None:
    with Gate(GateSettings(workers=1), store=tmp_path) as alone:
        assert alone.look([Address(folder, name, "photos") for name in NAMES]).equals(table)


def test_bytes_and_data_addresses_are_looked_at_and_named_by_their_hash(gate: Gate, table: pl.DataFrame) -> None:
    data = saved(gradient(40, 30))
    text = "data:image/png;name=x.png;base64," + base64.b64encode(data).decode()
    found = gate.look([Address(Path(), data), Address(Path(), text), Address(Path(), "data:,x")])
    name = f"bytes:{hashlib.sha256(data).hexdigest()[:16]}"
    assert found["address"].to_list()[:2] == [name, name]
    assert found["uri"].to_list() == [table["uri"][0], table["uri"][0], None]
    assert found["reason"].to_list() == [None, None, "bad_data_address"]


def test_a_root_in_the_settings_is_for_all_addresses(folder: Path, tmp_path: Path) -> None:
    with Gate(GateSettings(workers=1, root=str(folder)), store=None) as gate:
        found = gate.look([Address(tmp_path, "a.png"), Address(tmp_path / "nowhere", "gone.png")])
    assert found["reason"].to_list() == [None, "not_there"]
    assert found["uri"].to_list() == [None, None]


def test_no_address_starts_no_worker() -> None:
    with Gate(GateSettings(), store=None) as gate:
        assert gate.look([]).schema == PICTURES
        assert gate.pool.processes == []


def test_a_stored_picture_that_was_deleted_is_written_again(gate: Gate, run: Path) -> None:
    data = saved(gradient(33, 21))
    uri = gate.look([Address(Path(), data)])["uri"][0]
    before = (run / uri).read_bytes()
    os.unlink(run / uri)
    assert gate.look([Address(Path(), data)])["uri"].to_list() == [uri]
    assert (run / uri).read_bytes() == before


def test_a_full_disk_is_told_and_the_gate_goes_on(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> None:
        raise ResourceError("no room left on the disk")

    given = [Address(Path(), saved(gradient(20, 20 + at))) for at in range(6)]
    with monkeypatch.context() as patch:
        patch.setattr("prefdata.picturing.looking.write_atomic", full)
        with pytest.raises(ResourceError, match="no room"):
            gate.look(given)
    assert gate.look(given)["uri"].n_unique() == 6


def images(*rows: list[tuple[str, str]] | None) -> pl.Series:
    values = [
        None
        if row is None
        else [{"uri": uri, "side": side, "message": at, "part": 0} for at, (uri, side) in enumerate(row)]
        for row in rows
    ]
    return pl.Series("images", values, dtype=pl.List(IMAGE))


def test_scorers_get_the_pictures_of_the_sides_in_their_order(table: pl.DataFrame, run: Path) -> None:
    first, second = table["uri"].to_list()[:2]
    column = images(
        [(second, "prompt"), (first, "chosen"), (first, "rejected"), (second, "chosen")],
        None,
        [],
        [(first, "rejected")],
        [("pictures/00/unknown.png", "prompt")],
        [(first, "prompt"), (first, "prompt")],
    )
    seen = Pictures(table, run).seen(column, ["prompt", "chosen"])
    assert seen.dtype == pl.List(SEEN)
    told = [row and [(one["uri"], one["side"], one["message"]) for one in row] for row in seen.to_list()]
    assert told == [
        [(second, "prompt", 0), (first, "chosen", 1), (second, "chosen", 3)],
        None,
        None,
        None,
        None,
        [(first, "prompt", 0), (first, "prompt", 1)],
    ]
    one = seen.to_list()[0][0]
    assert (one["path"], one["width"], one["pixels"]) == (str(run / second), 50, table["pixels"][1])
    assert opened(Path(one["path"]).read_bytes()).size == (50, 20)


def test_pictures_that_are_not_stored_are_told_apart_by_their_source(table: pl.DataFrame, run: Path) -> None:
    first, second = table[[0]], table[[1]].with_columns(source=pl.lit("others"), address=pl.lit("a.png"))
    alone = table[[1]].with_columns(address=pl.lit("alone.png"))
    bare = Pictures(pl.concat([first, second, alone]).with_columns(uri=pl.lit(None, pl.String)), run)
    column = images([("a.png", "prompt")], [("a.png", "prompt"), ("alone.png", "prompt")])
    seen = bare.seen(column, ["prompt"], sources=pl.Series(["others", "photos"])).to_list()
    assert [[(one["uri"], one["width"], one["path"]) for one in row] for row in seen] == [
        [("a.png", 50, None)],
        [("a.png", 40, None), ("alone.png", 50, None)],
    ]
    unsure = bare.seen(column, ["prompt"]).to_list()
    assert [row and [one["uri"] for one in row] for row in unsure] == [None, ["alone.png"]]


def test_equal_pixels_in_several_files_are_opened_from_one(table: pl.DataFrame, run: Path) -> None:
    one, other = "pictures/aa/aaaaaaaaaaaaaaaa.png", "pictures/bb/bbbbbbbbbbbbbbbb.jpg"
    twice = pl.concat([table[[0]].with_columns(uri=pl.lit(uri)) for uri in (other, one)])
    seen = Pictures(twice, run).seen(images([(other, "prompt")], [(one, "prompt")]), ["prompt"]).to_list()
    assert [row[0]["path"] for row in seen] == [str(run / one)] * 2
    assert [row[0]["uri"] for row in seen] == [other, one]


def test_the_pictures_of_a_run_are_read_from_its_table(table: pl.DataFrame, tmp_path: Path) -> None:
    assert read(tmp_path) is None
    table.write_parquet(tmp_path / "pictures.parquet")
    found = read(tmp_path)
    assert found is not None
    assert found.table.equals(table)
    assert found.root == tmp_path


def test_settings_that_could_not_be_meant_are_told_all_at_once() -> None:
    with pytest.raises(RecipeError) as caught:
        GateSettings(max_bytes=0, max_side=0, background="puce", hosts=("https://x.example/",), formats=(), seconds=0)
    assert [fault.split(":")[0] for fault in caught.value.faults] == [
        "max_bytes",
        "max_side",
        "seconds",
        "formats",
        "background",
        "hosts",
    ]


PAGE = (Path(__file__).resolve().parents[1] / "docs" / "pictures.md").read_text(encoding="utf-8")


def test_the_page_names_every_reason_and_every_setting_with_its_default() -> None:
    listed = set(re.findall(r"`([a-z_]+)`", PAGE.split("### What is refused")[1].split("### How")[0]))
    assert sorted(set(REASONS) - listed) == []
    shown = yaml.safe_load(re.findall(r"^```yaml\n(pictures:.*?)^```", PAGE, re.DOTALL | re.MULTILINE)[0])["pictures"]
    told = dataclasses.asdict(GateSettings()) | {"root": "photos", "max_side": 1024}
    assert {name: tuple(value) if isinstance(value, list) else value for name, value in shown.items()} == told


def test_the_code_of_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "lamp.png").write_bytes(saved(gradient()))
    code = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)[0]
    exec(compile(code, "docs/pictures.md", "exec"), {})
    assert "outside_root" in capsys.readouterr().out
    assert len(list((tmp_path / "checked" / "pictures").glob("*/*.png"))) == 1
