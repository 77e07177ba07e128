"""Chats with pictures as a template and a processor write them: every picture's token widened to the tokens it takes.

Only what the template itself wrote for a picture is widened. A customer who writes that token writes text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from trainers.skeletons import Message, Skeleton, TemplateError, texts_of
from trainers.vision.blocks import uris
from trainers.vision.processor import Looks


def widened(looks: Looks, shape: Skeleton, chat: Sequence[Message], drawn: str) -> tuple[Skeleton, str]:
    """The skeleton of a chat and the chat as drawn, both with its pictures widened.

    Raises TemplateError where the template does not write one token a picture, or makes something else of a text in a
    chat that has pictures; PictureError where one cannot be opened.
    """
    found = uris(chat)
    if not found and looks.token not in "".join(shape.pieces):
        return shape, drawn
    written = sum(piece.count(looks.token) for piece in shape.pieces)
    if written != len(found):
        raise TemplateError(f"the chat template writes {written} places for the {len(found)} pictures of a chat")
    texts = shape.filled(drawn, texts_of(chat))
    if texts is None:
        raise TemplateError(
            "the chat template makes something else of a text in a chat with pictures (reasoning, tool calls), so "
            "their places are not known; leave such rows out, or start from a model whose own template keeps texts"
        )
    left = iter(found)
    pieces = tuple("".join(_filled(piece, looks, left)) for piece in shape.pieces)
    whole = "".join(piece + text for piece, text in zip(pieces, [*texts, ""], strict=True))
    return Skeleton(pieces, shape.texts), whole


def _filled(piece: str, looks: Looks, left: Iterator[str]) -> Iterator[str]:
    first, *others = piece.split(looks.token)
    yield first
    for text in others:
        yield looks.widened(next(left))
        yield text
