"""The score head of a reward model: a language model's layers with one number on top in place of its vocabulary."""

from __future__ import annotations

import copy
from typing import Any

from prefdata.errors import RecipeError

SCORE = "score"
"""The head's name in the models that can have one; PEFT trains and saves it whole beside an adapter."""


def with_score_head(model: Any, *, pad_id: int) -> Any:
    """A sequence-classification model with one label around the layers of `model`, which it takes over.

    The head starts at 0, so every reward is 0 before training: nothing of what is measured afterwards is luck of the
    draw. The reward is read at the last token that is not `pad_id`. Raises RecipeError for models without such a form.
    """
    import torch
    from transformers import AutoModelForSequenceClassification

    config = copy.deepcopy(model.config)
    config.num_labels = 1
    config.get_text_config().pad_token_id = pad_id
    try:
        with torch.device("meta"):
            scored = AutoModelForSequenceClassification.from_config(config)
    except ValueError as error:
        raise RecipeError(f"reward: models of type {config.model_type} have no form with a score head") from error
    if not isinstance(getattr(scored, SCORE, None), torch.nn.Linear):
        raise RecipeError(f"reward: the head of {type(scored).__name__} is not called {SCORE}, so it cannot be trained")
    trunk = model.base_model
    setattr(scored, scored.base_model_prefix, trunk)
    weight = next(trunk.parameters())
    head = torch.nn.Linear(config.get_text_config().hidden_size, 1, bias=False, device=weight.device)
    torch.nn.init.zeros_(head.weight)
    scored.score = head.to(weight.dtype if weight.dtype.is_floating_point else torch.float32)
    for name in ("is_loaded_in_4bit", "is_loaded_in_8bit", "is_quantized", "hf_quantizer", "quantization_method"):
        if getattr(model, name, None):
            setattr(scored, name, getattr(model, name))
    return scored


def whole_precision(model: Any) -> None:
    """Sets the trained head to float32: TRL rounds what it trains on a 4-bit model to bfloat16, in which the updates of
    a head that starts at 0 are lost, and which does not multiply with float32 states outside of autocast."""
    import torch

    for name, weight in model.named_parameters():
        if weight.requires_grad and SCORE in name.split("."):
            weight.data = weight.data.to(torch.float32)
