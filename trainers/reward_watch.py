"""What is watched while a policy trains on rewards: whether they still differ, and whether the reference is right."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from transformers import TrainerCallback

from trainers.callbacks import CanaryError
from trainers.rewards import RewardError

FLAT_SHARE = "frac_reward_zero_std"
"""What TRL calls the share of prompts whose answers all get the same reward."""

PART = 0.1
"""Of the steps that "first" and "last" stand for."""


class RewardWatch(TrainerCallback):
    """Ends a run that learns nothing: an error where rewards never differed, an early stop where they once did."""

    def __init__(self, names: Sequence[str], *, patience: int, max_first_kl: float | None) -> None:
        """`max_first_kl`: the most that the first step's KL divergence may be, as the method logs it; policy and
        reference are one model then, up to rounding. None where there is no reference."""
        self.names = list(names)
        self.patience = patience
        self.max_first_kl = max_first_kl
        self.stopped: dict[str, Any] | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """A run that goes on from the checkpoint at which it was stopped takes no further step; it tells the same."""
        self.stopped = None
        steps = [entry for entry in state.log_history if FLAT_SHARE in entry]
        flat = _flat_at_the_end(steps)
        if self.patience <= flat < len(steps):
            self.stopped = self._stop(state.global_step, flat, steps[-1])

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if not logs or FLAT_SHARE not in logs:
            return
        kl = float(logs.get("kl") or 0.0)
        if state.global_step == 1 and self.max_first_kl is not None and not abs(kl) <= self.max_first_kl:
            raise CanaryError(
                f"the first step's KL divergence is {kl:.4f}, expected 0: the reference model is not "
                "the model that training starts from"
            )
        steps = [entry for entry in state.log_history if FLAT_SHARE in entry]
        flat = _flat_at_the_end(steps)
        if flat < self.patience:
            return
        if flat == len(steps):
            raise RewardError(
                f"rewards: in {flat} steps {self._why(steps[-1])}, so nothing was trained. Try the rewards on answers "
                "of this model first, take one that grades, or raise temperature or num_generations"
            )
        if self.stopped is None:
            self.stopped = self._stop(state.global_step, flat, steps[-1])
        control.should_training_stop = True

    def _stop(self, step: int, flat: int, last: Mapping[str, Any]) -> dict[str, Any]:
        why = f"in the last {flat} steps {self._why(last)}: nothing more can be learnt from these rewards"
        return {"step": step, "why": why}

    def _why(self, last: Mapping[str, Any]) -> str:
        why = "no answer was judged" if last.get("reward") is None else "all answers to a prompt got the same reward"
        means = ", ".join(f"{name} {_number(last.get(f'rewards/{name}/mean'))}" for name in self.names)
        return f"{why} ({means})"

    def summary(self, history: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """`rewards`: of each and of the weighted sum, over the logged steps, the mean of the first and of the last
        tenth, and the mean spread over a batch; `zero_spread`, the mean share of prompts without spread, and the steps
        in which a reward judged nothing. `stopped`: null, or the step and why."""
        told = {
            name: _summed([(entry.get(f"rewards/{name}/mean"), entry.get(f"rewards/{name}/std")) for entry in history])
            for name in self.names
        }
        total = _summed([(entry.get("reward"), entry.get("reward_std")) for entry in history])
        shares = [float(entry[FLAT_SHARE]) for entry in history if entry.get(FLAT_SHARE) is not None]
        zero = {"zero_spread": round(statistics.fmean(shares), 4) if shares else None}
        return {"rewards": {**told, "reward": {**total, **zero}}, "stopped": self.stopped}


def _summed(steps: Sequence[tuple[float | None, float | None]]) -> dict[str, Any]:
    means = [float(mean) for mean, _ in steps if mean is not None]
    spreads = [float(spread) for _, spread in steps if spread is not None]
    part = max(round(len(means) * PART), 1)
    return {
        "first": round(statistics.fmean(means[:part]), 4) if means else None,
        "last": round(statistics.fmean(means[-part:]), 4) if means else None,
        "spread": round(statistics.fmean(spreads), 4) if spreads else None,
        "steps_unjudged": len(steps) - len(means),
    }


def _flat_at_the_end(steps: Sequence[Mapping[str, Any]]) -> int:
    """How many of the newest steps in a row had no prompt whose answers differ in reward."""
    return next((at for at, entry in enumerate(reversed(steps)) if not _flat(entry)), len(steps))


def _flat(entry: Mapping[str, Any]) -> bool:
    share = entry.get(FLAT_SHARE)
    return entry.get("reward") is None or (share is not None and float(share) >= 1.0)


def _number(value: Any) -> str:
    return "none" if value is None else f"{float(value):.3f}"
