"""A disk without room, acted by a limit on the size of files: exit code 7, nothing half-written, and a run goes on."""

from __future__ import annotations

import importlib.util
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from prefdata.engine import LocalEngine
from prefdata.errors import ResourceError
from prefdata.io import write_parquet

_spec = importlib.util.spec_from_file_location("small_log", Path(__file__).with_name("small_log.py"))
assert _spec is not None
assert _spec.loader is not None
small_log: Any = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(small_log)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="RLIMIT_FSIZE is of POSIX systems")

WIDE = pl.DataFrame({"id": [f"{number * 7919 % 100_003:06d}" for number in range(20_000)], "key": [1] * 20_000})


@pytest.fixture
def little_room() -> object:
    """No file grows beyond 8 KiB while the test runs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, hard))
    yield None
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_parquet_file_without_room_is_not_there(tmp_path: Path, little_room: object) -> None:
    write_parquet(tmp_path / "a.parquet", WIDE.head(5))
    with pytest.raises(ResourceError, match=r"a\.parquet: no room left on the disk; free some and run again"):
        write_parquet(tmp_path / "a.parquet", WIDE)
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]
    assert pl.read_parquet(tmp_path / "a.parquet").equals(WIDE.head(5))


def test_a_shuffle_without_room_says_so(little_room: object) -> None:
    with pytest.raises(ResourceError, match="no room left on the disk"):
        list(LocalEngine(rows_per_bucket=10).shuffle(iter([WIDE]), "key", lambda bucket: bucket))


def build(folder: Path, *, kib: int | None) -> subprocess.CompletedProcess[str]:
    limit = "" if kib is None else f"ulimit -f {kib}; "
    command = f'{limit}exec "$0" -m prefdata.cli build recipe.yaml --out run --quiet'
    return subprocess.run(
        ["bash", "-c", command, sys.executable], cwd=folder, capture_output=True, text=True, check=False
    )


def test_a_build_without_room_ends_with_exit_code_7_and_goes_on_with_room(tmp_path: Path) -> None:
    small_log.write_log(tmp_path)
    small_log.write_recipe(tmp_path)
    for kib in (0, 8, 24):
        ended = build(tmp_path, kib=kib)
        assert (ended.returncode, ended.stdout) == (7, ""), (kib, ended.stderr)
        assert "no room left on the disk" in ended.stderr or "File too large" in ended.stderr, kib
        assert [path.name for path in (tmp_path / "run").rglob("*") if ".tmp" in path.suffixes] == [], kib
        for path in (tmp_path / "run").rglob("*.parquet"):
            pl.read_parquet(path)
    assert build(tmp_path, kib=None).returncode == 0
