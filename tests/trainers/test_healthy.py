"""Each range speaks where a run leaves it, once, and is silent on a sound run."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest

from trainers.healthy import ALL, RANGES, SAMPLED, ranges

pytest.importorskip("transformers", reason="needs the extra `train`")
from trainers.monitor import Monitor, sentence

pytestmark = pytest.mark.train


def dpo(step: int, **changed: float) -> dict[str, float]:
    """A sound step of DPO: accuracy grows to .7, chosen rises, rejected falls."""
    far = min(step / 60, 1.0)
    sound = {
        "step": step,
        "loss": math.log(2) - 0.2 * far,
        "grad_norm": 1.5,
        "rewards/chosen": 0.1 * far,
        "rewards/rejected": -0.3 * far,
        "rewards/margins": 0.4 * far,
        "rewards/accuracies": 0.5 + 0.2 * far,
    }
    return {**sound, **changed}


def sft(step: int, **changed: float) -> dict[str, float]:
    sound = {"step": step, "loss": 2.0 - 0.004 * step, "grad_norm": 1.0, "mean_token_accuracy": 0.6}
    return {**sound, **changed}


def kto(step: int, **changed: float) -> dict[str, float]:
    far = step / 100
    sound = {
        "step": step,
        "loss": 0.5 - 0.05 * far,
        "grad_norm": 1.0,
        "kl": 0.4 * far,
        "rewards/chosen": 0.2 * far,
        "rewards/rejected": -0.2 * far,
        "rewards/margins": 0.4 * far,
    }
    return {**sound, **changed}


def reward(step: int, **changed: float) -> dict[str, float]:
    sound = {"step": step, "loss": 0.7 - 0.001 * step, "grad_norm": 2.0, "accuracy": 0.5 + min(step, 60) / 300}
    return {**sound, **changed}


def grpo(step: int, **changed: float) -> dict[str, float]:
    sound = {
        "step": step,
        "loss": 0.0,
        "grad_norm": 0.2,
        "reward": 0.3 + 0.002 * step,
        "reward_std": 0.2,
        "frac_reward_zero_std": 0.2,
        "entropy": 0.4,
        "kl": 0.05,
        "completions/clipped_ratio": 0.1,
        "completions/mean_length": 40.0,
    }
    return {**sound, **changed}


def watched(method: str, entries: list[dict[str, float]]) -> Monitor:
    found = Monitor(method)
    for entry in entries:
        found.read(entry)
    return found


SOUND = {"dpo": dpo, "sft": sft, "kto": kto, "reward": reward, "grpo": grpo, "rloo": grpo}


@pytest.mark.parametrize("method", sorted(ALL))
def test_a_sound_run_leaves_no_range(method: str) -> None:
    assert watched(method, [SOUND[method](step) for step in range(1, 101)]).record()["findings"] == []


FAULTS: list[tuple[str, str, Any, int]] = [
    # method, name of the range, the step as it is logged, first step at which it is told
    ("sft", "not_finite", lambda step: sft(step, loss=math.nan if step >= 7 else 2.0), 7),
    ("grpo", "not_finite", lambda step: grpo(step, grad_norm=math.inf if step == 3 else 0.1), 3),
    ("dpo", "gradients_explode", lambda step: dpo(step, grad_norm=150.0), 5),
    ("sft", "gradients_unusual", lambda step: sft(step, grad_norm=0.009), 10),
    ("reward", "gradients_unusual", lambda step: reward(step, grad_norm=10.5), 10),
    ("grpo", "gradients_unusual", lambda step: grpo(step, grad_norm=11.0), 10),
    ("sft", "loss_rises", lambda step: sft(step, loss=2.0 if step <= 20 else 2.6), 40),
    ("sft", "loss_flat", lambda step: sft(step, loss=2.0), 60),
    ("sft", "loss_near_zero", lambda step: sft(step, loss=0.09), 10),
    ("sft", "recited", lambda step: sft(step, mean_token_accuracy=0.99), 10),
    ("dpo", "shortcut", lambda step: dpo(step, **{"rewards/accuracies": float(step > 10)}), 20),
    ("reward", "shortcut", lambda step: reward(step, accuracy=1.0), 10),
    ("dpo", "worse_than_chance", lambda step: dpo(step, **{"rewards/accuracies": 0.4}), 40),
    ("reward", "worse_than_chance", lambda step: reward(step, accuracy=0.4), 40),
    ("kto", "worse_than_chance", lambda step: kto(step, **{"rewards/margins": -0.1}), 40),
    ("reward", "at_chance", lambda step: reward(step, loss=math.log(2)), 40),
    ("dpo", "not_moving", lambda step: dpo(step, **{"rewards/chosen": 0.0, "rewards/rejected": 0.0009}), 20),
    ("kto", "not_moving", lambda step: kto(step, **{"rewards/chosen": 0.0, "rewards/rejected": 0.0}), 20),
    (
        "dpo",
        "both_fall",
        lambda step: dpo(step, **{"rewards/chosen": -0.01 * step, "rewards/rejected": -0.02 * step}),
        40,
    ),
    ("kto", "kl_stuck", lambda step: kto(step, kl=0.0), 40),
    ("kto", "kl_large", lambda step: kto(step, kl=31.0), 10),
    ("rloo", "kl_large", lambda step: grpo(step, kl=0.6), 10),
    ("grpo", "zero_spread", lambda step: grpo(step, frac_reward_zero_std=0.9), 10),
    ("grpo", "entropy_collapse", lambda step: grpo(step, entropy=0.04), 10),
    ("grpo", "entropy_rises", lambda step: grpo(step, entropy=0.4 if step <= 10 else 0.9), 20),
    ("grpo", "answers_cut", lambda step: grpo(step, **{"completions/clipped_ratio": 0.4}), 10),
    ("grpo", "length_runs", lambda step: grpo(step, **{"completions/mean_length": 40.0 if step <= 10 else 90.0}), 20),
]


@pytest.mark.parametrize(("method", "name", "entry", "begins"), FAULTS, ids=[f"{one[0]}-{one[1]}" for one in FAULTS])
def test_a_range_is_told_from_the_step_on_at_which_a_run_leaves_it(
    method: str, name: str, entry: Any, begins: int
) -> None:
    found = {one["name"]: one for one in watched(method, [entry(step) for step in range(1, 71)]).record()["findings"]}
    assert found[name]["first_step"] == begins
    for part in ("value", "healthy", "what", "meaning", "advice", "source", "severity"):
        assert found[name][part] != ""


def test_every_range_has_a_run_that_leaves_it() -> None:
    tested = {(method, name) for method, name, *_ in FAULTS}
    for one in RANGES:
        assert {(method, one.name) for method in one.methods} & tested, one.name


def test_a_shortcut_is_one_only_early() -> None:
    late = [dpo(step, **{"rewards/accuracies": 0.6 if step <= 45 else 1.0}) for step in range(1, 101)]
    assert watched("dpo", late).record()["findings"] == []


def test_a_finding_keeps_its_first_and_last_step_and_its_worst_value() -> None:
    norms = dict.fromkeys(range(1, 21), 12.0) | {25: 300.0}
    entries = [sft(step, grad_norm=norms.get(step, 1.0)) for step in range(1, 61)]
    (found,) = watched("sft", entries).record()["findings"]
    assert (found["name"], found["first_step"], found["last_step"], found["at_the_end"]) == (
        "gradients_unusual",
        10,
        34,
        False,
    )
    assert found["first"] == 12.0
    assert found["worst"] == 36.4
    assert found["healthy"] == "0.01 to 10"


def test_it_is_told_once_and_a_run_that_goes_on_tells_nothing_again(caplog: pytest.LogCaptureFixture) -> None:
    entries = [dpo(step, **{"rewards/accuracies": 1.0}) for step in range(1, 31)]
    state = SimpleNamespace(global_step=0, log_history=[], is_world_process_zero=True)
    unbroken = Monitor("dpo")
    unbroken.on_train_begin(None, state, None)
    with caplog.at_level("WARNING", logger="trainers.monitor"):
        for entry in entries:
            state.global_step = entry["step"]
            unbroken.on_log(None, state, None, logs={name: entry[name] for name in entry if name != "step"})
    assert [record.message.split(":")[0] for record in caplog.records] == ["dpo, step 10"]
    assert "every pair is told apart within 50 steps" in caplog.text
    caplog.clear()
    resumed = Monitor("dpo")
    with caplog.at_level("WARNING", logger="trainers.monitor"):
        resumed.on_train_begin(None, SimpleNamespace(log_history=[*entries[:20], {"eval_loss": 1.0, "step": 20}]), None)
        for entry in entries[20:]:
            state.global_step = entry["step"]
            resumed.on_log(None, state, None, logs=entry)
    assert caplog.records == []
    assert resumed.record() == unbroken.record()


def test_only_one_process_tells(caplog: pytest.LogCaptureFixture) -> None:
    state = SimpleNamespace(global_step=1, log_history=[], is_world_process_zero=False)
    other = Monitor("sft")
    with caplog.at_level("WARNING", logger="trainers.monitor"):
        other.on_log(None, state, None, logs={"loss": math.nan})
    assert caplog.records == []
    assert [one["name"] for one in other.record()["findings"]] == ["not_finite"]


def test_steps_without_a_value_are_passed_over() -> None:
    entries = [kto(step) for step in range(1, 61)]
    for entry in entries[::2]:
        del entry["rewards/margins"]
    assert watched("kto", entries).record()["findings"] == []
    assert watched("kto", [{"step": 1, "loss": None}]).record()["findings"] == []


def test_bands_are_those_of_the_curves() -> None:
    assert Monitor("grpo").record()["bands"] == {
        "grad_norm": [None, 10],
        "kl": [None, 0.5],
        "frac_reward_zero_std": [None, 0.8],
        "entropy": [0.05, None],
        "completions/clipped_ratio": [None, 0.3],
    }
    assert Monitor("kto").record()["bands"] == {"grad_norm": [0.01, 10], "kl": [None, 30]}


def test_a_range_is_named_once_for_a_method_and_its_sentence_says_what_to_do() -> None:
    for method in ALL:
        names = [one.name for one in ranges(method)]
        assert len(names) == len(set(names))
    (found,) = watched("sft", [sft(1, loss=math.inf)]).record()["findings"]
    assert sentence(found) == (
        "the loss or the gradient is not a number (numbers of loss and gradient that are not finite: 1, healthy is at "
        "most 0). The weights are broken from this step on, or the step was lost. Lower the learning rate, train in "
        "float32 or bfloat16, and look for rows without a trained token (prefdata preflight)."
    )
    assert {"grpo", "rloo"} == SAMPLED
