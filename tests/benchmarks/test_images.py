"""What the benchmark of pictures a second counts as work done."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from types import ModuleType

import pytest

FILE = Path(__file__).resolve().parents[2] / "benchmarks" / "images.py"


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("images_benchmark", FILE)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def test_duplicates_are_found_within_the_time_that_is_told(benchmark: ModuleType, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image", reason="needs the extra `images`")
    files = tmp_path / "files"
    files.mkdir()
    # one hash, two colours
    for name, colour in (("a.png", (200, 0, 0)), ("b.png", (0, 0, 200)), ("c.png", (200, 0, 0))):
        image.new("RGB", (32, 32), colour).save(files / name)
    job = {"folder": str(files), "run": str(tmp_path / "run"), "names": ["a.png", "b.png", "c.png"]}
    for store in ("encode", "none"):
        told = benchmark.ours({**job, "texts": ["", "", ""], "store": store, "model": None})
        assert told["distinct"] == 2
        assert 0 < told["gate"] < told["seconds"]
        assert 0 < told["duplicates"] < told["seconds"]
        assert told["peak"] > benchmark.most_resident(os.getpid())


def test_both_sides_are_kept_to_the_same_cores(benchmark: ModuleType) -> None:
    before = os.sched_getaffinity(0)
    try:
        assert benchmark.keep_to(1) == [min(before)]
        assert os.sched_getaffinity(0) == {min(before)}
    finally:
        os.sched_setaffinity(0, before)


def test_the_memory_of_runs_is_told_by_number_of_pictures(
    benchmark: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("PIL.Image", reason="needs the extra `images`")
    monkeypatch.syspath_prepend(str(FILE.parent))
    monkeypatch.setattr("sys.argv", ["images.py", "--run", "3", "--work", str(tmp_path)])
    benchmark.main()
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| 3 |")]
    seconds, *peaks = (float(one) for one in line.strip("| ").split(" | ")[1:])
    assert seconds > 0
    assert 0 < peaks[0] <= peaks[1] <= peaks[2] <= peaks[3]
    assert len(list((tmp_path / "runs/drawn").rglob("*.png"))) == 3
