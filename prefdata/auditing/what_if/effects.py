"""What a trial of filters and groupings came to, as data: kept, dropped, by whom, next to which threshold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from prefdata.auditing.what_if.curves import Point, Proposal
from prefdata.auditing.what_if.groups import Clusters
from prefdata.auditing.what_if.settings import Kind
from prefdata.auditing.what_if.slices import Slice


@dataclass(frozen=True, kw_only=True)
class Borderline:
    """A row next to a threshold."""

    place: str
    score: float
    kept: bool
    """Whether it is on the side of the threshold that passes."""
    chars: Mapping[str, int]
    """Side -> characters of the whole text; of a prompt those of its last user turn."""
    texts: Mapping[str, str] = field(default_factory=dict)
    """Side -> text, cut."""
    beside: str = ""
    """Of a pair of near-duplicates the place of the other row."""
    beside_texts: Mapping[str, str] = field(default_factory=dict)
    """The texts of that row, cut."""


@dataclass(frozen=True, kw_only=True)
class Reason:
    """A reason for dropping."""

    name: str
    dropped: int
    alone: int
    """Rows that no other reason of any filter or grouping drops."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A numeric bound and its neighbours."""

    reason: str
    bound: Literal["min", "max"]
    threshold: float
    sides: tuple[str, ...]
    column: str
    """The score of the scorer that is looked at."""
    setting: str | None
    """The setting of the filter that is the bound; null where none is."""
    judged: int
    low: float | None
    """Least score; null without any."""
    high: float | None
    points: tuple[Point, ...]
    proposals: tuple[Proposal, ...]
    borderline: tuple[Borderline, ...]
    """Rows next to the threshold, nearest first, those that fail last; none where all scores are one number."""

    @property
    def present(self) -> Point:
        """The point of the present threshold."""
        return next(one for one in self.points if one.threshold == self.threshold)

    def steps(self) -> tuple[Point, ...]:
        """The nearest thresholds below and above the present one at which another number of rows is kept."""
        here = self.present
        below = [one for one in self.points if one.threshold < here.threshold and one.kept != here.kept]
        above = [one for one in self.points if one.threshold > here.threshold and one.kept != here.kept]
        return (*below[-1:], *above[:1])


@dataclass(frozen=True, kw_only=True)
class Value:
    """A value that a rule may let pass or not."""

    value: str
    rows: int
    passes: bool


@dataclass(frozen=True, kw_only=True)
class Values:
    """The values of a text column that a rule speaks of, named by a setting or not yet."""

    reason: str
    setting: str
    column: str
    values: tuple[Value, ...]
    more: int
    """Values that are not listed."""
    recipes: Mapping[str, str]
    """Percent of the judged rows that would pass -> the piece of a recipe."""


@dataclass(frozen=True, kw_only=True)
class Effect:
    """What one filter or grouping would do on its own."""

    name: str
    kind: Kind
    message: str = ""
    """Why it could not be tried; empty where it was."""
    rows: int = 0
    kept: int = 0
    unjudged: int = 0
    """Rows without a score that a rule asks for."""
    alone: int = 0
    """Rows that no other filter or grouping drops."""
    sides: tuple[str, ...] = ()
    reasons: tuple[Reason, ...] = ()
    slices: tuple[Slice, ...] = ()
    curves: tuple[Curve, ...] = ()
    values: tuple[Values, ...] = ()
    clusters: Clusters | None = None
    borderline: tuple[Borderline, ...] = ()
    """Of a grouping: pairs of rows nearest to its similarity."""

    @property
    def dropped(self) -> int:
        """Rows that it drops."""
        return self.rows - self.kept

    @property
    def share(self) -> float:
        """Kept, 0 to 1."""
        return self.kept / self.rows if self.rows else 1.0


@dataclass(frozen=True, kw_only=True)
class WhatIf:
    """Filters and groupings tried on a dataset."""

    recipe: str | None
    """Name of the recipe that they are of; null is the whole catalogue with its defaults."""
    rows: int
    kept: int
    """By all of them together, as a run decides: filters first, then groupings among what is left."""
    abstained: int
    """Rows without a label where rows have labels; a run drops them whatever the filters say."""
    effects: tuple[Effect, ...]
    overlap: tuple[tuple[int, ...], ...]
    """Rows that two of `tried` both drop."""

    @property
    def share(self) -> float:
        """Kept, 0 to 1."""
        return self.kept / self.rows if self.rows else 1.0

    @property
    def tried(self) -> tuple[Effect, ...]:
        """The effects of those that could run, in the order of `overlap`."""
        return tuple(one for one in self.effects if not one.message)

    def jaccard(self, left: int, right: int) -> float:
        """Rows that both drop, of those that either drops; 0 where neither drops any."""
        both = self.overlap[left][right]
        either = self.overlap[left][left] + self.overlap[right][right] - both
        return both / either if either else 0.0
