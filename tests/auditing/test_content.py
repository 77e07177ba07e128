"""What answers hold that a model should not learn: planted rows are named, ordinary ones are not."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trl_rows import findings, labelled, pair

from prefdata.auditing import content, marks, statistics, toxic
from prefdata.auditing.finding import Finding, Severity
from prefdata.auditor import audit


def found(folder: Path, rows: list[dict[str, Any]], *only: str) -> dict[str, Finding]:
    return findings(folder, rows, only or ["content"])


def matches(pattern: str, text: str) -> bool:
    return bool(pl.Series([text]).str.contains(pattern)[0])


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help you with that.",
        "Sorry, I cannot provide this information.",
        "I’m not able to answer your question.",
        "As an assistant I must decline to discuss this.",
        "I'd rather not say.",
        "It would not be appropriate to help here.",
        "对不起，我无法回答这个问题。",
        "抱歉，这里不能为您提供该信息。",
        "我不能帮助您做这件事。",
    ],
)
def test_refusals_are_read_in_english_and_chinese(text: str) -> None:
    assert matches(content.REFUSAL, text)


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry to hear that. Let me help you.",
        "I can help you with that.",
        "You cannot return it after 30 days.",
        "Why not write to us?",
        "很抱歉给您带来不便，我马上为您处理。",
        "我可以帮助您。",
    ],
)
def test_apologies_and_rules_are_no_refusals(text: str) -> None:
    assert not matches(content.REFUSAL, text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("As an AI language model, I have no opinion.", True),
        ("as an artificial intelligence I have no body", True),
        ("I'm just an AI, so take care.", True),
        ("I am ChatGPT, how may I help?", True),
        ("I was developed by OpenAI in 2022.", True),
        ("As Claude, made by Anthropic, I can help.", True),
        ("As ChatGPT, I have no opinion.", True),
        ("As Claude said, it opens at nine.", False),
        ("Based on my training data, the answer is 4.", True),
        ("作为一个AI语言模型，我没有感情。", True),
        ("我是通义千问，很高兴见到您。", True),
        ("我是由百度公司研发的文心一言。", True),
        ("Our shop uses AI to sort parcels.", False),
        ("As a language model, BERT reads both ways.", False),
        ("I am Claudia from support.", False),
        ("ChatGPT was developed by OpenAI.", False),
        ("作为客户，您可以退货。", False),
        ("我是客服小王。", False),
    ],
)
def test_what_a_model_says_of_itself(text: str, expected: bool) -> None:
    assert matches(content.SELF_NAME, text) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It opens at nine.\nUser: thanks\nAssistant: welcome", True),
        ("Human: It opens at nine.", True),
        ("九点开门。\n用户：谢谢", True),
        ("### Response: At nine.", True),
        ('{"response": "At nine."}', True),
        ("```markdown\nAt nine.\n```", True),
        ("A dialogue:\n```\nUser: hello\n```", False),
        ("The user: who is that?", False),
        ('{"opens": 9}', False),
        ("```python\nprint(9)\n```", False),
    ],
)
def test_debris_of_templates(text: str, expected: bool) -> None:
    frame = pl.DataFrame({"row": [0], "completion_text": [text]})
    assert frame.select(content._leaks("completion")).to_series().to_list() == [expected]
    assert not expected or any(matches(gate, text) for gate in content._LEAK_GATES)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Dear {name}, your parcel is here.", True),
        ("Dear {{customer_name}}, hello.", True),
        ("Best regards,\n[Your Name]", True),
        ("Call [INSERT PHONE NUMBER].", True),
        ("此致\n[您的姓名]", True),
        ("【请填写日期】前回复", True),
        ("Dear {姓名}，您好", True),
        ("Lorem ipsum dolor sit amet", True),
        ("The set {a, b} and [1] and [see below].", False),
        ("```\nprint(f'{name}')\n```", False),
        ("<input value={name} />", False),
        ("Your name, please?", False),
    ],
)
def test_blanks_that_nobody_filled(text: str, expected: bool) -> None:
    frame = pl.DataFrame({"row": [0], "completion_text": [text]})
    assert frame.select(content._blank("completion")).to_series().to_list() == [expected]


def test_rows_are_named_where_the_preferred_answer_carries_the_mark(tmp_path: Path) -> None:
    rows = [
        pair("When?", "As an AI, I cannot know.", "At nine."),
        pair("Where?", "In town.", "I am ChatGPT and I do not know."),
        pair("Who?", "Anna.", "Nobody."),
    ]
    told = found(tmp_path, rows)["self_names"]
    assert told.rows.to_list() == [0]
    assert told.measures == {"chosen": 1, "rejected": 1, "chosen_only": 1, "rejected_only": 1}


def test_undesirable_answers_are_counted_and_not_named(tmp_path: Path) -> None:
    rows = [
        labelled("When?", "Dear {name}, at nine.", True),
        labelled("Where?", "Dear {name}, in town.", False),
        labelled("Who?", "Anna.", True),
    ]
    told = found(tmp_path, rows)["placeholders"]
    assert told.rows.to_list() == [0]
    assert (told.measures["desirable"], told.measures["undesirable"]) == (1, 1)
    assert told.measures["difference"] == -0.5
    assert "placeholders" not in found(tmp_path, rows[1:])


def test_one_answer_to_many_prompts_is_boilerplate(tmp_path: Path) -> None:
    same = [
        pair(f"Question {number}?", "Thank you for your patience, dear customer.", f"No {number}.")
        for number in range(10)
    ]
    other = [pair(f"Other {number}?", f"The answer is {number}, as far as I know.", "Hm.") for number in range(10)]
    told = found(tmp_path, same + other)["boilerplate"]
    assert told.rows.to_list() == list(range(10))
    assert told.measures == {"chosen": {"rows": 10, "answers": 1, "most_prompts": 10}}
    assert "boilerplate" not in found(tmp_path, same[:9] + other)


def test_links_are_told_where_one_side_has_them(tmp_path: Path) -> None:
    one = [pair(f"Q{n}?", f"See https://shop.example/{n}", f"Answer {n}.") for n in range(12)]
    told = found(tmp_path, one)["links"]
    assert (told.severity, told.measures["more_in"], told.measures["chosen_only"]) == (Severity.NOTE, "chosen", 12)
    both = [pair(f"Q{n}?", f"See https://shop.example/{n}", f"See www.example/{n}") for n in range(12)]
    assert "links" not in found(tmp_path, both)


def test_toxic_answers_are_named_and_angry_customers_are_not(tmp_path: Path) -> None:
    rows = [
        pair("Where is my parcel?", "You are a stupid idiot.", "It is on its way."),
        pair("You fucking idiots, where is it?", "It is on its way, I am sorry.", "Wait."),
        pair("Where?", "It comes today.", "Shut up, you moron, you are an idiot."),
        pair("在哪里？", "你这个傻逼，滚。", "在路上。"),
        pair("退款吗？", "好的，马上退款。", "请等待。"),
    ]
    told = found(tmp_path, rows)["toxic_answers"]
    assert told.rows.to_list() == [0, 3]
    assert told.severity is Severity.MAJOR
    assert (told.measures["chosen"], told.measures["rejected"]) == (2, 1)
    assert told.measures["prompts_share"] == 0.2


def test_a_toxic_rejected_answer_alone_is_a_note(tmp_path: Path) -> None:
    rows = [pair("Where?", "It comes today.", "Shut up, you stupid idiot.")]
    rows += [pair(f"When {n}?", "At nine.", f"At {n}.") for n in range(5)]
    told = found(tmp_path, rows)["toxic_answers"]
    assert (told.severity, told.count, told.measures["rejected"]) == (Severity.NOTE, 0, 1)


def test_many_toxic_answers_are_estimated_from_some(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toxic, "MAX_SENTENCES", 10)
    rows = [pair(f"Where {n}?", f"You are a stupid idiot, number {n}.", "It comes today.") for n in range(40)]
    told = found(tmp_path, rows)["toxic_answers"]
    assert (told.count, told.measures["estimated_rows"]) == (10, 40)


def test_shares_of_classes_are_left_out_where_some_rows_were_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [labelled(f"Where {n}?", f"You are a stupid idiot, number {n}.", n % 2 == 0) for n in range(40)]
    assert found(tmp_path, rows)["toxic_answers"].measures["desirable_share"] == 1.0
    monkeypatch.setattr(toxic, "MAX_SENTENCES", 14)
    measures = found(tmp_path, rows)["toxic_answers"].measures
    assert (measures["desirable"], measures["undesirable"]) == (7, 7)
    assert "desirable_share" not in measures


def test_a_megabyte_costs_no_more_than_its_length(tmp_path: Path) -> None:
    long = [
        "a" * 1_000_000,
        "{[<" * 300_000,
        "i can't " * 120_000,
        "as an a " * 120_000,
        "我是" * 300_000,
        "\n ```" * 200_000,
    ]
    rows = [pair(f"Q{n}?", text, "No.") for n, text in enumerate(long)]
    started = time.process_time()
    found(tmp_path, rows)
    assert time.process_time() - started < 10


def test_clean_answers_have_no_finding(tmp_path: Path) -> None:
    rows = [
        pair(f"When does shop {n} open?", f"Shop {n} opens at nine.", f"I think shop {n} opens late.")
        for n in range(30)
    ]
    assert found(tmp_path, rows) == {}


def test_the_difference_of_two_shares_has_the_published_interval() -> None:
    # Newcombe 1998, table II: 56/70 - 48/80, .0524 to .3339
    one, other = statistics.wilson(56, 70), statistics.wilson(48, 80)
    assert marks.difference(one, other) == pytest.approx([0.0524, 0.3339], abs=1e-4)


@given(st.integers(0, 50), st.integers(1, 50), st.integers(0, 50), st.integers(1, 50))
def test_the_interval_of_a_difference_holds_it_and_turns_with_the_sides(a: int, b: int, c: int, d: int) -> None:
    one, other = statistics.wilson(a, a + b), statistics.wilson(c, c + d)
    low, high = marks.difference(one, other)
    assert low - 1e-4 <= one.value - other.value <= high + 1e-4
    assert marks.difference(other, one) == pytest.approx([-high, -low])


def test_real_pairs_hold_the_debris_that_reading_shows(shared_data: Callable[[str], Path]) -> None:
    findings = {one.check: one for one in audit(shared_data("hh_rlhf/test.jsonl.gz"), only=["content"]).findings}
    leaks, refusals = findings["template_leaks"], findings["refusals"]
    assert (leaks.measures["chosen"], leaks.measures["rejected"], leaks.severity) == (17, 16, Severity.MINOR)
    assert refusals.measures["interval"][0] > 0.5
    assert refusals.severity is Severity.NOTE
