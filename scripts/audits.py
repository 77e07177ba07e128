"""Audit the real sets: report.html, report.json and report.md of each, and a table of all.

    python scripts/audits.py ../shared/data --out runs/audits
    python scripts/audits.py ../shared/data --out runs/audits --only oasst --only davidson

The findings are told in docs/audits. SGD is a log: docs/audits/sgd_kto.yaml makes KTO rows of it first.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import prefdata
from prefdata import recipe
from prefdata.auditing.finding import Severity
from prefdata.auditor import Audit
from prefdata.io import write_atomic
from prefdata.reporting.audit.json import to_json
from prefdata.reporting.audit.markdown import to_markdown
from prefdata.reporting.audit.page import write_page

ROOT = Path(__file__).resolve().parents[1]
BENCHMARKS = ("ifeval/input_data.jsonl", "mtbench/question.jsonl", "truthfulqa/TruthfulQA.csv")


@dataclass(frozen=True, kw_only=True)
class Set:
    """A real set, and what has to be said of it."""

    file: str
    told: Mapping[str, Any] = field(default_factory=dict)
    recipe: str | None = None
    """Makes rows of a log; what it exports is audited."""


SETS: Mapping[str, Set] = {
    "hh_rlhf": Set(file="hh_rlhf/test.jsonl.gz"),
    "autoj": Set(file="autoj/testdata_pairwise.jsonl.gz", told={"benchmarks": BENCHMARKS}),
    "dpo_en": Set(file="llamafactory/dpo_en_demo.json"),
    "dpo_zh": Set(file="llamafactory/dpo_zh_demo.json"),
    "kto_en": Set(file="llamafactory/kto_en_demo.json"),
    "oasst": Set(file="oasst/en_100_tree.jsonl"),
    "davidson": Set(
        file="davidson/labeled_data.csv.gz",
        told={
            "columns": {"completion": "tweet", "label": "class"},
            "labels": {"2": True, "0": False, "1": False},
        },
    ),
    "sgd_kto": Set(file="uss/SGD.txt", recipe="docs/audits/sgd_kto.yaml"),
}


def audited(name: str, data: Path, out: Path) -> Audit:
    """The audit of one set, whose reports are written to `out`/`name`."""
    one = SETS[name]
    folder = out / name
    path = data / one.file
    if one.recipe is not None:
        path = made(ROOT / one.recipe, path, out / f"{name}_run")
    told = dict(one.told)
    if "benchmarks" in told:
        told["benchmarks"] = [data / file for file in told["benchmarks"]]
    result = prefdata.audit(path, **told)
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(to_json(result), ensure_ascii=False, indent=2, sort_keys=True)
    write_atomic(folder / "report.json", (text + "\n").encode())
    write_atomic(folder / "report.md", (to_markdown(result, new=None, lang="en") + "\n").encode())
    write_page(result, folder / "report.html", lang="en")
    return result


def made(recipe_file: Path, log: Path, run: Path) -> Path:
    """The rows that a recipe exports of `log`."""
    read = recipe.load(recipe_file)
    (source,) = read.sources
    read = dataclasses.replace(read, sources=(dataclasses.replace(source, path=(str(log.resolve()),)),))
    prefdata.run(read, out=run, train=False)
    return run / "exports" / "trl"


def line(name: str, result: Audit) -> str:
    """A row of the table: rows, and findings by severity."""
    counts = " | ".join(str(sum(one.severity is severity for one in result.findings)) for severity in Severity)
    return f"| {name} | {result.rows:,} {result.type} | {counts} | {result.seconds:.1f} |"


def main() -> None:
    """Audit them all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of the real sets")
    parser.add_argument("--out", type=Path, required=True, help="a folder for each set is made in it")
    parser.add_argument("--only", action="append", choices=sorted(SETS), help="one of the sets; may be given again")
    options = parser.parse_args()
    print(f"| set | rows | {' | '.join(Severity)} | seconds |")
    print("| --- | --- | --: | --: | --: | --: | --: |")
    for name in options.only or SETS:
        print(line(name, audited(name, options.data, options.out)), flush=True)


if __name__ == "__main__":
    main()
