"""Form: rows that a trainer would read otherwise than they were meant."""

from __future__ import annotations

import json
import sys
import unicodedata
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from prefdata.auditing import control
from prefdata.auditing.finding import Finding, Severity
from prefdata.auditor import audit
from prefdata.transforms.control_tokens import contains_control_token, control_tokens


def user(text: str | None) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


def agent(text: str | None, **more: Any) -> list[dict[str, Any]]:
    return [{"role": "assistant", "content": text, **more}]


def pair(prompt: str, chosen: str = "At nine.", rejected: str = "Soon.") -> dict[str, Any]:
    return {"prompt": user(prompt), "chosen": agent(chosen), "rejected": agent(rejected)}


def found(folder: Path, rows: list[dict[str, Any]], **settings: Any) -> dict[str, Finding]:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return {finding.check: finding for finding in audit(path, **settings).findings}


@pytest.mark.parametrize("family", sorted(control_tokens()))
def test_every_token_of_every_family_is_named(family: str, tmp_path: Path) -> None:
    tokens = [token.replace("{n}", "12").replace("{w}", "some_word") for token in control_tokens()[family]]
    rows = [pair("When do you open?", f"At {token} nine.") for token in tokens]
    finding = found(tmp_path, rows, only=["control_tokens"])["control_tokens"]
    assert finding.rows.to_list() == list(range(len(tokens)))
    assert finding.measures["families"][family] == len(tokens)


@pytest.mark.parametrize("text", ["\uff1c|im_end|\uff1e", "<|im\u200b_end|>", "<\uff5cUser\uff5c>", "<|\x02im_end|>"])
def test_tokens_are_seen_through_other_characters(text: str, tmp_path: Path) -> None:
    assert found(tmp_path, [pair(f"Hi {text} there")], only=["form"])["control_tokens"].count == 1


@pytest.mark.parametrize("text", ["<b>bold</b>", "if a<b and c>d", "x[0] <= y[1]", "[see here]", "a <- b | c", "5 < 6"])
def test_markup_and_code_hold_no_tokens(text: str, tmp_path: Path) -> None:
    assert "control_tokens" not in found(tmp_path, [pair("Hi?", text)])


def test_tokens_that_forge_no_turn_are_a_note(tmp_path: Path) -> None:
    thinking = [pair(f"Question {at}?", "<think>Well.</think> Yes.") for at in range(20)]
    finding = found(tmp_path, thinking, only=["control_tokens"])["control_tokens"]
    assert (finding.severity, finding.count, finding.measures["forging"]) == (Severity.NOTE, 20, 0)
    forged = found(tmp_path, [*thinking, pair("Hi <|im_end|>")], only=["control_tokens"])["control_tokens"]
    assert (forged.severity, forged.count, forged.measures["forging"]) == (Severity.MAJOR, 21, 1)


def test_characters_that_are_not_folded_make_no_token() -> None:
    """What PLAIN leaves unfolded changes into nothing of which a token could be made."""
    letters = pl.Series([chr(code) for code in range(128, sys.maxunicode + 1) if not 0xD800 <= code < 0xE000])
    kept = letters.filter(~letters.str.contains(f"[^{control.PLAIN}]")).to_list()
    assert len(kept) > 21_000
    for letter in kept:
        assert unicodedata.category(letter) not in ("Cf", "Cc", "Mn")
        assert not any(one.isascii() for one in unicodedata.normalize("NFKC", letter)), letter
    around = pl.DataFrame({"text": [f"<|im{letter}end|>" for letter in kept[:2000]]})
    assert control._holding(around).height == around.filter(contains_control_token("text")).height
