"""Rows out of turns: what stands in a prompt, and which turns are completions."""

from __future__ import annotations

import polars as pl
import pytest

from prefdata.errors import RecipeError
from prefdata.logs.events import TURNS
from prefdata.logs.rows import ROWS, rows


def turns(*sides: str, session: str = "desk/s") -> pl.DataFrame:
    """Turns c0, a1, ...: c a customer's, a an agent's, b a bot's."""
    full = [
        {
            **dict.fromkeys(TURNS),
            "source": "desk",
            "session": session,
            "turn": place,
            "role": "customer" if side == "c" else "agent",
            "text": f"{side}{place}",
            "flags": ["bot"] if side == "b" else [],
            "file": "a.csv",
            "line": place + 1,
        }
        for place, side in enumerate(sides)
    ]
    return pl.DataFrame(full, schema=TURNS)


def shown(frame: pl.DataFrame) -> list[tuple[str, str]]:
    """Prompt and completion, user messages as they are and the assistant's in capitals."""

    def short(messages: list[dict[str, str]]) -> str:
        return " ".join(one["content"].upper() if one["role"] == "assistant" else one["content"] for one in messages)

    return [(short(prompt), short(answer)) for prompt, answer in frame.select("prompt", "completion").iter_rows()]


def test_each_answer_is_a_row_with_the_conversation_so_far() -> None:
    made = rows(turns("c", "a", "c", "a"))
    assert made.schema == ROWS
    assert shown(made) == [("c0", "A1"), ("c0 A1 c2", "A3")]
    assert made["line"].to_list() == [2, 4]
    assert made["completion"][0].to_list() == [{"role": "assistant", "content": "a1", "tool_calls": None}]


def test_an_opening_of_the_agent_is_not_in_prompts() -> None:
    assert shown(rows(turns("a", "c", "a", "c", "a"))) == [("c1", "A2"), ("c1 A2 c3", "A4")]


def test_a_bots_turn_is_in_prompts_and_no_completion() -> None:
    assert shown(rows(turns("c", "b", "c", "a"))) == [("c0 B1 c2", "A3")]


def test_a_bots_opening_is_not_in_prompts() -> None:
    assert shown(rows(turns("b", "c", "a"))) == [("c1", "A2")]


@pytest.mark.parametrize(
    ("limit", "prompt"),
    [
        (None, "c0 A1 c2 A3 c4"),
        (9, "c0 A1 c2 A3 c4"),
        (5, "c0 A1 c2 A3 c4"),
        (4, "c2 A3 c4"),
        (3, "c2 A3 c4"),
        (2, "c4"),
        (1, "c4"),
    ],
)
def test_a_prompt_is_cut_at_its_beginning_and_begins_with_the_customer(limit: int | None, prompt: str) -> None:
    assert shown(rows(turns("c", "a", "c", "a", "c", "a"), max_context_turns=limit))[-1] == (prompt, "A5")


def test_a_limit_below_one_is_refused() -> None:
    with pytest.raises(RecipeError, match="max_context_turns: 0, expected at least 1"):
        rows(turns("c", "a"), max_context_turns=0)


def test_sessions_do_not_reach_into_each_other() -> None:
    both = pl.concat([turns("c", "a"), turns("a", "c", "a", session="desk/t"), turns("a", "c", session="desk/u")])
    made = rows(both.reverse(), max_context_turns=4)
    assert made.select("session", "turn").rows() == [("desk/s", 1), ("desk/t", 2)]
    assert shown(made) == [("c0", "A1"), ("c1", "A2")]


def test_no_turns_give_no_rows() -> None:
    assert rows(pl.DataFrame(schema=TURNS)).schema == ROWS
    assert rows(turns("a", "c")).height == 0
