"""The audit of a dataset: what is wrong with it, how bad, which rows, what to do."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from prefdata.auditing import check as checking
from prefdata.auditing import unread
from prefdata.auditing.check import Check
from prefdata.auditing.dataset import Audited, place, read
from prefdata.auditing.finding import Example, Finding, Found, Severity
from prefdata.auditing.table import CHECKS
from prefdata.auditing.threads import in_order
from prefdata.errors import UnknownNameError
from prefdata.formats import rules
from prefdata.io import ReadLimits
from prefdata.opening import Opened, open_dataset, root_of
from prefdata.schema import RecordType

if TYPE_CHECKING:
    from prefdata.auditing.what_if.effects import WhatIf

EXAMPLES = 3
PLACES_SHOWN = 1_000
KEYS_KEPT = 100_000
EXCERPT = 600
"""Characters of a text in an example."""
MODEL_ROWS = 200
"""Rows that a language model reads: some minutes on two cores, and an interval of 0.07 on either side."""

AT_A_TIME = 3
"""Checks of the whole set: one of three may wait for what another makes for both."""

_DEFAULT_LIMITS = ReadLimits()
Progress = Callable[[str, int], None]


class Audit(NamedTuple):
    """What an audit came to. Findings are sorted, worst first."""

    name: str
    """Of the file or folder."""
    format: str
    type: RecordType
    reasons: tuple[str, ...]
    """Why it was taken for that."""
    read: int
    """Records of the files, sound and broken."""
    rows: int
    """Rows that were audited."""
    findings: tuple[Finding, ...]
    checks: tuple[Check, ...]
    """The checks that ran, also those that found nothing."""
    seconds: float
    refused: Mapping[str, int] = MappingProxyType({})
    """Reason -> records of the files that are no rows for it. A record may have several."""
    what_if: WhatIf | None = None
    """What filters and groupings would do, where it was asked."""

    def worst(self) -> Severity | None:
        """The worst severity there is."""
        return self.findings[0].severity if self.findings else None


def all_checks() -> list[Check]:
    """Every check there is, in the order of the table."""
    return [checking.load(place) for place in CHECKS]


def chosen(only: Collection[str] = (), skip: Collection[str] = (), *, slow: bool = False) -> list[Check]:
    """The checks called `only` (names or families; all where empty) but those called `skip`."""
    checks = all_checks()
    names = {check.name for check in checks} | {check.family for check in checks}
    for name in (*only, *skip):
        if name not in names:
            raise UnknownNameError("check", name, sorted(names))
    return [
        check
        for check in checks
        if (not only or {check.name, check.family} & set(only))
        and not {check.name, check.family} & set(skip)
        and (slow or not check.slow or check.name in only)
    ]


def audit(
    path: str | Path | Sequence[str | Path],
    *,
    source: str = "auto",
    type: RecordType | str | None = None,
    labels: Mapping[str, bool] | None = None,
    columns: Mapping[str, str] | None = None,
    only: Collection[str] = (),
    skip: Collection[str] = (),
    slow: bool = False,
    benchmarks: Sequence[str | Path] = (),
    pictures: str | Path | None = None,
    max_length: int | None = None,
    tokenizer: str | Path | None = None,
    model: str | Path | None = None,
    model_rows: int = MODEL_ROWS,
    what_if: bool | str | Path = False,
    limits: ReadLimits = _DEFAULT_LIMITS,
    progress: Progress | None = None,
) -> Audit:
    """Audits the dataset at `path`, in any format that `convert` reads.

    `only` and `skip` name checks or families; `slow` runs those that need a model; `benchmarks` are files and folders
    of evaluation sets that no row should hold; every picture is opened that a row names below the folder `pictures`,
    or holds (where that is the folder of the data, what lies beside a file is meant by it). `max_length` is what the
    trainer reads of a row, in tokens of `tokenizer` (a name, a folder or a hub id; estimated without it); `model` is a
    small language model, named alike, that reads `model_rows` rows. `what_if` tries filters and groupings: true for all
    of the catalogue with their defaults, or the path of a recipe for its own. Raises RecipeError where the file can be
    read in several ways, InputError where it cannot be read at all.
    Example: `prefdata.audit("pairs.jsonl").findings[0]`.
    """

    def opening() -> Opened:
        return open_dataset(
            path, source=source, type=type, labels=labels, columns=columns, pictures=pictures, limits=limits
        )

    options = {
        "benchmarks": tuple(benchmarks),
        "pictures": pictures,
        "folders": (*(() if pictures is None else (Path(pictures),)), *_folders(path)),
        "max_length": max_length,
        "tokenizer": tokenizer,
        "model": model,
        "model_rows": model_rows,
    }
    tried = _trial(what_if) if what_if else None
    found = examined(opening, chosen(only, skip, slow=slow), options, progress=progress)
    return found.audit if tried is None else found.audit._replace(what_if=tried(found.data, progress))


def _trial(wanted: bool | str | Path) -> Callable[[Audited, Progress | None], WhatIf]:
    from prefdata.trying import trial

    return trial(wanted)


class Examined(NamedTuple):
    """An audit, and the dataset as its checks saw it."""

    audit: Audit
    data: Audited


def examined(
    opening: Callable[[], Opened],
    wanted: Sequence[Check],
    options: Mapping[str, Any] | None = None,
    *,
    progress: Progress | None = None,
) -> Examined:
    """Runs the checks `wanted` on a dataset that `opening` opens anew each time it is called."""
    started = time.monotonic()
    opened = opening()
    reading, name = opened.reading, opened.name
    speaking = [check.prepared(options or {}) for check in wanted if reading.type in check.types]
    checks = [check for check in speaking if check is not None]
    data = read(opening, checks, progress=progress)
    raw = _found(data, checks, progress) if data.total else []
    findings = [*_unread(data), *_told(data, raw)]
    findings.sort(key=lambda one: (one.severity.rank, -one.share))
    told = Audit(
        name=name,
        format=reading.format.name,
        type=reading.type,
        reasons=tuple(reading.reasons),
        read=data.read,
        rows=data.total,
        findings=tuple(findings),
        checks=tuple(checks),
        seconds=round(time.monotonic() - started, 3),
        refused={reason: len(places) for reason, places in sorted(data.refused.items())},
    )
    return Examined(told, data)


def _found(data: Audited, checks: Sequence[Check], progress: Progress | None) -> list[tuple[Check, Found, int]]:
    """What the checks see, in their order, of those that see something."""
    near = [check for check in checks if check.near]
    # the long ones first; the near ones wait for what the first of them makes
    ordered = [*near[:1], *(check for check in reversed(checks) if not check.near), *near[1:]]
    found: dict[str, Found] = {}
    results = in_order(lambda check: check.found(data), ordered, ahead=len(ordered), threads=AT_A_TIME)
    for check, seen in zip(ordered, results, strict=True):
        found[check.name] = seen
        if progress is not None:
            progress(check.name, data.total)
    return [(check, found[check.name], data.total) for check in checks if found[check.name]]


def _folders(path: str | Path | Sequence[str | Path]) -> tuple[Path, ...]:
    """Where paths of pictures may start: the folder that the data is seen from, and the present one."""
    return tuple(dict.fromkeys([root_of(path), Path()]))


def _unread(data: Audited) -> list[Finding]:
    """Records that are no rows, a finding a reason."""
    found = []
    for reason, places in sorted(data.refused.items()):
        shown = tuple(f"{file}:{line}" if line else file for file, line in places[:PLACES_SHOWN])
        found.append(
            Finding(
                check=reason,
                family="reading",
                severity=unread.levels(reason).of(len(places), data.read),
                count=len(places),
                total=data.read,
                measures={},
                rows=Found().rows,
                places=shown,
                keys=shown,
                examples=tuple(Example(one, {}, "") for one in shown[:EXAMPLES]),
            )
        )
    return found


def sentence(reason: str) -> str:
    """What a reason of a finding of the family `reading` means."""
    from prefdata.conversion.reasons import sentence as told

    return rules.REASONS.get(reason) or told(reason)


def _told(data: Audited, raw: list[tuple[Check, Found, int]]) -> list[Finding]:
    """Findings with places, keys and examples. The files are read once more for examples that are not in the sample."""
    spread = [_spread(found.rows, data.sample["row"]).to_list() for _, found, _ in raw]
    shown = {row for rows in spread for row in rows}
    texts = {row["row"]: row for row in data.chosen_of(sorted(shown)).iter_rows(named=True)}
    findings = []
    for (check, found, total), rows in zip(raw, spread, strict=True):
        places = data.rows.select("row", "_file", "_line", "part")[found.rows.head(PLACES_SHOWN)]
        examples = [
            Example(
                place(texts[row]),
                {side: texts[row][f"{side}_text"][:EXCERPT] for side in data.sides},
                _beside(data, found.beside.get(row)),
                chars={side: texts[row][f"{side}_chars"] for side in data.sides},
                label=texts[row].get("label"),
                margin=texts[row].get("margin"),
            )
            for row in rows
            if row in texts
        ]
        findings.append(
            Finding(
                check=check.name,
                family=check.family,
                severity=found.severity or check.levels.of(len(found.rows), total),
                count=len(found.rows),
                total=total,
                measures=found.measures,
                rows=found.rows,
                places=tuple(place(row) for row in places.iter_rows(named=True)),
                keys=_keys(data, found.rows.head(KEYS_KEPT)),
                examples=tuple(examples),
            )
        )
    return findings


def _spread(rows: pl.Series, sample: pl.Series) -> pl.Series:
    """A few of the rows: first, middle, last; of those in the sample, where it has enough of them."""
    if len(rows) <= EXAMPLES:
        return rows
    held = rows.filter(rows.is_in(sample.implode()))
    rows = held if len(held) >= EXAMPLES else rows
    return rows[[0, len(rows) // 2, len(rows) - 1]]


def _beside(data: Audited, told: Any) -> str:
    """A row number becomes its place; anything else is shown as it is."""
    if isinstance(told, int) and not isinstance(told, bool) and told < data.total:
        return place(data.rows.select("_file", "_line", "part").row(told, named=True))
    return "" if told is None else str(told)


def _keys(data: Audited, rows: pl.Series) -> tuple[str, ...]:
    """Hashes of the content of rows, the same in every audit of the same rows."""
    return tuple(f"{key:016x}" for key in data.rows["key"].gather(rows).to_list())
