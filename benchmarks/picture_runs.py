"""Memory of whole runs over pictures that all differ, a fresh process each: `images.py --run 1000,10000`.

Every row has a PNG of its own (64 x 64, drawn here) and a caption. The run reads them through the gate, judges them by
`image_quality`, looks for `picture_duplicates`, splits, and writes its report. Memory is what the run's own process had
at most (VmHWM), its decoding workers apart; a line a number of pictures, and what each picture more costs.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

STEPS = ("read", "score", "group", "report")
"""Steps of a run after which its peak is told."""

RECIPE = """\
sources:
  - {name: drawn, path: rows.jsonl, format: captions}
filters: [image_quality]
groupings: [{picture_duplicates: {answers: any}}]
pictures: {workers: 2}
"""


def draw(folder: Path, count: int) -> None:
    """`count` pictures of 2 x 2 colours with 8 x 8 shades in them, no two alike, and a row for each; those that are
    there are kept."""
    from PIL import Image

    for at in range(count):
        file = folder / name(at)
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            dice = np.random.default_rng(at)
            colours, shades = dice.integers(20, 236, (2, 2, 3)), dice.integers(-20, 20, (8, 8, 1))
            fields = (colours.repeat(4, axis=0).repeat(4, axis=1) + shades).astype(np.uint8)
            Image.fromarray(fields.repeat(8, axis=0).repeat(8, axis=1)).save(file, compress_level=1)
    rows = ({"image": name(at), "caption": f"a quilt of sixty-four fields, number {at}"} for at in range(count))
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (folder / "recipe.yaml").write_text(RECIPE, encoding="utf-8")


def name(at: int) -> str:
    """The file of a picture, in folders of a thousand."""
    return f"drawn/{at // 1000:03d}/{at:06d}.png"


def measured(count: int, work: Path) -> dict[str, Any]:
    """Peaks in bytes by step, `seconds`, `kept` rows and `stored` pictures of a run over `count` pictures."""
    folder = work / "runs"
    folder.mkdir(parents=True, exist_ok=True)
    draw(folder, count)
    done = subprocess.run(
        [sys.executable, __file__, str(folder)],
        stdout=subprocess.PIPE,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "2", "HF_HUB_OFFLINE": "1"},
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def table(counts: list[int], work: Path) -> None:
    """Prints a line a number of pictures, and what each picture more costs."""
    print("| different pictures | seconds | MiB after reading | scoring | grouping | the report |")
    print("|---:|---:|---:|---:|---:|---:|")
    peaks = []
    for count in counts:
        found = measured(count, work)
        assert (found["kept"], found["stored"]) == (count, count), found
        told = " | ".join(f"{found['peaks'][step] / 2**20:.0f}" for step in STEPS)
        print(f"| {count} | {found['seconds']:.1f} | {told} |", flush=True)
        peaks.append(found["peaks"][STEPS[-1]])
    for (few, low), (many, high) in zip(zip(counts, peaks, strict=True), list(zip(counts, peaks, strict=True))[1:]):
        print(f"{few} to {many} pictures: {(high - low) / (many - few):.0f} bytes of memory for each more")


def once(folder: Path) -> dict[str, Any]:
    """The run, in this process."""
    from images import most_resident

    import prefdata

    run = folder / "run"
    shutil.rmtree(run, ignore_errors=True)
    peaks: dict[str, int] = {}

    def progress(step: str, done: int, total: int) -> None:
        peaks[step.split()[0]] = most_resident(os.getpid())

    begun = time.perf_counter()
    result = prefdata.run(folder / "recipe.yaml", out=run, train=False, progress=progress)
    seconds = time.perf_counter() - begun
    peaks["report"] = most_resident(os.getpid())
    report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    return {"peaks": peaks, "seconds": seconds, "kept": result.kept, "stored": report["pictures"]["stored"]}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    print(json.dumps(once(parser.parse_args().folder)))
