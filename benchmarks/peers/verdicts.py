"""What a peer made of an export, against the canonical rows that went into it: counts, and which rows differ how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import turns
from turns import Turn

Row = Mapping[str, Any]

STOP = "<|im_end|>"


class Verdict(NamedTuple):
    """Counts over the rows of an export; `notes` name the rows that differ, `remarks` what holds for all."""

    rows: int
    accepted: int
    labels: int
    texts: int
    prompts: int
    remarks: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def green(self) -> bool:
        """Everything accepted, everything the same."""
        return self.accepted == self.labels == self.texts == self.prompts == self.rows


class Seen(NamedTuple):
    """One accepted row, read back."""

    label: bool | None
    answers: dict[str, list[Turn]]
    stops: bool
    sides: Mapping[str, Mapping[str, str]]


def judge(rows: Sequence[Row], names: Sequence[str], accepted: Sequence[Row], *, tools: bool = True) -> Verdict:
    """`rows` are canonical; `accepted` is what a loader wrote. Rows are matched by their answers, in any order.

    `tools`: the prompt has to tell of the row's tools.
    """
    left = [_seen(row) for row in accepted]
    labels = texts = prompts = 0
    whole = all(seen.stops for seen in left)
    notes: list[str] = []
    others = early = False
    for row, name in zip(rows, names, strict=True):
        found = next((seen for seen in left if _same_answers(row, seen)), None)
        if found is None:
            notes.append(f"{name}: no accepted row is trained on its answers")
            continue
        left.remove(found)
        others = others or _other_turns(row, found)
        early = early or any(_starts_early(row[side], answer) for side, answer in found.answers.items())
        texts += 1
        if row.get("label") == found.label:
            labels += 1
        else:
            notes.append(f"{name}: label {row.get('label')} became {found.label}")
        told = [_is_prompt(row, side, text["context"]) for side, text in found.sides.items()]
        described = [turns.tools_told(text["context"], row) or not tools for text in found.sides.values()]
        prompts += all(told) and all(described)
        if not all(told):
            notes.append(f"{name}: prompt differs: {found.sides}")
        elif not all(described):
            notes.append(f"{name}: the prompt of {' and '.join(_where(found, described))} does not tell of the tools")
    notes += [f"accepted and not ours: {seen.answers}" for seen in left]
    remarks = [] if whole else ["the token that ends the answer is not trained on"]
    if early:
        remarks.append("line ends at the start of an answer are one token with the template's")
    if others:
        remarks.append("turns of tools and customers inside an answer are trained on too")
    return Verdict(len(rows), len(accepted), labels, texts, prompts, tuple(remarks), tuple(notes))


def _seen(row: Row) -> Seen:
    answers = {side: turns.read(text["trained"]) for side, text in row["sides"].items() if side != "prompt"}
    stops = all(text["trained"].rstrip("\n").endswith(STOP) for side, text in row["sides"].items() if side != "prompt")
    return Seen(row["label"], answers, stops, row["sides"])


def _same_answers(row: Row, seen: Seen) -> bool:
    """The trained text is the answer: all its turns, or those of the assistant alone."""
    if not seen.answers:
        told = turns.context(seen.sides["prompt"]["context"], row)
        return told == turns.canonical(row["prompt"])
    return all(_is_answer(row[side], found) for side, found in seen.answers.items())


def _is_prompt(row: Row, side: str, text: str) -> bool:
    """The turns before the answer; turns of tools and customers inside the answer may follow, if not trained on."""
    told, wanted = turns.context(text, row), turns.canonical(row["prompt"])
    inside = [] if side == "prompt" else [turn for turn in turns.canonical(row[side]) if turn.role != "assistant"]
    return told in (wanted, wanted + inside)


def _where(seen: Seen, found: Sequence[bool]) -> list[str]:
    return [side for side, fine in zip(seen.sides, found, strict=True) if not fine]


def _is_answer(messages: Any, found: list[Turn]) -> bool:
    wanted = turns.canonical(messages)
    either = (wanted, turns.own(wanted))
    return found in either or (_starts_early(messages, found) and [wanted[0], *found[1:]] in either)


def _starts_early(messages: Any, found: list[Turn]) -> bool:
    """More or fewer line ends before the answer than it has: they are one token with the template's."""
    wanted = turns.canonical(messages)[0].text
    if not found or found[0].text == wanted:
        return False
    return found[0].text.lstrip("\n") == wanted.lstrip("\n")


def _other_turns(row: Row, seen: Seen) -> bool:
    return any(len(found) > len(turns.own(turns.canonical(row[side]))) for side, found in seen.answers.items())
