"""How sure the benchmark of pictures and texts says that it is."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

FILE = Path(__file__).resolve().parents[2] / "benchmarks" / "image_text.py"


def test_copies_of_a_picture_are_no_further_pictures() -> None:
    pytest.importorskip("PIL", reason="needs the extra `images`")
    spec = importlib.util.spec_from_file_location("image_text", FILE)
    assert spec is not None
    assert spec.loader is not None
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    benchmark.BOOTSTRAP = 100
    generator = np.random.default_rng(3)
    true, false = generator.normal(1, 1, 40), generator.normal(0, 1, 40)
    names = [f"s{at}.png" for at in range(40)]
    alone = benchmark.bound(true, false, names)
    assert alone < benchmark.auc(true, false)
    copied = benchmark.bound(np.repeat(true, 5), np.repeat(false, 5), [name for name in names for _ in range(5)])
    assert copied == pytest.approx(alone, abs=1e-12)
