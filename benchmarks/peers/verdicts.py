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


def judge(rows: Sequence[Row], names: Sequence[str], accepted: Sequence[Row]) -> Verdict:
    """`rows` are canonical; `accepted` is what a loader wrote. Rows are matched by their answers, in any order."""
    left = [_seen(row) for row in accepted]
    labels = texts = prompts = 0
    whole = all(seen.stops for seen in left)
    notes: list[str] = []
    others = False
    for row, name in zip(rows, names, strict=True):
        found = next((seen for seen in left if _same_answers(row, seen)), None)
        if found is None:
            notes.append(f"{name}: no accepted row is trained on its answers")
            continue
        left.remove(found)
        others = others or _other_turns(row, found)
        texts += 1
        if row.get("label") == found.label:
            labels += 1
        else:
            notes.append(f"{name}: label {row.get('label')} became {found.label}")
        told = {side: turns.context(text["context"], row) for side, text in found.sides.items()}
        wanted = turns.canonical(row["prompt"])
        if all(one == wanted for one in told.values()):
            prompts += 1
        else:
            notes.append(f"{name}: prompt differs")
    notes += [f"accepted and not ours: {seen.answers}" for seen in left]
    remarks = [] if whole else ["the token that ends the answer is not trained on"]
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
    return all(
        found in (turns.canonical(row[side]), turns.own(turns.canonical(row[side])))
        for side, found in seen.answers.items()
    )


def _other_turns(row: Row, seen: Seen) -> bool:
    return any(len(found) > len(turns.own(turns.canonical(row[side]))) for side, found in seen.answers.items())

