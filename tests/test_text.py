"""Expressions over messages: expected values written out."""

from __future__ import annotations

import polars as pl
import pytest

from prefdata.schema import MESSAGES
from prefdata.text import char_count, contents, joined_text, last_text, last_user_text, message_count


def _messages(*turns: tuple[str, str | None]) -> list[dict[str, str | None]]:
    return [{"role": role, "content": content, "tool_calls": None} for role, content in turns]


@pytest.fixture
def frame() -> pl.DataFrame:
    rows = [
        _messages(("system", "be kind"), ("user", "你好"), ("assistant", "hi"), ("user", "refund?")),
        _messages(("assistant", "welcome")),
        _messages(("user", None)),
        [],
        None,
    ]
    return pl.DataFrame({"prompt": rows}, schema={"prompt": MESSAGES})


def _values(frame: pl.DataFrame, expression: pl.Expr) -> list[object]:
    return frame.select(expression.alias("value"))["value"].to_list()


def test_last_user_text_is_the_last_customer_turn_and_empty_where_there_is_none(frame: pl.DataFrame) -> None:
    assert _values(frame, last_user_text("prompt")) == ["refund?", "", "", "", None]


def test_last_text_takes_the_role_asked_for(frame: pl.DataFrame) -> None:
    assert _values(frame, last_text(pl.col("prompt"), role="assistant")) == ["hi", "welcome", "", "", None]


def test_joined_text_keeps_the_order_of_the_messages(frame: pl.DataFrame) -> None:
    assert _values(frame, joined_text("prompt", separator="|")) == ["be kind|你好|hi|refund?", "welcome", "", "", None]
    assert _values(frame, joined_text("prompt", roles=["user"])) == ["你好\nrefund?", "", "", "", None]


def test_contents_are_a_list_of_strings(frame: pl.DataFrame) -> None:
    assert _values(frame, contents("prompt", roles={"user", "assistant"}))[0] == ["你好", "hi", "refund?"]


def test_counts_are_of_messages_and_of_characters_not_bytes(frame: pl.DataFrame) -> None:
    assert _values(frame, message_count("prompt")) == [4, 1, 1, 0, None]
    assert _values(frame, message_count("prompt", roles=["user"])) == [2, 0, 1, 0, None]
    assert _values(frame, char_count("prompt")) == [18, 7, 0, 0, None]
    assert frame.select(char_count("prompt")).schema["prompt"] == pl.UInt32()
