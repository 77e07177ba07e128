"""image_quality: the worst picture of a row decides, each bound with its own reason."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from filters.images import ImageQuality
from prefdata.errors import RecipeError
from prefdata.judging import RowFilter, decide

SOUND = {
    "width": 640,
    "height": 480,
    "blur": 600.0,
    "entropy": 7.0,
    "brightness": 0.5,
    "contrast": 0.2,
}
SEEN = pl.Struct(
    {
        "uri": pl.String,
        "width": pl.Int32,
        "height": pl.Int32,
        "blur": pl.Float32,
        "entropy": pl.Float32,
        "brightness": pl.Float32,
        "contrast": pl.Float32,
    }
)


def picture(**changed: Any) -> dict[str, Any]:
    return {"uri": "pictures/00/00.png", **SOUND, **changed}


def items(*rows: list[dict[str, Any]] | None) -> pl.DataFrame:
    return pl.DataFrame(
        {"text": ["x"] * len(rows), "pictures": list(rows)}, schema={"text": pl.String, "pictures": pl.List(SEEN)}
    )


def reasons(row_filter: RowFilter, *rows: list[dict[str, Any]] | None) -> list[list[str]]:
    scores = row_filter.scorer.score(items(*rows))
    named = {name: f"image_quality_completion{f'_{name}' if at else ''}" for at, name in enumerate(scores.columns)}
    ids = [f"{row:03}" for row in range(len(rows))]
    scored = scores.rename(named).with_columns(id=pl.Series(ids), label=pl.lit(True), label_confidence=pl.lit(1.0))
    found: list[list[str]] = decide(scored, [row_filter], []).rows.sort("id")["reasons"].to_list()
    return found


@pytest.mark.parametrize(
    ("inside", "outside", "reason"),
    [
        ({"width": 32, "height": 40}, {"width": 31, "height": 40}, "picture_too_narrow"),
        ({"width": 40, "height": 32}, {"width": 40, "height": 31}, "picture_too_low"),
        ({"width": 900, "height": 300}, {"width": 901, "height": 300}, "picture_too_long_and_thin"),
        ({"width": 300, "height": 900}, {"width": 300, "height": 901}, "picture_too_long_and_thin"),
        ({"blur": 20.0}, {"blur": 19.9}, "picture_blurred"),
        ({"brightness": 0.02}, {"brightness": 0.0199}, "picture_nearly_black"),
        ({"brightness": 0.98}, {"brightness": 0.9801}, "picture_nearly_white"),
        ({"contrast": 0.01}, {"contrast": 0.0099}, "picture_nearly_uniform"),
        ({"entropy": 0.05}, {"entropy": 0.0499}, "picture_nearly_empty"),
    ],
)
def test_a_picture_at_a_bound_stays_and_one_beyond_it_falls(
    inside: dict[str, Any], outside: dict[str, Any], reason: str
) -> None:
    both = [picture()], [picture(**inside)], [picture(**outside)], [picture(), picture(**outside), picture()]
    assert reasons(ImageQuality().build(), *both) == [[], [], [reason], [reason]]


def test_each_reason_is_told_and_bounds_may_be_moved() -> None:
    black = picture(width=8, height=8, blur=0.0, entropy=0.0, brightness=0.0, contrast=0.0)
    assert reasons(ImageQuality().build(), [black]) == [
        [
            "picture_too_narrow",
            "picture_too_low",
            "picture_blurred",
            "picture_nearly_black",
            "picture_nearly_uniform",
            "picture_nearly_empty",
        ]
    ]
    open_wide = ImageQuality(
        min_width=0, min_height=0, min_blur=0.0, min_brightness=0.0, min_contrast=0.0, min_entropy=0.0
    )
    assert reasons(open_wide.build(), [black]) == [[]]


def test_scores_are_of_the_worst_picture_in_each_respect() -> None:
    wide, dark, soft = picture(width=1000, height=250), picture(brightness=0.1), picture(blur=40.0, contrast=0.05)
    (row,) = ImageQuality().build().scorer.score(items([wide, dark, soft])).to_dicts()
    assert row == {
        "image_quality": pytest.approx(0.4),
        "width": 640,
        "height": 250,
        "aspect": 4,
        "blur": 40,
        "entropy": 7,
        "contrast": pytest.approx(0.05),
        "darkest": pytest.approx(0.1),
        "lightest": pytest.approx(0.5),
    }
    (sound,) = ImageQuality().build().scorer.score(items([picture()])).to_dicts()
    assert sound["image_quality"] == 1


def test_rows_without_a_measured_picture_are_unjudged() -> None:
    unmeasured = picture(**dict.fromkeys(SOUND))
    scores = ImageQuality().build().scorer.score(items(None, [], [unmeasured], [unmeasured, picture(blur=50.0)]))
    assert scores["image_quality"].to_list() == [None, None, None, pytest.approx(0.5)]
    assert scores["width"].to_list() == [None, None, None, 640]
    assert reasons(ImageQuality().build(), None, [], [unmeasured]) == [[], [], []]
    bare = ImageQuality().build().scorer.score(pl.DataFrame({"text": ["x", None]}))
    assert bare.height == 2
    assert bare.schema == scores.schema
    assert all(dtype == pl.Float32 for dtype in bare.dtypes)


def test_bounds_change_no_score() -> None:
    assert ImageQuality(min_width=500, max_aspect=2.0).build().scorer.parameters() == {}


def test_what_the_gate_measures_of_real_files_is_judged() -> None:
    image = pytest.importorskip("PIL.Image")
    from made_pictures import noise

    from prefdata.picturing.measures import measured, scaled

    def of(shown: Any) -> dict[str, Any]:
        whole = shown.convert("RGB")
        small = scaled(whole)
        told = measured(whole, small, small.convert("L"))
        return picture(width=shown.width, height=shown.height, **told._asdict())

    drawing = image.new("RGB", (512, 512), (180, 190, 120))
    drawing.paste((220, 30, 30), (150, 150, 360, 360))
    grain = noise(64, 64, 80)
    assert reasons(
        ImageQuality().build(),
        [of(drawing)],
        [of(grain)],
        [of(image.new("RGB", (64, 64)))],
        [of(image.new("RGB", (64, 64), (255, 255, 255)))],
        [of(grain.resize((8, 8)).resize((512, 512), image.Resampling.BICUBIC))],
    ) == [
        [],
        [],
        ["picture_blurred", "picture_nearly_black", "picture_nearly_uniform", "picture_nearly_empty"],
        ["picture_blurred", "picture_nearly_white", "picture_nearly_uniform", "picture_nearly_empty"],
        ["picture_blurred"],
    ]


def test_settings_of_image_quality_name_every_fault() -> None:
    with pytest.raises(RecipeError) as caught:
        ImageQuality(
            min_width=-1,
            min_height=-1,
            max_aspect=0.5,
            min_blur=float("nan"),
            min_brightness=-0.1,
            max_brightness=1.5,
            min_contrast=0.6,
            min_entropy=9.0,
            sides=(),
        )
    assert len(caught.value.faults) == 9


def test_the_page_names_every_setting_and_reason_of_quality() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "pictures.md").read_text(encoding="utf-8")
    told = page.split("## Quality")[1].split("\n## ")[0]
    settings = {f"`{one.name}: {one.default}`" for one in dataclasses.fields(ImageQuality) if one.name != "sides"}
    assert sorted(one for one in settings if one not in told) == []
    assert sorted(one for one in ImageQuality().build().rules if f"`{one}`" not in told) == []
