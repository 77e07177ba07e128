"""Is a picture worth learning from: large enough, of an ordinary shape, sharp, neither dark, white nor empty.

Everything is read from what the gate measured at the one decode; nothing is opened here. The worst picture of a row
decides, each rule by itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import polars as pl

from prefdata.errors import RecipeError
from prefdata.judging import Reads, RowFilter, Rule, Side, threshold

SHARP = 100.0
"""The variance of the Laplacian from which a picture counts as sharp in the one number for all of it."""
PLAIN = 0.1
"""The contrast from which it counts as having one."""
_MEASURES = ("width", "height", "blur", "entropy", "brightness", "contrast")


@dataclass(frozen=True, kw_only=True)
class ImageQuality:
    """Settings of the filter `image_quality`."""

    min_width: int = threshold(32)
    """Pixels across. A picture under a model's own size (224 to 448) is blown up, and still says something."""
    min_height: int = threshold(32)
    """Pixels down."""
    max_aspect: float = threshold(3.0)
    """Long side through short side, at least 1. LLaVA's pretraining recipe lets 1/3 to 3 pass."""
    min_blur: float = threshold(20.0)
    """Least variance of the Laplacian (0-255, at 512 pixels at most, the channel where it is largest). Sharp photos
    have 700 and more, blurred by 2 pixels 9 to 86; a small drawing at twice its size 38, which the usual 100 drops."""
    min_brightness: float = threshold(0.02)
    """Least mean luminance, in [0, 1]: below, a picture is nearly black."""
    max_brightness: float = threshold(0.98)
    """Highest mean luminance, in [0, 1]: above, it is nearly white."""
    min_contrast: float = threshold(0.01)
    """Least standard deviation of a channel, in [0, 0.5]: below, there is one colour all over."""
    min_entropy: float = threshold(0.05)
    """Least bits of the luminance's histogram, in [0, 8]: below, all pixels but a few are equal."""
    sides: tuple[Side, ...] = ("completion",)
    """The sides of a row whose pictures are judged; those of the prompt always are."""

    def __post_init__(self) -> None:
        faults = [
            f"{name}: {value}, expected a number in [{least}, {most}]"
            for name, least, most in (
                ("min_brightness", 0, 1),
                ("max_brightness", 0, 1),
                ("min_contrast", 0, 0.5),
                ("min_entropy", 0, 8),
            )
            if not least <= (value := getattr(self, name)) <= most
        ]
        faults += [
            f"{name}: {getattr(self, name)}, expected at least 0"
            for name in ("min_width", "min_height")
            if getattr(self, name) < 0
        ]
        if not (math.isfinite(self.max_aspect) and self.max_aspect >= 1):
            faults.append(f"max_aspect: {self.max_aspect}, expected a number of at least 1")
        if not (math.isfinite(self.min_blur) and self.min_blur >= 0):
            faults.append(f"min_blur: {self.min_blur}, expected a number of at least 0")
        if not self.sides:
            faults.append("sides: is empty, expected at least one")
        if faults:
            raise RecipeError(faults)

    def build(self) -> RowFilter:
        """The scorer and a rule for each bound, each with its own reason."""
        rules = {
            "picture_too_narrow": Rule(column="width", min=self.min_width),
            "picture_too_low": Rule(column="height", min=self.min_height),
            "picture_too_long_and_thin": Rule(column="aspect", max=self.max_aspect),
            "picture_blurred": Rule(column="blur", min=self.min_blur),
            "picture_nearly_black": Rule(column="darkest", min=self.min_brightness),
            "picture_nearly_white": Rule(column="lightest", max=self.max_brightness),
            "picture_nearly_uniform": Rule(column="contrast", min=self.min_contrast),
            "picture_nearly_empty": Rule(column="entropy", min=self.min_entropy),
        }
        return RowFilter(name="image_quality", scorer=ImageQualityScorer(), sides=self.sides, rules=rules)


@dataclass(frozen=True, kw_only=True)
class ImageQualityScorer:
    """What the rules of `image_quality` look at, and one number for all of it."""

    name: ClassVar[str] = "image_quality"
    version: ClassVar[int] = 1
    reads: ClassVar[frozenset[Reads]] = frozenset({"images"})
    better: ClassVar[Literal["higher", "lower"]] = "higher"

    def parameters(self) -> Mapping[str, Any]:
        """Nothing: the measures are the gate's, and a picture measured anew is another row."""
        return {}

    def score(self, items: pl.DataFrame) -> pl.DataFrame:
        """Float32 columns, each of the row's worst picture in that respect; null where it has none with a measure.

        `image_quality` in [0, 1], 1 best: the smaller of blur / 100 and contrast / 0.1, at most 1, of the worst
        picture. `width`, `height` in pixels; `aspect`, long side through short side; `blur`, `entropy`, `contrast`
        as the gate measures them; `darkest` and `lightest` in [0, 1], the least and the highest mean luminance.
        """
        if "pictures" not in items.columns or items.schema["pictures"] == pl.Null:
            return items.select(pl.repeat(None, pl.len(), dtype=pl.Float32).alias(name) for name in _COLUMNS)
        field = {name: pl.element().struct.field(name).cast(pl.Float64) for name in _MEASURES}
        sharp = pl.when(field["blur"].is_not_null() & field["contrast"].is_not_null()).then(
            pl.min_horizontal(field["blur"] / SHARP, field["contrast"] / PLAIN, pl.lit(1.0))
        )
        long, short = (
            pl.max_horizontal(field["width"], field["height"]),
            pl.min_horizontal(field["width"], field["height"]),
        )

        def worst(measure: pl.Expr, least: bool = True) -> pl.Expr:
            listed = pl.col("pictures").list.eval(measure)
            return (listed.list.min() if least else listed.list.max()).cast(pl.Float32)

        return items.select(
            image_quality=worst(sharp),
            width=worst(field["width"]),
            height=worst(field["height"]),
            aspect=worst(long / short, least=False),
            blur=worst(field["blur"]),
            entropy=worst(field["entropy"]),
            contrast=worst(field["contrast"]),
            darkest=worst(field["brightness"]),
            lightest=worst(field["brightness"], least=False),
        )


_COLUMNS = ("image_quality", "width", "height", "aspect", "blur", "entropy", "contrast", "darkest", "lightest")
