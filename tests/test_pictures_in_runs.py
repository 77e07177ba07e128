"""Runs of rows with pictures: the gate, what is stored, who is given it, what resumes."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import prefdata
from prefdata import catalogue, explain, gating, judging
from prefdata.errors import InputError, RecipeError
from prefdata.judging import RowFilter
from prefdata.pictures import PICTURES, SEEN, Gate, read
from prefdata.recipe import load
from prefdata.reporting.accounts import ENDS

_spec = importlib.util.spec_from_file_location("pictured", Path(__file__).with_name("pictured.py"))
assert _spec is not None
assert _spec.loader is not None
pictured: Any = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(pictured)
TAKEN = pictured.TAKEN
draw = pictured.draw
folder = pictured.folder
read_in = pictured.read_in
recipe = pictured.recipe
refused = pictured.refused
run = pictured.run
shown = pictured.shown
table = pictured.table
tree = pictured.tree
write = pictured.write

ASKED: list[pl.DataFrame] = []
"""What the scorer below was given."""


@dataclass(frozen=True)
class Wideness:
    """How wide the first picture is, and how often its text was looked at."""

    name: str = "wideness"
    version: int = 1
    reads: frozenset[Any] = frozenset({"text", "images"})
    better: Any = "higher"

    def parameters(self) -> Mapping[str, Any]:
        return {}

    def score(self, items: pl.DataFrame) -> pl.DataFrame:
        ASKED.append(items)
        width = pl.col("pictures").list.first().struct.field("width").cast(pl.Float32)
        return items.select(wideness=width)


@dataclass(frozen=True, kw_only=True)
class Wide:
    """A filter that keeps pictures of some width."""

    min_width: float = judging.threshold(0.0)
    sides: tuple[judging.Side, ...] = ("completion",)

    def build(self) -> RowFilter:
        rules = {"picture_too_narrow": judging.Rule(min=self.min_width)}
        return RowFilter(name="wide", scorer=Wideness(), sides=self.sides, rules=rules)


@dataclass(frozen=True, kw_only=True)
class SamePicture:
    """Rows with a picture of equal pixels."""

    name: str = "same_picture"
    version: int = 1
    min_similarity: float = 1.0
    reads: frozenset[str] = frozenset({"images"})

    def build(self) -> SamePicture:
        return self

    def parameters(self) -> Mapping[str, Any]:
        return {}

    def keys(self, frame: pl.DataFrame) -> pl.DataFrame:
        assert frame.columns == ["id", "customer", "reply", "pictures"]
        assert frame.schema["pictures"] == pl.List(SEEN)
        shown = frame.filter(pl.col("pictures").is_not_null())
        return shown.select("id", key=pl.col("pictures").list.first().struct.field("pixels"))

    def edges(self, bucket: pl.DataFrame) -> pl.DataFrame:
        both = bucket.join(bucket, on="key", suffix="_other").filter(pl.col("id") < pl.col("id_other"))
        return both.select(left="id", right="id_other", similarity=pl.lit(1.0, pl.Float32))

    def groups(self, edges: pl.DataFrame) -> pl.DataFrame:
        found = pl.concat([edges.select(id="left", cluster="left"), edges.select(id="right", cluster="left")]).unique()
        return found.sort("id").with_columns(size=pl.lit(2, pl.UInt32), similarity=pl.lit(1.0, pl.Float32))


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The filter and the grouping above, by name."""
    here = {"filter": ("wide", Wide), "grouping": ("same_picture", SamePicture)}
    found = catalogue.load
    for kind, (name, _) in here.items():
        monkeypatch.setitem(catalogue.KINDS[kind], name, f"{__name__}:{name}")
    monkeypatch.setattr(
        catalogue,
        "load",
        lambda kind, name: here[kind][1] if here.get(kind, ("",))[0] == name else found(kind, name),
    )
    ASKED.clear()
    return


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the folder, with the groupings that there are by default."""
    at = folder(tmp_path_factory.mktemp("shop"))
    run(recipe(at, "groupings: [exact_duplicates]\npictures: {}\n"), at / "run")
    return at


def test_rows_have_the_addresses_of_stored_pictures_and_those_of_refused_ones_leave(done: Path) -> None:
    report = json.loads((done / "run/report.json").read_text(encoding="utf-8"))
    (account,) = report["accounts"]
    assert {end: account[end] for end in ("all", *ENDS)} == {
        "all": 7,
        "kept": 3,
        "dropped": 1,
        "erased": 0,
        "unmade": 0,
        "refused": 3,
        "quarantined": 0,
    }
    assert account["refused_because"] == {"not_there": 1, "outside_root": 1, "truncated": 1}
    assert report["fates"][0]["row"] == 4
    assert report["fates"][0]["refused"] == 3
    unmade = pl.read_parquet(done / "run/unmade.parquet")
    assert unmade.select("step", "file", "line", "reasons").rows() == [
        ("pictures", "data.jsonl", 4, ["truncated"]),
        ("pictures", "data.jsonl", 5, ["not_there"]),
        ("pictures", "data.jsonl", 6, ["outside_root"]),
    ]
    rows = prefdata.kept_rows(done / "run")
    uris = [one["uri"] for images in rows["images"].drop_nulls() for one in images]
    assert all((done / "run" / uri).is_file() for uri in uris)
    assert rows["images"].null_count() == 1
    assert report["reasons"][0]["reason"] == "exact_duplicates"  # one picture under two names, one answer


def test_the_table_of_pictures_is_sorted_and_keeps_nothing_of_what_no_row_has(done: Path) -> None:
    found = table(done / "run")
    assert found.schema == PICTURES
    assert found["address"].to_list() == sorted(
        [*TAKEN, "p/3.png", "p/cut.png", "p/gone.png", f"../{done.name}-outside.png"]
    )
    assert found.drop_nulls("uri")["address"].to_list() == TAKEN
    alone = found.row(by_predicate=pl.col("address") == "p/3.png", named=True)  # its row had a broken one beside it
    assert [alone[name] for name in ("reason", *gating.TRACES)] == [None] * 7
    assert alone["width"] == 24
    stored = {file.relative_to(done / "run").as_posix() for file in (done / "run/pictures").rglob("*.*")}
    assert stored == set(found["uri"].drop_nulls())
    assert len(stored) == 3


def test_the_run_tells_its_pictures_and_their_hash_among_the_inputs(done: Path) -> None:
    facts = json.loads((done / "run/run.json").read_text(encoding="utf-8"))
    assert facts["pictures"]["refused_because"] == {"not_there": 1, "outside_root": 1, "truncated": 1}
    assert (facts["pictures"]["pictures"], facts["pictures"]["stored"]) == (8, 3)
    assert facts["pictures"]["settings"]["max_pixels"] == 40_000_000
    assert sorted(facts["inputs"]["data"]) == ["data.jsonl", "pictures/"]


def test_explain_names_the_pictures_of_a_row_with_their_measures(done: Path) -> None:
    rows = prefdata.kept_rows(done / "run")
    row = rows.filter(pl.col("images").list.len() == 2).row(0, named=True)
    life = explain.explain(done / "run", row["id"])
    first, second = life["pictures"]
    assert first["addresses"] == ["p/1.png", "p/again.png"]
    assert second["addresses"] == ["p/2.png"]
    assert (first["side"], first["message"], first["part"], second["part"]) == ("prompt", 0, 0, 1)
    assert (first["format"], first["width"], first["height"]) == ("PNG", 24, 18)
    told = explain.told(life)
    assert "picture  p/1.png, p/again.png (prompt, message 0): PNG, 24 x 18, " in told
    bare = rows.filter(pl.col("images").is_null())["id"][0]
    assert "pictures" not in explain.explain(done / "run", bare)


def test_scorers_and_groupings_are_given_the_pictures_of_a_row(tmp_path: Path) -> None:
    at = folder(tmp_path)
    more = "filters:\n  - wide: {min_width: 24}\ngroupings: [same_picture]\nshard_rows: 2\n"
    report = run(recipe(at, more), at / "run")
    assert {one["reason"]: one["rows"] for one in report["reasons"]} == {"same_picture": 1}
    assert report["counts"]["unjudged"] == 1  # without a picture
    asked = pl.concat(ASKED)
    assert asked.columns == ["text", "pictures"]
    assert asked.schema["pictures"] == pl.List(SEEN)
    shown = asked.drop_nulls("pictures")["pictures"].list.first()
    assert all(Path(path).is_file() for path in shown.struct.field("path"))
    draw(at / "p/0.png", 0, size=(20, 18))  # is seen on resume, and judged anew
    report = run(recipe(at, more), at / "run")
    assert {one["reason"]: one["rows"] for one in report["reasons"]} == {"same_picture": 1, "picture_too_narrow": 1}


def test_a_text_with_one_picture_under_two_names_is_scored_once(done: Path) -> None:
    records = pl.read_parquet(done / "run/records/00000.parquet")
    scores = judging.judge(records, Wide().build(), "completion", pictures=read(done / "run"))
    assert sum(items.height for items in ASKED) == 3
    assert records.height == 4
    assert sorted(scores["wideness_completion"].to_list(), key=str) == [24.0, 24.0, 24.0, None]
    blind = judging.judge(records, Wide().build(), "completion")
    assert blind["wideness_completion"].null_count() == 4


def test_threads_and_shards_change_nothing_of_what_is_known_of_pictures(done: Path, tmp_path: Path) -> None:
    more = "groupings: [exact_duplicates]\nshard_rows: 1\npictures: {workers: 1}\n"
    run(recipe(done, more, name="other"), tmp_path / "run", threads=2)
    assert table(tmp_path / "run").equals(table(done / "run"))
    pictures = {name: one for name, one in tree(tmp_path / "run").items() if name.startswith("pictures/")}
    assert pictures == {name: one for name, one in tree(done / "run").items() if name.startswith("pictures/")}
    assert prefdata.kept_rows(tmp_path / "run").equals(prefdata.kept_rows(done / "run"))


def test_what_is_drawn_of_pictures_stays_on_the_disk_until_it_is_asked_for(
    done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = gating.known(done / "run")
    assert known is not None
    assert {"fingerprint", "thumbnail"}.isdisjoint(known.table.columns)
    images = pl.read_parquet(done / "run/records/00000.parquet")["images"]
    whole = read(done / "run")
    assert whole is not None
    seen = known.seen(images, ["prompt"])
    assert seen.equals(whole.seen(images, ["prompt"]))
    assert {len(one["fingerprint"]) for row in seen.drop_nulls() for one in row} == {768}
    monkeypatch.setattr(gating, "AT_ONCE", 1)  # looked at one by one
    monkeypatch.setattr(gating, "SLICE", 3)
    read_in(recipe(done, "pictures: {workers: 1}\n", name="one_by_one"), tmp_path / "run")
    assert table(tmp_path / "run").equals(table(done / "run"))
    assert not [file for file in (tmp_path / "run").rglob("*") if "drawn" in file.name]


def test_a_run_begins_anew_where_a_picture_is_another_or_gone(done: Path, tmp_path: Path) -> None:
    at = shutil.copytree(done, tmp_path / "shop")
    path, marker = at / "recipe.yaml", at / "run/stages/ingest.json"
    stored = at / "run" / table(at / "run")["uri"].drop_nulls()[0]
    was = marker.stat().st_mtime_ns
    read_in(path, at / "run")
    path.write_text(path.read_text(encoding="utf-8").replace("pictures: {}", "pictures: {workers: 1}"))
    read_in(path, at / "run")
    assert marker.stat().st_mtime_ns == was
    stored.write_bytes(b"not a picture")
    assert refused(read_in(path, at / "run")) == {"not_there": 1, "outside_root": 1, "truncated": 1}
    assert stored.read_bytes()[:4] == b"\x89PNG"
    assert gating.unchanged(load(path), at / "run")
    draw(at / "p/1.png", 7)
    assert not gating.unchanged(load(path), at / "run")
    draw(at / "p/1.png", 1)
    draw(at / "p/gone.png", 5)  # is there now
    assert refused(read_in(path, at / "run")) == {"outside_root": 1, "truncated": 1}


def test_other_bounds_read_nothing_anew_unless_a_picture_was_refused_for_them(done: Path, tmp_path: Path) -> None:
    at = shutil.copytree(done, tmp_path / "shop")
    path, marker = at / "recipe.yaml", at / "run/stages/ingest.json"
    text, was = path.read_text(encoding="utf-8"), marker.read_bytes()
    for section in ("{seconds: 20}", "{memory: 536870912, workers: 1}"):
        path.write_text(text.replace("pictures: {}", f"pictures: {section}"), encoding="utf-8")
        read_in(path, at / "run")
        assert marker.read_bytes() == was
    assert gating.bounds(load(path), at / "run") is None


def test_a_bound_that_a_picture_met_is_asked_anew_when_it_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "data.jsonl", [shown(["p/0.png"], "A lamp."), shown([], "You sent no picture.")])
    draw(tmp_path / "p/0.png", 0)
    look = Gate.look
    slow = pl.lit("timed_out").alias("reason")
    monkeypatch.setattr(Gate, "look", lambda gate, given: look(gate, given).with_columns(slow))
    path = recipe(tmp_path, "pictures: {seconds: 0.5, workers: 1}\n")
    assert refused(read_in(path, tmp_path / "run")) == {"timed_out": 1}
    monkeypatch.setattr(Gate, "look", look)
    assert refused(read_in(path, tmp_path / "run")) == {"timed_out": 1}
    assert gating.bounds(load(path), tmp_path / "run") == {"seconds": 0.5, "memory": 1 << 30}
    assert refused(read_in(recipe(tmp_path, "pictures: {workers: 1}\n"), tmp_path / "run")) == {}


def test_the_section_of_pictures_is_checked_kept_and_obeyed(tmp_path: Path) -> None:
    at = folder(tmp_path)
    write(at / "data.jsonl", [shown(["0.png"], "A lamp."), shown(["1.png"], "A kettle.")])
    for number in range(2):
        draw(at / f"elsewhere/{number}.png", number, size=(24 + 40 * number, 18))
    path = recipe(at, "pictures: {root: elsewhere, max_pixels: 500, workers: 1}\n")
    assert load(path).resolved()["pictures"]["root"] == "elsewhere"
    assert refused(read_in(path, at / "run")) == {"too_many_pixels": 1}
    with pytest.raises(RecipeError, match=r"pictures.*max_pixel"):
        load(recipe(at, "pictures: {max_pixel: 5}\n"))


def test_pictures_are_beside_their_data_or_its_archive_whatever_their_folder_is_called(tmp_path: Path) -> None:
    whole = load(recipe(folder(tmp_path)))
    told = {"new!/a.jsonl": "new!/p/0.png", "old/a.zip!b/c.jsonl": "old/p/0.png", "A.ZIP!b.zip!c.csv": "p/0.png"}
    frame = pl.DataFrame({"uri": "p/0.png", "file": list(told)})
    seen = frame.select(gating.seen_from_root(pl.col("uri"), pl.col("file"), whole))
    assert seen.to_series().to_list() == list(told.values())


def test_what_opens_an_address_of_the_network_is_not_kept(tmp_path: Path) -> None:
    draw(tmp_path / "p/0.png", 0)
    asked = ["https://me:word@shop.example/a.png?sig=secret", "https://shop.example/a.png?sig=secret2#word"]
    bare = "https://shop.example/b.png"
    rows = [shown([one], "A lamp.") for one in ("p/0.png", *asked, bare)]
    write(tmp_path / "data.jsonl", rows)
    assert refused(read_in(recipe(tmp_path), tmp_path / "run")) == {"network_off": 3}
    first, second, third, path = table(tmp_path / "run")["address"].to_list()
    assert [one[:27] for one in (first, second)] == ["https://shop.example/a.png?"] * 2
    assert (third, path) == (bare, "p/0.png")
    assert first != second
    assert "secret" not in first + second
    assert "word" not in first + second


def test_measures_alone_are_kept_where_nothing_is_stored(tmp_path: Path) -> None:
    at = folder(tmp_path)
    more = "filters:\n  - wide: {min_width: 25}\ngroupings: [same_picture]\npictures: {store: none, workers: 1}\n"
    report = run(recipe(at, more), at / "run")
    assert {one["reason"]: one["rows"] for one in report["reasons"]}["picture_too_narrow"] == 3
    rows = pl.read_parquet(at / "run/records/00000.parquet")
    assert {one["uri"] for images in rows["images"].drop_nulls().to_list() for one in images} == set(TAKEN)
    assert not (at / "run/pictures").exists()
    found = table(at / "run")
    assert found["uri"].null_count() == found.height
    assert found["pixels"].null_count() == 4  # three were refused, one's row left for the one beside it


@pytest.mark.parametrize("store", ["none", "encode"])
def test_other_pictures_at_one_address_of_two_sources_make_no_duplicates(tmp_path: Path, store: str) -> None:
    sources = []
    for number, name in enumerate(("one", "two")):
        draw(tmp_path / f"{name}/p/0.png", number)
        write(tmp_path / f"{name}/data.jsonl", [shown(["p/0.png"], "Equal.")])
        sources.append(f"  - {{name: {name}, path: {name}/data.jsonl, format: trl, type: sft}}\n")
    text = f"filters: []\ngroupings: [exact_duplicates]\npictures: {{store: {store}, workers: 1}}\n"
    (tmp_path / "recipe.yaml").write_text("sources:\n" + "".join(sources) + text, encoding="utf-8")
    prefdata.run(tmp_path / "recipe.yaml", out=tmp_path / "run", train=False)
    assert prefdata.kept_rows(tmp_path / "run").height == 2


def test_a_reply_to_a_broken_screenshot_is_refused_and_takes_the_outcome_along(tmp_path: Path) -> None:
    for number in range(2):
        draw(tmp_path / f"shots/{number}.png", number)
    (tmp_path / "shots/broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    lines = ["ticket,who,body,stars,files"]
    for ticket, after in (("whole", "1.png"), ("broken", "broken.png")):
        lines += [
            f"{ticket},customer,My lamp came broken.,,0.png",
            f"{ticket},agent,I am sorry. Which part of it?,,",
            f"{ticket},customer,This one.,,{after}",
            f"{ticket},agent,A new one is on its way.,5,",
        ]
    (tmp_path / "log.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (tmp_path / "recipe.yaml").write_text(
        "sources:\n  - name: desk\n    path: log.csv\n    layout:\n      events:\n        columns:\n          "
        "{session: ticket, role: who, text: body, rating: stars, attachments: files}\n"
        "filters: []\npictures: {root: shots, workers: 1}\n",
        encoding="utf-8",
    )
    found = read_in(tmp_path / "recipe.yaml", tmp_path / "run")
    assert found["rows"] == 3
    (fates,) = found["fates"]
    assert (fates["row"], fates["refused"], fates["context"], fates["units"]) == (3, 1, 4, 8)
    unmade = pl.read_parquet(tmp_path / "run/unmade.parquet")
    assert unmade.select("source", "step", "file", "line").rows() == [("desk", "pictures", "log.csv", 9)]
    assert len(unmade["id"][0]) == 20
    rows = pl.read_parquet(tmp_path / "run/records/00000.parquet")
    signals = pl.read_parquet(tmp_path / "run/signals/00000.parquet")
    assert signals["id"].equals(rows["id"])
    asked = rows["images"].list.eval(pl.element().struct.field("side")).to_list()
    assert sorted(asked) == [["prompt"], ["prompt"], ["prompt", "prompt"]]
    rated = dict(signals.filter(pl.col("session_csat").is_not_null()).group_by("session").len().iter_rows())
    assert list(rated.values()) == [2]  # of the session that is whole


def test_a_folder_with_pictures_of_its_own_is_never_taken_for_a_run(tmp_path: Path) -> None:
    write(tmp_path / "data.jsonl", [shown(["pictures/0.png"], "A lamp.")])
    mine = draw(tmp_path / "pictures/0.png", 0)
    with pytest.raises(RecipeError, match="has `pictures` in it"):
        prefdata.run(recipe(tmp_path), out=tmp_path, train=False)
    stored = draw(tmp_path / "pictures/ab/abcdef0123456789abcdef.png", 1)
    assert gating.prune(tmp_path) == []
    assert mine.is_file()
    assert not stored.parent.exists()


def test_rows_read_in_python_are_scored_by_their_pictures(tmp_path: Path) -> None:
    at = folder(tmp_path)
    rows = prefdata.read(at / "data.jsonl", type="sft", pictures=at / "seen")
    assert rows.height == 4
    found = prefdata.score(rows, "wide", pictures=at / "seen")
    assert sorted(found["wideness_completion"].to_list(), key=str) == [24.0, 24.0, 24.0, None]
    kept, dropped = prefdata.filter_rows(rows, {"wide": {"min_width": 25.0}}, pictures=at / "seen")
    assert (kept.height, dropped.height) == (1, 3)
    with pytest.raises(InputError, match=r"no pictures\.parquet there"):
        prefdata.score(rows, "wide", pictures=at)
    (at / "pictures").mkdir()
    with pytest.raises(RecipeError, match="that prefdata did not write"):
        prefdata.read(at / "data.jsonl", type="sft", pictures=at)


def test_runs_of_text_alone_know_nothing_of_pictures(tmp_path: Path) -> None:
    write(
        tmp_path / "data.jsonl",
        [{"prompt": f"Where is parcel {n}?", "completion": f"On its way, {n}.", "label": n > 1} for n in range(4)],
    )
    (tmp_path / "recipe.yaml").write_text(
        "sources:\n  - {name: data, path: data.jsonl, format: trl}\nfilters: []\ngroupings: []\n", encoding="utf-8"
    )
    report = run(tmp_path / "recipe.yaml", tmp_path / "run")
    facts = json.loads((tmp_path / "run/run.json").read_text(encoding="utf-8"))
    assert "pictures" not in report
    assert "pictures" not in facts
    assert "pictures" not in facts["recipe"]
    assert list(facts["inputs"]["data"]) == ["data.jsonl"]
    assert not list((tmp_path / "run").rglob("pictures*"))
