"""Log-probabilities of answers under a vision-language model, in batches; what `completion_logps` does for text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from trainers.vision.processor import Looks

if TYPE_CHECKING:
    from trainers.rendering import Encoded

BATCH_TOKENS = 2_048
"""Padded tokens in one forward pass, those of pictures among them."""

BATCH_PICTURES = 64
"""Pictures in one forward pass."""


def seen_logps(
    model: Any, rows: Sequence[Encoded], looks: Looks, *, advance: Callable[[int], object] = lambda done: None
) -> list[float]:
    """Summed log-probability of each row's completion under `model`, in the order of `rows`.

    Rows are padded on the right, as in training, and logits computed from the first answer on.
    """
    import torch

    model.eval()
    found = [0.0] * len(rows)
    device = next(model.parameters()).device
    for batch in batches(rows):
        some = [rows[at] for at in batch]
        first = min(len(row.prompt_ids) for row in some) - 1
        inputs = {name: value.to(device) for name, value in batched(some, looks).items()}
        ids = inputs["input_ids"]
        scored = torch.zeros(ids.shape, dtype=torch.bool)
        for line, row in enumerate(some):
            begin = len(row.prompt_ids)
            scored[line, begin : begin + len(row.completion_ids)] = True
            for start, end in row.untrained:
                scored[line, begin + start : begin + end] = False
        scored = scored[:, first + 1 :].to(device)
        with torch.no_grad():
            kept = torch.arange(first, ids.shape[1] - 1, device=device)
            logits = model(**inputs, logits_to_keep=kept, use_cache=False).logits
            targets = ids[:, first + 1 :]
            logps = torch.zeros_like(scored, dtype=torch.float32)
            logps[scored] = -torch.nn.functional.cross_entropy(
                logits[scored].float(), targets[scored], reduction="none"
            )
        for at, total in zip(batch, logps.sum(-1).tolist(), strict=True):
            found[at] = total
        advance(len(batch))
    return found


def batched(rows: Sequence[Encoded], looks: Looks) -> dict[str, Any]:
    """What a model is handed of rows, padded on the right: ids, mask, pictures, and which tokens stand for them."""
    import torch

    whole = [[*row.prompt_ids, *row.completion_ids] for row in rows]
    width = max(map(len, whole))
    ids = torch.full((len(rows), width), looks.tokenizer.pad_token_id)
    mask = torch.zeros((len(rows), width), dtype=torch.long)
    for line, one in enumerate(whole):
        ids[line, : len(one)] = torch.tensor(one)
        mask[line, : len(one)] = 1
    return {"input_ids": ids, "attention_mask": mask, **looks.shown([row.pictures for row in rows], ids)}


def batches(rows: Sequence[Encoded]) -> list[list[int]]:
    """Positions of rows, longest first, cut so that a padded batch stays within BATCH_TOKENS and BATCH_PICTURES."""
    found: list[list[int]] = []
    width = pictures = 0
    for at in sorted(range(len(rows)), key=lambda at: (-_length(rows[at]), at)):
        more = pictures + len(rows[at].pictures)
        if found and width * (len(found[-1]) + 1) <= BATCH_TOKENS and more <= BATCH_PICTURES:
            found[-1].append(at)
            pictures = more
        else:
            found.append([at])
            width, pictures = _length(rows[at]), len(rows[at].pictures)
    return found


def _length(row: Encoded) -> int:
    return len(row.prompt_ids) + len(row.completion_ids)
