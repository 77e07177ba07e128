"""The adapter that is put on a start model, and the folder it is saved to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from prefdata.errors import RecipeError
from prefdata.io import write_json
from trainers.job import ADAPTER, MODEL, whole_folder
from trainers.method import Plan
from trainers.trunk import decoder_layers, linear_names


def adapter_config(plan: Plan, model: Any) -> Any:
    """PEFT's configuration for the settings of `plan`; None for full fine-tuning."""
    from peft import LoraConfig

    settings = plan.settings
    if settings.tuner == "full":
        return None
    frozen = frozen_layers(plan, model)
    return LoraConfig(
        r=settings.lora_r,
        lora_alpha=settings.lora_alpha,
        target_modules=linear_names(decoder_layers(model)) if frozen else "all-linear",
        layers_to_transform=list(range(frozen, len(decoder_layers(model)))) if frozen else None,
        use_dora=settings.tuner == "dora",
        task_type=plan.method.task,
    )


def frozen_layers(plan: Plan, model: Any) -> int:
    """How many layers lie below the adapter; 0 where it sits on all of them."""
    wanted = plan.settings.lora_layers
    if wanted is None or plan.settings.tuner == "full":
        return 0
    layers = decoder_layers(model)
    if layers is None or wanted > len(layers):
        found = "no plain list of layers" if layers is None else f"{len(layers)} layers"
        raise RecipeError(f"train: lora_layers: {wanted}; the model {plan.start.name} has {found}")
    return len(layers) - wanted


def save(plan: Plan, model: Any) -> Path:
    """Writes the adapter, or the whole model after full fine-tuning, with the tokenizer; safetensors, whole or not."""
    full = plan.settings.tuner == "full"
    place = plan.output_dir / (MODEL if full else ADAPTER)
    with whole_folder(place) as folder:
        if full:
            model.save_pretrained(str(folder))
        else:
            model.save_pretrained(str(folder), save_embedding_layers=False)
            (folder / "README.md").unlink(missing_ok=True)
            config = folder / "adapter_config.json"
            said = json.loads(config.read_text(encoding="utf-8"))
            write_json(config, {**said, "base_model_name_or_path": plan.start.name})
        plan.tokenizer.save_pretrained(str(folder))
    return place
