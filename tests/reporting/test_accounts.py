"""The account of each source adds up, or it is a fault of ours; and what of it a reader is warned of."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from prefdata.judging import decide
from prefdata.reporting.accounts import accounts
from prefdata.reporting.notes import notes

READ: dict[str, Any] = {
    "source": "a",
    "candidates": 5,
    "rows": 3,
    "unmade": 2,
    "refused": 4,
    "quarantined": 1,
    "read": 8,
    "flagged": {"control_tokens": 1},
}


def test_candidates_are_the_sum_of_their_ends() -> None:
    scored = pl.DataFrame({"id": ["1", "2", "3"], "label": [True, None, False], "label_confidence": [1.0, None, 1.0]})
    sources = pl.DataFrame({"id": ["1", "2", "3"], "source": "a"})
    (found,) = accounts([READ], sources, decide(scored, [], []))
    assert {name: found[name] for name in ("all", "kept", "dropped", "erased")} == {
        "all": 10,
        "kept": 2,
        "dropped": 1,
        "erased": 0,
    }
    with pytest.raises(RuntimeError, match="source a: its account does not add up"):
        accounts([{**READ, "unmade": 1}], sources, decide(scored, [], []))


def test_a_reader_is_warned_of_refusals_tokens_and_sources_that_gave_nothing() -> None:
    report: dict[str, Any] = {
        "recipe": {"type": "preference"},
        "reading": {},
        "counts": {
            **dict.fromkeys(("units", "quarantined", "rows", "kept"), 0),
            **{f"{name}_{label}": 0 for name in ("rows", "kept") for label in ("desirable", "undesirable")},
        },
        "reasons": [],
        "split": {"evaluation": {"rows": 300, "desirable": 0, "undesirable": 0}},
        "accounts": [READ, {**READ, "source": "b", "rows": 0, "refused": 0, "flagged": {}}],
        "mix": [{"source": "a", "wanted": 10, "given": 4}],
    }
    assert [note.text for note in notes(report, [])] == [
        "1 row of a with a model's own control token, as it came.",
        "4 records of a (50.0 %) refused: see why under Input.",
        "No row came of b: see why under Input.",
        "a gives 4 of the 10 rows that its weight asks for.",
    ]
