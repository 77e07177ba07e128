"""Texts and roles: spellings of control tokens, order of turns, tools and tokens that the model does not know."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import polars as pl

from prefdata.errors import InputError
from trainers.control import control_of
from trainers.preflight.finding import Check, Finding, Levels
from trainers.preflight.seen import Seen, text_of
from trainers.rendering import control_spellings
from trainers.skeletons import skeleton, stripped
from trainers.toolbox import draws

MARKER = re.compile(r"<\|[^|<>\s]{1,40}\|>|\[/?[A-Z_]{3,20}\]|<</?SYS>>|</?[a-z]+_of_[a-z]+>")
"""What templates mark turns with."""

FORGED = Check(
    name="control_tokens_in_text",
    family="texts",
    title="A text spells a control token of this tokenizer",
    why="Here it stays text: its ids are those of letters, in training and in serving. Any other trainer reads it as "
    "the token: a customer's words end their own turn. Answers that spell reasoning or tool markers are learned as "
    "text too.",
    cure="prefdata convert DATA --to FORMAT --control-tokens escape, before other tools read the rows",
    levels=Levels(minor=0.05),
)
UNKNOWN = Check(
    name="unknown_tokens",
    family="texts",
    title="The tokenizer does not know characters of a text",
    why="They become one and the same token: the model can neither read nor write them.",
    cure="Take a model whose tokenizer knows the language of the rows",
    levels=Levels(critical=0.5, major=0.05, minor=0),
)
PLAIN_MARKERS = Check(
    name="plain_text_markers",
    family="texts",
    title="A text spells a marker that the template writes and the tokenizer has no token for",
    why="Templates such as Zephyr's and Llama 2's mark turns by mere text ([INST], <|user|>): no encoding can tell "
    "what a customer typed from the template's own.",
    cure="prefdata convert DATA --to FORMAT --control-tokens escape, or leave the rows out",
    levels=Levels(major=0),
)
TOOLS = Check(
    name="tools_not_rendered",
    family="texts",
    title="Rows list tools, and the template draws none",
    why="The answers call tools that the model is not shown: it learns to call what it cannot know of.",
    cure="Take a model whose template draws tools, write them into the system turn, or leave the rows out",
    levels=Levels(major=0.5, minor=0),
)
ORDER = Check(
    name="turns_out_of_order",
    family="texts",
    title="Turns do not alternate between customer and assistant",
    why="Chat templates were trained on alternating turns; other trainers skip such rows or raise in the middle of a "
    "run.",
    cure="Merge neighbouring turns of one role; put the system turn first",
    threads=("huggingface/smol-course#260", "NVIDIA-NeMo/Megatron-Bridge#5078", "hiyouga/LlamaFactory#4249"),
    levels=Levels(minor=0.2),
)


def look(seen: Seen) -> Iterator[Finding]:
    """Findings about texts."""
    rows = seen.rows
    total = len(rows)
    if not total:
        return
    forged, spelled = forging(seen)
    if forged:
        yield FORGED.found(forged, total, spelled=dict(spelled.most_common(12)))
    plain = _spelled_in(seen, plain_markers(seen))
    if plain:
        yield PLAIN_MARKERS.found(plain, total)
    unknown = getattr(seen.tokenizer, "unk_token_id", None)
    if unknown is not None and unknown not in (seen.tokenizer.eos_token_id, seen.tokenizer.pad_token_id):
        sides = list(rows.sides.values())
        ids = seen.rows_where(
            [
                any(unknown in row.prompt_ids or unknown in row.completion_ids for row in row_sides)
                for row_sides in zip(*sides, strict=True)
            ]
        )
        if ids:
            yield UNKNOWN.found(ids, total, unknown_token=seen.tokenizer.unk_token)
    odd = seen.rows_where([_out_of_order([turn["role"] for turn in row.prompt]) for row in rows.first])
    if odd:
        yield ORDER.found(odd, total)
    if seen.frame is not None and seen.frame.schema.get("tools") == pl.String and not draws(seen.tokenizer):
        listed: list[str] = seen.frame.filter(pl.col("tools").str.len_chars() > 2)["id"].to_list()
        if listed:
            yield TOOLS.found(listed, seen.frame.height)


def plain_markers(seen: Seen) -> re.Pattern[str] | None:
    """Markers of turns that the template writes as mere text."""
    row = seen.rows.first[0]
    control = control_of(seen.tokenizer)
    try:
        shape = skeleton(seen.tokenizer, stripped([*row.prompt, *row.completion]), not row.completion)
    except InputError:
        return None
    found = {one for piece in shape.pieces for one in MARKER.findall(piece)} - set(control.spelled)
    return re.compile("|".join(map(re.escape, sorted(found, key=len, reverse=True)))) if found else None


def _spelled_in(seen: Seen, pattern: re.Pattern[str] | None) -> list[str]:
    if pattern is None:
        return []
    found = []
    for one, *sides in zip(seen.rows.ids, *seen.rows.sides.values(), strict=True):
        texts = [text_of([turn]) for turn in sides[0].prompt]
        texts += [text_of([turn]) for row in sides for turn in row.completion]
        if any(pattern.search(text) for text in texts):
            found.append(one)
    return found


def forging(seen: Seen, only: str | None = None) -> tuple[list[str], Counter[str]]:
    """Ids of the rows that spell a control token (`only` this one), and how often each is spelled."""
    pattern = control_spellings(seen.tokenizer) if only is None else re.compile(re.escape(only))
    spelled: Counter[str] = Counter()
    if pattern is None:
        return [], spelled
    found = []
    for one, *sides in zip(seen.rows.ids, *seen.rows.sides.values(), strict=True):
        texts = [text_of([turn]) for turn in sides[0].prompt]
        texts += [text_of([turn]) for row in sides for turn in row.completion]
        hits = [hit for text in texts for hit in _hits(pattern, text)]
        if hits:
            found.append(one)
            spelled.update(hits)
    return found, spelled


def _hits(pattern: re.Pattern[str], text: str) -> list[str]:
    return pattern.findall(text)


def _out_of_order(roles: list[str]) -> bool:
    """Tools speak between the assistant's turns; the system speaks first or not at all."""
    said = [role for role in roles if role != "system"]
    if "system" in roles[1:]:
        return True
    return any(one == other != "tool" for one, other in pairwise(said)) or said[:1] == ["assistant"]
