"""report.json of an audit: every figure and place of its findings. No row text, no clock, no place on a machine.

docs/audit-report.schema.json describes it. A later audit takes it as its baseline.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import polars as pl

from prefdata.auditing.check import Check
from prefdata.auditing.finding import Example, Finding, Severity
from prefdata.errors import InputError
from prefdata.reporting.audit.words import READING, told
from prefdata.reporting.what_if import json as what_if_json
from prefdata.schema import RecordType

if TYPE_CHECKING:
    from prefdata.auditor import Audit

VERSION = 1
"""Of the form of report.json; raised where a reader of the old one would be wrong."""


def to_json(audit: Audit) -> dict[str, Any]:
    """The audit as JSON data; equal audits give equal data."""
    found = {(finding.family, finding.check): finding.severity.value for finding in audit.findings}
    return {
        "version": VERSION,
        "name": audit.name,
        "format": audit.format,
        "type": audit.type.value,
        "reasons": list(audit.reasons),
        "read": audit.read,
        "rows": audit.rows,
        "unreadable": unreadable(audit),
        "refused": dict(audit.refused),
        "counts": counts(audit),
        "findings": [_finding(audit, finding) for finding in audit.findings],
        "checks": [
            {
                "check": check.name,
                "family": check.family,
                "title": check.title,
                "why": check.why,
                "cure": check.cure,
                "source": check.source,
                "found": found.get((check.family, check.name)),
            }
            for check in audit.checks
        ],
        **({"what_if": what_if_json.to_json(audit.what_if)} if audit.what_if is not None else {}),
    }


def from_json(data: Mapping[str, Any]) -> Audit:
    """The audit of a report.json, without numbers of rows and texts of examples, which it does not hold.

    Raises InputError where `data` is no report of an audit, or of another version.
    """
    from prefdata.auditor import Audit

    if not isinstance(data, Mapping) or data.get("version") != VERSION:
        raise InputError(f"no report.json of an audit of version {VERSION}; make one with prefdata audit")
    try:
        return Audit(
            name=data["name"],
            format=data["format"],
            type=RecordType(data["type"]),
            reasons=tuple(data["reasons"]),
            read=data["read"],
            rows=data["rows"],
            findings=tuple(_read_finding(one) for one in data["findings"]),
            checks=tuple(
                Check(
                    name=one["check"],
                    family=one["family"],
                    title=one["title"],
                    why=one["why"],
                    cure=one["cure"],
                    source=one["source"],
                )
                for one in data["checks"]
            ),
            seconds=0.0,
            what_if=what_if_json.from_json(data["what_if"]) if "what_if" in data else None,
            refused=data["refused"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError("a report.json of an audit that lacks fields or holds wrong ones") from error


def counts(audit: Audit) -> dict[str, int]:
    """Severity -> findings, also where there are none."""
    return {one.value: sum(finding.severity is one for finding in audit.findings) for one in Severity}


def unreadable(audit: Audit) -> int:
    """Records that are no rows. One with two reasons counts once, as long as all places are kept."""
    found = [finding for finding in audit.findings if finding.family == READING]
    if all(finding.count == len(finding.places) for finding in found):
        return len({place for finding in found for place in finding.places})
    return min(audit.read, sum(finding.count for finding in found))


def _finding(audit: Audit, finding: Finding) -> dict[str, Any]:
    words = told(audit, finding)
    return {
        "check": finding.check,
        "family": finding.family,
        "severity": finding.severity.value,
        "count": finding.count,
        "total": finding.total,
        "share": round(finding.share, 6),
        **words._asdict(),
        "measures": plain(finding.measures),
        "places": list(finding.places),
        "keys": list(finding.keys),
        "examples": [_example(one) for one in finding.examples],
    }


def _example(one: Example) -> dict[str, Any]:
    return {
        "place": one.place, "note": one.note, "chars": dict(one.chars), "label": one.label, "margin": plain(one.margin)
    }  # fmt: skip


def _read_example(one: Mapping[str, Any]) -> Example:
    return Example(one["place"], {}, one["note"], chars=one["chars"], label=one["label"], margin=one["margin"])


def _read_finding(one: Mapping[str, Any]) -> Finding:
    return Finding(
        check=one["check"],
        family=one["family"],
        severity=Severity(one["severity"]),
        count=one["count"],
        total=one["total"],
        measures=one["measures"],
        rows=pl.Series("row", [], dtype=pl.UInt32),
        places=tuple(one["places"]),
        keys=tuple(one["keys"]),
        examples=tuple(_read_example(example) for example in one["examples"]),
    )


def plain(value: Any) -> Any:
    """Measures as JSON has them: keys are texts, what is no finite number is null; and `interval`, which is of the
    number before it, is called `<number>_interval`, since JSON objects have no order."""
    if isinstance(value, Mapping):
        found: dict[str, Any] = {}
        last = ""
        for key, one in value.items():
            name = str(key).lower() if isinstance(key, bool) else str(key)
            found[f"{last}_interval" if name == "interval" and last else name] = plain(one)
            if isinstance(one, (int, float)) and not isinstance(one, bool):
                last = name
        return found
    if isinstance(value, (list, tuple, set, frozenset, pl.Series)):
        return [plain(one) for one in (sorted(value) if isinstance(value, (set, frozenset)) else value)]
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, (int, float)):
        return value if math.isfinite(value) else None
    return plain(value.item()) if hasattr(value, "item") else str(value)
