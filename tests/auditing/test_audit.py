"""An audit from a file to its findings: what is told, how bad, where."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prefdata.auditing import unread
from prefdata.auditing.check import Check
from prefdata.auditing.finding import Finding, Levels, Severity
from prefdata.auditor import all_checks, audit, chosen
from prefdata.build import built
from prefdata.errors import UnknownNameError
from prefdata.formats import rules
from prefdata.schema import RecordType


def user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def agent(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def pair(prompt: str, chosen: str, rejected: str) -> dict[str, Any]:
    return {"prompt": user(prompt), "chosen": agent(chosen), "rejected": agent(rejected)}


def labelled(prompt: str, completion: str, label: bool) -> dict[str, Any]:
    return {"prompt": user(prompt), "completion": agent(completion), "label": label}


def written(folder: Path, rows: list[dict[str, Any]]) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def by_name(path: Path) -> dict[str, Finding]:
    return {finding.check: finding for finding in audit(path).findings}


def test_pairs_that_mean_nothing_are_named_by_their_lines(tmp_path: Path) -> None:
    rows = [
        pair("When do you open?", "At nine.", "Soon."),
        pair("Where are you?", "In the old town.", "In the old town."),
        pair("May I pay by card?", "Yes, of course!", "yes of course"),
        pair("When do you open?", "Soon.", "At nine."),
        pair("When do you open?", "At nine.", "Soon."),
    ]
    found = by_name(written(tmp_path, rows))
    assert found["equal_sides"].places == ("rows.jsonl:2",)
    assert found["equal_sides"].severity is Severity.CRITICAL
    assert found["same_words"].places == ("rows.jsonl:3",)
    assert found["reversed_pair"].rows.to_list() == [0, 3, 4]
    assert found["exact_duplicates"].places == ("rows.jsonl:5",)
    assert found["exact_duplicates"].examples[0].note == "rows.jsonl:1"
    assert found["exact_duplicates"].examples[0].texts["chosen"] == "At nine."


def test_comparisons_that_go_round_are_told_and_chains_are_not(tmp_path: Path) -> None:
    ring = [pair("Which?", "A", "B"), pair("Which?", "B", "C"), pair("Which?", "C", "A")]
    chain = [pair("Who?", "A", "B"), pair("Who?", "B", "C"), pair("Who?", "A", "C")]
    assert by_name(written(tmp_path, ring + chain))["cycle"].rows.to_list() == [0, 1, 2]
    assert "cycle" not in by_name(written(tmp_path, chain))


def test_labels_that_contradict_each_other_name_the_other_row(tmp_path: Path) -> None:
    rows = [
        labelled("Refund?", "It is on its way.", True),
        labelled("Refund?", "No.", False),
        labelled("refund", "It is on its way", False),
    ]
    found = by_name(written(tmp_path, rows))["contradictory_labels"]
    assert found.rows.to_list() == [0, 2]
    assert [example.note for example in found.examples] == ["rows.jsonl:3", "rows.jsonl:1"]


def test_one_class_is_critical_and_two_are_counted(tmp_path: Path) -> None:
    good = [labelled(f"Question {number}?", f"Answer {number}.", True) for number in range(8)]
    one = by_name(written(tmp_path, good))["class_balance"]
    assert (one.severity, one.measures["undesirable"]) == (Severity.CRITICAL, 0)
    both = by_name(written(tmp_path, [*good, labelled("Why?", "No.", False), labelled("How?", "No!", False)]))
    assert both["class_balance"].severity is Severity.NOTE
    assert both["class_balance"].measures == {"desirable": 8, "undesirable": 2, "without_label": 0, "ratio": 4.0}


def test_labels_in_order_are_told_and_shuffled_ones_are_not(tmp_path: Path) -> None:
    rows = [labelled(f"Question {number}?", f"Answer {number}.", number < 100) for number in range(200)]
    found = by_name(written(tmp_path, rows))["label_runs"]
    assert (found.severity, found.measures["longest_run"], found.count) == (Severity.MAJOR, 100, 100)
    mixed = [labelled(f"Question {number}?", f"Answer {number}.", number * 7 % 13 < 6) for number in range(200)]
    assert "label_runs" not in by_name(written(tmp_path, mixed))


def test_records_that_are_no_rows_are_findings_too(tmp_path: Path) -> None:
    path = written(tmp_path, [pair("When?", "At nine.", "Soon."), pair("Where?", "Here.", "There.")])
    with path.open("a", encoding="utf-8") as stream:
        stream.write('{"prompt": \n')
    result = audit(path)
    assert (result.read, result.rows) == (3, 2)
    broken = {finding.check: finding for finding in result.findings}["malformed_json"]
    assert (broken.family, broken.places, broken.severity) == ("reading", ("rows.jsonl:3",), Severity.CRITICAL)


def test_ties_are_no_broken_rows(tmp_path: Path) -> None:
    assert unread.levels("tied_verdict").of(60, 100) is Severity.MINOR
    assert unread.levels("tied_verdict").of(1, 100) is Severity.NOTE
    assert unread.levels("malformed_json").of(1, 100) is Severity.MAJOR
    assert {*rules.REASONS, *built.REASONS} >= unread.SOUND


def test_keys_of_rows_stay_the_same_when_rows_are_added(tmp_path: Path) -> None:
    bad = pair("Where are you?", "Here.", "Here.")
    first = by_name(written(tmp_path, [bad]))["equal_sides"].keys
    later = by_name(written(tmp_path, [pair("When?", "At nine.", "Soon."), bad]))["equal_sides"].keys
    assert first == later
    assert len(first[0]) == 16


def test_levels_say_how_bad_a_share_is() -> None:
    levels = Levels(critical=0.5, major=0.1, minor=0)
    assert [levels.of(count, 100) for count in (60, 50, 10, 1, 0)] == [
        Severity.CRITICAL,
        Severity.CRITICAL,
        Severity.MAJOR,
        Severity.MINOR,
        Severity.NOTE,
    ]


def test_checks_are_chosen_by_name_and_family() -> None:
    assert [check.name for check in chosen(only=["equal_sides"])] == ["equal_sides"]
    assert "equal_sides" not in [check.name for check in chosen(skip=["pairs"])]
    with pytest.raises(UnknownNameError, match="equal_sides"):
        chosen(only=["equal_side"])


@pytest.mark.parametrize("check", all_checks(), ids=lambda check: check.name)
def test_every_check_says_what_it_is(check: Check) -> None:
    assert check.flag or check.find or check.prepare
    assert check.types <= frozenset(RecordType)
    assert not check.title.endswith(".")
    assert check.why.endswith(".")
    assert check.cure


def test_real_pairs_are_audited_whole(shared_data: Callable[[str], Path]) -> None:
    result = audit(shared_data("hh_rlhf/test.jsonl.gz"))
    counts = {finding.check: finding.count for finding in result.findings}
    assert (result.read, result.rows) == (2312, 2303)
    assert (counts["differing_prompts"], counts["empty_answer"]) == (5, 4)


def test_the_sample_of_alternating_rows_holds_both_kinds(tmp_path: Path) -> None:
    """Rows whose labels alternate, as trainers want them, must not give a sample of one label."""
    from prefdata.auditing.dataset import SAMPLE_ROWS, read
    from prefdata.opening import open_dataset

    rows = [labelled(f"Q{number}?", f"A{number}.", number % 2 == 0) for number in range(3 * SAMPLE_ROWS)]
    path = written(tmp_path, rows)
    sample = read(lambda: open_dataset(path), []).sample
    assert SAMPLE_ROWS / 4 < sample.height <= SAMPLE_ROWS
    assert abs(sample["label"].mean() - 0.5) < 0.02  # type: ignore[operator]
    assert sample["row"].is_sorted()
