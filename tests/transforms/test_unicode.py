"""Unicode: each kind of oddity is one row; what carries meaning is untouched, byte for byte."""

from __future__ import annotations

import unicodedata

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefdata.transforms.unicode import Unicode, normalise

ENGLAND = "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"

EDITED = {
    "decomposed letter": ("cafe\u0301", "café", ["unicode:1"]),
    "line ends": ("a\r\nb\rc\u2028d", "a\nb\nc\nd", ["unicode:1"]),
    "spaces": ("a\u00a0b\u202fc", "a b c", ["unicode:1"]),
    "ends": ("  a \n", "a", ["unicode:1"]),
    "control characters": ("a\x00b\x1b[0m\x9fc\td", "ab[0mc\td", ["unicode:1"]),
    "zero width": ("re\u200bfu\ufeffnd\u00ad", "refund", ["unicode:1", "unicode.hidden:3"]),
    "bidi override": ("pay \u202e001\u202c now", "pay 001 now", ["unicode:1", "unicode.bidi:2"]),
    "tag characters": ("hi\U000e0041\U000e0042", "hi", ["unicode:1", "unicode.tag:2"]),
    "tags after a black flag that spell no region": ("🏴\U000e0041\U000e007f", "🏴", ["unicode:1", "unicode.tag:2"]),
    "joiner between Latin letters": ("a\u200db\u200cc", "abc", ["unicode:1", "unicode.hidden:2"]),
    "dangling joiner after an emoji": ("👩\u200d done", "👩 done", ["unicode:1", "unicode.hidden:1"]),
    "selector after a letter": ("a\ufe0fb", "ab", ["unicode:1", "unicode.hidden:1"]),
    "bytes hidden in selectors": ("😀\ufe01\U000e0101\U000e0102", "😀\ufe01", ["unicode:1", "unicode.hidden:2"]),
    "marks in left-to-right text": ("a\u200eb\u200f", "ab", ["unicode:1", "unicode.hidden:2"]),
}

KEPT = {
    "plain": "hello\n\tworld",
    "Chinese": "您好，订单\u3000什么时候到？",
    "emoji family": "👨\u200d👩\u200d👧\u200d👦",
    "skin tone and profession": "👩🏽\u200d🚒",
    "heart with selector": "❤\ufe0f",
    "keycap": "1\ufe0f\u20e3",
    "flag of England": ENGLAND,
    "Persian non-joiner": "می\u200cخواهم",
    "Hindi joiner": "क्\u200dष",
    "mark in Arabic text": "مرحبا\u200f!",
    "Han variant": "葛\U000e0100城",
    "null": None,
    "empty": "",
}


@pytest.mark.parametrize("case", EDITED)
def test_oddities_are_removed_and_counted(case: str) -> None:
    raw, clean, touched = EDITED[case]
    out = Unicode().build()(pl.DataFrame({"text": [raw, "untouched"]}))
    assert out["text"].to_list() == [clean, "untouched"]
    assert out["touched"].to_list() == [touched, []]


@pytest.mark.parametrize("case", KEPT)
def test_what_carries_meaning_stays(case: str) -> None:
    out = Unicode().build()(pl.DataFrame({"text": [KEPT[case]]}, schema={"text": pl.String}))
    assert out["text"].to_list() == [KEPT[case]]
    assert out["touched"].to_list() == [[]]


def test_nfkc_is_an_option() -> None:
    frame = pl.DataFrame({"text": ["ＡＢ①"]})
    assert Unicode().build()(frame)["text"].to_list() == ["ＡＢ①"]
    assert Unicode(form="NFKC").build()(frame)["text"].to_list() == ["AB1"]


def test_survey_is_edited_too_and_earlier_entries_stay() -> None:
    frame = pl.DataFrame(
        {"text": ["a\u200b", "b"], "survey": ["c\u200b", None], "other": ["d\u200b", "e"], "touched": [["x:1"], None]}
    )
    out = Unicode().build()(frame)
    assert out["survey"].to_list() == ["c", None]
    assert out["other"].to_list() == ["d\u200b", "e"]
    assert out["touched"].to_list() == [["x:1", "unicode:2", "unicode.hidden:2"], []]
    assert frame["text"].to_list() == ["a\u200b", "b"]


ODD = (
    "aé e\u0301\u0338=<>\u200b\u200c\u200d\ufeff\u202e\u2066\u2067\u200e\u200f\U000e0041\U000e007f🏴👩🏽❤\ufe0f\ufe0e葛"
    "\U000e0100بक्ख\u0d4d\r\n\t\x00\x85\u2028\u00a0\u3000\u2126\u2adc\u1100\u1161\u3164\u034f1\u20e3"
)


@given(st.text(alphabet=st.one_of(st.sampled_from(ODD), st.characters(exclude_categories=["Cs"])), max_size=12))
def test_normalising_twice_is_normalising_once(text: str) -> None:
    once = normalise(pl.Series([text]))
    assert normalise(once).to_list() == once.to_list()


@given(st.text(alphabet=st.characters(categories=["L", "N", "P"]), max_size=20))
def test_letters_digits_and_punctuation_only_take_their_normal_form(text: str) -> None:
    visible = [letter for letter in unicodedata.normalize("NFC", text) if letter not in "\u115f\u1160\u3164\uffa0"]
    assert normalise(pl.Series([text])).to_list() == [unicodedata.normalize("NFC", "".join(visible))]


def test_an_empty_frame_stays_empty_and_gets_the_column() -> None:
    out = Unicode().build()(pl.DataFrame(schema={"text": pl.String}))
    assert out.schema == pl.Schema({"text": pl.String(), "touched": pl.List(pl.String)})
    assert out.height == 0
