"""How well the checks of `prefdata audit` name rows with faults that were planted into clean real rows.

    python benchmarks/planted.py ../shared/data [--only equal_sides,...] [--seeds 3]

Clean are the sound pairs of hh_rlhf (see `convert.real_pairs`); for labelled rows each pair gives its chosen answer as
desirable or its rejected one as undesirable, in turn. Each fault is planted at 0.5 %, 2 % and 10 % of the rows, chosen
anew by every seed. Precision and recall are of the rows that the check names, against those that the fault should make
it name, over all seeds; rows that it names in the clean set too are counted apart, and told first with every finding
above note, so that they can be looked up. Where a check speaks of the set and not of rows, told is in how many of the
seeds it spoke.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from convert import real_pairs
from planted_faults import FAULTS, Fault, Row

from prefdata.auditing.finding import Finding, Severity
from prefdata.auditor import all_checks, audit

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


# ---------------------------------------------------------------- the faults


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


def written(rows: Iterable[dict[str, Any]], path: Path) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def findings(path: Path, *, unary: bool, only: str = "") -> dict[str, Finding]:
    """What an audit of the file says; of check `only` where it is one (a reason of the reader is always told)."""
    known = {check.name for check in all_checks()}
    chosen = [only] if only in known else ["equal_sides", "class_balance"] if only else []
    kind = "unpaired" if unary else "pairs"
    from prefdata.recognition import record_type

    return {one.check: one for one in audit(path, source="trl", type=record_type(kind), only=chosen).findings}


def lines(finding: Finding | None) -> set[int]:
    """Lines of the file that a finding names."""
    return {int(place.rpartition(":")[2].partition("#")[0]) for place in finding.places} if finding else set()


def planted(fault: Fault, share: float, seeds: int, rows: list[dict[str, Any]], before: set[int], path: Path) -> Score:
    """What the check makes of rows with the fault."""
    score = Score()
    for seed in range(seeds):
        rng = random.Random(f"{fault.name} {share} {seed}")
        all_rows = [Row(json.loads(json.dumps(row))) for row in rows]
        known = {id(row) for at, row in enumerate(all_rows) if at + 1 in before}
        sound = [row for row in all_rows if id(row) not in known]
        chosen = rng.sample(sound, max(2, round(share * len(all_rows))))
        all_rows += fault.plant(all_rows, chosen, rng)  # at the end: of two equal rows the later is the one named
        found = findings(written((row.data for row in all_rows), path), unary=fault.unary, only=fault.finding)
        finding = found.get(fault.finding)
        named = lines(finding)
        wanted = {at + 1 for at, row in enumerate(all_rows) if row.named}
        ignored = {at + 1 for at, row in enumerate(all_rows) if id(row) in known and not row.named}
        score.right += len(named & wanted)
        score.wrong += len(named - wanted - ignored)
        score.missed += len(wanted - named)
        score.spoke += finding is not None and finding.severity is not Severity.NOTE
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
        path = Path(name) / "rows.jsonl"
        rows = {unary: clean(given.data, unary=unary) for unary in (False, True)}
        before: dict[bool, dict[str, Finding]] = {}
        for unary in (False, True):
            before[unary] = findings(written(rows[unary], path), unary=unary)
            print(f"\nclean {'labelled rows' if unary else 'pairs'}: {len(rows[unary]):,}")
            for finding in before[unary].values():
                told = ", ".join(finding.places[:8])
                print(f"  {finding.severity.value:9} {finding.check:28} {finding.count:6,} {told}")
        print("\n| fault | finding | share | severity | precision | recall | |\n|---|---|---|---|---|---|---|")
        for fault in FAULTS:
            if only and fault.finding not in only:
                continue
            for share in SHARES:
                known = lines(before[fault.unary].get(fault.finding))
                score = planted(fault, share, given.seeds, rows[fault.unary], known, path)
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
