"""Prompt-only rows: each prompt once, with what a reward needs."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from prefdata.build.prompts import from_rows
from prefdata.errors import InputError


def text(side: str) -> pl.Expr:
    return pl.col(side).list.eval(pl.element().struct.field("content")).list.join(" | ")


def frame(*rows: tuple[str, str, str | None], **more: list[Any]) -> pl.DataFrame:
    """id, prompt, answer."""
    names = dict.fromkeys(["id", "prompt", "answer"], pl.String)
    return pl.DataFrame(rows, schema=names, orient="row").with_columns(
        pl.lit("s").alias("source"), *(pl.Series(name, values) for name, values in more.items())
    )


def test_each_prompt_stands_once_under_its_smallest_id() -> None:
    built = from_rows(frame(("2", "q", "A"), ("1", "q", " A "), ("3", "p", None)))
    assert built.rows.select("id", text("prompt"), "answer").rows() == [("1", "q", " A "), ("3", "p", None)]
    assert built.unmade.rows() == [("2", None, None, ["prompt_repeated"])]


def test_a_row_with_a_reference_comes_before_one_without() -> None:
    built = from_rows(frame(("1", "q", None), ("2", "q", "A")))
    assert built.rows.select("id", "answer").rows() == [("2", "A")]
    assert built.unmade.rows() == [("1", None, None, ["prompt_repeated"])]


def test_a_prompt_with_two_references_has_none() -> None:
    built = from_rows(frame(("1", "q", "A"), ("2", "q", "B"), ("3", "q", None), ("4", " ", "A"), ("5", "", "B")))
    assert built.rows.height == 0
    assert built.unmade.rows() == [
        ("1", None, None, ["conflicting_answers"]),
        ("2", None, None, ["conflicting_answers"]),
        ("3", None, None, ["conflicting_answers"]),
        ("4", None, None, ["no_prompt"]),
        ("5", None, None, ["no_prompt"]),
    ]


def test_columns_of_the_reward_go_to_meta() -> None:
    rows = frame(
        ("1", "q", "A"), ("2", "p", "B"), ("3", "o", None),
        level=[3, None, None], tests=[["x", "y"], [], None], meta=['{"k":1}', None, None],
    )  # fmt: skip
    built = from_rows(rows, columns=["level", "tests"])
    assert built.rows["meta"].to_list() == ['{"k":1,"level":3,"tests":["x","y"]}', '{"tests":[]}', None]


def test_prompts_differ_by_tools_and_pictures() -> None:
    rows = frame(("1", "q", None), ("2", "q", None), tools=["[]", None])
    assert from_rows(rows).rows.height == 2


def test_wrong_columns_say_what_is_wrong() -> None:
    with pytest.raises(InputError, match="level: missing"):
        from_rows(frame(("1", "q", None)), columns=["level"])
    with pytest.raises(InputError, match="columns: answer, time have a place of their own in a row"):
        from_rows(frame(("1", "q", None), time=[None]), columns=["time", "answer"])
    with pytest.raises(InputError, match="answer: Int64, expected String"):
        from_rows(frame(("1", "q", None)).with_columns(answer=pl.lit(1, pl.Int64)))
