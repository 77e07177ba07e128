"""Rows of a diff as its page shows them: a few of each kind, with their texts, and changed ones word by word."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from prefdata.auditing.dataset import place
from prefdata.comparing.labels import NAMES
from prefdata.comparing.sides import Side, whole
from prefdata.comparing.words import words
from prefdata.formats.core import sides_of
from prefdata.reporting.diff.json import places
from prefdata.reporting.diff.words import Language, relabelled, say
from prefdata.reporting.texts import MAX_CHARS
from prefdata.schema import RecordType

if TYPE_CHECKING:
    from prefdata.comparison import Comparison

CHANGED, OTHERS = 12, 5
"""Rows shown: changed ones, and those of each other kind."""

PLACES = 1_000
"""Places of a kind that stand in the page; diff.json has no more."""


class Kind(NamedTuple):
    """Rows of one kind."""

    name: str
    title: str
    rows: int
    examples: list[dict[str, Any]]
    places: list[str]


def shown(found: Comparison, lang: Language = "en") -> list[Kind]:
    """Changed rows, relabelled ones, those of one side only; kinds without rows are left out."""
    if found.rows is None:
        return []
    rows = found.rows
    pairs = {"changed": (rows.changed, CHANGED), relabelled(found): (rows.relabelled, OTHERS)}
    alone = {"only_b": (found.b, rows.only_b), "only_a": (found.a, rows.only_a)}
    chosen = {name: _spread(frame["a"], number) for name, (frame, number) in pairs.items()}
    some = {name: frame.filter(pl.col("a").is_in(chosen[name].implode())) for name, (frame, _) in pairs.items()}
    single = {name: _spread(numbers, OTHERS) for name, (_, numbers) in alone.items()}
    of_a = whole(found.a, [*(at for frame in some.values() for at in frame["a"]), *single["only_a"]])
    of_b = whole(found.b, [*(at for frame in some.values() for at in frame["b"]), *single["only_b"]])
    kinds = []
    for name, (frame, _) in pairs.items():
        if frame.height:
            examples = [_both(found, of_a[one], of_b[other], lang) for one, other in some[name].select("a", "b").rows()]
            kinds.append(Kind(name, say(name, lang), frame.height, examples, _places(found, frame)))
    for name, (side, numbers) in alone.items():
        if len(numbers):
            texts = of_b if side is found.b else of_a
            examples = [_one(side, texts[at], lang) for at in single[name]]
            kinds.append(Kind(name, say(name, lang), len(numbers), examples, places(side, numbers.head(PLACES))))
    return kinds


def _places(found: Comparison, pairs: pl.DataFrame) -> list[str]:
    some = pairs.head(PLACES)
    both = zip(places(found.a, some["a"]), places(found.b, some["b"]), strict=True)
    return [f"{one} → {other}" for one, other in both]


def _spread(rows: pl.Series, number: int) -> pl.Series:
    """At most `number` of them, equally far apart."""
    if len(rows) <= number:
        return rows
    return rows[[round(at * (len(rows) - 1) / (number - 1)) for at in range(number)]]


def _both(found: Comparison, one: dict[str, Any], other: dict[str, Any], lang: Language) -> dict[str, Any]:
    """A row of A and the same row of B."""
    sides = []
    turned = found.a.type is RecordType.PREFERENCE and all(
        one[f"{side}_hash"] == other[f"{opposite}_hash"]
        for side, opposite in (("chosen", "rejected"), ("rejected", "chosen"))
    )
    for side in sides_of(found.a.type):
        text, now = one[f"{side}_text"], other[f"{side}_text"]
        same = one[f"{side}_hash"] == other[f"{side}_hash"]
        if turned or same:
            sides.append(_side(side, now, lang, note=say("unchanged_side", lang) if same and not turned else ""))
        else:
            pieces = [
                {"what": piece.what, "text": piece.text, "told": say(piece.what, lang, chars=piece.chars)}
                if piece.what.startswith("cut")
                else {"what": piece.what, "text": piece.text, "told": ""}
                for piece in words(text, now)
            ]
            sides.append({"side": side, "name": say(f"side_{side}", lang), "pieces": pieces, "note": ""})
    return {
        "places": [_place(found.a, one), _place(found.b, other)],
        "labels": _labels(one, other, lang),
        "sides": sides,
    }


def _one(side: Side, row: dict[str, Any], lang: Language) -> dict[str, Any]:
    sides = [_side(name, row[f"{name}_text"], lang) for name in sides_of(side.type)]
    return {"places": [_place(side, row)], "labels": _labels(row, row, lang), "sides": sides}


def _side(side: str, text: str, lang: Language, note: str = "") -> dict[str, Any]:
    """A text that stays as it is, cut where it is long."""
    told = [note] if note else []
    if not text:
        told.append(say("empty_text", lang))
    elif len(text) > MAX_CHARS:
        told.append(say("cut_text", lang, shown=MAX_CHARS, chars=len(text)))
    pieces = [{"what": "same", "text": text[:MAX_CHARS], "told": ""}]
    return {"side": side, "name": say(f"side_{side}", lang), "pieces": pieces, "note": " · ".join(told)}


def _place(side: Side, row: dict[str, Any]) -> str:
    """Of a run the row's id, which `prefdata explain` takes; of a dataset file and line."""
    return str(row["id"]) if side.kind == "run" and row.get("id") else place(row)


def _labels(one: dict[str, Any], other: dict[str, Any], lang: Language) -> list[str]:
    """The label of both sides, once where it is the same."""
    if "label" not in one:
        return []
    named = [say(f"label_{NAMES[row['label']]}", lang) for row in (one, other)]
    return named[:1] if named[0] == named[1] else named
