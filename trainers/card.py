"""The model card of a trained stage: README.md in its folder, with the front matter that hubs read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefdata.io import write_atomic
from trainers.method import Plan
from trainers.models import rounding
from trainers.vision.processor import looks_of

NAMES = {
    "sft": "supervised fine-tuning",
    "dpo": "DPO",
    "kto": "KTO",
    "reward": "a reward head",
    "grpo": "GRPO",
    "rloo": "RLOO",
}
"""Methods as a sentence calls them."""

READ = {
    "prompt_completion": "answered prompts",
    "preference": "pairs of answers",
    "unpaired_preference": "labelled answers",
    "prompt_only": "prompts",
}
"""Types of rows as a sentence calls them."""

_IMPLICIT = (
    "The reward is beta times the difference of log-probabilities to the start model. It ranks answers like",
    "those it was trained on; it says nothing of truth or safety elsewhere.",
)

_SAMPLED = (
    "The reward is what was asked for, not what was meant: read sampled answers before the model is used. Where",
    "rewards are trained models or patterns, answers may have learned to please those alone.",
)

LIMITS = {
    "sft": (
        "The model was trained to write answers like those of its rows, their mistakes included; a lower loss says",
        "nothing of truth or safety.",
    ),
    "dpo": _IMPLICIT,
    "kto": _IMPLICIT,
    "reward": (
        "Scores compare answers to one prompt; they mean nothing by themselves, nor between prompts. They rank answers",
        "like those it was trained on, and a policy that is trained with them will find what they overlook.",
    ),
    "grpo": _SAMPLED,
    "rloo": _SAMPLED,
}
"""Method -> what its numbers do not say."""


def write_card(plan: Plan, metrics: Mapping[str, Any]) -> None:
    """Writes README.md: what was trained from what, and what the held-out rows say."""
    method, rows, base = plan.method, plan.rows, plan.start.name
    how = NAMES.get(method.name, method.name)
    record = rows.record()
    classes = f", {record['good']:,} of them desirable and {record['bad']:,} undesirable," if "good" in record else ""
    looks = looks_of(plan.tokenizer)
    with_pictures = sum(bool(row.pictures) for row in rows.first)
    seen = f"{'' if classes else ','} {with_pictures:,} of them with pictures," if with_pictures else ""
    lines = [
        "---",
        f"base_model: {base}",
        f"library_name: {'transformers' if plan.settings.tuner == 'full' else 'peft'}",
        f"pipeline_tag: {_task(method, looks is not None)}",
        f"tags: [{method.name}, trl, prefdata]",
        "---",
        "",
        f"# {base}, trained with {how}",
        "",
        f"Trained by prefdata with TRL's {method.trainer.partition(':')[2]} on {len(rows):,} "
        f"{READ[str(rows.type)]}{classes}{seen} in {metrics['steps']:,} steps.",
        "",
    ]
    lineage = [stage["method"] for stage in plan.start.lineage()]
    if lineage:
        lines += [f"It goes on from a stage of {', then '.join(NAMES.get(one, one) for one in lineage)}.", ""]
    rounded_to = rounding(plan.start.folder)
    if rounded_to:
        lines += [
            f"The start model's weights had been rounded to {rounded_to}; on unrounded ones results differ a little.",
            "",
        ]
    if plan.settings.tuner == "qlora":
        lines += [
            "The adapter was trained over weights rounded to 4 bits (NF4), and measured over them. It is merged into",
            "unrounded ones where it answers and where the next stage starts: results differ a little there.",
            "",
        ]
    if "after" in metrics:
        after = metrics["after"]
        lines += [
            f"On {after['rows']:,} held-out rows in {after['groups']:,} groups:",
            "",
            "| measure | before | after | 95 % interval | change, 95 % interval |",
            "|---|---|---|---|---|",
        ]
        for name, label in method.told(metrics):
            one, old = after[name], metrics.get("before", {}).get(name)
            was = f"{old['value']:.3f}" if old else ""
            moved = metrics.get("change", {}).get(name)
            change = f"{moved['value']:+.3f}, {moved['low']:+.3f} to {moved['high']:+.3f}" if moved else ""
            lines.append(f"| {label} | {was} | {one['value']:.3f} | {one['low']:.3f} to {one['high']:.3f} | {change} |")
        lines.append("")
    lines += [*LIMITS.get(method.name, ()), ""]
    lines += [f"Rows trained on: sha256 `{record['sha256']}`. Settings, counts, findings: `stage.json`.", ""]
    write_atomic(plan.output_dir / "README.md", "\n".join(lines).encode())


def _task(method: Any, vision: bool) -> str:
    if not method.answers:
        return "text-classification"
    return "image-text-to-text" if vision else "text-generation"
