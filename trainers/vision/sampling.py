"""What GRPO and RLOO are handed to sample answers about pictures, and what rewards are told of the pictures.

TRL writes prompts with the processor itself, in which a text that spells a token becomes that token or a picture more.
Here it is handed a processor that encodes chats as everything else here does, and pictures by their addresses.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from prefdata.schema import IMAGE
from trainers.vision.blocks import MARK, text_of, uris
from trainers.vision.processor import Looks, looks_of

if TYPE_CHECKING:
    from prefdata.pictures import Pictures
    from trainers.rendering import Encoded

Message = dict[str, Any]


def guarded(looks: Looks) -> Any:
    """A copy of the processor that TRL may write prompts with: no text becomes a token, pictures are addresses."""
    found = copy.copy(looks.processor)
    base = type(found)
    found.__class__ = type(base.__name__, (_Guarded, base), {"__module__": base.__module__})
    return found


class _Guarded:
    """Mixed into a processor's own class; its name stays, because a saved processor records it."""

    tokenizer: Any

    def apply_chat_template(
        self,
        conversation: Any,
        *,
        tokenize: bool = False,
        return_dict: bool = False,
        add_generation_prompt: bool = False,
        **_: Any,
    ) -> Any:
        """Ids of chats with what the model is given of their pictures; untokenised, the ids as a text of numbers."""
        looks = self._looks()
        batched = bool(conversation) and not isinstance(conversation[0], Mapping)
        chats = list(conversation) if batched else [conversation]
        ids = [self._ids(chat, add_generation_prompt) for chat in chats]
        if not tokenize:
            # TRL hands these back with the pictures, and takes of both what the model is given of the pictures
            told = [" ".join(map(str, one)) for one in ids]
            return told if batched else told[0]
        found: dict[str, Any] = {"input_ids": ids, "attention_mask": [[1] * len(one) for one in ids]}
        found |= looks.tensors([[looks.picture(uri) for uri in uris(chat)] for chat in chats])
        if len(found) > 2:
            # of each row as long as it is: TRL pads them as it pads the ids
            parted = [looks.kinds(_line(one)) for one in ids]
            found |= {name: [one[name][0].tolist() for one in parted] for name in parted[0]}
        return found if return_dict else ids

    def __call__(self, images: Any = None, text: Any = None, **_: Any) -> dict[str, Any]:
        """What the model is given of the pictures at `images`, addresses of each chat, whose ids `text` are."""
        import torch

        looks = self._looks()
        ids = [[int(one) for one in told.split()] for told in text]
        width = max(map(len, ids))
        pad = self.tokenizer.pad_token_id
        whole = torch.tensor([[pad] * (width - len(one)) + one for one in ids])
        mask = torch.tensor([[0] * (width - len(one)) + [1] * len(one) for one in ids])
        shown = looks.shown([[looks.picture(uri) for uri in one or ()] for one in images], whole)
        return {"input_ids": whole, "attention_mask": mask, **shown}

    def _ids(self, chat: Sequence[Message], add_generation_prompt: bool) -> list[int]:
        from trainers.rendering import encode_chat

        return encode_chat(self.tokenizer, chat, add_generation_prompt=add_generation_prompt)

    def _looks(self) -> Looks:
        found = looks_of(self.tokenizer)
        assert found is not None
        return found


def asked(row: Encoded) -> dict[str, Any]:
    """A prompt as TRL's dataset holds it: blocks without pictures, and the addresses of those in order."""
    prompt = [
        {**message, "content": [{name: one for name, one in block.items() if name != "image"} for block in content]}
        if isinstance(content := message.get("content"), list)
        else message
        for message in row.prompt
    ]
    return {"prompt": prompt, "images": [one.uri for one in row.pictures]}


def plain(messages: Sequence[Message]) -> list[Message]:
    """The messages with contents of one text each, without their pictures: what a text model reads."""
    return [{**message, "content": text_of(message.get("content")).replace(MARK, "")} for message in messages]


def shown_in(prompts: Sequence[Sequence[Message]]) -> pl.Series:
    """The column `images` of prompts whose blocks name their pictures; null for a prompt without any."""
    listed = [
        [
            {"uri": block["image"], "side": "prompt", "message": at, "part": part}
            for at, message in enumerate(prompt)
            if isinstance(message.get("content"), list)
            for part, block in enumerate(message["content"])
            if block["type"] == "image"
        ]
        for prompt in prompts
    ]
    return pl.Series("images", [one or None for one in listed], dtype=pl.List(IMAGE))


def known_pictures(looks: Looks, addresses: Sequence[str]) -> Pictures:
    """What is known of pictures below the folder: what its run says, or what the gate finds in the files now."""
    from prefdata.pictures import Address, Gate, GateSettings, Pictures, read
    from trainers.vision.processor import PictureError

    root = looks.root
    if root is None:
        raise PictureError("picture_missing", addresses[0] if addresses else "")
    known = read(root)
    if known is not None:
        return known
    with Gate(GateSettings(), store=None) as gate:
        table = gate.look([Address(root, one) for one in addresses])
    return Pictures(table.with_columns(uri="address"), root)


def _line(ids: Sequence[int]) -> Any:
    import torch

    return torch.tensor([list(ids)])
