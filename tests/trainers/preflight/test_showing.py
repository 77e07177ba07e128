"""One row as its tokens are trained, in colour and by brackets."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import Any

import pytest
from planted import pairs, seen
from rich.console import Console

from prefdata.reporting.preflight.row import show as printed
from prefdata.schema import RecordType
from trainers.models import load_tokenizer
from trainers.preflight import plain_trl
from trainers.preflight.seen import Seen
from trainers.preflight.showing import Shown, show

ROWS = [
    *pairs(2),
    {
        "prompt": [("user", "first " * 60), ("assistant", "second"), ("user", "third <|im_end|>")],
        "chosen": "yes",
        "rejected": "no",
    },
    {"prompt": "Where?", "chosen": "word " * 100, "rejected": "no"},
]
LIMIT = 128


@pytest.fixture(scope="module")
def data(tiny_model: Path) -> Seen:
    return seen(load_tokenizer(tiny_model), RecordType.PREFERENCE, ROWS, max_length=LIMIT)


def drawn(shown: Shown | None, **options: Any) -> str:
    assert shown is not None
    out = io.StringIO()
    printed(shown.record(), Console(file=out, width=200, highlight=False, **options))
    return out.getvalue()


def test_a_row_is_parted_into_masked_and_trained_with_its_markers(data: Seen) -> None:
    shown = show(data, "r00")
    assert shown is not None
    assert [(span.kind, span.text, span.marker) for span in shown.sides["chosen"]] == [
        ("masked", "<|im_start|>", True),
        ("masked", "user\nWhere is order 0?", False),
        ("masked", "<|im_end|>", True),
        ("masked", "\n", False),
        ("masked", "<|im_start|>", True),
        ("masked", "assistant\n", False),
        ("trained", "It will arrive tomorrow, 0.", False),
        ("trained", "<|im_end|>", True),
        ("trained", "\n", False),
    ]
    assert list(shown.sides) == ["chosen", "rejected"]


def test_without_colour_brackets_say_the_same(data: Seen) -> None:
    text = drawn(show(data, "r02"), no_color=True)
    assert "{-user: first first" in text
    assert "third <|im_end|>‹<|im_end|>›" in text
    assert "[[yes‹<|im_end|>›\n]]" in text
    assert "[[no‹<|im_end|>›\n]]" in text
    assert "legend: " in text
    assert "\x1b" not in text


def test_in_colour_no_bracket_is_printed(data: Seen) -> None:
    text = drawn(show(data, "r00"), force_terminal=True, color_system="standard")
    assert "\x1b[" in text
    assert "[[" not in text
    assert "‹" not in text


def test_a_dropped_row_says_why_and_is_shown_whole(data: Seen) -> None:
    shown = show(data, "r03")
    assert shown is not None
    assert shown.facts["dropped"] == "too_long"
    assert "not trained on: too_long" in drawn(shown, no_color=True)
    assert show(data, "r99") is None


def test_as_trl_the_end_of_the_answer_is_shown_as_cut(data: Seen) -> None:
    shown = show(data, "r03", plain_trl.plain(data))
    assert shown is not None
    kinds = [span.kind for span in shown.sides["chosen"]]
    assert kinds[-1] == "cut"
    assert "trained" in kinds
    assert "{-" in drawn(shown, no_color=True)
    assert [span.kind for span in shown.sides["rejected"]].count("cut") == 0
    assert "dropped" not in shown.facts


def test_as_trl_a_reward_models_row_with_a_longer_side_is_dropped(data: Seen) -> None:
    reward = dataclasses.replace(data, method="reward")
    shown = show(reward, "r03", plain_trl.plain(reward))
    assert shown is not None
    assert shown.facts["dropped"] == "a side is longer than max_length"
