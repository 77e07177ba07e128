"""The frozen layers below an adapter, run once for each batch instead of once for each forward pass.

KTO passes the same batch through the policy and through the reference, and its held-out rows before and after
training. Where the adapter sits on the last layers only, everything below is the same each time: it is kept.
The results are the same numbers, not approximations.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Any

MAX_BYTES = 1 << 30
"""Memory for kept layer outputs; the oldest go first."""


class SharedTrunk:
    """Keeps what the last frozen layer of `model` gave for each batch, by the content of the batch."""

    def __init__(self, model: Any, frozen_layers: int) -> None:
        self.kept: OrderedDict[bytes, Any] = OrderedDict()
        self.bytes = 0
        self.key: bytes | None = None
        self.hits = 0
        model.shares_trunk = True
        layers = decoder_layers(model)
        model.base_model.register_forward_pre_hook(self._begin, with_kwargs=True)
        for at in range(frozen_layers):
            self._wrap(layers[at], last=at == frozen_layers - 1)

    def _begin(self, _: Any, args: Any, options: dict[str, Any]) -> None:
        """Names the batch; none while tokens are generated, when each layer must fill its cache."""
        self.key = None
        ids = args[0] if args else options.get("input_ids")
        if options.get("use_cache") is not False or ids is None:
            return
        parts = [ids, *(options.get(name) for name in ("attention_mask", "position_ids"))]
        found = hashlib.blake2b(digest_size=16)
        for part in parts:
            if part is not None:
                found.update(f"{tuple(part.shape)}".encode() + part.detach().cpu().numpy().tobytes())
            found.update(b"\x1e")
        self.key = found.digest()

    def _wrap(self, layer: Any, *, last: bool) -> None:
        run = layer.forward

        def forward(hidden_states: Any, *args: Any, **options: Any) -> Any:
            kept = self.kept.get(self.key) if self.key is not None else None
            if kept is not None:
                if not last:
                    return hidden_states
                self.hits += 1
                return kept
            out = run(hidden_states, *args, **options)
            if last and self.key is not None:
                self._keep(self.key, out.detach())
            return out

        layer.forward = forward

    def _keep(self, key: bytes, out: Any) -> None:
        self.kept[key] = out
        self.bytes += out.nbytes
        while self.bytes > MAX_BYTES and len(self.kept) > 1:
            _, oldest = self.kept.popitem(last=False)
            self.bytes -= oldest.nbytes


def decoder_layers(model: Any) -> Any:
    """The list of decoder layers of a causal language model, or None where it is not built of one plain list."""
    from torch import nn

    layers = getattr(model.base_model, "layers", None)
    sound = isinstance(layers, nn.ModuleList) and len(layers) == model.config.num_hidden_layers
    return layers if sound else None


def linear_names(layers: Any) -> list[str]:
    """Names of the linear modules inside decoder layers, which never includes the language-model head."""
    from torch import nn

    return sorted({name.rpartition(".")[2] for name, part in layers.named_modules() if isinstance(part, nn.Linear)})
