"""How well the checks of `prefdata audit` name rows with faults that were planted into clean real rows.

    python benchmarks/planted.py ../shared/data [--only equal_sides,...] [--seeds 3]

Clean are the sound pairs of hh_rlhf (see `convert.real_pairs`); for labelled rows each pair gives its chosen answer as
desirable or its rejected one as undesirable, in turn. Each fault is planted at 0.5 %, 2 % and 10 % of the rows, chosen
anew by every seed. Precision and recall are of the rows that the check names, against those that the fault should make
it name, over all seeds; rows that it names in the clean set too are counted apart, and told first with every finding
above note, so that they can be looked up. Where a check speaks of the set and not of rows, told is in how many of the
seeds it said what it does not say of the clean set, or said it as worse.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from convert import real_pairs
from planted_content import content_faults
from planted_faults import FAULTS, Fault, Row

from prefdata.auditing.finding import Finding, Severity
from prefdata.auditor import all_checks, audit
from prefdata.recognition import record_type

SHARES = (0.005, 0.02, 0.1)
EXACT = 0.95
"""What precision and recall of an exact check should reach."""


@dataclass
class Score:
    """Rows named, over several seeds."""

    right: int = 0
    wrong: int = 0
    missed: int = 0
    spoke: int = 0
    severities: list[str] = field(default_factory=list)

    @property
    def precision(self) -> float | None:
        named = self.right + self.wrong
        return self.right / named if named else None

    @property
    def recall(self) -> float | None:
        planted = self.right + self.missed
        return self.right / planted if planted else None


def clean(data: Path, *, unary: bool) -> list[dict[str, Any]]:
    """Sound real rows; pairs with a margin of 1 to 3, as ratings would give."""
    pairs = real_pairs(data)
    if not unary:
        return [{**row, "margin": float(1 + at % 3)} for at, row in enumerate(pairs)]
    rng = random.Random(7)
    labels = [rng.random() < 0.5 for _ in pairs]
    return [
        {"prompt": row["prompt"], "completion": row["chosen" if label else "rejected"], "label": label}
        for row, label in zip(pairs, labels, strict=True)
    ]


def written(rows: Iterable[Row], folder: Path) -> dict[str, Row]:
    """Writes the files of the rows; the rows by their places, `file:line`."""
    for old in folder.iterdir():
        old.unlink()
    files: dict[str, list[Row]] = {}
    for row in rows:
        files.setdefault(row.file, []).append(row)
    for name, held in files.items():
        text = "".join(json.dumps(row.data, ensure_ascii=False) + "\n" for row in held)
        (folder / name).write_text(text, encoding="utf-8")
    return {f"{name}:{at}": row for name, held in files.items() for at, row in enumerate(held, 1)}


def findings(folder: Path, *, unary: bool, only: str = "", benchmarks: Sequence[Path] = ()) -> dict[str, Finding]:
    """What an audit of the files says; of check `only` where it is one (a reason of the reader is always told)."""
    known = {check.name for check in all_checks()}
    chosen = [only] if only in known else ["equal_sides", "class_balance"] if only else []
    kind = record_type("unpaired" if unary else "pairs")
    found = audit(sorted(folder.iterdir()), source="trl", type=kind, only=chosen, benchmarks=benchmarks)
    return {one.check: one for one in found.findings}


def named_by(finding: Finding | None) -> set[str]:
    """Places of the rows that a finding names."""
    return {place.partition("#")[0] for place in finding.places} if finding else set()


def planted(
    fault: Fault, share: float, seeds: int, rows: list[dict[str, Any]], clean: Finding | None, folder: Path
) -> Score:
    """What the check makes of rows with the fault; `clean`: what it says without it."""
    score = Score()
    before = {int(place.rpartition(":")[2]) - 1 for place in named_by(clean)}
    worst = clean.severity.rank if clean else len(Severity)
    for seed in range(seeds):
        rng = random.Random(f"{fault.name} {share} {seed}")
        all_rows = [Row(json.loads(json.dumps(row))) for row in rows]
        known = {id(all_rows[at]) for at in before}
        sound = [row for row in all_rows if id(row) not in known and fault.where(row)]
        chosen = rng.sample(sound, min(len(sound), max(2, round(share * len(all_rows)))))
        all_rows += fault.plant(all_rows, chosen, rng)  # at the end: of two equal rows the later is the one named
        places = written(all_rows, folder)
        found = findings(folder, unary=fault.unary, only=fault.finding, benchmarks=fault.benchmarks)
        finding = found.get(fault.finding)
        named = named_by(finding)
        wanted = {place for place, row in places.items() if row.named}
        ignored = {place for place, row in places.items() if id(row) in known and not row.named}
        score.right += len(named & wanted)
        score.wrong += len(named - wanted - ignored)
        score.missed += len(wanted - named)
        score.spoke += finding is not None and finding.severity.rank < worst
        score.severities.append(finding.severity.value if finding else "-")
    return score


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", default="", help="findings, comma-separated")
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    only = set(given.only.split(",")) - {""}
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {given.seeds} seeds")
    with tempfile.TemporaryDirectory(prefix="prefdata-planted-") as name:
        folder = Path(name)
        rows = {unary: clean(given.data, unary=unary) for unary in (False, True)}
        before: dict[bool, dict[str, Finding]] = {}
        for unary in (False, True):
            written(map(Row, rows[unary]), folder)
            before[unary] = findings(folder, unary=unary)
            print(f"\nclean {'labelled rows' if unary else 'pairs'}: {len(rows[unary]):,}")
            for finding in before[unary].values():
                told = ", ".join(finding.places[:8])
                print(f"  {finding.severity.value:9} {finding.check:28} {finding.count:6,} {told}")
        print("\n| fault | finding | share | severity | precision | recall | |\n|---|---|---|---|---|---|---|")
        for fault in (*FAULTS, *content_faults(given.data)):
            if only and fault.finding not in only:
                continue
            for share in SHARES:
                known = before[fault.unary].get(fault.finding)
                score = planted(fault, share, given.seeds, rows[fault.unary], known, folder)
                print(_line(fault, share, score, given.seeds), flush=True)


def _line(fault: Fault, share: float, score: Score, seeds: int) -> str:
    severities = "/".join(sorted(set(score.severities)))
    if fault.of_the_set:
        figures, told = f"told in {score.spoke} of {seeds} | ", ""
    else:
        shown = ["-" if one is None else f"{one:.3f}" for one in (score.precision, score.recall)]
        figures = " | ".join(shown)
        good = all(one is not None and one >= EXACT for one in (score.precision, score.recall))
        silent = share < fault.told_from
        told = "silent by design" if silent else "" if good else "BELOW" if fault.exact else "statistical"
    return f"| {fault.name} | {fault.finding} | {share:.1%} | {severities} | {figures} | {told} |"


if __name__ == "__main__":
    main()
