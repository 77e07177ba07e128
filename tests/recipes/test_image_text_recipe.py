"""The recipe from pictures to KTO data, on a part of its sample: what becomes of captions, feedback and copies."""

from __future__ import annotations

import importlib.util
import json
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pytest

import prefdata
from prefdata.build.attribute_words import VERSION
from prefdata.recipe import load
from prefdata.reporting.accounts import ENDS
from prefdata.strict_yaml import read_yaml

pytest.importorskip("PIL")
pytestmark = pytest.mark.skipif(importlib.util.find_spec("open_clip") is None, reason="needs the extra `clip`")

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
SHAPES = RECIPES / "data" / "shapes"
FILE = RECIPES / "image_text_kto.yaml"


def lines(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (SHAPES / name).read_text(encoding="utf-8").splitlines()]


class Made(NamedTuple):
    report: dict[str, Any]
    rows: pl.DataFrame
    truth: dict[str, dict[str, Any]]
    out: Path


def part() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Captions of some originals with their copies, of some broken files, wrong ones of each kind; and feedback."""
    truth = lines("truth.jsonl")
    like = {one["image"]: one["like"] for one in truth if one["kind"] == "picture" and one.get("like")}
    right = {one["id"]: one for one in truth if one["kind"] == "caption"}
    sound = {one["image"] for one in truth if one["kind"] == "picture" and one["of"] != "broken"}
    captions = lines("captions.jsonl")
    said = {one["image"]: one["caption"] for one in captions}
    copies = [one for one in like if said.get(one) == said.get(like[one])][:4]
    wanted = {*copies, *(like[one] for one in copies)}
    swapped: Counter[str] = Counter()
    chosen = []
    for one in captions:
        swap = right[one["id"]]["swap"] if one["image"] in sound else "broken"
        swapped[str(swap)] += 1
        if one["image"] in wanted or swapped[str(swap)] <= (16 if swap is None else 5):
            chosen.append(one)
    shown = {one["image"] for one in chosen}
    return chosen, [one for one in lines("feedback.jsonl") if one["image"] in shown]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("shapes")
    captions, feedback = part()
    for name, rows in (("captions.jsonl", captions), ("feedback.jsonl", feedback)):
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    data, _ = read_yaml(FILE.read_text(encoding="utf-8"), str(FILE))
    del data["stages"]
    for source in data["sources"]:
        source["path"] = str(folder / Path(source["path"]).name)
    data["pictures"]["root"] = str(SHAPES)
    for entry in data["filters"]:
        if "clip" in entry:
            entry["clip"]["model"] = str(SHAPES / "clip")
    recipe = folder / "recipe.yaml"
    recipe.write_text(json.dumps(data), encoding="utf-8")
    out = folder / "run"
    prefdata.run(recipe, out=out)
    truth = {one["id"]: one for one in lines("truth.jsonl") if one["kind"] != "picture"}
    shards = [pl.read_parquet(file) for file in sorted((out / "records").glob("*.parquet"))]
    rows = pl.concat(shards).with_columns(
        own=pl.col("meta").str.json_path_match("$.own_id"),
        negative=pl.col("meta").str.json_path_match("$.hard_negative"),
    )
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    return Made(report, rows, truth, out)


def test_the_recipe_reads_and_has_both_stages() -> None:
    recipe = load(FILE)
    assert [stage.method for stage in recipe.stages] == ["sft", "kto"]
    assert recipe.image_text is not None
    assert recipe.resolved()["image_text"]["negatives"] == ["colour", "number", "position", "object"]


@pytest.mark.slow
def test_every_candidate_is_accounted_for_and_broken_files_are_refused(made: Made) -> None:
    for one in made.report["accounts"]:
        assert one["all"] == sum(one[end] for end in ENDS)
    captions, feedback = made.report["accounts"]
    assert captions["refused"] == 5
    assert set(captions["refused_because"]) <= set(made.report["pictures"]["refused_because"])
    assert feedback["refused"] == 0


@pytest.mark.slow
def test_swapped_captions_mostly_end_undesirable_or_unlabelled(made: Made) -> None:
    told = made.rows.filter((pl.col("source") == "captions") & pl.col("negative").is_null())
    fate = {
        right: Counter(
            told.filter(pl.col("own").is_in([name for name in made.truth if made.truth[name]["right"] is right]))[
                "label"
            ]
        )
        for right in (True, False)
    }
    assert fate[False][False] >= 0.9 * fate[False].total()
    assert fate[True][True] >= 0.9 * fate[True].total()
    account = made.report["accounts"][0]["image_text"]
    assert account["bands"] == {"relevant_min": 0.85, "irrelevant_max": 0.8}
    assert account["relevance"]["scorer"] == "clip"


@pytest.mark.slow
def test_wrong_answers_are_made_of_true_captions_and_labelled_as_made(made: Made) -> None:
    wrong = made.rows.drop_nulls("negative")
    assert set(wrong["negative"]) == {"colour", "number", "position", "object"}
    assert wrong["label"].unique().to_list() == [False]
    labels = dict(made.rows.select("id", "label").rows())
    for evidence in map(json.loads, wrong["evidence"]):
        assert labels[evidence["caption"]] is True
        assert evidence["how"]["lists"] == VERSION


@pytest.mark.slow
def test_copies_fall_for_their_survivor_and_no_picture_is_torn_apart(made: Made) -> None:
    captions, _ = part()
    fallen = [
        one["rows"] for one in made.report["reasons"] if one["reason"] in ("exact_duplicates", "picture_duplicates")
    ]
    assert sum(fallen) >= 3
    splits = pl.read_parquet(made.out / "splits.parquet")
    sides = made.rows.join(splits.select("id", "split", unit="group"), on="id")
    like = {one["image"]: one["like"] for one in lines("truth.jsonl") if one["kind"] == "picture" and one.get("like")}
    pictures = pl.read_parquet(made.out / "pictures.parquet").filter(pl.col("uri").is_not_null())
    names = {uri: Path(address).name for uri, address in pictures.select("uri", "address").rows()}
    shown = sides.with_columns(
        picture=pl.col("images").list.first().struct.field("uri").replace_strict(names, return_dtype=pl.String)
    )
    origin = {f"{Path(one).name}": Path(like.get(one, one)).name for one in {row["image"] for row in captions}}
    units = shown.with_columns(picture=pl.col("picture").replace_strict(origin, return_dtype=pl.String))
    assert units.group_by("picture").agg(pl.col("unit").n_unique())["unit"].max() == 1
