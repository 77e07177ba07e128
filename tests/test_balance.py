"""Class weights come to a ratio between 1:1 and 4:3 by raising the rarer class; rows are left out only when asked."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import prefdata
from prefdata.balance import HIGH, LOW, REASONS, Balance, kto_weights, surplus
from prefdata.errors import RecipeError
from prefdata.schema import MESSAGES, RecordType, conform

_spec = importlib.util.spec_from_file_location("small_log", Path(__file__).with_name("small_log.py"))
assert _spec is not None
assert _spec.loader is not None
small_log: Any = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(small_log)


@pytest.mark.parametrize(
    ("desirable", "undesirable", "weights"),
    [
        (100, 100, (1.0, 1.0, 1.0)),
        (400, 300, (1.0, 1.0, 1.3333)),
        (700, 100, (1.0, 6.0, 1.1667)),
        (100, 200, (2.3333, 1.0, 1.1666)),
        (135, 100, (1.0, 1.1571, 1.1667)),
        (99, 100, (1.1785, 1.0, 1.1667)),
    ],
)
def test_weights_from_counts(desirable: int, undesirable: int, weights: tuple[float, float, float]) -> None:
    assert kto_weights(desirable, undesirable) == weights


def test_one_class_has_no_weights() -> None:
    assert kto_weights(10, 0) is None
    assert kto_weights(0, 10) is None


@given(st.integers(1, 10_000), st.integers(1, 10_000))
def test_the_weighted_ratio_is_in_range(desirable: int, undesirable: int) -> None:
    found = kto_weights(desirable, undesirable)
    assert found is not None
    assert LOW - 1e-3 <= found.desirable * desirable / (found.undesirable * undesirable) <= HIGH + 1e-3
    assert min(found.desirable, found.undesirable) == 1.0
    assert (found.desirable > 1) <= (desirable < undesirable)


def canonical(rows: list[tuple[str, str, str, bool, float, str]]) -> pl.DataFrame:
    """UNPAIRED rows of (id, prompt, reply, label, confidence, customer)."""
    frame = pl.DataFrame(
        {
            "id": [row[0] for row in rows],
            "source": ["log"] * len(rows),
            "group": [row[0] for row in rows],
            "prompt": [[{"role": "user", "content": row[1], "tool_calls": None}] for row in rows],
            "completion": [[{"role": "assistant", "content": row[2], "tool_calls": None}] for row in rows],
            "label": [row[3] for row in rows],
            "label_confidence": pl.Series([row[4] for row in rows], dtype=pl.Float32),
            "meta": [f'{{"customer":"{row[5]}"}}' for row in rows],
        },
        schema_overrides={"prompt": MESSAGES, "completion": MESSAGES},
    )
    return conform(frame, RecordType.UNPAIRED)


ROWS = canonical(
    [(f"g{number}", f"p{number}", "ok", True, 0.5 + number / 20, f"c{number % 3}") for number in range(8)]
    + [(f"b{number}", f"q{number}", "x" * 90, False, 0.9, "d") for number in range(4)]
)


def test_nothing_is_left_out_unless_it_is_asked_for() -> None:
    assert Balance().idle()
    assert surplus(ROWS, Balance(), seed=0).is_empty()


def test_the_larger_class_is_cut_to_the_ratio_by_the_least_sure_labels() -> None:
    found = surplus(ROWS, Balance(max_ratio=1.5, policy="least_confident"), seed=0)
    assert found.rows() == [("g0", "surplus_label"), ("g1", "surplus_label")]


def test_caps_leave_out_what_is_over_them_and_the_class_is_cut_from_the_rest() -> None:
    found = surplus(ROWS, Balance(per_customer=2, max_ratio=1.0), seed=0)
    reasons = dict(found.group_by("reason").len().iter_rows())
    assert reasons == {"over_cap_customer": 4, "surplus_label": 4}
    assert dict(surplus(ROWS, Balance(max_chars=50), seed=0).group_by("reason").len().iter_rows()) == {"too_long": 4}


def test_a_run_balances_training_and_leaves_the_held_out_rows(tmp_path: Path) -> None:
    small_log.write_log(tmp_path)
    recipe = small_log.write_recipe(tmp_path)
    prefdata.run(recipe, out=tmp_path / "a", train=False)
    recipe.write_text(recipe.read_text() + "balance: {per_customer: 1, max_ratio: 1}\n")
    prefdata.run(recipe, out=tmp_path / "b", train=False)
    before, after = (prefdata.kept_rows(tmp_path / name) for name in ("a", "b"))
    assert after.filter(pl.col("split") == "evaluation").equals(before.filter(pl.col("split") == "evaluation"))
    train = after.filter(pl.col("split") == "train")
    assert train["meta"].str.json_path_match("$.customer").is_unique().all()
    assert abs(int(train["label"].sum()) - int((~train["label"]).sum())) <= 0
    report = json.loads((tmp_path / "b/report.json").read_text())
    gone = {one["reason"]: one["rows"] for one in report["reasons"] if one["reason"] in REASONS}
    assert sum(gone.values()) == before.height - after.height
    assert [step["step"] for step in report["funnel"]][-len(gone) :] == [name for name in REASONS if name in gone]
    assert report["funnel"][-1]["rows"] == after.height
    assert report["counts"]["rows"] == report["counts"]["kept"] + report["counts"]["dropped"]


@pytest.mark.parametrize("wrong", [{"max_ratio": 0.5}, {"per_prompt": 0}, {"max_chars": -1}])
def test_a_balance_that_cannot_be_is_told(wrong: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match=next(iter(wrong))):
        Balance(**wrong)
