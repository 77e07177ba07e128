"""Two datasets, or two runs, or one of each, side by side: rows, labels, findings, distributions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from prefdata.comparing.findings import Change, findings
from prefdata.comparing.labels import Labels, labels
from prefdata.comparing.rows import Pairing, Prompts, pairing, prompts
from prefdata.comparing.sides import Side, is_run, read_side
from prefdata.schema import RecordType

Progress = Callable[[str, int], None]


class Comparison(NamedTuple):
    """What two sides, A and B, have in common and what they do not."""

    a: Side
    b: Side
    rows: Pairing | None
    """None where the sides hold rows of different types, which are never the same row."""
    prompts: Prompts
    labels: Labels | None
    findings: tuple[Change, ...] | None
    """None where nobody asked for audits."""
    shapes: tuple[Any, ...]
    """`shapes.Shape`, the most different first."""
    runs: dict[str, Any] | None
    """What `prefdata.diff.diff` says of two runs."""


def compare(
    a: str | Path,
    b: str | Path,
    *,
    source: tuple[str, str] = ("auto", "auto"),
    type: tuple[RecordType | None, RecordType | None] = (None, None),
    labels_given: Mapping[str, bool] | None = None,
    audit: bool = True,
    only: Collection[str] = (),
    skip: Collection[str] = (),
    progress: Progress | None = None,
) -> Comparison:
    """Compares B with A; each is a run directory or a dataset in any format that `convert` reads.

    `source` and `type` are those of A and of B. `audit`: both are audited, by the checks that `only` and `skip` leave.
    Of rows no more than hashes and numbers is kept. Raises what reading and auditing raise.
    Example: `prefdata.compare("v1.jsonl", "v2.jsonl").rows.only_b`.
    """
    paths = Path(a), Path(b)
    runs = None
    if all(map(is_run, paths)):
        from prefdata.diff import diff

        runs = diff(*paths)
    one, other = (
        read_side(
            path,
            source=source[at],
            type=type[at],
            labels=labels_given,
            audit=audit,
            only=only,
            skip=skip,
            progress=progress,
        )
        for at, path in enumerate(paths)
    )
    from prefdata.comparing.shapes import shapes

    same_type = one.type == other.type
    rows = pairing(one.rows, other.rows, one.type) if same_type else None
    return Comparison(
        a=one,
        b=other,
        rows=rows,
        prompts=prompts(one.rows, other.rows),
        labels=labels(one.rows, other.rows, rows, one.type) if rows is not None else None,
        findings=findings(one, other, rows) if audit else None,
        shapes=shapes(one, other),
        runs=runs,
    )
