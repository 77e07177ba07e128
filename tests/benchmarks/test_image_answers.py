"""What the benchmark of answers about pictures tells of a model that does not look."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import polars as pl
import pytest

FILE = Path(__file__).resolve().parents[2] / "benchmarks" / "image_answers.py"
FACTS = {
    "a.png": {"colour": "red", "shape": "circle", "number": "two", "position": "left"},
    "b.png": {"colour": "blue", "shape": "circle", "number": "two", "position": "left"},
    "c.png": {"colour": "red", "shape": "square", "number": "two", "position": "left"},
}


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    pytest.importorskip("trl", reason="needs the extra `train`")
    pytest.importorskip("PIL", reason="needs the extra `images`")
    spec = importlib.util.spec_from_file_location("image_answers", FILE)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def rows(*given: tuple[str, str, bool]) -> pl.DataFrame:
    """Rows of picture, answer and label."""
    made: list[dict[str, Any]] = [
        {
            "id": f"r{at}",
            "prompt": [{"role": "user", "content": "What is it?"}],
            "completion": [{"role": "assistant", "content": said}],
            "images": [{"uri": uri, "side": "prompt", "message": 0, "part": 0}],
            "label": label,
        }
        for at, (uri, said, label) in enumerate(given)
    ]
    return pl.DataFrame(made)


def test_words_that_give_a_label_away_are_told_without_a_picture(benchmark: ModuleType) -> None:
    train = rows(*[("a.png", "a red circle", True), ("a.png", "an orange circle", False)] * 3)
    told = benchmark.blind(train, rows(("b.png", "a red square", True), ("b.png", "orange things", False)))
    assert benchmark.auc(np.array([True, False]), told) == 1.0
    even = rows(*[("a.png", "red", True), ("b.png", "red", False), ("a.png", "blue", False), ("b.png", "blue", True)])
    assert benchmark.blind(even, even).tolist() == [0.0] * 4
    assert benchmark.auc(even["label"].to_numpy(), benchmark.blind(even, even)) == 0.5


def test_a_true_answer_is_shown_with_a_picture_of_which_it_is_not_true(benchmark: ModuleType) -> None:
    given = rows(
        ("a.png", "It is red.", True),
        ("a.png", "two red circles", True),
        ("a.png", "two circles on the left", True),
        ("b.png", "It is red.", True),
        ("a.png", "It is red.", False),
        ("a.png", "Thank you!", True),
        ("x.png", "It is red.", True),
    )
    found = benchmark.elsewhere(given, FACTS)
    assert found["id"].to_list() == ["r0", "r1", "r2"]
    assert found["other"].to_list()[0] == "b.png"
    assert found["other"].to_list()[1] in ("b.png", "c.png")
    assert found["other"].to_list()[2] == "c.png"
    shown = benchmark.moved(found)
    assert [images[0]["uri"] for images in shown["images"].to_list()] == found["other"].to_list()
    assert shown["completion"].to_list() == found["completion"].to_list()


def test_intervals_draw_pictures_with_all_their_rows(benchmark: ModuleType) -> None:
    values = np.array([1.0, 1.0, 1.0, 0.0])
    assert benchmark.within(["a", "a", "a", "a"], lambda at: float(values[at].mean())) == (0.75, 0.75, 0.75)
    value, low, high = benchmark.within(["a", "a", "a", "b"], lambda at: float(values[at].mean()))
    assert (value, low, high) == (0.75, 0.0, 1.0)
