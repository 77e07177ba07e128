"""Which tokens of an answer are the assistant's own, where turns of the customer or of a tool stand between them.

TRL trains on all of an answer. Of one that holds a customer's turn, or what a tool gave back, a model would learn to
say those as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trainers.rendering import Encoded, Message, TemplateError, encode_chats


def with_untrained(tokenizer: Any, rows: Sequence[Encoded]) -> list[Encoded]:
    """The rows, each with the parts of its answer that are not the assistant's; see `Encoded.untrained`.

    An assistant's turn reaches from the marker that asks for it to the end of its own marker. Where the template draws
    it otherwise inside the chat than at the end of one, its place is not known, and it is not trained on.
    """
    asked: list[tuple[list[Message], bool]] = []
    several = [at for at, row in enumerate(rows) if any(turn["role"] != "assistant" for turn in row.completion)]
    for at in several:
        row = rows[at]
        for turn in range(len(row.completion)):
            chat = [*row.prompt, *row.completion[: turn + 1]]
            asked += [(chat[:-1], True), (chat, False)]
    drawn = iter(encode_chats(tokenizer, asked))
    found = list(rows)
    for at in several:
        places = [(next(drawn), next(drawn)) for _ in rows[at].completion]
        found[at] = rows[at]._replace(untrained=_between(rows[at], places))
    return found


Ids = list[int] | TemplateError


def _between(row: Encoded, places: Sequence[tuple[Ids, Ids]]) -> tuple[tuple[int, int], ...]:
    """What no turn of the assistant covers. `places` are the chat before each turn, asking for it, and with it."""
    whole, offset = [*row.prompt_ids, *row.completion_ids], len(row.prompt_ids)
    gaps: list[tuple[int, int]] = []
    done = 0
    last = len(row.completion) - 1
    for at, (turn, (before, after)) in enumerate(zip(row.completion, places, strict=True)):
        if turn["role"] != "assistant":
            continue
        start = 0 if at == 0 else _place(before, whole, offset)
        end = len(row.completion_ids) if at == last else _place(after, whole, offset)
        if start is None or end is None or not done <= start < end:
            continue
        if start > done:
            gaps.append((done, start))
        done = end
    if done < len(row.completion_ids):
        gaps.append((done, len(row.completion_ids)))
    return tuple(gaps)


def _place(ids: Ids, whole: Sequence[int], offset: int) -> int | None:
    """Where in the answer the ids end, if the row begins with them."""
    if isinstance(ids, TemplateError) or list(whole[: len(ids)]) != ids or len(ids) < offset:
        return None
    return len(ids) - offset
