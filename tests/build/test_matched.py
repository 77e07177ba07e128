"""Pairs out of labelled replies: across sessions, and within one."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import prefdata
from prefdata.build.built import Built
from prefdata.build.matched import MatchSettings, from_sessions, from_unpaired
from prefdata.dedup.near import NearDuplicates
from prefdata.errors import InputError
from prefdata.schema import SCHEMAS, RecordType

NEAR = NearDuplicates().build()


def text(side: str) -> pl.Expr:
    return pl.col(side).list.eval(pl.element().struct.field("content")).list.join(" | ")


def row(
    name: str,
    turns: str | Sequence[str],
    reply: str,
    label: bool | None,
    *,
    session: str | None = None,
    turn: int = 1,
    confidence: float | None = None,
) -> dict[str, Any]:
    """One labelled reply; `turns` alternate between customer and agent and end with the customer."""
    turns = [turns] if isinstance(turns, str) else list(turns)
    said = [
        {"role": "user" if (len(turns) - at) % 2 else "assistant", "content": one, "tool_calls": None}
        for at, one in enumerate(turns)
    ]
    return {
        "id": name,
        "source": "s",
        "group": session or name,
        "prompt": said,
        "completion": [{"role": "assistant", "content": reply, "tool_calls": None}],
        "label": label,
        "label_confidence": confidence,
        "meta": json.dumps({"session": session or name, "turn": turn}),
    }


def frame(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=SCHEMAS[RecordType.UNPAIRED])


def sides(built: Built) -> list[tuple[str, str, str]]:
    return sorted(built.rows.select(text("prompt"), text("chosen"), text("rejected")).rows())


ASK = "Where is my parcel? The tracking page has not moved since Monday."
LIKE = "where is my parcel, the tracking page has not moved since Monday!"
GOOD = "It is with the driver now and reaches you before six."
BAD = "No idea, please read the website."


# ------------------------------------------------------------------------------------------- across sessions


def test_a_good_and_a_bad_reply_to_the_same_question_are_a_pair() -> None:
    rows = frame(row("1", ASK, GOOD, True, confidence=0.9), row("2", LIKE, BAD, False, confidence=0.8))
    built = from_unpaired(rows, grouping=NEAR)
    assert sides(built) == [(ASK, GOOD, BAD)]
    assert built.unmade.height == 0
    assert json.loads(built.rows["evidence"][0]) == {
        "by": "matched_turns",
        "chosen": "1",
        "rejected": "2",
        "turn_similarity": 1.0,
        "context_similarity": 1.0,
        "reply_similarity": 0.0323,  # "the" of 31 words and neighbours
        "length_ratio": 0.6226,
        "chosen_confidence": 0.9,
        "rejected_confidence": 0.8,
        "quality": 0.6884,  # sqrt(.9 x .8) x (1 + .6226) / 2
    }
    assert json.loads(built.rows["meta"][0]) == {
        "chosen": {"session": "1", "turn": 1},
        "rejected": {"session": "2", "turn": 1},
    }


@pytest.mark.parametrize(
    ("good", "bad", "reasons"),
    [
        (row("1", ASK, GOOD, True), row("2", ASK, GOOD, False), ["equal_sides", "near_equal_replies"]),
        (
            row("1", ASK, "Your parcel comes on Friday at 6, I promise", True),
            row("2", ASK, "Your parcel comes on Friday at 8, I promise", False),
            ["differ_only_in_facts"],
        ),
        (
            row("1", ASK, "I have asked the courier to bring it to you tomorrow before noon and to ring twice", True),
            row("2", ASK, "I have asked the courier to bring it to you tomorrow before noon and to ring once", False),
            ["near_equal_replies"],
        ),
        (
            row("1", "Where is my order 77001? It has not moved since Monday.", GOOD, True),
            row("2", "Where is my order 77002? It has not moved since Monday.", "Order 77002 is not my thing.", False),
            ["foreign_facts"],
        ),
        (row("1", ASK, GOOD, True, session="x"), row("2", ASK, BAD, False, session="x"), ["same_session"]),
        (
            row("1", ["my oven is broken", "we send a fitter", ASK], GOOD, True),
            row("2", ["i cannot log in", "try the other password", ASK], BAD, False),
            ["other_context"],
        ),
        (
            row("1", ["is it the blue one or the red one", "the blue one you asked for", "yes please do"], GOOD, True),
            row("2", ["is it the blue one or the green one", "the blue one you want", "yes please do"], BAD, False),
            ["short_turn"],
        ),
        (
            row("1", ["is it the blue one or the red one", "the blue one", "is there anything else"], GOOD, True),
            row("2", ["is it the blue one or the green one", "the blue one", "is there anything else"], BAD, False),
            ["asks_for_more"],
        ),
    ],
)  # fmt: skip
def test_what_would_make_a_false_pair_is_refused(good: dict[str, Any], bad: dict[str, Any], reasons: list[str]) -> None:
    built = from_unpaired(frame(good, bad), grouping=NEAR)
    assert built.rows.height == 0
    assert built.unmade.rows() == [("1", "2", None, reasons)]


def test_a_number_that_the_agent_knew_by_himself_is_no_foreign_fact() -> None:
    built = from_unpaired(
        frame(row("1", ASK, GOOD, True), row("2", ASK, "We open at 9, ask then.", False)), grouping=NEAR
    )
    assert built.rows.height == 1


def test_order_numbers_do_not_keep_the_same_question_apart_unless_that_is_asked_for() -> None:
    rows = frame(
        row("1", "Where is my order 77001? It has not moved since Monday.", GOOD, True),
        row("2", "Where is my order 77002? It has not moved since Monday.", BAD, False),
    )
    assert from_unpaired(rows, grouping=NEAR).rows.height == 1
    strict = from_unpaired(rows, grouping=NEAR, settings=MatchSettings(mask_identifiers=False))
    assert strict.counts() == {"no_opposite_reply": 2}


def test_a_question_that_says_the_opposite_is_another_question() -> None:
    rows = frame(
        row("1", "I did get the confirmation mail for my order from you this very morning", GOOD, True),
        row("2", "I did not get the confirmation mail for my order from you this very morning", BAD, False),
    )
    assert from_unpaired(rows, grouping=NEAR, settings=MatchSettings(min_similarity=0.5)).rows.height == 0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"label": None}, "abstained"),
        ({"confidence": 0.69}, "low_confidence"),
        ({"turns": " "}, "no_customer_turn"),
        ({"reply": " "}, "empty_completion"),
        ({"turns": "I cannot log in to my account since you changed it"}, "no_opposite_reply"),
    ],
)
def test_a_row_that_cannot_be_matched(change: dict[str, Any], reason: str) -> None:
    given: dict[str, Any] = {"turns": ASK, "reply": BAD, "label": False, "confidence": 0.7, **change}
    other = row("2", given["turns"], given["reply"], given["label"], confidence=given["confidence"])
    built = from_unpaired(
        frame(row("1", ASK, GOOD, True), other), grouping=NEAR, settings=MatchSettings(min_confidence=0.7)
    )
    assert built.rows.height == 0
    found = {(one, *reasons) for one, _, _, reasons in built.unmade.rows()}
    assert found == {("1", "no_opposite_reply"), ("2", reason)}


def test_no_reply_and_no_question_is_used_more_often_than_allowed_and_the_best_come_first() -> None:
    answers = ["It left today.", "The courier has it.", "We looked: Friday.", "A new one is packed for you."]
    rows = frame(
        row("bad", ASK, BAD, False, confidence=0.9),
        *(row(f"g{at}", ASK, one, True, confidence=0.6 + at / 10) for at, one in enumerate(answers)),
    )
    built = from_unpaired(rows, grouping=NEAR, settings=MatchSettings(max_uses=2))
    chosen = {json.loads(one)["chosen"] for one in built.rows["evidence"]}
    ranked = sorted(
        (
            json.loads(one)["quality"]
            for one in from_unpaired(rows, grouping=NEAR, settings=MatchSettings(max_uses=9)).rows["evidence"]
        ),
        reverse=True,
    )
    assert len(chosen) == 2
    assert sorted((json.loads(one)["quality"] for one in built.rows["evidence"]), reverse=True) == ranked[:2]
    assert built.counts() == {"over_cap": 2}
    capped = from_unpaired(rows, grouping=NEAR, settings=MatchSettings(max_uses=9, max_per_prompt=3))
    assert (capped.rows.height, capped.counts()) == (3, {"over_cap": 1})


def test_a_question_asked_by_everybody_does_not_compare_all_with_all() -> None:
    rows = frame(
        *(row(f"g{at:02d}", ASK, f"Answer {'x' * at}", True, confidence=0.9 - at / 100) for at in range(10)),
        *(row(f"b{at:02d}", ASK, f"Refusal {'y' * at}", False, confidence=0.9) for at in range(10)),
    )  # fmt: skip
    built = from_unpaired(rows, grouping=NEAR, settings=MatchSettings(max_compared=4, max_uses=9, max_per_prompt=99))
    assert built.rows.height == 16
    assert built.counts() == {"crowded_prompt": 12}
    used = {json.loads(one)["chosen"] for one in built.rows["evidence"]}
    assert used == {"g00", "g01", "g02", "g03"}  # the surest labels


def test_rows_that_share_a_session_end_in_one_group() -> None:
    rows = frame(
        row("1", ASK, GOOD, True, session="a"),
        row("2", ASK, BAD, False, session="b"),
        row("3", "I cannot log in to my account since you changed it", "I have reset it.", True, session="b", turn=2),
        row("4", "I cannot log in to my account since you changed it", "Bad luck, really.", False, session="c"),
    )
    built = from_unpaired(rows, grouping=NEAR)
    assert built.rows.height == 2
    assert built.rows["group"].to_list() == ["a", "a"]


def test_wrong_settings_are_all_named() -> None:
    with pytest.raises(InputError, match=r"min_similarity: 2, expected a number in \[0, 1\]; max_uses: 0, expected at"):
        MatchSettings(min_similarity=2, max_uses=0)


def test_the_questions_of_banking77_that_match_are_those_of_an_exhaustive_search(
    shared_data: Callable[[str], Path],
) -> None:
    with open(shared_data("banking77/test.csv"), encoding="utf-8") as file:
        questions = [one["text"] for one in csv.DictReader(file)]
    labels = [bool(at % 2) for at in range(len(questions))]
    rows = frame(
        *(
            row(f"{at:04d}", one, f"{'no' * (at % 9)} {at:b} {at * 7919:x}", labels[at])
            for at, one in enumerate(questions)
        )
    )
    settings = MatchSettings(max_uses=99, max_per_prompt=999, mask_identifiers=False, min_similarity=0.5)
    grouping = NearDuplicates(min_similarity=0.5, refuse_opposites=False, bands=42, rows=3).build()
    built = from_unpaired(rows, grouping=grouping, settings=settings)
    found = {(json.loads(one)["chosen"], json.loads(one)["rejected"]) for one in built.rows["evidence"]}
    found |= {(one, other) for one, other, _, _ in built.unmade.rows() if other is not None}

    # the oracle: three words in a row, every two questions that share one
    words = [re.findall(r"[^\W_]+(?:['’][^\W_]+)*", one.lower()) for one in questions]
    sets = [{tuple(one[at : at + 3]) for at in range(max(len(one) - 2, 1))} for one in words]
    where: dict[tuple[str, ...], list[int]] = {}
    for at, one in enumerate(sets):
        for part in one:
            where.setdefault(part, []).append(at)
    near = {
        (left, right)
        for group in where.values()
        for left in group
        for right in group
        if labels[left] and not labels[right] and len(sets[left] & sets[right]) >= 0.5 * len(sets[left] | sets[right])
    }
    wanted = {(f"{left:04d}", f"{right:04d}") for left, right in near}
    assert len(questions) == 3080
    assert (len(wanted), len(found & wanted), len(found - wanted)) == (108, 108, 0)


# ---------------------------------------------------------------------------------------------- in one session


FIRST = "I still wait for the refund of my kettle, when does it arrive?"
AGAIN = "You did not answer: when does the refund for the kettle arrive?"


def session(*turns: tuple[str, str, bool | None], name: str = "x") -> list[dict[str, Any]]:
    """Rows of one session: question, reply, label; each prompt holds all that was said before."""
    rows, said = [], []
    for at, (question, reply, label) in enumerate(turns):
        said.append(question)
        rows.append(row(f"{name}{at}", tuple(said), reply, label, session=name, turn=2 * at + 1))
        said.append(reply)
    return rows


def test_the_reply_that_resolved_it_is_chosen_over_the_first_that_failed() -> None:
    built = from_sessions(frame(*session((FIRST, BAD, False), (AGAIN, "It is booked for today.", True))))
    assert sides(built) == [(FIRST, "It is booked for today.", BAD)]
    evidence = json.loads(built.rows["evidence"][0])
    assert (evidence["chosen"], evidence["rejected"], evidence["turn_similarity"]) == ("x1", "x0", 1.0)
    assert built.unmade.height == 0


def test_only_the_first_failed_reply_meets_the_one_that_resolved_it() -> None:
    turns = ((FIRST, BAD, False), (AGAIN, "Please be patient.", False), (AGAIN, "It is booked for today.", True))
    built = from_sessions(frame(*session(*turns)))
    assert sides(built) == [(FIRST, "It is booked for today.", BAD)]
    assert built.unmade.rows() == [("x2", "x1", None, ["over_cap"])]
    assert from_sessions(frame(*session(*turns)), max_uses=2).rows.height == 2


@pytest.mark.parametrize(
    ("turns", "reasons"),
    [
        (((FIRST, BAD, False), ("Can I change my address too?", GOOD, True)), ["asks_something_else"]),
        (
            ((FIRST, BAD, False), ("Can I change my address too?", "Yes.", None), (AGAIN, GOOD, True)),
            ["asks_something_else"],
        ),
        (
            (("Show me another kettle", "The red one.", False), ("Another kettle", "The blue one.", True)),
            ["asks_for_more"],
        ),
        (((FIRST, GOOD, False), (AGAIN, GOOD, True)), ["equal_sides", "near_equal_replies"]),
        (
            (
                (FIRST, BAD, False),
                (f"{AGAIN} My order is 77001, my mail <EMAIL_1>.", "For 77001 it is booked.", True),
            ),
            ["foreign_facts"],
        ),
    ],
)
def test_a_later_reply_that_resolves_nothing(turns: tuple[Any, ...], reasons: list[str]) -> None:
    built = from_sessions(frame(*session(*turns)))
    assert built.rows.height == 0
    assert built.unmade.filter(pl.col("other").is_not_null())["reasons"].to_list() == [reasons]


def test_what_the_agent_said_first_he_could_have_said_at_once() -> None:
    turns = ((FIRST, "Case 88123 is somewhere.", False), (AGAIN, "Case 88123 is paid today, sorry.", True))
    assert from_sessions(frame(*session(*turns))).rows.height == 1


def test_rows_of_a_session_that_are_in_no_pair_are_accounted_for() -> None:
    rows = session((FIRST, GOOD, True), (FIRST, BAD, False), (FIRST, BAD, None))
    nowhere = {**row("n", FIRST, BAD, False), "meta": None}
    built = from_sessions(frame(*rows, nowhere))
    assert {(one, *reasons) for one, _, _, reasons in built.unmade.rows()} == {
        ("x0", "no_failed_before"),
        ("x1", "no_later_desirable"),
        ("x2", "abstained"),
        ("n", "no_session"),
    }


def test_chinese_turns_that_ask_the_same_again() -> None:
    turns = (
        ("我的水壶退款什么时候到账？", "不清楚。", False),
        ("请问水壶退款到底什么时候到账", "今天已经退给您了。", True),
    )
    assert from_sessions(frame(*session(*turns))).rows.height == 1


# -------------------------------------------------------------------------------------------------- real data


def test_every_row_of_a_real_log_is_in_a_pair_or_has_its_reason(shared_data: Callable[[str], Path]) -> None:
    log = prefdata.read_log(
        str(shared_data("uss/SGD.txt")),
        layout="transcript",
        name="sgd",
        roles={"customer": ["USER"], "agent": ["SYSTEM"]},
        ratings={"scale": [1, 5], "satisfied": 3.4, "dissatisfied": 2.7},
        labels={"method": "rules"},
        transforms=[],
    )
    rows = log.rows
    for built in (from_unpaired(rows, grouping=NEAR), from_sessions(rows)):
        evidence = [json.loads(one) for one in built.rows["evidence"]]
        paired = {one[side] for one in evidence for side in ("chosen", "rejected")}
        unmade = set(built.unmade["id"]) | set(built.unmade["other"].drop_nulls())
        assert paired | unmade == set(rows["id"])
        alone = built.unmade.filter(pl.col("other").is_null())
        assert not set(alone["id"]) & paired
        assert built.counts()["abstained"] == rows["label"].null_count()
        label = dict(rows.select("id", "label").rows())
        assert all(label[one["chosen"]] is True and label[one["rejected"]] is False for one in evidence)
