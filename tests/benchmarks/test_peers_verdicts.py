"""Rows that a peer accepted, against canonical ones: what counts as the same, and what is told of the rest."""

from __future__ import annotations

import cases
import pytest
import refusals
import verdicts

SYSTEM = "<|im_start|>system\nDefault.<|im_end|>\n"
PROMPT = SYSTEM + "<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n"


def message(role, content):
    return {"role": role, "content": content, "tool_calls": None}


def row(answer, label=None, *more):
    return {
        "prompt": [message("user", "Q")],
        "completion": [message("assistant", answer), *more],
        "label": label,
        "tools": None,
    }


def seen(trained, label=None, context=PROMPT):
    return {"label": label, "sides": {"completion": {"context": context, "trained": trained}}}


def test_all_is_green_when_every_row_comes_back_in_any_order():
    rows = [row("yes", True), row("no", False)]
    verdict = verdicts.judge(rows, ["a", "b"], [seen("no<|im_end|>\n", False), seen("yes<|im_end|>\n", True)])
    assert verdict.green is True
    assert verdict == verdicts.Verdict(2, 2, 2, 2, 2, (), ())


@pytest.mark.parametrize(
    ("accepted", "counts", "note"),
    [
        ([], (0, 0, 0, 0), "a: no accepted row is trained on its answers"),
        ([seen("yes<|im_end|>", False)], (1, 0, 1, 1), "a: label True became False"),
        ([seen("yes !<|im_end|>", True)], (1, 0, 0, 0), "a: no accepted row is trained on its answers"),
        ([seen("yes<|im_end|>", True, SYSTEM)], (1, 1, 1, 0), "a: prompt differs: "),
    ],
    ids=["dropped", "relabelled", "other text", "other prompt"],
)
def test_what_differs_is_counted_and_named(accepted, counts, note):
    verdict = verdicts.judge([row("yes", True)], ["a"], accepted)
    assert (verdict.accepted, verdict.labels, verdict.texts, verdict.prompts) == counts
    assert verdict.notes[0].startswith(note)
    assert verdict.green is False


def test_white_space_of_an_answer_counts():
    verdict = verdicts.judge([row("  yes\n")], ["a"], [seen("yes<|im_end|>")])
    assert verdict.texts == 0


def test_an_answer_that_never_ends_is_remarked():
    verdict = verdicts.judge([row("yes")], ["a"], [seen("yes")])
    assert verdict.green is True
    assert verdict.remarks == ("the token that ends the answer is not trained on",)


def test_turns_inside_an_answer_may_be_trained_on_or_not_and_it_is_remarked():
    answer = row("one", None, message("user", "and?"), message("assistant", "two"))
    whole = "one<|im_end|>\n<|im_start|>user\nand?<|im_end|>\n<|im_start|>assistant\ntwo<|im_end|>\n"
    assert verdicts.judge([answer], ["a"], [seen(whole)]).remarks == (
        "turns of tools and customers inside an answer are trained on too",
    )
    own = seen("one<|im_end|>\ntwo<|im_end|>\n", None, PROMPT + "<|im_start|>user\nand?<|im_end|>\n")
    verdict = verdicts.judge([answer], ["a"], [own])
    assert verdict.green is True
    assert verdict.remarks == ()


def test_tools_that_the_prompt_does_not_tell_of_are_noted():
    with_tools = row("yes") | {"tools": '[{"function": {"name": "look"}}]'}
    verdict = verdicts.judge([with_tools], ["a"], [seen("yes<|im_end|>")])
    assert (verdict.texts, verdict.prompts) == (1, 0)
    assert verdict.notes == ("a: the prompt of completion does not tell of the tools",)
    assert verdicts.judge([with_tools], ["a"], [seen("yes<|im_end|>")], tools=False).green is True


CASE = cases.Case("swift", "unpaired", "t", [{}, {}], {"completion": "yes"}, "r", label=True)


@pytest.mark.parametrize(
    ("result", "words"),
    [
        ({"error": "ValueError: no", "rows": []}, "the whole file fails: `ValueError: no`"),
        ({"error": None, "rows": []}, "drops every row"),
        ({"error": None, "rows": [seen("yes", True)]}, "drops the row"),
        ({"error": None, "rows": [seen("yes", True), seen("yes<|im_end|>\n", True)]}, "takes it"),
        (
            {"error": None, "rows": [seen("yes", True), seen("|no", False)]},
            "takes it, but label true becomes false; completion is trained on as `\\|no`",
        ),
    ],
)
def test_outcome_says_what_became_of_the_row_in_question(result, words):
    assert refusals.outcome(CASE, result) == words
