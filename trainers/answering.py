"""Answers of a start model or a trained stage, encoded exactly as in training. Serving many users is not its work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefdata.errors import InputError
from trainers.job import quiet, read_stage, require_training
from trainers.rendering import Message, encode_chat
from trainers.start import open_start
from trainers.vision.blocks import uris
from trainers.vision.processor import looks_of


@dataclass(frozen=True, kw_only=True)
class Answerer:
    """A loaded model that answers chats."""

    model: Any
    tokenizer: Any
    system: str | None = None
    """Put before chats that have no system turn, as it was in training."""

    def answer(self, messages: Sequence[Message], *, max_new_tokens: int = 128) -> str:
        """The next assistant turn, decoded greedily, without control tokens."""
        return answers(self.model, self.tokenizer, [list(messages)], max_new_tokens=max_new_tokens, system=self.system)[
            0
        ]


def reload(stage: Path, *, root: Path | None = None, pictures: Path | None = None) -> Answerer:
    """The trained model of a finished stage: its start model, proven by its hash, with all adapters merged.

    One that reads pictures finds those of chats in `pictures`: `{"type": "image", "image": address}` among the blocks
    of a message.

    Raises InputError when the stage or its start model is not what stage.json says.
    """
    require_training()
    done = read_stage(Path(stage))
    if done.record["method"] == "reward":
        raise InputError(f"{done.folder.name}: a reward model; it scores answers and writes none")
    with quiet():
        start = open_start(done.folder, root=root)
        model = start.load()
    model.eval()
    return Answerer(model=model, tokenizer=start.tokenizer(pictures), system=done.record["settings"]["system"])


def answers(
    model: Any, tokenizer: Any, chats: Sequence[Sequence[Message]], *, max_new_tokens: int, system: str | None = None
) -> list[str]:
    """One greedy answer a chat, in order; the chats run as one batch, padded on the left."""
    import torch

    device, looks = next(model.parameters()).device, looks_of(tokenizer)
    rows, seen = [], []
    for chat in chats:
        if system is not None and not any(message["role"] == "system" for message in chat):
            chat = [{"role": "system", "content": system}, *chat]
        rows.append(encode_chat(tokenizer, chat, add_generation_prompt=True))
        seen.append([looks.picture(uri) for uri in uris(chat)] if looks is not None else [])
    width = max(len(row) for row in rows)
    pad = tokenizer.pad_token_id
    ids = torch.tensor([[pad] * (width - len(row)) + row for row in rows], device=device)
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=device)
    shown = looks.shown(seen, ids) if looks is not None else {}
    model.eval()
    with torch.inference_mode():
        out = model.generate(
            input_ids=ids,
            attention_mask=mask,
            **shown,
            max_new_tokens=max_new_tokens,
            do_sample=False,
            pad_token_id=pad,
            eos_token_id=tokenizer.eos_token_id,
        )
    return [text.strip() for text in tokenizer.batch_decode(out[:, width:], skip_special_tokens=True)]
