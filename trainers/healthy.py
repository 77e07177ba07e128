"""What a healthy run looks like: each value that is watched, its range, and what it means when a run leaves it.

The ranges are rules of thumb, never proofs. Sources: Axolotl's docs (`training_stability.qmd` and
`agents/preference_tuning.md`), threads of users who lost days, and, where neither says a number, our own choice; each
range names its own. A range ends nothing: it is told, once, and stands in stage.json.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Entry = Mapping[str, Any]
"""What one step logged, `step` among it."""

Measure = Callable[[Sequence[Entry], int], float | None]
"""The number that is judged after the newest entry, over so many logged steps; None where there is none yet."""

PREFERENCES = frozenset(["dpo", "kto"])
PAIRS = frozenset(["dpo", "reward"])
SAMPLED = frozenset(["grpo", "rloo"])
ALL = frozenset(["sft", "dpo", "kto", "reward", "grpo", "rloo"])

AXOLOTL = "Axolotl, training stability"
OURS = "our choice"


@dataclass(frozen=True, kw_only=True)
class Range:
    """A number of the run and the range in which it is healthy, both ends inclusive."""

    name: str
    methods: frozenset[str]
    value: str
    """The number in words."""
    measure: Measure
    low: float = -math.inf
    high: float = math.inf
    steps: int = 1
    """Logged steps that the number is taken over."""
    since: int = 0
    """First step at which it speaks."""
    until: int | None = None
    """Last step at which it speaks."""
    severity: Literal["note", "minor", "major", "critical"] = "minor"
    what: str
    """What happened, as a reader without the field's words would say it."""
    meaning: str
    advice: str
    source: str = OURS
    curve: str = ""
    """Logged value on whose curve the range is drawn."""

    def judge(self, entries: Sequence[Entry]) -> float | None:
        """The number after the newest entry if it is out of the range, else None."""
        step = entries[-1]["step"]
        if step < self.since or (self.until is not None and step > self.until):
            return None
        found = self.measure(entries, self.steps)
        return None if found is None or self.low <= found <= self.high else found

    def told(self) -> str:
        """The range in words."""
        if self.low == -math.inf:
            return f"at most {self.high:g}"
        return f"at least {self.low:g}" if self.high == math.inf else f"{self.low:g} to {self.high:g}"


def logged(entries: Sequence[Entry], name: str) -> list[float]:
    """The finite values of one name, oldest first."""
    values = (entry.get(name) for entry in entries)
    return [float(one) for one in values if isinstance(one, (int, float)) and math.isfinite(one)]


def recent(entries: Sequence[Entry], name: str, steps: int) -> list[float] | None:
    """The values of the last `steps` entries that hold it; None while there are fewer."""
    found = logged(entries[-2 * steps :], name)[-steps:]
    return found if len(found) == steps else None


def mean(name: str) -> Measure:
    def measure(entries: Sequence[Entry], steps: int) -> float | None:
        found = recent(entries, name, steps)
        return None if found is None else math.fsum(found) / steps

    return measure


def change(name: str, *, relative: bool = False) -> Measure:
    """Mean of the newest steps less (or divided by) that of the first ones, which do not overlap."""

    def measure(entries: Sequence[Entry], steps: int) -> float | None:
        now, first = recent(entries, name, steps), logged(entries[: 2 * steps], name)[:steps]
        if now is None or len(first) < steps or len(entries) < 2 * steps:
            return None
        new, old = math.fsum(now) / steps, math.fsum(first) / steps
        if not relative:
            return new - old
        return new / old if old > 0 else None

    return measure


def not_finite(entries: Sequence[Entry], steps: int) -> float | None:
    """How many of loss and grad_norm of the newest step are no finite number."""
    values = [entries[-1].get(name) for name in ("loss", "grad_norm")]
    return float(sum(isinstance(one, float) and not math.isfinite(one) for one in values))


def furthest_reward(entries: Sequence[Entry], steps: int) -> float | None:
    """The largest mean reward of either side in the newest steps, without its sign: 0 for an unchanged policy."""
    sides = [recent(entries, f"rewards/{side}", steps) for side in ("chosen", "rejected")]
    found = [abs(one) for side in sides for one in side or []]
    return max(found) if found else None


def falling_together(entries: Sequence[Entry], steps: int) -> float | None:
    """The mean reward of chosen answers, where both sides fell since the steps before while the margin grew; else 0."""
    now, before = entries[-steps:], entries[-2 * steps : -steps]
    if len(before) < steps:
        return None
    means = {}
    for name in ("chosen", "rejected"):
        new, old = logged(now, f"rewards/{name}"), logged(before, f"rewards/{name}")
        if not new or not old:
            return None
        means[name] = (math.fsum(new) / len(new), math.fsum(old) / len(old))
    (chosen, chosen_was), (rejected, rejected_was) = means["chosen"], means["rejected"]
    fell = chosen < chosen_was and rejected < rejected_was and chosen - rejected > chosen_was - rejected_was
    return chosen if fell else 0.0


def from_chance(entries: Sequence[Entry], steps: int) -> float | None:
    """How far the mean loss is from that of guessing between two answers, ln 2."""
    found = recent(entries, "loss", steps)
    return None if found is None else abs(math.fsum(found) / steps - math.log(2))


def batches_right(entries: Sequence[Entry], steps: int) -> float | None:
    """Share of the newest steps whose good rows had the higher mean reward: what TRL logs no accuracy for in KTO."""
    found = recent(entries, "rewards/margins", steps)
    return None if found is None else sum(one > 0 for one in found) / steps


def largest(name: str) -> Measure:
    def measure(entries: Sequence[Entry], steps: int) -> float | None:
        found = recent(entries, name, steps)
        return None if found is None else max(found)

    return measure


RANGES: tuple[Range, ...] = (
    Range(
        name="not_finite",
        methods=ALL,
        value="numbers of loss and gradient that are not finite",
        measure=not_finite,
        high=0,
        severity="critical",
        what="the loss or the gradient is not a number",
        meaning="The weights are broken from this step on, or the step was lost.",
        advice="Lower the learning rate, train in float32 or bfloat16, and look for rows without a trained token "
        "(prefdata preflight).",
        source="huggingface/trl#3382, huggingface/trl#1447",
    ),
    Range(
        name="gradients_explode",
        methods=ALL,
        value="mean grad_norm of 5 steps",
        measure=mean("grad_norm"),
        high=100,
        steps=5,
        severity="major",
        what="the gradients are very large",
        meaning="Each step is cut down to the largest length allowed, so its size says nothing; training may diverge.",
        advice="Lower the learning rate, or raise gradient_accumulation; look at the rows of these steps.",
        source=AXOLOTL,
    ),
    Range(
        name="gradients_unusual",
        methods=ALL - SAMPLED,
        value="mean grad_norm of 10 steps",
        measure=mean("grad_norm"),
        low=0.01,
        high=10,
        steps=10,
        what="the gradients are outside their usual size",
        meaning="Very small ones learn nothing; large ones are cut down at every step.",
        advice="Very small: raise the learning rate, and see whether the answers are masked (prefdata preflight). "
        "Large: lower the learning rate, or raise gradient_accumulation.",
        source=AXOLOTL,
        curve="grad_norm",
    ),
    Range(
        name="gradients_unusual",
        methods=SAMPLED,
        value="mean grad_norm of 10 steps",
        measure=mean("grad_norm"),
        high=10,
        steps=10,
        what="the gradients are unusually large",
        meaning="They are cut down at every step; above 10 a run with sampled answers is unstable.",
        advice="Lower the learning rate, or raise gradient_accumulation.",
        source=AXOLOTL,
        curve="grad_norm",
    ),
    Range(
        name="loss_rises",
        methods=frozenset(["sft", "dpo", "kto", "reward"]),
        value="mean loss of 20 steps, divided by that of the first 20",
        measure=change("loss", relative=True),
        high=1.2,
        steps=20,
        severity="major",
        what="the loss is higher than at the start",
        meaning="The model is moving away from the rows that it learns from.",
        advice="Lower the learning rate; look at whether the rows of these steps differ from the first ones.",
    ),
    Range(
        name="loss_flat",
        methods=frozenset(["sft"]),
        value="mean loss of 20 steps, divided by that of the first 20",
        measure=change("loss", relative=True),
        high=0.995,
        steps=20,
        since=60,
        what="the loss has not fallen",
        meaning="After 60 steps the model writes the answers no better than before.",
        advice="Raise the learning rate; see whether the answers are what is trained on (prefdata preflight --show).",
        source=AXOLOTL,
    ),
    Range(
        name="loss_near_zero",
        methods=frozenset(["sft"]),
        value="mean loss of 10 steps",
        measure=mean("loss"),
        low=0.1,
        steps=10,
        severity="major",
        what="the loss is next to nothing",
        meaning="The model knows the answers by heart: rows repeat, the answer stands in the prompt, or training is "
        "too long. Usual is 0.5 to 2.",
        advice="Look for duplicates and for prompts that hold their answer (prefdata audit); train for fewer epochs.",
        source=AXOLOTL,
    ),
    Range(
        name="recited",
        methods=frozenset(["sft"]),
        value="mean share of right tokens in 10 steps",
        measure=mean("mean_token_accuracy"),
        high=0.98,
        steps=10,
        what="almost every word is foretold",
        meaning="The answers are recited, or all alike.",
        advice="As for a loss next to nothing: look for duplicates; train for fewer epochs.",
        curve="mean_token_accuracy",
    ),
    Range(
        name="shortcut",
        methods=frozenset(["dpo"]),
        value="mean accuracy of 10 steps",
        measure=mean("rewards/accuracies"),
        high=0.999,
        steps=10,
        until=50,
        severity="major",
        what="every pair is told apart within 50 steps",
        meaning="No taste is learned so fast: something else gives the better answer away, such as its length, its "
        "language or a phrase. The model will follow that.",
        advice="See what alone tells the sides apart (prefdata audit, shortcuts), and even it out.",
        source="hiyouga/LlamaFactory#5116",
    ),
    Range(
        name="shortcut",
        methods=frozenset(["reward"]),
        value="mean accuracy of 10 steps",
        measure=mean("accuracy"),
        high=0.999,
        steps=10,
        until=50,
        severity="major",
        what="every pair is told apart within 50 steps",
        meaning="Something else gives the better answer away, such as its length or a phrase. A policy that is trained "
        "with this reward will do just that.",
        advice="See what alone tells the sides apart (prefdata audit, shortcuts), and even it out.",
        source="hiyouga/LlamaFactory#5116, allenai/reward-bench#267",
    ),
    Range(
        name="worse_than_chance",
        methods=frozenset(["dpo"]),
        value="mean accuracy of 20 steps",
        measure=mean("rewards/accuracies"),
        low=0.45,
        steps=20,
        since=40,
        severity="major",
        what="the worse answer is preferred",
        meaning="After 40 steps fewer than half of the pairs are told apart rightly: sides may be exchanged in "
        "many rows.",
        advice="Read some pairs (prefdata preflight --show); see whether chosen and rejected are the right way round.",
        source="Axolotl, preference tuning",
        curve="rewards/accuracies",
    ),
    Range(
        name="worse_than_chance",
        methods=frozenset(["reward"]),
        value="mean accuracy of 20 steps",
        measure=mean("accuracy"),
        low=0.45,
        steps=20,
        since=40,
        severity="major",
        what="the worse answer is preferred",
        meaning="After 40 steps fewer than half of the pairs are told apart rightly: sides may be exchanged in "
        "many rows.",
        advice="Read some pairs (prefdata preflight --show); see whether chosen and rejected are the right way round.",
        source="Axolotl, preference tuning",
        curve="accuracy",
    ),
    Range(
        name="worse_than_chance",
        methods=frozenset(["kto"]),
        value="share of 20 steps whose good rows had the higher mean reward",
        measure=batches_right,
        low=0.45,
        steps=20,
        since=40,
        severity="major",
        what="bad answers are preferred",
        meaning="In most steps the bad rows had the higher reward: labels may be exchanged in many rows.",
        advice="Read some rows of each label; see how labels were made (`labels:`).",
        source="Axolotl, preference tuning",
    ),
    Range(
        name="at_chance",
        methods=frozenset(["reward"]),
        value="distance of the mean loss of 20 steps from ln 2",
        measure=from_chance,
        low=0.005,
        steps=20,
        since=40,
        severity="major",
        what="the loss stays where guessing would put it",
        meaning="The model has not begun to tell the sides apart.",
        advice="Raise the learning rate; see whether the sides still differ after they are cut (prefdata preflight).",
    ),
    Range(
        name="not_moving",
        methods=PREFERENCES,
        value="largest mean reward of either side in 20 steps",
        measure=furthest_reward,
        low=0.001,
        steps=20,
        since=20,
        severity="major",
        what="the model has not moved",
        meaning="Rewards are still 0, the loss still that of the start (ln 2 for DPO): the learning rate is too low, "
        "or no token of the answers is trained on.",
        advice="Raise the learning rate; see that answers are not cut away (prefdata preflight).",
        source="Yifan-Song793/ETO#14",
    ),
    Range(
        name="both_fall",
        methods=PREFERENCES,
        value="mean reward of chosen answers, where both sides fall while the margin grows",
        measure=falling_together,
        low=-0.1,
        steps=20,
        since=40,
        what="good answers become less likely too, only more slowly than bad ones",
        meaning="The margin grows, yet the model is led away from both; what it is led to, no row says.",
        advice="Mix in the loss of SFT (loss_type [sigmoid, sft] for DPO), train on the good answers first (sft), or "
        "raise beta.",
        source="huggingface/trl#800, eric-mitchell/direct-preference-optimization#32",
    ),
    Range(
        name="kl_stuck",
        methods=frozenset(["kto"]),
        value="largest KL in 30 steps",
        measure=largest("kl"),
        low=1e-6,
        steps=30,
        since=40,
        severity="note",
        what="the KL term stays 0",
        meaning="On answers that belong to other prompts the model has become less sure, and TRL cuts that off at 0: "
        "good and bad rows are then compared with the start model itself.",
        advice="Nothing as long as the margin grows; where it does not, larger batches of at least 4 rows.",
        source="huggingface/trl#1911",
    ),
    Range(
        name="kl_large",
        methods=frozenset(["kto"]),
        value="mean KL of 10 steps",
        measure=mean("kl"),
        high=30,
        steps=10,
        severity="major",
        what="the model has moved very far from its start",
        meaning="At beta 0.1 and a KL above 30 the loss is flat, and rows teach next to nothing.",
        advice="Lower the learning rate, or raise beta.",
        curve="kl",
    ),
    Range(
        name="kl_large",
        methods=SAMPLED,
        value="mean KL of 10 steps",
        measure=mean("kl"),
        high=0.5,
        steps=10,
        severity="major",
        what="the model has moved far from its start",
        meaning="Above 0.5 for each token, answers are often no language any more, yet the reward may go on growing.",
        advice="Read the sampled answers; lower the learning rate, or raise beta.",
        source=AXOLOTL,
        curve="kl",
    ),
    Range(
        name="zero_spread",
        methods=SAMPLED,
        value="mean share of prompts whose answers all got the same reward, in 10 steps",
        measure=mean("frac_reward_zero_std"),
        high=0.8,
        steps=10,
        severity="major",
        what="most prompts teach nothing",
        meaning="All answers to a prompt got the same reward, so none is better than the others: too easy, too hard, "
        "or a reward that cannot tell them apart.",
        advice="Choose prompts that are sometimes answered well, sample more answers for each (num_generations), or "
        "use a reward with more steps.",
        source="huggingface/trl#3452, modelscope/ms-swift#4570",
        curve="frac_reward_zero_std",
    ),
    Range(
        name="entropy_collapse",
        methods=SAMPLED,
        value="mean entropy of 10 steps",
        measure=mean("entropy"),
        low=0.05,
        steps=10,
        severity="major",
        what="all answers have become alike",
        meaning="The model is sure of every word, so sampling finds nothing new to learn from.",
        advice="Raise the temperature, lower the learning rate, or set beta above 0.",
        source=AXOLOTL,
        curve="entropy",
    ),
    Range(
        name="entropy_rises",
        methods=SAMPLED,
        value="mean entropy of 10 steps, divided by that of the first 10",
        measure=change("entropy", relative=True),
        high=2.0,
        steps=10,
        since=20,
        what="answers become more random",
        meaning="The model is half as sure of its words as at the start; it may end in word salad.",
        advice="Read the sampled answers; lower the learning rate.",
    ),
    Range(
        name="answers_cut",
        methods=SAMPLED,
        value="mean share of answers cut at their longest length, in 10 steps",
        measure=mean("completions/clipped_ratio"),
        high=0.3,
        steps=10,
        what="many answers are cut off",
        meaning="Their end is never seen, so their reward says little; the model may be learning to go on forever.",
        advice="Raise max_completion_length, or reward answers that end.",
        source=AXOLOTL,
        curve="completions/clipped_ratio",
    ),
    Range(
        name="length_runs",
        methods=SAMPLED,
        value="mean length of answers in 10 steps, divided by that of the first 10",
        measure=change("completions/mean_length", relative=True),
        high=2.0,
        steps=10,
        since=20,
        what="answers have become twice as long",
        meaning="Where length itself brings reward, that is what is learned.",
        advice="Read the sampled answers; weigh length into the reward.",
        source=AXOLOTL,
    ),
)
"""Every range that is watched, in the order in which they are told."""


def ranges(method: str) -> list[Range]:
    """The ranges of one method."""
    return [one for one in RANGES if method in one.methods]
