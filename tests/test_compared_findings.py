"""Findings and distributions of two sides: what is new, worse, better or gone, and what may be chance."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy import stats
from scipy.spatial.distance import jensenshannon

from prefdata.auditing.check import Check
from prefdata.auditing.finding import Finding, Severity
from prefdata.auditor import Audit
from prefdata.comparing.findings import Figure, Status, difference, estimate, failing, findings, share
from prefdata.comparing.rows import pairing
from prefdata.comparing.shapes import bins, jensen_shannon, kolmogorov_smirnov, shapes
from prefdata.comparing.sides import Side
from prefdata.schema import RecordType

CHECKS = tuple(
    Check(name=name, family="form", title=name, why="", cure="") for name in ("empty_answer", "length_bias", "probe")
)


def side(found: list[Finding], rows: int = 1_000, lengths: list[int] | None = None) -> Side:
    """A side of rows that are all different from each other, and the same in every side."""
    numbers = pl.Series("row", range(rows), dtype=pl.UInt32)
    names = [f"{one}_{what}" for one in ("prompt", "completion") for what in ("hash", "norm")]
    frame = pl.DataFrame({"row": numbers, "_file": ["a.jsonl"] * rows, "_line": range(1, rows + 1)}).with_columns(
        *(pl.col("row").cast(pl.UInt64).alias(name) for name in ["key", *names]),
        *(pl.lit(1, pl.UInt32).alias(name) for name in ("prompt_chars", "prompt_turns", "completion_turns")),
        pl.Series("completion_chars", lengths or [5] * rows, dtype=pl.UInt32),
        part=pl.lit(0, pl.UInt32),
    )
    audit = Audit(
        name="a",
        format="trl",
        type=RecordType.SFT,
        reasons=(),
        read=rows,
        rows=rows,
        findings=tuple(found),
        checks=CHECKS,
        seconds=0.0,
    )
    return Side("a", "dataset", audit, frame, pl.Series("language", ["en"] * rows), lambda _: iter(()))


def finding(check: str, severity: Severity, rows: range | None = None, total: int = 1_000, **measures: Any) -> Finding:
    numbers = pl.Series("row", rows or [], dtype=pl.UInt32)
    return Finding(
        check=check,
        family="form",
        severity=severity,
        count=len(numbers),
        total=total,
        measures=measures,
        rows=numbers,
        places=(),
        keys=(),
        examples=(),
    )


@pytest.mark.parametrize(
    ("before", "after", "status"),
    [
        (None, finding("empty_answer", Severity.MINOR, range(1)), Status.NEW),
        (finding("empty_answer", Severity.MINOR, range(1)), None, Status.GONE),
        (
            finding("empty_answer", Severity.MINOR, range(20)),
            finding("empty_answer", Severity.MINOR, range(60)),
            "worse",
        ),
        (
            finding("empty_answer", Severity.MINOR, range(60)),
            finding("empty_answer", Severity.MINOR, range(20)),
            "better",
        ),
        (
            finding("empty_answer", Severity.MINOR, range(20)),
            finding("empty_answer", Severity.MINOR, range(24)),
            "same",
        ),
        # a threshold crossed by one row is no change
        (
            finding("empty_answer", Severity.MINOR, range(19)),
            finding("empty_answer", Severity.MAJOR, range(20)),
            "same",
        ),
        (
            finding("empty_answer", Severity.MINOR, range(20)),
            finding("empty_answer", Severity.MAJOR, range(60)),
            "worse",
        ),
        (finding("probe", Severity.MINOR), finding("probe", Severity.MAJOR), "worse"),
        (
            finding("length_bias", Severity.MINOR, cohen_d=-0.3, interval=[-0.4, -0.2]),
            finding("length_bias", Severity.MINOR, cohen_d=-0.8, interval=[-0.9, -0.7]),
            "worse",
        ),
        (
            finding("length_bias", Severity.MAJOR, cohen_d=0.55, interval=[0.4, 0.7]),
            finding("length_bias", Severity.MINOR, cohen_d=0.45, interval=[0.3, 0.6]),
            "same",
        ),
        (
            finding("length_bias", Severity.MAJOR, auc=0.9, interval=[0.85, 0.95]),
            finding("length_bias", Severity.MINOR, auc=0.6, interval=[0.55, 0.65]),
            "better",
        ),
    ],
)
def test_a_finding_changed_where_it_moved_beyond_chance(before: Any, after: Any, status: str) -> None:
    a, b = side([before] if before else []), side([after] if after else [])
    (change,) = findings(a, b, None)
    assert change.status == status


def test_rows_that_have_it_newly_are_counted_and_named() -> None:
    a = side([finding("empty_answer", Severity.MINOR, range(10))])
    b = side([finding("empty_answer", Severity.MINOR, range(8, 12))])
    (change,) = findings(a, b, pairing(a.rows, b.rows, RecordType.SFT))
    assert (change.rows_new, change.rows_gone) == (2, 8)
    assert change.places == ("a.jsonl:11", "a.jsonl:12")


def test_only_new_and_worse_ones_of_the_severity_fail() -> None:
    a = side([finding("probe", Severity.MAJOR)])
    b = side([finding("empty_answer", Severity.MINOR, range(1)), finding("length_bias", Severity.CRITICAL)])
    changes = findings(a, b, None)
    assert [(one.check, one.status) for one in changes] == [
        ("length_bias", Status.NEW),
        ("empty_answer", Status.NEW),
        ("probe", Status.GONE),
    ]
    assert [one.check for one in failing(changes, Severity.MAJOR)] == ["length_bias"]
    assert [one.check for one in failing(changes, Severity.MINOR)] == ["length_bias", "empty_answer"]
    assert failing(findings(a, a, None), Severity.NOTE) == []


def test_the_interval_of_a_difference_is_newcombes() -> None:
    # Newcombe, 1998, table II, case (a), method 10: 56/70 less 48/80 is 0.2000, 0.0524 to 0.3339
    found = difference("share", share(48, 80), share(56, 70))
    assert [round(one, 4) for one in found[1:]] == [0.2, 0.0524, 0.3339]


def test_the_first_number_with_an_interval_is_the_estimate() -> None:
    assert estimate({"rows": 5, "auc": 0.7, "interval": [0.6, 0.8]}) == Figure("auc", 0.7, 0.6, 0.8)
    assert estimate({"d": 0.2, "x": 1, "d_interval": [0.1, 0.3]}) == Figure("d", 0.2, 0.1, 0.3)
    assert estimate({"rows": 5, "auc": None}) is None


def test_distances_and_p_values_are_those_of_scipy() -> None:
    generator = np.random.default_rng(7)
    one, other = np.sort(generator.normal(size=900)), np.sort(generator.normal(0.15, 1.1, size=700))
    distance, p_value = kolmogorov_smirnov(one, other)
    expected = stats.ks_2samp(one, other)
    assert distance == pytest.approx(expected.statistic, abs=1e-4)
    assert p_value == pytest.approx(expected.pvalue, rel=0.1)
    counts = np.array([[50.0, 30.0, 20.0, 0.0], [80.0, 90.0, 20.0, 10.0]])
    distance, p_value = jensen_shannon(*counts)
    assert distance == pytest.approx(jensenshannon(*counts, base=2), abs=1e-4)
    assert p_value == pytest.approx(stats.chi2_contingency(counts, lambda_="log-likelihood").pvalue, rel=1e-9)
    assert jensen_shannon(counts[0][:3], counts[0][:3]) == (0.0, 1.0)
    assert jensen_shannon(np.array([5.0, 0.0]), np.array([0.0, 5.0]))[0] == 1.0


@pytest.mark.parametrize(
    ("values", "edges"),
    [
        ([1, 2, 3, 3], [1.0, 2.0, 3.0, 4.0]),
        ([0, 1_000], [float(at) for at in range(0, 1_001, 50)]),
        ([0.0, 0.5, 1.0], [round(at * 0.05, 9) for at in range(21)]),
    ],
)
def test_bins_are_round_and_whole_numbers_stand_alone(values: list[float], edges: list[float]) -> None:
    found = bins(np.array(values, dtype=np.float64))
    assert found == edges[: len(found)]
    assert len(found) <= 22
    assert found[-1] >= np.quantile(values, 0.99)


def test_the_most_different_distribution_is_first_and_chance_is_last() -> None:
    generator = np.random.default_rng(1)
    short, long = (generator.poisson(mean, 1_000).tolist() for mean in (20, 40))
    a, b = side([], lengths=short), side([], lengths=long)
    found = shapes(a, b)
    assert found[0].name == "completion_chars"
    assert found[0].clear
    assert found[0].effect.value > 0.9
    assert found[0].effect.cohen_d is not None
    assert found[0].effect.cohen_d[0] > 3
    assert found[0].numbers is not None
    assert [sum(one.counts) for one in found[0].numbers] == [1_000, 1_000]
    same = shapes(a, side([], lengths=generator.poisson(20, 1_000).tolist()))
    assert [one.clear for one in same] == [False] * len(same)
