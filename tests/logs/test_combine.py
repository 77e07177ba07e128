"""Signals joined to labels: what decides, what abstains, what is told about it."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefdata.errors import InputError, RecipeError
from prefdata.logs.calibration import calibration_error, reliability, roc_auc
from prefdata.logs.combine import LABELS, LabelSettings, combine
from prefdata.logs.credit import credit
from prefdata.logs.events import SESSIONS, TURNS
from prefdata.logs.layout_conversations import Conversations
from prefdata.logs.layout_transcript import Transcript
from prefdata.logs.sessions import SessionSettings, build_sessions
from prefdata.logs.signals import SIGNALS, SignalSettings, mine

NAMES = [signal.name for signal in SIGNALS if signal.family != "judged"]
RULES = LabelSettings(method="rules")


def frame(*rows: dict, policy: str = "direct") -> pl.DataFrame:
    full = [
        {
            "session": f"s{index:03d}",
            "turn": 1,
            "customer_before": "Where is my parcel?",
            "reply": "It left on Monday.",
            "customer_after": "x",
            "rating": None,
            "split": None,
            **dict.fromkeys(NAMES),
            "entries": [],
            **row,
        }
        for index, row in enumerate(rows)
    ]
    kinds = dict.fromkeys(("rating", *NAMES), pl.Float32) | {
        "turn": pl.Int32,
        "split": pl.Boolean,
        "entries": pl.List(pl.String),
    }
    if any("toxicity_completion" in row for row in rows):
        kinds["toxicity_completion"] = pl.Float32
    return credit(pl.DataFrame(full, schema_overrides=kinds), policy=policy)


def label(**row: float) -> tuple[bool | None, float, list[str]]:
    found = combine(frame(row), settings=RULES).labels.row(0, named=True)
    return found["label"], round(found["label_confidence"], 2), found["label_sources"]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"csat": 1.0}, (True, 1.0, ["csat"])),
        ({"csat": 0.5}, (True, 0.75, ["csat"])),
        ({"csat": -0.5}, (False, 0.75, ["csat"])),
        ({"csat": 0.0}, (None, 0.5, [])),
        ({"csat": 0.0, "thanks": 0.84}, (None, 0.5, [])),
        ({"csat": 1.0, "thumb": -1.0}, (None, 0.5, [])),
        ({"csat": 1.0, "session_csat": -1.0}, (True, 1.0, ["csat"])),
        ({"session_csat": -1.0, "session_thumb": 1.0}, (None, 0.5, [])),
        ({"session_csat": -1.0, "thanks": 0.6}, (False, 1.0, ["session_csat"])),
        ({"thumb": -1.0, "complaint": -0.6}, (False, 1.0, ["thumb", "complaint"])),
        ({"thanks": 0.6, "praise": 0.6}, (True, 0.88, ["thanks", "praise"])),
        ({"escalation": -0.6, "thanks": 0.6}, (False, 0.71, ["escalation"])),
        ({"acceptance": 0.6}, (None, 0.62, [])),
        ({"thanks": 0.6, "refusal": -0.6}, (None, 0.5, [])),
        ({}, (None, 0.5, [])),
        ({"session_resolved": 1.0}, (True, 0.77, ["session_resolved"])),
        ({"resolved": 1.0, "session_resolved": 1.0}, (True, 0.82, ["resolved", "session_resolved"])),
        ({"session_resolved": 1.0, "abandoned": -1.0}, (None, 0.62, [])),
        ({"resolved": 1.0, "complaint": -0.6}, (False, 0.77, ["complaint"])),
        ({"resolved": 1.0, "escalation": -0.6, "thanks": 0.6}, (False, 0.71, ["escalation"])),
        ({"resolved": 1.0, "complaint": -0.42}, (True, 0.66, ["resolved"])),
        # hints never decide alone, whatever they add up to
        ({"reply_failure": -0.84}, (None, 0.66, [])),
        ({"reply_failure": -0.84, "request_other": -0.42, "came_back": -1.0}, (None, 0.84, [])),
        ({"reply_failure": -0.84, "request_other": -0.6}, (False, 0.78, ["request_other", "reply_failure"])),
        ({"refusal": -0.42, "complaint": -0.42}, (None, 0.81, [])),
        ({"restatement": -0.45, "reply_failure": -0.6}, (None, 0.76, [])),
        ({"toxicity_completion": 0.95}, (False, 0.98, ["rude_agent"])),
        ({"toxicity_completion": 0.8}, (False, 0.83, ["rude_agent"])),
        ({"toxicity_completion": 0.95, "reply": "Sorry, damn system."}, (False, 0.83, ["rude_agent"])),
        ({"toxicity_completion": 0.85, "reply": "Sorry, damn system."}, (None, 0.65, [])),
        ({"toxicity_completion": 0.85, "reply": "请您提供订单号"}, (None, 0.65, [])),
        ({"toxicity_completion": 0.85, "thanks": 0.6}, (None, 0.57, [])),
        ({"csat": 1.0, "toxicity_completion": 0.85, "reply": "Sorry, damn."}, (True, 1.0, ["csat"])),
        ({"toxicity_completion": 0.79}, (None, 0.5, [])),
        ({"csat": 1.0, "toxicity_completion": 0.9}, (None, 0.5, [])),
        ({"csat": -1.0, "toxicity_completion": 0.9}, (False, 1.0, ["csat", "rude_agent"])),
    ],
)
def test_what_a_label_is_made_of(row: dict, expected: tuple) -> None:
    assert label(**row) == expected


def test_decay_makes_a_session_rating_less_certain_for_earlier_turns() -> None:
    rows = [{"session": "s", "turn": turn, "session_csat": 1.0} for turn in (1, 3, 5)]
    found = combine(frame(*rows, policy="decay"), settings=LabelSettings(method="rules", min_confidence=0.8)).labels
    assert found["label"].to_list() == [None, True, True]
    assert found["label_confidence"].round(3).to_list() == pytest.approx([0.745, 0.85, 1.0])


def test_min_confidence_is_inclusive() -> None:
    row = frame({"csat": 0.5})
    at, above = (LabelSettings(method="rules", min_confidence=bound) for bound in (0.75, 0.76))
    assert combine(row, settings=at).labels["label"].to_list() == [True]
    assert combine(row, settings=above).labels["label"].to_list() == [None]


def test_evidence_is_json_of_names_and_numbers() -> None:
    row = {
        "thanks": 0.6,
        "praise": 0.0,
        "entries": ["thanks:thank you", 'praise:a "b" \\d'],
        "customer_after": "CANARY",
    }
    labels = combine(frame(row), settings=RULES).labels
    assert labels.schema == LABELS
    assert json.loads(labels["evidence"][0]) == {
        "by": "rules",
        "probability": 0.7109,
        "signals": {"thanks": 0.6},
        "entries": ["thanks:thank you", 'praise:a "b" \\d'],
        "credit_policy": "direct",
        "credit_weight": 1.0,
    }


def test_a_row_without_signals_has_whole_evidence() -> None:
    labels = combine(frame({"entries": None, "customer_after": None}), settings=RULES).labels
    assert json.loads(labels["evidence"][0])["entries"] == []


def test_card_counts_every_row_once() -> None:
    card = combine(frame({"csat": 1.0}, {"csat": -1.0}, {"csat": 0.0}, {}), settings=LabelSettings()).card
    curve = card.pop("reliability")
    assert [(entry["n"], entry["predicted"], entry["observed"]) for entry in curve if entry["n"]] == [(2, 0.5, 0.5)]
    assert card == {
        "rows": 4,
        "rated": 3,
        "rated_satisfied": 1,
        "rated_dissatisfied": 1,
        "n": 2,
        "satisfied": 1,
        "auc": 0.5,
        "ece": 0.0,
        "method": "rules",
        "desirable": 1,
        "undesirable": 1,
        "abstained": 2,
        "abstention_rate": 0.5,
        "abstained_because": {"no_signal": 1, "neutral_rating": 1},
    }


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({}, "no_signal"),
        ({"reply_failure": -0.84}, "weak_evidence"),
        ({"acceptance": 0.6}, "low_confidence"),
        ({"session_csat": 0.5}, None),
        ({"thanks": 0.6, "refusal": -0.6}, "conflict"),
        ({"csat": 0.0}, "neutral_rating"),
        ({"csat": 0.0, "split": True}, "split_votes"),
        ({"csat": 1.0, "thumb": -1.0}, "conflict"),
        ({"csat": 1.0, "toxicity_completion": 0.95}, "conflict"),
        ({"session_csat": 0.0}, "neutral_rating"),
        ({"thanks": 0.84}, None),
    ],
)
def test_a_row_says_why_it_abstained(row: dict, reason: str | None) -> None:
    found, card = combine(frame(row), settings=RULES)
    assert json.loads(found["evidence"][0]).get("abstained") == reason
    assert card["abstained_because"] == ({reason: 1} if reason else {})


def test_evidence_has_two_decimals_and_the_rude_agent() -> None:
    row = {"complaint": -0.6, "refusal": -0.0, "restatement": -0.66666, "toxicity_completion": 0.85}
    evidence = combine(frame(row), settings=RULES).labels["evidence"][0]
    assert '"signals":{"restatement":-0.67,"complaint":-0.6,"rude_agent":-0.4}' in evidence


values = st.dictionaries(st.sampled_from(NAMES), st.sampled_from([-1.0, -0.6, 0.0, 0.6, 1.0]), max_size=5)


@settings(max_examples=30, deadline=None)
@given(st.lists(values, min_size=2, max_size=8), st.integers(0, 100))
def test_the_order_of_rows_changes_nothing(rows: list[dict], seed: int) -> None:
    rows = [{**row, "session": f"s{index // 2}", "turn": index % 2} for index, row in enumerate(rows)]
    straight = frame(*rows)
    shuffled = straight.sample(fraction=1.0, shuffle=True, seed=seed)
    assert combine(straight, settings=RULES).labels.equals(combine(shuffled, settings=RULES).labels)


def rated_log() -> pl.DataFrame:
    """160 rated turns of 40 sessions and 4 unrated ones; a good turn is answered "lovely", a bad one "pointless"."""
    dice = random.Random(0)
    rows: list[dict] = []
    for index in range(160):
        good = index % 2 == 0
        text = f"{'lovely' if good else 'pointless'} {dice.choice(['box', 'bus', 'book', '电话'])}"
        grade = 0.5 if index % 8 == 7 else (1.0 if good else 0.0)
        rows.append(
            {
                "session": f"r{index // 4:02d}",
                "turn": index % 4,
                "customer_after": text,
                "rating": grade,
                "csat": 2 * grade - 1,
            }
        )
    texts = ["lovely bus", "pointless bus", "lovely 电话", "pointless 电话"]
    rows += [{"session": f"u{index}", "turn": 1, "customer_after": text} for index, text in enumerate(texts)]
    return frame(*rows, policy="decay")


def test_fitted_learns_words_that_no_list_holds() -> None:
    found = combine(rated_log(), settings=LabelSettings(min_rated=50))
    labels, card = found
    unrated = labels.filter(pl.col("session").str.starts_with("u"))
    assert unrated["label"].to_list() == [True, False, True, False]
    assert unrated["label_sources"].to_list() == [["fitted"]] * 4
    assert card["method"] == "fitted"
    assert card["auc"] == 1.0
    assert card["rated"] == 160
    assert card["n"] == 140
    assert sum(entry["n"] for entry in card["reliability"]) == 140
    text = json.dumps(card)
    assert "lovely" not in text
    assert "pointless" not in text


def test_fitted_gives_the_same_for_any_order_of_rows() -> None:
    log = rated_log()
    straight = combine(log, settings=LabelSettings(method="fitted"))
    shuffled = combine(log.sample(fraction=1.0, shuffle=True, seed=3), settings=LabelSettings(method="fitted"))
    assert straight.labels.equals(shuffled.labels)
    assert straight.card == shuffled.card


def test_a_neutral_rating_abstains_beside_a_fitted_model_too() -> None:
    labels = combine(rated_log(), settings=LabelSettings(method="fitted")).labels
    neutral = labels.filter(pl.col("session").str.starts_with("r") & (pl.col("label_confidence") == 0.5))
    assert neutral.height == 20
    assert neutral["label"].null_count() == 20


def test_fitted_needs_both_classes() -> None:
    with pytest.raises(InputError, match="1 satisfied and 0 dissatisfied"):
        combine(frame({"csat": 1.0}), settings=LabelSettings(method="fitted"))


def test_one_session_is_no_ground_for_folds() -> None:
    log = frame(*({"session": "s", "turn": turn, "csat": float(1 - turn % 2 * 2)} for turn in range(12)))
    with pytest.raises(InputError, match="in 1 sessions"):
        combine(log, settings=LabelSettings(method="fitted"))
    assert combine(log, settings=LabelSettings(min_rated=2)).card["method"] == "rules"


def test_fitted_bears_empty_texts() -> None:
    rows = [
        {"session": f"r{i:02d}", "customer_after": "", "reply": "", "csat": float(1 - i % 2 * 2)} for i in range(40)
    ]
    labels = combine(frame(*rows, {"customer_after": None}), settings=LabelSettings(method="fitted")).labels
    assert labels.filter(pl.col("session") == "s040")["label"].to_list() == [None]


def test_all_wrong_settings_are_told_at_once() -> None:
    with pytest.raises(RecipeError, match="2 faults"):
        combine(frame({}), settings=LabelSettings(min_confidence=0.3, folds=1))


def test_no_rows_give_no_labels() -> None:
    assert combine(frame({}).clear(), settings=LabelSettings()).labels.schema == LABELS


def test_calibration_figures_written_out() -> None:
    import numpy as np

    probability, truth = np.array([0.05, 0.15, 0.85, 0.95]), np.array([False, True, True, True])
    # distances .05, .85, .15, .05, one row each
    assert calibration_error(probability, truth) == pytest.approx(0.275)
    assert roc_auc(probability, truth) == 1.0
    assert roc_auc(np.array([0.5, 0.5]), np.array([True, False])) == 0.5
    assert [entry.n for entry in reliability(probability, truth)] == [1, 1, 0, 0, 0, 0, 0, 0, 1, 1]
    assert reliability(probability, truth)[1] == (0.1, 0.2, 0.15, 1.0, 1)


def test_rules_foretell_real_ratings(shared_data: Callable[[str], Path]) -> None:
    layout = Transcript(roles={"customer": ["USER"], "agent": ["SYSTEM"]})
    built = build_sessions(layout.read(shared_data("uss/SGD.txt"), source="sgd").events, settings=SessionSettings())
    read = SignalSettings(satisfied=3.4, dissatisfied=2.7, split_votes="mean")
    card = combine(credit(mine(built.turns, built.sessions, settings=read)), settings=RULES).card
    # benchmarks/signals.py: 0.8955 with the first turns of sessions, which answer nothing and are no rows
    assert card["auc"] >= 0.87
    assert card["rated_satisfied"] > 2000
    assert card["rated_dissatisfied"] > 1000


@pytest.mark.parametrize(
    ("before", "reply", "text"),
    [
        ("这家酒店的周边有哪些景点啊？", "周边的景点有首都博物馆, 大观园。", "酒店的周边有哪些餐馆啊？"),
        ("附近有酒店吗？", "抱歉，没有查到酒店信息。", "那附近有景点吗？"),
        ("找一家评分5分的餐馆", "抱歉，没有完全符合的，推荐您去海碗居。", "那好吧，周边还有哪些别的餐馆？"),
        ("附近有什么餐馆？", "有全聚德, 东来顺。", "哪个评分5分啊，别太贵。"),
        ("I'm bronze", "ok, was the purchase made in the last 90 days?", "No, I bought it in November."),
        ("exactly!", "Just to verify, you already tried the code?", "No, I just want to see how long they last for."),
        ("Here is my name", "May I ask the reason for the return?", "I got the wrong size."),
        ("Is it open?", "Unfortunately I could not find that, sorry.", "And the phone number?"),
    ],
)
def test_a_next_question_or_an_answer_is_no_displeasure(before: str, reply: str, text: str) -> None:
    texts = {"customer_before": [before], "reply": [reply], "customer_after": [text]}
    turns = pl.DataFrame(
        {
            "session": ["s"] * 3,
            "turn": pl.Series([0, 1, 2], dtype=pl.Int32),
            "role": ["customer", "agent", "customer"],
            "text": [column[0] for column in texts.values()],
        }
    )
    turns = turns.select(
        pl.col(name) if name in turns.columns else pl.lit(None, dtype=dtype).alias(name)
        for name, dtype in TURNS.items()
    )
    sessions = pl.DataFrame({name: ["s" if name == "session" else None] for name in SESSIONS}, schema=SESSIONS)
    labels = combine(credit(mine(turns, sessions, settings=SignalSettings())), settings=RULES).labels
    assert labels["label"].to_list() == [None]


def test_role_players_who_hardly_ever_complain_are_hardly_ever_labelled_dissatisfied(
    shared_data: Callable[[str], Path],
) -> None:
    layout = Conversations(roles={"customer": ["usr"], "agent": ["sys"]})
    built = build_sessions(layout.read(shared_data("crosswoz/val.json.zip"), source="zh").events)
    card = combine(credit(mine(built.turns, built.sessions, settings=SignalSettings())), settings=RULES).card
    # 91 before new questions in an old frame, hedges and honest "not found" were told from displeasure
    assert card["undesirable"] <= 20
    assert card["desirable"] >= 900
    assert sum(card["abstained_because"].values()) == card["abstained"]
