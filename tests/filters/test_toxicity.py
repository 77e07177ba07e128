"""toxicity, lexical: what it finds, what it leaves alone, measured on real texts with floors a little below."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import polars as pl
import pytest

from filters import toxicity_ambiguous, toxicity_chinese, toxicity_english
from filters.toxicity import Toxicity
from filters.toxicity_lexical import LexicalToxicity
from prefdata.errors import RecipeError
from prefdata.judging import RowFilter, Rule

Reasons = Callable[..., list[list[str]]]
Scored = Callable[..., list[dict[str, Any]]]
ROOT = Path(__file__).resolve().parents[2]

RUDE = "you are a fucking idiot"
POLITE = "How do I reset my password?"

RUDE_ZH = [
    "你傻逼啊",
    "你这人是不是弱智，说了三遍了还问",
    "自己蠢还怪我们",
    "滚吧你，别再来了",
    "跟你这种脑残没法沟通",
    "你他妈到底想怎么样",
    "你个废物，连地址都填错",
    "穷鬼还要什么退款",
    "垃圾客户",
    "你有病就去看医生",
    "我不想理你这种泼妇",
    "看不懂中文吗，白痴",
    "去你妈的，爱退不退",
    "没脑子的东西，自己看说明书",
    "闭嘴吧，烦死了",
    "怎么会有你这么笨的人",
]
POLITE_ZH = [
    "您好，您购买的垃圾桶已经发货",
    "黑人牙膏还有两支",
    "请问您是河南的吗",
    "女生穿这个颜色很好看",
    "这款适合老人使用",
    "您反映的问题我已记录",
    "非常抱歉，快递员送错了地址",
    "神经内科在三楼",
    "亲，这边建议您重启一下手机哦",
    "退货请写明原因",
    "我们没有收到您的包裹",
    "少数民族服饰在二楼",
    "猪肉和牛肉都有",
    "同性恋题材的电影在这里",
    "需要先登录才可以看",
    "故宫周边有什么酒店",
]


@pytest.fixture(scope="module")
def sets() -> ModuleType:
    """benchmarks/toxicity.py: the loaders of the labelled sets."""
    specification = importlib.util.spec_from_file_location("toxicity_sets", ROOT / "benchmarks" / "toxicity.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    return module


def lexical(texts: pl.Series) -> pl.DataFrame:
    return Toxicity().build().scorer.score(texts.to_frame("text"))


def test_the_english_scores_are_those_of_the_package(scored: Scored) -> None:
    """By alt-profanity-check 1.9.1 itself, predict_prob on the same texts."""
    rows = scored(
        Toxicity().build(), [RUDE, POLITE, "I will kill you", "have a nice day", "Shitty garbage, refund me!"]
    )
    assert [row["toxicity"] for row in rows] == pytest.approx([1.0, 0.01741, 0.94673, 0.05845, 0.99963], abs=1e-4)
    assert {row["model"] for row in rows} == {"english"}


def test_only_desirable_rows_are_dropped(reasons: Reasons) -> None:
    row_filter = Toxicity().build()
    pairs: list[tuple[str | None, str | None]] = [("hi", RUDE), ("hi", RUDE), ("hi", POLITE)]
    assert reasons(row_filter, pairs, [True, False, True]) == [["reply_toxic"], [], []]


def test_an_angry_customer_is_context(reasons: Reasons) -> None:
    assert reasons(Toxicity().build(), [(RUDE, "I am sorry, I will put that right.")]) == [[]]


def test_a_score_at_the_threshold_passes_and_one_above_does_not(reasons: Reasons) -> None:
    # have a nice day: .0584 when rounded to four decimals
    pairs: list[tuple[str | None, str | None]] = [("hi", "have a nice day")]
    assert reasons(Toxicity(max_toxicity=0.0584).build(), pairs) == [[]]
    assert reasons(Toxicity(max_toxicity=0.0583).build(), pairs) == [["reply_toxic"]]


@pytest.mark.parametrize("text", [None, "", "12345", "👍", "<EMAIL_1>", "Спасибо большое", "ありがとう"])
def test_what_no_model_knows_is_unjudged(scored: Scored, text: str | None) -> None:
    assert scored(Toxicity().build(), [text]) == [{"toxicity": None, "model": None}]


def test_a_text_of_stop_words_is_judged(scored: Scored) -> None:
    (row,) = scored(Toxicity().build(), ["how do you do"])
    assert row["model"] == "english"
    assert row["toxicity"] < 0.1


def test_mixed_text_takes_the_worse_of_both(scored: Scored) -> None:
    rows = scored(Toxicity().build(), ["您的 order 已经发货", "您好 you fucking idiot", "hello 你是傻逼吗"])
    assert [row["model"] for row in rows] == ["english+chinese"] * 3
    assert rows[0]["toxicity"] < 0.5
    assert rows[1]["toxicity"] > 0.8
    assert rows[2]["toxicity"] > 0.8


def test_a_model_is_asked_from_its_share_of_the_letters_on(scored: Scored) -> None:
    # 1 Han of 10 letters = .10; of 11, .09
    rows = scored(Toxicity().build(), ["good price 了", "goods price 了"])
    assert [row["model"] for row in rows] == ["english+chinese", "english"]


def test_pseudonyms_say_nothing(scored: Scored) -> None:
    with_them, without = scored(Toxicity().build(), ["have <NAME_1> a nice <SECRET_2> day", "have a nice day"])
    assert with_them == without


def test_rude_and_polite_chinese_agents() -> None:
    """Sentences that are not in scripts/chinese_service_phrases.json, though made by the same people."""
    rude, polite = (lexical(pl.Series(texts))["toxicity"] for texts in (RUDE_ZH, POLITE_ZH))
    assert (rude > 0.8).sum() >= 10
    assert rude.min() > 0.55
    assert polite.max() < 0.55


@pytest.mark.parametrize(
    ("name", "floor", "most_wrong"),
    [("davidson", 0.978, 0.058), ("jigsaw", 0.975, 0.04), ("cold_holdout", 0.93, 0.04)],
)
def test_ranking_of_labelled_texts(
    sets: ModuleType, shared_data: Callable[[str], Path], name: str, floor: float, most_wrong: float
) -> None:
    """Measured: Davidson .983 and Jigsaw .979 (both in the English model's training data), COLD held out .933."""
    labelled = getattr(sets, name)(shared_data("cold").parent)
    scores = lexical(labelled.texts)["toxicity"]
    assert sets.area(scores, labelled.toxic) >= floor
    assert (scores.fill_null(0.0).filter(~labelled.toxic) > 0.8).mean() <= most_wrong


@pytest.mark.parametrize(
    ("name", "module", "floor"),
    [
        ("davidson", toxicity_english, 0.985),
        ("jigsaw", toxicity_english, 0.988),
        ("cold_holdout", toxicity_chinese, 0.938),
    ],
)
def test_the_models_on_whole_texts(
    sets: ModuleType, shared_data: Callable[[str], Path], name: str, module: Any, floor: float
) -> None:
    """Measured: .988 and .992, as alt-profanity-check's own; COLD held out .942."""
    labelled = getattr(sets, name)(shared_data("cold").parent)
    found = pl.Series(module.probabilities(labelled.texts, module.load())).fill_nan(0.0)
    assert sets.area(found, labelled.toxic) >= floor


def test_one_insult_in_a_long_polite_reply_is_found(scored: Scored) -> None:
    english = (
        "Thank you for writing to us. The parcel left on Monday and will be with you within two working days. " * 4
    )
    chinese = "您好，感谢您的联系。您的包裹周一已经从仓库发出，预计两个工作日内送达。" * 4
    rows = scored(Toxicity().build(), [english, english + "You idiot.", chinese, chinese + "你是傻逼吗？"])
    assert [row["toxicity"] > 0.8 for row in rows] == [False, True, False, True]


@pytest.mark.parametrize(
    "text",
    [
        "Sorry to hear that, can you please DM us, as we ass... https://t.co/x",
        "We'll be happy to ass…",
        "Please tell us more, we will look at the tit...   https://t.co/a https://t.co/b",
        "Dick Smith store, Scunthorpe: cock pheasant",
        "Your order from Dick Smith has been shipped.",
        "We have moved your visit to Gay Street.",
        "Your hoe has been shipped today",
        "Please kill the process and restart the app.",
        "Please shut the lid and wait a minute.",
        "Your garbage disposal arrives on Monday",
        "The vacuum will suck again after cleaning the filter.",
    ],
)
def test_cut_off_words_names_and_ambiguous_words_in_a_polite_reply_pass(reasons: Reasons, text: str) -> None:
    assert reasons(Toxicity().build(), [("hi", text)]) == [[]]


@pytest.mark.parametrize(
    "text",
    [
        "You idiot...",
        "You are an ass...",
        "What a stupid question… https://t.co/x",
        "You Stupid Idiot Smith",
        "you dick",
        "Your a dick",
        "He is such a dick",
        "Don't be an ass",
        "you fat pig",
        "shut up",
        "go to hell",
        "Stop wasting my time you fool",
        "I will kill you",
        "You dick, Dick Smith is closed",
        "The cock pheasant and the hoe are sold out",  # two such words: not believed
        "Dick",  # nothing polite around it
    ],
)
def test_insults_of_the_same_words_do_not_pass(reasons: Reasons, text: str) -> None:
    assert reasons(Toxicity().build(), [("hi", text)]) == [["reply_toxic"]]


def test_one_ambiguous_word_scores_below_the_rule_and_above_what_is_polite(scored: Scored) -> None:
    hoe, spade = scored(Toxicity().build(), ["Your hoe has been shipped today", "Your spade has been shipped today"])
    assert hoe["toxicity"] == pytest.approx(0.79 * 0.9985, abs=1e-3)
    assert spade["toxicity"] < 0.3


def test_only_a_word_that_could_go_on_harmlessly_counts_as_cut_off() -> None:
    words = toxicity_ambiguous.cut_off_words(toxicity_english.load())
    assert {"ass", "cum", "dick", "tit", "rat"} <= set(words)
    assert not {"idiot", "stupid", "moron", "bitch", "fuck", "shit"} & set(words)
    texts = pl.Series(["as we ass...", "as we ass... then", "you idiot...", "you ass", None, "an ass …"])
    assert toxicity_ambiguous.without_cut_off_word(texts, toxicity_english.load()).to_list() == [
        "as we  ",
        "as we ass... then",
        "you idiot...",
        "you ass",
        None,
        "an ass …",
    ]


def test_what_stands_behind_twenty_thousand_characters_is_not_read(scored: Scored) -> None:
    filler = "fine " * 4000
    inside, outside = scored(Toxicity().build(), [filler[:-20] + ". You idiot!", filler + ". You idiot!"])
    assert inside["toxicity"] > 0.8
    assert outside["toxicity"] < 0.5


def test_polite_agents_are_left_alone(sets: ModuleType, shared_data: Callable[[str], Path]) -> None:
    """Measured: 1 of SGD's 10,831 distinct agent turns is above .8 (the title of a song), none of CrossWOZ's 3,612."""
    data = shared_data("uss").parent
    for texts, most in ((sets.sgd_agents(data), 3), (sets.crosswoz_agents(data), 2)):
        scores = lexical(texts)["toxicity"]
        assert (scores > 0.8).sum() <= most
        assert scores.null_count() <= 10


def test_the_area_under_the_curve_counts_pairs(sets: ModuleType) -> None:
    # of the 2 x 2 pairs: .9 > .1, .9 > .5, .5 = .5 (half), .5 > .1
    assert sets.area(pl.Series([0.9, 0.1, 0.5, 0.5]), pl.Series([True, False, True, False])) == 3.5 / 4


def test_scores_do_not_depend_on_the_neighbours() -> None:
    texts = pl.Series([RUDE, None, "您的订单已经发货", "Ok", "<NAME_1>", POLITE, "你是傻逼吗"])
    assert lexical(texts).equals(pl.concat([lexical(pl.Series([text], dtype=pl.String)) for text in texts]))


def test_grams_never_span_two_texts() -> None:
    rows, keys = toxicity_chinese.grams(pl.Series(["ab", "", "c"]))
    packed = [(97,), (98,), (97, 98), (99,)]
    assert sorted(zip(rows.tolist(), keys.tolist())) == sorted(
        (row, sum(point << 21 * place for place, point in enumerate(reversed(gram))))
        for row, gram in zip((0, 0, 0, 2), packed)
    )


def test_a_nul_inside_a_text_is_a_blank() -> None:
    model = toxicity_chinese.load()
    found = toxicity_chinese.probabilities(pl.Series(["你是\0傻逼", "你是 傻逼", "好"]), model)
    assert found[0] == found[1]
    assert not np.isnan(found).any()


def test_the_models_are_small_and_say_where_they_are_from() -> None:
    for module, licence in ((toxicity_english, "MIT"), (toxicity_chinese, "Apache-2.0")):
        assert module.MODEL_FILE.stat().st_size < 400_000
        assert module.load().origin["license"] == licence
    notice = (ROOT / "filters" / "data" / "NOTICE").read_text(encoding="utf-8")
    assert all(file.name in notice for file in (ROOT / "filters" / "data").glob("*.safetensors"))


def test_the_chinese_model_names_the_phrases_it_was_trained_on() -> None:
    import hashlib

    phrases = ROOT / "scripts" / "chinese_service_phrases.json"
    digest = hashlib.sha256(phrases.read_bytes()).hexdigest()
    assert toxicity_chinese.load().origin["files"][phrases.name] == digest
    lists = json.loads(phrases.read_text(encoding="utf-8"))
    assert not {*RUDE_ZH, *POLITE_ZH} & {*lists["insulting"], *lists["polite"]}


@pytest.mark.slow
def test_training_again_gives_the_same_model(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    import os
    import subprocess

    from safetensors.numpy import load_file

    again = tmp_path / "again.safetensors"
    script, cold = ROOT / "scripts" / "train_chinese_toxicity.py", shared_data("cold/dev.csv.gz")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, script, again, cold], check=True, env=environment, capture_output=True)
    trained, kept = load_file(again), load_file(toxicity_chinese.MODEL_FILE)
    assert np.array_equal(trained["grams"], kept["grams"])
    assert np.abs(trained["weights"].astype(int) - kept["weights"].astype(int)).max() <= 1  # another BLAS


def test_a_threshold_is_no_scoring_parameter() -> None:
    strict, default = Toxicity(max_toxicity=0.5).build(), Toxicity().build()
    assert strict.scorer.parameters() == default.scorer.parameters()
    assert strict.rules == {"reply_toxic": Rule(max=0.5, only="desirable")}


def test_another_model_file_is_another_parameter() -> None:
    assert sorted(LexicalToxicity(min_script_ratio=0.1).parameters()) == [
        "chinese",
        "english",
        "min_script_ratio",
        "model",
    ]


def test_no_text_at_all() -> None:
    assert lexical(pl.Series([], dtype=pl.String)).schema == {"toxicity": pl.Float32, "model": pl.String}


@pytest.mark.parametrize(
    ("wrong", "faults"),
    [
        ({"max_toxicity": 1.1}, 1),
        ({"max_toxicity": -0.1, "min_script_ratio": 2.0, "batch_rows": 0}, 3),
        ({"model": "detoxify", "checkpoint": "a.ckpt"}, 1),
        ({"model": "detoxify", "sha256": "0" * 64}, 1),
        ({"checkpoint": "a.ckpt", "sha256": "0" * 64, "config": "a"}, 1),
        ({"model": "detoxify", "checkpoint": "a.ckpt", "sha256": "zz", "config": "a"}, 1),
    ],
)
def test_settings_name_every_fault(wrong: dict[str, Any], faults: int) -> None:
    with pytest.raises(RecipeError) as caught:
        Toxicity(**wrong)
    assert len(caught.value.faults) == faults


def test_the_filter_is_one_of_the_completion() -> None:
    row_filter: RowFilter = Toxicity().build()
    assert row_filter.sides == ("completion",)
    assert row_filter.scorer.better == "lower"
