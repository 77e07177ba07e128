"""Overlap with benchmarks: planted items are found with their coverage, quoted phrases are not."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from prefdata.auditing.finding import Finding, Severity
from prefdata.auditing.overlap import benchmark_texts, named
from prefdata.auditing.overlapping import Index
from prefdata.auditor import audit
from prefdata.cli import app
from prefdata.errors import InputError

ITEM = "A farmer has seventeen sheep and all but nine run away in the night how many sheep are left"
SHORT = "Who wrote the old sea?"
CHINESE = "按照中国人民银行的规定商业银行应当保留的存款准备金是多少"


def pair(prompt: str) -> dict[str, Any]:
    turns = {"prompt": ("user", prompt), "chosen": ("assistant", "Nine."), "rejected": ("assistant", "Eight.")}
    return {side: [{"role": role, "content": text}] for side, (role, text) in turns.items()}


def written(path: Path, rows: Sequence[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def found(tmp_path: Path, prompts: Sequence[str], benchmarks: Sequence[Path]) -> Finding | None:
    data = written(tmp_path / "data" / "rows.jsonl", [pair(prompt) for prompt in prompts])
    findings = audit(data, only=["benchmark_overlap"], benchmarks=benchmarks).findings
    return findings[0] if findings else None


@pytest.fixture
def sums(tmp_path: Path) -> Path:
    return written(tmp_path / "sums" / "items.jsonl", [{"question": ITEM}, {"question": SHORT}]).parent


def test_items_in_prompts_are_named_with_benchmark_and_coverage(tmp_path: Path, sums: Path) -> None:
    prompts = [
        "What is a sheep?",
        f"Think step by step, and be brief, then say it in one sentence. {ITEM.upper()}?",
        "Who wrote the OLD sea",
        "Please tell me: who wrote the old sea?",  # a short item counts as a whole text only
        "A farmer has seventeen sheep and all but nine of them are white, and why would that be so do you think",
    ]
    result = found(tmp_path, prompts, [sums])
    assert result is not None
    assert result.places == ("rows.jsonl:2", "rows.jsonl:3")
    assert [example.note for example in result.examples] == ["sums, coverage 1.00", "sums, coverage 1.00"]
    assert result.measures["benchmarks"] == {"sums": {"rows": 2, "items_seen": 2, "items": 2}}
    assert result.severity is Severity.CRITICAL


def test_benchmarks_are_given_on_the_command_line(tmp_path: Path, sums: Path) -> None:
    data = written(tmp_path / "data" / "rows.jsonl", [pair(ITEM), pair(CHINESE)])
    bank = written(tmp_path / "bank.jsonl", [{"question": CHINESE}])
    given = ["--benchmarks", str(sums), "--benchmarks", str(bank), "--only", "benchmark_overlap", "--json", "--quiet"]
    result = CliRunner().invoke(app, ["audit", str(data), *given])
    assert result.exit_code == 0
    (finding,) = json.loads(result.stdout)["findings"]
    assert (finding["check"], finding["count"]) == ("benchmark_overlap", 2)
    assert finding["measures"]["benchmarks"]["bank"] == {"items": 1, "items_seen": 1, "rows": 1}


def test_without_benchmarks_or_overlap_nothing_is_said(tmp_path: Path, sums: Path) -> None:
    assert found(tmp_path, [ITEM], []) is None
    assert found(tmp_path, ["How are you?", "What is the price of this ticket to the sea, please?"], [sums]) is None


def test_chinese_is_compared_by_characters(tmp_path: Path) -> None:
    bank = written(tmp_path / "bank.jsonl", [{"items": [{"question": CHINESE}]}])
    prompts = [f"请回答：{CHINESE}？", "按照中国人民银行的规定，我可以开几个账户？", CHINESE[:12]]
    result = found(tmp_path, prompts, [bank])
    assert result is not None
    assert result.rows.to_list() == [0]
    assert result.measures["benchmarks"]["bank"]["rows"] == 1


def test_coverage_is_the_larger_share_of_runs() -> None:
    words = ITEM.split()
    assert len(words) == 19  # 12 runs of eight words
    index = Index({"sums": [ITEM]})
    quoted = " ".join(words[:14])  # 7 of 12 runs of the item, all 7 of its own
    mixed = f"{quoted} one two three four five six seven eight nine"  # 7 of its 16
    half = " ".join(words[:12]) + " one two three four five six seven eight nine"  # 5 of 12, 5 of 14
    texts = pl.Series([quoted, mixed, half])
    told = index.find(pl.Series([4, 5, 6], dtype=pl.UInt32), texts, texts)
    assert told["row"].to_list() == [4, 5]
    assert told["coverage"].to_list() == pytest.approx([1.0, 7 / 12], abs=1e-6)


def test_set_phrases_of_a_benchmark_count_for_nothing() -> None:
    phrase = "your entire response should be in english and in all capital letters"
    items = [f"{phrase} topic number {number}" for number in range(12)]
    texts = pl.Series([f"Write a poem, {phrase}"])
    told = Index({"form": items}).find(pl.Series([0], dtype=pl.UInt32), texts, texts)
    assert told.height == 0


def test_the_last_turn_is_looked_at_by_itself() -> None:
    whole = pl.Series([" ".join(f"word{number}" for number in range(200)) + " " + SHORT])
    told = Index({"sums": [SHORT]}).find(pl.Series([0], dtype=pl.UInt32), whole, pl.Series([SHORT]))
    assert told["coverage"].to_list() == [1.0]


def test_texts_of_a_benchmark_are_all_its_strings_but_addresses(tmp_path: Path) -> None:
    rows = [{"turns": ["One?", "Two?"], "more": {"deep": ["Three"]}, "url": "https://example.org/a", "number": 4}]
    written(tmp_path / "b.jsonl", rows)
    (tmp_path / "c.csv").write_text('Question,Source\n"Why, then?",http://example.org\n', encoding="utf-8")
    (tmp_path / "README.md").write_text("No data.", encoding="utf-8")
    assert {"One?", "Two?", "Three", "Why, then?"} <= set(benchmark_texts(tmp_path))
    assert not [text for text in benchmark_texts(tmp_path) if "example" in text]


def test_folders_without_data_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no \.json"):
        benchmark_texts(tmp_path)
    with pytest.raises(InputError, match="no such benchmark"):
        named([tmp_path / "nothing"])


def test_pairs_of_auto_j_hold_questions_of_mt_bench(shared_data: Callable[[str], Path]) -> None:
    data, bench = shared_data("autoj/testdata_pairwise.jsonl.gz"), shared_data("mtbench/question.jsonl").parent
    findings = {one.check: one for one in audit(data, only=["benchmark_overlap"], benchmarks=[bench]).findings}
    assert findings["benchmark_overlap"].count == 34
    assert findings["benchmark_overlap"].measures["benchmarks"]["mtbench"]["items_seen"] == 21
