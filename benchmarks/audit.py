"""What `prefdata audit` costs: seconds, CPU seconds and memory at 100,000 and 1,000,000 pairs of 1 KB a side.

    python benchmarks/audit.py ../shared/data [--rows 100000] [--threads 2] [--only jsonl|parquet] [--rounds 1]
        [--checks]

The rows are pairs in TRL's form, with as many turns as those of hh_rlhf, made of its sentences drawn by chance: about 1
KB an answer, and no two rows nearly equal. Timed is a process from its start to its end, imports and
the reading of the examples included; memory is the largest resident size of that process (GNU `maxrss`). Before it a
small one runs, after which modules are compiled, as those of an installed package are.

`--checks`: no process of its own, but the CPU time of reading, features, and of every check, in us a row. Checks run
beside each other, so that one's line may hold what another did meanwhile.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

SIDE_BYTES = 1_000
SECONDS = 20.0
MIB = 1_536.0


class Speaker:
    """Texts of sentences drawn by chance."""

    def __init__(self, pool: list[str], seed: int) -> None:
        import numpy as np

        self._pool = pool
        self._sizes = np.array([len(one.encode()) + 1 for one in pool])
        self._rng = np.random.default_rng(seed)
        self._drawn: list[int] = []
        self._at = 0

    def says(self, size: int) -> str:
        """A text of at least `size` bytes."""
        import numpy as np

        if self._at + 4_096 > len(self._drawn):  # more sentences than any text has
            drawn = self._rng.integers(0, len(self._pool), 1 << 20)
            self._drawn, self._at = drawn.tolist(), 0
            self._until = np.cumsum(self._sizes[drawn])
        before = int(self._until[self._at - 1]) if self._at else 0
        end = int(self._until.searchsorted(before + size)) + 1
        text = " ".join([self._pool[one] for one in self._drawn[self._at : end]])
        self._at = end
        return text


def make(data: Path, rows: int, folder: Path, kinds: str) -> None:
    """Rows as JSONL and, where `kinds` says so, as Parquet."""
    import polars as pl
    from convert import real_pairs

    pairs = real_pairs(data)
    asked = Speaker(sentences(turn["content"] for row in pairs for turn in row["prompt"] if turn["role"] == "user"), 11)
    told = Speaker(sentences(row[side][0]["content"] for row in pairs for side in ("chosen", "rejected")), 12)

    def turn(role: str, speaker: Speaker, size: int) -> dict[str, str]:
        return {"role": role, "content": speaker.says(size)}

    with (folder / "pairs.jsonl").open("w", encoding="utf-8") as stream:
        for at in range(rows):
            turns = len(pairs[at % len(pairs)]["prompt"])
            prompt = [
                turn("assistant", told, 200) if number % 2 else turn("user", asked, 100) for number in range(turns)
            ]
            made = {
                "prompt": prompt,
                "chosen": [turn("assistant", told, SIDE_BYTES)],
                "rejected": [turn("assistant", told, SIDE_BYTES)],
            }
            stream.write(json.dumps(made, ensure_ascii=False) + "\n")
    if "parquet" not in kinds:
        return
    schema = pl.Schema(
        dict.fromkeys(("prompt", "chosen", "rejected"), pl.List(pl.Struct({"role": pl.String, "content": pl.String})))
    )
    pl.scan_ndjson(folder / "pairs.jsonl", schema=schema).sink_parquet(
        folder / "pairs.parquet", compression="snappy", row_group_size=50_000
    )


def sentences(texts: Iterable[str]) -> list[str]:
    """The sentences of texts, each once, sorted."""
    return sorted({part.strip() for text in texts for part in re.split(r"(?<=[.!?])\s+", text) if part.strip()})


def measured(source: Path, threads: int) -> tuple[float, float, float]:
    """Seconds, CPU seconds and MiB of an audit in a process of its own. It finds compiled modules, as installed ones
    are: the first audit of all writes them beside the data."""
    environment = {**os.environ, "POLARS_MAX_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    environment["PYTHONPYCACHEPREFIX"] = str(source.parent / "compiled")
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "prefdata.cli", "audit", str(source), "--quiet"], env=environment, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    told = process.stdout.read().decode()
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    print(f"    {told.strip().splitlines()[0]}; {told.strip().splitlines()[-1].strip()}", flush=True)
    if os.waitstatus_to_exitcode(status) != 0:
        raise SystemExit("the audit failed")
    return seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def by_check(source: Path) -> None:
    """CPU time of the parts of an audit in this process, us a row."""
    from prefdata import auditor
    from prefdata.auditing import dataset, features
    from prefdata.auditing.check import Check

    spent: dict[str, float] = defaultdict(float)

    def timed(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*given: Any, **named: Any) -> Any:
            start = time.process_time()
            try:
                return call(*given, **named)
            finally:
                spent[name] += time.process_time() - start

        return run

    real = auditor.chosen

    def watched(check: Check) -> Check:
        found = timed(f"{check.name} (find)", check.find) if check.find else None
        collect = timed(f"{check.name} (collect)", check.collect) if check.collect else None
        return replace(check, find=found, collect=collect)

    auditor.chosen = lambda *given, **named: [watched(check) for check in real(*given, **named)]
    start = time.process_time()
    result = auditor.audit(source)
    whole = time.process_time() - start
    flagged = [check for check in result.checks if check.flag]
    chunks: list[Any] = []
    opened = auditor.open_dataset(source)
    start = time.process_time()
    for rows in dataset._chunks(opened, dataset._Account()):
        chunks.append(features.features(features.texts(rows, result.type), result.type))
        if sum(part.height for part in chunks) >= 20_000:
            break
    held = sum(part.height for part in chunks)
    print(f"  reading and features {1e6 * (time.process_time() - start) / held:8.1f} us a row")
    for check in flagged:
        start = time.process_time()
        for chunk in chunks:
            chunk.select(check.flag(result.type))  # type: ignore[misc]
        spent[f"{check.name} (flag)"] = (time.process_time() - start) * result.rows / held
    print(f"  whole                {1e6 * whole / result.rows:8.1f} us a row")
    for name, seconds in sorted(spent.items(), key=lambda item: -item[1]):
        print(f"  {name:34} {1e6 * seconds / result.rows:8.2f}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", choices=("jsonl", "parquet"))
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--checks", action="store_true", help="CPU time of every check")
    given = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {given.threads} threads")
    with tempfile.TemporaryDirectory(prefix="prefdata-audit-") as name:
        folder = Path(name)
        # in a process of its own: what this one holds would count in the memory of its children
        subprocess.run(
            [sys.executable, __file__, "--make", given.data, str(given.rows), folder, given.only or "jsonl parquet"],
            check=True,
        )
        for kind in ("jsonl", "parquet"):
            if given.only not in (None, kind):
                continue
            source = folder / f"pairs.{kind}"
            print(f"{kind}: {given.rows:,} pairs, {source.stat().st_size / 2**20:,.0f} MiB", flush=True)
            if given.checks:
                by_check(source)
                continue
            first = folder / "first.jsonl"
            with (folder / "pairs.jsonl").open(encoding="utf-8") as stream, first.open("w", encoding="utf-8") as some:
                some.writelines(itertools.islice(stream, 2_000))
            print("  first, to compile modules:", flush=True)
            measured(first, given.threads)
            for _ in range(given.rounds):
                seconds, cpu, peak = measured(source, given.threads)
                good = "" if given.rows > 100_000 or (seconds <= SECONDS and peak <= MIB) else "  OVER THE TARGET"
                print(f"  {seconds:8.1f} s {cpu:8.1f} s CPU {peak:8.0f} MiB{good}", flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1] == "--make":
        make(Path(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]), sys.argv[5])
    else:
        main()
