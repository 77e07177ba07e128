"""How a chat template renders a chat: its own pieces, and where the chat's texts stand between them.

A template is rendered once for each shape of chat with placeholders in place of the texts; what it wrote around them is
its own. Nothing here tokenises.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jinja2

from prefdata.errors import InputError
from prefdata.schema import ROLES
from trainers.toolbox import TOOLS, replaced, tool_texts

Message = dict[str, Any]

KEPT = 4096
"""Shapes of chats that are kept."""

_OPEN, _CLOSE = "\ue000", "\ue002"
_MARK = re.compile(f"{_OPEN}([0-9]+){_CLOSE}")


REFUSALS = (jinja2.TemplateError, TypeError, ValueError, KeyError, AttributeError, IndexError)
"""What a template ends in that cannot draw a chat."""


class TemplateError(InputError):
    """A chat template refuses a chat, or makes something else of its texts."""


class Skeleton(NamedTuple):
    """What a template writes: pieces of its own and numbers of texts in turn, a piece first and last."""

    pieces: tuple[str, ...]
    texts: tuple[int, ...]
    """Which text stands behind each piece but the last; a text may stand several times."""

    def drawn(self) -> str:
        """The pieces with their placeholders."""
        return "".join(
            piece + (f"{_OPEN}{self.texts[at]}{_CLOSE}" if at < len(self.texts) else "")
            for at, piece in enumerate(self.pieces)
        )

    def parted(self, drawn: str) -> list[str]:
        """The pieces of something that was `drawn`."""
        return _MARK.split(drawn)[::2]

    def filled(self, drawn: str, texts: Sequence[str]) -> list[str] | None:
        """The texts as they stand in `drawn`, in the order of the skeleton; None where it is not made so.

        A template may write a text as it is or as JSON, with or without escapes.
        """
        if not drawn.startswith(self.pieces[0]):
            return None
        at, found = len(self.pieces[0]), []
        for number, piece in zip(self.texts, self.pieces[1:], strict=True):
            for form in _forms(texts[number]):
                end = at + len(form)
                if drawn.startswith(form, at) and drawn.startswith(piece, end):
                    found.append(form)
                    at = end + len(piece)
                    break
            else:
                return None
        return found if at == len(drawn) else None


def stripped(messages: Sequence[Message]) -> list[Message]:
    """The chat with the edges of its texts taken off. Raises InputError for a role outside the schema's."""
    found = []
    for message in messages:
        if message["role"] not in ROLES:
            raise InputError(f"a message has a role outside {', '.join(ROLES)}")
        found.append({**message, "content": _bare(message.get("content"))})
    return found


def _bare(content: Any) -> Any:
    """A content with the edges of its text taken off; of one that is a list of blocks, of the first and the last."""
    if not isinstance(content, list):
        return (content or "").strip()
    blocks = [dict(block) for block in content]
    if blocks and blocks[0]["type"] == "text":
        blocks[0]["text"] = blocks[0]["text"].lstrip()
    if blocks and blocks[-1]["type"] == "text":
        blocks[-1]["text"] = blocks[-1]["text"].rstrip()
    return [block for block in blocks if block["type"] != "text" or block["text"]]


def _said_in(message: Message) -> list[str]:
    """The texts of a content that are not empty: one, or those of its blocks."""
    content = message["content"]
    if isinstance(content, list):
        return [block["text"] for block in content if block["type"] == "text"]
    return [content] if content else []


def _with_texts(content: Any, texts: Iterator[str]) -> Any:
    """The content with other texts in place of those of `_said_in`."""
    if isinstance(content, list):
        return [{**block, "text": next(texts)} if block["type"] == "text" else block for block in content]
    return next(texts) if content else ""


def texts_of(chat: Sequence[Message]) -> list[str]:
    """The texts of a chat that a template writes: contents that are not empty, and what tool calls and tools say."""
    return [text for text, _ in _taken(chat)]


def render(tokenizer: Any, chats: Sequence[Sequence[Message]], add_generation_prompt: bool) -> list[str]:
    """The chats as the template writes them. Raises TemplateError for the first that it refuses."""
    if not tokenizer.chat_template:
        raise InputError(
            "this tokenizer has no chat template (a base model's?): train SFT with chat_template set, or start from a "
            "model that has one"
        )
    if not chats:
        return []
    try:
        drawn = _drawn(tokenizer, chats, add_generation_prompt)
    except REFUSALS as error:
        said = _said(tokenizer, chats, add_generation_prompt)
        raise TemplateError(f"the chat template refuses a chat ({type(error).__name__}){said}") from None
    return drawn


def _drawn(tokenizer: Any, chats: Sequence[Sequence[Message]], add_generation_prompt: bool) -> list[str]:
    """The chats as the template writes them; those with the same tools at once, as a template is handed one list."""
    alike: dict[str, list[int]] = {}
    for at, chat in enumerate(chats):
        alike.setdefault(json.dumps(_tools(chat)), []).append(at)
    found = [""] * len(chats)
    for tools, places in alike.items():
        texts = tokenizer.apply_chat_template(
            [[{key: one for key, one in turn.items() if key != TOOLS} for turn in chats[at]] for at in places],
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
            **({} if tools == "null" else {"tools": json.loads(tools)}),
        )
        for at, text in zip(places, texts, strict=True):
            found[at] = text
    return found


def _tools(chat: Sequence[Message]) -> Any:
    return next((message[TOOLS] for message in chat if message.get(TOOLS)), None)


def _said(tokenizer: Any, chats: Sequence[Sequence[Message]], add_generation_prompt: bool) -> str:
    """What the template says of the first chat that it refuses, asked again with every text and number blanked.

    A template may put any part of a chat into its message, so only that of a chat without content is told.
    """
    for chat in chats:
        try:
            tokenizer.apply_chat_template(
                [_blank(message) for message in chat], tokenize=False, add_generation_prompt=add_generation_prompt
            )
        except REFUSALS as error:
            told = " ".join(str(error).split())[:200]
            return f": {told}" if told else ""
    return ""


def skeleton(tokenizer: Any, chat: Sequence[Message], add_generation_prompt: bool) -> Skeleton:
    """What the template writes for chats of this shape. Raises TemplateError where it leaves a text out."""
    kept = tokenizer.__dict__.setdefault("_prefdata_skeletons", {})
    shape = (tokenizer.chat_template, add_generation_prompt, *(_shape(message) for message in chat))
    found: Skeleton | None = kept.get(shape)
    if found is None:
        found = _made(tokenizer, chat, add_generation_prompt)
        if len(kept) < KEPT:
            kept[shape] = found
    return found


def _made(tokenizer: Any, chat: Sequence[Message], add_generation_prompt: bool) -> Skeleton:
    marked = [_marked(message, place) for message, place in zip(chat, _places(chat), strict=True)]
    drawn = render(tokenizer, [marked], add_generation_prompt)[0]
    parts = _MARK.split(drawn)
    pieces, texts = tuple(parts[::2]), tuple(int(one) for one in parts[1::2])
    missing = {at for at, (_, needed) in enumerate(_taken(chat)) if needed} - set(texts)
    if missing:
        raise TemplateError("the chat template does not render each message once; a text of the chat is left out")
    return Skeleton(pieces, texts)


def _shape(message: Message) -> Any:
    calls = message.get("tool_calls")
    tools = message.get(TOOLS)
    numbers = {text: str(at) for at, text in enumerate(tool_texts(tools))}
    return (
        message["role"],
        _kinds(message["content"]),
        json.dumps(_emptied(calls), sort_keys=True) if calls else None,
        json.dumps(replaced(tools, lambda text: f"*{numbers[text]}")) if tools else None,
    )


def _kinds(content: Any) -> Any:
    """What two contents of one shape have in common: whether there is one, or the kinds of its blocks."""
    return tuple(block["type"] for block in content) if isinstance(content, list) else bool(content)


def _taken(chat: Sequence[Message]) -> list[tuple[str, bool]]:
    """Texts in the order of their numbers, and whether a template must write each: of tools it may leave some out."""
    found = []
    for message in chat:
        found += [(text, True) for text in _said_in(message)]
        found += [(text, True) for text in _leaves(message.get("tool_calls"))]
        found += [(text, False) for text in tool_texts(message.get(TOOLS))]
    return found


def _places(chat: Sequence[Message]) -> Iterator[int]:
    """The number of each message's first text."""
    at = 0
    for message in chat:
        yield at
        at += len(_said_in(message)) + sum(1 for _ in _leaves(message.get("tool_calls")))
        at += len(tool_texts(message.get(TOOLS)))


def _marked(message: Message, first: int) -> Message:
    found = dict(message)
    said = len(_said_in(message))
    found["content"] = _with_texts(message["content"], (f"{_OPEN}{first + at}{_CLOSE}" for at in range(said)))
    first += said
    if message.get("tool_calls"):
        numbers = iter(range(first, first + 1_000_000))
        found["tool_calls"] = _replaced(message["tool_calls"], lambda text: f"{_OPEN}{next(numbers)}{_CLOSE}")
        first += sum(1 for _ in _leaves(message["tool_calls"]))
    if message.get(TOOLS):
        own = {text: first + at for at, text in enumerate(tool_texts(message[TOOLS]))}
        found[TOOLS] = replaced(message[TOOLS], lambda text: f"{_OPEN}{own[text]}{_CLOSE}")
    return found


def _blank(message: Message) -> Message:
    """The message without anything that its writer chose: its role, and what tool calls have by protocol."""
    said = _said_in(message)
    found: Message = {"role": message["role"], "content": _with_texts(message["content"], iter(["..."] * len(said)))}
    if message.get("tool_calls"):
        found["tool_calls"] = _without_numbers(_replaced(message["tool_calls"], lambda text: "..."))
    return found


def _without_numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_numbers(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_numbers(inner) for inner in value]
    return value if isinstance(value, str) or value is None else 0


def _leaves(value: Any) -> Iterator[str]:
    """Texts in plain data, keys of arguments included; what the protocol itself names stays."""
    if isinstance(value, str):
        if value not in _PROTOCOL and value:
            yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            if key not in _PROTOCOL and key:
                yield key
            yield from _leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner)


_PROTOCOL = frozenset({"type", "function", "name", "arguments", "id", "parameters"})


def _replaced(value: Any, change: Any) -> Any:
    """The same data with every text of `_leaves` changed, in that order."""
    if isinstance(value, str):
        return value if value in _PROTOCOL or not value else change(value)
    if isinstance(value, dict):
        found = {}
        for key, inner in value.items():
            name = key if key in _PROTOCOL or not key else change(key)
            found[name] = _replaced(inner, change)
        return found
    if isinstance(value, list):
        return [_replaced(inner, change) for inner in value]
    return value


def _emptied(value: Any) -> Any:
    """Tool calls without their texts: what two of one shape have in common."""
    if isinstance(value, str):
        return value if value in _PROTOCOL or not value else "*"
    if isinstance(value, dict):
        return [[key if key in _PROTOCOL else "*", _emptied(inner)] for key, inner in value.items()]
    if isinstance(value, list):
        return [_emptied(inner) for inner in value]
    return value


def _forms(text: str) -> Iterator[str]:
    """How a template may write a text: as it is, inside a JSON string, or without its edges."""
    yield text
    for ascii_ in (False, True):
        quoted = json.dumps(text, ensure_ascii=ascii_)[1:-1]
        if quoted != text:
            yield quoted
    if text.strip() != text:  # of a block beside a picture
        yield text.strip()
