"""What a reader should look at first of trained stages, told from their held-out rows and from what was watched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from prefdata.reporting.training import words
from prefdata.reporting.training.stages import Trained

Told = tuple[Literal["warn", "fine"], str, str]
"""Level, sentence, and the part of the page it is about."""

KNOWS = {
    "dpo": "The trained model prefers the better answers",
    "kto": "The trained model tells good answers from bad ones",
    "reward": "The reward model knows the better answers",
}


def notes(stages: Sequence[Trained]) -> list[Told]:
    """Sentences about each stage; with several, each begins with the stage's name."""
    found: list[Told] = []
    for stage in stages:
        lead = f"{stage.name}: " if len(stages) > 1 else ""
        told = [*_held_out(stage), *_watched(stage)]
        found += [(level, f"{lead}{text}", f"stage-{stage.name}") for level, text in told]
    return found


def _held_out(stage: Trained) -> Iterable[tuple[Literal["warn", "fine"], str]]:
    asked, metrics = words.held(stage.method), stage.metrics
    after = metrics.get("after", {}).get(asked.headline) if asked else None
    if asked is None or after is None:
        return
    if asked.reference is not None:
        text = f"held-out {asked.called} {_estimate(after)}."
        if after["low"] > asked.reference:
            yield "fine", f"{KNOWS[stage.method]}: {text}"
        else:
            yield "warn", f"Training cannot be told from chance: {text}"
        yield from _by_length(metrics, after)
        return
    change = metrics.get("change", {}).get(asked.headline)
    if change is None:
        return
    sign = 1 if asked.better == "higher" else -1
    low, high = sorted((sign * change["low"], sign * change["high"]))
    text = f"change of held-out {asked.called} {_estimate(change)}."
    if low > 0:
        yield "fine", f"Held-out answers became better: {text}"
    elif high < 0:
        yield "warn", f"Held-out answers became worse: {text}"
    else:
        yield "warn", f"Training cannot be told from no change: {text}"


def _by_length(metrics: Mapping[str, Any], after: Mapping[str, float]) -> Iterable[tuple[Literal["warn", "fine"], str]]:
    for name, length in metrics.items():
        if not name.startswith(("shorter_is_better", "longer_is_better")):
            continue
        by_length = max(length["value"], 1 - length["value"])
        if by_length >= after["value"]:
            which = "shorter" if (length["value"] >= 0.5) is name.startswith("shorter") else "longer"
            yield "warn", f"Length alone ranks held-out rows as well ({which} is better: {by_length:.3f})."


def _watched(stage: Trained) -> Iterable[tuple[Literal["warn", "fine"], str]]:
    for one in (stage.record.get("monitor") or {}).get("findings", []):
        if one["severity"] in ("critical", "major"):
            yield "warn", f"In training, from step {one['first_step']:,}: {one['what']}."


def _estimate(one: Mapping[str, float]) -> str:
    return f"{one['value']:.3f} ({one['low']:.3f} to {one['high']:.3f})"
