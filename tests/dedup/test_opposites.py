"""What keeps two texts apart however much of them agrees."""

from __future__ import annotations

import json
from importlib import resources

import polars as pl
import pytest

from prefdata.dedup.near import NearDuplicates

LONG = (
    "Thank you for your patience while I looked into the order that you placed with us. "
    "I have checked with the warehouse and with the courier and {}. "
    "Please let me know should anything else come up, my colleagues and I are happy to look into it at any time."
)
LANG = (
    "感谢您的耐心等待，我已经和仓库以及快递公司确认过您的订单情况，{}，"
    "如果还有其他问题欢迎随时联系我们，祝您生活愉快，期待再次为您服务。"
)


def refused(one: str, other: str) -> bool | None:
    """Whether a pair of replies that agrees at 0.5 or above is refused; None where it is below that."""
    frame = pl.DataFrame({"id": ["a", "b"], "customer": ["", ""], "reply": [one, other]})
    grouping = NearDuplicates(bands=128, rows=1).build()
    compared = grouping.compare(grouping.keys(frame))
    if compared.refused.height:
        return True
    return False if compared.edges.height else None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("we will refund you", "we will not refund you"),
        ("we can refund you", "we can't refund you"),
        ("we can refund you", "we cannot refund you"),
        ("yes, it is covered", "no, it is covered"),
        ("your claim was approved", "your claim was rejected"),
        ("the item is available", "the item is unavailable"),
        ("you will get 50 dollars", "you will get 500 dollars"),
        ("it comes on Monday", "it comes on Friday"),
        ("from 3 to 5 pm", "from 5 to 3 pm"),
        ("you can change it but cannot cancel it", "you cannot change it but can cancel it"),
        ("it stays at 2 for 2 days", "it stays at 2 for 3 days"),
        ("we don’t refund it", "we do refund it"),
        ("we agree to refund it", "we refuse to refund it"),
        ("the room is free at 5 am", "the room is free at 5 pm"),
    ],
)
def test_english_opposites_are_refused(one: str, other: str) -> None:
    assert refused(LONG.format(one), LONG.format(other)) is True


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("可以退款", "不可以退款"),
        ("能退款", "不能退款"),
        ("我们有货", "我们没有货"),
        ("退款成功", "退款失败"),
        ("三天内到账", "五天内到账"),
        ("需要30元运费", "需要50元运费"),
        ("申请已通过", "申请已拒绝"),
        ("我们为您退款", "我们拒绝为您退款"),
        ("明天上午送到", "明天下午送到"),
    ],
)
def test_chinese_opposites_are_refused(one: str, other: str) -> None:
    assert refused(LANG.format(one), LANG.format(other)) is True


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (LONG.format("it is on its way"), LONG.format("it is on the way")),
        (LONG.format("it comes on 5 May"), LONG.format("it comes in May")),
        (LONG.format("it is on its way, no problem"), LONG.format("it is on its way")),
        (LONG.format("do not worry, it is on its way"), LONG.format("it is on its way")),
        (LANG.format("已经发货了"), LANG.format("不好意思，已经发货了")),
        (LANG.format("非常抱歉，已经发货"), LANG.format("抱歉，已经发货")),
    ],
)
def test_other_wording_is_not_refused(one: str, other: str) -> None:
    assert refused(one, other) is False


def test_the_customer_turn_is_guarded_as_well() -> None:
    question = LONG.format("I want it to be {}")
    frame = pl.DataFrame(
        {"id": ["a", "b"], "customer": [question.format("cancelled"), question.format("confirmed")], "reply": "done"}
    )
    grouping = NearDuplicates().build()
    compared = grouping.compare(grouping.keys(frame))
    assert (compared.edges.height, compared.refused.height) == (0, 1)


def test_the_guard_can_be_switched_off() -> None:
    frame = pl.DataFrame(
        {"id": ["a", "b"], "customer": "", "reply": [LONG.format("we refund"), LONG.format("we never refund")]}
    )
    grouping = NearDuplicates(refuse_opposites=False).build()
    assert grouping.edges(grouping.keys(frame)).height == 1


def test_lists_fit_and_each_harmless_phrase_holds_one_negation() -> None:
    lists = json.loads(resources.files("prefdata.dedup").joinpath("opposites.json").read_text("utf-8"))
    assert len(lists["poles"]["en"]) + len(lists["poles"]["zh"]) <= 64
    for phrase in lists["harmless"]["zh"]:
        assert sum(phrase.count(char) for char in lists["negations"]["zh"]) == 1, phrase
    for phrase in lists["harmless"]["en"]:
        words = phrase.split()
        assert sum(word in lists["negations"]["en"] or word.endswith("n't") for word in words) == 1, phrase
