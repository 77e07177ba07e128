"""HTML entities that nobody decoded."""

from __future__ import annotations

from pathlib import Path

import pytest
from trl_rows import findings, pair


def named(folder: Path, answer: str, prompt: str = "When do you open?") -> list[int]:
    rows = [pair("Where are you?", "Here.", "There."), pair(prompt, answer, "No.")]
    found = findings(folder, rows, only=["html_entities"])
    return found["html_entities"].rows.to_list() if "html_entities" in found else []


@pytest.mark.parametrize("text", ["Fish &amp; chips", "It&#8217;s nine", "5 &lt; 6", "Hi&#128514;", "&quot;yes&quot;"])
def test_entities_in_running_text_are_named(text: str, tmp_path: Path) -> None:
    assert named(tmp_path, text) == [1]
    assert named(tmp_path, "At nine.", prompt=text) == [1]


@pytest.mark.parametrize(
    "text",
    [
        "Fish & chips; and tea",
        "AT&T; a&b;",
        "Write ```&amp;``` for an ampersand",
        "<p>Fish &amp; chips</p>",
        "x &= y; &c;",
        "&ampere; is none",
    ],
)
def test_ampersands_code_and_markup_are_none(text: str, tmp_path: Path) -> None:
    assert named(tmp_path, text) == []
