"""A check on the rows that a trainer will read, and what it found; severities are those of `prefdata audit`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, NamedTuple

View = Literal["ours", "trl"]
"""Whose rows are spoken of: as prefdata trains them, or as plain TRL would train the same ones."""

_NAMED = re.compile(r"\{([a-z0-9_]+)\}")
"""A measure named in a cure."""

IDS = 1_000
"""Row ids that a finding keeps."""


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
class Finding:
    """One thing that is so with the rows, the template or the settings."""

    check: str
    family: str
    view: View
    severity: Severity
    count: int
    """Rows concerned; 0 where it is said of the set or of the template as a whole."""
    total: int
    """Rows that the check speaks for."""
    ids: tuple[str, ...]
    """Of the first of them, in their order."""
    title: str
    why: str
    """What goes wrong if nothing is done."""
    cure: str
    threads: tuple[str, ...]
    """Where users met it."""
    measures: Mapping[str, Any]
    """Figures by name: numbers, texts, lists and mappings of them; no row text."""

    @property
    def share(self) -> float:
        """Of the rows that the check speaks for, 0 to 1."""
        return self.count / self.total if self.total else 0.0

    def record(self, *, ids: int = IDS) -> dict[str, Any]:
        """As plain JSON data."""
        return {
            "check": self.check,
            "family": self.family,
            "view": self.view,
            "severity": self.severity.value,
            "count": self.count,
            "total": self.total,
            "share": round(self.share, 6),
            "ids": list(self.ids[:ids]),
            "title": self.title,
            "why": self.why,
            "cure": self.cure,
            "threads": list(self.threads),
            "measures": dict(self.measures),
        }


@dataclass(frozen=True, kw_only=True)
class Check:
    """What is looked for, how bad it is by the share of rows, and the cure."""

    name: str
    """Snake case, unique within a view; what `insist` and reports call it."""
    family: str
    """rows, answers, lengths, labels, sameness, texts, pictures, template, batches, columns."""
    title: str
    why: str
    cure: str
    threads: tuple[str, ...] = ()
    levels: Levels = field(default_factory=Levels)
    view: View = "ours"

    def found(
        self,
        ids: Sequence[str],
        total: int,
        *,
        count: int | None = None,
        severity: Severity | None = None,
        **measures: Any,
    ) -> Finding:
        """The finding in the rows called `ids`; `count` where they are not all of them."""
        number = len(ids) if count is None else count
        return Finding(
            check=self.name,
            family=self.family,
            view=self.view,
            severity=self.levels.of(number, total) if severity is None else severity,
            count=number,
            total=total,
            ids=tuple(ids[:IDS]),
            title=self.title,
            why=self.why,
            cure=_NAMED.sub(lambda name: f"{measures.get(name[1], name[0])}", self.cure),
            threads=self.threads,
            measures=measures,
        )
