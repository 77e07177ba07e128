"""report.json of an audit: as its schema says, without texts of rows, and there and back again."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import polars as pl
import pytest

from prefdata.auditing.gate import fresh
from prefdata.auditor import Audit, audit
from prefdata.errors import InputError
from prefdata.reporting.audit.json import counts, from_json, plain, to_json, unreadable

SCHEMA = Path(__file__).resolve().parents[2] / "docs" / "audit-report.schema.json"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Audit:
    """Two equal pairs, one sound pair, one without an answer, one that is no JSON."""
    file = tmp_path_factory.mktemp("audited") / "pairs.jsonl"
    same = {"prompt": "SECRET one", "chosen": "SECRET two", "rejected": "SECRET two"}
    sound = {"prompt": "which?", "chosen": "this one", "rejected": "that other one"}
    empty = {"prompt": "which?", "chosen": "", "rejected": "that"}
    lines = [json.dumps(one) for one in (same, same, sound, empty)]
    file.write_text("\n".join([*lines, "{no json"]) + "\n", encoding="utf-8")
    return audit(file, only=["form", "pairs", "duplicates"])


def test_it_is_as_its_schema_says(found: Audit) -> None:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(to_json(found), schema)


@pytest.mark.parametrize("file", ["hh_rlhf/test.jsonl.gz", "llamafactory/kto_en_demo.json"])
def test_reports_of_real_sets_are_as_their_schema_says(shared_data: Any, file: str) -> None:
    told = to_json(audit(shared_data(file), only=["form", "pairs", "unary", "duplicates"]))
    jsonschema.validate(told, json.loads(SCHEMA.read_text(encoding="utf-8")))
    json.dumps(told, allow_nan=False)


def test_it_tells_what_was_read_and_found(found: Audit) -> None:
    told = to_json(found)
    assert {key: told[key] for key in ("version", "name", "format", "type", "read", "rows", "unreadable")} == {
        "version": 1,
        "name": "pairs.jsonl",
        "format": "trl",
        "type": "preference",
        "read": 5,
        "rows": 4,
        "unreadable": 1,
    }
    by_name = {one["check"]: one for one in told["findings"]}
    equal = by_name["equal_sides"]
    assert {key: equal[key] for key in ("severity", "count", "total", "share", "places")} == {
        "severity": "critical",
        "count": 2,
        "total": 4,
        "share": 0.5,
        "places": ["pairs.jsonl:1", "pairs.jsonl:2"],
    }
    beside = {"note": "", "chars": {"prompt": 10, "chosen": 10, "rejected": 10}, "label": None, "margin": None}
    assert equal["examples"] == [{"place": f"pairs.jsonl:{line}", **beside} for line in (1, 2)]
    assert told["refused"] == {"malformed_json": 1}
    assert by_name["exact_duplicates"]["examples"] == [{**beside, "place": "pairs.jsonl:2", "note": "pairs.jsonl:1"}]
    assert by_name["malformed_json"]["family"] == "reading"
    quiet = {one["check"]: one["found"] for one in told["checks"]}
    assert (quiet["equal_sides"], quiet["cycle"]) == ("critical", None)
    assert sum(told["counts"].values()) == len(told["findings"])


def test_it_holds_no_text_of_a_row_and_no_clock(found: Audit) -> None:
    told = json.dumps(to_json(found))
    assert "SECRET" not in told
    assert "seconds" not in told
    assert to_json(found) == to_json(found._replace(seconds=7.0))


def test_there_and_back_again(found: Audit) -> None:
    told = json.loads(json.dumps(to_json(found)))
    assert to_json(from_json(told)) == told


def test_it_is_a_baseline_of_which_nothing_is_new(found: Audit) -> None:
    told = json.loads(json.dumps(to_json(found)))
    assert fresh(found.findings, told) == []
    assert fresh(from_json(told).findings, told) == []


@pytest.mark.parametrize("data", [{}, [], {"version": 2}, {"version": 1}, {"version": 1, "type": "x"}, None])
def test_another_file_is_no_report(data: Any) -> None:
    with pytest.raises(InputError, match="report\\.json"):
        from_json(data)


def test_a_report_with_a_field_missing_or_wrong_is_refused(found: Audit) -> None:
    told = to_json(found)
    del told["findings"][0]["keys"]
    with pytest.raises(InputError, match="lacks fields"):
        from_json(told)
    with pytest.raises(InputError, match="lacks fields"):
        from_json(to_json(found) | {"type": "other"})


def test_records_with_two_reasons_count_once(found: Audit) -> None:
    (broken,) = (one for one in found.findings if one.family == "reading")
    twice = found._replace(findings=(broken, broken))
    assert unreadable(twice) == 1
    cut = found._replace(findings=(type(broken)(**{**vars(broken), "count": 3}),))
    assert unreadable(cut) == 3
    assert counts(found._replace(findings=())) == {"critical": 0, "major": 0, "minor": 0, "note": 0}


def test_measures_become_plain_json() -> None:
    told = plain(
        {
            True: math.nan,
            "a": (1, math.inf),
            "b": np.float64(0.5),
            "c": np.int32(3),
            "d": {"z", "a"},
            "e": pl.Series([1, 2]),
            "f": None,
        }
    )
    assert told == {"true": None, "a": [1, None], "b": 0.5, "c": 3, "d": ["a", "z"], "e": [1, 2], "f": None}
    json.dumps(told, allow_nan=False)


def test_an_interval_is_called_as_what_it_is_of_since_objects_have_no_order() -> None:
    measures = {"rows": 3, "auc": 0.7, "interval": [0.6, 0.8], "by": {"a": {"d": 0.5, "interval": [0.4, 0.6]}}}
    assert plain(measures) == {
        "rows": 3,
        "auc": 0.7,
        "auc_interval": [0.6, 0.8],
        "by": {"a": {"d": 0.5, "d_interval": [0.4, 0.6]}},
    }
    assert plain({"interval": [1, 2]}) == {"interval": [1, 2]}
