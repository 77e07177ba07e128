"""What each method measures and logs, in words: what is asked of held-out rows, which curves are drawn and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from prefdata.reporting.drawing import Kind


class Held(NamedTuple):
    """What the held-out rows are asked."""

    question: str
    how: str
    headline: str
    """Of metrics.before and metrics.after: the number that the method is about."""
    called: str
    better: Literal["higher", "lower"]
    reference: float | None
    """What chance or an untrained model gives."""
    meaning: str
    others: Mapping[str, str]
    """Further estimates after training -> what they are; all are compared with 0."""


class Curve(NamedTuple):
    """A chart over the steps."""

    title: str
    lines: tuple[tuple[str, str, Kind], ...]
    """(logged name, what it is called where there are several, colour)."""
    note: str
    band: tuple[str, str] | None = None
    """Logged names of the least and the largest value of the step."""


NAMES = {"sft": "SFT", "dpo": "DPO", "kto": "KTO", "reward": "reward model", "grpo": "GRPO", "rloo": "RLOO"}

DOES = {
    "sft": "learned to write the answers of its rows",
    "dpo": "learned from pairs which answer is better",
    "kto": "learned from single answers that are labelled good or bad",
    "reward": "learned to score answers",
    "grpo": "learned from rewards of its own answers",
    "rloo": "learned from rewards of its own answers",
}

_IMPLICIT = "The implicit reward of an answer is beta times the change of its log-probability against the start model. "

HELD: Mapping[str, Held] = {
    "sft": Held(
        "Does the model write held-out answers better?",
        "The loss is the mean negative log-probability of a token of the held-out answers, in nats.",
        "loss",
        "loss",
        "lower",
        None,
        "",
        {},
    ),
    "dpo": Held(
        "Does the model prefer the better answer?",
        f"{_IMPLICIT}Accuracy is the share of pairs whose better answer has the higher one, the margin is better minus "
        "worse.",
        "accuracy",
        "accuracy",
        "higher",
        0.5,
        "0.5: chance",
        {"margin": "margin", "mean_chosen": "mean chosen", "mean_rejected": "mean rejected"},
    ),
    "kto": Held(
        "Does the reward tell good answers from bad ones?",
        f"{_IMPLICIT}AUC is the share of (good, bad) pairs that it ranks right, the margin is mean good minus mean "
        "bad.",
        "auc",
        "AUC",
        "higher",
        0.5,
        "0.5: chance",
        {"margin": "margin", "mean_good": "mean good", "mean_bad": "mean bad"},
    ),
    "reward": Held(
        "Does the reward model know the better answer?",
        "Accuracy is the share of pairs whose better answer gets the higher score, the margin is better minus worse.",
        "accuracy",
        "accuracy",
        "higher",
        0.5,
        "0.5: chance",
        {"margin": "margin"},
    ),
    "grpo": Held(
        "Do the model's answers get a higher reward?",
        "The mean reward of answers sampled to held-out prompts.",
        "reward",
        "reward",
        "higher",
        None,
        "",
        {},
    ),
}

ALSO = {
    "tokens": "mean length of answers, in tokens,",
    "unfinished": "share of answers that did not end",
    "perplexity": "perplexity",
}
"""Further estimates that are told in a sentence."""

_GRADIENT = Curve("gradient", (("grad_norm", "", ""),), "its length, before it is cut")
_ENTROPY = Curve("entropy", (("entropy", "", ""),), "how unsure the model is of its words, in nats")
_PAIR: tuple[tuple[str, str, Kind], ...] = (("rewards/chosen", "better", "good"), ("rewards/rejected", "worse", "bad"))
_LABELLED: tuple[tuple[str, str, Kind], ...] = (("rewards/chosen", "good", "good"), ("rewards/rejected", "bad", "bad"))

CURVES: Mapping[str, tuple[Curve, ...]] = {
    "sft": (
        Curve("loss", (("loss", "", ""),), "nats a token; should fall"),
        Curve("words foretold", (("mean_token_accuracy", "", ""),), "share of the answers' tokens; should grow"),
        _ENTROPY,
        _GRADIENT,
    ),
    "dpo": (
        Curve("loss", (("loss", "", ""),), "of each step's pairs; should fall"),
        Curve("accuracy", (("rewards/accuracies", "", ""),), "share of pairs in the step; chance is 0.5"),
        Curve("reward margin", (("rewards/margins", "", ""),), "better minus worse; should grow"),
        Curve("rewards", _PAIR, "of both sides; where both fall, good answers become less likely too"),
        _ENTROPY,
        _GRADIENT,
    ),
    "kto": (
        Curve("loss", (("loss", "", ""),), "0.5 times the weights at the start"),
        Curve("reward margin", (("rewards/margins", "", ""),), "good minus bad in the batch; should grow"),
        Curve("rewards", _LABELLED, "of both labels; where both fall, good answers become less likely too"),
        Curve("steps ranked right", (("batches_right", "", ""),), "share of the last 20 steps; chance is 0.5"),
        Curve("kl", (("kl", "", ""),), "how far the policy has moved"),
        _ENTROPY,
        _GRADIENT,
    ),
    "reward": (
        Curve("loss", (("loss", "", ""),), "ln 2 = 0.693 is chance; should fall"),
        Curve("accuracy", (("accuracy", "", ""),), "share of pairs in the step; chance is 0.5"),
        Curve("margin", (("margin", "", ""),), "score of the better answer minus that of the worse one"),
        Curve("scores", (("mean_reward", "", ""),), "mean, least and largest", ("min_reward", "max_reward")),
        _GRADIENT,
    ),
    "grpo": (
        Curve("reward", (("reward", "", ""),), "mean of the step's answers; should grow"),
        Curve("spread of rewards", (("reward_std", "", ""),), "within the answers to one prompt; 0 teaches nothing"),
        Curve("prompts that teach nothing", (("frac_reward_zero_std", "", ""),), "share whose answers got one reward"),
        Curve(
            "length of answers",
            (("completions/mean_length", "", ""),),
            "in tokens: mean, least and largest",
            ("completions/min_length", "completions/max_length"),
        ),
        Curve("answers cut off", (("completions/clipped_ratio", "", ""),), "share that reached the longest length"),
        Curve("kl", (("kl", "", ""),), "how far the policy has moved"),
        _ENTROPY,
        _GRADIENT,
    ),
}


def held(method: str) -> Held | None:
    """What held-out rows are asked after this method."""
    return HELD.get("grpo" if method == "rloo" else method)


def curves(method: str, history: list[dict[str, Any]]) -> list[Curve]:
    """The charts of this method; of sampled answers also one for each reward that was logged."""
    found = list(CURVES.get("grpo" if method == "rloo" else method, (_GRADIENT,)))
    if method in ("grpo", "rloo"):
        names = {name for entry in history for name in entry if name.startswith("rewards/") and name.endswith("/mean")}
        if len(names) > 1:
            found[1:1] = [
                Curve(f"reward: {name.split('/')[1].replace('_', ' ')}", ((name, "", ""),), "its mean in the step")
                for name in sorted(names)
            ]
    return found
