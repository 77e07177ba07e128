"""Pictures that are not for work, as a CLIP model guesses: which of two sets of descriptions is a picture nearer to.

There is no training in it, only two lists of sentences. Read it as a help for looking, and not as protection:

- It depends on the model. A small or a narrow one (shapes, products) has never seen what the sentences speak of, and
  its numbers mean nothing. Take one trained on the open web, and look at what it does on pictures that you know.
- It is biased as its model is: models of this kind tie pictures of women to sexual descriptions more than those of men
  (Wolfe et al., 2023), and beaches, sport and medicine look unsafe to them. What falls is no random part of the data.
- It misses what is small in a picture, cut off by the model's crop, drawn, or hinted at. Where harm is possible, take
  a classifier that was trained and tested for it, and people.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import polars as pl

from filters.clip_model import faults_of, identity, require_clip, unnamed
from filters.shown import pictures_of
from prefdata.errors import RecipeError
from prefdata.judging import Reads, RowFilter, Rule, Side, file_path, threshold

UNSAFE = (
    "explicit sexual content",
    "pornography",
    "a naked person",
    "a photo of genitals",
    "nudity",
    "graphic violence with blood and gore",
)
SAFE = (
    "a photo of a person with clothes on",
    "a photo of people",
    "a photo of an object",
    "a screenshot of a computer or a phone",
    "a drawing or a diagram",
    "a photo of a place",
    "a photo of food",
    "a photo of an animal",
    "a page of text",
)


@dataclass(frozen=True, kw_only=True)
class Nsfw:
    """Settings of the filter `nsfw`: a guess with no training in it, biased as its model is; see the documentation."""

    model: str | None = file_path(or_name=True)
    """A CLIP model trained on the open web, as for the filter `clip`: a folder, a name, or hf-hub:OWNER/NAME."""
    pretrained: str | None = file_path(or_name=True)
    """Of a name: which published weights, or a safetensors file."""
    max_nsfw: float = threshold(0.5)
    """Highest share of the descriptions in `unsafe` that passes, in [0, 1]. Above 0.5 these are nearer than `safe`."""
    unsafe: tuple[str, ...] = UNSAFE
    """Descriptions of what is not wanted, in a language of the model."""
    safe: tuple[str, ...] = SAFE
    """Descriptions of what else the pictures show: those that fit the data make the guess better."""
    sides: tuple[Side, ...] = ("completion",)
    """The sides of a row whose pictures are judged; those of the prompt always are."""
    device: str = "cpu"
    """torch's name of the device."""

    def __post_init__(self) -> None:
        faults = unnamed(self.model)
        if not 0 <= self.max_nsfw <= 1:
            faults.append(f"max_nsfw: {self.max_nsfw}, expected a number in [0, 1]")
        faults += [
            f"{name}: expected at least one description, none of them empty"
            for name in ("unsafe", "safe")
            if not getattr(self, name) or not all(text.strip() for text in getattr(self, name))
        ]
        if not self.sides:
            faults.append("sides: is empty, expected at least one")
        if faults:
            raise RecipeError(faults)

    def build(self) -> RowFilter:
        """The scorer and the rule `picture_maybe_nsfw`. Raises RecipeError where no model is there."""
        faults = faults_of(str(self.model), self.pretrained)
        if faults:
            raise RecipeError([f"nsfw: {fault}" for fault in faults])
        require_clip("the filter nsfw")
        scorer = NsfwScorer(
            model=str(self.model),
            pretrained=self.pretrained,
            unsafe=self.unsafe,
            safe=self.safe,
            device=self.device,
        )
        return RowFilter(
            name="nsfw", scorer=scorer, sides=self.sides, rules={"picture_maybe_nsfw": Rule(max=self.max_nsfw)}
        )


@dataclass(frozen=True, kw_only=True)
class NsfwScorer:
    """The share of the unsafe descriptions, of the picture where it is largest."""

    model: str
    pretrained: str | None
    unsafe: tuple[str, ...]
    safe: tuple[str, ...]
    device: str

    name: ClassVar[str] = "nsfw"
    version: ClassVar[int] = 1
    reads: ClassVar[frozenset[Reads]] = frozenset({"images"})
    better: ClassVar[Literal["higher", "lower"]] = "lower"

    def parameters(self) -> Mapping[str, Any]:
        """The model by its hashes, and the descriptions."""
        return {**identity(self.model, self.pretrained), "unsafe": list(self.unsafe), "safe": list(self.safe)}

    def score(self, items: pl.DataFrame) -> pl.DataFrame:
        """`nsfw` Float32 in [0, 1], 1 unsafe: a softmax over all descriptions at the model's own scale, those of
        `unsafe` summed; each list weighs as much as the other, however long. Null without a picture.
        """
        import numpy as np

        from filters.clip_vectors import vectors_of

        shown = pictures_of(items)
        rows = items.select(row=pl.int_range(pl.len(), dtype=pl.UInt32))
        if shown.is_empty():
            return rows.select(nsfw=pl.repeat(None, pl.len(), dtype=pl.Float32))
        vectors = vectors_of(self.model, self.pretrained, self.device)
        unique = shown.unique("picture", keep="first", maintain_order=True)
        pictures = vectors.pictures(unique["picture"].to_list(), unique["path"].to_list()).astype(np.float32)
        told = vectors.texts([*self.unsafe, *self.safe]).astype(np.float32)
        scaled = np.einsum("ij,kj->ik", pictures, told) * vectors.logit_scale()
        weights = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        unsafe = weights[:, : len(self.unsafe)].mean(axis=1)
        share = unsafe / (unsafe + weights[:, len(self.unsafe) :].mean(axis=1))
        found = unique.select("picture", nsfw=pl.Series(share.astype(np.float32)))
        worst = shown.join(found, on="picture").group_by("row").agg(pl.col("nsfw").max())
        return rows.join(worst, on="row", how="left", maintain_order="left").select("nsfw")
