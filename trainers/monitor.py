"""Watches what a run logs against its healthy ranges, tells once what leaves them, and keeps it for stage.json."""

from __future__ import annotations

import logging
import math
from typing import Any

from transformers import TrainerCallback

from trainers.healthy import Entry, Range, ranges

log = logging.getLogger(__name__)


class Monitor(TrainerCallback):
    """What left its healthy range, since when, how far; the same for a run that was killed and went on.

    Everything is found anew from the logged steps, of which a checkpoint keeps all: a run that goes on begins by
    reading those, without telling what was told before.
    """

    def __init__(self, method: str) -> None:
        self.method = method
        self.ranges = ranges(method)
        self.entries: list[Entry] = []
        self.found: dict[str, dict[str, Any]] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.entries, self.found = [], {}
        for entry in state.log_history:
            self.read(entry)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        for new in self.read({**(logs or {}), "step": state.global_step}):
            if state.is_world_process_zero:
                log.warning("%s, step %d: %s", self.method, state.global_step, sentence(self.found[new.name]))

    def read(self, entry: Entry) -> list[Range]:
        """Takes in what a step logged, and gives the ranges that the run left for the first time."""
        if "loss" not in entry:
            return []
        self.entries.append(entry)
        new = []
        for one in self.ranges:
            value = one.judge(self.entries)
            if value is None:
                continue
            if one.name not in self.found:
                new.append(one)
                self.found[one.name] = _begun(one, int(entry["step"]), value)
            else:
                _again(self.found[one.name], one, int(entry["step"]), value)
        return new

    def record(self) -> dict[str, Any]:
        """Plain JSON data: the values watched, the ranges to draw, and what left them."""
        last = self.entries[-1]["step"] if self.entries else 0
        return {
            "watched": [one.name for one in self.ranges],
            "bands": self._bands(),
            "findings": [{**found, "at_the_end": found["last_step"] == last} for found in self.found.values()],
        }

    def _bands(self) -> dict[str, list[float | None]]:
        """Logged name -> lowest and highest healthy value, null where there is no such end."""
        found: dict[str, list[float | None]] = {}
        for one in self.ranges:
            if not one.curve:
                continue
            low, high = found.setdefault(one.curve, [None, None])
            found[one.curve] = [
                one.low if math.isfinite(one.low) else low,
                one.high if math.isfinite(one.high) else high,
            ]
        return found


def sentence(found: dict[str, Any]) -> str:
    """A finding as one line: what, the number, what it means and what to do."""
    return (
        f"{found['what']} ({found['value']}: {found['first']:g}, healthy is {found['healthy']}). "
        f"{found['meaning']} {found['advice']}"
    )


def _begun(one: Range, step: int, value: float) -> dict[str, Any]:
    return {
        "name": one.name,
        "severity": one.severity,
        "value": one.value,
        "healthy": one.told(),
        "first_step": step,
        "last_step": step,
        "steps": 1,
        "first": _rounded(value),
        "worst": _rounded(value),
        "what": one.what,
        "meaning": one.meaning,
        "advice": one.advice,
        "source": one.source,
    }


def _again(found: dict[str, Any], one: Range, step: int, value: float) -> None:
    found["last_step"] = step
    found["steps"] += 1
    further = value < found["worst"] if value < one.low else value > found["worst"]
    if further:
        found["worst"] = _rounded(value)


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
