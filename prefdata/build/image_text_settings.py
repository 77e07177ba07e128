"""What a recipe says of texts about pictures: its section `image_text`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from prefdata.build.hard_negatives import KINDS, Kind
from prefdata.build.pairs import Policy
from prefdata.errors import RecipeError
from prefdata.schema import RecordType


@dataclass(frozen=True, kw_only=True)
class ImageTextSettings:
    """What is made of captions, and of answers to questions about pictures. Rows without pictures are as ever."""

    relevance: str | None = None
    """The filter of this recipe whose score tells how well a text fits its pictures (`clip`); null asks none."""
    relevant_min: float | None = None
    """Relevance from which on a text is relevant: a desirable row, an example. What is between the bounds abstains."""
    relevant_min_percentile: float | None = None
    """The same as a percentile of the judged texts, in [0, 100]; of both the stricter one holds."""
    irrelevant_max: float | None = None
    """Relevance up to which a text is irrelevant: an undesirable row."""
    irrelevant_max_percentile: float | None = None
    """The same as a percentile."""
    percentile_of: Literal["source", "run"] = "source"
    """Whose judged texts percentiles are of: each source's own, since texts of two styles fit their pictures unlike; or
    those of all sources together, whose bounds are the same then."""
    unrated: Literal["abstain", "relevance"] = "abstain"
    """What labels an answer of a source of feedback that nobody rated: nothing, or the bounds of relevance. An answer
    that says less than a caption fits its picture less."""
    check_feedback: bool = False
    """Whether a desirable answer that is irrelevant by these bounds is left out."""
    min_margin: float = 0.05
    """Least difference in relevance of the two sides of a pair, and of a caption and that of another picture."""
    policy: Policy = "best_worst"
    """Which answers to one question about a picture become pairs by their relevance."""
    max_uses: int = 2
    """Pairs of a helpful and an unhelpful answer that one answer may be in."""
    negatives: tuple[Kind, ...] = ()
    """Wrong answers that are made of true captions: other_picture, colour, number, position, object."""
    negatives_each: int = 1
    """Such answers that one caption gives, each of another kind."""
    near_compared: int = 4
    """Nearest captions of other pictures that are asked for their relevance."""
    questions: tuple[str, ...] | None = None
    """What captions are asked for with, one of them drawn for each picture; null is a list of our own, in English and
    Chinese; an empty list leaves prompts as they are read."""

    def __post_init__(self) -> None:
        bounds = ("relevant_min", "irrelevant_max")
        faults = [
            f"{name}_percentile: {getattr(self, f'{name}_percentile')}, expected a percentile in [0, 100]"
            for name in bounds
            if not 0 <= (getattr(self, f"{name}_percentile") or 0) <= 100
        ]
        for suffix in ("", "_percentile"):
            high, low = (getattr(self, f"{name}{suffix}") for name in bounds)
            if high is not None and low is not None and low >= high:
                faults.append(f"irrelevant_max{suffix}: {low}, expected less than relevant_min{suffix} ({high})")
        if self.relevance is None:
            wanting = self.banded() + (["check_feedback"] if self.check_feedback else [])
            wanting += ["unrated"] if self.unrated == "relevance" else []
            faults += [f"{name}: speaks of relevance; say with `relevance` whose score it is" for name in wanting]
        elif self.check_feedback and self.irrelevant_max is None and self.irrelevant_max_percentile is None:
            faults.append("check_feedback: needs irrelevant_max or irrelevant_max_percentile")
        if self.min_margin < 0:
            faults.append(f"min_margin: {self.min_margin}, expected at least 0")
        faults += [
            f"{name}: {getattr(self, name)}, expected at least 1"
            for name in ("max_uses", "negatives_each", "near_compared")
            if getattr(self, name) < 1
        ]
        if len(set(self.negatives)) < len(self.negatives):
            faults.append(f"negatives: each kind once, of {', '.join(KINDS)}")
        if self.questions is not None and any(not one.strip() for one in self.questions):
            faults.append("questions: one is empty")
        if faults:
            raise RecipeError(faults)

    def banded(self) -> list[str]:
        """The bounds that are given."""
        names = ("relevant_min", "relevant_min_percentile", "irrelevant_max", "irrelevant_max_percentile")
        return [name for name in names if getattr(self, name) is not None]

    def over_run(self) -> bool:
        """Whether a bound is a percentile of the texts of all sources."""
        return self.percentile_of == "run" and any(name.endswith("percentile") for name in self.banded())

    def reaches(self, source_type: RecordType, record_type: RecordType) -> bool:
        """Whether rows of one type about pictures become the other by what is asked for here."""
        if source_type is not RecordType.SFT:
            return False
        if record_type is RecordType.UNPAIRED:
            return bool(self.banded() or self.negatives)
        return record_type is RecordType.PREFERENCE and bool(self.relevance or self.negatives)
