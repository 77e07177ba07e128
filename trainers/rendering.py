"""Chats as token ids in which no text can become a control token; the one way that training and answering encode.

A plain `apply_chat_template` renders text and markers into one string and tokenises that, so a customer who writes
`<|im_end|>` ends their own turn. Here the ids of the markers come from the template alone. Escaping or counting
forged markers when a log is read belongs to the transforms.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from prefdata.errors import InputError
from prefdata.schema import ROLES

Message = dict[str, Any]


class Encoded(NamedTuple):
    """One row as the trainer and the scorer see it."""

    prompt: list[Message]
    """The turns that were kept, whole."""
    completion: list[Message]
    prompt_ids: list[int]
    completion_ids: list[int]
    turns_cut: int
    """Turns dropped from the left so that the row fits."""


def encode_chat(tokenizer: Any, messages: Sequence[Message], *, add_generation_prompt: bool = False) -> list[int]:
    """Token ids of a chat; equal to the plain template's on every chat whose text forges nothing.

    The edges of each content are stripped first, since some templates do so and some do not. Raises InputError for a
    role outside the schema's, and for a template that does not render each content exactly once.
    """
    chat = [_stripped(message) for message in messages]
    marks = _marks([message["content"] for message in chat])
    drawn = _render(
        tokenizer,
        [{**message, "content": mark} for message, mark in zip(chat, marks, strict=True)],
        add_generation_prompt,
    )
    pieces = _split(drawn, marks)
    control = control_ids(tokenizer)
    own = [_piece(tokenizer, piece) for piece in pieces]
    whole = _plain(tokenizer, _render(tokenizer, chat, add_generation_prompt))
    if _count(whole, control) == sum(_count(ids, control) for ids in own):
        return whole
    bare = _without_added_tokens(tokenizer)
    ids = list(own[0])
    for message, piece in zip(chat, own[1:], strict=True):
        text = bare.encode(message["content"], add_special_tokens=False).ids
        if _count(text, control):
            raise InputError("this tokenizer turns text into control tokens even without its added tokens")
        ids += text + piece
    return ids


def encode_row(
    tokenizer: Any,
    prompt: Sequence[Message],
    completion: Sequence[Message],
    *,
    max_length: int,
    system: str | None = None,
) -> Encoded | None:
    """The row in at most `max_length` tokens, oldest turns cut first and whole; None where that is not possible.

    System turns and the last customer turn stay, and the first turn after a cut is the customer's. A completion is
    never cut: it would lose its end token, and the model would learn not to stop.
    """
    sides = encode_sides(tokenizer, prompt, [completion], max_length=max_length, system=system)
    return None if sides is None else sides[0]


def encode_sides(
    tokenizer: Any,
    prompt: Sequence[Message],
    answers: Sequence[Sequence[Message]],
    *,
    max_length: int,
    system: str | None = None,
) -> list[Encoded] | None:
    """The prompt with each of its answers, all cut alike, so that the longest fits; None where that is not possible.

    The ids of the prompt are the same on every side: what the prompt and all sides begin with, as TRL parts them.
    Without answers the one row given back is the prompt with the marker that asks for an answer.
    """
    head = [message for message in prompt if message["role"] == "system"]
    if system is not None and not head:
        head = [{"role": "system", "content": system}]
    turns = [message for message in prompt if message["role"] != "system"]
    starts = [at for at, message in enumerate(turns) if message["role"] == "user"]
    for start in [0, *(at for at in starts if at > 0)]:
        kept = [*head, *turns[start:]]
        whole = [encode_chat(tokenizer, [*kept, *answer]) for answer in answers]
        if max(map(len, whole), default=0) > max_length:
            continue
        prompt_ids = encode_chat(tokenizer, kept, add_generation_prompt=True)
        if not whole:
            if len(prompt_ids) <= max_length:
                return [Encoded(kept, [], prompt_ids, [], start)]
            continue
        size = min(shared_prefix(prompt_ids, ids) for ids in whole)
        return [
            Encoded(kept, list(answer), ids[:size], ids[size:], start)
            for answer, ids in zip(answers, whole, strict=True)
        ]
    return None


def protect(tokenizer: Any) -> Any:
    """The same tokenizer, whose `apply_chat_template` now gives the ids of `encode_chat`; what trainers are handed."""
    base = type(tokenizer)
    if issubclass(base, _Protected):
        return tokenizer
    tokenizer.__class__ = type(base.__name__, (_Protected, base), {"__module__": base.__module__})
    return tokenizer


class _Protected:
    """Mixed into a tokenizer's own class; its name stays, because a saved tokenizer records it."""

    def apply_chat_template(
        self,
        conversation: Any,
        *,
        tokenize: bool = True,
        return_dict: bool = True,
        add_generation_prompt: bool = False,
        **options: Any,
    ) -> Any:
        if not tokenize:
            return super().apply_chat_template(  # type: ignore[misc]
                conversation, tokenize=False, add_generation_prompt=add_generation_prompt, **options
            )
        tensors = options.pop("return_tensors", None)
        padding = options.pop("padding", False)
        unknown = sorted(name for name, value in options.items() if value)
        if unknown:
            raise InputError(f"encoding a chat does not take {', '.join(unknown)}")
        batched = bool(conversation) and not isinstance(conversation[0], Mapping)
        chats = conversation if batched else [conversation]
        ids = [encode_chat(self, chat, add_generation_prompt=add_generation_prompt) for chat in chats]
        out: Any = {"input_ids": ids, "attention_mask": [[1] * len(one) for one in ids]}
        if tensors or padding:
            out = self.pad(out, return_tensors=tensors)  # type: ignore[attr-defined]
        elif not batched:
            out = {name: value[0] for name, value in out.items()}
        return out if return_dict else out["input_ids"]


def messages_of(value: Sequence[Mapping[str, Any]]) -> list[Message]:
    """A cell of a MESSAGES column as the template reads it: `tool_calls` parsed where there are any, else absent."""
    found: list[Message] = []
    for turn in value:
        message: Message = {"role": turn["role"], "content": turn["content"] or ""}
        if turn.get("tool_calls"):
            message["tool_calls"] = json.loads(turn["tool_calls"])
        found.append(message)
    return found


def control_ids(tokenizer: Any) -> frozenset[int]:
    """Ids that stand for markers rather than text: every added token, special or not. Kept on the tokenizer."""
    known = tokenizer.__dict__.get("_prefdata_control")
    if known is None:
        known = tokenizer.__dict__["_prefdata_control"] = frozenset(tokenizer.added_tokens_decoder)
    return known  # type: ignore[no-any-return]


def control_spellings(tokenizer: Any) -> re.Pattern[str] | None:
    """What texts must hold to spell a control token, longest first; None for a tokenizer without one."""
    spelled = sorted(
        {str(token) for token in tokenizer.added_tokens_decoder.values()}, key=lambda one: (-len(one), one)
    )
    return re.compile("|".join(map(re.escape, spelled))) if spelled else None


def shared_prefix(one: Sequence[int], other: Sequence[int]) -> int:
    """How many leading ids the two have in common."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _stripped(message: Message) -> Message:
    if message["role"] not in ROLES:
        raise InputError(f"a message has a role outside {', '.join(ROLES)}")
    return {**message, "content": (message.get("content") or "").strip()}


def _marks(contents: Sequence[str]) -> list[str]:
    """A placeholder for each content, of private-use characters, none of which occurs in any of them."""
    text = "\n".join(contents)
    tag = next(tag for tag in (f"\ue000{number}\ue001" for number in range(len(text) + 1)) if tag not in text)
    return [f"{tag}{at}\ue002" for at in range(len(contents))]


def _render(tokenizer: Any, chat: Sequence[Message], add_generation_prompt: bool) -> str:
    text: str = tokenizer.apply_chat_template(list(chat), tokenize=False, add_generation_prompt=add_generation_prompt)
    return text


def _split(drawn: str, marks: Sequence[str]) -> list[str]:
    pieces = []
    rest = drawn
    for mark in marks:
        if rest.count(mark) != 1:
            raise InputError("the chat template does not render each message once and in order; it cannot be protected")
        piece, rest = rest.split(mark)
        pieces.append(piece)
    return [*pieces, rest]


def _plain(tokenizer: Any, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def _piece(tokenizer: Any, text: str) -> list[int]:
    """Ids of a piece of the template; the few there are come again in every chat."""
    known: dict[str, list[int]] = tokenizer.__dict__.setdefault("_prefdata_pieces", {})
    if text not in known:
        known[text] = _plain(tokenizer, text)
    return known[text]


def _count(ids: Sequence[int], control: frozenset[int]) -> int:
    return sum(one in control for one in ids)


def _without_added_tokens(tokenizer: Any) -> Any:
    """A copy of the tokenizer's own machine that knows no added token; kept on the tokenizer, building it is slow."""
    bare = tokenizer.__dict__.get("_prefdata_bare")
    if bare is None:
        from tokenizers import Tokenizer

        plan = json.loads(tokenizer.backend_tokenizer.to_str())
        plan["added_tokens"] = []
        bare = tokenizer.__dict__["_prefdata_bare"] = Tokenizer.from_str(json.dumps(plan))
    return bare
