"""Marked personal data of the sample log: a whole run writes it nowhere, and row text stays out of every account."""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pytest

ROOT = Path(__file__).resolve().parents[1]
TRUTH = json.loads((ROOT / "recipes/data/truth.json").read_text(encoding="utf-8"))
CANARIES = TRUTH["canaries"]

HOLD_ROWS = ("records/", "kept/", "dropped/", "signals/", "exports/", "report.html")
"""What a run writes to hold the rows: their text stands there, with personal data replaced."""


class Ran(NamedTuple):
    path: Path
    printed: str


@pytest.fixture(scope="module")
def ran(sample_run: Path) -> Ran:
    return Ran(sample_run / "run", (sample_run / "printed").read_text(encoding="utf-8"))


def files(path: Path) -> dict[str, str]:
    """Every file of the run as text; Parquet as the JSON of its cells."""
    found = {}
    for file in sorted(path.rglob("*")):
        if file.is_file():
            name = str(file.relative_to(path))
            found[name] = pl.read_parquet(file).write_ndjson() if file.suffix == ".parquet" else file.read_text("utf-8")
    return found


def test_the_sample_plants_every_kind_of_canary() -> None:
    assert {canary["kind"] for canary in CANARIES} >= {"phone", "card", "name", "secret"}
    assert len(CANARIES) == 15


def test_marked_values_are_written_nowhere(ran: Ran) -> None:
    values = [canary["value"] for canary in CANARIES]
    for name, text in {**files(ran.path), "printed": ran.printed}.items():
        assert [value for value in values if value in text] == [], name


def test_marks_stand_in_rows_only(ran: Ran) -> None:
    texts = files(ran.path)
    assert any("CANARY-" in text for name, text in texts.items() if name.startswith("kept/"))
    for name, text in {**texts, "printed": ran.printed}.items():
        if not name.startswith(HOLD_ROWS):
            assert "CANARY-" not in text, name


def test_marks_of_unreadable_lines_stand_nowhere(ran: Ran) -> None:
    marks = [canary["canary"] for canary in CANARIES if not canary["readable"]]
    assert marks
    for name, text in {**files(ran.path), "printed": ran.printed}.items():
        assert [mark for mark in marks if mark in text] == [], name


def test_the_quarantine_tells_file_line_and_reason(ran: Ran) -> None:
    quarantine = pl.read_parquet(ran.path / "quarantine.parquet")
    assert quarantine.columns == ["file", "line", "offset", "reason", "sha256", "bytes", "source"]
    assert dict(quarantine.group_by("reason").agg(pl.len()).sort("reason").iter_rows()) == {
        "bad_encoding": 1,
        "duplicate_key": 1,
        "lone_surrogate": 1,
        "malformed_json": 3,
        "ragged_row": 5,
    }


def test_the_page_runs_nothing_and_escapes_what_it_shows(ran: Ran) -> None:
    page = (ran.path / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "default-src 'none'" in html.unescape(page)
    assert "<NAME_" not in page
    assert "&lt;NAME_" in page
    assert (ran.path / "report.html").stat().st_mode & 0o777 == 0o600
