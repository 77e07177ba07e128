"""Who loses far more: planted losses are called out, shuffles and small parts are not; the correction is Holm's."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefdata.auditing.dataset import read
from prefdata.auditing.what_if import of_catalogue, what_if
from prefdata.auditing.what_if.slices import Slice, _holm, slices, with_verdicts
from prefdata.opening import open_dataset


def judged(parts: list[tuple[str, int, int]]) -> dict[str, Slice]:
    """Parts with rows and kept rows, as one filter's slices after the test."""
    value = [name for name, rows, _ in parts for _ in range(rows)]
    dropped = [at >= kept for _, rows, kept in parts for at in range(rows)]
    found = slices(pl.DataFrame({"source": value}), pl.Series(dropped))
    rows, kept = len(value), len(value) - sum(dropped)
    (told,) = with_verdicts([(rows, kept, found)])
    return {one.value: one for one in told}


def test_a_part_that_keeps_less_than_four_fifths_is_called_out() -> None:
    found = judged([("a", 400, 380), ("b", 100, 70), ("c", 300, 290)])
    assert [one.value for one in found.values() if one.unfair] == ["b"]
    assert (found["b"].share, found["b"].ratio) == (0.7, 0.7313)
    assert found["b"].p_value is not None
    assert found["b"].p_value < 1e-10
    assert found["a"].p_value == 1.0


def test_a_part_that_loses_twice_as_much_and_five_points_more_is_called_out() -> None:
    found = judged([("a", 1000, 950), ("b", 1000, 860)])
    assert [one.value for one in found.values() if one.unfair] == ["b"]
    assert [one.value for one in judged([("a", 1000, 950), ("b", 1000, 910)]).values() if one.unfair] == []


def test_a_difference_that_chance_makes_is_not_called_out() -> None:
    assert not any(one.unfair for one in judged([("a", 300, 270), ("b", 30, 23)]).values())


def test_small_parts_are_not_tested() -> None:
    found = judged([("a", 500, 495), ("b", 29, 0)])
    assert found["b"].p_value is None
    assert not any(one.unfair for one in found.values())


def test_nothing_is_tested_where_all_or_none_is_kept() -> None:
    assert all(one.p_value is None for one in judged([("a", 50, 50), ("b", 50, 50)]).values())
    none = judged([("a", 50, 0), ("b", 50, 0)])
    assert all((one.p_value, one.ratio) == (None, None) for one in none.values())


def test_p_values_are_those_of_fisher_and_corrected_by_holm() -> None:
    from scipy.stats import fisher_exact

    found = judged([("a", 60, 50), ("b", 40, 30)])
    exact = [
        fisher_exact([[50, 10], [30, 10]], alternative="less").pvalue,
        fisher_exact([[30, 10], [50, 10]], alternative="less").pvalue,
    ]
    corrected = _holm([float(one) for one in exact])
    assert [one.p_value for one in found.values()] == pytest.approx(corrected, rel=1e-2)
    assert _holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert _holm([]) == []


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1), max_size=8))
def test_the_correction_keeps_the_order_and_never_helps(p_values: list[float]) -> None:
    found = _holm(p_values)
    assert all(raw <= one <= 1 for raw, one in zip(p_values, found, strict=True))
    order = np.argsort(p_values, kind="stable")
    assert sorted(found) == [found[int(at)] for at in order]


def test_shuffled_parts_are_not_called_out() -> None:
    rng = random.Random(7)
    called = 0
    for _ in range(200):
        dropped = pl.Series([rng.random() < 0.3 for _ in range(600)])
        parts = pl.DataFrame(
            {
                "source": [rng.choice("abcdef") for _ in range(600)],
                "month": [f"2026-{rng.randint(1, 12):02d}" for _ in range(600)],
            }
        )
        (told,) = with_verdicts([(600, 600 - int(dropped.sum()), slices(parts, dropped))])
        called += any(one.unfair for one in told)
    assert called <= 6  # at 1 % two are expected, more than six come by chance once in 200 times


def test_a_source_that_a_filter_hits_is_named(tmp_path: Path) -> None:
    def row(number: int, source: str, completion: str) -> dict[str, object]:
        answer = [{"role": "assistant", "content": completion}]
        prompt = [{"role": "user", "content": f"What about order {number}?"}]
        return {"prompt": prompt, "completion": answer, "label": number % 2 == 0, "source": source}

    fine = "Order {} is on its way and will reach you tomorrow."
    rows = [row(n, "shop", fine.format(n)) for n in range(200)]
    rows += [row(n, "phone", fine.format(n) if n % 3 else "…") for n in range(200, 300)]
    random.Random(3).shuffle(rows)
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8")
    data = read(lambda: open_dataset(path, source="huggingface", type="unpaired_preference"), [])
    quality = next(one for one in what_if(data, of_catalogue(data.type)).effects if one.name == "chat_quality")
    assert [(one.by, one.value, one.rows, one.kept) for one in quality.slices if one.unfair and one.by == "source"] == [
        ("source", "phone", 100, 67)
    ]
    data.rows = data.rows.with_columns(pl.col("source").shuffle(seed=5))
    quality = next(one for one in what_if(data, of_catalogue(data.type)).effects if one.name == "chat_quality")
    assert not [one for one in quality.slices if one.unfair and one.by == "source"]
