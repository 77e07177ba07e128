"""What all tests share: the real data, a run of the sample, one hypothesis profile, and the order of the files."""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# a run on a busy machine is no reason to fail; the examples are the same ones in every run
settings.register_profile(
    "prefdata", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("prefdata")

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """`shared_data("uss/SGD.txt")`: a file or folder of the real data; the test is skipped where it is absent."""

    def find(name: str) -> Path:
        path = SHARED / name
        if not path.exists():
            pytest.skip(f"real data ../shared/data/{name} is not beside this checkout")
        return path

    return find


@pytest.fixture(scope="session")
def sample_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `prefdata build recipes/support_kto.yaml` writes, in `run`, and prints, in `printed`.

    It is made once for all processes that run tests. No test may change it.
    """
    base = tmp_path_factory.getbasetemp()
    made = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "sample_run"
    if not made.exists():
        own = tmp_path_factory.mktemp("own_sample_run")
        command = [sys.executable, "-m", "prefdata.cli", "build", "recipes/support_kto.yaml", "--out", str(own / "run")]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
        assert done.returncode == 0, done.stderr
        (own / "printed").write_text(done.stdout + done.stderr, encoding="utf-8")
        with contextlib.suppress(OSError):  # another process was quicker
            own.rename(made)
    return made


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the small log, its recipe, and what it makes of the log in `run`. Tests that change it copy it."""
    import prefdata

    spec = importlib.util.spec_from_file_location("small_log", Path(__file__).with_name("small_log.py"))
    assert spec is not None
    assert spec.loader is not None
    small_log: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(small_log)
    folder = tmp_path_factory.mktemp("small_run")
    small_log.write_log(folder)
    prefdata.run(small_log.write_recipe(folder), out=folder / "run", train=False)
    return folder


def pytest_make_parametrize_id(val: object) -> str | None:
    """Bytes are named by their kind alone: packed ones hold the time, so that a name made of them would differ
    between the processes that run the tests in parallel, which then refuse to start."""
    return "bytes" if isinstance(val, bytes) else None


FIRST = (
    "test_canaries.py",
    "trainers/test_killed_runs.py",
    "test_runner.py",
    "trainers/test_several_processes.py",
    "reporting/test_diff_reports.py",
    "test_docs_audit.py",
    "test_real_logs.py",
    "test_io_full_disk.py",
    "recipes/test_image_text_recipe.py",
    "test_erase.py",
    "test_dataset_sources.py",
    "trainers/test_chain.py",
    "trainers/memory/test_rehearsal.py",
    "auditing/test_what_if.py",
    "test_docs.py",
)
"""Files of few tests that take long: begun last, one of them would keep one process busy while the other has ended."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files whose tests take long come first, then all others, those of many tests before those of few."""
    here = Path(__file__).parent
    sizes = Counter(item.path for item in items)
    places = {here / name: at for at, name in enumerate(FIRST)}
    items.sort(key=lambda item: (places.get(item.path, len(places)), -sizes[item.path], item.path))


def pytest_collection_finish() -> None:
    """What was loaded so far stays: no garbage collection of a test walks over it again."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    gc.unfreeze()
