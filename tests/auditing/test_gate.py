"""The gate: what is new since the baseline, and how bad."""

from __future__ import annotations

import dataclasses

import polars as pl
import pytest

from prefdata.auditing.finding import Finding, Severity
from prefdata.auditing.gate import failing, fresh
from prefdata.errors import InputError


def finding(name: str, keys: list[str], severity: Severity = Severity.MAJOR, count: int | None = None) -> Finding:
    return Finding(
        check=name,
        family="pairs",
        severity=severity,
        count=len(keys) if count is None else count,
        total=100,
        measures={},
        rows=pl.Series("row", range(len(keys)), dtype=pl.UInt32),
        places=tuple(f"a.jsonl:{at + 1}" for at in range(len(keys))),
        keys=tuple(keys),
        examples=(),
    )


def baseline(*findings: Finding) -> dict[str, object]:
    return {
        "findings": [
            {
                "check": one.check,
                "family": one.family,
                "severity": one.severity.value,
                "count": one.count,
                "keys": list(one.keys),
            }
            for one in findings
        ]
    }


def test_without_a_baseline_everything_is_new() -> None:
    found = fresh([finding("equal_sides", ["a", "b"])], None)
    assert [(one.finding.check, one.rows) for one in found] == [("equal_sides", 2)]


def test_rows_of_the_baseline_are_not_new_wherever_they_stand() -> None:
    before = baseline(finding("equal_sides", ["a", "b"]), finding("cycle", ["x"]))
    assert fresh([finding("equal_sides", ["b", "a"])], before) == []
    later = fresh([finding("equal_sides", ["b", "c", "a"])], before)
    assert [(one.rows, one.places) for one in later] == [(1, ("a.jsonl:2",))]


def test_what_is_said_of_the_whole_set_is_new_where_it_got_worse() -> None:
    before = baseline(finding("class_balance", [], Severity.NOTE))
    assert fresh([finding("class_balance", [], Severity.NOTE)], before) == []
    assert fresh([finding("class_balance", [], Severity.CRITICAL)], before)[0].rows == 0


def test_beyond_the_hashes_that_are_kept_the_number_counts() -> None:
    before = baseline(finding("near_duplicates", ["a"], count=10))
    assert fresh([finding("near_duplicates", ["b"], count=10)], before) == []
    assert fresh([finding("near_duplicates", ["b"], count=12)], before)[0].rows == 2


def test_a_reason_of_reading_is_not_the_check_of_that_name() -> None:
    check = finding("empty_answer", ["a"])
    reason = dataclasses.replace(check, family="reading")
    assert [one.finding.family for one in fresh([check, reason], baseline(reason))] == ["pairs"]


def test_only_what_is_bad_enough_fails() -> None:
    found = fresh([finding("a", ["1"], Severity.MINOR), finding("b", ["2"], Severity.CRITICAL)], None)
    assert [one.finding.check for one in failing(found, Severity.MAJOR)] == ["b"]
    assert len(failing(found, Severity.NOTE)) == 2


def test_another_file_is_no_baseline() -> None:
    with pytest.raises(InputError, match="no report"):
        fresh([], {"rows": 3})
