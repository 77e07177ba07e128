"""What page and terminal tell of texts about pictures."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from prefdata.build.image_text_settings import ImageTextSettings
from prefdata.build.picture_keys import CLUSTERS
from prefdata.picture_rows import PictureRows, built
from prefdata.plan import plan
from prefdata.recipe import parse
from prefdata.reporting.image_text import lines, section
from prefdata.schema import SCHEMAS, RecordType

SAID = {"A red cup": 0.9, "A red mug": 0.7, "A blue cup": 0.5, "A dog": 0.2, "Nothing": None}


def rows() -> pl.DataFrame:
    """Answers to one question about one picture, and one about another."""
    return pl.DataFrame(
        [
            {
                "id": text, "source": "s", "meta": "{}",
                "images": [{"uri": "q" if text == "A dog" else "p", "side": "prompt", "message": 0, "part": 0}],
                "prompt": [{"role": "user", "content": "￼What?", "tool_calls": None}],
                "completion": [{"role": "assistant", "content": text, "tool_calls": None}],
            }
            for text in SAID
        ],
        schema=SCHEMAS[RecordType.SFT],
    )  # fmt: skip


def relevance(asked: pl.DataFrame) -> pl.Series:
    said = pl.col("completion").list.first().struct.field("content")
    return asked.select(said.replace_strict(SAID, default=0.1, return_dtype=pl.Float64)).to_series()


def account(settings: ImageTextSettings, kind: RecordType) -> dict[str, object]:
    given = PictureRows(settings, relevance, "clip", CLUSTERS.to_frame(), 0)
    _, card = built(rows(), RecordType.SFT, kind, given)
    return {"source": "s", "image_text": card}


def test_labels_bounds_and_what_was_left_are_told_by_what_they_rest_on() -> None:
    settings = ImageTextSettings(
        relevance="clip", relevant_min_percentile=75, irrelevant_max=0.3, negatives=("colour", "object")
    )
    one = account(settings, RecordType.UNPAIRED)
    assert one["image_text"] == {
        "texts": 5,
        "relevance": {"scorer": "clip", "judged": 4, "unjudged": 1},
        "bands": {"relevant_min": 0.7, "irrelevant_max": 0.3},
        "asked": {"relevant_min_percentile": 75, "irrelevant_max": 0.3},
        "min_margin": 0.05,
        "labels": {"desirable": {"relevance": 2}, "undesirable": {"hard_negative": 2, "relevance": 1}},
        "left": {"relevance_between_bands": 1, "unjudged_relevance": 1},
        "negatives": one["image_text"]["negatives"],  # type: ignore[index]
    }
    (told,) = section([one, {"source": "logs"}])
    assert told["facts"] == [
        ("relevance", "clip: 4 judged, 1 unjudged"),
        ("relevant from", "0.7, asked for as percentile 75 of the texts of this source"),
        ("irrelevant up to", "0.3"),
        ("least margin", "0.05"),
    ]
    assert [title for title, _ in told["tables"]] == ["Desirable by", "Undesirable by", "Left because"]
    assert lines([one, {"source": "logs"}]) == [
        "s: of 5 texts about pictures 2 desirable, 1 undesirable, 2 wrong answers made; relevant from 0.7; "
        "irrelevant up to 0.3; left: relevance between bands 1, unjudged relevance 1"
    ]


def test_pairs_are_told_by_what_they_rest_on_with_their_margins() -> None:
    one = account(ImageTextSettings(relevance="clip", policy="all_pairs", min_margin=0.3), RecordType.PREFERENCE)
    card = one["image_text"]
    assert isinstance(card, dict)
    assert card["pairs"] == {"relevance": 1}
    assert card["margins"] == {"relevance": {"least": 0.4, "median": 0.4, "most": 0.4}}
    assert card["left"] == {"margin_below_min": 2, "only_answer": 1, "unjudged_relevance": 1}
    assert lines([one]) == [
        "s: of 5 texts about pictures 1 pairs by relevance; left: margin below min 2, only answer 1, "
        "unjudged relevance 1"
    ]


def test_examples_are_counted() -> None:
    assert lines([account(ImageTextSettings(relevance="clip", relevant_min=0.6), RecordType.SFT)]) == [
        "s: of 5 texts about pictures 3 examples; relevant from 0.6; left: low relevance 2"
    ]


def test_a_plan_says_what_is_made_of_texts_about_pictures() -> None:
    text = (
        "name: r\ntype: unpaired\nsources: [{name: s, path: a.jsonl, format: captions, type: sft}]\n"
        "filters: [{clip: {model: ViT-B-32}}]\n"
        "image_text: {relevance: clip, relevant_min_percentile: 60, irrelevant_max: 0.1, negatives: [colour, number]}\n"
    )
    steps = [step for step in plan_of(text) if "pictures" in step or "wrong" in step]
    assert steps == [
        "texts about pictures: relevance by clip, relevant above the lowest 60 percent, irrelevant up to 0.1, "
        "least margin 0.05",
        "wrong answers: colour, number; 1 of each true text, never what a source says of the picture",
    ]


def plan_of(text: str) -> list[str]:
    folder = Path(__file__).resolve().parents[2] / "recipes" / "data" / "shapes"
    return plan(parse(text.replace("a.jsonl", "captions.jsonl"), root=folder), train=False)
