"""Is a text about its picture: the cosine of the two under a CLIP model of open_clip's.

The models stand in clip_model.py, what they make of pictures and texts in clip_vectors.py. A cosine means something
within one model only: absolute bounds do not transfer, so the default drops the lowest of the data at hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import polars as pl

from filters.clip_model import faults_of, identity, languages_of, require_clip, unnamed
from filters.letters import without_placeholders
from filters.scripts import readable
from filters.shown import pictures_of
from prefdata.errors import RecipeError
from prefdata.judging import Reads, RowFilter, Rule, Side, file_path, threshold

MAX_CHARS = 20_000
"""What stands behind is not read."""
MARK = "\ufffc"
"""A picture's place in a text, which says nothing itself."""


@dataclass(frozen=True, kw_only=True)
class ClipRelevance:
    """Settings of the filter `clip`: relevance of an answer to the pictures of its row."""

    model: str | None = file_path(or_name=True)
    """A folder with a model's config and safetensors; or a model by its open_clip name, as in ViT-B-32; or
    hf-hub:OWNER/NAME. Multilingual and SigLIP models go by their names; names need a network once."""
    pretrained: str | None = file_path(or_name=True)
    """Of a name: which published weights, as in laion2b_s34b_b79k, or a safetensors file."""
    min: float | None = threshold(None)
    """The least cosine that passes, in [-1, 1]. Bound to the model: .15 to .3 for ViT-B-32, a SigLIP's are lower."""
    min_percentile: float | None = threshold(5.0)
    """The lowest of the judged rows that fall, in percent; 5 to 10 is usual. Holds beside `min`."""
    min_worst: float | None = threshold(None)
    """The least cosine to the picture that fits worst, of rows with several; in [-1, 1]."""
    min_prompt: float | None = threshold(None)
    """The least cosine of the customer's last turn to the picture that fits it best; in [-1, 1]."""
    languages: tuple[str, ...] | None = None
    """ISO codes of what the model has learnt, or [any]; null goes by its name: multilingual ones any, others English.
    A text in a script of none of them is unjudged."""
    min_script_ratio: float = 0.8
    """Share of a text's letters that must be of those languages' scripts."""
    sides: tuple[Side, ...] = ("completion",)
    """The sides of a row that are judged, each against the pictures of the prompt and its own."""
    device: str = "cpu"
    """torch's name of the device."""

    def __post_init__(self) -> None:
        faults = unnamed(self.model)
        faults += [
            f"{name}: {value}, expected a cosine in [-1, 1]"
            for name in ("min", "min_worst", "min_prompt")
            if (value := getattr(self, name)) is not None and not -1 <= value <= 1
        ]
        if self.min_percentile is not None and not 0 <= self.min_percentile <= 100:
            faults.append(f"min_percentile: {self.min_percentile}, expected a percentage in [0, 100]")
        if not 0 <= self.min_script_ratio <= 1:
            faults.append(f"min_script_ratio: {self.min_script_ratio}, expected a fraction in [0, 1]")
        if self.languages is not None:
            if not self.languages:
                faults.append("languages: is empty, expected ISO codes, or [any]")
            faults += [
                f"languages: {code!r}, expected an ISO 639 code as in en, or any"
                for code in self.languages
                if not (code.isalpha() and code.islower() and code.isascii() and len(code) in (2, 3))
            ]
        if not self.sides:
            faults.append("sides: is empty, expected at least one")
        if faults:
            raise RecipeError(faults)

    def build(self) -> RowFilter:
        """The scorer, and a rule for each bound that is set.

        They speak for desirable rows: an irrelevant answer is what an undesirable one may well be. Raises RecipeError
        where no model is there, MissingExtraError without open_clip.
        """
        faults = faults_of(str(self.model), self.pretrained)
        if faults:
            raise RecipeError([f"clip: {fault}" for fault in faults])
        require_clip("the filter clip")
        model = str(self.model)
        scorer = ClipScorer(
            model=model,
            pretrained=self.pretrained,
            languages=languages_of(model, self.pretrained) if self.languages is None else tuple(sorted(self.languages)),
            min_script_ratio=self.min_script_ratio,
            device=self.device,
        )
        rules = {}
        if self.min is not None or self.min_percentile is not None:
            rules["answer_irrelevant_to_picture"] = Rule(
                min=self.min, min_percentile=self.min_percentile, only="desirable"
            )
        if self.min_worst is not None:
            rules["answer_irrelevant_to_a_picture"] = Rule(column="worst", min=self.min_worst, only="desirable")
        if self.min_prompt is not None:
            rules["question_irrelevant_to_picture"] = Rule(column="prompt", min=self.min_prompt, only="desirable")
        return RowFilter(name="clip", scorer=scorer, sides=self.sides, rules=rules)


@dataclass(frozen=True, kw_only=True)
class ClipScorer:
    """Cosines of a text, and of the turn before it, to pictures.

    Contents that were embedded once are known in this process from then on, whichever side, shard or question asks.
    """

    model: str
    pretrained: str | None
    languages: tuple[str, ...]
    min_script_ratio: float
    device: str

    name: ClassVar[str] = "clip"
    version: ClassVar[int] = 1
    reads: ClassVar[frozenset[Reads]] = frozenset({"text", "prompt", "images"})
    better: ClassVar[Literal["higher", "lower"]] = "higher"

    def parameters(self) -> Mapping[str, Any]:
        """The model by the hashes of its config and weights, and which texts are left out. No paths, no device."""
        return {
            **identity(self.model, self.pretrained),
            "languages": list(self.languages),
            "min_script_ratio": self.min_script_ratio,
        }

    def score(self, items: pl.DataFrame) -> pl.DataFrame:
        """Float32 columns: `clip` in [-1, 1], the cosine of the text to the picture that it fits best; `worst`, to the
        one that it fits worst; `prompt`, of the customer's turn to the picture that fits that best; `windows`, pieces
        that the text was read in: 1 where it fits the model's context, else the best piece counts for each picture;
        `pictures`, how many there are.

        Null where there is no picture, no text, or a text in a script that the model has not learnt.
        """
        from filters.clip_vectors import cosines, vectors_of

        shown = pictures_of(items)
        with_picture = shown.select("row").unique(maintain_order=True)
        texts = pl.concat(
            [
                self._read(items, column).join(with_picture, on="row", how="semi", maintain_order="left")
                for column in ("text", "prompt")
                if column in items.columns
            ]
        )
        counted = shown.group_by("row").agg(pictures=pl.len())
        rows = items.select(row=pl.int_range(pl.len(), dtype=pl.UInt32))
        rows = rows.join(counted, on="row", how="left", maintain_order="left")
        if texts.is_empty():
            nothing = pl.repeat(None, pl.len())
            return rows.select(clip=nothing, worst=nothing, prompt=nothing, windows=nothing, pictures="pictures").cast(
                pl.Float32
            )
        vectors = vectors_of(self.model, self.pretrained, self.device)
        unique = texts.select("text").unique(maintain_order=True)
        pieces = unique.with_columns(piece=pl.Series(vectors.windows(unique["text"].to_list()), dtype=_TEXTS))
        pieces = pieces.with_columns(windows=pl.col("piece").list.len()).explode("piece").drop_nulls("piece")
        pieces = pieces.with_columns(at=pl.col("piece").rank("dense") - 1)
        contents = pieces.unique("at", keep="first").sort("at")["piece"].to_list()
        pictures = shown.unique("picture", keep="first", maintain_order=True).with_row_index("seen")
        shown = shown.join(pictures.select("picture", "seen"), on="picture", how="left", maintain_order="left")
        cells = texts.join(pieces, on="text", how="inner").join(shown, on="row", how="inner")
        found = cosines(
            vectors.pictures(pictures["picture"].to_list(), pictures["path"].to_list()),
            vectors.texts(contents),
            (cells["seen"].to_numpy(), cells["at"].to_numpy()),
        )
        by_picture = (
            cells.with_columns(cosine=pl.Series(found).fill_nan(None))
            .group_by("row", "column", "place")
            .agg(pl.col("cosine").max(), pl.col("windows").first())
        )
        judged = by_picture.group_by("row", "column").agg(
            best=pl.col("cosine").max(), worst=pl.col("cosine").min(), windows=pl.col("windows").first()
        )
        text = judged.filter(pl.col("column") == "text").select("row", "best", "worst", "windows")
        prompt = judged.filter(pl.col("column") == "prompt").select("row", prompt="best")
        for part in (text, prompt):
            rows = rows.join(part, on="row", how="left", maintain_order="left")
        return rows.select(clip="best", worst="worst", prompt="prompt", windows="windows", pictures="pictures").cast(
            pl.Float32
        )

    def _read(self, items: pl.DataFrame, column: str) -> pl.DataFrame:
        """`row`, `column`, `text`: the texts that the model can be asked about."""
        text = without_placeholders(
            pl.col(column).cast(pl.String).str.slice(0, MAX_CHARS).str.replace_all(MARK, " ", literal=True)
        )
        cleaned = items.select(
            row=pl.int_range(pl.len(), dtype=pl.UInt32),
            column=pl.lit(column),
            text=text.str.replace_all(r"\s+", " ").str.strip_chars(" "),
        )
        asked = readable(pl.col("text"), self.languages, min_ratio=self.min_script_ratio)
        return cleaned.filter((pl.col("text") != "") & asked)


_TEXTS = pl.List(pl.String)
