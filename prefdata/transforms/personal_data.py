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
import unicodedata
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
from prefdata.transforms.spans import Claims, plain
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
    claims = Claims(plain(text))
    claim_values(claims, regions=tuple(regions), phones="phone" in wanted)
    if "name" in wanted:
        for start, end in find_names(claims.rest()):
            claims.add("name", start, end, claims.text[start:end].casefold())
    return sorted(
        ((found.kind, found.start, found.end) for found in claims.found if found.kind in wanted),
        key=lambda found: found[1],
    )


@dataclass(frozen=True)
class ReplacePersonalData:
    """Adds `personal_data.<kind>` to `touched`: how many places of the row were replaced."""

    settings: PersonalData
    name: str = "personal_data"

    def __call__(self, frame: pl.DataFrame) -> pl.DataFrame:
        columns = present(frame, self.settings.columns)
        search = _Search(frame, columns, self.settings)
        search.hits()
        if "name" in self.settings.kinds:
            search.answers()
            search.known_names()
        edits, counts = search.replaced()
        written = [
            frame[column].scatter(list(texts), pl.Series(list(texts.values()), dtype=pl.String))
            for column, texts in edits.items()
            if texts
        ]
        touched = {}
        for kind in (kind for kind in KINDS if counts.get(kind)):
            zeros = pl.zeros(frame.height, dtype=pl.Int64, eager=True)
            touched[f"{self.name}.{kind}"] = zeros.scatter(list(counts[kind]), list(counts[kind].values()))
        return add_touched(frame.with_columns(written), touched)


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


class _Search:
    """The batch kernel: polars names the rows worth a look, Python looks at those. A place is (row, column)."""

    def __init__(self, frame: pl.DataFrame, columns: list[str], settings: PersonalData) -> None:
        self.frame, self.columns, self.settings = frame, columns, settings
        self.texts: dict[str, list[str | None]] = {column: frame[column].to_list() for column in columns}
        self.codes = _session_codes(frame, settings.session)
        self.sessions: dict[int, _Session] = {}
        self.claims: dict[tuple[int, str], Claims] = {}

    def hits(self) -> None:
        """Values, and names that the text itself gives away."""
        for column in self.columns:
            texts = self.frame[column]
            for row in _rows_with(texts, _LITERAL):
                for kind, number in re.findall(_LITERAL, self._text(row, column)):
                    self._session(row).literal.add((kind.lower(), int(number)))
            for row in _rows_with(texts, VALUE_GATE):
                kinds, regions = frozenset(self.settings.kinds), self.settings.phone_regions
                claim_values(self._claims(row, column), regions=regions, phones="phone" in kinds)
            if "name" in self.settings.kinds:
                for row in _rows_with(texts, NAME_GATE):
                    for span in find_names(self._claims(row, column).rest()):
                        self._learn(row, column, span)

    def answers(self) -> None:
        """Names that are all of an answer to "may I have your name?"."""
        for column in self.columns:
            for row in _rows_with(self.frame[column], ASKS_NAME_GATE):
                after = row + 1
                if after < len(self.codes) and self.codes[after] == self.codes[row] and self.texts[column][after]:
                    span = answered_name(self._text(row, column), plain(self._text(after, column)))
                    if span is not None:
                        self._learn(after, column, span)

    def known_names(self) -> None:
        """Names of the name column, and those that another turn gave away, wherever they stand in their session."""
        if self.frame.schema.get(self.settings.names) == pl.List(pl.String):
            listed = pl.DataFrame({"row": range(len(self.codes)), "name": self.frame[self.settings.names]})
            for row, name in listed.explode("name").drop_nulls().iter_rows():
                self._session(row).names[unicodedata.normalize("NFC", name)] = None
        needles: list[tuple[int, str]] = []
        for code, session in self.sessions.items():
            session.forms = name_parts(session.names) if session.names else {}
            needles += [(code, form.split(" ")[0]) for form in session.forms]
        if not needles:
            return
        table = pl.DataFrame(needles, schema={"code": pl.Int64, "needle": pl.String}, orient="row").unique()
        for column in self.columns:
            lowered = pl.DataFrame({"code": self.codes, "text": self.frame[column].str.to_lowercase()})
            near = lowered.with_row_index("row").join(table, on="code")
            near = near.filter(pl.col("text").str.contains(pl.col("needle"), literal=True))
            for row in near["row"].unique().sort():
                claims = self._claims(row, column)
                for start, end, person in occurrences(claims.text, self._session(row).forms):
                    claims.add("name", start, end, person)

    def replaced(self) -> tuple[dict[str, dict[int, str]], dict[str, dict[int, int]]]:
        """New texts by column and row, and replacements by kind and row; numbered by row, column and place."""
        order = {column: place for place, column in enumerate(self.columns)}
        edits: dict[str, dict[int, str]] = {column: {} for column in self.columns}
        counts: dict[str, dict[int, int]] = {kind: {} for kind in self.settings.kinds}
        for row, column in sorted(self.claims, key=lambda place: (place[0], order[place[1]])):
            text, session, pieces, done = self._text(row, column), self._session(row), [], 0
            for found in sorted(self.claims[row, column].found, key=lambda found: found.start):
                if found.kind not in counts:
                    continue
                value = session.forms.get(found.value, found.value) if found.kind == "name" else found.value
                pieces += [text[done : found.start], session.pseudonym(found.kind, value)]
                done = found.end
                counts[found.kind][row] = counts[found.kind].get(row, 0) + 1
            if pieces:
                edits[column][row] = "".join((*pieces, text[done:]))
        return edits, counts

    def _learn(self, row: int, column: str, span: tuple[int, int]) -> None:
        claims = self._claims(row, column)
        name = claims.text[span[0] : span[1]]
        if claims.add("name", *span, " ".join(name.casefold().split())):
            self._session(row).names[name] = None

    def _claims(self, row: int, column: str) -> Claims:
        if (row, column) not in self.claims:
            self.claims[row, column] = Claims(plain(self._text(row, column)))
        return self.claims[row, column]

    def _session(self, row: int) -> _Session:
        return self.sessions.setdefault(self.codes[row], _Session())

    def _text(self, row: int, column: str) -> str:
        return self.texts[column][row] or ""


def _rows_with(texts: pl.Series, pattern: str) -> list[int]:
    return texts.str.contains(pattern).fill_null(False).arg_true().to_list()


def _session_codes(frame: pl.DataFrame, session: str) -> list[int]:
    """A number for every row, the same for rows of one session; a row without a session is one of its own."""
    if session not in frame.columns:
        return list(range(frame.height))
    codes: dict[object, int] = {}
    return [
        codes.setdefault((row,) if value is None else value, len(codes))
        for row, value in enumerate(frame[session].to_list())
    ]
