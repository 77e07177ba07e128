"""SIGKILL at random moments of the data part of a run: every rerun ends in the same rows and the same report."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest

ROOT = Path(__file__).resolve().parents[1]
RECIPE = ROOT / "recipes/support_kto.yaml"
KILLS = 30

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


def command(recipe: Path, out: Path, *, threads: int = 1) -> list[str]:
    arguments = ["build", str(recipe), "--out", str(out), "--threads", str(threads), "--quiet"]
    return [sys.executable, "-m", "prefdata.cli", *arguments]


def outcome(path: Path) -> dict[str, Any]:
    """Kept and dropped ids, reasons, labels, and report.json without the shard size that its recipe names."""
    columns = ("id", "label", "label_confidence", "label_sources")
    kept = pl.concat([pl.read_parquet(file) for file in sorted((path / "kept").glob("*.parquet"))]).sort("id")
    dropped = pl.concat([pl.read_parquet(file) for file in sorted((path / "dropped").glob("*.parquet"))]).sort("id")
    report = json.loads((path / "report.json").read_text(encoding="utf-8"))
    report["recipe"].pop("shard_rows")
    return {
        "kept": kept.select(*columns, "split", "group").rows(),
        "dropped": dropped.select(*columns, "reasons", "unjudged", "survivor").rows(),
        "report": report,
        "exports": {file.name: file.read_bytes() for file in sorted((path / "exports/trl").iterdir())},
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], float]:
    """An unbroken run and the seconds it took."""
    path = tmp_path_factory.mktemp("whole") / "run"
    started = time.monotonic()
    subprocess.run(command(RECIPE, path), check=True, cwd=ROOT, capture_output=True)
    return outcome(path), time.monotonic() - started


@pytest.mark.parametrize("number", range(KILLS))
def test_a_killed_run_goes_on_and_ends_the_same(
    number: int, whole: tuple[dict[str, Any], float], tmp_path: Path
) -> None:
    expected, seconds = whole
    started = subprocess.Popen(command(RECIPE, tmp_path / "run"), cwd=ROOT, stdout=subprocess.DEVNULL)
    time.sleep(random.Random(number).uniform(0.1, 1.0) * seconds)
    os.kill(started.pid, signal.SIGKILL)
    started.wait()
    subprocess.run(command(RECIPE, tmp_path / "run"), check=True, cwd=ROOT, capture_output=True)
    assert outcome(tmp_path / "run") == expected


@pytest.mark.parametrize(("threads", "shard_rows"), [(1, 500), (2, 500), (1, 50_000), (2, 50_000)])
def test_threads_and_shards_change_nothing(
    threads: int, shard_rows: int, whole: tuple[dict[str, Any], float], tmp_path: Path
) -> None:
    text = RECIPE.read_text(encoding="utf-8").replace("path: data/", f"path: {RECIPE.parent}/data/")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(text + f"\nshard_rows: {shard_rows}\n", encoding="utf-8")
    subprocess.run(command(recipe, tmp_path / "run", threads=threads), check=True, cwd=tmp_path, capture_output=True)
    found, expected = outcome(tmp_path / "run"), whole[0]
    # the recipe stands in another folder here, so its paths read otherwise; everything else is the same
    for one in (found, expected):
        for source in one["report"]["recipe"]["sources"]:
            source["path"] = [Path(path).name for path in source["path"]]
        one["exports"]["README.md"] = one["exports"]["README.md"].replace(b"| data/", b"| ")
    assert found == expected
