"""The leak check: what two sides share, counted and named by id; never a text."""

from __future__ import annotations

import polars as pl
import pytest

from prefdata.build.leaks import keys, leaks
from prefdata.dedup.near import NearDuplicates
from prefdata.errors import SchemaError
from prefdata.schema import MESSAGES

LONG = "Please open the settings, choose billing, and send us the number that stands at the top of the page. "


def row(
    name: str, customer: str, reply: str, *, earlier: str = "", session: str = "s", user: str = "u"
) -> dict[str, object]:
    prompt = [{"role": "user", "content": text, "tool_calls": None} for text in (earlier, customer) if text]
    return {
        "id": name,
        "prompt": prompt,
        "completion": [{"role": "assistant", "content": reply, "tool_calls": None}],
        "meta": f'{{"session":"{session}","customer":"{user}"}}',
    }


def frame(*rows: dict[str, object]) -> pl.DataFrame:
    return pl.DataFrame(
        list(rows), schema={"id": pl.String, "prompt": MESSAGES, "completion": MESSAGES, "meta": pl.String}
    )


LEFT = frame(
    row("a", "Where is it?", "It comes tomorrow.", session="1", user="x"),
    row("b", "And the bill?", LONG, session="2", user="y"),
    row("c", "Thanks", "You are welcome.", session="3", user="z"),
)
RIGHT = frame(
    row("d", "Where is it?", "I do not know.", session="4", user="w"),  # the prompt of a
    row("e", "Where do I pay?", LONG, session="5", user="y"),  # reply and customer of b
    row("f", "Thanks", "You are welcome.", earlier="Hello", session="3", user="v"),  # session and exchange of c
)


def test_each_kind_is_counted_with_its_rows_and_ids() -> None:
    assert [tuple(one) for one in leaks(LEFT, RIGHT)] == [
        ("customer", 1, 1, 1, [["b", "e"]]),
        ("session", 1, 1, 1, [["c", "f"]]),
        ("prompt", 1, 1, 1, [["a", "d"]]),
        ("exchange", 1, 1, 1, [["c", "f"]]),
        ("reply", 2, 2, 2, [["b", "e"], ["c", "f"]]),
        ("long_reply", 1, 1, 1, [["b", "e"]]),
    ]


def test_sides_that_share_nothing_have_zeros() -> None:
    other = frame(row("z", "Is the shop open?", "Until eight.", session="9", user="q"))
    assert [(one.kind, one.values) for one in leaks(LEFT, other)] == [
        ("customer", 0),
        ("session", 0),
        ("prompt", 0),
        ("exchange", 0),
        ("reply", 0),
    ]


def test_text_and_messages_meet() -> None:
    plain = pl.DataFrame({"prompt": ["Where is it?"], "completion": ["It comes tomorrow."]})
    found = {one.kind: (one.values, one.examples) for one in leaks(LEFT, plain)}
    assert found == {
        "prompt": (1, [["a", "0"]]),
        "exchange": (1, [["a", "0"]]),
        "reply": (1, [["a", "0"]]),
    }


def test_both_answers_of_a_pair_are_compared() -> None:
    pairs = pl.DataFrame({"prompt": ["p", "q"], "chosen": ["one", "two"], "rejected": ["It comes tomorrow.", "four"]})
    found = {one.kind: one.values for one in leaks(LEFT, pairs)}
    assert found == {"prompt": 0, "exchange": 0, "reply": 1}


def test_one_text_about_two_pictures_is_two_prompts() -> None:
    rows = pl.DataFrame({"prompt": ["What is this?"], "completion": ["A cup."], "images": [[{"uri": "1.png"}]]})
    other = rows.with_columns(images=pl.Series([[{"uri": "2.png"}]]))
    assert {one.kind: one.values for one in leaks(rows, other)} == {"prompt": 0, "exchange": 0, "reply": 1}
    assert {one.kind: one.values for one in leaks(rows, rows)} == {"prompt": 1, "exchange": 1, "reply": 1}


def test_near_duplicates_across_the_sides_are_counted_by_cluster() -> None:
    question = "Hello, I still have not received the refund for my order, could you please look into it?"
    left = frame(row("a", question, LONG), row("b", question, LONG))
    right = frame(row("a", question + " Thanks", LONG), row("c", "Something else entirely here", LONG))
    told = leaks(left, right, groupings=[NearDuplicates().build()])[-1]
    assert told == ("near_duplicates", 1, 2, 1, [["a", "a"]])
    apart = leaks(left, right.filter(pl.col("id") == "c"), groupings=[NearDuplicates().build()])[-1]
    assert apart == ("near_duplicates", 0, 0, 0, [])


def test_keys_hold_no_text() -> None:
    values = keys(LEFT).filter(~pl.col("kind").is_in(["session", "customer"]))["value"]
    assert values.str.contains(r"^[0-9a-f]{20}$").all()


def test_rows_of_another_shape_are_told() -> None:
    with pytest.raises(SchemaError, match="prompt: missing, expected messages or text; none of completion, chosen"):
        leaks(LEFT, pl.DataFrame({"text": ["hello"]}))
