"""Cures that look like a piece of a recipe are one: a recipe with them is read without a fault."""

from __future__ import annotations

from pathlib import Path

import pytest

from prefdata.auditing.check import Check
from prefdata.auditor import all_checks
from prefdata.recipe import TOP, parse
from prefdata.reporting.audit.words import pieces
from prefdata.schema import RecordType

RECIPE = "name: x\nsources: [{name: a, path: a.jsonl, format: trl, type: %s}]\n"


def snippets(check: Check) -> list[str]:
    code = [piece.text for piece in pieces(check.cure) if piece.code]
    return [text for text in code if text.split(":")[0] in TOP]


@pytest.mark.parametrize("check", [one for one in all_checks() if snippets(one)], ids=lambda check: check.name)
def test_a_piece_of_a_recipe_can_be_pasted(check: Check, tmp_path: Path) -> None:
    record_type = RecordType.UNPAIRED if RecordType.UNPAIRED in check.types else next(iter(check.types))
    for text in snippets(check):
        parse(RECIPE % record_type.value + text + "\n", root=tmp_path)


def test_there_are_such_cures() -> None:
    assert sum(bool(snippets(check)) for check in all_checks()) >= 8
