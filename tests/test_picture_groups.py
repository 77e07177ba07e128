"""What ties rows about pictures: the pictures that they share, and the groups that their files give."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import prefdata
from prefdata.build.image_text_settings import ImageTextSettings
from prefdata.build.picture_keys import CLUSTERS
from prefdata.build.splits import components
from prefdata.picture_rows import PictureRows, built
from prefdata.recipe import Split
from prefdata.schema import SCHEMAS, RecordType
from prefdata.splitting import links_of

SHAPES = Path(__file__).resolve().parents[1] / "recipes" / "data" / "shapes"


def row(name: str, images: str, group: str | None) -> dict[str, Any]:
    meta = {"file": "a.jsonl", "line": 1, **({} if group is None else {"group": group})}
    return {
        "id": name, "source": "s", "meta": json.dumps(meta), "label": name < "c", "label_sources": ["given"],
        "images": [{"uri": one, "side": "prompt", "message": 0, "part": at} for at, one in enumerate(images)],
        "prompt": [{"role": "user", "content": "￼" * len(images) + "What?", "tool_calls": None}],
        "completion": [{"role": "assistant", "content": f"a cup {name}", "tool_calls": None}],
    }  # fmt: skip


def units(rows: list[dict[str, Any]], kind: RecordType, folder: Path) -> dict[str, set[str]]:
    """Ids of the rows that were made of each row -> their units: what the split keeps on one side."""
    frame = pl.DataFrame(rows, schema=SCHEMAS[RecordType.UNPAIRED])
    asked = PictureRows(ImageTextSettings(), None, None, CLUSTERS.to_frame(), 0)
    made, _ = built(frame, RecordType.UNPAIRED, kind, asked)
    file = folder / "records.parquet"
    made.rows.write_parquet(file)
    nothing: Any = None
    state: Any = SimpleNamespace(
        recipe=SimpleNamespace(split=Split()),
        type=kind,
        groupings=[],
        shards=lambda: [file],
        pictures=lambda: None,
    )

    links, connect = links_of(state, nothing)
    unit = dict(components(links, connect).select("id", "group").rows())
    found: dict[str, set[str]] = {}
    for name, evidence in made.rows.select("id", "evidence").rows():
        told = json.loads(evidence)
        for of in (name,) if kind is RecordType.UNPAIRED else (told["chosen"], told["rejected"]):
            found.setdefault(of, set()).add(unit[name])
    return found


def connected(rows: list[dict[str, Any]]) -> list[set[str]]:
    """Ids of the rows that a picture or a group connects, over and over."""
    parts: list[tuple[set[str], set[str]]] = []
    for one in rows:
        names, ids = {image["uri"] for image in one["images"]}, {str(one["id"])}
        names |= {f"group {json.loads(one['meta'])['group']}"} if "group" in json.loads(one["meta"]) else set()
        touching = [part for part in parts if part[0] & names]
        parts = [part for part in parts if not part[0] & names]
        parts.append((names.union(*(part[0] for part in touching)), ids.union(*(part[1] for part in touching))))
    return [ids for _, ids in parts]


SHOWN = st.lists(
    st.tuples(st.sampled_from(["p", "q", "r", "s", "pq", "rs"]), st.sampled_from([None, "g", "h", "i"])), max_size=7
)


@settings(max_examples=6, deadline=None)
@given(shown=SHOWN)
@pytest.mark.parametrize("kind", [RecordType.UNPAIRED, RecordType.PREFERENCE])
def test_rows_that_share_a_picture_or_a_group_are_one_unit_and_others_are_not(
    kind: RecordType, shown: list[tuple[str, str | None]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    rows = [row("abcdefg"[at], images, group) for at, (images, group) in enumerate(shown)]
    found = units(rows, kind, tmp_path_factory.mktemp("units"))
    for part in connected(rows):
        of_part = set().union(*(found.get(name, set()) for name in part))
        if kind is RecordType.UNPAIRED:
            assert len(of_part) == 1
        others = set().union(*(of for name, of in found.items() if name not in part))
        assert not of_part & others
    if kind is RecordType.PREFERENCE:  # rows that gave no pair connect nothing, those that gave several are one unit
        assert all(len(of) == 1 for of in found.values())


def test_a_group_that_the_file_gives_stays_through_a_run_and_one_that_is_made_up_does_not_stand_for_it(
    tmp_path: Path,
) -> None:
    pytest.importorskip("PIL")
    truth = [json.loads(line) for line in (SHAPES / "truth.jsonl").read_text(encoding="utf-8").splitlines()]
    images = [one["image"] for one in truth if one["kind"] == "picture" and one["of"] == "distinct"][:4]
    groups = ("conv1", "conv1", "conv2", None)
    lines = [
        json.dumps({"image": image, "caption": f"{number} red circles", "talk": group}) + "\n"
        for image, number, group in zip(images, ("two", "three", "four", "two"), groups, strict=True)
    ]
    (tmp_path / "captions.jsonl").write_text("".join(lines), encoding="utf-8")
    (tmp_path / "recipe.yaml").write_text(
        "name: talks\ntype: unpaired\n"
        "sources: [{name: captions, path: captions.jsonl, format: {captions: {columns: {group: talk}}}}]\n"
        f"pictures: {{root: {SHAPES.as_posix()}, workers: 1}}\nimage_text: {{negatives: [number]}}\n"
        "filters: []\ngroupings: []\nexport: []\n",
        encoding="utf-8",
    )
    prefdata.run(tmp_path / "recipe.yaml", out=tmp_path / "run")
    rows = pl.concat([pl.read_parquet(file) for file in sorted((tmp_path / "run" / "records").glob("*.parquet"))])
    splits = pl.read_parquet(tmp_path / "run" / "splits.parquet").select("id", unit="group")
    told = rows.join(splits, on="id").with_columns(
        line=pl.col("meta").str.json_path_match("$.line"), talk=pl.col("meta").str.json_path_match("$.group")
    )
    by_line = dict(told.group_by("line").agg(pl.col("unit").unique().sort()).rows())
    assert rows.height == 8  # a caption and what is made of it
    assert by_line["1"] == by_line["2"]
    assert len({tuple(one) for one in by_line.values()}) == 3
    talks = told.group_by("line").agg(pl.col("talk").n_unique(), blank=pl.col("talk").null_count())
    assert talks.sort("line").rows() == [("1", 1, 0), ("2", 1, 0), ("3", 1, 0), ("4", 1, 2)]
