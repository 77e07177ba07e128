"""Messages as a vision-language model's template reads them: content is a list of blocks, pictures where they stood.

A canonical row marks the place of a picture in its text by U+FFFC, and lists its pictures in `images` by side, message
and part. In a row without pictures that character is a character. Whether a picture can be opened is left to `Looks`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

MARK = "\ufffc"

MISPLACED, IN_ANSWER = "pictures_misplaced", "picture_in_answer"
"""Why a row is left out: marks and pictures that do not fit each other, and a picture that an answer shows."""

Message = dict[str, Any]


def as_blocks(messages: Sequence[Mapping[str, Any]]) -> list[Message]:
    """The messages with content of one text as a block, and without blocks of empty text; others as they are."""
    found = []
    for message in messages:
        content = message.get("content")
        if not isinstance(content, list):
            content = [{"type": "text", "text": content}] if content else []
        found.append({**message, "content": content})
    return found


def placed(row: Mapping[str, Any], sides: Mapping[str, list[Message]]) -> dict[str, list[Message]] | str:
    """The messages of each side of a row with its pictures put in their places; or why that cannot be done."""
    waiting: dict[tuple[str, int], list[str | None]] = defaultdict(list)
    for image in row["images"] or []:
        waiting[image["side"], image["message"]].append(image["uri"])
    if not waiting:
        return {side: as_blocks(messages) for side, messages in sides.items()}
    if any(side != "prompt" for side, _ in waiting):
        return IN_ANSWER
    found = {}
    for side, messages in sides.items():
        listed = []
        for at, message in enumerate(messages):
            uris, texts = waiting.pop((side, at), []), (message.get("content") or "").split(MARK)
            if len(texts) != len(uris) + 1:
                return MISPLACED
            listed.append({**message, "content": list(_mixed(texts, uris))})
        found[side] = listed
    return MISPLACED if waiting else found


def uris(messages: Sequence[Mapping[str, Any]]) -> list[str]:
    """The addresses of the pictures of a chat, in order."""
    return [
        block["image"]
        for message in messages
        if isinstance(message.get("content"), list)
        for block in message["content"]
        if block["type"] == "image"
    ]


def text_of(content: str | Sequence[Mapping[str, Any]] | None) -> str:
    """The text of a message's content, blocks or not, with a mark for each picture."""
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(MARK if block["type"] == "image" else block["text"] for block in content)


def _mixed(texts: Sequence[str], found: Sequence[str | None]) -> Iterator[dict[str, Any]]:
    for at, text in enumerate(texts):
        if text:
            yield {"type": "text", "text": text}
        if at < len(found):
            yield {"type": "image", "image": found[at] or ""}
