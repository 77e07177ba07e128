"""One gate for the tests of a file: its worker stays warm."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from prefdata.pictures import Address, Gate, GateSettings


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def gate(run_folder: Path) -> Iterator[Gate]:
    with Gate(
        GateSettings(workers=1, max_bytes=4 << 20, seconds=2, formats=(*GateSettings.formats, "TIFF")), store=run_folder
    ) as gate:
        yield gate


@pytest.fixture(scope="module")
def look(gate: Gate) -> Callable[[bytes], dict[str, Any]]:
    """What the gate says of one picture of these bytes."""
    return lambda data: gate.look([Address(Path(), data)]).row(0, named=True)
