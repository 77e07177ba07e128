"""Languages: an answer in another script than the question is named, a translation that was asked for is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from trl_rows import findings, pair

from prefdata.auditing import languages
from prefdata.auditing.finding import Finding, Severity


def found(folder: Path, rows: list[dict[str, Any]]) -> dict[str, Finding]:
    return findings(folder, rows, ["language_mix", "language_mismatch"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Where is my parcel?", "Latin"),
        ("Wo ist mein Päckchen, bitte?", "Latin"),
        ("我的包裹在哪里？", "Han"),
        ("荷物はどこにありますか", "Kana"),
        ("제 소포는 어디에 있나요?", "Hangul"),
        ("Где моя посылка, скажите", "Cyrillic"),
        ("请用Python写一个排序函数", "Han"),
        ("what does this mean 超次元の究極バトル", None),
        ("12 + 34 = 46", None),
        ("ok", None),
        ("", None),
    ],
)
def test_the_script_of_a_text_is_that_of_most_letters(text: str, expected: str | None) -> None:
    frame = pl.DataFrame({"row": [0], "text": [text]})
    assert languages._scripts(frame, ["text"])["text"].to_list() == [expected]


def test_a_long_text_is_told_without_counting_and_to_the_same(tmp_path: Path) -> None:
    texts = [
        "Where is my parcel? " * 9,
        "Où est mon colis, s'il vous plaît? " * 9,
        "我的包裹在哪里？" * 9,
        "Где моя посылка? " * 9,
    ]
    frame = pl.DataFrame({"row": range(4), "text": texts})
    counted = frame.select(languages.script(pl.col("text"))).to_series().to_list()
    assert languages._scripts(frame, ["text"])["text"].to_list() == counted == ["Latin", "Latin", "Han", "Cyrillic"]


def test_answers_in_another_script_are_named(tmp_path: Path) -> None:
    rows = [
        pair("我的包裹在哪里？", "It is on its way to you.", "在路上，请您耐心等待。"),
        pair("Where is my parcel?", "It is on its way.", "在路上，请您耐心等待。"),
        pair("Translate to Chinese: my parcel", "我的包裹，我的包裹", "My parcel is here."),
        pair("请翻译成英文：我的包裹", "My parcel is here.", "我的包裹，我的包裹"),
        pair("我的包裹在哪里？", "在路上，请您耐心等待。", "请您明天再来问。"),
    ]
    told = found(tmp_path, rows)["language_mismatch"]
    assert told.rows.to_list() == [0]
    assert (told.severity, told.measures["chosen"], told.measures["rejected"]) == (Severity.MAJOR, 1, 1)


def test_a_mix_of_languages_is_a_note_with_counts(tmp_path: Path) -> None:
    rows = [
        pair(f"Where is my parcel number {n}, please?", f"It is on its way to you, {n}.", f"I do not know, sorry, {n}.")
        for n in range(8)
    ]
    assert found(tmp_path, rows) == {}
    rows += [pair(f"我的第{n}个包裹在哪里？", f"第{n}个在路上，请您耐心等待。", f"第{n}个我不知道。") for n in range(3)]
    told = found(tmp_path, rows)["language_mix"]
    assert told.severity is Severity.NOTE
    assert told.measures["scripts"]["turn"] == {"Latin": 8, "Han": 3}
    assert told.measures["languages"]["turn"] == {"en": 8, "zh": 3}
    assert told.measures["looked_at"] == 11
