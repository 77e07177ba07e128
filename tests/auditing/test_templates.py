"""Templates: the same text with other names and numbers is one, ordinary answers are none."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from trl_rows import answered as row
from trl_rows import findings

from prefdata.auditing import templates
from prefdata.auditing.finding import Finding, Severity

WORDS = ("apple", "river", "stone", "cloud", "paper", "window", "garden", "bottle", "candle", "market", "winter")
WORDS += ("summer", "forest", "island", "button")


def found(folder: Path, rows: list[dict[str, Any]]) -> dict[str, Finding]:
    return findings(folder, rows, ["templates"])


def plain(number: int) -> str:
    """An answer like no other."""
    return (
        " ".join(WORDS[(number * step + step) % len(WORDS)] for step in range(2, 12)) + f" {WORDS[number % 15]} it is"
    )


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ("Dear Anna, your order 123 is here.", "Dear John Smith, your order 4567-8 is here.", True),
        ("It costs $12.50 until 3/4.", "It costs $8 until 12/11.", True),
        ('The film "Up" runs.', 'The film "The Third Man" runs.', True),
        ("See https://a.example/1 for it.", "See https://b.example/x?y=2 for it.", True),
        ("Open at  nine\nsharp now.", "Open at nine sharp now.", True),
        ("The shop opens at nine.", "The shop closes at nine.", False),
        ("订单123已发货。", "订单45678已发货。", True),
    ],
)
def test_masks_are_equal_where_names_and_numbers_differ(one: str, other: str, equal: bool) -> None:
    masks = pl.DataFrame({"text": [one, other]}).select(templates.mask(pl.col("text"))).to_series().to_list()
    assert (masks[0] == masks[1]) is equal


def test_rows_of_a_template_are_named_with_coverage_before_and_after_dedup(tmp_path: Path) -> None:
    names = ["Anna", "Ben", "Carl", "Dora", "Emil"]
    copies = [
        row(f"Where {n}?", f"Dear {names[n % 5]}, your parcel {n % 5} is on its way to you now.") for n in range(10)
    ]
    others = [row(f"What {n}?", plain(n)) for n in range(10)]
    told = found(tmp_path, copies + others)["template_copying"]
    assert told.rows.to_list() == list(range(10))
    assert told.severity is Severity.MAJOR
    assert told.measures["completion"] == {
        "templates": 1,
        "coverage": 0.5,
        "coverage_top_10": 0.5,
        "coverage_top_10_deduplicated": 0.3333,
        "largest": 10,
    }


def test_copies_of_one_text_are_duplicates_and_no_template(tmp_path: Path) -> None:
    rows = [row(f"Where {n}?", "Dear Anna, your parcel is on its way to you.") for n in range(10)]
    assert found(tmp_path, rows) == {}


def test_openings_and_closings_of_long_answers_are_told(tmp_path: Path) -> None:
    opened = [row(f"Q {n}?", f"Thank you for asking this question! {plain(n) * 4}") for n in range(6)]
    told = found(tmp_path, opened)
    assert told["same_openings"].rows.to_list() == list(range(6))
    assert "same_closings" not in told
    closed = [row(f"Q {n}?", f"{plain(n) * 4}. Is there anything else that I can do?") for n in range(6)]
    told = found(tmp_path, closed)
    assert told["same_closings"].rows.to_list() == list(range(6))
    assert "same_openings" not in told


def test_answers_of_their_own_are_no_template(tmp_path: Path) -> None:
    assert found(tmp_path, [row(f"Q {n}?", plain(n)) for n in range(12)]) == {}


def test_a_megabyte_costs_no_more_than_its_length(tmp_path: Path) -> None:
    long = ["A" * 1_000_000, "A b " * 250_000, '"' * 1_000_000, "1," * 500_000, "a@" * 500_000, "\n" * 999_999 + "x"]
    started = time.process_time()
    found(tmp_path, [row(f"Q{n}?", text) for n, text in enumerate(long)])
    assert time.process_time() - started < 5
