"""A few held-out prompts, answered by the start model and by the trained one, to be read by a person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prefdata.io import write_json
from trainers.answering import answers
from trainers.job import digest
from trainers.method import Plan


def sample_rows(plan: Plan) -> list[int]:
    """Positions of the held-out rows that are answered: by a hash of the id, no group twice, no prompt twice."""
    held_out = plan.held_out
    if held_out is None or not plan.method.answers:
        return []
    chosen: list[int] = []
    groups: set[str] = set()
    prompts = set()
    for at in sorted(range(len(held_out)), key=lambda at: digest([plan.settings.seed, held_out.ids[at]])):
        prompt = held_out.first[at].asked
        if len(chosen) == plan.settings.samples:
            break
        if held_out.groups[at] in groups or prompt in prompts:
            continue
        chosen.append(at)
        groups.add(held_out.groups[at])
        prompts.add(prompt)
    return chosen


def sampled(plan: Plan, model: Any) -> list[str]:
    """Greedy answers to the sampled prompts, in their order."""
    rows = sample_rows(plan)
    if not rows:
        return []
    assert plan.held_out is not None
    chats = [plan.held_out.first[at].prompt for at in rows]
    return answers(model, plan.tokenizer, chats, max_new_tokens=plan.settings.sample_tokens)


def write_samples(plan: Plan, before: Sequence[str], after: Sequence[str]) -> None:
    """samples.json: id, prompt, answer before and after."""
    held_out = plan.held_out
    assert held_out is not None
    write_json(
        plan.output_dir / "samples.json",
        [
            {"id": held_out.ids[at], "prompt": held_out.first[at].prompt, "before": old, "after": new}
            for at, old, new in zip(sample_rows(plan), before, after, strict=True)
        ],
    )
