"""What a check found: how bad, how often, in which rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple

import polars as pl


class Severity(StrEnum):
    """From worst to least."""

    CRITICAL = "critical"
    MAJOR = "major"
    MINOR = "minor"
    NOTE = "note"

    @property
    def rank(self) -> int:
        """0 for the worst."""
        return list(Severity).index(self)


class Levels(NamedTuple):
    """From which share of the rows on a finding is how bad; null: never that bad. A finding below all is a note.

    0 means: from the first row on.
    """

    critical: float | None = None
    major: float | None = None
    minor: float | None = None

    def of(self, count: int, total: int) -> Severity:
        """How bad `count` rows of `total` are."""
        share = count / total if total else 0.0
        for severity, level in zip(Severity, self, strict=False):
            if level is not None and count and share >= level:
                return severity
        return Severity.NOTE


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a check saw. No rows and no measures: nothing."""

    rows: pl.Series = field(default_factory=lambda: pl.Series("row", [], dtype=pl.UInt32))
    """Numbers of the rows concerned, UInt32, sorted, each once."""
    measures: Mapping[str, Any] = field(default_factory=dict)
    """Figures of the whole set, by name: numbers, texts, lists and mappings of them; no row text."""
    severity: Severity | None = None
    """How bad, where the share of the rows does not say it."""
    beside: Mapping[int, Any] = field(default_factory=dict)
    """Row number -> what is told about that row: the row it repeats, the value that stands out. No row text."""

    def __bool__(self) -> bool:
        return bool(len(self.rows)) or self.severity is not None


class Example(NamedTuple):
    """A row that shows the finding."""

    place: str
    """Where it stands: file:line, and #n where a line gives several rows."""
    texts: Mapping[str, str]
    """Side -> text, cut to a length that can be read."""
    note: str
    """What is told about this row; may be empty."""
    chars: Mapping[str, int] = MappingProxyType({})
    """Side -> characters (code points) of the whole text."""
    label: bool | None = None
    """Of a row of a type with labels."""
    margin: float | None = None
    """By how much chosen was rated better, where the row says so."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of an audit."""

    check: str
    family: str
    severity: Severity
    count: int
    """Rows concerned."""
    total: int
    """Rows that the check speaks for."""
    measures: Mapping[str, Any]
    rows: pl.Series
    """Numbers of the rows concerned, UInt32."""
    places: tuple[str, ...]
    """Where the first of them stand."""
    keys: tuple[str, ...]
    """Hashes of their content, by which a later audit tells which are new."""
    examples: tuple[Example, ...]

    @property
    def share(self) -> float:
        """Of the rows that the check speaks for, 0 to 1."""
        return self.count / self.total if self.total else 0.0
