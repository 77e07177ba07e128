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
    return {finding.check: finding for finding in audit(path, **{"only": ["form"], **settings}).findings}


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


@pytest.mark.parametrize(
    "text",
    [
        "a\ufffdb",
        "the bell\x07",
        "\x1b[31mred\x1b[0m",
        "cos(\\(\x0crac{1}{2}\\))",
        *(["café", "don’t", "“so”", "für", "Über", "您好", "привет"]),
    ],
)
def test_broken_characters_are_named(text: str, tmp_path: Path) -> None:
    bad = text if text.isascii() or "\ufffd" in text else text.encode().decode("latin-1")
    rows = [pair("One?", bad), pair("Two?", "Fine.")]
    if not text.isascii() and "\ufffd" not in text:
        rows.append(pair("Three?", text.encode().decode("cp1252", errors="ignore")))
        rows.append(pair("Four?", text))
    assert found(tmp_path, rows, only=["broken_characters"])["broken_characters"].rows.to_list() in ([0], [0, 2])


@pytest.mark.parametrize(
    "text",
    [
        "\u00c9t\u00e9\u2026 \u00ab caf\u00e9 \u00bb, \u201ccaf\u00e9\u201d\u2026 \u00e0 50 \u20ac",
        "N\u00c3O \u00c9 ASSIM, \u00c3 \u2013 \u201cAMANH\u00c3\u201d. \u00c2ngelo",
        "\u00bfQu\u00e9? \u00a1Ol\u00e9! AÑO 20 \u00b0C, 3 \u00d7 4, \u00a9 2020 Pok\u00e9mon\u2122",
        "\u70eb\u70eb\u70eb\uff01\u5c4f\u98ce",
        "\u0411\u0443\u0434\u044c\u0442\u0435 \u0434\u043e\u0431\u0440\u044b \u2014 \u00ab\u0434\u0430\u00bb",
        "\u3053\u3093\u306b\u3061\u306f\u3001\U0001f469\u200d\U0001f4bb \u2764\ufe0f",
        "Th\u00e0nh ph\u1ed1 H\u1ed3 Ch\u00ed Minh",
        "page one\x0cPage two",
    ],
)
def test_text_in_its_own_encoding_is_not_broken(text: str, tmp_path: Path) -> None:
    assert "broken_characters" not in found(tmp_path, [pair("Hi?", text), pair(text)], only=["broken_characters"])


def test_ids_that_stand_twice_are_named_and_ids_of_prompts_are_not(tmp_path: Path) -> None:
    rows = [{**pair(f"Question {at}?"), "id": at, "prompt_id": 1} for at in range(10)]
    rows.append({**pair("Again?"), "id": 3, "prompt_id": 1})
    finding = found(tmp_path, rows)["repeated_ids"]
    assert (finding.rows.to_list(), finding.examples[0].note) == ([10], "rows.jsonl:4")
    assert finding.measures == {"with_id": 11, "ids": 1}
    topics = [{**pair(f"Question {at}?"), "id": f"topic {at % 3}"} for at in range(12)]
    assert "repeated_ids" not in found(tmp_path, topics)


def test_columns_without_a_value_are_told(tmp_path: Path) -> None:
    rows = [{**pair(f"Question {at}?"), "note": None if at else "x", "images": None, "system": None} for at in range(3)]
    finding = found(tmp_path, rows)["empty_columns"]
    assert (finding.measures["columns"], finding.severity) == (["images", "system"], Severity.MINOR)
    assert "empty_columns" not in found(tmp_path, [pair("Hi?")])


@pytest.mark.parametrize(
    ("change", "check"),
    [
        ({"chosen": agent("")}, "empty_answer"),
        ({"rejected": agent(" \u3000\n")}, "empty_answer"),
        ({"prompt": []}, "empty_prompt"),
        ({"prompt": [{"role": "system", "content": "Be kind."}]}, "empty_prompt"),
        ({"chosen": user("At nine.")}, "answer_not_by_assistant"),
        ({"prompt": [*user("When?"), *agent("Well.")]}, "prompt_ends_with_assistant"),
        ({"prompt": [*user("Hello."), *user("When?")]}, "not_alternating"),
        ({"prompt": [{"role": "narrator", "content": "When?"}]}, "unknown_role"),
        ({"chosen": agent(None)}, "missing_content"),
        ({"chosen": [*user("When?"), *agent("At nine.")]}, "prompt_in_answer"),
        ({"margin": "large"}, "margin_not_a_number"),
    ],
)
def test_rows_of_the_wrong_form_are_named(change: dict[str, Any], check: str, tmp_path: Path) -> None:
    sound = [pair("When?"), pair("Where?", "Here.", "There.")]
    finding = found(tmp_path, [sound[0], {**sound[0], **change}, sound[1]], source="trl", type="preference")[check]
    assert finding.places == ("rows.jsonl:2",)


def test_places_without_a_picture_are_named(tmp_path: Path) -> None:
    def seen(*images: str) -> dict[str, Any]:
        parts = [{"type": "image", "text": None}, {"type": "text", "text": "What is it?"}]
        return {"prompt": [{"role": "user", "content": parts}], "images": list(images), "completion": agent("A cat.")}

    finding = found(tmp_path, [seen("a.png"), seen(), seen("b.png")], source="trl")["image_count"]
    assert (finding.family, finding.places) == ("reading", ("rows.jsonl:2",))


def test_sound_rows_have_no_finding_of_form(tmp_path: Path) -> None:
    rows = [pair("When?"), {**pair("So?"), "prompt": [{"role": "system", "content": "Be kind."}, *user("So?")]}]
    rows.append({**pair("And?"), "prompt": [*user("Hi."), *agent("Hello."), *user("And?")]})
    assert not [one for one in found(tmp_path, rows).values() if one.family in ("form", "reading")]


def test_a_set_without_any_prompt_is_told_once(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("text,label\n" + "".join(f"Text number {at} of them,{at % 2 == 0}\n" for at in range(20)))
    result = audit(path, columns={"completion": "text"}, only=["form"])
    found = {one.check: one for one in result.findings}
    assert set(found) == {"empty_prompt"}
    assert (found["empty_prompt"].severity, found["empty_prompt"].count) == (Severity.NOTE, 0)
    assert found["empty_prompt"].measures == {"rows_with_prompt": 0}


def test_rows_without_a_prompt_among_others_are_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("prompt,text,label\nq,a,true\n,b,false\nr,c,false\n")
    result = audit(path, columns={"completion": "text"}, only=["empty_prompt", "not_alternating"])
    assert [(one.check, one.severity, one.places) for one in result.findings] == [
        ("empty_prompt", Severity.CRITICAL, ("rows.csv:3",))
    ]
