"""Personal data: what is found and what is left, the numbering by session, and that nothing else changes."""

from __future__ import annotations

import datetime
import re
import string

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefdata.transforms.checksums import cn_id_valid, iban_valid, luhn_valid
from prefdata.transforms.personal_data import KINDS, PersonalData, find

FOUND = {
    # kind: texts in which the part between « » is found
    "email": [
        "write to «Anna.Smith+x@Example.co.uk».",
        "邮箱«zhang_3@qq.com»谢谢",
        "it is «john (at) gmail (dot) com», ok",
        "全角«ｌｉ＠ｑｑ．ｃｏｍ»",
        "<«a@b.io»>",
    ],
    "phone": [
        "电话«13912345678»请",
        "微信wx«13912345678»",
        "手机：«139 1234 5678»，谢谢",
        "电话«１３９１２３４５６７８»",
        "call «212-555-0123» or «(212) 736-5000» now",
        "from London «020 7946 0958»",
        "abroad «+49 30 901820» works",
        "座机«010-62561234»。",
        "a number that no one has: «(977) 625-2661»",
        "my phone is «977 625 2661»",
    ],
    "card": [
        "card «4111 1111 1111 1111» exp 12/26",
        "«5500-0000-0000-0004»",
        "卡号«6222021234567890128»尾号",
        "«378282246310005»",
    ],
    "iban": ["IBAN «GB82 WEST 1234 5698 7654 32» please", "to «de89370400440532013000»."],
    "cn_id": ["身份证«11010519491231002X»好的", "id «110105 19491231 002x»"],
    "ip": ["from «192.168.1.10», then «2001:0db8::1» again", "IP是«203.0.113.9»。"],
    "url": [
        "open «https://x.com/reset?token=abc123def456&uid=9» now",
        "«https://bob:pw@intra.example.com/»",
        "«http://203.0.113.9/admin»",
        "链接«https://a.cn/u/3f2504e0-4f89-11d3-9a0c-0305e82c3301»，点开",
        "«https://wa.me/447911123456»",
    ],
    "secret": [
        "key «sk-abcdEFGH1234567890abcd»",
        "«AKIAIOSFODNN7EXAMPLE» and «ghp_0123456789abcdefghijABCDEFGHIJ012345»",
        "jwt «eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abcDEF123»",
        "Authorization: Bearer «abc123def456ghi789»",
        "password: «hunter2», thanks",
        "your password is «S3cret!»",
        "密码：«Abc@123» 谢谢",
        "Your verification code is «482913».",
        "验证码：«123456»，请勿泄露",
        "«551234» is your login code",
        "PIN: «0417»",
    ],
    "name": [
        "Hi «Anna», how are you?",
        "Hello «Anna» can you help",
        "Dear Mr «Smith»,\nyour order",
        "Dear Mrs. «Mary Jones»",
        "Thanks so much, «Priya»!",
        "my name is «John Doe» and I wait",
        "hi, my name is «sanya afzal».",
        "This is «Kate» from support",
        "I'm «Kate», how can I help?",
        "You are chatting with «Tom» today",
        "Best regards,\n«John»",
        "Sorry to hear that ^«KM» https://t.co/abc",
        "Name: «Sarah O'Neil»",
        "我叫«王小明»，订单没到",
        "我是«李雷»。",
        "客服«小王»为您服务",
        "Sorry for the trouble, «Carys». I read it all.",
        "Apologies for the long wait, «Odette»!",
        "Of course, «Felix». Done.",
        "Good question, «Kofi». None at all.",
        "I moved the appointment for you, «Odette»?",
        "I understand your anger, «Priya». It is on us.",
        "You're right to be angry, «Anselm», and I apologise.",
        "You’re absolutely right, «Maren» – one moment",
        "Thank you for your patience, «Shelby». Bye",
        "No problem, «O'Neil»!",
        "You're welcome, «Jean-Luc»",
        "There you go, «Yara» 🙂",
        "Look, «Hugo», you must wait",
        "No, «Priya», you have to wait.",
        "Yes, «Priya». The parcel left.",
        "Cheers, «Tamsin» 🙂",
        "Best, «Anselm»😕",
        "Cheers, «Silas» You can reach me",
        "Kind regards «Emeka»!!! My parcel",
        "Is that all right?\n«Jamal» from Norvale Care",
        "Chat was handed over from bot to «Keith».",
        "好的，«王»女士。",
        "«王»女士，您的订单",
        "没问题，«欧阳»女士，这就办",
        "我是客服«小贝»，请问",
        "禾庭客服«阿宁»祝您生活愉快",
        "客服«文静»为您服务",
        "已转接至«文静»。",
        "我是«晓雯»，很高兴为您服务",
        "谢谢«小禾»！",
        "«王»先生您好",
        "请问是«欧阳娜»女士吗",
        "免贵姓«陈»",
    ],
}  # fmt: skip

LEFT = [
    "card 4111 1111 1111 1112",  # check digit
    "身份证110105194912310021",  # check digit
    "IBAN GB82 WEST 1234 5698 7654 33",  # mod 97
    "order id: 4111111111111111",  # an order number that happens to pass Luhn
    "订单号是13912345678901，快递单号：13912345678",
    "order 2127365000 and ticket #2127365000",
    "2127365000 is my order number",
    "价格是12345678元, $1234567890",
    "on 2019-01-02 at 12:30:45, 10/10/2018",
    "version 10.1.2.3, localhost 127.0.0.1, std::vector, a::b",
    "see https://help.example.com/hc/en-us/articles/360001234567-Reset-password and www.example.com/faq?page=2",
    "my password is not working, password is incorrect, 密码错误, 密码是多少, password: ********",
    "the code is wrong, zip code 75227",
    "Hi there, Hello Team, Dear Customer, Hi Will you help, Thanks, Bye",
    "This is Great. I'm Sorry, I am American",
    "Sorry for the delay, Monday. Of course, London. Certainly, Bluetooth. For you, May.",
    "Thank you for choosing us, Norwegian. I understand, Friday is bad. You're right, Paris.",
    "Of course, The order ships. Sorry, Order 12 is late. No problem, VAT! I understand, USA.",
    "No, Italian. Yes, Visa. Please, Delivery! Sure, Summer, we can. Yes, Oakland",
    "Of course, London, and then, Of course, Please. For you, Exchange. Of course, Returns, refunds",
    "Pick it up here.\nFlight from London\nTickets from Oakland",
    "客服人员为您服务，客服正在为您处理，客服马上为您，我是客服热线，转接至人工，我是会员，很高兴为您，谢谢小哥",
    "我是高兴的，我是路人，我叫了外卖，先生您好",
    "rated 4.5, 3 nights, 2 rooms, 100-150元, 1 2 3 4 5 6 7",
    "",
]


@pytest.mark.parametrize(("kind", "marked"), [(kind, text) for kind, texts in FOUND.items() for text in texts])
def test_find_gives_kind_and_place(kind: str, marked: str) -> None:
    text = re.sub("[«»]", "", marked)
    expected, shift = [], 0
    for match in re.finditer("«([^»]*)»", marked):
        expected.append((kind, match.start() - shift, match.start() - shift + len(match[1])))
        shift += 2
    assert find(text) == expected


@pytest.mark.parametrize("text", LEFT)
def test_what_only_looks_like_personal_data_is_left(text: str) -> None:
    assert find(text) == []


@pytest.mark.parametrize("text", [re.sub("[«»]", "", text) for texts in FOUND.values() for text in texts] + LEFT)
def test_the_transform_replaces_what_find_finds(text: str) -> None:
    out = PersonalData().build()(pl.DataFrame({"session": ["s"], "text": [text]}))["text"][0]
    rest = out.replace("<", "\x00<")
    kinds = re.findall("\x00<([A-Z_]+)_[0-9]+>", rest)
    assert [kind.lower() for kind in kinds] == [kind for kind, _, _ in find(text)]
    kept, done = [], 0
    for _, start, end in find(text):
        kept.append(text[done:start])
        done = end
    assert re.split("<[A-Z_]+_[0-9]+>", out) == [*kept, text[done:]]


def _session(*texts: str | None, session: str = "s", names: list[str] | None = None) -> pl.DataFrame:
    return pl.DataFrame(
        {"session": [session] * len(texts), "text": texts, "names": [names] + [None] * (len(texts) - 1)},
        schema={"session": pl.String, "text": pl.String, "names": pl.List(pl.String)},
    )


def _texts(frame: pl.DataFrame, **settings: object) -> list[str | None]:
    return PersonalData(**settings).build()(frame)["text"].to_list()  # type: ignore[arg-type]


def test_one_value_has_one_pseudonym_in_every_format_and_turn() -> None:
    frame = _session(
        "call +86 139 1234 5678 or 13800138000, card 4111 1111 1111 1111",
        "我记一下：13912345678，4111-1111-1111-1111 对吗？ anna@x.com",
        "yes, 139-1234-5678. Anna@X.COM, bob@x.com",
    )
    assert _texts(frame) == [
        "call <PHONE_1> or <PHONE_2>, card <CARD_1>",
        "我记一下：<PHONE_1>，<CARD_1> 对吗？ <EMAIL_1>",
        "yes, <PHONE_1>. <EMAIL_1>, <EMAIL_2>",
    ]


def test_numbering_starts_again_in_the_next_session() -> None:
    frame = pl.concat([_session("a@x.com b@x.com"), _session("b@x.com", session="t"), _session("b@x.com", session="u")])
    assert _texts(frame) == ["<EMAIL_1> <EMAIL_2>", "<EMAIL_1>", "<EMAIL_1>"]


def test_rows_without_a_session_share_nothing() -> None:
    assert _texts(pl.DataFrame({"text": ["a@x.com", "b@x.com"]})) == ["<EMAIL_1>", "<EMAIL_1>"]
    nulls = pl.DataFrame(
        {"session": [None, None], "text": ["a@x.com", "b@x.com"]}, schema_overrides={"session": pl.String}
    )
    assert _texts(nulls) == ["<EMAIL_1>", "<EMAIL_1>"]


def test_survey_is_numbered_with_the_text_of_its_session() -> None:
    frame = pl.DataFrame({"session": ["s", "s"], "text": ["a@x.com", "ok"], "survey": [None, "mail b@x.com, a@x.com"]})
    out = PersonalData().build()(frame)
    assert out["survey"].to_list() == [None, "mail <EMAIL_2>, <EMAIL_1>"]
    assert out["touched"].to_list() == [["personal_data.email:1"], ["personal_data.email:2"]]


def test_touched_counts_places_by_kind() -> None:
    out = PersonalData().build()(_session("a@x.com, A@x.com, call 212-555-0123", "nothing", None))
    assert out["touched"].to_list() == [["personal_data.email:2", "personal_data.phone:1"], [], []]


def test_a_literal_pseudonym_stays_and_its_number_is_not_given_out() -> None:
    assert _texts(_session("a@x.com and <EMAIL_1>, <EMAIL_3>", "b@x.com", "c@x.com")) == [
        "<EMAIL_2> and <EMAIL_1>, <EMAIL_3>",
        "<EMAIL_4>",
        "<EMAIL_5>",
    ]


def test_running_it_again_changes_nothing() -> None:
    texts = [re.sub("[«»]", "", text) for texts in FOUND.values() for text in texts]
    once = PersonalData().build()(pl.DataFrame({"text": texts}))
    assert PersonalData().build()(once)["text"].to_list() == once["text"].to_list()


def test_kinds_turned_off_stay_and_do_not_pass_for_another_kind() -> None:
    text = "a@x.com 4111111111111111 11010519491231002X Hi Anna, https://x.com/r?token=abc123"
    assert _texts(_session(text), kinds=("email",)) == [text.replace("a@x.com", "<EMAIL_1>")]
    assert _texts(_session(text), kinds=()) == [text]
    assert {kind for kind, _, _ in find(text)} == {"email", "card", "cn_id", "name", "url"}
    assert find(text, kinds=["card"]) == [("card", 8, 24)]


def test_phone_regions_say_what_national_formats_count() -> None:
    assert _texts(_session("appelez 01 42 68 53 00"), phone_regions=("FR",)) == ["appelez <PHONE_1>"]
    assert _texts(_session("appelez 01 42 68 53 00"), phone_regions=("US",)) == ["appelez 01 42 68 53 00"]


def test_names_of_the_name_column_are_replaced_in_the_whole_session() -> None:
    frame = _session(
        "where is Anna Maria Smith?",
        "ANNA here. ask mrs smith, not Annabel or Smithson",
        "anna@smith.com, Anna's parcel",
        names=["Anna Maria Smith", "N/A", "Support Team"],
    )
    assert _texts(frame) == [
        "where is <NAME_1>?",
        "<NAME_1> here. ask mrs <NAME_1>, not Annabel or Smithson",
        "<EMAIL_1>, <NAME_1>'s parcel",
    ]


def test_a_name_of_the_column_holds_for_rows_whose_own_cell_is_empty() -> None:
    frame = pl.DataFrame(
        {
            "session": ["s", "s", "s", "t"],
            "text": ["Priya, one moment", "It is Priya's order", "thanks", "Priya"],
            "names": [None, [], ["Priya Okwuosa"], None],
        },
        schema_overrides={"names": pl.List(pl.String)},
    )
    assert _texts(frame) == ["<NAME_1>, one moment", "It is <NAME_1>'s order", "thanks", "Priya"]


def test_a_name_in_an_address_is_replaced_in_the_other_turns_too() -> None:
    frame = _session("Priya here, parcel is late", "I understand your anger, Priya.", "Priya Okwuosa is on the label")
    assert [text.count("Priya") for text in _texts(frame) if text] == [0, 0, 0]
    frame = _session("您好，我是客服文静，请讲", "谢谢文静")
    assert _texts(frame) == ["您好，我是客服<NAME_1>，请讲", "谢谢<NAME_1>"]


def test_chinese_names_of_the_name_column_need_no_word_boundary() -> None:
    assert _texts(_session("请王小明接电话，小明在吗", names=["王小明"])) == ["请<NAME_1>接电话，小明在吗"]


def test_two_persons_have_two_numbers_and_a_shared_part_a_third() -> None:
    frame = _session("Anna Smith and Bob Smith: Bob, Anna, Smith", names=["Anna Smith", "Bob Smith"])
    assert _texts(frame) == ["<NAME_1> and <NAME_2>: <NAME_2>, <NAME_1>, <NAME_3>"]


def test_a_name_that_is_an_ordinary_word_counts_where_it_is_written_as_a_name() -> None:
    frame = _session(
        "Will Rose helps. Will you wait? I will. ask Will or rose, may I?",
        "Hi Will, thanks",
        names=["Will Rose", "May"],
    )
    assert _texts(frame) == [
        "<NAME_1> helps. Will you wait? I will. ask <NAME_1> or rose, may I?",
        "Hi <NAME_1>, thanks",
    ]


def test_a_name_that_one_turn_gives_away_is_replaced_in_the_others_too() -> None:
    frame = _session(
        "Sanya wrote before",
        "hello, my name is Sanya Afzal",
        "thank you sanya! Afzal, right?",
        "我是李雷。",
        "李雷您好",
    )
    assert _texts(frame) == [
        "<NAME_1> wrote before",
        "hello, my name is <NAME_1>",
        "thank you <NAME_1>! <NAME_1>, right?",
        "我是<NAME_2>。",
        "<NAME_2>您好",
    ]


def test_the_answer_to_a_question_for_the_name_is_a_name() -> None:
    frame = _session(
        "may I have your full name please?",
        "crystal minh",
        "thanks Crystal",
        "您贵姓？",
        "王小明",
        "your order name?",
        "Shoes",
    )
    assert _texts(frame) == [
        "may I have your full name please?",
        "<NAME_1>",
        "thanks <NAME_1>",
        "您贵姓？",
        "<NAME_2>",
        "your order name?",
        "Shoes",
    ]  # fmt: skip


def test_input_frame_is_not_changed_and_columns_keep_their_order() -> None:
    frame = _session("a@x.com")
    out = PersonalData().build()(frame)
    assert frame["text"].to_list() == ["a@x.com"]
    assert out.columns == ["session", "text", "names", "touched"]


# --- laws -----------------------------------------------------------------------------------------------------------

DIGITS = st.text(string.digits, min_size=20, max_size=20)


@st.composite
def cards(draw: st.DrawFn) -> str:
    body = draw(st.sampled_from(["4", "51", "55", "34", "37", "6011", "62", "35"])) + draw(DIGITS)
    body = body[: draw(st.sampled_from([12, 14, 15, 18]))]
    return next(body + check for check in string.digits if luhn_valid(body + check))


@st.composite
def chinese_ids(draw: st.DrawFn) -> str:
    day = draw(st.dates(min_value=datetime.date(1930, 1, 1), max_value=datetime.date(2015, 1, 1)))
    body = draw(st.sampled_from(["110105", "310101", "440305"])) + day.strftime("%Y%m%d") + draw(DIGITS)[:3]
    return next(body + check for check in "0123456789X" if cn_id_valid(body + check))


@st.composite
def ibans(draw: st.DrawFn) -> str:
    account = draw(DIGITS)[:18]
    return next(f"DE{check:02}{account}" for check in range(2, 99) if iban_valid(f"DE{check:02}{account}"))


MOBILES = st.builds(lambda head, rest: head + rest[:8], st.sampled_from(["139", "186", "177", "158"]), DIGITS)
AMERICAN = st.builds(
    lambda area, digits: f"{area}-{2 + int(digits[0]) % 8}{digits[1:3]}-{digits[3:7]}",
    st.sampled_from(["212", "415", "650", "312"]),
    DIGITS,
)
EMAILS = st.builds(
    lambda user, host: f"{user}@{host}.com",
    st.text(string.ascii_letters + string.digits + "._", min_size=1, max_size=10).filter(
        lambda user: user[0] not in "._"
    ),
    st.text(string.ascii_lowercase, min_size=2, max_size=8),
)
VALUES = st.one_of(
    st.tuples(st.just("CARD"), cards()),
    st.tuples(st.just("CN_ID"), chinese_ids()),
    st.tuples(st.just("IBAN"), ibans()),
    st.tuples(st.just("PHONE"), st.one_of(MOBILES, AMERICAN)),
    st.tuples(st.just("EMAIL"), EMAILS),
)
SENTENCES = st.sampled_from(
    [
        ("please use ", " for it"),
        ("It is: ", "."),
        ("my details (", ") changed"),
        ("我的资料是", "，请查收"),
        ("请记一下", "谢谢"),
        ("", ""),
        ("first line\n", "\nlast line"),
    ]
)


@given(st.lists(st.tuples(VALUES, SENTENCES), min_size=1, max_size=5))
def test_no_planted_value_survives_and_nothing_else_changes(
    planted: list[tuple[tuple[str, str], tuple[str, str]]],
) -> None:
    texts = [before + value + after for (_, value), (before, after) in planted]
    numbers: dict[str, dict[str, int]] = {}
    expected = []
    for (kind, value), (before, after) in planted:
        known = numbers.setdefault(kind, {})
        expected.append(f"{before}<{kind}_{known.setdefault(value.casefold(), len(known) + 1)}>{after}")
    assert _texts(_session(*texts)) == expected
    assert _texts(pl.DataFrame({"text": texts})) == [re.sub(r"_\d+>", "_1>", text) for text in expected]


@given(st.lists(st.text(max_size=30), max_size=4))
def test_a_text_is_changed_only_where_something_was_found(texts: list[str]) -> None:
    frame = pl.DataFrame(
        {"session": list(map(str, range(len(texts)))), "text": texts}, schema_overrides={"text": pl.String}
    )
    out = PersonalData().build()(frame)
    for raw, text, touched in zip(texts, out["text"], out["touched"], strict=True):
        assert (raw == text) == (touched.len() == 0)
        assert bool(find(raw)) == (touched.len() > 0)


def test_every_kind_has_examples() -> None:
    assert set(FOUND) == set(KINDS)
