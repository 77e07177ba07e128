"""Null baselines: what is planted is found, what means nothing is at chance, and words are named with care."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from trl_rows import findings, labelled, pair

from prefdata.auditing import probing, shortcuts
from prefdata.auditing.finding import Finding, Severity
from prefdata.auditing.probing import Judged
from prefdata.auditor import audit

WORDS = [
    f"{first}{last}" for first in ("ba", "ko", "mi", "ru", "te", "lo") for last in ("ran", "sel", "tim", "vop", "nug")
]


def sentence(rng: random.Random, words: int) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(words)) + "."


def pairs(edit: Callable[[str], str], *, rows: int = 120, seed: int = 5) -> list[dict[str, Any]]:
    """Pairs of sentences that differ in nothing but that the rejected one is edited."""
    rng = random.Random(seed)
    return [
        pair(f"How does {sentence(rng, 5)}", sentence(rng, rng.randint(5, 30)), edit(sentence(rng, rng.randint(5, 30))))
        for _ in range(rows)
    ]


def found_in(folder: Path, rows: list[dict[str, Any]]) -> dict[str, Finding]:
    return findings(folder, rows, ["shortcuts"])


def test_length_alone_tells_all(tmp_path: Path) -> None:
    rng = random.Random(3)
    rows = []
    for _ in range(200):
        words = rng.randint(3, 60)
        rows.append(pair(sentence(rng, 6), "x" * (words + rng.randint(1, 20)), "x" * words))
    found = found_in(tmp_path, rows)
    assert found["shortcuts"].measures["baselines"]["length"]["auc"] == 1.0
    assert found["shortcuts"].measures["baselines"]["length"]["accuracy"] == 1.0
    assert found["shortcuts"].severity is Severity.MAJOR
    assert (found["length_bias"].severity, found["length_bias"].measures["longer_wins"]) == (Severity.MAJOR, 1.0)
    assert found["length_bias"].measures["interval"][0] > 0.97


@pytest.mark.parametrize(
    ("baseline", "edit"),
    [
        ("refusal", lambda text: f"I'm sorry, but I cannot help. {text}"),
        ("refusal", lambda text: f"抱歉，我无法回答。{text}"),
        ("emoji", lambda text: f"{text} 🎉"),
        ("markdown", lambda text: f"## Answer\n\n- **{text}**\n- {text}"),
        ("language", lambda text: "我们的服务在每天上午九点开始。" * (len(text) // 15 + 1)),
        ("first_words", lambda text: f"Well then {text}"),
        ("ending", lambda text: text.rstrip(".")),
    ],
)
def test_a_planted_mark_is_told_by_its_baseline(tmp_path: Path, baseline: str, edit: Callable[[str], str]) -> None:
    told = found_in(tmp_path, pairs(edit))["shortcuts"]
    assert told.measures["baselines"][baseline]["auc"] == 1.0
    assert told.severity is Severity.MAJOR
    assert told.measures["at_chance"] == ["position", "source", "prompt_words"]


def test_a_set_that_teaches_style_names_the_words(tmp_path: Path) -> None:
    found = found_in(tmp_path, pairs(lambda text: f"{text} Hope this helps, 4711!"))["teaches_style"]
    assert found.severity is Severity.MAJOR
    assert found.measures["auc"] == 1.0
    assert found.measures["words_of_rejected"]["helps"] == [0, 120]
    assert "4711" not in found.measures["words_of_rejected"]


def test_a_word_of_few_prompts_is_not_named(tmp_path: Path) -> None:
    rows = pairs(lambda text: f"{text} Hope this helps!")
    for row in rows[:19]:
        row["rejected"][0]["content"] += " Ask Ottilie."
    found = found_in(tmp_path, rows)["teaches_style"]
    assert "hope" in found.measures["words_of_rejected"]
    assert not {"ottilie", "ask"} & set(found.measures["words_of_rejected"])


def test_chinese_is_looked_at_in_pairs_of_characters(tmp_path: Path) -> None:
    rng = random.Random(2)
    text = "我们今天去公园看花然后回家吃饭他在学校读书写字"

    def some() -> str:
        return "".join(rng.choice(text) for _ in range(20))

    rows = [pair(some(), some() + "谢谢您的耐心", some() + "心您谢的谢耐") for _ in range(120)]
    found = found_in(tmp_path, rows)["teaches_style"]
    assert found.measures["auc"] == 1.0
    assert "耐心" in found.measures["words_of_chosen"]


@pytest.mark.parametrize("baseline", ["position", "source", "prompt_words"])
def test_what_only_labelled_rows_can_be_told_by(tmp_path: Path, baseline: str) -> None:
    rng = random.Random(4)
    rows = []
    for number in range(200):
        label = rng.random() < 0.5
        if baseline == "position":
            label = number % 2 == 0
        prompt = sentence(rng, 6) + (" Why?" if baseline == "prompt_words" and label else "")
        row = labelled(prompt, sentence(rng, rng.randint(3, 30)), label)
        rows.append(row | {"source": ("web" if label else "app") if baseline == "source" else "web"})
    found = found_in(tmp_path, rows)["shortcuts"]
    assert found.measures["baselines"][baseline]["auc"] > 0.99
    assert found.measures["worst"] == baseline
    assert found.severity is Severity.MAJOR
    assert found.measures["baselines"]["reply_words"]["auc"] < 0.65


def probed(rows: list[dict[str, Any]]) -> dict[str, Judged | int]:
    """What the baselines come to: as in an audit, without its files."""
    paired = "chosen" in rows[0]
    frame = pl.DataFrame([{f"{side}_text": row[side][0]["content"] for side in row if side != "label"} for row in rows])
    frame = frame.rename({"prompt_text": "turn_text"}).with_row_index("row")
    if not paired:
        frame = frame.with_columns(label=pl.Series([row["label"] for row in rows]))
    groups = np.arange(len(rows))
    probe = probing.of_rows(frame, groups, paired=paired)
    assert probe is not None
    found = dict(shortcuts.baselines(probe))
    if not paired:
        prompts = frame.with_columns(prompt_norm=pl.col("row"))
        found["position"] = shortcuts.position(prompts, len(rows)) or 0
    return found


def test_labels_that_mean_nothing_are_at_chance() -> None:
    """Of 40 sets with some 7 intervals each, one in twenty may miss 0.5: 14 of 280; 26 has a chance below 1 in 1000."""
    missed, judged = [], 0
    for seed in range(20):
        rng = random.Random(seed)
        texts = [sentence(rng, rng.randint(2, 40)) + rng.choice(["", " 🎉", "\n- **x**"]) for _ in range(240)]
        one = [pair(sentence(rng, 5), *texts[at : at + 2]) for at in range(0, 240, 2)]
        two = [labelled(sentence(rng, 5), text, rng.random() < 0.5) for text in texts]
        for rows in (one, two):
            for name, told in probed(rows).items():
                if not isinstance(told, int):
                    judged += 1
                    if not told.auc.holds(0.5):
                        missed.append((seed, name, told.auc))
    assert judged >= 240
    assert len(missed) <= 25, missed


def test_copied_pairs_are_not_known_by_heart(tmp_path: Path) -> None:
    rng = random.Random(9)
    answers = [(sentence(rng, 20), sentence(rng, 20)) for _ in range(60)]
    rows = [pair(f"{number}: {sentence(rng, 6)}", *answers[number % 60]) for number in range(600)]
    told = found_in(tmp_path, rows)["shortcuts"].measures
    assert told["prompts"] == 60
    low, high = told["baselines"]["reply_words"]["interval"]
    assert low <= 0.5 <= high


def test_length_bias_is_told_by_source(tmp_path: Path) -> None:
    rng = random.Random(6)
    rows = []
    for number in range(400):
        short, long = sorted((sentence(rng, 5), sentence(rng, 15)), key=len)
        biased = number % 4 == 0
        better = long if biased or rng.random() < 0.5 else short
        rows.append(pair(sentence(rng, 5), better, short if better == long else long) | {"source": "ab"[biased]})
    measures = found_in(tmp_path, rows)["length_bias"].measures
    assert measures["source"] == "source"
    assert measures["by_source"]["b"]["longer_wins"] == 1.0
    assert measures["by_source"]["a"]["longer_wins"] == pytest.approx(0.5, abs=0.1)


def test_few_rows_say_nothing(tmp_path: Path) -> None:
    assert found_in(tmp_path, pairs(str, rows=39)) == {}
    assert found_in(tmp_path, [pair("One prompt only", f"a {n}", f"b {n} c") for n in range(60)]).keys() == {
        "length_bias"
    }


def test_the_same_rows_give_the_same_figures(tmp_path: Path) -> None:
    rows = pairs(lambda text: text + " indeed", seed=8)
    assert found_in(tmp_path, rows)["shortcuts"].measures == found_in(tmp_path, rows)["shortcuts"].measures


def test_real_pairs(shared_data: Callable[[str], Path]) -> None:
    found = {f.check: f for f in audit(shared_data("hh_rlhf/test.jsonl.gz"), only=["shortcuts"]).findings}
    assert found["shortcuts"].severity is Severity.NOTE
    assert found["shortcuts"].measures["baselines"]["reply_words"]["auc"] == pytest.approx(0.665, abs=0.01)
    assert "teaches_style" not in found
    assert found["length_bias"].measures["longer_wins"] == pytest.approx(0.4457, abs=1e-4)
    assert found["length_bias"].measures["cohen_d"] == pytest.approx(-0.2208, abs=1e-4)
