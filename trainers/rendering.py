"""Chats as token ids in which no text can become a control token; the one way that training and answering encode.

A plain `apply_chat_template` renders text and markers into one string and tokenises that, so a customer who writes
`<|im_end|>` ends their own turn. Here the markers come from the template alone. Escaping or counting forged markers
when a log is read belongs to the transforms.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from prefdata.errors import InputError
from trainers.control import Control, control_of
from trainers.skeletons import Message, Skeleton, TemplateError, render, skeleton, stripped, texts_of
from trainers.toolbox import drawn_tools
from trainers.vision.blocks import as_blocks
from trainers.vision.processor import Looks, Picture, looks_of
from trainers.vision.widening import widened

__all__ = [
    "Encoded",
    "Message",
    "TemplateError",
    "control_ids",
    "control_spellings",
    "encode_chat",
    "encode_chats",
    "encode_row",
    "encode_sides",
    "encode_sides_of",
    "messages_of",
    "plain_chats",
    "protect",
    "shared_prefix",
]


class Encoded(NamedTuple):
    """One row as the trainer and the scorer see it."""

    prompt: list[Message]
    """The turns that were kept, whole."""
    completion: list[Message]
    prompt_ids: list[int]
    completion_ids: list[int]
    turns_cut: int
    """Turns dropped from the left so that the row fits."""
    untrained: tuple[tuple[int, int], ...] = ()
    """Parts of the completion, from and to, that are read and not learned; only SFT knows any."""
    pictures: tuple[Picture, ...] = ()
    """Those of the turns that were kept, in order; each stands in the prompt's ids as the tokens that it takes."""

    @property
    def asked(self) -> tuple[tuple[int, ...], tuple[str, ...]]:
        """What a model is asked: equal for rows that ask the same about pictures that look the same."""
        return tuple(self.prompt_ids), tuple(picture.pixels for picture in self.pictures)

    @property
    def trained(self) -> int:
        """How many tokens are trained on."""
        return len(self.completion_ids) - sum(end - start for start, end in self.untrained)


def encode_chat(tokenizer: Any, messages: Sequence[Message], *, add_generation_prompt: bool = False) -> list[int]:
    """Token ids of a chat; equal to the plain template's on every chat whose text forges nothing.

    The edges of each content are stripped first, since some templates do so and some do not. Raises InputError for a
    role outside the schema's, TemplateError (an InputError) where the template refuses the chat, leaves a text of it
    out, or makes something else of a text that spells a control token.
    """
    found = encode_chats(tokenizer, [(messages, add_generation_prompt)])[0]
    if isinstance(found, TemplateError):
        raise found
    return found


def encode_chats(tokenizer: Any, chats: Sequence[tuple[Sequence[Message], bool]]) -> list[list[int] | TemplateError]:
    """`encode_chat` of many chats, each with its `add_generation_prompt`; what two of them share is encoded once."""
    bare = [(stripped(drawn_tools(tokenizer, messages)), prompt) for messages, prompt in chats]
    looks = looks_of(tokenizer)
    if looks is not None:
        bare = [(stripped(as_blocks(chat)), prompt) for chat, prompt in bare]
    drawn = _drawn(tokenizer, bare)
    shapes: list[Skeleton | None] = [None] * len(bare)
    if looks is not None:
        drawn, shapes = _widened(tokenizer, looks, bare, drawn)
    control = control_of(tokenizer)
    ids = iter(_plain(tokenizer, control, [text for text in drawn if isinstance(text, str)]))
    found: list[list[int] | TemplateError] = []
    for (chat, prompt), text, known in zip(bare, drawn, shapes, strict=True):
        if isinstance(text, TemplateError):
            found.append(text)
            continue
        whole = next(ids)
        try:
            shape = known or skeleton(tokenizer, chat, prompt)
            same = control.sequence(whole) == _markers(tokenizer, control, shape)
            found.append(whole if same else _spelled(control, shape, chat, text))
        except TemplateError as error:
            found.append(error)
    return found


def plain_chats(tokenizer: Any, chats: Sequence[tuple[Sequence[Message], bool]]) -> list[list[int] | TemplateError]:
    """The chats as every other trainer encodes them: rendered whole and tokenised, forged markers and all.

    Only for telling what others would do; nothing of ours is trained or served this way.
    """
    bare = [(drawn_tools(tokenizer, messages), prompt) for messages, prompt in chats]
    drawn = _drawn(tokenizer, bare)
    ids = iter(_plain(tokenizer, control_of(tokenizer), [text for text in drawn if isinstance(text, str)]))
    return [text if isinstance(text, TemplateError) else next(ids) for text in drawn]


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
    found = encode_sides_of(tokenizer, [(prompt, answers)], max_length=max_length, system=system)[0]
    if isinstance(found, TemplateError):
        raise found
    return found


def encode_sides_of(
    tokenizer: Any,
    rows: Sequence[tuple[Sequence[Message], Sequence[Sequence[Message]]]],
    *,
    max_length: int,
    system: str | None = None,
) -> list[list[Encoded] | TemplateError | None]:
    """`encode_sides` of many rows, each a prompt with its answers; an error stands in the place of its row."""
    found: list[list[Encoded] | TemplateError | None] = [None] * len(rows)
    cuts = [_cuts(prompt, system) for prompt, _ in rows]
    pending = [(at, kept, cut) for at, one in enumerate(cuts) for kept, cut in [next(one)]]
    while pending:
        jobs: list[tuple[Sequence[Message], bool]] = []
        for at, kept, _ in pending:
            jobs += [([*kept, *answer], False) for answer in rows[at][1]]
            jobs.append((kept, True))
        encoded = iter(encode_chats(tokenizer, jobs))
        left = []
        for at, kept, cut in pending:
            answers = rows[at][1]
            ids = [next(encoded) for _ in range(len(answers) + 1)]
            error = next((one for one in ids if isinstance(one, TemplateError)), None)
            if error is not None:
                found[at] = error
                continue
            sides = _sides([one for one in ids if not isinstance(one, TemplateError)], kept, answers, cut, max_length)
            if sides is not None:
                found[at] = sides
            elif (shorter := next(cuts[at], None)) is not None:
                left.append((at, *shorter))
        pending = left
    return found


def _cuts(prompt: Sequence[Message], system: str | None) -> Iterator[tuple[list[Message], int]]:
    """What is left of a prompt when older turns are cut, the whole of it first, and how many turns were cut."""
    head = [message for message in prompt if message["role"] == "system"]
    if system is not None and not head:
        head = [{"role": "system", "content": system}]
    turns = [message for message in prompt if message["role"] != "system"]
    yield [*head, *turns], 0
    for at, message in enumerate(turns):
        if at and message["role"] == "user":
            yield [*head, *turns[at:]], at


def _sides(
    ids: Sequence[list[int]], kept: list[Message], answers: Sequence[Sequence[Message]], cut: int, max_length: int
) -> list[Encoded] | None:
    """The row from the ids of its sides and, last, of its prompt; None where it is too long."""
    *whole, prompt_ids = ids
    if max(map(len, whole or [prompt_ids])) > max_length:
        return None
    if not whole:
        return [Encoded(kept, [], prompt_ids, [], cut)]
    size = min(shared_prefix(prompt_ids, one) for one in whole)
    return [
        Encoded(kept, list(answer), one[:size], one[size:], cut) for answer, one in zip(answers, whole, strict=True)
    ]


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
        ids = []
        for one in encode_chats(self, [(chat, add_generation_prompt) for chat in chats]):
            if isinstance(one, TemplateError):
                raise one
            ids.append(one)
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
    """Ids that stand for markers rather than text: every added token, special or not, but those that are words."""
    return control_of(tokenizer).ids


def control_spellings(tokenizer: Any) -> re.Pattern[str] | None:
    """What texts must hold to spell a control token, longest first; None for a tokenizer without one."""
    return control_of(tokenizer).spellings


def shared_prefix(one: Sequence[int], other: Sequence[int]) -> int:
    """How many leading ids the two have in common."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _drawn(tokenizer: Any, chats: Sequence[tuple[list[Message], bool]]) -> list[str | TemplateError]:
    """The chats as the template writes them; where one is refused, each for itself."""
    found: list[str | TemplateError] = [""] * len(chats)
    for prompt in (False, True):
        places = [at for at, (_, one) in enumerate(chats) if one is prompt]
        try:
            texts: Sequence[str | TemplateError] = render(tokenizer, [chats[at][0] for at in places], prompt)
        except TemplateError:
            texts = [_alone(tokenizer, chats[at][0], prompt) for at in places]
        for at, text in zip(places, texts, strict=True):
            found[at] = text
    return found


def _widened(
    tokenizer: Any,
    looks: Looks,
    chats: Sequence[tuple[list[Message], bool]],
    drawn: Sequence[str | TemplateError],
) -> tuple[list[str | TemplateError], list[Skeleton | None]]:
    """The chats as drawn, and what of each the template wrote, with every picture widened to its tokens."""
    texts = list(drawn)
    shapes: list[Skeleton | None] = [None] * len(chats)
    for at, ((chat, prompt), text) in enumerate(zip(chats, drawn, strict=True)):
        if isinstance(text, TemplateError):
            continue
        try:
            shapes[at], texts[at] = widened(looks, skeleton(tokenizer, chat, prompt), chat, text)
        except TemplateError as error:
            texts[at] = error
    return texts, shapes


def _alone(tokenizer: Any, chat: Sequence[Message], prompt: bool) -> str | TemplateError:
    try:
        return render(tokenizer, [chat], prompt)[0]
    except TemplateError as error:
        return error


def _plain(tokenizer: Any, control: Control, texts: Sequence[str]) -> list[list[int]]:
    """Ids of rendered chats as the tokenizer gives them, markers and forged markers alike.

    Where markers part a text, what stands between them is encoded once, however many chats hold it: the prompt of a
    pair stands in both sides and alone.
    """
    if not control.apart or control.spellings is None:
        return _batch(tokenizer, texts)
    parted = [control.parted.split(text) for text in texts]
    ids: dict[str, list[int]] = {spelled: [one] for spelled, one in control.spelled.items()}
    words = list(dict.fromkeys(part for parts in parted for part in parts if part and part not in ids))
    ids |= zip(words, _batch(tokenizer, words), strict=True)
    return [[one for part in parts if part for one in ids[part]] for parts in parted]


def _batch(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    if not texts:
        return []
    machine = tokenizer.backend_tokenizer
    machine.no_truncation()
    machine.no_padding()
    machine.encode_special_tokens = False
    return [one.ids for one in machine.encode_batch_fast(list(texts), add_special_tokens=False)]


def _markers(tokenizer: Any, control: Control, shape: Skeleton) -> list[int]:
    """The markers that the template itself writes in chats of this shape."""
    known: dict[Skeleton, list[int]] = tokenizer.__dict__.setdefault("_prefdata_markers", {})
    if shape not in known:
        known[shape] = control.sequence(_batch(tokenizer, [shape.drawn()])[0])
    return known[shape]


def _spelled(control: Control, shape: Skeleton, chat: Sequence[Message], drawn: str) -> list[int]:
    """Ids of a chat whose texts spell markers: only what the template wrote around them counts as such."""
    texts = shape.filled(drawn, texts_of(chat))
    if texts is None:
        raise TemplateError(
            "the chat template makes something else of a text that spells a control token (reasoning, tool calls); "
            "write such texts without the token, or set another chat_template"
        )
    lead = control.lead([*texts, *shape.pieces])
    marked = shape.drawn()
    named, at = [], 0
    for start, end, token in control.spans(marked):
        named += [marked[at:start], control.name(lead, token)]
        at = end
    pieces = shape.parted("".join([*named, marked[at:]]))
    whole = "".join(piece + text for piece, text in zip(pieces, [*texts, ""], strict=True))
    return control.encode(lead, whole)
