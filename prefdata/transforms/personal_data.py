"""Personal data replaced by typed pseudonyms: `<EMAIL_1>`, `<PHONE_2>`, numbered by appearance within the session.

One value has one pseudonym in the whole session, in every turn and whoever wrote it, however it is formatted; the
next session starts at 1 again, so nothing links two sessions. What is found: see values.py, secrets.py, names.py; an
ordinary web address stays, one that carries a token or an id becomes `<URL_1>`. A literal `<EMAIL_1>` that the raw text
holds already stays as it is, and its number is not given out in that session. Run it after `unicode`.

polars looks first (one pattern over all texts); only the texts that it finds are searched in Python. A text without
personal data keeps its bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import polars as pl

from prefdata.transforms.names import (
    ASKS_NAME_GATE,
    NAME_GATE,
    answered_name,
    find_names,
    name_parts,
    occurrences,
)
from prefdata.transforms.spans import KEPT, Claims, Found, plain
from prefdata.transforms.touched import add_touched, present
from prefdata.transforms.values import VALUE_GATE, claim_values

Kind = Literal["email", "phone", "card", "iban", "cn_id", "ip", "url", "secret", "name"]

KINDS: tuple[Kind, ...] = get_args(Kind)

_LITERAL = r"<(EMAIL|PHONE|CARD|IBAN|CN_ID|IP|URL|SECRET|NAME)_([0-9]{1,9})>"


@dataclass(frozen=True, kw_only=True)
class PersonalData:
    """Settings of the `personal_data` transform."""

    kinds: tuple[Kind, ...] = KINDS
    """What to replace; a kind left out is still recognised, so that its digits do not pass for another kind."""

    columns: tuple[str, ...] = ("text", "survey")
    """String columns to edit; those that the frame lacks are passed over."""

    phone_regions: tuple[str, ...] = ("US", "GB", "CN")
    """Countries (ISO 3166) whose national formats are telephone numbers; international ones always are."""

    session: str = "session"
    """Column that says which rows share their numbering; without it every row is a session of its own."""

    names: str = "names"
    """List(String) column of personal names known from elsewhere; they hold for the whole session."""

    def build(self) -> ReplacePersonalData:
        """The transform."""
        return ReplacePersonalData(self)


def find(
    text: str, *, kinds: Iterable[str] = KINDS, regions: Sequence[str] = ("US", "GB", "CN")
) -> list[tuple[str, int, int]]:
    """Personal data in one text as (kind, start, end), in order and without overlaps.

    Names are only those that the text itself gives away; the transform knows more: name columns and other turns.
    """
    wanted = frozenset(kinds)
    claims = _claimed(text, wanted, tuple(regions))
    if "name" in wanted:
        for start, end in find_names(claims.rest()):
            claims.add("name", start, end, claims.text[start:end].casefold())
    return sorted(
        ((found.kind, found.start, found.end) for found in claims.found if found.kind in wanted),
        key=lambda found: found[1],
    )


@dataclass
class _Session:
    """What is known of one session while its hits are searched and numbered."""

    names: dict[str, None] = field(default_factory=dict)
    forms: dict[str, str] = field(default_factory=dict)
    numbers: dict[tuple[str, str], int] = field(default_factory=dict)
    literal: set[tuple[str, int]] = field(default_factory=set)
    last: dict[str, int] = field(default_factory=dict)

    def pseudonym(self, kind: str, value: str) -> str:
        number = self.numbers.get((kind, value))
        if number is None:
            number = self.last.get(kind, 0) + 1
            while (kind, number) in self.literal:
                number += 1
            self.last[kind] = self.numbers[kind, value] = number
        return f"<{kind.upper()}_{number}>"


@dataclass(frozen=True)
class ReplacePersonalData:
    """Adds `personal_data.<kind>` to `touched`: how many places of the row were replaced."""

    settings: PersonalData
    name: str = "personal_data"

    def __call__(self, frame: pl.DataFrame) -> pl.DataFrame:
        settings = self.settings
        columns = present(frame, settings.columns)
        codes = _session_codes(frame, settings.session)
        sessions: dict[int, _Session] = {}
        claims: dict[tuple[int, str], Claims] = {}
        gate = "|".join((_LITERAL, VALUE_GATE, NAME_GATE) if "name" in settings.kinds else (_LITERAL, VALUE_GATE))
        for column in columns:
            for row in frame[column].str.contains(gate).fill_null(False).arg_true():
                self._search(claims, (row, column), frame[column][row], sessions.setdefault(codes[row], _Session()))
        if "name" in settings.kinds:
            for column in columns:
                self._search_answers(claims, frame[column], column, codes, sessions)
            self._search_known_names(claims, frame, columns, codes, sessions)
        return self._replaced(frame, columns, codes, sessions, claims)

    def _search(
        self, claims: dict[tuple[int, str], Claims], place: tuple[int, str], text: str, session: _Session
    ) -> None:
        for kind, number in re.findall(_LITERAL, text):
            session.literal.add((kind.lower(), int(number)))
        found = _claimed(text, frozenset(self.settings.kinds), self.settings.phone_regions)
        claims[place] = found
        if "name" in self.settings.kinds:
            for start, end in find_names(found.rest()):
                session.names[found.text[start:end]] = None
                found.add("name", start, end, found.text[start:end].casefold())

    def _search_answers(
        self,
        claims: dict[tuple[int, str], Claims],
        texts: pl.Series,
        column: str,
        codes: list[int],
        sessions: dict[int, _Session],
    ) -> None:
        for row in texts.str.contains(ASKS_NAME_GATE).fill_null(False).arg_true():
            if row + 1 >= len(codes) or codes[row + 1] != codes[row] or texts[row + 1] is None:
                continue
            answer = plain(texts[row + 1])
            span = answered_name(texts[row], answer)
            if span is None:
                continue
            session = sessions.setdefault(codes[row], _Session())
            session.names[answer[span[0] : span[1]]] = None
            found = claims.setdefault((row + 1, column), Claims(answer))
            found.add("name", *span, answer[span[0] : span[1]].casefold())

    def _search_known_names(
        self,
        claims: dict[tuple[int, str], Claims],
        frame: pl.DataFrame,
        columns: list[str],
        codes: list[int],
        sessions: dict[int, _Session],
    ) -> None:
        """Names of the name column, and those that another turn gave away, wherever they stand in their session."""
        if frame.schema.get(self.settings.names) == pl.List(pl.String):
            known = pl.DataFrame({"code": codes, "name": frame[self.settings.names]}).explode("name")
            for code, name in known.drop_nulls().unique(maintain_order=True).iter_rows():
                sessions.setdefault(code, _Session()).names[name] = None
        needles: list[tuple[int, str]] = []
        for code, session in sessions.items():
            session.forms = name_parts(session.names)
            needles += [(code, form) for form in session.forms]
        if not needles:
            return
        table = pl.DataFrame(needles, schema={"code": pl.Int64, "needle": pl.String}, orient="row")
        for column in columns:
            rows = (
                pl.DataFrame({"code": codes, "text": frame[column].str.to_lowercase()})
                .with_row_index("row")
                .join(table, on="code")
                .filter(pl.col("text").str.contains(pl.col("needle").str.split(" ").list.first(), literal=True))
            )
            for row in rows["row"].unique().sort():
                text = frame[column][row]
                found = claims.get((row, column)) or self._opened(claims, (row, column), text)
                for start, end, person in occurrences(found.text, sessions[codes[row]].forms):
                    found.add("name", start, end, person)

    def _opened(self, claims: dict[tuple[int, str], Claims], place: tuple[int, str], text: str) -> Claims:
        claims[place] = _claimed(text, frozenset(self.settings.kinds), self.settings.phone_regions)
        return claims[place]

    def _replaced(
        self,
        frame: pl.DataFrame,
        columns: list[str],
        codes: list[int],
        sessions: dict[int, _Session],
        claims: dict[tuple[int, str], Claims],
    ) -> pl.DataFrame:
        """Numbers in the order of rows, columns and places, and writes the texts."""
        order = {column: place for place, column in enumerate(columns)}
        edits: dict[str, dict[int, str]] = {column: {} for column in columns}
        counts: dict[str, dict[int, int]] = {kind: {} for kind in self.settings.kinds}
        for row, column in sorted(claims, key=lambda place: (place[0], order[place[1]])):
            text, session = frame[column][row], sessions.setdefault(codes[row], _Session())
            pieces, done = [], 0
            for found in sorted(claims[row, column].found, key=lambda found: found.start):
                if found.kind == KEPT or found.kind not in counts:
                    continue
                value = session.forms.get(found.value, found.value) if found.kind == "name" else found.value
                pieces += [text[done : found.start], session.pseudonym(found.kind, value)]
                done = found.end
                counts[found.kind][row] = counts[found.kind].get(row, 0) + 1
            if pieces:
                edits[column][row] = "".join((*pieces, text[done:]))
        written = [
            frame[column].scatter(list(texts), pl.Series(list(texts.values()), dtype=pl.String))
            for column, texts in edits.items()
            if texts
        ]
        touched = {}
        for kind in (kind for kind in KINDS if counts.get(kind)):
            rows = counts[kind]
            zeros = pl.zeros(frame.height, dtype=pl.Int64, eager=True)
            touched[f"{self.name}.{kind}"] = zeros.scatter(list(rows), list(rows.values()))
        return add_touched(frame.with_columns(written), touched)


def _claimed(text: str, kinds: frozenset[str], regions: tuple[str, ...]) -> Claims:
    claims = Claims(plain(text))
    claim_values(claims, regions=regions, phones="phone" in kinds)
    return claims


def _session_codes(frame: pl.DataFrame, session: str) -> list[int]:
    """A number for every row, the same for rows of one session; a row without a session is one of its own."""
    if session not in frame.columns:
        return list(range(frame.height))
    codes: dict[object, int] = {}
    return [
        codes.setdefault((row,) if value is None else value, len(codes))
        for row, value in enumerate(frame[session].to_list())
    ]


__all__ = ["KINDS", "Found", "Kind", "PersonalData", "ReplacePersonalData", "find"]
