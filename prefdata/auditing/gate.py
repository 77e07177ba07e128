"""What of an audit is new since an earlier one, and whether that is too bad to go on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from prefdata.auditing.finding import Finding, Severity
from prefdata.errors import InputError


class Fresh(NamedTuple):
    """A finding, or what of it the baseline did not have."""

    finding: Finding
    rows: int
    """Rows that the baseline did not name; all of them without a baseline. 0: what is said of the set as a whole is
    new, or worse than it was."""
    places: tuple[str, ...]
    """Where the first of these rows stand."""


def fresh(findings: Iterable[Finding], baseline: Mapping[str, Any] | None) -> list[Fresh]:
    """The findings that `baseline`, the report.json of an earlier audit, does not have.

    A row is known by its content: rows that moved are not new. Where more rows were found than a report keeps hashes
    of, their number counts. Raises InputError where `baseline` is no report.
    """
    if baseline is None:
        return [Fresh(finding, finding.count, finding.places) for finding in findings]
    try:
        # a reason of reading may be called as a check is
        known = {(one.get("family", ""), one["check"]): one for one in baseline["findings"]}
        before = {name: set(one["keys"]) for name, one in known.items()}
        counts = {name: int(one["count"]) for name, one in known.items()}
        severities = {name: Severity(one["severity"]) for name, one in known.items()}
    except (KeyError, TypeError, ValueError) as error:
        raise InputError("the baseline is no report.json of an audit; make one with prefdata audit --out") from error
    found = []
    for finding in findings:
        name = (finding.family, finding.check)
        if name not in known:
            found.append(Fresh(finding, finding.count, finding.places))
            continue
        worse = finding.severity.rank < severities[name].rank
        if len(finding.keys) < finding.count or len(before[name]) < counts[name]:
            more = max(0, finding.count - counts[name])
            places = finding.places[: 0 if not more else None]
        else:
            new = [at for at, key in enumerate(finding.keys) if key not in before[name]]
            more = len(new)
            places = tuple(finding.places[at] for at in new if at < len(finding.places))
        if more or (worse and not finding.count):
            found.append(Fresh(finding, more, places))
    return found


def failing(findings: Iterable[Fresh], level: Severity) -> list[Fresh]:
    """Those at least as bad as `level`."""
    return [one for one in findings if one.finding.severity.rank <= level.rank]
