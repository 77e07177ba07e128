"""`prefdata convert` beside `datasets`: load, map, write of the same rows, one process each, in turn.

    python benchmarks/convert.py ../shared/data [--rows 1000000] [--threads 2] [--only jsonl|parquet]
        [--rounds 1] [--datasets map,batched,streaming | none]

The rows are the pairs of hh_rlhf in TRL's conversational form, repeated with a number set before each prompt, so that
no two are equal. Both sides write ShareGPT pairs. Timed is a process from its start to its end, reading and writing
included, imports too; memory is the largest resident size of that process (GNU `maxrss`, of the child alone).

datasets runs in one process with its cache in an empty folder, in three ways (`--datasets`): `map`, row by row, as
its documentation begins; `batched`, the same over 1,000 rows at a time; and `streaming`, batched too, which skips its
Arrow cache. It checks nothing; prefdata also parses strictly, applies the target's acceptance rules, and accounts for
every row. The outputs are compared row by row.

Both sides run from compiled bytecode, which a run over a few rows makes before.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

NAMES = {"system": "system", "user": "human", "assistant": "gpt"}
BATCH = 1_000


class Cost(NamedTuple):
    seconds: float
    cpu_seconds: float
    peak_mib: float


def turns(transcript: str) -> list[dict[str, str]]:
    """The turns of an hh-rlhf transcript."""
    found: list[dict[str, str]] = []
    for part in transcript.split("\n\n"):
        for name, role in (("Human: ", "user"), ("Assistant: ", "assistant")):
            if part.startswith(name):
                found.append({"role": role, "content": part.removeprefix(name)})
                break
        else:
            if found:
                found[-1]["content"] += "\n\n" + part
    return found


def real_pairs(data: Path) -> list[dict[str, Any]]:
    """The sound pairs of hh_rlhf: one prompt that ends with the customer, two different answers that are not empty."""
    found = []
    with gzip.open(data / "hh_rlhf" / "test.jsonl.gz", "rt", encoding="utf-8") as stream:
        for line in stream:
            row = json.loads(line)
            chosen, rejected = turns(row["chosen"]), turns(row["rejected"])
            prompt = chosen[:-1]
            if (
                prompt
                and prompt == rejected[:-1]
                and prompt[-1]["role"] == "user"
                and chosen[-1] != rejected[-1]
                and all(one["content"].strip() for one in chosen + rejected)
                and chosen[-1]["role"] == rejected[-1]["role"] == "assistant"
            ):
                found.append({"prompt": prompt, "chosen": chosen[-1:], "rejected": rejected[-1:]})
    return found


def make(data: Path, rows: int, folder: Path) -> dict[str, Path]:
    """The same rows as JSONL and as Parquet."""
    import polars as pl

    pairs = real_pairs(data)
    paths = {kind: folder / f"pairs.{kind}" for kind in ("jsonl", "parquet")}
    schema = pl.Schema(
        dict.fromkeys(("prompt", "chosen", "rejected"), pl.List(pl.Struct({"role": pl.String, "content": pl.String})))
    )
    with paths["jsonl"].open("w", encoding="utf-8") as stream:
        for at in range(rows):
            row = pairs[at % len(pairs)]
            first = {**row["prompt"][0], "content": f"({at}) {row['prompt'][0]['content']}"}
            stream.write(json.dumps({**row, "prompt": [first, *row["prompt"][1:]]}, ensure_ascii=False) + "\n")
    pl.scan_ndjson(paths["jsonl"], schema=schema).sink_parquet(
        paths["parquet"], compression="snappy", row_group_size=50_000
    )
    return paths


# ---------------------------------------------------------------- the sides, each in a process of its own


def with_prefdata(source: Path, out: Path) -> None:
    from prefdata.conversion import convert

    convert(source, to="sharegpt", out=out)


def with_datasets(source: Path, out: Path, cache: Path, *, way: str) -> None:
    from datasets import disable_progress_bars, load_dataset

    disable_progress_bars()

    def renamed(message: dict[str, str]) -> dict[str, str]:
        return {"from": NAMES[message["role"]], "value": message["content"]}

    def converted(row: dict[str, Any]) -> dict[str, Any]:
        return {
            "conversations": [renamed(one) for one in row["prompt"]],
            "chosen": renamed(row["chosen"][0]),
            "rejected": renamed(row["rejected"][0]),
        }

    def all_converted(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        return {
            "conversations": [[renamed(one) for one in prompt] for prompt in batch["prompt"]],
            "chosen": [renamed(side[0]) for side in batch["chosen"]],
            "rejected": [renamed(side[0]) for side in batch["rejected"]],
        }

    kind = "json" if source.suffix == ".jsonl" else "parquet"
    loaded = load_dataset(
        kind, data_files=str(source), split="train", cache_dir=str(cache), streaming=way == "streaming"
    )
    dropped = ["prompt", "chosen", "rejected"]
    if way == "map":
        made = loaded.map(converted, remove_columns=dropped)
    else:
        made = loaded.map(all_converted, batched=True, batch_size=BATCH, remove_columns=dropped)
    if kind == "json":
        made.to_json(str(out), lines=True, force_ascii=False, batch_size=10 * BATCH)
    else:
        made.to_parquet(str(out))


def measured(arguments: list[str], threads: int, folder: Path) -> Cost:
    """What one child process costs."""
    environment = {
        **os.environ,
        "POLARS_MAX_THREADS": str(threads),
        "OMP_NUM_THREADS": str(threads),
        "HF_HOME": str(folder / "hf"),
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "PYTHONPYCACHEPREFIX": str(folder / "bytecode"),
    }
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, __file__, *arguments], env=environment)
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if os.waitstatus_to_exitcode(status) != 0:
        raise SystemExit(f"{arguments[0]} failed")
    return Cost(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def same_rows(left: Path, right: Path) -> bool:
    """Whether both files hold the same rows, in order."""
    import polars as pl

    if left.suffix == ".jsonl":
        with left.open(encoding="utf-8") as one, right.open(encoding="utf-8") as other:
            return all(json.loads(a) == json.loads(b) for a, b in zip(one, other, strict=True))
    columns = ["conversations", "chosen", "rejected"]
    for a, b in zip(
        pl.scan_parquet(left).select(columns).collect_batches(chunk_size=50_000),
        pl.scan_parquet(right).select(columns).collect_batches(chunk_size=50_000),
        strict=True,
    ):
        if not a.equals(b):
            return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", choices=("jsonl", "parquet"))
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--datasets", default="map,batched", help="a list of map, batched, streaming; or none")
    given = parser.parse_args()
    ways = [] if given.datasets == "none" else given.datasets.split(",")
    if not set(ways) <= {"map", "batched", "streaming"}:
        parser.error(f"--datasets {given.datasets}: a list of map, batched, streaming; or none")
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {given.threads} threads a side"
    )
    with tempfile.TemporaryDirectory(prefix="prefdata-convert-") as name:
        folder = Path(name)
        # in a process of its own: what this one holds would count in the memory of its children
        for part, rows in (("few", 100), ("all", given.rows)):
            (folder / part).mkdir()
            subprocess.run([sys.executable, __file__, "--make", given.data, str(rows), folder / part], check=True)
        for kind in ("jsonl", "parquet"):
            if given.only not in (None, kind):
                continue
            source = folder / "all" / f"pairs.{kind}"
            print(f"{kind} -> {kind}: {given.rows:,} pairs, {source.stat().st_size / 2**20:,.0f} MiB", flush=True)
            sides = ["prefdata", *ways]
            for side in sides:
                converted_by(side, folder / "few" / f"pairs.{kind}", folder, given.threads)
            best: dict[str, Cost] = {}
            for number in range(given.rounds):
                for side in sides if number % 2 == 0 else reversed(sides):
                    cost = converted_by(side, source, folder, given.threads)
                    best[side] = min(cost, best.get(side, cost))
                    told = f"{cost.seconds:8.1f} s {cost.cpu_seconds:8.1f} s CPU {cost.peak_mib:8.0f} MiB"
                    print(f"  {side if side == 'prefdata' else f'datasets, {side}':20} {told}", flush=True)
            for way in ways:
                ours, theirs = best["prefdata"], best[way]
                outputs = [str(folder / f"{side}.{kind}") for side in ("prefdata", way)]
                same = subprocess.run([sys.executable, __file__, "--same", *outputs], check=False).returncode == 0
                ratio, cpu = theirs.seconds / ours.seconds, theirs.cpu_seconds / ours.cpu_seconds
                rows_told = "same rows" if same else "ROWS DIFFER"
                print(f"  {ratio:.1f} times as fast as {way} (CPU {cpu:.1f}); {rows_told}", flush=True)


def converted_by(side: str, source: Path, folder: Path, threads: int) -> Cost:
    """What it costs one side to convert `source` to `<side>.<kind>` in `folder`."""
    out = folder / f"{side}{source.suffix}"
    out.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as cache:
        name = "prefdata" if side == "prefdata" else "datasets"
        return measured([f"--{name}", str(source), str(out), cache, side], threads, folder)


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1] == "--make":
        make(Path(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
    elif len(sys.argv) > 1 and sys.argv[1] == "--same":
        raise SystemExit(not same_rows(Path(sys.argv[2]), Path(sys.argv[3])))
    elif len(sys.argv) > 1 and sys.argv[1] == "--prefdata":
        with_prefdata(Path(sys.argv[2]), Path(sys.argv[3]))
    elif len(sys.argv) > 1 and sys.argv[1] == "--datasets" and len(sys.argv) == 6:
        with_datasets(Path(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4]), way=sys.argv[5])
    else:
        main()
