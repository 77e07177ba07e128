"""Notices that a machine wrote (automatic replies, handovers), found by phrase; what follows is left to sessions.py."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import polars as pl

_FOLDER = Path(__file__).parent / "lexicons"

HEAD_CHARS = 300
"""How far into a message a notice of a machine is looked for: it says so at its start."""


@cache
def phrases(name: str) -> dict[str, tuple[str, ...]]:
    """Section -> phrases of `lexicons/<name>.txt`; `#` starts a comment line, `[lower_case]` a section."""
    found: dict[str, list[str]] = {}
    section = ""
    for raw in (_FOLDER / f"{name}.txt").read_text(encoding="utf-8").splitlines():
        line = raw.strip()
        if heading := re.fullmatch(r"\[([a-z_]+)\]", line):
            section = heading[1]
        elif line and not line.startswith("#"):
            found.setdefault(section, []).append(line)
    return {name: tuple(lines) for name, lines in found.items()}


def mentions(text: pl.Expr, name: str, section: str) -> pl.Expr:
    """Boolean: one of the phrases stands in the first 300 characters of `text`; null text is false."""
    head = text.str.head(HEAD_CHARS).str.replace_all("’", "'", literal=True)
    return head.str.contains_any(list(phrases(name)[section]), ascii_case_insensitive=True).fill_null(False)
