"""How a model is tuned: what it is loaded as, the adapter that is put on it, and the folder that is saved to."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefdata.errors import MissingExtraError, RecipeError, ResourceError, nearest
from prefdata.io import write_json
from trainers.job import ADAPTER, MODEL, whole_folder
from trainers.method import Plan
from trainers.processes import sharded
from trainers.trunk import decoder_layers, linear_names
from trainers.vision.processor import looks_of
from trainers.vision.targets import beside_pictures

SETS = ("target_modules", "exclude_modules", "modules_to_save")
"""What PEFT keeps as sets and writes in the order of their hashes, another one in every process."""


def require_tuner(settings: Any) -> None:
    """Raises MissingExtraError or ResourceError where this machine cannot train as `tuner` says."""
    if settings.tuner != "qlora":
        return
    try:
        bitsandbytes = importlib.import_module("bitsandbytes")
    except ImportError as error:
        raise MissingExtraError("training over 4-bit weights (tuner: qlora)", "qlora") from error
    from transformers.utils import get_available_devices

    devices = sorted(set(get_available_devices()) & set(getattr(bitsandbytes, "supported_torch_devices", ["cuda"])))
    if not devices:
        raise ResourceError(
            "tuner: qlora: bitsandbytes finds no device here that it can round to 4 bits on; it needs a CUDA GPU, or a "
            "version that runs on this machine's processor. `tuner: lora` trains on any machine"
        )


def four_bits(dtype: Any) -> Any:
    """NF4 with doubly quantised constants, computing in `dtype`: Dettmers et al., 2023, QLoRA."""
    import torch
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        bnb_4bit_quant_storage=dtype if sharded() else torch.uint8,  # FSDP flattens weights of one dtype only
    )


def start_model(plan: Plan, dtype: Any) -> Any:
    """The start model as the tuner wants it: rounded to 4 bits for qlora, else in `dtype`."""
    rounded = four_bits(dtype) if plan.settings.tuner == "qlora" else None
    return plan.start.load(dtype=dtype, quantization_config=rounded)


def keep_exact(plan: Plan, model: Any) -> None:
    """Makes what is trained over 4-bit weights float32 again, as every other adapter is.

    TRL makes it bfloat16, where updates of a usual learning rate are lost, and PEFT float32 once more when a killed run
    goes on, which then ends in other weights. Sharded weights stay as TRL has them: they must be of one type.
    """
    import torch

    if plan.settings.tuner == "qlora" and not sharded():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.data = weight.data.to(torch.float32)


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
        lora_dropout=settings.lora_dropout,
        use_rslora=settings.rslora,
        target_modules=_targets(plan, model, frozen),
        layers_to_transform=list(range(frozen, len(decoder_layers(model)))) if frozen else None,
        use_dora=settings.tuner == "dora",
        task_type=plan.method.task,
    )


def _targets(plan: Plan, model: Any, frozen: int) -> str | list[str]:
    """Which linear modules the adapter goes on; never the head, whose own weight TRL multiplies by."""
    wanted = plan.settings.lora_targets
    if looks_of(plan.tokenizer) is not None:
        return beside_pictures(model, wanted, vision=plan.settings.lora_vision, name=plan.start.name)
    layers = decoder_layers(model)
    if wanted is None:
        return linear_names(layers) if frozen else "all-linear"
    known = linear_names(layers) if layers is not None else []
    faults = [
        f"train: lora_targets: the layers of {plan.start.name} have no linear module {name!r}; {nearest(name, known)}"
        for name in wanted
        if known and name not in known
    ]
    if faults:
        raise RecipeError(faults)
    return list(wanted)


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


def save(plan: Plan, model: Any, weights: Mapping[str, Any] | None = None) -> Path:
    """Writes the adapter, or the whole model after full fine-tuning, with the tokenizer; safetensors, whole or not.

    `weights` are those of the model, where it holds no more than its share of them itself.
    """
    full = plan.settings.tuner == "full"
    place = plan.output_dir / (MODEL if full else ADAPTER)
    with whole_folder(place) as folder:
        if full:
            model.save_pretrained(str(folder), state_dict=weights)
        else:
            model.save_pretrained(str(folder), save_embedding_layers=False, state_dict=weights)
            (folder / "README.md").unlink(missing_ok=True)
            config = folder / "adapter_config.json"
            said = json.loads(config.read_text(encoding="utf-8"))
            lists = {name: sorted(said[name]) for name in SETS if isinstance(said.get(name), list)}
            write_json(config, {**said, **lists, "base_model_name_or_path": plan.start.name})
        looks = looks_of(plan.tokenizer)
        (plan.tokenizer if looks is None else looks.processor).save_pretrained(str(folder))
    return place
