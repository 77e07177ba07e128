"""Personal data written in a picture: a name badge, a card, a screenshot of a mail. Read by RapidOCR, an extra.

What is read is searched with the finders of the transform `personal_data` and forgotten: no score, log or file holds
it. A picture cannot be edited as a text can, so the row falls.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, get_args

import polars as pl

from filters.shown import pictures_of
from prefdata.errors import InputError, MissingExtraError, RecipeError
from prefdata.judging import Reads, RowFilter, Rule, Side, threshold
from prefdata.transforms.personal_data import KINDS, Kind, find

KEPT = 200_000
"""Pictures whose counts are kept in a process: a few bytes each."""

Line = tuple[str, float]
"""A line of text and how sure the reader is of it, in [0, 1]."""


@dataclass(frozen=True, kw_only=True)
class PictureText:
    """Settings of the filter `picture_text`: personal data in pictures, through RapidOCR (of the extra `ocr`)."""

    max_found: int = threshold(0)
    """Pieces of personal data in the pictures of a row that pass."""
    kinds: tuple[Kind, ...] = KINDS
    """What is looked for."""
    phone_regions: tuple[str, ...] = ("US", "GB", "CN")
    """Countries (ISO 3166) whose national formats are telephone numbers; international ones always are."""
    min_confidence: float = 0.5
    """A line of which the reader is less sure is passed over, in [0, 1]."""
    sides: tuple[Side, ...] = ("completion",)
    """The sides of a row whose pictures are read; those of the prompt always are."""

    def __post_init__(self) -> None:
        faults = []
        if self.max_found < 0:
            faults.append(f"max_found: {self.max_found}, expected at least 0")
        if not 0 <= self.min_confidence <= 1:
            faults.append(f"min_confidence: {self.min_confidence}, expected a number in [0, 1]")
        unknown = sorted(set(self.kinds) - set(get_args(Kind)))
        if unknown or not self.kinds:
            faults.append(f"kinds: {', '.join(unknown) or 'is empty'}, expected some of {', '.join(KINDS)}")
        if not self.sides:
            faults.append("sides: is empty, expected at least one")
        if faults:
            raise RecipeError(faults)

    def build(self) -> RowFilter:
        """The scorer and the rule `picture_shows_personal_data`."""
        scorer = PictureTextScorer(
            kinds=tuple(sorted(self.kinds)),
            phone_regions=tuple(sorted(self.phone_regions)),
            min_confidence=self.min_confidence,
        )
        rules = {"picture_shows_personal_data": Rule(max=self.max_found)}
        return RowFilter(name="picture_text", scorer=scorer, sides=self.sides, rules=rules)


class _Counted(NamedTuple):
    """What one picture's text came to."""

    found: int
    kinds: tuple[str, ...]
    characters: int


@dataclass(frozen=True, kw_only=True)
class PictureTextScorer:
    """How much personal data the pictures show. Each content is read once in a process."""

    kinds: tuple[str, ...]
    phone_regions: tuple[str, ...]
    min_confidence: float

    name: ClassVar[str] = "picture_text"
    version: ClassVar[int] = 1
    reads: ClassVar[frozenset[Reads]] = frozenset({"images"})
    better: ClassVar[Literal["higher", "lower"]] = "lower"

    def parameters(self) -> Mapping[str, Any]:
        """The reader's version, and what is looked for."""
        return {
            "reader": reader_version(),
            "kinds": list(self.kinds),
            "phone_regions": list(self.phone_regions),
            "min_confidence": self.min_confidence,
        }

    def score(self, items: pl.DataFrame) -> pl.DataFrame:
        """`picture_text` Float32, pieces of personal data in all pictures of a row, 0 best; `kinds` String, which,
        sorted and joined by "+", "" for none; `characters` Float32, how much text was read. Null without a picture.
        """
        shown = pictures_of(items)
        unique = shown.unique("picture", keep="first", maintain_order=True)
        counts = [
            self._counted(picture, path) for picture, path in unique.select("picture", "path").iter_rows()
        ]  # a named kernel: a reader takes one picture at a time
        found = unique.select("picture").hstack(
            pl.DataFrame(
                {
                    "found": [one.found for one in counts],
                    "kinds": [list(one.kinds) for one in counts],
                    "characters": [one.characters for one in counts],
                },
                schema={"found": pl.Int64, "kinds": pl.List(pl.String), "characters": pl.Int64},
            )
        )
        by_row = (
            shown.join(found, on="picture")
            .group_by("row")
            .agg(pl.col("found").sum(), pl.col("kinds").list.explode(), pl.col("characters").sum())
        )
        rows = items.select(row=pl.int_range(pl.len(), dtype=pl.UInt32))
        return rows.join(by_row, on="row", how="left", maintain_order="left").select(
            picture_text=pl.col("found").cast(pl.Float32),
            kinds=pl.col("kinds").list.drop_nulls().list.unique().list.sort().list.join("+"),
            characters=pl.col("characters").cast(pl.Float32),
        )

    def _counted(self, picture: str, path: str) -> _Counted:
        key = (picture, self.kinds, self.phone_regions, self.min_confidence, reader_version())
        if key not in _COUNTS:
            lines = [text for text, sure in read_lines(path) if sure >= self.min_confidence]
            text = "\n".join(lines)
            spans = find(text, kinds=self.kinds, regions=self.phone_regions)
            _COUNTS[key] = _Counted(len(spans), tuple(sorted({kind for kind, _, _ in spans})), sum(map(len, lines)))
            while len(_COUNTS) > KEPT:
                _COUNTS.popitem(last=False)
        return _COUNTS[key]


_COUNTS: OrderedDict[tuple[Any, ...], _Counted] = OrderedDict()


def read_lines(path: str) -> list[Line]:
    """The lines of text in a stored picture, from top to bottom. Raises InputError where it does not open."""
    import numpy as np
    from PIL import Image

    reader = _reader()
    try:
        with Image.open(path, formats=("PNG", "JPEG", "WEBP", "GIF", "BMP")) as picture:
            # the reader takes OpenCV's order of colours
            pixels = np.ascontiguousarray(np.asarray(picture.convert("RGB"))[:, :, ::-1])
    except (OSError, ValueError, SyntaxError) as error:
        raise InputError(
            f"picture {Path(path).name}: taken at the gate, and does not open now ({type(error).__name__}); "
            "was the run directory changed?"
        ) from None
    return reader(pixels)


@cache
def reader_version() -> str:
    """Which reader, as it stands in the scores' parameters. Raises MissingExtraError where there is none."""
    from importlib.metadata import version

    _require()
    return f"rapidocr {version('rapidocr')}, onnxruntime {version('onnxruntime')}"


@cache
def _reader() -> Callable[[Any], list[Line]]:
    """RapidOCR with the models that its package ships (PP-OCR, Chinese and English), loaded once; no network."""
    _require()
    engine = importlib.import_module("rapidocr").RapidOCR(params={"Global.log_level": "critical"})

    def read(pixels: Any) -> list[Line]:
        found = engine(pixels)
        return list(zip(found.txts or (), map(float, found.scores or ()), strict=True))

    return read


def _require() -> None:
    if any(importlib.util.find_spec(name) is None for name in ("rapidocr", "onnxruntime", "PIL")):
        raise MissingExtraError("the filter picture_text", "ocr")
