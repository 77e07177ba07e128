"""The sample log of recipes/data: made again byte for byte, as large and as messy as its README says."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

DATA = Path(__file__).resolve().parents[2] / "recipes" / "data"
FILES = ("chats.csv", "conversations.jsonl", "transcripts.tsv", "truth.json")
WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


def luhn(number: str) -> bool:
    digits = [int(char) for char in reversed(number) if char.isdigit()]
    doubled = [value * 2 - 9 * (value > 4) for value in digits[1::2]]
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0


def iban(code: str) -> bool:
    plain = code.replace(" ", "")
    return int("".join(str(int(char, 36)) for char in plain[4:] + plain[:4])) % 97 == 1


def chinese_id(number: str) -> bool:
    total = sum(int(char) * weight for char, weight in zip(number, WEIGHTS, strict=False))
    return "10X98765432"[total % 11] == number[-1]


@pytest.fixture(scope="module")
def truth() -> dict[str, Any]:
    return json.loads((DATA / "truth.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def messages() -> dict[str, dict[str, list[tuple[str, str]]]]:
    """Export -> session -> (role, text) of what can be read, by the standard library alone."""
    found: dict[str, dict[str, list[tuple[str, str]]]] = {"chats": {}, "conversations": {}, "transcripts": {}}
    text = (DATA / "chats.csv").read_bytes().decode("utf-8-sig", errors="replace")
    for row in csv.DictReader(io.StringIO(text, newline="")):
        if row["body"]:
            found["chats"].setdefault(row["ticket_id"], []).append((row["author_type"], row["body"]))
    for line in (DATA / "conversations.jsonl").read_text(encoding="utf-8").splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        found["conversations"][record["id"]] = [
            (part["from"], part["text"].replace("\ud83d ", "")) for part in record["messages"]
        ]
    text = (DATA / "transcripts.tsv").read_bytes().decode("gb18030")
    for row in csv.DictReader(io.StringIO(text, newline=""), delimiter="\t"):
        lines = [re.split("[:：]", line, maxsplit=1) for line in (row["对话内容"] or "").split("\n")]
        found["transcripts"][row["case_no"]] = [(pair[0], pair[1].strip()) for pair in lines if len(pair) == 2]
    return found


@pytest.fixture(scope="module")
def everything(messages: dict[str, dict[str, list[tuple[str, str]]]]) -> str:
    return "\n".join(text for sessions in messages.values() for lines in sessions.values() for _, text in lines)


def test_the_generator_gives_the_committed_bytes(tmp_path: Path) -> None:
    subprocess.run([sys.executable, str(DATA / "generate.py"), "--out", str(tmp_path)], check=True, timeout=60)
    made = {name: hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in (*FILES, "questions.csv")}
    assert made == {name: hashlib.sha256((DATA / name).read_bytes()).hexdigest() for name in made}


def test_the_sample_is_large_enough_to_train_on_and_small_enough_to_keep(truth: dict[str, Any]) -> None:
    counts = truth["agent_messages"]
    replies = counts["good"] + counts["ordinary"] + counts["bad"] + counts["rude"]
    assert sum(truth["sessions"].values()) >= 700
    assert counts["good"] + counts["bad"] + counts["rude"] >= 1600
    assert 0.45 <= counts["good"] / replies <= 0.60
    assert 0.25 <= (counts["bad"] + counts["rude"]) / replies <= 0.40
    assert sum((DATA / name).stat().st_size for name in FILES) < 2_000_000


def test_every_session_of_the_truth_can_be_read_but_the_two_broken_on_purpose(
    truth: dict[str, Any], messages: dict[str, dict[str, list[tuple[str, str]]]]
) -> None:
    listed = {(entry["source"], entry["session"]) for entry in truth["list"]}
    found = {(export, session) for export, sessions in messages.items() for session in sessions}
    assert len(listed) == len(truth["list"])
    assert sorted(listed - found) == []
    broken = {("chats", "T99002"), ("chats", "T99003"), ("transcripts", "W99001"), ("transcripts", "W99002")}
    assert found - listed == broken


def test_languages_are_mixed_as_described(truth: dict[str, Any]) -> None:
    def chinese(export: str) -> float:
        entries = [entry for entry in truth["list"] if entry["source"] == export]
        return round(sum(entry["language"] == "zh" for entry in entries) / len(entries), 1)

    assert [chinese(export) for export in ("chats", "conversations", "transcripts")] == [0.0, 0.2, 0.9]


def test_no_template_is_left_unfilled(everything: str) -> None:
    assert re.findall(r"\{\w+\}|\[[^\]\n]*\|[^\]\n]*\]|(?m:^@\w+ )", everything) == []


def test_cards_accounts_and_identity_numbers_have_valid_checksums(everything: str) -> None:
    cards = re.findall(r"(?<!\d)(?:4242|4111|5555|5200)(?:[ -]?\d{4}){3}(?!\d)", everything)
    ibans = re.findall(r"\b(?:DE|GB|NL)\d{2}(?: ?[A-Z0-9]{1,4}){3,6}\b", everything)
    ids = re.findall(r"(?<!\d)\d{6}(?:19|20)\d{9}[\dX](?!\d)", everything)
    assert [card for card in cards if not luhn(card)] == []
    assert [code for code in ibans if not iban(code)] == []
    assert [number for number in ids if not chinese_id(number)] == []
    assert (len(cards) >= 15, len(ibans) >= 5, len(ids) >= 8) == (True, True, True)


def test_each_canary_stands_in_its_session_beside_its_value(
    truth: dict[str, Any], messages: dict[str, dict[str, list[tuple[str, str]]]]
) -> None:
    readable = [entry for entry in truth["canaries"] if entry["readable"]]
    for entry in readable:
        text = "\n".join(text for _, text in messages[entry["source"]][entry["session"]])
        assert (entry["canary"] in text, entry["value"] in text) == (True, True)
    kinds = sorted({entry["kind"] for entry in readable})
    assert (len(readable), kinds) == (12, ["card", "cn_id", "name", "phone", "secret"])
    assert len({entry["value"] for entry in readable}) == 12


def test_broken_lines_hold_a_canary_that_no_reader_may_repeat(truth: dict[str, Any]) -> None:
    hidden = [entry for entry in truth["canaries"] if not entry["readable"]]
    assert [entry["source"] for entry in hidden] == ["chats", "conversations", "transcripts"]
    for entry, name in zip(hidden, FILES, strict=False):
        assert (DATA / name).read_bytes().count(entry["value"].encode()) == 1


def test_exact_copies_say_the_same_and_opposite_answers_do_not(
    truth: dict[str, Any], messages: dict[str, dict[str, list[tuple[str, str]]]]
) -> None:
    copies = [entry for entry in truth["list"] if entry.get("copy") == "exact"]
    for entry in copies:
        sessions = messages[entry["source"]]
        ours = sorted(
            {text for role, text in sessions[entry["session"]] if role in ("staff", "agent", "客服", "Agent")}
        )
        theirs = {text for _, text in sessions[entry["copy_of"]]}
        assert [text for text in ours if text not in theirs] == []
    assert len(copies) == 30
    opposites = [entry for entry in truth["list"] if "opposite" in entry]
    assert [entry["agent"] for entry in opposites] == [["good"], ["ordinary"]] * 5


def test_json_lines_hold_each_kind_of_broken_line() -> None:
    lines = (DATA / "conversations.jsonl").read_text(encoding="utf-8").splitlines()
    faults = {"blank": 0, "malformed": 0, "doubled_key": 0, "lone_surrogate": 0}
    for line in lines:
        try:
            keys = json.loads(line, object_pairs_hook=lambda pairs: [name for name, _ in pairs])
        except ValueError:
            faults["malformed" if line else "blank"] += 1
            continue
        faults["doubled_key"] += len(keys) != len(set(keys))
        faults["lone_surrogate"] += "\\ud83d " in line
    assert faults == {"blank": 1, "malformed": 3, "doubled_key": 1, "lone_surrogate": 1}


def test_the_readme_gives_the_counts_of_the_files(truth: dict[str, Any]) -> None:
    text = (DATA / "README.md").read_text(encoding="utf-8")
    for export in ("chats", "conversations", "transcripts"):
        assert f"| {truth['sessions'][export]} | {truth['messages'][export]:,} |" in text
    shown = [
        kind for kind in ("good", "ordinary", "bad", "rude", "junk") if f" {truth['agent_messages'][kind]:,} " in text
    ]
    assert len(shown) == 5
