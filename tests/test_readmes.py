"""The README in Chinese says what the English one does: the same code, commands, links and sections."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = ("README.md", "README.zh.md")


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def code(name: str) -> list[list[str]]:
    """The blocks of code, without their comments."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text(name), re.DOTALL | re.MULTILINE)
    return [[re.sub(r"\s*#.*", "", line) for line in block.splitlines()] for block in blocks]


def test_both_have_the_same_code() -> None:
    assert code("README.md") == code("README.zh.md")


@pytest.mark.parametrize(
    ("what", "pattern"),
    [
        ("sections", r"(?m)^(#+) "),
        ("points", r"(?m)^(- \*\*)"),
        ("rows of tables", r"(?m)^(\|)"),
        ("pages", r"\bdocs/[\w/-]+|recipes/[\w/-]+|CONTRIBUTING"),
        ("what is installed", r"pip install [^`]+|\"prefdata\[\w+\]\""),
        ("commands", r"`((?:prefdata|make|audit) [^`]*)`"),
        ("options", r"`(--[^`]*)`"),
    ],
)
def test_both_have_the_same(what: str, pattern: str) -> None:
    english, chinese = (re.findall(pattern, text(name)) for name in FILES)
    assert english, what
    assert sorted(english) == sorted(chinese)


@pytest.mark.parametrize("name", FILES)
def test_each_link_leads_to_a_file(name: str) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", text(name)):
        assert (ROOT / target).exists(), target
