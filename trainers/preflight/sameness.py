"""Rows that say the same: duplicates, pairs turned round, held-out rows that are trained on. Compared as tokens."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence

from prefdata.schema import RecordType
from trainers.preflight.finding import Check, Finding, Levels
from trainers.preflight.seen import Seen
from trainers.rows import Rows

DUPLICATES = Check(
    name="duplicate_rows",
    family="sameness",
    title="The same row stands several times",
    why="It counts as often as it stands: training is on fewer examples than it seems.",
    cure="groupings: [exact_duplicates, near_duplicates]",
    levels=Levels(major=0.3, minor=0.01),
)
REVERSED = Check(
    name="reversed_pairs",
    family="sameness",
    title="A pair stands a second time with its sides exchanged",
    why="One says that the first answer is better, the other that the second is: their gradients cancel.",
    cure="prefdata audit DATA --only pairs tells which; keep the one you trust",
    levels=Levels(major=0.01, minor=0),
)
HELD_OUT = Check(
    name="held_out_rows_trained_on",
    family="sameness",
    title="Held-out rows stand among the training rows",
    why="What is measured on them is memory: the held-out metrics are too good.",
    cure="split:  # of the recipe keeps rows of one prompt, session and customer together",
    threads=("allenai/reward-bench#267",),
    levels=Levels(critical=0.5, major=0.01, minor=0),
)
HELD_OUT_PROMPTS = Check(
    name="held_out_prompts_trained_on",
    family="sameness",
    title="Prompts of held-out rows stand among the training rows",
    why="The answers differ, but the questions were seen: held-out metrics are for known questions.",
    cure="split:  # of the recipe keeps rows of one prompt together",
    levels=Levels(major=0.5, minor=0.02),
)


def look(seen: Seen) -> Iterator[Finding]:
    """Findings about equal rows."""
    rows = seen.rows
    if not len(rows):
        return
    keys = _keys(rows)
    times = Counter(keys)
    again: Counter[bytes] = Counter()
    extra = []
    for key in keys:
        again[key] += 1
        extra.append(again[key] > 1)
    if any(extra):
        yield DUPLICATES.found(seen.rows_where(extra), len(rows), different_rows=len(times))
    if rows.type is RecordType.PREFERENCE:
        turned = set(_keys(rows, sides=("rejected", "chosen")))
        found = seen.rows_where([key in turned for key in keys])
        if found:
            yield REVERSED.found(found, len(rows))
    held = seen.held_out
    if held is not None and len(held):
        known = set(keys)
        same = [key in known for key in _keys(held)]
        if any(same):
            ids = [one for one, flag in zip(held.ids, same, strict=True) if flag]
            yield HELD_OUT.found(ids, len(held))
        prompts = set(_keys(rows, sides=()))
        seen_before = [key in prompts for key in _keys(held, sides=())]
        only = [one for one, told, whole in zip(held.ids, seen_before, same, strict=True) if told and not whole]
        if only:
            yield HELD_OUT_PROMPTS.found(only, len(held))


def _keys(rows: Rows, sides: Sequence[str] | None = None) -> list[bytes]:
    """A hash of each row's turns; of the prompt alone where `sides` is empty. Labels are not in it."""
    names = list(rows.sides) if sides is None else sides
    found = []
    for at, first in enumerate(rows.first):
        turns = [_turns(first.prompt), *(_turns(rows.sides[name][at].completion) for name in names)]
        found.append(hashlib.blake2b("\x1d".join(turns).encode("utf-8", "replace"), digest_size=12).digest())
    return found


def _turns(messages: Sequence[dict[str, object]]) -> str:
    return "\x1e".join(f"{turn['role']}\x1f{turn['content']}\x1f{turn.get('tool_calls', '')}" for turn in messages)
