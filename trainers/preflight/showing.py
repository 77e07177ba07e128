"""One row as its tokens are trained: what is masked, what is trained on, what is cut, and which tokens are markers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from trainers.control import control_of
from trainers.preflight import pictures
from trainers.preflight.plain_trl import DROPS_LONG, NO_LIMIT, Plain
from trainers.preflight.seen import Seen, text_of
from trainers.rendering import TemplateError, encode_sides_of, messages_of
from trainers.rows import read
from trainers.vision.processor import looks_of

Kind = Literal["masked", "trained", "cut"]


class Span(NamedTuple):
    """Tokens in a row that are treated alike."""

    kind: Kind
    text: str
    marker: bool
    """A control token, by its spelling."""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A row, taken apart."""

    id: str
    sides: Mapping[str, list[Span]]
    """Side -> its spans: the prompt with the answer of that side."""
    cut: list[tuple[str, str]]
    """Role and text of the older turns that are cut off."""
    facts: Mapping[str, Any]
    """Tokens of each side, how many are trained on, why the row is dropped where it is, and its pictures."""

    def record(self) -> dict[str, Any]:
        """As plain JSON data."""
        return {
            "id": self.id,
            "sides": {name: [span._asdict() for span in spans] for name, spans in self.sides.items()},
            "cut": [{"role": role, "content": text} for role, text in self.cut],
            "facts": dict(self.facts),
        }


def show(seen: Seen, row: str, plain: Plain | None = None) -> Shown | None:
    """The row called `row`; as TRL would train it where `plain` is given. None where there is no such row."""
    assert seen.frame is not None
    found = seen.frame.filter(seen.frame["id"] == row)
    if not found.height:
        return None
    if plain is not None:
        return _by_trl(seen, row, plain)
    given = found.row(0, named=True)
    facts: dict[str, Any] = {name: given[name] for name in ("label", "margin") if given.get(name) is not None}
    shown = pictures.placed(seen, row)
    if shown:
        facts["pictures"] = shown
    if row in seen.rows.ids:
        at = seen.rows.ids.index(row)
        encoded = {name: side[at] for name, side in seen.rows.sides.items()}
    else:
        facts["dropped"] = next((reason for reason, ids in seen.rows.lost.items() if row in ids), "unknown")
        asked = read(given, seen.answers, seen.looks)
        whole = (
            None
            if isinstance(asked, str)
            else encode_sides_of(seen.tokenizer, [asked], max_length=NO_LIMIT, system=seen.settings.system)[0]
        )
        if whole is None or isinstance(whole, TemplateError):
            if whole is not None:
                facts["refused"] = str(whole)
            whole = []
        encoded = dict(zip(seen.answers or ("prompt",), whole, strict=False))
    sides: dict[str, list[Span]] = {}
    cut: list[tuple[str, str]] = []
    for name, one in encoded.items():
        sides[name] = spans(seen.tokenizer, one.prompt_ids, "masked")
        at = 0
        for start, end in one.untrained:
            sides[name] += spans(seen.tokenizer, one.completion_ids[at:start], "trained")
            sides[name] += spans(seen.tokenizer, one.completion_ids[start:end], "masked")
            at = end
        sides[name] += spans(seen.tokenizer, one.completion_ids[at:], "trained")
        facts[f"{name}_tokens"] = len(one.prompt_ids) + len(one.completion_ids)
        facts[f"{name}_trained"] = one.trained
        turns = [turn for turn in messages_of(given["prompt"]) if turn["role"] != "system"]
        cut = [(turn["role"], text_of([turn])) for turn in turns[: one.turns_cut]]
    return Shown(id=row, sides=sides, cut=cut, facts={**facts, "max_length": seen.settings.max_length})


def _by_trl(seen: Seen, row: str, plain: Plain) -> Shown:
    facts: dict[str, Any] = {"max_length": seen.settings.max_length}
    if row not in plain.ids:
        return Shown(id=row, sides={}, cut=[], facts={**facts, "dropped": "template or label"})
    sides = plain.sides[plain.ids.index(row)]
    limit, shown = seen.settings.max_length, {}
    if seen.method in DROPS_LONG:
        if max(len(side.prompt) + len(side.answer) for side in sides) > limit:
            facts["dropped"] = "a side is longer than max_length"
    elif seen.answers and len(sides[0].prompt) >= limit:
        facts["dropped"] = "the prompt alone fills max_length"
    for name, side in zip(seen.answers or ("prompt",), sides, strict=True):
        room = max(0, limit - len(side.prompt))
        shown[name] = [
            *spans(seen.tokenizer, side.prompt[:limit], "masked"),
            *spans(seen.tokenizer, side.prompt[limit:], "cut"),
            *spans(seen.tokenizer, side.answer[:room], "trained"),
            *spans(seen.tokenizer, side.answer[room:], "cut"),
        ]
        facts[f"{name}_tokens"] = len(side.prompt) + len(side.answer)
        facts[f"{name}_trained"] = min(room, len(side.answer))
    return Shown(id=row, sides=shown, cut=[], facts=facts)


def spans(tokenizer: Any, ids: Sequence[int], kind: Kind) -> list[Span]:
    """The ids as text, markers apart; the tokens of a picture are one marker that says how many they are."""
    markers = control_of(tokenizer).ids
    looks = looks_of(tokenizer)
    picture = None if looks is None else tokenizer.convert_tokens_to_ids(looks.token)
    found: list[Span] = []
    run: list[int] = []
    alike = 0
    for one in [*ids, None]:
        if alike and one != picture:
            found.append(Span(kind, f"{tokenizer.convert_ids_to_tokens(picture)} x {alike}", marker=True))
            alike = 0
        if one is not None and one not in markers:
            run.append(one)
            continue
        if run:
            text = tokenizer.decode(run, skip_special_tokens=False, clean_up_tokenization_spaces=False)
            found.append(Span(kind, text, marker=False))
            run = []
        if one is not None and one == picture:
            alike += 1
        elif one is not None:
            found.append(Span(kind, str(tokenizer.convert_ids_to_tokens(one)), marker=True))
    return found
