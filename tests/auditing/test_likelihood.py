"""What a small model makes of the preference: noise, triviality and garbage told, with figures that can be followed."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from prefdata.auditing.finding import Finding, Severity
from prefdata.auditing.likelihood import read
from prefdata.auditor import audit, chosen, examined
from prefdata.errors import UnknownNameError
from prefdata.opening import open_dataset
from trainers import likelihood
from trainers.likelihood import Likelihood
from trainers.models import home

ROOT = Path(__file__).resolve().parents[2]
WORDS = [
    f"{first}{last}" for first in ("ba", "ko", "mi", "ru", "te", "lo") for last in ("ran", "sel", "tim", "vop", "nug")
]
Judge = Callable[[str, str], Likelihood]


def sentence(rng: random.Random, words: int) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(words)) + "."


def turn(role: str, text: str) -> list[dict[str, str]]:
    return [{"role": role, "content": text}]


def pairs(count: int, *, seed: int = 0) -> list[dict[str, Any]]:
    rng = random.Random(seed)
    return [
        {
            "prompt": turn("user", sentence(rng, 5)),
            "chosen": turn("assistant", sentence(rng, 10)),
            "rejected": turn("assistant", sentence(rng, 10)),
        }
        for _ in range(count)
    ]


def findings(folder: Path, rows: Sequence[Mapping[str, Any]], **options: Any) -> dict[str, Finding]:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    found = audit(path, only=["trainability"], model="small", **options).findings
    return {finding.check: finding for finding in found}


@pytest.fixture
def judged_by(monkeypatch: pytest.MonkeyPatch) -> Callable[[Judge], list[int]]:
    """Puts a function in the place of the language model; gives the list of how many rows it was asked for."""
    asked: list[int] = []

    def put(judge: Judge) -> list[int]:
        def likelihoods(folder: Path, prompts: Any, answers: Any) -> list[list[Likelihood] | None]:
            asked.append(len(prompts))
            return [
                [judge(prompt[-1]["content"], answer[-1]["content"]) for answer in own] if prompt else None
                for prompt, own in zip(prompts, answers, strict=True)
            ]

        monkeypatch.setattr(likelihood, "folder_of", Path)
        monkeypatch.setattr(likelihood, "likelihoods", likelihoods)
        return asked

    return put


def by_lot(prompt: str, answer: str) -> Likelihood:
    return Likelihood(-30.0 - random.Random(prompt + answer).random() * 10, 10, 50)


def test_without_a_model_nothing_is_asked(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in pairs(60)), encoding="utf-8")
    assert {one.check for one in audit(path, only=["trainability"]).findings} == {"linear_probe"}


def test_likelihood_and_preference_by_lot_are_noise(tmp_path: Path, judged_by: Callable[[Judge], list[int]]) -> None:
    asked = judged_by(by_lot)
    found = findings(tmp_path, pairs(1500), model_rows=900)
    assert asked == [900]
    noise = found["model_sees_noise"]
    assert noise.severity is Severity.MINOR
    assert noise.measures == found["model_probe"].measures
    assert noise.measures["expected"] == "noise"
    assert noise.measures["rows"] == 900
    assert 0.4 < noise.measures["prefers_chosen"] < 0.6
    assert noise.measures["loss"] == pytest.approx(0.6931, abs=0.02)
    assert "model_sees_trivial" not in found


def test_a_model_that_already_knows_makes_it_trivial(tmp_path: Path, judged_by: Callable[[Judge], list[int]]) -> None:
    rows = pairs(400)
    known = {row["chosen"][0]["content"] for row in rows}
    judged_by(lambda prompt, answer: Likelihood(-20.0 if answer in known else -40.0, 10, 50))
    found = findings(tmp_path, rows, model_rows=300)
    trivial = found["model_sees_trivial"]
    assert trivial.severity is Severity.MAJOR
    assert (trivial.measures["prefers_chosen"], trivial.measures["accuracy"]) == (1.0, 1.0)
    assert trivial.measures["loss"] < 0.1
    # words by lot tell the linear model nothing: what is known comes from the language model
    assert trivial.measures["linear_accuracy"] < 0.65
    assert "model_sees_noise" not in found


def test_labelled_rows_get_an_area(tmp_path: Path, judged_by: Callable[[Judge], list[int]]) -> None:
    rng = random.Random(4)
    rows = [
        {"prompt": turn("user", sentence(rng, 5)), "completion": turn("assistant", f"{sentence(rng, 8)} {n}"),
         "label": n % 3 > 0}
        for n in range(200)
    ]  # fmt: skip
    judged_by(lambda prompt, answer: Likelihood(-30.0 - 4 * (int(answer.split()[-1]) % 3 == 0), 10, 50))
    probe = findings(tmp_path, rows)["model_probe"]
    assert probe.measures["auc"] == 1.0
    assert probe.measures["expected"] == "trivial"
    assert probe.measures["loss_at_chance"] == pytest.approx(0.6381, abs=0.003)


def test_few_rows_give_no_figures(tmp_path: Path, judged_by: Callable[[Judge], list[int]]) -> None:
    judged_by(by_lot)
    assert findings(tmp_path, pairs(39)) == {}


def test_improbable_answers_are_told_by_side(tmp_path: Path, judged_by: Callable[[Judge], list[int]]) -> None:
    def judge(prompt: str, answer: str) -> Likelihood:
        if "xq" in answer:
            return Likelihood(-90.0, 7, 30) if "short" in answer else Likelihood(-90.0, 10, 30)
        return by_lot(prompt, answer)

    judged_by(judge)
    rows = pairs(120)
    rows[7]["rejected"] = turn("assistant", "xq zzxj qqwv")
    rows[30]["chosen"] = turn("assistant", "xq short")
    found = findings(tmp_path, rows)["improbable_answers"]
    assert found.rows.to_list() == [7]
    assert found.examples[0].note == "rejected: 4.3 bits a byte"
    assert found.measures["looked_at"] == 120
    # 35 nats on 50 bytes in the median, and 0.1 nats a byte for the spread
    assert found.measures["median_bits_per_byte"] == pytest.approx(0.7 / 0.6931, abs=0.02)
    assert found.measures["told_from_bits_per_byte"] == pytest.approx(1.4 / 0.6931, abs=0.02)
    assert found.severity is Severity.NOTE


def test_examples_without_a_preference_are_looked_at_for_garbage(
    tmp_path: Path, judged_by: Callable[[Judge], list[int]]
) -> None:
    judged_by(lambda prompt, answer: Likelihood(-99.0, 10, 30) if "xq" in answer else by_lot(prompt, answer))
    rows = [
        {"prompt": row["prompt"], "completion": turn("assistant", "xq") if at == 3 else row["chosen"]}
        for at, row in enumerate(pairs(50))
    ]
    found = findings(tmp_path, rows)
    assert set(found) == {"improbable_answers"}
    assert found["improbable_answers"].rows.to_list() == [3]


def test_a_name_that_is_no_model_is_said_before_anything_is_read(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="needs the extra `train`")
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in pairs(3)), encoding="utf-8")
    with pytest.raises(UnknownNameError, match="did you mean 'smollm2-135m'"):
        audit(path, model="smollm2-135mm")


@pytest.mark.train
def test_the_small_model_finds_sense_likely_and_garbage_improbable(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs the extra `train`")
    places = [root / "models" / "smollm2-135m" for root in (home(), ROOT / ".prefdata")]
    folder = next((one for one in places if (one / "model.safetensors").is_file()), None)
    if folder is None:
        pytest.skip("smollm2-135m is not pulled: prefdata model pull smollm2-135m")
    cities = ["Paris", "Rome", "Berlin", "Madrid", "London", "Vienna", "Tokyo", "Oslo"]
    rows = [
        {"prompt": turn("user", f"What is {city} known for?"),
         "chosen": turn("assistant", f"{city} is known for its museums and its old town."),
         "rejected": turn("assistant", f"{city} is a large city with many people and many shops.")}
        for city in cities
    ]  # fmt: skip
    rows[5]["rejected"] = turn("assistant", "0xQv7#kP zqW}9 jjX&&2 bNq~ 88vK")
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    told = examined(lambda: open_dataset(path), chosen(["improbable_answers"]), {"model": folder, "model_rows": 20})
    found = {one.check: one for one in told.audit.findings}
    assert found["improbable_answers"].rows.to_list() == [5]
    margin = read(told.data, folder=folder, most=20).margin
    assert margin.argmax() == 5
    assert margin[5] > 2
