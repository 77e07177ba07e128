"""chat_quality: each rule at its bound, and that short, Chinese and pseudonymised replies live."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.quality import ChatQuality
from filters.repetition import repetition
from prefdata.errors import RecipeError
from prefdata.judging import scoring_parameters

Reasons = Callable[..., list[list[str]]]
Scored = Callable[..., list[dict[str, Any]]]

QUESTION = "Where is my parcel?"
DISTINCT = [f"w{number}" for number in range(400)]


def loop(period: int, words: int) -> str:
    """A text of `words` words that says the same `period` words again and again."""
    return " ".join(DISTINCT[place % period] for place in range(words))


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("Ok", None),
        ("好", None),
        ("👍", "reply_too_short"),
        ("", "reply_too_short"),
        ("x" + "abc " * 2, None),
        ("字" * 2048 + "。", "reply_too_long"),
        ("ab:::::", "reply_has_too_few_letters"),  # 2 of 7 = .29
        ("abc:::::::", None),  # 3 of 10 = .30
        ("abc#", None),  # 1 of 4 = .25
        ("abcde##", "reply_has_too_many_symbols"),  # 2 of 7 = .29
        ("{'code': [1, 2]} => {'x': 3}", None),
        ("<EMAIL_1>", "reply_is_only_placeholder"),
        ("<EMAIL_1>, <PHONE_2>!", "reply_is_only_placeholder"),
        ("Mail <EMAIL_1>", None),
        ("Where is my parcel", None),  # 15 letters: too short to be an echo
    ],
)
def test_a_reply_just_inside_and_just_outside_a_bound(reasons: Reasons, reply: str, reason: str | None) -> None:
    found = reasons(ChatQuality().build(), [(QUESTION, reply)])[0]
    if reason is None:
        assert [one for one in found if one != "reply_has_too_many_symbols" or "{" not in reply] == []
    else:
        assert reason in found


@pytest.mark.parametrize(("tokens", "dropped"), [(2048, []), (2049, ["reply_too_long"])])
def test_tokens_are_one_a_cjk_character_and_a_quarter_of_the_others(
    reasons: Reasons, tokens: int, dropped: list[str]
) -> None:
    distinct = "".join(chr(0x4E00 + number) for number in range(tokens - 1)) + "。"
    assert reasons(ChatQuality().build(), [(QUESTION, distinct)]) == [dropped]


@pytest.mark.parametrize(
    ("prompt", "dropped"),
    [
        ("hi", []),
        ("?", ["prompt_too_short"]),
        ("", ["prompt_too_short"]),
        (" ".join(DISTINCT * 6)[: 2048 * 4], []),
        (" ".join(DISTINCT * 6)[: 2048 * 4 + 1], ["prompt_too_long"]),
    ],
)
def test_the_customer_turn_has_bounds_of_its_own(reasons: Reasons, prompt: str, dropped: list[str]) -> None:
    assert reasons(ChatQuality().build(), [(prompt, "We will look into it.")]) == [dropped]


@pytest.mark.parametrize(
    ("reply", "dropped"),
    [
        ("Please cancel the whole order!", ["reply_repeats_prompt"]),
        ("please CANCEL the whole  order", ["reply_repeats_prompt"]),
        ("Please cancel the whole order? Done.", []),
    ],
)
def test_a_reply_that_is_the_customers_turn_over_again(reasons: Reasons, reply: str, dropped: list[str]) -> None:
    assert reasons(ChatQuality().build(), [("Please cancel the whole order", reply)]) == [dropped]


def test_greetings_and_thanks_are_answered_in_kind(reasons: Reasons) -> None:
    pairs: list[tuple[str | None, str | None]] = [
        ("Hello!", "Hello"),
        ("谢谢您", "谢谢您！"),
        ("Thank you", "Thank you."),
    ]
    assert reasons(ChatQuality().build(), pairs) == [[], [], []]


def test_repetition_is_looked_for_from_fifty_words_on(reasons: Reasons) -> None:
    short, long = "no " * 49, "no " * 50
    assert reasons(ChatQuality().build(), [(QUESTION, short), (QUESTION, long)]) == [
        [],
        ["reply_repeats_words", "reply_repeats_a_phrase"],
    ]


def test_one_endless_word_is_seen(reasons: Reasons) -> None:
    assert reasons(ChatQuality().build(), [(QUESTION, "a" * 299), (QUESTION, "a" * 300)]) == [
        [],
        ["reply_repeats_characters"],
    ]


def test_repetition_shares_are_those_of_data_juicer() -> None:
    # 60 words of period 20: 51 word 10-grams; 20 of them different, of which 11 occur three and 9 two times
    # 80 words, the first 69 different, then the first 11 again: 71 10-grams, 2 of them twice = 4 / 71
    again = " ".join(DISTINCT[:69] + DISTINCT[:11])
    table = repetition(pl.Series([loop(20, 60), again, " ".join(DISTINCT[:60])]), size=10)
    assert table["word_repetition"].to_list() == pytest.approx([1.0, 4 / 71, 0.0])
    assert table["top_ngram"].to_list() == pytest.approx([3 * 3 / 60, 2 * 3 / 80, 0.0])
    # 12 letters of period 1: three 10-grams, all the same: one kind, sqrt(1) = 1 kind taken, 3 / 3
    assert repetition(pl.Series(["a" * 12]), size=10)["character_repetition"].to_list() == [1.0]


def reference(text: str, size: int) -> float:
    """data-juicer's character_repetition_filter, line by line."""
    grams = [text[place : place + size] for place in range(len(text) - size + 1)]
    counts = sorted((grams.count(gram) for gram in set(grams)), reverse=True)
    if not counts:
        return 0.0
    taken = min(int(len(counts) ** 0.5), len(counts) - sum(1 for count in counts if count == 1))
    return sum(counts[:taken]) / sum(counts)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(alphabet="ab 好", max_size=60), max_size=6))
def test_character_repetition_equals_the_definition(texts: list[str]) -> None:
    found = repetition(pl.Series(texts, dtype=pl.String), size=3)["character_repetition"].to_list()
    assert found == pytest.approx([reference(text, 3) for text in texts])


def test_null_is_unjudged_and_empty_is_judged(scored: Scored) -> None:
    row_filter = ChatQuality().build()
    null, empty = scored(row_filter, [None, ""], prompt=QUESTION)
    assert {name for name, value in null.items() if value is not None} == {"prompt_words", "prompt_tokens"}
    assert empty["chat_quality"] == 0.0
    assert empty["words"] == 0.0
    assert empty["only_placeholder"] == 0.0


def test_a_missing_prompt_leaves_only_its_own_columns_unjudged(scored: Scored) -> None:
    (row,) = scored(ChatQuality().build(), ["Your parcel is on its way."])
    assert {name for name, value in row.items() if value is None} == {"prompt_words", "prompt_tokens", "prompt_echo"}
    assert row["chat_quality"] == pytest.approx(20 / 21)


def test_pseudonyms_are_words_and_no_symbols(scored: Scored) -> None:
    plain, masked = scored(
        ChatQuality().build(), ["Write to word or call word", "Write to <EMAIL_1> or call <PHONE_12>"]
    )
    assert masked == plain
    assert masked["special_ratio"] == 0.0


def test_words_of_every_script_are_counted(scored: Scored) -> None:
    rows = scored(ChatQuality().build(), ["I don't know", "我不知道", "退款 refund", "안녕 하세요", "10:30 am"])
    assert [row["words"] for row in rows] == [3, 4, 3, 2, 3]


def test_emoji_and_chinese_punctuation_are_ordinary(scored: Scored) -> None:
    rows = scored(ChatQuality().build(), ["好的！！！😊", "「您好」，请问……", "5 > 4"])
    assert [row["special_ratio"] for row in rows] == pytest.approx([0.0, 0.0, 1 / 3])


def test_thresholds_are_no_scoring_parameters() -> None:
    assert sorted(scoring_parameters(ChatQuality())) == [
        "min_repetition_chars",
        "min_repetition_words",
        "repetition_size",
        "sides",
    ]
    strict, default = ChatQuality(min_words=9, max_special_ratio=0.1).build(), ChatQuality().build()
    assert strict.scorer.parameters() == default.scorer.parameters()


def test_only_placeholders_can_be_allowed(reasons: Reasons) -> None:
    assert reasons(ChatQuality(allow_only_placeholder=True).build(), [(QUESTION, "<EMAIL_1>")]) == [[]]


def test_settings_name_every_fault() -> None:
    with pytest.raises(RecipeError) as caught:
        ChatQuality(max_special_ratio=1.5, min_words=-1, repetition_size=1)
    assert len(caught.value.faults) == 3


def test_scores_do_not_depend_on_the_neighbours() -> None:
    texts = [loop(period, 70) for period in (3, 9, 20, 70)] + ["字" * 80, "Ok"]
    whole = repetition(pl.Series(texts), size=10)
    alone = pl.concat([repetition(pl.Series([text]), size=10) for text in texts])
    assert whole.equals(alone)


def test_no_text_at_all() -> None:
    empty = pl.DataFrame(schema={"text": pl.String, "prompt": pl.String})
    scores = ChatQuality().build().scorer.score(empty)
    assert scores.height == 0
    assert scores.columns[0] == "chat_quality"


def test_real_agent_turns_live(shared_data: Callable[[str], Path]) -> None:
    """Gopher keeps 0.0-0.2 % of such turns; here every one of 26,666 lines' agent turns and of CrossWOZ's stays."""
    lines = (shared_data("uss") / "SGD.txt").read_text(encoding="utf-8").split("\n")
    with zipfile.ZipFile(shared_data("crosswoz") / "val.json.zip") as archive:
        dialogues = json.loads(archive.read(archive.namelist()[0]))
    english = [line.split("\t")[1] for line in lines if line.startswith("SYSTEM\t")]
    chinese = [turn["content"] for one in dialogues.values() for turn in one["messages"] if turn["role"] == "sys"]
    row_filter = ChatQuality().build()
    texts = pl.Series("text", english + chinese).unique(maintain_order=True)
    scores = row_filter.scorer.score(texts.to_frame().with_columns(prompt=pl.lit("And then?")))
    dropped = {
        reason: scores.filter(
            (pl.col(str(rule.column)) < (rule.min if rule.min is not None else -1.0))
            | (pl.col(str(rule.column)) > (rule.max if rule.max is not None else 1e9))
        ).height
        for reason, rule in row_filter.rules.items()
    }
    assert dropped == dict.fromkeys(row_filter.rules, 0)
