"""Rows as a trainer will read them, examined before the first step: what is lost, masked, equal, forged or too long.

Tokenising is done once: the rows are those that training reads. What plain TRL would make of the same rows is told by
`plain_trl`; reading files and showing findings is left to `prefdata preflight`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from prefdata.errors import InputError
from trainers.preflight import answers, labels, lengths, pictures, sameness, template, texts
from trainers.preflight.finding import Check, Finding, Levels, Severity
from trainers.preflight.seen import Seen
from trainers.rows import Rows

__all__ = ["Check", "Finding", "Levels", "Preflight", "Seen", "Severity", "checks", "examine", "findings", "ranked"]

FAMILIES = (lengths, answers, labels, sameness, texts, pictures, template)
"""Modules with a function `look`, in the order in which they look."""

RECORDED_IDS = 20
"""Row ids of a finding in stage.json."""


@dataclass(frozen=True, kw_only=True)
class Preflight:
    """What was found, worst first, and the figures of the rows."""

    method: str
    rows: int
    """Rows that can be trained on."""
    total: int
    """Rows that were given."""
    findings: tuple[Finding, ...]
    figures: Mapping[str, Any]
    """`lengths`, `trained`, and what else is counted of all rows; plain JSON data."""

    def worst(self) -> Severity | None:
        """The worst severity there is."""
        return self.findings[0].severity if self.findings else None

    def failing(self, level: Severity | str, insist: Sequence[str] = ()) -> list[Finding]:
        """The findings at least as bad as `level`, but those that the user insists on."""
        rank = Severity(level).rank
        return [one for one in self.findings if one.severity.rank <= rank and one.check not in insist]

    def record(self, *, ids: int = RECORDED_IDS) -> dict[str, Any]:
        """Counts by severity, figures, and findings with the first row ids; for stage.json."""
        counts = Counter(one.severity.value for one in self.findings)
        return {
            "rows": self.rows,
            "total": self.total,
            "counts": {severity.value: counts[severity.value] for severity in Severity},
            "figures": dict(self.figures),
            "findings": [one.record(ids=ids) for one in self.findings],
        }

    def require(self, insist: Sequence[str] = ()) -> None:
        """Raises InputError naming every critical finding that the user does not insist on."""
        bad = self.failing(Severity.CRITICAL, insist)
        if not bad:
            return
        told = "; ".join(_told(one) for one in bad)
        names = ", ".join(one.check for one in bad)
        raise InputError(f"{self.method}: preflight stops here: {told}. To train all the same: insist: [{names}]")


def examine(
    method: Any,
    rows: Rows,
    tokenizer: Any,
    settings: Any,
    *,
    vocabulary: int | None = None,
    raw: pl.DataFrame | None = None,
    held_out: Rows | None = None,
) -> Preflight:
    """What is to be known of `rows` before they are trained on with `method` (a Method, or its name).

    What plain TRL would do is none of it: it can neither stop a stage nor stand in its record.
    `vocabulary` is the number of rows of the model's embedding, `raw` the canonical frame that the rows were encoded
    from, `held_out` the rows that are measured on.
    """
    name = method if isinstance(method, str) else method.name
    seen = Seen(
        method=name,
        rows=rows,
        tokenizer=tokenizer,
        settings=settings,
        vocabulary=vocabulary,
        frame=raw,
        held_out=held_out,
    )
    found = tuple(one for one in findings(seen) if one.view == "ours")
    return Preflight(method=name, rows=len(rows), total=seen.total, findings=found, figures=figures(seen))


def checks(*, trl: bool = False) -> dict[str, Check]:
    """All checks by name: those that a stage may insist against; with `trl` those of what plain TRL would do, too."""
    from trainers.preflight import columns, plain_trl

    found: dict[str, Check] = {}
    for module in (*FAMILIES, plain_trl, columns):
        for one in vars(module).values():
            many = one.values() if isinstance(one, Mapping) else [one]
            found |= {check.name: check for check in many if isinstance(check, Check) and (trl or check.view == "ours")}
    return found


def findings(seen: Seen) -> tuple[Finding, ...]:
    """Of all families, worst first."""
    return ranked(one for family in FAMILIES for one in family.look(seen))


def ranked(found: Iterable[Finding]) -> tuple[Finding, ...]:
    """Worst first, then the most frequent."""
    return tuple(sorted(found, key=lambda one: (one.severity.rank, -one.share, one.check)))


def figures(seen: Seen) -> dict[str, Any]:
    """Lengths of the rows as they are trained, the share of trained tokens, and what was dropped or cut."""
    return {
        "lengths": lengths.figures(seen.lengths, seen.settings.max_length),
        "trained": answers.trained_share(seen),
        "dropped": dict(seen.rows.dropped),
        "shortened": sum(row.turns_cut > 0 for row in seen.rows.first),
        "max_length": seen.settings.max_length,
        **pictures.figures(seen),
    }


def _told(one: Finding) -> str:
    where = f" ({one.count:,} of {one.total:,} rows, first {one.ids[0]})" if one.ids else ""
    return f"{one.check}: {one.title}{where}; {one.cure}"
