"""What all tests share: the real data beside the checkout, and one hypothesis profile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# a run on a busy machine is no reason to fail; the examples are the same ones in every run
settings.register_profile(
    "prefdata", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("prefdata")

SHARED = Path(__file__).resolve().parents[1].parent / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """`shared_data("uss/SGD.txt")`: a file or folder of the real data; the test is skipped where it is absent."""

    def find(name: str) -> Path:
        path = SHARED / name
        if not path.exists():
            pytest.skip(f"real data ../shared/data/{name} is not beside this checkout")
        return path

    return find


def pytest_make_parametrize_id(val: object) -> str | None:
    """Bytes are named by their kind alone: packed ones hold the time, so that a name made of them would differ
    between the processes that run the tests in parallel, which then refuse to start."""
    return "bytes" if isinstance(val, bytes) else None
