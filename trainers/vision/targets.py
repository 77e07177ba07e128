"""Where an adapter goes in a vision-language model: on the language side, and on the rest where that is asked for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from prefdata.errors import RecipeError, nearest


def beside_pictures(model: Any, wanted: Sequence[str] | None, *, vision: bool, name: str) -> str:
    """An expression for the paths of the linear modules that the adapter goes on; never the head.

    Those inside the decoder of the language model; with `vision` the others too: tower, projector, merger. `wanted`
    leaves some of them, by name. Raises RecipeError for a name that none of them has.
    """
    from torch import nn

    head, inside = model.get_output_embeddings(), "" if vision else f"{decoder_path(model)}."
    paths = [
        path
        for path, part in model.named_modules()
        if isinstance(part, nn.Linear) and part is not head and path.startswith(inside)
    ]
    known = sorted({path.rpartition(".")[2] for path in paths})
    faults = [
        f"train: lora_targets: {name} has no linear module {one!r} {'' if vision else 'on its language side '}"
        f"to put the adapter on; {nearest(one, known)}"
        for one in wanted or ()
        if one not in known
    ]
    if faults:
        raise RecipeError(faults)
    chosen = [path for path in paths if wanted is None or path.rpartition(".")[2] in wanted]
    return "|".join(sorted({re.sub(r"\\\.\d+\\\.", r"\\.\\d+\\.", re.escape(path)) for path in chosen}))


def decoder_path(model: Any) -> str:
    """The path of the language model's decoder. Raises RecipeError where there is none beside the vision tower."""
    decoder = model.get_decoder()
    found = next((path for path, part in model.named_modules() if part is decoder and path), None)
    if found is None or decoder is model.base_model:
        raise RecipeError(
            f"train: {type(model).__name__} has no language side of its own to put an adapter on; take tuner: full, or "
            "lora_vision: true"
        )
    return found
