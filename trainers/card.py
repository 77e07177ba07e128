"""The model card of a trained stage: README.md in its folder, with the front matter that hubs read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefdata.io import write_atomic
from trainers.kto_rows import Rows


def write_card(folder: Path, base: str, rows: Rows, metrics: dict[str, Any], *, rounded_to: str | None) -> None:
    """Writes README.md: what was trained from what, and how the held-out rows were ranked."""
    good = sum(rows.labels)
    lines = [
        "---",
        f"base_model: {base}",
        "library_name: peft",
        "pipeline_tag: text-generation",
        "tags: [kto, trl, prefdata]",
        "---",
        "",
        f"# {base}, aligned with KTO",
        "",
        f"Trained by prefdata with TRL's KTOTrainer on {len(rows.ids):,} answers of a support log, {good:,} of them "
        f"desirable and {len(rows.ids) - good:,} undesirable, in {metrics['steps']:,} steps.",
        "",
    ]
    if rounded_to:
        lines += [
            f"The start model's weights had been rounded to {rounded_to}; on unrounded ones results differ a little.",
            "",
        ]
    if "after" in metrics:
        after = metrics["after"]
        lines += [
            f"On {after['rows']:,} held-out rows in {after['groups']:,} groups:",
            "",
            "| measure | value | 95 % interval |",
            "|---|---|---|",
        ]
        for name, label in (
            ("auc", "share of good/bad pairs ranked right"),
            ("margin", "mean reward, good minus bad"),
            ("mean_good", "mean reward of good answers"),
            ("mean_bad", "mean reward of bad answers"),
        ):
            one = after[name]
            lines.append(f"| {label} | {one['value']:.3f} | {one['low']:.3f} to {one['high']:.3f} |")
        lines.append("")
    lines += [
        "The reward is beta times the difference of log-probabilities to the start model. It ranks answers like those",
        "of the log; it says nothing of truth or safety elsewhere. Settings, counts, hashes: `stage.json`.",
        "",
    ]
    write_atomic(folder / "README.md", "\n".join(lines).encode())
