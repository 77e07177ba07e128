"""Each signal on turns written out, in both languages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from prefdata.errors import RecipeError
from prefdata.logs import lexicons
from prefdata.logs.events import SESSIONS, TURNS
from prefdata.logs.signals import SIGNALS, SignalSettings, mine


def filled(rows: list[dict], schema: pl.Schema) -> pl.DataFrame:
    return pl.DataFrame([{name: row.get(name) for name in schema.names()} for row in rows], schema=schema)


def log(*turns: dict | tuple[str, str], session: dict | None = None) -> tuple[pl.DataFrame, pl.DataFrame]:
    rows = [turn if isinstance(turn, dict) else {"role": turn[0], "text": turn[1]} for turn in turns]
    rows = [{"source": "t", "session": "t/1", "turn": index, **row} for index, row in enumerate(rows)]
    return filled(rows, TURNS), filled([{"source": "t", "session": "t/1", **(session or {})}], SESSIONS)


def after(
    text: str | None, *, before: str = "Where is my parcel?", reply: str = "It left on Monday.", **settings
) -> dict:
    turns = [("customer", before), ("agent", reply)] + ([("customer", text)] if text is not None else [])
    return mine(*log(*turns), settings=SignalSettings(**settings)).row(0, named=True)


def rated(*ratings: float, **settings) -> float | None:
    turns, sessions = log(
        ("customer", "Hi"),
        {"role": "agent", "text": "Hello"},
        {"role": "customer", "text": "x", "ratings": [float(rating) for rating in ratings]},
    )
    return mine(turns, sessions, settings=SignalSettings(**settings))["csat"][0]


def test_one_row_an_agent_turn_that_answers_a_customer() -> None:
    turns, sessions = log(
        ("agent", "Welcome."), ("customer", "Hi"), ("agent", "Hello"), ("customer", "Help"), ("agent", "Sure")
    )
    found = mine(turns, sessions, settings=SignalSettings())
    assert found.select("turn", "customer_before", "reply", "customer_after").rows() == [
        (2, "Hi", "Hello", "Help"),
        (4, "Help", "Sure", None),
    ]
    assert found.columns == [
        "session",
        "turn",
        "customer_before",
        "reply",
        "customer_after",
        "rating",
        "split",
        *(signal.name for signal in SIGNALS if signal.family != "judged"),
        "entries",
    ]
    assert {found.schema[signal.name] for signal in SIGNALS if signal.name in found.columns} == {pl.Float32()}


@pytest.mark.parametrize(
    ("text", "signal", "value"),
    [
        ("Thank you!", "thanks", 0.6),
        ("谢谢您", "thanks", 0.6),
        ("Thanks, I appreciate it", "thanks", 0.84),
        ("That's great", "praise", 0.6),
        ("服务很好", "praise", 0.6),
        ("This is not great", "praise", 0.0),
        ("This is not great", "complaint", -0.6),
        ("This is terrible", "complaint", -0.6),
        ("你们太差了", "complaint", -0.6),
        ("Yes", "acceptance", 0.6),
        ("好的", "acceptance", 0.6),
        ("我要去银行对面", "acceptance", 0.0),
        ("No, not now", "refusal", -0.84),
        ("I have no choice", "refusal", -0.42292),
        ("No, that's all", "refusal", 0.0),
        ("不用了", "refusal", -0.6),
        ("有没有停车场", "refusal", 0.0),
        ("You misunderstood", "correction", -0.6),
        ("我的意思是明天", "correction", -0.6),
        ("Anything else?", "request_other", -0.6),
        ("换一家", "request_other", -0.6),
        ("I want to speak to a manager", "escalation", -0.6),
        ("转人工", "escalation", -0.6),
        ("The manager of the hotel was kind", "escalation", 0.0),
        ("Cool", "thanks", 0.0),
        ("", "thanks", 0.0),
        (None, "thanks", None),
        (None, "restatement", None),
    ],
)
def test_words_of_the_next_customer_turn(text: str | None, signal: str, value: float | None) -> None:
    found = after(text)[signal]
    assert found == (None if value is None else pytest.approx(value, abs=1e-6))


@pytest.mark.parametrize(
    ("reply", "signal", "value"),
    [
        ("Sorry, there is no table.", "reply_failure", -0.6),
        ("抱歉, 请稍等。", "reply_failure", -0.6),
        ("Your table has been booked.", "reply_result", 0.6),
        ("已为您办理退款。", "reply_result", 0.6),
        ("Which day?", "reply_failure", 0.0),
    ],
)
def test_words_of_the_reply(reply: str, signal: str, value: float) -> None:
    assert after("ok", reply=reply)[signal] == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize(
    ("text", "signal"),
    [
        ("那离这里不是很远，电话是多少？", "refusal"),
        ("周边哪个景点不是免费的？", "refusal"),
        ("这个我不是很感兴趣", "refusal"),
        ("不用愁没地方吃饭了", "refusal"),
        ("不是吧，那附近有景点吗", "refusal"),
        ("是不是明天到？", "refusal"),
        ("No problem, take your time", "refusal"),
        ("no worries", "refusal"),
        ("你刚才不是说附近还有好的么？", "correction"),
        ("不好意思，我发错了", "correction"),
        ("不好意思，说错了，我想问酒店", "correction"),
        ("My mistake, it is the second one", "correction"),
        ("找一家餐馆，别太贵", "complaint"),
        ("怕大家不满意，再看看别的", "complaint"),
        ("Something not too expensive please", "complaint"),
        ("That's not bad", "complaint"),
        ("There is no problem with it", "complaint"),
        ("How long do they last?", "complaint"),
        ("Thank you for trying", "thanks"),
        ("Don't talk to me like that", "praise"),
    ],
)
def test_a_hedge_a_figure_of_speech_or_an_own_mistake_is_none(text: str, signal: str) -> None:
    assert after(text)[signal] == 0.0


@pytest.mark.parametrize(
    ("text", "signal", "value"),
    [
        ("不是，我要的是明天", "refusal", -0.6),
        ("哦，那算了", "refusal", -0.6),
        ("不是这个，是另一个", "correction", -0.6),
        ("你说错了", "correction", -0.6),
        ("我很不满意", "complaint", -0.6),
        ("太慢了", "complaint", -0.6),
        ("That's the wrong address", "correction", -0.6),
        ("You got my name wrong", "correction", -0.6),
        ("No, make it Friday", "correction", -0.6),
    ],
)
def test_the_same_words_said_plainly_count(text: str, signal: str, value: float) -> None:
    assert after(text)[signal] == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize(
    ("text", "signal"),
    [
        ("How long", "complaint"),
        ("I am still here", "complaint"),
        ("I'd pick the blue one instead", "correction"),
        ("The wrong thing", "correction"),
        ("能不能改成晚上送", "correction"),
        ("附近还有别的景点吗", "request_other"),
        ("还有其他餐馆吗", "request_other"),
    ],
)
def test_a_bare_word_is_a_hint(text: str, signal: str) -> None:
    assert after(text)[signal] == pytest.approx(-0.42, abs=0.01)


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        ("Was the purchase made in the last 90 days?", "No, I bought it in November."),
        ("Do you see the box on the left?", "No."),
        ("您收到短信了吗？", "没有，我没收到短信"),
        ("您下单的是蓝色的吗？", "不是，是红色的"),
    ],
)
def test_a_no_that_answers_a_question_turns_nothing_down(reply: str, text: str) -> None:
    found = after(text, reply=reply)
    assert {name: found[name] for name in ("refusal", "correction", "acceptance")} == dict.fromkeys(
        ("refusal", "correction", "acceptance"), 0.0
    )


@pytest.mark.parametrize("reply", ["I found Tom's Diner.", "Would you like me to book it?", "要不要帮您预订？"])
def test_a_no_to_an_offer_is_a_refusal(reply: str) -> None:
    assert after("No", reply=reply)["refusal"] == pytest.approx(-0.6)


def test_a_yes_to_a_question_is_no_acceptance_but_to_an_offer_it_is() -> None:
    assert after("Yes, I did", reply="Did you restart it?")["acceptance"] == 0.0
    assert after("Yes", reply="Shall I book it?")["acceptance"] == pytest.approx(0.6)


def test_words_count_in_one_list_only() -> None:
    found = after("I want to speak to a manager, 投诉")
    assert (found["escalation"], found["complaint"]) == (pytest.approx(-0.84), 0.0)
    found = after("不对")
    assert (found["correction"], found["refusal"]) == (pytest.approx(-0.6), 0.0)
    found = after("Problem solved")
    assert (found["praise"], found["complaint"]) == (pytest.approx(0.6), 0.0)


def test_i_got_the_wrong_size_sets_nobody_right() -> None:
    reason = "May I ask the reason for the return?"
    assert after("I got the wrong size.", reply=reason)["correction"] == 0.0


@pytest.mark.parametrize(
    ("before", "text", "value"),
    [
        ("Where is my parcel number 4711?", "I asked where parcel number 4711 is", -1.0),
        ("我的快递什么时候到", "请问我的快递什么时候到", -1.0),
        ("Where is my parcel number 4711?", "Fine, and what does a bigger box cost?", 0.0),
        ("Yes", "Yes", 0.0),
        # the same frame around another question
        ("这家酒店的周边有哪些景点啊？", "酒店的周边有哪些餐馆啊？", 0.0),
        ("这家餐馆的评分是多少啊？", "餐馆的电话是多少啊？", 0.0),
        ("北京京仪大酒店的评分是在4分以上吗？", "北京京仪大酒店的电话是多少？", 0.0),
        ("北京京仪大酒店周边的景点", "北京京仪大酒店周边的景点地址在哪", 0.0),
        ("What is the phone number of the hotel Astoria?", "What is the street address of the hotel Astoria?", 0.0),
        # one of two things that were asked
        ("Book a table for two at Nino's on Friday and a taxi home afterwards", "And a table at Nino's", 0.0),
    ],
)
def test_restatement_is_the_same_question_again(before: str, text: str, value: float) -> None:
    assert after(text, before=before)["restatement"] == pytest.approx(value, abs=1e-6)


def test_a_question_repeated_after_an_answer_counts_half() -> None:
    asked = "请问酒店的电话号码"
    assert after(asked, before=asked, reply="电话是010-51979888。")["restatement"] == pytest.approx(-0.5)
    assert after(asked, before=asked, reply="抱歉，没有查到，请拨12345。")["restatement"] == pytest.approx(-1.0)
    assert after(asked, before=asked, reply="请稍等。")["restatement"] == pytest.approx(-1.0)


def test_min_restated_is_inclusive() -> None:
    # of six words each, five: what the long turn leaves out does not matter, what it brings does
    pair = {"before": "parcel number blue box left monday", "text": "parcel number blue box left monday truck"}
    assert after(**pair, min_restated=1.0)["restatement"] == pytest.approx(-1.0)
    assert after(before=pair["text"], text="parcel number blue box left")["restatement"] == pytest.approx(-1.0)


@pytest.mark.parametrize(
    ("ratings", "settings", "value"),
    [
        ([5], {}, 1.0),
        ([4], {}, 0.5),
        ([3], {}, 0.0),
        ([2], {}, -0.5),
        ([1], {}, -1.0),
        ([], {}, None),
        ([99], {}, None),
        ([4, 99], {}, 0.5),
        ([4, 4, 3], {}, 0.0),
        ([5, 1], {}, 0.0),
        ([5, 5, 2], {}, 0.0),
        ([5, 5, 2], {"split_votes": "mean"}, 0.5),
        ([4, 3, 3.2], {"satisfied": 3.4, "dissatisfied": 2.7}, 0.5),
        ([3, 3, 4], {"satisfied": 3.4, "dissatisfied": 2.7}, 0.0),
        ([3, 2, 3.1], {"satisfied": 3.4, "dissatisfied": 2.7}, -0.5),
        ([100], {"rating_scale": (0.0, 100.0)}, 1.0),
        ([1], {"rating_scale": (6.0, 1.0)}, 1.0),
        ([6], {"rating_scale": (6.0, 1.0)}, -1.0),
        ([1], {"rating_scale": (0.0, 1.0), "satisfied": 1.0, "dissatisfied": 0.0}, 1.0),
        ([0], {"rating_scale": (0.0, 1.0), "satisfied": 1.0, "dissatisfied": 0.0}, -1.0),
    ],
)
def test_csat_on_any_scale(ratings: list[float], settings: dict, value: float | None) -> None:
    expected = None if value is None else pytest.approx(value, abs=0.02)
    assert rated(*ratings, **settings) == expected


def test_a_rating_on_the_agent_turn_is_about_that_turn() -> None:
    turns, sessions = log(("customer", "Hi"), {"role": "agent", "text": "Hello", "ratings": [5.0]}, ("customer", "x"))
    assert mine(turns, sessions, settings=SignalSettings())["csat"].to_list() == [1.0]


def test_a_rating_of_the_first_customer_turn_is_about_no_agent_turn() -> None:
    turns, sessions = log({"role": "customer", "text": "Hi", "ratings": [1.0]}, ("agent", "Hello"), ("customer", "x"))
    assert mine(turns, sessions, settings=SignalSettings())["csat"].to_list() == [None]


@pytest.mark.parametrize(
    ("own", "next_", "value"), [(1, None, 1.0), (None, -1, -1.0), (1, -1, 0.0), (None, None, None)]
)
def test_thumbs_that_disagree_say_nothing(own: int | None, next_: int | None, value: float | None) -> None:
    turns, sessions = log(
        ("customer", "Hi"),
        {"role": "agent", "text": "Hello", "thumb": own},
        {"role": "customer", "text": "x", "thumb": next_},
    )
    assert mine(turns, sessions, settings=SignalSettings())["thumb"].to_list() == [value]


@pytest.mark.parametrize(
    ("session", "signal", "value"),
    [
        ({"ratings": [5.0]}, "session_csat", 1.0),
        ({"thumb": -1}, "session_thumb", -1.0),
        ({"survey": "Very helpful, thanks"}, "session_survey", 0.84),
        ({"survey": "terrible and useless"}, "session_survey", -0.84),
        ({"survey": "态度很差"}, "session_survey", -0.6),
        ({"survey": "It was about a parcel"}, "session_survey", None),
        ({"status": "Resolved "}, "session_resolved", 1.0),
        ({"status": "已解决"}, "session_resolved", 1.0),
        ({"status": "escalated"}, "session_resolved", -1.0),
        ({"status": "pending"}, "session_resolved", 0.0),
        ({}, "session_resolved", None),
        ({"status": "reopened"}, "reopened", -1.0),
        ({"status": "reopened"}, "session_resolved", -1.0),
        ({"status": "resolved"}, "reopened", 0.0),
    ],
)
def test_what_is_known_of_the_session(session: dict, signal: str, value: float | None) -> None:
    turns, sessions = log(("customer", "Hi"), ("agent", "Hello"), session=session)
    found = mine(turns, sessions, settings=SignalSettings())[signal][0]
    assert found == (None if value is None else pytest.approx(value, abs=1e-6))


@pytest.mark.parametrize(("days", "value"), [(6.9, -1.0), (7.0, -1.0), (7.1, 0.0)])
def test_a_customer_who_comes_back_within_days(days: float, value: float) -> None:
    turns, sessions = log(("customer", "Hi"), ("agent", "Hello"))
    ended = datetime(2024, 5, 1, tzinfo=UTC)
    again = ended + timedelta(days=days)
    sessions = filled(
        [
            {"session": "t/1", "customer": "c", "started": ended - timedelta(hours=1), "ended": ended},
            {"session": "t/2", "customer": "c", "started": again, "ended": again},
            {"session": "t/3", "customer": None, "started": ended, "ended": ended},
        ],
        SESSIONS,
    )
    assert mine(turns, sessions, settings=SignalSettings(comeback_days=7.0))["came_back"].to_list() == [value]


@pytest.mark.parametrize(
    ("turns", "value"),
    [
        ([("customer", "Hi"), ("agent", "Which order?")], -1.0),
        ([("customer", "你好"), ("agent", "请问订单号是多少？")], -1.0),
        ([("customer", "Hi"), ("agent", "It is done.")], 0.0),
        ([("customer", "Hi"), ("agent", "Which order?"), ("customer", "4711")], 0.0),
    ],
)
def test_a_last_question_without_an_answer_is_abandoned(turns: list[tuple[str, str]], value: float) -> None:
    assert mine(*log(*turns), settings=SignalSettings())["abandoned"].to_list() == [value]


def test_entries_name_the_lists_and_never_the_text() -> None:
    assert after("Thank you, 0171 2345678!")["entries"] == ["thanks:thank you"]
    assert after("Where is it now")["entries"] == []


def test_own_phrases_may_be_hints_exceptions_and_beginnings_of_clauses() -> None:
    assert after("That is naff", phrases={"complaint": ("~naff",)})["complaint"] == pytest.approx(-0.42, abs=0.01)
    assert after("A terrible lizard", phrases={"complaint": ("!terrible lizard",)})["complaint"] == 0.0
    nein = {"refusal": ("^nein",)}
    assert after("Ok. Nein", phrases=nein)["refusal"] == pytest.approx(-0.6)
    assert after("Das kleine nein", phrases=nein)["refusal"] == 0.0


def test_nothing_found_is_zero_without_a_sign() -> None:
    import math

    row = after("Where is it now")
    zeros = [row[signal.name] for signal in SIGNALS if signal.name in row and row[signal.name] == 0.0]
    assert zeros
    assert {math.copysign(1.0, value) for value in zeros} == {1.0}


@pytest.mark.parametrize(("ratings", "split"), [((5, 1), True), ((5, 4), False), ((3,), False), ((), None)])
def test_ratings_on_both_sides_are_told(ratings: tuple[float, ...], split: bool | None) -> None:
    turns, sessions = log(("customer", "Hi"), {"role": "agent", "text": "Hello", "ratings": list(map(float, ratings))})
    assert mine(turns, sessions, settings=SignalSettings())["split"].to_list() == [split]


def test_own_phrases_are_added_to_a_list() -> None:
    assert after("Servus und merci")["thanks"] == 0.0
    assert after("Servus und merci", phrases={"thanks": ("merci",)})["thanks"] == pytest.approx(0.6)


def test_wrong_settings_are_all_refused() -> None:
    with pytest.raises(RecipeError, match="2 faults"):
        after("x", phrases={"thank": ("merci",), "thanks": ("(",)})
    with pytest.raises(RecipeError, match="rating_scale"):
        after("x", rating_scale=(1.0, 1.0))
    with pytest.raises(RecipeError, match="dissatisfied"):
        after("x", satisfied=2.0, dissatisfied=3.0)


@pytest.mark.parametrize("name", lexicons.NAMES)
def test_every_list_compiles_and_holds_no_entry_twice(name: str) -> None:
    items = lexicons.entries(name) + lexicons.word_list(name).exceptions
    assert len(items) == len(set(items))
    for item in items:
        assert pl.Series([""]).str.contains(lexicons.bounded(item)).to_list() == [False]


def test_mine_of_nothing_is_nothing() -> None:
    found = mine(TURNS.to_frame(), SESSIONS.to_frame(), settings=SignalSettings())
    assert found.height == 0
    assert found.schema["csat"] == pl.Float32()
