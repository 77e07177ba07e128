"""language: short texts abstain, CJK scripts are told by their letters, unjudged rows stay."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from filters.language import Language
from prefdata.errors import RecipeError

Reasons = Callable[..., list[list[str]]]
Scored = Callable[..., list[dict[str, Any]]]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("How do I return this item?", "en"),
        ("Je voudrais annuler ma commande s'il vous plaît", "fr"),
        ("Ich möchte meine Bestellung stornieren", "de"),
        ("YOUR ORDER HAS ALREADY BEEN SHIPPED TO YOU", "en"),
        ("你好", "zh"),
        ("请问您的订单号是多少？", "zh"),
        ("かしこまりました", "ja"),
        ("ご注文の商品を発送しました", "ja"),
        ("안녕하세요", "ko"),
        ("可爱の小猫咪今天也来了呢大家好啊", "zh"),  # one borrowed kana among 15 letters: .07
        ("Sure, write to <EMAIL_1> and we will help you", "en"),
    ],
)
def test_the_language_of_a_text(scored: Scored, text: str, code: str) -> None:
    assert scored(Language().build(), [text])[0]["code"] == code


@pytest.mark.parametrize(("text", "judged"), [("Your parcel is here.", True), ("Your parcel is here", False)])
def test_under_twenty_characters_a_text_is_unjudged(scored: Scored, text: str, judged: bool) -> None:
    (row,) = scored(Language().build(), [text])
    assert (row["language"] is not None) is judged
    assert row["code"] == ("en" if judged else None)


def test_pseudonyms_and_links_are_no_characters_of_a_text(scored: Scored) -> None:
    rows = scored(
        Language().build(), ["See <URL_1> <EMAIL_12> <NAME_3>", "ok https://example.org/a/long/path?of=words"]
    )
    assert [row["code"] for row in rows] == [None, None]
    assert [row["language"] for row in rows] == [None, None]


@pytest.mark.parametrize(
    ("text", "by_script"),
    [("退款了 refunds", True), ("退款了 refunded", False)],  # 3 of 10 letters = .30, 3 of 11 = .27
)
def test_the_script_tells_from_thirty_percent_cjk_letters_on(scored: Scored, text: str, by_script: bool) -> None:
    (row,) = scored(Language().build(), [text])
    assert row["code"] == ("zh" if by_script else None)
    assert row["language"] == (pytest.approx(0.3) if by_script else None)


def test_an_unsure_answer_is_no_verdict(scored: Scored) -> None:
    text = "我想 cancel my subscription 谢谢"
    (unsure,) = scored(Language().build(), [text])
    assert unsure["code"] is None
    assert 0.0 < unsure["language"] < 0.4
    (sure,) = scored(Language(min_confidence=0.0).build(), [text])
    assert sure["code"] is not None
    assert sure["language"] == unsure["language"]


def test_null_empty_and_letterless_are_unjudged(scored: Scored) -> None:
    rows = scored(Language().build(), [None, "", "12345 67890 12345 67890", "👍" * 30])
    assert rows == [{"language": None, "code": None}] * 4


def test_only_a_language_known_to_be_another_is_dropped(reasons: Reasons) -> None:
    replies = [
        "Your parcel is on its way to you.",
        "您的包裹已经发货",
        "Votre colis est en route, merci de votre patience.",
        "Ok",
        "",
    ]
    found = reasons(Language(allowed=("en", "zh")).build(), [("hi", reply) for reply in replies])
    assert found == [[], [], ["language_not_allowed"], [], []]
    assert reasons(Language().build(), [("hi", replies[2])]) == [[]]


def test_newlines_and_nul_are_no_obstacle(scored: Scored) -> None:
    rows = scored(Language().build(), ["Your parcel\nis on its way\r\nto you.", "Your parcel is\0 on its way to you."])
    assert [row["code"] for row in rows] == ["en", "en"]


def test_no_text_at_all() -> None:
    scores = Language().build().scorer.score(pl.DataFrame(schema={"text": pl.String}))
    assert scores.schema == {"language": pl.Float32, "code": pl.String}
    assert scores.height == 0


def test_the_text_is_never_logged(scored: Scored, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        scored(Language().build(), ["CANARY-8841 is what this customer wrote to us " * 20])
    assert "CANARY" not in caplog.text


def test_naming_languages_changes_no_score() -> None:
    assert Language(allowed=("en",)).build().scorer.parameters() == Language().build().scorer.parameters()
    assert Language(min_chars=10).build().scorer.parameters() != Language().build().scorer.parameters()


def test_settings_name_every_fault() -> None:
    with pytest.raises(RecipeError) as caught:
        Language(allowed=(), min_confidence=2.0, min_chars=0, min_cjk_ratio=0.0)
    assert len(caught.value.faults) == 4
