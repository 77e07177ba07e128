"""Personal data are named by kind and side; sums, examples and hotlines are not."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from trl_rows import findings, pair

from prefdata.auditing import personal
from prefdata.auditing.finding import Finding, Severity


def found(folder: Path, rows: list[dict[str, Any]]) -> dict[str, Finding]:
    return findings(folder, rows, ["personal_data", "personal_data_onesided"])


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("Write to jane.roe@gmail.com please", ["email"]),
        ("Call (215) 204-3120 at noon", ["phone"]),
        ("打我电话 13812345678 吧", ["phone"]),
        ("电话号码是718-0167，问她", ["phone"]),
        ("Ring +86 138 1234 5678 " + "or not at all " * 20, ["phone"]),
        (
            "Id 1090115776084262816 " + "and so on " * 30 + "name raman, otp: 4623 or (215) 204-3120",
            ["phone", "secret"],
        ),
        ("My card is 4111 1111 1111 1111", ["card"]),
        ("信用卡 4111111111111111 到期", ["card"]),
        ("My IBAN: DE89 3704 0044 0532 0130 00", ["iban"]),
        ("身份证 11010519491231002X", ["cn_id"]),
        ("It is at 93.184.216.34 now", ["ip"]),
        ("The password is hunter2!x", ["secret"]),
        ("key AKIAIOSFODNN7ABCDEFG leaked", ["secret"]),
        ("Write to jane.roe@gmail.com or call (215) 204-3120", ["email", "phone"]),
    ],
)
def test_personal_data_have_a_kind(text: str, kinds: list[str]) -> None:
    assert personal.kinds_of(pl.Series([text]))["kinds"].to_list() == [kinds]
    assert pl.DataFrame({"text": [text]}).filter(personal._near()).height == 1


@pytest.mark.parametrize(
    "text",
    [
        "you@example.com",
        "support@shop.com helps you",
        "Call 1-800-275-2273",
        "Call (212) 555-0187",
        "3600000000000 + 62426244000 = 5336352000",
        "83265 / 305 = 275.43397884615385",
        "the number 960397912423686 is even",
        "the Edo period (1603-1868)",
        "see section 2.3.1.1",
        "the router at 192.168.1.1",
        "password: 'your_password'",
        "the password is incorrect",
        "order 2147483648 was sent",
    ],
)
def test_examples_hotlines_and_sums_are_nobodys(text: str) -> None:
    assert personal.kinds_of(pl.Series([text])).is_empty()


def test_rows_with_personal_data_are_named_with_counts_by_side_and_kind(tmp_path: Path) -> None:
    rows = [
        pair("I am at jane.roe@gmail.com", "Thank you.", "Thanks."),
        pair("Who?", "Call (215) 204-3120.", "Call (215) 204-3120 or write to tom.poe@gmail.com."),
        pair("When?", "At nine.", "At ten."),
    ]
    told = found(tmp_path, rows)["personal_data"]
    assert told.rows.to_list() == [0, 1]
    assert told.severity is Severity.MAJOR
    assert told.measures["prompt"] == {"email": 1}
    assert told.measures["chosen"] == {"phone": 1}
    assert told.measures["rejected"] == {"email": 1, "phone": 1}


def test_names_are_counted_on_a_sample(tmp_path: Path) -> None:
    rows = [pair(f"My name is John Smith, mail{n}@gmail.com", "Hello.", "Hi.") for n in range(4)]
    measures = found(tmp_path, rows)["personal_data"].measures
    assert measures["names_share"] == {"prompt": 1.0, "chosen": 0.0, "rejected": 0.0}
    assert measures["names_looked_at"] == 4


def test_more_pieces_than_are_searched_give_an_estimate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(personal, "MAX_PIECES", 10)
    rows = [pair(f"I am at jane{n}@gmail.com", "Thank you.", "Thanks.") for n in range(40)]
    told = found(tmp_path, rows)["personal_data"]
    assert (told.count, told.measures["estimated_rows"]) == (10, 40)


def test_personal_data_on_the_rejected_side_alone_are_a_shortcut(tmp_path: Path) -> None:
    rows = [pair(f"Question {n}?", "By post.", f"Write to jane{n}@gmail.com") for n in range(12)]
    rows += [pair(f"Other {n}?", "By post.", "By mail.") for n in range(12)]
    told = found(tmp_path, rows)["personal_data_onesided"]
    assert told.rows.to_list() == list(range(12))
    assert (told.severity, told.measures["more_in"]) == (Severity.MAJOR, "rejected")
    both = [pair(f"Question {n}?", f"Write to tom{n}@gmail.com", f"Write to jane{n}@gmail.com") for n in range(12)]
    assert "personal_data_onesided" not in found(tmp_path, both)


def test_a_megabyte_costs_no_more_than_its_length(tmp_path: Path) -> None:
    long = ["1" * 1_000_000, "1 " * 500_000, "a@" * 500_000, "a@b." * 250_000, "1." * 500_000, "password is " * 80_000]
    started = time.process_time()
    found(tmp_path, [pair(text, f"No {n}.", text) for n, text in enumerate(long)])
    assert time.process_time() - started < 15


def test_rows_without_personal_data_have_no_finding(tmp_path: Path) -> None:
    rows = [pair(f"When does shop {n} open?", f"Shop {n} opens at 9:00.", f"On 2024-05-{n + 10}.") for n in range(15)]
    assert found(tmp_path, rows) == {}
