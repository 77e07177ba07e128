"""Chinese captions in a run whose CLIP has learnt English: not judged by it, neither dropped nor called wrong."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import polars as pl
import pytest

import prefdata
from filters.clip import ClipRelevance
from filters.clip_model import languages_of
from prefdata.judging import judge
from prefdata.pictures import read

pytest.importorskip("PIL")
pytestmark = pytest.mark.skipif(importlib.util.find_spec("open_clip") is None, reason="needs the extra `clip`")

SHAPES = Path(__file__).resolve().parents[2] / "recipes" / "data" / "shapes"
CHINESE = ("左边有三个红色圆形", "右边有两个蓝色方形", "三个红色圆形", "左边有两个红色方形")


def test_chinese_captions_are_unjudged_by_english_weights_and_wrong_answers_are_made_of_them(tmp_path: Path) -> None:
    truth = [json.loads(line) for line in (SHAPES / "truth.jsonl").read_text(encoding="utf-8").splitlines()]
    images = [one["image"] for one in truth if one["kind"] == "picture" and one["of"] == "distinct"]
    said = [json.dumps({"image": image, "caption": text}) + "\n" for image, text in zip(images, CHINESE, strict=False)]
    (tmp_path / "captions.jsonl").write_text("".join(said), encoding="utf-8")
    (tmp_path / "recipe.yaml").write_text(
        "name: chinese\ntype: unpaired\nseed: 3\n"
        "sources: [{name: captions, path: captions.jsonl, format: captions}]\n"
        f"pictures: {{root: {SHAPES.as_posix()}, workers: 1}}\n"
        "image_text: {relevance: clip, negatives: [colour]}\n"
        f"filters: [{{clip: {{model: {(SHAPES / 'clip').as_posix()}, min: 0.99}}}}]\n"
        "groupings: []\nexport: []\n",
        encoding="utf-8",
    )
    prefdata.run(tmp_path / "recipe.yaml", out=tmp_path / "run")
    rows = prefdata.kept_rows(tmp_path / "run").with_columns(
        text=pl.col("completion").list.first().struct.field("content"),
        asked=pl.col("prompt").list.first().struct.field("content"),
    )
    assert sorted(rows.filter("label")["text"]) == sorted(CHINESE)
    # red stands in three captions and blue in one: each becomes the other
    assert sorted(rows.filter(~pl.col("label"))["text"]) == sorted(
        ["左边有三个蓝色圆形", "右边有两个红色方形", "三个蓝色圆形", "左边有两个蓝色方形"]
    )
    assert rows["asked"].str.contains("图片").all()
    report = json.loads((tmp_path / "run" / "report.json").read_text(encoding="utf-8"))
    assert report["accounts"][0]["image_text"]["relevance"] == {"scorer": "clip", "judged": 0, "unjudged": 4}
    assert report["counts"]["dropped"] == 0
    # weights that know more than English judge the same rows
    shown = read(tmp_path / "run")
    judged = {}
    for languages in (None, ("any",), ("zh",)):
        row_filter = ClipRelevance(model=str(SHAPES / "clip"), languages=languages).build()
        judged[languages] = judge(rows, row_filter, "completion", pictures=shown)["clip_completion"].count()
    assert judged == {None: 0, ("any",): 8, ("zh",): 8}
    assert languages_of("xlm-roberta-base-ViT-B-32", "laion5b_s13b_b90k") == ("any",)
