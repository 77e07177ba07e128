"""What a stage on a vision-language model must not ask for, and what its record says of pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prefdata.errors import RecipeError
from trainers.vision.processor import Looks

if TYPE_CHECKING:
    from trainers.rows import Rows

OF_PICTURES = frozenset(["lora_vision"])
"""Settings that say nothing to a model that reads text alone."""


def require_seeing(method: Any, settings: Any, *, vision: bool, model: str) -> None:
    """Raises RecipeError for a method or a setting that has no place on a vision-language model, or on another."""
    if not vision:
        if settings.lora_vision:
            raise RecipeError(f"train: lora_vision: {model} reads text alone and has no vision tower; leave it out")
        return
    faults = []
    if not getattr(method, "sees", False):
        faults.append(f"{method.name}: {model} reads pictures, and {method.name} trains models that read text alone")
    if getattr(settings, "packing", False):
        faults.append("packing: rows that may have pictures are not packed; leave it out")
    if settings.lora_layers is not None:
        faults.append("lora_layers: what the layers below give depends on the pictures and is not kept; leave it out")
    if faults:
        raise RecipeError([f"train: {fault}" for fault in faults])


def seen_record(rows: Rows, looks: Looks) -> dict[str, Any]:
    """For stage.json: the processor, how many pictures rows have, and by how many tokens one stands in a prompt."""
    shown = [picture for row in rows.first for picture in row.pictures]
    tokens = [one.tokens for one in {picture.pixels: picture for picture in shown}.values()]
    return {
        "processor": looks.identity,
        "rows_with": sum(bool(row.pictures) for row in rows.first),
        "rows_without": sum(not row.pictures for row in rows.first),
        "shown": len(shown),
        "different": len(tokens),
        "tokens_each": {
            "least": min(tokens, default=0),
            "most": max(tokens, default=0),
            "mean": round(sum(tokens) / max(len(tokens), 1), 1),
        },
    }
